"""What pytest finds of the plugin: its hooks and its fixtures.

The hooks do nothing themselves: the switch stands in ``_switch``, what is asked for every test in ``_watching``, the
words in ``_report``, the fence and the ledger in :mod:`engineroom.testing`. None of the fixtures is needed, since the
application's own engines and session makers reach the test database; they load SQLAlchemy when a test asks for one.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engineroom.pytest_plugin._switch import Run, end_run, free_temporary, start_run, watch_servers
from engineroom.pytest_plugin._watching import end_test, watch_tests
from engineroom.testing import fence
from engineroom.testing._arrivals import when_imported

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator, Iterator
    from types import ModuleType

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

    from engineroom.testing.proof import Verification
    from engineroom.testing.server_proof import ServerVerification

__all__ = [
    "async_db_engine",
    "async_db_session",
    "db_engine",
    "db_session",
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_configure",
    "pytest_report_header",
    "pytest_sessionfinish",
    "pytest_sessionstart",
    "pytest_terminal_summary",
]

NAME = "engineroom"
PLUGIN = "engineroom.pytest_plugin"
MARKER = (
    'engineroom(isolation="none"): leave what this test commits, instead of restoring the state before it (engineroom)'
)
SYNC_DRIVERS = frozenset({"psycopg", "psycopg2", "pymysql"})
"""The drivers that can tell what a server counts, once a suite has loaded one of them."""

GREEN = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)

_run_key = pytest.StashKey[Run]()
_session_key = pytest.StashKey[pytest.Session]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Start the run: this is called when the plugin is registered, before any conftest or test is imported."""
    group = parser.getgroup("engineroom", "databases of the tests")
    group.addoption(
        "--engineroom-rebuild", action="store_true", help="build the schema anew, whatever was kept of it between runs"
    )
    group.addoption(
        "--engineroom-keep", action="store_true", help="keep the test databases on servers when the run ends"
    )
    config = pluginmanager.getplugin("pytestconfig")
    if not isinstance(config, pytest.Config) or _run_key in config.stash:
        return
    if pluginmanager.get_name(sys.modules[PLUGIN]) != NAME:
        # Registered by its module's name, as -p engineroom.pytest_plugin does: the entry point would do it once more.
        pluginmanager.set_blocked(NAME)
    try:
        run = start_run(_root_of(config))
    except Exception as error:
        from engineroom.errors import EngineroomError  # noqa: PLC0415  # nearly every run goes on

        if isinstance(error, EngineroomError):
            raise pytest.UsageError(f"engineroom: {error}") from None
        raise
    config.stash[_run_key] = run
    config.add_cleanup(lambda: _close(config, run))
    if not run.is_worker:  # an xdist worker does not exit by itself, and its exit status is nobody's
        atexit.register(_look_at_exit, run, os.getpid())
    when_imported("engineroom._schema", lambda schema: _isolate(config, run, schema))


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker, and free the directory that ``--basetemp`` hands over to pytest."""
    config.addinivalue_line("markers", MARKER)
    directory = config.getoption("basetemp", default=None)
    run = config.stash.get(_run_key, None)
    if directory and run is not None:
        free_temporary(run, directory)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Watch the tests; whether others will run them is known by now."""
    run = session.config.stash.get(_run_key, None)
    if run is not None:
        watch_tests(session.config, run)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell the environment, what it replaced, the binds, and whether isolation is on."""
    run = config.stash.get(_run_key, None)
    if run is None:
        return []
    from engineroom.pytest_plugin._report import header_lines  # noqa: PLC0415  # a quiet run tells nothing

    run.header = header_lines(run)
    return run.header


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Read the counters of the development databases on servers, if a driver has been imported that can."""
    run = session.config.stash.get(_run_key, None)
    if run is not None and not SYNC_DRIVERS.isdisjoint(sys.modules):
        watch_servers(run)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Note that the last test is over; at the very end, fail the run for a refusal that no test failed for."""
    run = session.config.stash.get(_run_key, None)
    if run is None:
        return (yield)
    end_test(run)
    result = yield
    run.proof.look()
    if run.proof.has_servers():
        run.proof.servers.read()
    if not run.is_worker:
        session.config.stash[_session_key] = session
        _fail_if_refused(session, run)
    return result


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List each refusal once, and tell whether the development database is unchanged."""
    run = config.stash.get(_run_key, None)
    if run is None:
        return
    refusals = run.ledger.unexpected()
    if refusals:
        from engineroom.pytest_plugin import _late  # noqa: PLC0415  # most runs have none
        from engineroom.pytest_plugin._report import refusal_lines  # noqa: PLC0415  # as above

        _late.know(refusals)
        terminalreporter.section("engineroom: the fence refused", red=True)
        for line in refusal_lines(refusals, config.rootpath):
            terminalreporter.write_line(line)
    for driver in fence.unknown_drivers():
        line = (
            f"engineroom: WARNING: {driver} is built in a way that the fence does not know; it may not see it connect."
        )
        terminalreporter.write_line(line, yellow=True)
    verifications: list[Verification | ServerVerification] = [
        *run.proof.verify(config.rootpath),
        *(run.proof.servers.verify() if run.proof.has_servers() else []),
    ]
    for verification in verifications:
        if not verification.is_unchanged:
            terminalreporter.write_line(f"engineroom: WARNING: {verification}", yellow=True)
        elif config.get_verbosity() >= -1:
            terminalreporter.write_line(f"engineroom: {verification}")


def _root_of(config: pytest.Config) -> Path:
    try:
        return config.rootpath
    except AttributeError:  # registered by pytest.main(plugins=[...]), before pytest looked for its rootdir
        return Path.cwd()


def _isolate(config: pytest.Config, run: Run, schema: ModuleType) -> None:
    if not run.is_over:
        from engineroom.pytest_plugin._isolation import isolate_tests  # noqa: PLC0415  # no engine was made before

        isolate_tests(config, run, schema)


def _fail_if_refused(session: pytest.Session, run: Run) -> None:
    if session.exitstatus in GREEN and run.ledger.unexpected():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _close(config: pytest.Config, run: Run) -> None:
    """End the run, whatever ended it; what was refused since the summary is told now."""
    session = config.stash.get(_session_key, None)
    if session is not None:
        _fail_if_refused(session, run)
    refusals = run.ledger.unexpected()
    if refusals:
        from engineroom.pytest_plugin import _late  # noqa: PLC0415  # most runs have none

        if session is not None:
            _late.tell(run)
        elif sys.exc_info()[0] is not None:
            _late.know(refusals)  # pytest tells what ended the run before its session, and exits with it
    end_run(run)


def _look_at_exit(run: Run, pid: int) -> None:
    """Look once more when the process exits; functions that are registered later are called earlier."""
    if os.getpid() == pid and run.ledger.unexpected():
        from engineroom.pytest_plugin import _late  # noqa: PLC0415  # as above

        _late.exit_with(run)


# --- The fixtures ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def db_engine() -> Engine:
    """The engine of the test database, the same as the application's.

    It is what ``engineroom.get_engine()`` returns, of the default bind.

    Example:
        def test_the_table_is_there(db_engine):
            assert "users" in inspect(db_engine).get_table_names()
    """
    from engineroom._engines import get_engine  # noqa: PLC0415

    return get_engine()


@pytest.fixture
def db_session(db_engine: Engine) -> Iterator[Session]:
    """A session on the test database, closed after the test.

    Commits are real: other connections see them. With ``schema`` configured, they are undone after the test.

    Example:
        def test_a_user_is_stored(db_session):
            db_session.add(User(name="ada"))
            db_session.commit()
            assert db_session.query(User).count() == 1
    """
    from sqlalchemy.orm import Session  # noqa: PLC0415

    with Session(db_engine) as session:
        yield session


@pytest.fixture(scope="session")
def async_db_engine() -> AsyncEngine:
    """The async engine of the test database, the same as the application's.

    It is what ``engineroom.get_async_engine()`` returns, of the default bind. It works from every event loop.

    Example:
        async def test_the_database_answers(async_db_engine):
            async with async_db_engine.connect() as connection:
                assert await connection.scalar(text("SELECT 1")) == 1
    """
    from engineroom._engines import get_async_engine  # noqa: PLC0415

    return get_async_engine()


@pytest.fixture
def async_db_session(async_db_engine: AsyncEngine) -> Iterator[AsyncSession]:
    """An async session on the test database, closed after the test.

    Its objects can be read after a commit. It is no coroutine itself, so it works under pytest-asyncio in either mode,
    under anyio, and in a plain test that calls ``asyncio.run``.

    Example:
        async def test_a_user_is_stored(async_db_session):
            async_db_session.add(User(name="ada"))
            await async_db_session.commit()
            assert await async_db_session.scalar(select(func.count(User.id))) == 1
    """
    import asyncio  # noqa: PLC0415  # it alone takes as long as the rest of the plugin

    from sqlalchemy import event  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import AsyncSession  # noqa: PLC0415

    session = AsyncSession(async_db_engine, expire_on_commit=False)
    loops: list[asyncio.AbstractEventLoop] = []
    event.listen(session.sync_session, "after_begin", lambda *_: loops.append(asyncio.get_running_loop()))
    yield session
    _close_session(session, loops)


def _close_session(session: AsyncSession, loops: list[asyncio.AbstractEventLoop]) -> None:
    """Close a session in the event loop that used it last; if that is gone, so is the session's connection."""
    loop = loops[-1] if loops else None
    if loop is None:
        session.sync_session.close()
    elif loop.is_closed():
        pool = session.get_bind().engine.pool
        abandon = getattr(pool, "abandon_closed", None)  # the loop may have been closed without notice
        if abandon is not None:
            abandon()
    elif not loop.is_running():
        loop.run_until_complete(session.close())
