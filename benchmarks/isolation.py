"""What isolation costs: whole pytest runs, side by side with a savepoint conftest written by hand and with peers.

Every round runs each project once, in a random order. A figure is tests a second of the whole run, start included, as
the median over the rounds; a ratio is the median of the rounds' ratios to the savepoint written by hand in the same
round. Usage: ``python benchmarks/isolation.py [--rounds N] [--tests N] [--only WORD]``, or ``nox -s bench_isolation``.
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
from pathlib import Path
from typing import NamedTuple

import sqlalchemy
from isolation_plot import draw
from isolation_projects import PEERS, Case, write_project

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BY_HAND = PEERS[0]
DROPPED = ("APP_ENV", "PYTEST_", "ENGINEROOM_", "TEST_", "DATABASE_URL", "DJANGO_", "PYTHONDONTWRITEBYTECODE")
MEMORY = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


class Row(NamedTuple):
    """One line of the table: what is measured, and who takes part."""

    name: str
    case: Case
    peers: tuple[str, ...]
    workers: tuple[int, ...] = (1,)


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
        ]
    return found


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
            figures += measure(row, arguments.rounds)
            print_figures(figures[-len(row.peers) :])
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
    try:
        runs: dict[str, list[tuple[float, float]]] = {peer: [] for peer in row.peers}
        projects = {peer: directory / peer.replace(" ", "-") for peer in row.peers}
        variables = {peer: write_project(projects[peer], peer, row.case, MEMORY) for peer in row.peers}
        for number in range(rounds + 1):
            for peer in random.sample(row.peers, len(row.peers)):
                figure = run(projects[peer], peer, row.case, variables[peer])
                if number:  # the first round writes the caches of Python, and any others
                    runs[peer].append(figure)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [summarize(row, peer, runs) for peer in row.peers]


def summarize(row: Row, peer: str, runs: dict[str, list[tuple[float, float]]]) -> Figure:
    """Return the medians over the rounds."""
    pairs = list(zip(runs[BY_HAND], runs[peer], strict=True))
    return Figure(
        row.name,
        row.case.tables,
        peer,
        row.case.tests / statistics.median(wall for wall, _ in runs[peer]),
        statistics.median(hand[0] / own[0] for hand, own in pairs),
        statistics.median(hand[1] / own[1] for hand, own in pairs),
    )


def run(project: Path, peer: str, case: Case, variables: dict[str, str]) -> tuple[float, float]:
    """Run pytest on a project, and return the seconds that passed and those of the processors."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    plugins = {"engineroom": "engineroom", "pytest-sqla": "sqla", "pytest-django": "django"}
    without = [f"-pno:{plugin}" for name, plugin in plugins.items() if name != peer]
    if not case.is_async:
        without.append("-pno:asyncio")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "pytest", "-qx", "-pno:xdist", "-pno:anyio", *without]
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
