"""The factory: which engine for which arguments, of which database, and what becomes of the application's options."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
import timeit
import traceback
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from engineroom import (
    Environment,
    current_environment,
    database_url,
    dispose_async_engines,
    dispose_engines,
    get_async_engine,
    get_engine,
)
from engineroom._engines import MOST_ANSWERS, _registry, made_engines
from engineroom._lifecycle import enter_test_process, frozen_by
from engineroom._memory import run_directory
from engineroom._plans import ASYNC, SYNC
from engineroom.errors import (
    DestructiveOperationError,
    EngineroomError,
    EnvironmentChangedError,
    InvalidSettingError,
    MissingDependencyError,
    MissingSettingError,
    UnknownEnvironmentError,
    UnsafeTestDatabaseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "geheim-4711"


@dataclass(frozen=True)
class Flavour:
    """How a test uses an engine of one kind; the bodies of the tests are the same for both."""

    get: Callable[..., Any]
    type: type
    driver: str

    def run(self, engine: Any, *statements: str) -> list[tuple[Any, ...]]:
        """Execute statements in one transaction, and return the rows of the last one."""
        if isinstance(engine, Engine):
            with engine.begin() as connection:
                return [_rows(connection.execute(text(each))) for each in statements][-1]
        return asyncio.run(_run(engine, statements))

    def file_of(self, engine: Any) -> str:
        """Return the name of the file that a connection really reaches."""
        return Path(self.run(engine, "PRAGMA database_list")[0][2]).name

    def arguments_of(self, engine: Any) -> dict[str, Any]:
        """Return what the driver would be told, without telling it."""
        seen: dict[str, Any] = {}

        def stop(_: object, __: object, positional: list[Any], named: dict[str, Any]) -> None:
            seen.update(named, positional=positional)
            raise _StoppedError

        inner(engine).dispose()
        event.listen(inner(engine), "do_connect", stop)
        with pytest.raises(_StoppedError):
            self.run(engine, "SELECT 1")
        event.remove(inner(engine), "do_connect", stop)
        return seen


class _StoppedError(Exception):
    """The driver is not asked."""


async def _run(engine: AsyncEngine, statements: tuple[str, ...]) -> list[tuple[Any, ...]]:
    async with engine.begin() as connection:
        return [_rows(await connection.execute(text(each))) for each in statements][-1]


def _rows(result: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in result] if result.returns_rows else []


def inner(engine: Any) -> Engine:
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine


FLAVOURS = {
    "sync": Flavour(get_engine, Engine, "pysqlite"),
    "async": Flavour(get_async_engine, AsyncEngine, "aiosqlite"),
}


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    return FLAVOURS[request.param]


@pytest.fixture
def other(flavour: Flavour) -> Flavour:
    return next(each for each in FLAVOURS.values() if each is not flavour)


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make this an ordinary process: no pytest, nothing configured."""
    monkeypatch.delenv("PYTEST_VERSION")
    return monkeypatch


@pytest.fixture
def testing(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make this a test process, as the plugin does."""
    enter_test_process()
    return monkeypatch


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def write_env(**values: str) -> None:
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


# --- The same arguments give the same object ------------------------------------------------------------------------


class Unhashable:
    """A callable, and an option, that has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _: object) -> bool:
        return True

    def __call__(self) -> str:
        return "sqlite:///shop.db"


def give_url() -> str:
    return "sqlite:///shop.db"


class Settings:
    def url(self) -> str:
        return "sqlite:///shop.db"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("sqlite:///shop.db", id="a text"),
        pytest.param(" sqlite:///shop.db\n", id="a text with space around it"),
        pytest.param(make_url("sqlite:///shop.db"), id="a URL"),
        pytest.param(give_url, id="a function"),
        pytest.param(lambda: make_url("sqlite:///shop.db"), id="a lambda that returns a URL"),
        pytest.param(Settings().url, id="a bound method"),
        pytest.param(Unhashable(), id="a callable without a hash"),
    ],
)
@pytest.mark.usefixtures("ordinary")
def test_every_way_to_write_a_url_gives_the_same_engine(flavour: Flavour, url: Any) -> None:
    engine = flavour.get("sqlite:///shop.db")
    assert flavour.get(url) is engine
    assert flavour.get(url) is engine
    assert len(made_engines()) == 1


SAME_OPTIONS: list[dict[str, Any]] = [
    {},
    {"pool_pre_ping": True},
    {"connect_args": {"timeout": 5, "check_same_thread": False}},
    {"connect_args": {"check_same_thread": False, "timeout": 5}},
    {"execution_options": {"schema_translate_map": {None: "main"}}},
    {"pool_size": 3, "echo": False},
    {"plugins": []},
    {"hide_parameters": True},
]


@pytest.mark.parametrize("options", SAME_OPTIONS, ids=repr)
@pytest.mark.usefixtures("ordinary")
def test_equal_options_give_the_same_engine(flavour: Flavour, options: dict[str, Any]) -> None:
    first = flavour.get("sqlite:///shop.db", **copy.deepcopy(options))
    assert flavour.get("sqlite:///shop.db", **copy.deepcopy(options)) is first
    assert isinstance(first, flavour.type)


@pytest.mark.usefixtures("ordinary")
def test_options_that_differ_give_different_engines(flavour: Flavour) -> None:
    calls: list[dict[str, Any]] = [
        {},
        {"echo": True},
        {"echo": 1},
        {"pool_size": 2},
        {"pool_size": 3},
        {"connect_args": {"timeout": 1}},
        {"connect_args": {"timeout": 2}},
    ]
    engines = [flavour.get("sqlite:///shop.db", **options) for options in calls]
    assert len(set(map(id, engines))) == len(engines)
    assert [flavour.get("sqlite:///shop.db", **options) for options in calls] == engines
    logging.getLogger("sqlalchemy.engine.Engine").handlers.clear()  # echo=True adds one


@pytest.mark.usefixtures("ordinary")
def test_an_option_without_a_hash_stands_for_itself(flavour: Flavour) -> None:
    one, two = Unhashable(), Unhashable()
    first = flavour.get("sqlite:///shop.db", json_serializer=one)
    assert flavour.get("sqlite:///shop.db", json_serializer=one) is first
    assert flavour.get("sqlite:///shop.db", json_serializer=two) is not first


@pytest.mark.usefixtures("ordinary")
def test_the_sync_and_the_async_engine_are_not_confused() -> None:
    assert isinstance(get_engine("sqlite:///shop.db"), Engine)
    assert isinstance(get_async_engine("sqlite:///shop.db"), AsyncEngine)
    assert isinstance(get_engine(), Engine)
    assert isinstance(get_async_engine(), AsyncEngine)


@pytest.mark.usefixtures("ordinary")
def test_a_callable_counts_as_what_it_said_first(flavour: Flavour, other: Flavour) -> None:
    answers = iter(["sqlite:///one.db", "sqlite:///two.db"])

    def url() -> str:
        return next(answers)

    first = flavour.get(url)
    assert flavour.get(url) is first
    assert flavour.file_of(first) == "one.db"
    assert other.file_of(other.get(url)) == "one.db"
    assert next(answers) == "sqlite:///two.db"


@pytest.mark.usefixtures("ordinary")
def test_callables_made_for_each_call_are_not_kept_for_ever() -> None:
    engines = {get_engine(lambda: "sqlite:///shop.db") for _ in range(MOST_ANSWERS + 50)}
    assert len(engines) == 1
    assert len(_registry.answers) <= MOST_ANSWERS
    assert len(_registry.engines) == 1


@pytest.mark.usefixtures("ordinary")
def test_twenty_threads_at_once_get_one_engine_that_was_made_once(flavour: Flavour) -> None:
    got: list[Any] = []
    gate = threading.Barrier(20)

    def ask() -> None:
        gate.wait()
        got.append(flavour.get("sqlite:///shop.db", connect_args={"timeout": 7}))
        got.append(flavour.get())

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(got) == 40
    assert len(set(map(id, got))) == 1
    assert len(made_engines()) == 1


@pytest.mark.usefixtures("ordinary")
def test_a_callable_may_ask_for_another_engine(flavour: Flavour) -> None:
    def url() -> str:
        return str(flavour.get("sqlite:///registry.db", bind="registry").url).replace("registry", "shop")

    assert flavour.file_of(flavour.get(url)) == "shop.db"


# --- A bare call, and the binds -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ordinary")
def test_a_bare_call_gives_the_first_engine_of_the_bind(flavour: Flavour) -> None:
    first = flavour.get("sqlite:///one.db", pool_pre_ping=True)
    second = flavour.get("sqlite:///two.db")
    assert flavour.get() is first is not second
    assert flavour.get(bind="default") is first


@pytest.mark.usefixtures("ordinary")
def test_a_bare_call_that_comes_first_makes_the_first_engine(flavour: Flavour) -> None:
    write_env(DATABASE_URL="sqlite:///one.db")
    first = flavour.get()
    assert flavour.file_of(first) == "one.db"
    assert flavour.get("sqlite:///two.db") is not first
    assert flavour.get() is first


@pytest.mark.parametrize("environment", ["development", "test"])
@pytest.mark.parametrize("first_call", ["explicit", "bare"])
def test_a_bare_call_of_the_other_kind_reaches_the_database_of_the_first_engine(
    flavour: Flavour, other: Flavour, monkeypatch: pytest.MonkeyPatch, environment: str, first_call: str
) -> None:
    if environment == "test":
        enter_test_process()
    else:
        monkeypatch.delenv("PYTEST_VERSION")
    write_env(DATABASE_URL="sqlite:///one.db")
    first = flavour.get("sqlite:///two.db") if first_call == "explicit" else flavour.get()
    flavour.run(first, "CREATE TABLE mark (x)", "INSERT INTO mark VALUES (7)")
    flavour.get("sqlite:///three.db")
    other.get("sqlite:///four.db")
    assert other.run(other.get("sqlite:///two.db" if first_call == "explicit" else "sqlite:///one.db"), "SELECT 1")
    bare = FLAVOURS["async" if flavour is FLAVOURS["sync"] else "sync"].get(pool_pre_ping=True)
    assert other.run(bare, "SELECT x FROM mark") == [(7,)]
    assert other.run(create_like(database_url()), "SELECT x FROM mark") == [(7,)]


def create_like(url: URL) -> Any:
    """Make an engine as a library would that owns its engine itself."""
    make = create_async_engine if "+aio" in url.drivername else create_engine
    return make(url, poolclass=NullPool)


def test_a_variable_that_changes_later_does_not_part_the_two_engines_of_a_bind(
    flavour: Flavour, other: Flavour, ordinary: pytest.MonkeyPatch
) -> None:
    ordinary.setenv("DATABASE_URL", "sqlite:///one.db")
    assert flavour.file_of(flavour.get()) == "one.db"
    ordinary.setenv("DATABASE_URL", "sqlite:///two.db")
    assert other.file_of(other.get()) == "one.db"
    assert database_url().database == "one.db"
    ordinary.setenv("STOCK_DATABASE_URL", "sqlite:///stock.db")  # a bind that nobody used yet is read now
    assert other.file_of(other.get(bind="stock")) == "stock.db"


def test_binds_have_databases_of_their_own(flavour: Flavour, other: Flavour, ordinary: pytest.MonkeyPatch) -> None:
    ordinary.setenv("DATABASE_URL", "sqlite:///shop.db")
    ordinary.setenv("ANALYTICS_DATABASE_URL", "sqlite:///analytics.db")
    assert flavour.file_of(flavour.get(bind="analytics")) == "analytics.db"
    assert flavour.file_of(flavour.get()) == "shop.db"
    assert other.file_of(other.get(bind="analytics")) == "analytics.db"
    assert database_url("analytics").database == "analytics.db"


@pytest.mark.usefixtures("testing")
def test_binds_have_databases_of_their_own_under_test(flavour: Flavour, other: Flavour) -> None:
    flavour.run(flavour.get(), "CREATE TABLE mark (x)")
    flavour.run(flavour.get(bind="analytics"), "CREATE TABLE mark (x)", "INSERT INTO mark VALUES (1)")
    assert other.run(other.get(), "SELECT * FROM mark") == []
    assert other.run(other.get(bind="analytics"), "SELECT * FROM mark") == [(1,)]
    assert other.run(other.get(bind="Analytics"), "SELECT * FROM mark") == [(1,)]  # its variables have no case either


@pytest.mark.parametrize("bind", ["", "a-b", "1a", "ä", "a b", "../x", "test", "test_shop", "TEST_shop"])
@pytest.mark.usefixtures("ordinary")
def test_the_name_of_a_bind_is_an_identifier(flavour: Flavour, bind: str) -> None:
    with pytest.raises(InvalidSettingError):
        flavour.get(bind=bind)
    with pytest.raises(InvalidSettingError):
        database_url(bind)
    assert_nothing_changed()


# --- Which database, under test --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("testing")
def test_two_files_under_one_bind_stay_two_databases_under_test(flavour: Flavour, other: Flavour) -> None:
    one, two = flavour.get("sqlite:///one.db"), flavour.get("sqlite:///two.db")
    flavour.run(one, "CREATE TABLE mark (x)", "INSERT INTO mark VALUES (1)")
    flavour.run(two, "CREATE TABLE mark (x)", "INSERT INTO mark VALUES (2)")
    assert other.run(other.get("sqlite:///two.db"), "SELECT x FROM mark") == [(2,)]
    assert other.run(other.get("sqlite:///one.db"), "SELECT x FROM mark") == [(1,)]
    assert other.run(other.get(), "SELECT x FROM mark") == [(1,)]
    assert not list(Path.cwd().glob("*.db"))


@pytest.mark.parametrize("spelling", ["sqlite:///./one.db", "sqlite:///{cwd}/one.db", "sqlite:///link.db"])
@pytest.mark.usefixtures("testing")
def test_another_spelling_of_a_file_is_the_same_database(flavour: Flavour, other: Flavour, spelling: str) -> None:
    Path("link.db").symlink_to("one.db")
    flavour.run(flavour.get("sqlite:///one.db"), "CREATE TABLE mark (x)", "INSERT INTO mark VALUES (1)")
    again = other.get(spelling.format(cwd=Path.cwd()))
    assert other.run(again, "SELECT x FROM mark") == [(1,)]


@pytest.mark.usefixtures("testing")
def test_the_variable_and_another_file_stay_two_databases_under_test(flavour: Flavour, other: Flavour) -> None:
    write_env(DATABASE_URL="sqlite:///one.db")
    flavour.run(flavour.get(), "CREATE TABLE mark (x)", "INSERT INTO mark VALUES (1)")
    flavour.run(flavour.get("sqlite:///two.db"), "CREATE TABLE mark (x)", "INSERT INTO mark VALUES (2)")
    assert other.run(other.get("sqlite:///one.db"), "SELECT x FROM mark") == [(1,)]
    assert other.run(other.get("sqlite:///two.db"), "SELECT x FROM mark") == [(2,)]


@pytest.mark.usefixtures("testing")
def test_a_fixture_that_comes_before_the_application_reaches_its_database(flavour: Flavour, other: Flavour) -> None:
    bare = flavour.get()  # nothing is configured; the application passes its URL later
    flavour.run(bare, "CREATE TABLE mark (x)")
    assert other.run(other.get("sqlite:///shop.db"), "SELECT x FROM mark") == []
    assert flavour.run(flavour.get("sqlite:///shop.db"), "SELECT x FROM mark") == []


@pytest.mark.usefixtures("testing")
def test_the_second_database_of_one_bind_is_not_the_first_of_another(flavour: Flavour) -> None:
    flavour.get("sqlite:///one.db", bind="a")
    second = flavour.get("sqlite:///two.db", bind="a")
    flavour.run(second, "CREATE TABLE mark (x)")
    neighbour = flavour.get("sqlite:///three.db", bind="a_2")
    flavour.run(neighbour, "CREATE TABLE mark (x)")
    assert flavour.file_of(second) != flavour.file_of(neighbour)


@pytest.mark.parametrize("variable", ["sqlite://", "sqlite:///test_all.db"])
def test_the_test_variable_stands_for_the_whole_bind(
    flavour: Flavour, other: Flavour, testing: pytest.MonkeyPatch, variable: str
) -> None:
    testing.setenv("TEST_DATABASE_URL", variable)
    write_env(DATABASE_URL="sqlite:///one.db")
    flavour.run(flavour.get(), "CREATE TABLE mark (x)", "INSERT INTO mark VALUES (1)")
    assert other.run(other.get("sqlite:///two.db"), "SELECT x FROM mark") == [(1,)]
    with pytest.raises(InvalidSettingError, match="bind"):
        other.get("sqlite:///three.db")


@pytest.mark.usefixtures("testing")
def test_database_url_names_the_database_of_the_engines(flavour: Flavour) -> None:
    url = database_url()
    flavour.run(flavour.get("sqlite:///shop.db"), "CREATE TABLE mark (x)")
    assert FLAVOURS["sync"].run(create_engine(url, poolclass=NullPool), "SELECT x FROM mark") == []
    assert database_url() == url
    assert url.database is not None
    assert Path(url.database).parent == run_directory()


@pytest.mark.usefixtures("testing")
def test_the_file_on_disk_is_not_touched_under_test(flavour: Flavour) -> None:
    connection = sqlite3.connect("shop.db")
    connection.executescript("CREATE TABLE users (name); INSERT INTO users VALUES ('a')")
    connection.close()
    before = Path("shop.db").read_bytes()
    engine = flavour.get("sqlite:///shop.db")
    flavour.run(engine, "CREATE TABLE users (name)", "INSERT INTO users VALUES ('b')", "DROP TABLE users")
    assert Path("shop.db").read_bytes() == before


# --- The drivers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"])
@pytest.mark.usefixtures("ordinary")
def test_the_driver_is_exchanged_for_the_kind_of_engine(flavour: Flavour, name: str) -> None:
    engine = flavour.get(f"{name}:///shop.db")
    assert engine.dialect.driver == flavour.driver
    assert flavour.run(engine, "SELECT 1") == [(1,)]


def test_a_relative_path_stays_relative_to_the_working_directory(
    flavour: Flavour, ordinary: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("pyproject.toml").touch()
    below = tmp_path / "below"
    below.mkdir()
    ordinary.chdir(below)
    flavour.run(flavour.get("sqlite:///shop.db"), "CREATE TABLE mark (x)")
    assert (below / "shop.db").exists()
    flavour.run(flavour.get(bind="none"), "CREATE TABLE mark (x)")
    assert (tmp_path / "development.db").exists()  # our own default stands in the project's root


@pytest.mark.usefixtures("ordinary")
def test_the_engine_is_guarded(flavour: Flavour) -> None:
    engine = flavour.get("sqlite:///shop.db")
    flavour.run(engine, "CREATE TABLE mark (x)")
    with pytest.raises(DestructiveOperationError):
        flavour.run(engine, "DROP TABLE mark")


@pytest.mark.parametrize(
    ("url", "module"),
    [
        ("oracle+oracledb://db/shop", "oracledb"),
        ("mssql+pymssql://db/shop", "pymssql"),
        ("duckdb:///shop.duckdb", "duckdb"),
        ("postgress://db/shop", "postgress"),
        ("postgresql+nope://db/shop", "nope"),
    ],
)
@pytest.mark.usefixtures("ordinary")
def test_a_driver_that_is_not_there_is_told(url: str, module: str) -> None:
    with pytest.raises(MissingDependencyError, match=module):
        get_engine(url)
    assert_nothing_changed()


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://app:x@db/shop", "psycopg"),
        ("postgres://app:x@db/shop", "psycopg"),
        ("postgresql+psycopg2://app:x@db/shop", "psycopg2"),
        ("mysql+pymysql://app:x@db/shop", "pymysql"),
    ],
)
def test_a_missing_driver_comes_with_its_install_line(ordinary: pytest.MonkeyPatch, url: str, driver: str) -> None:
    find = util.find_spec
    hidden = {"psycopg", "psycopg2", "pymysql", "MySQLdb", "asyncpg"}
    ordinary.setattr(util, "find_spec", lambda name: None if name in hidden else find(name))
    with pytest.raises(MissingDependencyError, match=rf"pip install \"engineroom\[{driver}\]\""):
        get_engine(url)
    assert_nothing_changed()


# --- The environment ------------------------------------------------------------------------------------------------


def test_only_a_new_engine_notices_that_the_variable_changed(
    flavour: Flavour, other: Flavour, ordinary: pytest.MonkeyPatch
) -> None:
    ordinary.setenv("APP_ENV", "staging")
    ordinary.setenv("DATABASE_URL", "sqlite:///staging.db")
    engine = flavour.get("sqlite:///shop.db")
    ordinary.setenv("APP_ENV", "production")
    assert flavour.get("sqlite:///shop.db") is engine
    assert flavour.get() is engine
    assert current_environment() is Environment.STAGING
    for ask in (lambda: flavour.get("sqlite:///other.db"), other.get, database_url):
        with pytest.raises(EnvironmentChangedError, match="production"):
            ask()
    ordinary.setenv("APP_ENV", "stage")  # the same environment by another word
    assert other.get() is not None


def test_under_test_the_variable_says_what_it_likes(flavour: Flavour, testing: pytest.MonkeyPatch) -> None:
    flavour.get()
    testing.setenv("APP_ENV", "production")
    assert flavour.file_of(flavour.get("sqlite:///shop.db")).startswith("test_")
    assert current_environment() is Environment.TEST


@pytest.mark.parametrize("ask", [get_engine, get_async_engine, database_url], ids=lambda ask: ask.__name__)
def test_the_first_engine_freezes_the_environment_and_tells_who_asked(
    ordinary: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    ordinary.setenv("APP_ENV", "dev")
    assert frozen_by() is None
    ask()
    frozen = frozen_by()
    assert frozen is not None
    assert (frozen.environment, frozen.module) == (Environment.DEVELOPMENT, __name__)
    assert "bind default" in frozen.what


def test_outside_of_development_a_url_is_needed(flavour: Flavour, ordinary: pytest.MonkeyPatch) -> None:
    ordinary.setenv("APP_ENV", "production")
    with pytest.raises(MissingSettingError, match="DATABASE_URL"):
        flavour.get()
    assert_nothing_changed()


def assert_nothing_changed() -> None:
    """Nothing was frozen, registered or made."""
    assert frozen_by() is None
    assert made_engines() == ()
    assert not _registry.engines
    assert not _registry.first
    assert not _registry.histories
    assert not [path for path in Path.cwd().rglob("*") if path.suffix == ".db"]


def all_that_is_shown_of(error: BaseException) -> str:
    """Return all that a report may show: the chain, and the locals of each frame but those of this module."""
    shown = ["".join(traceback.format_exception(error))]
    one: BaseException | None = error
    while one is not None:
        frames = [frame for frame, _ in traceback.walk_tb(one.__traceback__) if frame.f_globals is not globals()]
        shown += [repr(one), repr(vars(one)), repr(getattr(one, "__notes__", "")), *(repr(f.f_locals) for f in frames)]
        one = one.__cause__ or one.__context__
    return "\n".join(shown)


class Odd:
    pass


async def give_url_later() -> str:
    return "sqlite:///shop.db"


def raise_error() -> str:
    raise LookupError("no such key")


BAD_CALLS: dict[str, tuple[dict[str, str], str, Any, type[Exception]]] = {
    "unknown environment": ({"APP_ENV": "prodd"}, "", None, UnknownEnvironmentError),
    "empty url": ({}, "", "", InvalidSettingError),
    "blank url": ({}, "", "  ", InvalidSettingError),
    "malformed url": ({}, "", "shop.db", InvalidSettingError),
    "port that is no number": ({}, "", f"postgresql://u:{SECRET}@h:port/shop", InvalidSettingError),
    "malformed variable": ({"DATABASE_URL": f"postgresql:/{SECRET}"}, "", None, InvalidSettingError),
    "number": ({}, "", 5, InvalidSettingError),
    "bytes": ({}, "", b"sqlite://", InvalidSettingError),
    "some object": ({}, "", Odd(), InvalidSettingError),
    "callable that returns None": ({}, "", lambda: None, InvalidSettingError),
    "callable that returns a number": ({}, "", lambda: 5, InvalidSettingError),
    "callable that is async": ({}, "", give_url_later, InvalidSettingError),
    "callable that raises": ({}, "", raise_error, LookupError),
    "unknown key in the project": ({}, "[tool.engineroom]\nshema = 'x'\n", None, InvalidSettingError),
    "project that is no TOML": ({}, "[tool.engineroom\n", None, InvalidSettingError),
    "no url in staging": ({"APP_ENV": "staging", "DATABASE_URL": " "}, "", None, MissingSettingError),
    "unknown dialect": ({}, "", f"postgress://u:{SECRET}@h/shop", MissingDependencyError),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_input_gives_its_error_and_changes_nothing(
    flavour: Flavour, ordinary: pytest.MonkeyPatch, case: str
) -> None:
    environ, project, url, error = BAD_CALLS[case]
    for name, value in environ.items():
        ordinary.setenv(name, value)
    Path("pyproject.toml").write_text(project)
    with pytest.raises(error) as caught:
        flavour.get(url)
    assert SECRET not in all_that_is_shown_of(caught.value)
    assert_nothing_changed()
    if url is None:
        with pytest.raises(error) as caught:
            database_url()
        assert SECRET not in all_that_is_shown_of(caught.value)
        assert_nothing_changed()


@pytest.mark.usefixtures("ordinary")
def test_a_settings_file_that_cannot_be_read_gives_its_error_and_changes_nothing(flavour: Flavour) -> None:
    Path(".env").mkdir()
    with pytest.raises(InvalidSettingError, match=r"\.env cannot be read"):
        flavour.get()
    assert_nothing_changed()
    Path(".env").rmdir()
    assert flavour.get() is flavour.get()  # once it is mended, the same process goes on


@pytest.mark.usefixtures("ordinary")
def test_after_a_failure_the_same_call_succeeds(flavour: Flavour) -> None:
    with pytest.raises(TypeError, match="bogus"):
        flavour.get("sqlite:///shop.db", bogus=1)
    assert_nothing_changed()
    assert flavour.run(flavour.get("sqlite:///shop.db"), "SELECT 1") == [(1,)]


@pytest.mark.usefixtures("ordinary")
def test_what_a_callable_raises_comes_through_with_its_own_frames(flavour: Flavour) -> None:
    with pytest.raises(LookupError) as caught:
        flavour.get(raise_error)
    shown = "".join(traceback.format_exception(caught.value))
    assert "in raise_error" in shown
    assert "_obtain" not in shown


@pytest.mark.usefixtures("ordinary")
def test_an_option_that_is_wrong_outside_of_a_test_is_sqlalchemys_error(flavour: Flavour) -> None:
    with pytest.raises(TypeError, match=r"pool_size.*sent to create_engine"):
        flavour.get("sqlite:///shop.db", poolclass=NullPool, pool_size=3)
    assert_nothing_changed()
    for options in ({"poolclass": "QueuePool"}, {"isolation_level": 5}, {"connect_args": 5}, {"poolclass": Odd}):
        with pytest.raises(Exception) as expected:  # noqa: PT011  # whatever it is
            create_engine("sqlite:///shop.db", **options).connect()
        with pytest.raises(type(expected.value), match=re.escape(str(expected.value).splitlines()[0])):
            flavour.run(flavour.get("sqlite:///shop.db", **options), "SELECT 1")


# --- Under pytest without the plugin --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("sqlite:///shop.db", {}),
        ("sqlite:///file:shop.db?uri=true", {}),
        (None, {}),
        ("postgresql://db/shop", {}),
        ("postgresql+psycopg://localhost/test_shop", {"connect_args": {"dbname": "shop"}}),
        ("postgresql+psycopg://localhost/test_shop?dbname=shop", {}),
        ("mysql+pymysql://localhost/test_shop", {"connect_args": {"init_command": "USE shop"}}),
    ],
)
def test_under_pytest_without_the_plugin_nothing_but_a_disposable_database_is_handed_out(
    url: str | None, options: dict[str, Any]
) -> None:
    with pytest.raises(UnsafeTestDatabaseError, match="plugin of engineroom is switched off"):
        get_engine(url, **options)
    assert_nothing_changed()


def test_under_pytest_without_the_plugin_database_url_hands_out_nothing_else_either() -> None:
    write_env(DATABASE_URL="sqlite:///shop.db")
    with pytest.raises(UnsafeTestDatabaseError):
        database_url()
    assert_nothing_changed()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///test_shop.db", "sqlite:///:memory:"])
def test_under_pytest_without_the_plugin_a_disposable_database_is_handed_out(flavour: Flavour, url: str) -> None:
    assert flavour.run(flavour.get(url), "CREATE TABLE t (x)", "DROP TABLE t", "SELECT 1") == [(1,)]


def test_the_child_of_a_pytest_run_gets_the_test_database(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "test")  # what a child inherits from a run with the plugin
    assert flavour.file_of(flavour.get("sqlite:///shop.db")) == "test_default.db"
    assert database_url().database == str(run_directory() / "test_default.db")


# --- Who brings connections along -----------------------------------------------------------------------------------


def open_shop() -> Any:
    return sqlite3.connect("shop.db", check_same_thread=False)


def make_shop() -> None:
    connection = sqlite3.connect("shop.db")
    connection.executescript("PRAGMA synchronous = FULL; CREATE TABLE users (name)")
    connection.close()


@pytest.mark.usefixtures("ordinary")
def test_a_creator_is_used_outside_of_a_test_and_its_database_keeps_its_durability() -> None:
    make_shop()
    engine = get_engine("sqlite://", creator=open_shop)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM users")).all() == []
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        with pytest.raises(DestructiveOperationError):
            connection.execute(text("DROP TABLE users"))
    engine.dispose()


@pytest.mark.parametrize("how", ["creator", "pool", "a filled pool"])
@pytest.mark.parametrize("who", ["APP_ENV=test", "pytest without the plugin"])
def test_a_creator_may_not_lead_a_test_to_another_database(monkeypatch: pytest.MonkeyPatch, how: str, who: str) -> None:
    make_shop()
    if who == "APP_ENV=test":
        monkeypatch.delenv("PYTEST_VERSION")
        monkeypatch.setenv("APP_ENV", "test")
    pool = QueuePool(open_shop)
    if how == "a filled pool":
        pool.connect().close()
    engine = get_engine("sqlite://", **({"creator": open_shop} if how == "creator" else {"pool": pool}))
    with pytest.raises(UnsafeTestDatabaseError, match=r"shop\.db"):
        engine.connect()
    pool.dispose()
    engine.dispose()


def test_a_creator_whose_database_is_disposable_is_used_in_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "test")
    asked: list[str] = []

    def create() -> sqlite3.Connection:
        asked.append("")
        return sqlite3.connect("test_own.db", check_same_thread=False)

    engine = get_engine("sqlite://", creator=create)
    for _ in range(2):
        with engine.begin() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
    assert asked == [""]
    engine.dispose()


@pytest.mark.usefixtures("testing")
def test_a_creator_is_set_aside_where_the_database_is_exchanged() -> None:
    make_shop()
    engine = get_engine("sqlite:///shop.db", creator=open_shop)
    assert FLAVOURS["sync"].file_of(engine) == "test_default.db"
    assert made_engines()[0].notes == ("options set aside, since this database cannot take them: creator",)


@pytest.mark.usefixtures("testing")
def test_an_async_creator_is_set_aside_where_the_database_is_exchanged() -> None:
    async def create() -> None:
        raise AssertionError

    engine = get_async_engine("sqlite:///shop.db", async_creator=create)
    assert FLAVOURS["async"].file_of(engine) == "test_default.db"
    assert "async_creator" in made_engines()[0].notes[0]


# --- Options that the test database cannot take ----------------------------------------------------------------------

POSTGRESQL = "postgresql+psycopg://app:x@db.internal/shop"

ASIDE: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    # The application's URL, its options, and what of them its test database in memory cannot take.
    "nothing": ("sqlite:///shop.db", {}, []),
    "a pool of one connection": (
        "sqlite:///shop.db",
        {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}},
        ["poolclass"],
    ),
    "the size of a pool": ("sqlite:///shop.db", {"pool_size": 2, "max_overflow": 1, "pool_timeout": 3}, []),
    "no pool": ("sqlite:///shop.db", {"poolclass": NullPool}, []),
    "no pool, and a size": ("sqlite:///shop.db", {"poolclass": NullPool, "pool_size": 3}, ["pool_size"]),
    "arguments of sqlite3": (
        "sqlite:///shop.db",
        {"connect_args": {"timeout": 3, "uri": True, "detect_types": 1}},
        ["connect_args['uri']"],
    ),
    "AUTOCOMMIT": ("sqlite:///shop.db", {"isolation_level": "AUTOCOMMIT"}, []),
    "a level that SQLite does not have": (
        "sqlite:///shop.db",
        {"isolation_level": "REPEATABLE READ", "execution_options": {"isolation_level": "READ COMMITTED", "a": 1}},
        ["isolation_level", "execution_options['isolation_level']"],
    ),
    "an option of another dialect": (
        "sqlite:///shop.db",
        {"client_encoding": "utf8", "pool_recycle": 3600},
        ["client_encoding"],
    ),
}


@pytest.mark.parametrize("case", ASIDE)
@pytest.mark.usefixtures("testing")
def test_what_the_database_in_memory_cannot_take_is_set_aside_and_told(flavour: Flavour, case: str) -> None:
    url, options, aside = ASIDE[case]
    engine = flavour.get(url, **options)
    assert flavour.file_of(engine) == "test_default.db"
    notes = [f"options set aside, since this database cannot take them: {', '.join(aside)}"] if aside else []
    assert list(made_engines()[0].notes) == notes
    assert flavour.get(url, **options) is engine


@pytest.mark.parametrize(
    "options",
    [
        {"connect_args": {"sslmode": "require", "options": "-csearch_path=shop", "host": "db.internal"}},
        {"isolation_level": "REPEATABLE READ", "pool_size": 20, "max_overflow": 40, "pool_pre_ping": True},
        {"executemany_mode": "values_plus_batch", "client_encoding": "utf8", "paramstyle": "pyformat"},
        {"poolclass": StaticPool},
    ],
)
def test_options_of_postgresql_do_not_reach_a_test_database_in_sqlite(
    flavour: Flavour, testing: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    testing.setenv("TEST_DATABASE_URL", "sqlite://")
    engine = flavour.get(POSTGRESQL, **options)
    assert flavour.run(engine, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)", "SELECT x FROM t") == [(1,)]
    assert flavour.run(engine, "SELECT x FROM t") == [(1,)]


@pytest.mark.usefixtures("testing")
def test_options_that_were_written_for_an_unknown_database_do_not_reach_sqlite(flavour: Flavour) -> None:
    engine = flavour.get(  # in production DATABASE_URL names PostgreSQL; here nothing is configured
        connect_args={"sslmode": "require", "timeout": 9}, isolation_level="READ COMMITTED"
    )
    assert flavour.run(engine, "SELECT 1") == [(1,)]
    assert flavour.arguments_of(engine)["timeout"] == 9
    assert made_engines()[0].notes == (
        "options set aside, since this database cannot take them: isolation_level, connect_args['sslmode']",
    )


@pytest.mark.parametrize("connect_args", [{"host": "db.internal", "password": SECRET}, {"host": "db", "port": 6000}])
def test_the_place_in_connect_args_never_goes_with_another_url(
    testing: pytest.MonkeyPatch, connect_args: dict[str, Any]
) -> None:
    testing.setenv("TEST_DATABASE_URL", "postgresql+psycopg://tester@127.0.0.1/test_shop")
    engine = get_engine(POSTGRESQL, connect_args=connect_args)
    told = FLAVOURS["sync"].arguments_of(engine)
    assert told["host"] == "127.0.0.1"
    assert "port" not in told
    assert SECRET not in repr(told)


def test_options_of_sqlite_do_not_reach_a_test_database_on_a_server(testing: pytest.MonkeyPatch) -> None:
    testing.setenv("TEST_DATABASE_URL", "postgresql+psycopg://tester@127.0.0.1/test_shop")
    engine = get_engine(
        "sqlite://", connect_args={"check_same_thread": False, "timeout": 3}, poolclass=StaticPool, pool_pre_ping=True
    )
    assert isinstance(engine.pool, QueuePool)
    assert not {"check_same_thread", "timeout"} & FLAVOURS["sync"].arguments_of(engine).keys()
    assert "poolclass" in made_engines()[0].notes[0]


@pytest.mark.usefixtures("ordinary")
def test_an_explicit_database_in_memory_is_one_for_all_connections(flavour: Flavour) -> None:
    engine = flavour.get("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    flavour.run(engine, "CREATE TABLE mark (x)")
    assert not isinstance(inner(engine).pool, StaticPool)
    assert flavour.run(flavour.get("sqlite:///:memory:"), "SELECT x FROM mark") == []


# --- Secrets --------------------------------------------------------------------------------------------------------

SECRET_CALLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "password": (f"postgresql://app:{SECRET}@db.internal/shop", {}),
    "?password=": (f"postgresql://db.internal/shop?user=app&password={SECRET}", {}),
    "URL object": (URL.create("postgresql", "app", SECRET, "db.internal", database="shop"), {}),
    "connect_args": ("postgresql://db.internal/shop", {"connect_args": {"password": SECRET}}),
    "callable": (lambda: f"postgresql://app:{SECRET}@db.internal/shop", {}),
    "sqlite": ("sqlite:///shop.db", {"connect_args": {"password": SECRET}, "bogus": SECRET}),
    "unknown option": (f"postgresql://app:{SECRET}@h/shop", {"bogus": 1, "connect_args": {"password": SECRET}}),
    "unknown dialect": (f"nope://app:{SECRET}@h/shop?token={SECRET}", {}),
    "unknown driver": (f"postgresql+nope://app:{SECRET}@h/shop", {"connect_args": {"password": SECRET}}),
    "missing driver": (f"oracle+oracledb://app:{SECRET}@h/shop", {"connect_args": {"password": SECRET}}),
    "wrong pool": (f"postgresql://app:{SECRET}@h/shop", {"poolclass": Odd, "connect_args": {"password": SECRET}}),
    "untranslatable": (f"postgresql+asyncpg://app:{SECRET}@h/shop?ssl=certainly&password={SECRET}", {}),
    "malformed": (f"postgresql://app:{SECRET}", {"connect_args": {"password": SECRET}}),
    "strange connect_args": (f"postgresql://app:{SECRET}@h/shop", {"connect_args": SECRET}),
}


@pytest.mark.parametrize("situation", ["outside", "pytest without the plugin", "under test", "changed"])
@pytest.mark.parametrize("case", SECRET_CALLS)
def test_no_error_shows_a_secret(flavour: Flavour, monkeypatch: pytest.MonkeyPatch, situation: str, case: str) -> None:
    url, options = SECRET_CALLS[case]
    if situation in {"outside", "changed"}:
        monkeypatch.delenv("PYTEST_VERSION")
    if situation == "under test":
        enter_test_process()
    if situation == "changed":
        flavour.get("sqlite:///first.db")
        monkeypatch.setenv("APP_ENV", "production")
    try:
        engine = flavour.get(url, **options)
    except Exception as error:  # noqa: BLE001  # whatever it is
        shown = all_that_is_shown_of(error)
    else:
        shown = repr(engine) + repr(made_engines()) + str(engine.url)
    assert SECRET not in shown


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_password_in_the_query_is_masked_by_sqlalchemy_too_and_reaches_the_driver(
    ordinary: pytest.MonkeyPatch, driver: str
) -> None:
    url = f"postgresql+{driver}://app:other@db.internal/shop?password={SECRET}&connect_timeout=3"
    ordinary.setenv("DATABASE_URL", url)
    for shown in (repr(get_engine()), repr(database_url()), str(get_engine().url), repr(made_engines())):
        assert SECRET not in shown
    told = FLAVOURS["sync"].arguments_of(get_engine())
    assert (told["password"], told["connect_timeout"]) == (SECRET, "3")


@pytest.mark.usefixtures("ordinary")
def test_the_plan_and_the_history_of_a_bind_do_not_show_what_they_hold() -> None:
    get_engine(f"postgresql+psycopg://app:{SECRET}@db.internal/shop", connect_args={"sslpassword": SECRET})
    history = _registry.histories["default"]
    assert SECRET not in repr(history) + repr(history.settings) + repr(made_engines()[0].resolution)


# --- Disposal, drop-in and cost -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ordinary")
def test_disposed_engines_stay_usable_and_stay_the_same(flavour: Flavour) -> None:
    engine = flavour.get("sqlite:///shop.db")
    flavour.run(engine, "SELECT 1")
    for _ in range(2):
        dispose_engines()
        asyncio.run(dispose_async_engines())
    assert flavour.get() is engine
    assert flavour.run(engine, "SELECT 1") == [(1,)]


@pytest.mark.usefixtures("ordinary")
def test_dispose_engines_closes_the_idle_connections() -> None:
    engine = get_engine("sqlite:///shop.db")
    FLAVOURS["sync"].run(engine, "SELECT 1")
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.checkedin() == 1
    dispose_engines()
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.checkedin() == 0


@pytest.mark.usefixtures("ordinary")
def test_dispose_async_engines_closes_the_idle_connections() -> None:
    async def use() -> tuple[int, int]:
        engine = get_async_engine("sqlite:///shop.db")
        await _run(engine, ("SELECT 1",))
        pool: Any = engine.pool
        before = pool.checkedin()
        await dispose_async_engines()
        pool = engine.pool
        return before, pool.checkedin()

    assert asyncio.run(use()) == (1, 0)


@pytest.mark.usefixtures("ordinary")
def test_an_engine_takes_listeners_and_execution_options_as_any_other(flavour: Flavour) -> None:
    engine = flavour.get("sqlite:///shop.db")
    seen: list[str] = []

    @event.listens_for(inner(engine), "connect")
    def connect(dbapi_connection: Any, _: object) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()
        seen.append("connect")

    @event.listens_for(inner(engine), "before_cursor_execute")
    def before(*arguments: Any) -> None:
        seen.append(arguments[2])

    assert flavour.run(engine.execution_options(own=1), "PRAGMA foreign_keys") == [(1,)]
    assert seen == ["connect", "PRAGMA foreign_keys"]


@pytest.mark.usefixtures("testing")
def test_the_record_of_an_engine_tells_what_the_header_says(flavour: Flavour) -> None:
    engine = flavour.get("sqlite:///shop.db")
    record = made_engines()[0]
    assert record.engine is engine
    assert (record.bind, record.resolution.rule, record.module) == ("default", "test-twin", __name__)
    assert record.url == engine.url
    assert record.resolution.application_url == make_url("sqlite:///shop.db")


@pytest.mark.usefixtures("ordinary")
def test_a_bare_call_is_cheap(flavour: Flavour) -> None:
    engine = flavour.get()
    best = min(timeit.repeat(flavour.get, timer=time.thread_time, number=2000, repeat=7)) / 2000
    assert flavour.get() is engine
    assert best < 2e-5  # it measures 0.2 microseconds; the rest is for busy machines and for coverage


@pytest.mark.usefixtures("ordinary")
def test_an_engine_that_nobody_uses_leaves_nothing_behind(flavour: Flavour) -> None:
    threads = threading.active_count()
    descriptors = count_descriptors()
    for number in range(20):
        flavour.get(f"sqlite:///shop{number}.db")
    gc.collect()
    assert threading.active_count() <= threads  # a test before may have left some that end now
    assert count_descriptors() <= descriptors
    assert not list(Path.cwd().glob("*.db"))


def test_the_two_kinds_are_told_apart_in_messages() -> None:
    assert (SYNC.caller, ASYNC.caller) == (get_engine.__name__, get_async_engine.__name__)


def test_an_error_is_one_of_ours(ordinary: pytest.MonkeyPatch) -> None:
    ordinary.setenv("APP_ENV", "production")
    with pytest.raises(EngineroomError) as caught:
        get_engine()
    assert str(caught.value).splitlines()[-1] == "Ref: missing-setting"


SCRIPT = """
import sys
from sqlalchemy import text
from engineroom import get_engine
with get_engine("sqlite:///shop.db").begin() as connection:
    connection.execute(text("CREATE TABLE t (x)"))
"""


def test_an_ordinary_program_ends_without_a_word(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "shop.db").exists()
