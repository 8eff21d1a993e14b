"""What isolation costs: whole pytest runs, side by side with a savepoint conftest written by hand and with peers.

Every round runs each project once, in a random order. A figure is tests a second of the whole run, start included, as
the median over the rounds; a ratio is the median of the rounds' ratios to the savepoint written by hand in the same
round. A second process (``-n 2``) is compared with one process of the same project instead. Servers that do not answer
are left out. Usage: ``python benchmarks/isolation.py [--rounds N] [--tests N] [--only WORD]``, or
``nox -s bench_isolation``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy
from isolation_plot import draw
from isolation_projects import PEERS, Case, write_project
from isolation_servers import django_settings, empty_database, find_server

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import URL

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BY_HAND, OURS = PEERS[:2]
DATABASE = "test_engineroom_bench"
DROPPED = ("APP_ENV", "PYTEST_", "ENGINEROOM_", "TEST_", "DATABASE_URL", "DJANGO_", "PYTHONDONTWRITEBYTECODE")
MEMORY = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


class Row(NamedTuple):
    """One line of the table: what is measured, who takes part, and on which server, if on any."""

    name: str
    case: Case
    peers: tuple[str, ...]
    server: URL | None = None
    workers: int = 1


class Figure(NamedTuple):
    """What was measured of one project."""

    row: str
    tables: int
    peer: str
    tests_a_second: float
    ratio: float
    ratio_of_cpu: float


def rows(tests: int) -> list[Row]:
    """Return what can be measured here."""
    found = []
    for tables in (12, 150):
        sync = Case("", "", tables, tests)
        found += [
            Row("SQLite", sync, PEERS),
            Row("SQLite, reads only", sync._replace(kind="read"), PEERS[:2]),
            Row("aiosqlite, one loop", sync._replace(loop="session"), PEERS[:3]),
            Row("aiosqlite, a loop a test", sync._replace(loop="function"), PEERS[:2]),
            *_rows_of_servers(sync),
        ]
    slow = Case("", "", 12, tests, kind="slow")
    return [*found, Row("SQLite, tests of 20 ms, -n 2", slow, (OURS,), workers=2)]


def _rows_of_servers(sync: Case) -> list[Row]:
    """Return what can be measured on the servers that answer."""
    found = []
    if (server := find_server("postgresql")) is not None:
        psycopg = sync._replace(url=_url_of(server, "postgresql+psycopg"))
        asyncpg = sync._replace(url=_url_of(server, "postgresql+asyncpg"))
        found += [
            Row("PostgreSQL, psycopg", psycopg, PEERS, server),
            Row("PostgreSQL, psycopg, reads only", psycopg._replace(kind="read"), PEERS[:2], server),
            Row("PostgreSQL, asyncpg, one loop", asyncpg._replace(loop="session"), PEERS[:3], server),
            Row("PostgreSQL, asyncpg, a loop a test", asyncpg._replace(loop="function"), PEERS[:2], server),
        ]
    if (server := find_server("mariadb")) is not None:
        pymysql = sync._replace(url=_url_of(server, "mysql+pymysql"))
        found += [
            Row("MariaDB, pymysql", pymysql, PEERS[:3], server),
            Row("MariaDB, pymysql, reads only", pymysql._replace(kind="read"), PEERS[:2], server),
        ]
    return found


def _url_of(server: URL, driver: str) -> str:
    return server.set(drivername=driver, database=DATABASE).render_as_string(hide_password=False)


def main() -> None:
    """Measure, print the table, and write the figures and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--only", default="", help="measure rows whose name holds this word")
    parser.add_argument("--tables", type=int, default=0, help="measure rows with this number of tables")
    parser.add_argument("--peers", type=int, default=len(PEERS), help="measure this many of the projects")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    for row in [row._replace(peers=row.peers[: arguments.peers]) for row in rows(arguments.tests)]:
        if arguments.only in row.name and arguments.tables in {0, row.case.tables}:
            measured = measure(row, arguments.rounds)
            figures += measured
            print_figures(measured)
    RESULTS.mkdir(exist_ok=True)
    facts = {
        "python": platform.python_version(),
        "sqlalchemy": sqlalchemy.__version__,
        "tests": arguments.tests,
        "rounds": arguments.rounds,
        "figures": [figure._asdict() for figure in figures],
    }
    (RESULTS / "isolation.json").write_text(json.dumps(facts, indent=1) + "\n")
    (RESULTS / "isolation.svg").write_text(draw(figures))


def measure(row: Row, rounds: int) -> list[Figure]:
    """Run each project of a row once a round."""
    directory = Path(tempfile.mkdtemp(prefix="isolation-"))
    database = MEMORY if row.server is None else django_settings(row.server, DATABASE.removeprefix("test_"))
    # Who runs, in how many processes; the first one is what the others are compared with.
    ways = [(peer, 1) for peer in row.peers] + ([(row.peers[0], row.workers)] if row.workers > 1 else [])
    try:
        runs: dict[tuple[str, int], list[tuple[float, float]]] = {way: [] for way in ways}
        projects = {peer: directory / peer.replace(" ", "-") for peer in row.peers}
        variables = {peer: write_project(projects[peer], peer, row.case, database) for peer in row.peers}
        for number in range(rounds + 1):
            for peer, workers in random.sample(ways, len(ways)):
                with _database(row, peer):
                    figure = run(projects[peer], peer, row.case, variables[peer], workers)
                if number:  # the first round writes the caches of Python, and any others
                    runs[peer, workers].append(figure)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [summarize(row, way, runs[way], runs[ways[0]]) for way in ways]


def _database(row: Row, peer: str) -> AbstractContextManager[None]:
    """Return the database of one run; engineroom and Django make theirs."""
    if row.server is None:
        return nullcontext()
    return empty_database(row.server, DATABASE, is_made=peer not in {OURS, "pytest-django"})


def summarize(
    row: Row, way: tuple[str, int], own: list[tuple[float, float]], first: list[tuple[float, float]]
) -> Figure:
    """Return the medians over the rounds."""
    peer, workers = way
    pairs = list(zip(first, own, strict=True))
    return Figure(
        row.name,
        row.case.tables,
        peer if workers == 1 else f"{peer}, {workers} processes",
        row.case.tests / statistics.median(wall for wall, _ in own),
        statistics.median(one[0] / other[0] for one, other in pairs),
        statistics.median(one[1] / other[1] for one, other in pairs),
    )


def run(project: Path, peer: str, case: Case, variables: dict[str, str], workers: int) -> tuple[float, float]:
    """Run pytest on a project, and return the seconds that passed and those of the processors."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    plugins = {"engineroom": "engineroom", "pytest-sqla": "sqla", "pytest-django": "django"}
    without = [f"-pno:{plugin}" for name, plugin in plugins.items() if name != peer]
    if not case.is_async:
        without.append("-pno:asyncio")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    processes = "-pno:xdist" if workers == 1 else f"-n{workers}"
    command = [sys.executable, "-m", "pytest", "-qx", processes, "-pno:anyio", *without]
    done = subprocess.run(command, cwd=project, env=environ | variables, capture_output=True, text=True, check=False)  # noqa: S603
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if f"{case.tests} passed" not in done.stdout:
        raise SystemExit(f"{peer} failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_figures(figures: list[Figure]) -> None:
    """Print lines of the table."""
    for each in figures:
        print(
            f"| {each.row} | {each.tables} | {each.peer} | {each.tests_a_second:.0f} | {each.ratio:.2f} "
            f"| {each.ratio_of_cpu:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
