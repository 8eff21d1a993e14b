"""Every row of the scenario table, in a real project: what is refused, what is free, what nobody stops.

The rows are the tests of a project that pytest runs in a process of its own, once for each database. Each row has a
copy of its own of the development database, as far as that is a file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import create_engine, text
from tests.plugin.conftest import FEW_PLUGINS, Outcome, make_database, make_project
from tests.plugin.scenarios import FREE, MISSED, PRELUDE, REFUSED, SCENARIOS

from tests.conftest import find_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.plugin.conftest import SmallProject
    from tests.plugin.scenarios import Scenario

RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    # How a run is called, its database, and what pytest is told.
    "sqlite": ("sqlite", ()),
    "sqlite, two workers": ("sqlite", ("-n2",)),
    "sqlite in WAL mode": ("sqlite-wal", ()),
    "postgresql": ("postgresql", ()),
    "mariadb": ("mariadb", ()),
}
SQLITE_APP = """
    import sqlite3

    def write():
        connection = sqlite3.connect("shop.db", isolation_level=None)
        connection.execute("DELETE FROM articles")
        connection.close()

    def read():
        assert sqlite3.connect("file:shop.db?mode=ro", uri=True).execute("SELECT count(*) FROM articles").fetchone()

    def swallow():
        try:
            write()
        except Exception:
            pass
"""
SERVER_APP = """
    from sqlalchemy import create_engine, text

    URL = {url!r}

    def write():
        with create_engine(URL).begin() as connection:
            connection.execute(text("DELETE FROM articles"))

    def swallow():
        try:
            write()
        except Exception:
            pass
"""
CONTENT = "SELECT name FROM articles ORDER BY name"
TABLES = {
    "postgresql": "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname",
    "mariadb": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1",
}


class Report(NamedTuple):
    """What came of one run of the table."""

    outcome: Outcome
    changed: set[str]

    def heads(self, name: str) -> list[str]:
        """Return the lines of the summary that list a refusal in a test."""
        return [
            line
            for line in self.outcome.refusals
            if not line.startswith(" ") and line.split(" (")[0].endswith(f"::test_{name}")
        ]


def rows_of(database: str) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if database in scenario.databases]


def write_project(directory: Path, database: str, arguments: tuple[str, ...], url: str = "") -> SmallProject:
    project = make_project(directory, arguments)
    project.write_text(
        "pyproject.toml",
        f"[tool.pytest.ini_options]\naddopts = {FEW_PLUGINS!r}\n[tool.engineroom]\nfence_allow = ['reference.db']\n",
    )
    tests = [PRELUDE]
    for scenario in rows_of(database):
        place = project.root / "databases" / scenario.name
        place.mkdir(parents=True)
        make_database(place / "shop.db", journal_mode="wal" if database == "sqlite-wal" else "delete")
        parameters = "tmp_path, monkeypatch, server" if "server()" in scenario.body else "tmp_path, monkeypatch"
        tests.append(f"def test_{scenario.name}({parameters}):\n{textwrap.indent(scenario.body, '    ')}\n")
    (project.root / "databases" / "0_the_server_starts_in_another_test").mkdir(exist_ok=True)
    return project.write(app=SERVER_APP.format(url=url) if url else SQLITE_APP, test_rows="\n".join(tests))


def run_on_files(directory: Path, database: str, arguments: tuple[str, ...]) -> Report:
    project = write_project(directory, database, arguments)
    before = digests(project)
    outcome = project.pytest("-rA", APP_ENV="production")
    after = digests(project)
    return Report(outcome, {name for name, digest in before.items() if after.get(name) != digest})


def digests(project: SmallProject) -> dict[str, str]:
    files = sorted((project.root / "databases").glob("*/shop.db"))
    return {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run_on_server(directory: Path, database: str, arguments: tuple[str, ...]) -> Report:
    name = f"precious_engineroom_{hashlib.sha256(str(directory).encode()).hexdigest()[:10]}"
    with precious_database(database, name) as (url, dump):
        project = write_project(directory, database, arguments, url)
        before = dump()
        outcome = project.pytest("-rA", APP_ENV="production")
        return Report(outcome, set() if dump() == before else {row.name for row in rows_of(database)})


@contextlib.contextmanager
def precious_database(kind: str, name: str) -> Iterator[tuple[str, Any]]:
    """Make a database that no test may reach; yield its URL, and what returns all that it holds."""
    maintenance = find_server(kind)
    server = create_engine(maintenance, isolation_level="AUTOCOMMIT")
    url = maintenance.set(database=name)
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE articles (name VARCHAR(20))"))
            connection.execute(text("INSERT INTO articles VALUES ('a'), ('b'), ('c')"))

        def dump() -> list[Any]:
            with engine.connect() as connection:
                return [*connection.execute(text(CONTENT)), *connection.execute(text(TABLES[kind]))]

        yield url.render_as_string(hide_password=False), dump
    finally:
        engine.dispose()
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        server.dispose()


@pytest.fixture
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return what came of one run of every row that is meant for its database; xdist workers share it."""
    name: str = request.param
    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        shared = shared.parent
    place = shared / f"{name}.json"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            database, arguments = RUNS[name]
            run = run_on_files if database.startswith("sqlite") else run_on_server
            made = run(tmp_path_factory.mktemp("rows"), database, arguments)
            place.write_text(json.dumps([dataclasses.asdict(made.outcome), sorted(made.changed)]))
    outcome, changed = json.loads(place.read_text())
    return Report(Outcome(**outcome), set(changed))


ROWS = [
    pytest.param(name, scenario, id=f"{name}: {scenario.sentence}")
    for name, (database, _) in RUNS.items()
    for scenario in rows_of(database)
]


@pytest.mark.parametrize(("report", "scenario"), ROWS, indirect=["report"])
def test_the_row_comes_out_as_the_table_says(report: Report, scenario: Scenario) -> None:
    came, heads = came_of(report, scenario), report.heads(scenario.name)
    assert came == scenario.outcome, f"{heads}\n{report.outcome.out}\n{report.outcome.err}"
    assert len(heads) == len(set(heads))


def came_of(run: Report, scenario: Scenario) -> str:
    """Return what came of a row: the colour of its test, what is listed under its name, and whether data were lost."""
    if f"PASSED test_rows.py::test_{scenario.name}\n" in f"{run.outcome.out}\n":
        return (
            (MISSED if scenario.name in run.changed else FREE) if not run.heads(scenario.name) else "green and listed"
        )
    if f"test_{scenario.name}" not in run.outcome.failed:
        return "did not run"
    if scenario.name in run.changed:
        return "red, and the database changed"
    return REFUSED if run.heads(scenario.name) else "red for another reason"


@pytest.mark.parametrize("report", RUNS, indirect=True)
def test_nothing_is_refused_outside_of_a_row(report: Report) -> None:
    listed = [line for line in report.outcome.refusals if line and not line.startswith(" ")]
    assert not [line for line in listed if "::test_" not in line or "test_0_" in line]
