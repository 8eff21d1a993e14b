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
import re
import shutil
import sqlite3
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import create_engine, make_url, text
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
MODELS = """
    from sqlalchemy import Column, MetaData, String, Table, create_engine, text
    from sqlalchemy.ext.asyncio import create_async_engine
    import app

    URL = {url!r}
    ASYNC_URL = URL.replace("sqlite:", "sqlite+aiosqlite:").replace("pymysql", "aiomysql")
    metadata = MetaData()
    Table("articles", metadata, Column("name", String(20), primary_key=True))
    engine = create_engine(URL)

    def write():
        with create_engine(URL).begin() as connection:
            connection.execute(text("DELETE FROM articles"))

    async def write_async():
        async with create_async_engine(ASYNC_URL).begin() as connection:
            await connection.execute(text("DELETE FROM articles"))

    async def drop_all_async():
        async with create_async_engine(ASYNC_URL).begin() as connection:
            await connection.run_sync(metadata.drop_all)
"""
APP = """
    import contextlib, os

    def write():
        with contextlib.closing(connect()) as connection:
            connection.cursor().execute("DELETE FROM articles")
            connection.commit()

    def swallow():
        try:
            write()
        except Exception:
            pass
"""
SQLITE_APP = """
    import sqlite3

    def connect(name="shop.db"):
        return sqlite3.connect(name)

    def connect_from(directory):
        path = os.path.abspath("shop.db")
        os.chdir(directory)
        return sqlite3.connect(path)

    def read():
        assert sqlite3.connect("file:shop.db?mode=ro", uri=True).execute("SELECT count(*) FROM articles").fetchone()
"""
SERVER_APP = """
    NAME = {name!r}
    WHERE = ["-h", {host!r}, {port_option!r}, {port!r}, {user_option!r}, {user!r}]
    PLAIN_URL = "postgresql://{user}@{host}:{port}/{name}"
    NAME_KEY = {key!r}
    SETTINGS = dict(host={host!r}, port={port}, user={user!r}, password={password!r}, db=NAME)
    os.environ.setdefault({password_variable!r}, {password!r})

    def connect(name=NAME):
        import {driver}
        return {driver}.connect(host={host!r}, port={port}, user={user!r}, password={password!r}, {key}=name)

    def connect_from(directory):
        os.chdir(directory)
        return connect()
"""
SERVERS: dict[str, dict[str, Any]] = {
    "postgresql": {
        "driver": "psycopg", "key": "dbname", "usual_port": 5432, "port_option": "-p", "user_option": "-U",
        "password_variable": "PGPASSWORD",
    },
    "mariadb": {
        "driver": "pymysql", "key": "database", "usual_port": 3306, "port_option": "-P", "user_option": "-u",
        "password_variable": "MYSQL_PWD",
    },
}  # fmt: skip
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
    return [
        scenario
        for scenario in SCENARIOS
        if database in scenario.databases and (not scenario.needs or shutil.which(scenario.needs))
    ]


def write_project(directory: Path, database: str, arguments: tuple[str, ...], url: str = "") -> SmallProject:
    project = make_project(directory, arguments)
    project.write_text(
        "pyproject.toml",
        f"[tool.pytest.ini_options]\naddopts = {FEW_PLUGINS!r}\n[tool.engineroom]\nfence_allow = ['reference.db']\n",
    )
    tests = [PRELUDE]
    for scenario in rows_of(database):
        make_place(project.root / "databases" / scenario.name, database)
        if not scenario.body:
            continue
        parameters = "request, tmp_path, monkeypatch" + (", server" if "server()" in scenario.body else "")
        tests.append(f"def test_{scenario.name}({parameters}):\n{textwrap.indent(scenario.body, '    ')}\n")
    (project.root / "databases" / "0_the_server_starts_in_another_test").mkdir(exist_ok=True)
    return project.write(
        app=textwrap.dedent(APP) + textwrap.dedent(write_server_app(database, url) if url else SQLITE_APP),
        models=textwrap.dedent(MODELS).format(url=url or "sqlite:///shop.db"),
        test_rows="\n".join(tests),
    )


def write_server_app(kind: str, text_of_url: str) -> str:
    url = make_url(text_of_url)
    return SERVER_APP.format(
        **SERVERS[kind],
        name=url.database,
        host=url.host or "127.0.0.1",
        port=str(url.port or SERVERS[kind]["usual_port"]),
        user=url.username,
        password=url.password or "",
    )


def make_place(place: Path, database: str) -> None:
    """Make the directory of a row, with its development database; in WAL mode, with a log that holds a row."""
    place.mkdir(parents=True)
    if database != "sqlite-wal":
        make_database(place / "shop.db")
        return
    scratch = place.parent.parent / "scratch"
    if not scratch.exists():
        scratch.mkdir()
        make_database(scratch / "shop.db", journal_mode="wal")
        server = sqlite3.connect(scratch / "shop.db", isolation_level=None)
        server.execute("INSERT INTO articles VALUES ('d')")
        shutil.copytree(scratch, scratch.with_name("pristine"))
        server.close()
    shutil.copytree(scratch.with_name("pristine"), place, dirs_exist_ok=True)


def run_on_files(directory: Path, database: str, arguments: tuple[str, ...]) -> Report:
    project = write_project(directory, database, arguments)
    before = digests(project)
    outcome = project.pytest("-rA", APP_ENV="production")
    after = digests(project)
    return Report(outcome, {name for name, digest in before.items() if after.get(name) != digest})


def digests(project: SmallProject) -> dict[str, str]:
    """Return what each row's database holds: its file and its log; the shared memory belongs to whoever reads."""
    found: dict[str, str] = {}
    for place in sorted((project.root / "databases").iterdir()):
        files = [file.read_bytes() for file in (place / "shop.db", place / "shop.db-wal") if file.exists()]
        found[place.name] = hashlib.sha256(b"|".join(files)).hexdigest()
    return found


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
        pristine = " TEMPLATE template0" if kind == "postgresql" else ""  # nobody can be connected to that
        connection.execute(text(f"CREATE DATABASE {name}{pristine}"))
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
    assert all(head.startswith(("app.py:", "models.py:", "test_rows.py:")) for head in heads), heads


def came_of(run: Report, scenario: Scenario) -> str:
    """Return what came of a row: the colour of its test, what is listed under its name, and whether data were lost."""
    is_red = f"test_{scenario.name}" in run.outcome.failed
    if not is_red and f"PASSED test_rows.py::test_{scenario.name}\n" in f"{run.outcome.out}\n":
        return (
            (MISSED if scenario.name in run.changed else FREE) if not run.heads(scenario.name) else "green and listed"
        )
    if not is_red:
        return "did not run"
    if scenario.name in run.changed:
        return "red, and the database changed"
    return REFUSED if run.heads(scenario.name) else "red for another reason"


@pytest.mark.parametrize("report", RUNS, indirect=True)
def test_nothing_is_refused_outside_of_a_row(report: Report) -> None:
    listed = [line for line in report.outcome.refusals if line and not line.startswith(" ")]
    assert not [line for line in listed if "::test_" not in line or "test_0_" in line]


MOMENTS = """
    import atexit
    import app

    app.swallow()

    def pytest_sessionstart():
        app.swallow()

    def pytest_collection_modifyitems():
        app.swallow()

    def pytest_sessionfinish():
        app.swallow()

    def pytest_unconfigure():
        app.swallow()

    atexit.register(app.swallow)
"""


@pytest.mark.parametrize("arguments", [(), ("--collect-only",), ("-n2",)], ids=["a run", "collecting", "two workers"])
@pytest.mark.parametrize("kind", SERVERS)
def test_no_moment_of_a_run_is_outside_of_the_fence(kind: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    name = f"precious_engineroom_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:10]}"
    with precious_database(kind, name) as (url, dump):
        project = make_project(tmp_path, arguments)
        project.write(
            app=textwrap.dedent(APP) + textwrap.dedent(write_server_app(kind, url)),
            conftest=MOMENTS,
            test_a="import app; app.swallow()\ndef test_a(): pass",
        )
        before = dump()
        outcome = project.pytest(APP_ENV="production")
        assert dump() == before
    assert outcome.code != 0
    # While the conftest is imported, at the start, after the collection; while the test is imported; at the end.
    counts = [
        int(count) for count in re.findall(r"^app\.py:\d+ \((\d+) times\)$", "\n".join(outcome.refusals), re.MULTILINE)
    ]
    assert sum(counts) >= 5, outcome.out
    assert "the fence refused, after the summary:" in outcome.err
