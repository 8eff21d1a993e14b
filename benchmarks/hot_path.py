"""What the guard costs on the statements that a program runs all day, as a ratio to the same engine without it.

Each round times the bare engine, a second bare engine and the guarded one, in a random order and right after each
other, by the CPU time of this process. A figure is the median over all rounds of guarded to bare; the noise is that of
bare to bare. Usage: ``python benchmarks/hot_path.py [--rounds N] [--limit PERCENT]``, or ``nox -s bench``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import secrets
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, String, create_engine, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import engineroom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Workload = Callable[[Engine], None]

RESULTS = Path(__file__).parent / "results"
SERVER = os.environ.get("ENGINEROOM_TEST_POSTGRESQL_URL") or "postgresql+psycopg://postgres@127.0.0.1/postgres"
ROWS = 100
SECONDS_OF_A_SAMPLE = 0.01


class Base(DeclarativeBase):
    """The tables of the benchmark."""


class Article(Base):
    """A row of ordinary width."""

    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    note: Mapped[str] = mapped_column(String(200), default="")


class Figure(NamedTuple):
    """What was measured of one workload; ratios of CPU time."""

    database: str
    workload: str
    bare_microseconds: float
    guarded: float
    noise: float
    spread: float


def select_one_row(engine: Engine) -> None:
    """Select one row by its key, over a connection that is taken for it."""
    with engine.connect() as connection:
        connection.execute(select(Article.__table__).where(Article.id == 1)).one()


def select_over_a_held_connection(engine: Engine) -> None:
    """Select one row over a connection that stays taken: the smallest thing that a program does."""
    held(engine).execute(ONE_ROW, {"id": 1}).one()


def select_by_a_new_text(engine: Engine) -> None:
    """Send a text that nobody has seen before, so that the guard has to judge it."""
    held(engine).exec_driver_sql(f"SELECT id, {next(NUMBERS)} FROM articles WHERE id = 1").one()  # noqa: S608


def held(engine: Engine) -> Connection:
    """Return the connection that stays taken of an engine."""
    if engine not in HELD:
        HELD[engine] = engine.connect()
    return HELD[engine]


def insert_by_orm(engine: Engine) -> None:
    """Insert 100 objects, and take that back."""
    with Session(engine) as session:
        session.add_all([Article(name=f"article {number}") for number in range(ROWS)])
        session.flush()
        session.rollback()


def select_by_orm(engine: Engine) -> None:
    """Select 100 objects."""
    with Session(engine) as session:
        session.scalars(select(Article)).all()


NEW_TEXT = "select by a new text"
HELD: dict[Engine, Connection] = {}
NUMBERS = count()
ONE_ROW = text("SELECT id, name FROM articles WHERE id = :id")
WORKLOADS: dict[str, Workload] = {
    "select, connection held": select_over_a_held_connection,
    NEW_TEXT: select_by_a_new_text,
    "select of one row": select_one_row,
    "ORM insert of 100 rows": insert_by_orm,
    "ORM select of 100 rows": select_by_orm,
}


def sample(workload: Workload, engine: Engine, times: int) -> float:
    """Return the CPU time of one call, averaged over some."""
    started = time.process_time()
    for _ in range(times):
        workload(engine)
    return (time.process_time() - started) / times


def measure(database: str, name: str, engines: tuple[Engine, Engine, Engine], rounds: int) -> Figure:
    """Compare the second bare engine and the guarded one with the first bare one."""
    workload = WORKLOADS[name]
    for engine in engines:
        sample(workload, engine, 20)  # fills the caches of statements
    times = max(1, round(SECONDS_OF_A_SAMPLE / sample(workload, engines[0], 20)))
    bare: list[float] = []
    noise: list[float] = []
    guarded: list[float] = []
    for _ in range(rounds):
        spent = {index: sample(workload, engines[index], times) for index in random.sample(range(3), 3)}
        bare.append(spent[0])
        noise.append(spent[1] / spent[0])
        guarded.append(spent[2] / spent[0])
    quartiles = statistics.quantiles(noise, n=4)
    return Figure(
        database,
        name,
        bare_microseconds=statistics.median(bare) * 1e6,
        guarded=statistics.median(guarded),
        noise=statistics.median(noise),
        spread=quartiles[2] - quartiles[0],
    )


@contextmanager
def open_engines(url: URL) -> Iterator[tuple[Engine, Engine, Engine]]:
    """Open two bare engines and a guarded one of a database with a few rows."""
    engines = (create_engine(url), create_engine(url), engineroom.guard(create_engine(url)))
    if engineroom.verdict(engines[2]):
        raise SystemExit("The benchmark is about a database that is not disposable.")
    Base.metadata.create_all(engines[0])
    with Session(engines[0]) as session:
        session.add_all([Article(name=f"article {number}") for number in range(ROWS)])
        session.commit()
    try:
        yield engines
    finally:
        for engine in engines:
            if engine in HELD:
                HELD.pop(engine).close()
            engine.dispose()


@contextmanager
def make_postgresql_database() -> Iterator[URL]:
    """Make a database whose name is none of a test, and remove it at the end."""
    name = f"engineroom_bench_{secrets.token_hex(4)}"
    maintenance = create_engine(make_url(SERVER), isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield maintenance.url.set(database=name)
    finally:
        with maintenance.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        maintenance.dispose()


@contextmanager
def make_sqlite_database() -> Iterator[URL]:
    """Make a file whose name is none of a test."""
    with tempfile.TemporaryDirectory() as directory:
        yield URL.create("sqlite", database=str(Path(directory) / "shop.db"))


def run(rounds: int) -> list[Figure]:
    """Measure every workload on each kind of database that answers."""
    figures = []
    for database, make in (("PostgreSQL, psycopg", make_postgresql_database), ("SQLite file", make_sqlite_database)):
        try:
            with make() as url, open_engines(url) as engines:
                figures += [measure(database, name, engines, rounds) for name in WORKLOADS]
        except SQLAlchemyError as problem:
            print(f"{database}: left out, since it does not answer ({type(problem).__name__})")
    return figures


def tell(figures: list[Figure]) -> None:
    """Print the table."""
    print(f"| {'database':19} | {'workload':23} | bare, CPU µs | guarded / bare | bare / bare | its quartiles apart |")
    print("|---|---|---|---|---|---|")
    for figure in figures:
        cells = (
            f"{figure.bare_microseconds:12.0f}",
            f"{figure.guarded - 1:+14.1%}",
            f"{figure.noise - 1:+11.1%}",
            f"{figure.spread:19.1%}",
        )
        print(f"| {figure.database:19} | {figure.workload:23} | {' | '.join(cells)} |")


def write(figures: list[Figure], rounds: int) -> Path:
    """Write the figures, and what they were measured with, as JSON."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "hot_path.json"
    versions = {"python": platform.python_version(), "sqlalchemy": sqlalchemy.__version__}
    file.write_text(json.dumps({**versions, "rounds": rounds, "figures": [it._asdict() for it in figures]}, indent=2))
    return file


def main() -> int:
    """Measure, tell and write; the exit code says whether every figure is within the limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="how often each engine is timed")
    parser.add_argument("--limit", type=float, help="fail where the guard costs more than this many percent")
    options = parser.parse_args()
    gc.disable()
    figures = run(options.rounds)
    tell(figures)
    print(f"\nwritten to {write(figures, options.rounds)}")
    if options.limit is None:
        return 0
    usual = [figure for figure in figures if figure.workload != NEW_TEXT]  # a new text is judged, once
    return int(not usual or any((figure.guarded - 1) * 100 > options.limit for figure in usual))


if __name__ == "__main__":
    sys.exit(main())
