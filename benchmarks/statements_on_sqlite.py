"""What the guard costs where it is not needed: ordinary statements on a SQLite file, with and without it.

Each measurement runs the same work on three engines, turn and turn about: one without the guard, another one without it
(their difference is the noise of this machine), and one with it. What counts is the CPU time of the thread, not the
clock; each round gives one ratio to the first engine, and the median of the ratios is reported.

    python benchmarks/statements_on_sqlite.py
    python benchmarks/statements_on_sqlite.py --rounds 100 --json result.json
"""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from engineroom import guard

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], object]

MOST_PERCENT = 3.0
"""How much a one-row select may cost more with the guard."""

ONE_ROW = text("SELECT id, name FROM users WHERE id = :id")
ROWS = 100


class Base(DeclarativeBase):
    """The tables of the measurements."""


class User(Base):
    """A row as an application has it."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    city: Mapped[str | None]


def main() -> None:
    """Measure, print a table, and write the figures where they are wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60, help="rounds for each measurement (default: 60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = {name: measure(name, Path(directory), arguments.rounds) for name in WORKS}
    print_table(figures)
    if arguments.json:
        versions = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
        versions["sqlalchemy"] = sqlalchemy.__version__
        arguments.json.write_text(json.dumps({"versions": versions, "figures": figures}, indent=2) + "\n")


def measure(name: str, directory: Path, rounds: int) -> dict[str, float]:
    """Return the microseconds of a piece of work, and by how many percent noise and guard change it."""
    with ExitStack() as stack:
        engines = [create_engine(f"sqlite:///{directory}/{name.replace(' ', '_')}_{number}.db") for number in range(3)]
        guard(engines[2])
        works = [_prepare(engine, name, stack) for engine in engines]
        times = _number_of_times(works[0])
        timed = [[_time(work, times) for work in works] for _ in range(rounds)]
        for engine in engines:
            stack.callback(engine.dispose)
    bare = statistics.median(first for first, _, _ in timed)
    noise = statistics.median(second / first for first, second, _ in timed)
    guarded = statistics.median(third / (first + second) * 2 for first, second, third in timed)
    return {
        "microseconds": round(bare * 1e6, 2),
        "noise_percent": round((noise - 1) * 100, 2),
        "guard_percent": round((guarded - 1) * 100, 2),
    }


def print_table(figures: dict[str, dict[str, float]]) -> None:
    """Print one line for each measurement."""
    print(f"{'':44} {'bare, µs':>10} {'noise, %':>10} {'guard, %':>10}")
    for name, figure in figures.items():
        cells = (figure["microseconds"], figure["noise_percent"], figure["guard_percent"])
        print(f"{name:44} {cells[0]:10.1f} {cells[1]:+10.2f} {cells[2]:+10.2f}")


def _prepare(engine: Engine, name: str, stack: ExitStack) -> Work:
    """Fill the engine's database, and return the work on it, after a first time."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(_make_users())
        session.commit()
    work = WORKS[name](engine, stack)
    for _ in range(20):
        work()
    return work


def _number_of_times(work: Work) -> int:
    """Return how often a piece of work is repeated in one round: as often as takes some 5 ms."""
    return max(1, int(0.005 / max(_time(work, 3), 1e-6)))


def _time(work: Work, times: int) -> float:
    start = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - start) / times


def _make_users() -> list[User]:
    return [User(name=f"user {number}", email=f"user{number}@example.org", city=None) for number in range(ROWS)]


def _select_one_row(engine: Engine, stack: ExitStack) -> Work:
    connection = stack.enter_context(engine.connect())
    return lambda: connection.execute(ONE_ROW, {"id": 1}).all()


def _connect_and_select_one_row(engine: Engine, _: ExitStack) -> Work:
    def work() -> None:
        with engine.connect() as connection:
            connection.execute(ONE_ROW, {"id": 1}).all()

    return work


def _select_with_a_new_text(engine: Engine, stack: ExitStack) -> Work:
    """Send texts that neither SQLAlchemy nor sqlite3 has seen before: here SQLite asks the guard."""
    connection = stack.enter_context(engine.connect())
    numbers = iter(range(10**9))
    return lambda: connection.exec_driver_sql(f"SELECT *, {next(numbers)} FROM users WHERE id = 1").all()  # noqa: S608


def _select_objects(engine: Engine, stack: ExitStack) -> Work:
    session = stack.enter_context(Session(engine))

    def work() -> None:
        session.expunge_all()
        session.scalars(select(User).limit(ROWS)).all()

    return work


def _insert_objects(engine: Engine, stack: ExitStack) -> Work:
    session = stack.enter_context(Session(engine))

    def work() -> None:
        session.add_all(_make_users())
        session.flush()
        session.rollback()

    return work


WORKS: dict[str, Callable[[Engine, ExitStack], Work]] = {
    "select one row": _select_one_row,
    "connect and select one row": _connect_and_select_one_row,
    "select with a text never seen before": _select_with_a_new_text,
    f"select {ROWS} objects": _select_objects,
    f"insert {ROWS} objects": _insert_objects,
}


if __name__ == "__main__":
    main()
