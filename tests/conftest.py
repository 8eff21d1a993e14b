"""What all tests share: a clean environment, and the database servers that this machine offers."""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SERVERS: Mapping[str, tuple[str, str, str]] = {
    # The key of a server: its name for people, the variable that names it, and where it usually answers.
    "postgresql": ("PostgreSQL", "ENGINEROOM_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1/postgres"),
    "mariadb": ("MariaDB", "ENGINEROOM_TEST_MARIADB_URL", "mariadb+pymysql://root@127.0.0.1/mysql"),
}
REQUIRE_SERVERS = "ENGINEROOM_REQUIRE_SERVERS"
AS_STARTED = {name: os.environ.get(name, "") for name in (REQUIRE_SERVERS, *(entry[1] for entry in SERVERS.values()))}
"""The only variables of this machine that a test may learn of, read before any test cleans the environment."""

# A machine that is busy is no fault of the code.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

CLEANED_NAMES = {"APP_ENV", "BUILD_NUMBER", "CI", "ENGINEROOM_ROLE", "ENGINEROOM_RUN", "FLASK_ENV"}
CLEANED_PREFIXES = ("TEST_", "PG", "MYSQL_", "MARIADB_", "PYTEST_XDIST_")


def is_cleaned(name: str) -> bool:
    """Tell whether a variable could change what the library or a driver decides, or what pytest prints."""
    folded = name.upper()
    return folded in CLEANED_NAMES or folded.startswith(CLEANED_PREFIXES) or folded.endswith("DATABASE_URL")


@pytest.fixture(autouse=True)
def _clean_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Run each test in an empty directory, without the shell's settings, and forget what it left in the library."""
    for name in filter(is_cleaned, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    yield
    for name in [name for name in sys.modules if name.startswith("engineroom.")]:
        # A module that was not imported has no state; one that has some owns a function to forget it.
        reset: Callable[[], object] | None = getattr(sys.modules[name], "reset", None)
        if reset is not None:
            reset()


def find_server(kind: str) -> URL:
    """Return a maintenance URL of a server that answers; skip the test, or fail it where servers are required."""
    label, variable, usual = SERVERS[kind]
    url = make_url(AS_STARTED[variable] or usual)
    if "+" not in url.drivername:
        url = url.set(drivername=make_url(usual).drivername)
    problem = _connection_problem(url)
    if not problem:
        return url
    where = f"{variable} does not answer" if AS_STARTED[variable] else f"none answers locally, {variable} is unset"
    if AS_STARTED[REQUIRE_SERVERS] or AS_STARTED[variable]:
        pytest.fail(f"no {label} server: {where} ({problem})", pytrace=False)
    pytest.skip(f"no {label} server: {where}")


def _connection_problem(url: URL) -> str:
    try:
        _run_once(url, "SELECT 1")
    except SQLAlchemyError as problem:
        return type(problem).__name__
    return ""


def _run_once(url: URL, statement: str) -> None:
    """Send one statement outside any transaction, over a connection of its own."""
    timeout = {"connect_timeout": 10}
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=timeout)
    with engine.connect() as connection:
        connection.execute(text(statement))


@pytest.fixture(scope="session")
def postgresql_url() -> URL:
    """Return the URL of a PostgreSQL server's maintenance database."""
    return find_server("postgresql")


@pytest.fixture(scope="session")
def mariadb_url() -> URL:
    """Return the URL of a MariaDB server's maintenance database."""
    return find_server("mariadb")


@pytest.fixture
def server_database(request: pytest.FixtureRequest) -> Iterator[Callable[[str], URL]]:
    """Return a function that makes an empty database on ``"postgresql"`` or ``"mariadb"``, dropped after the test."""
    made: list[tuple[URL, str]] = []

    def make(kind: str) -> URL:
        maintenance: URL = request.getfixturevalue(f"{kind}_url")
        name = f"test_engineroom_{secrets.token_hex(4)}"
        # Nobody can be connected to template0, which would keep it from being copied, as to template1 a test may be.
        template = " TEMPLATE template0" if maintenance.get_backend_name() == "postgresql" else ""
        _run_once(maintenance, f"CREATE DATABASE {name}{template}")
        made.append((maintenance, name))
        return maintenance.set(database=name)

    yield make
    for maintenance, name in made:
        force = " WITH (FORCE)" if maintenance.get_backend_name() == "postgresql" else ""
        _run_once(maintenance, f"DROP DATABASE IF EXISTS {name}{force}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count what was skipped for want of a server, so that a green run does not hide it."""
    skipped: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        longrepr: Any = report.longrepr
        reason = longrepr[2].removeprefix("Skipped: ") if isinstance(longrepr, tuple) else ""
        if reason.startswith("no ") and " server: " in reason:
            skipped[reason] += 1
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"{count} {'test' if count == 1 else 'tests'} skipped: {reason}")
