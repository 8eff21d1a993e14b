"""The guard on connections and engines that somebody else made, and beside what an application does to its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import MetaData, Table, create_engine, event, text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool, SingletonThreadPool, StaticPool

from engineroom import guard, verdict
from engineroom._guard.sqlite_connection import GuardedConnection, GuardedCursor, guarded_factory
from engineroom.errors import DestructiveOperationError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

DROP = "DROP TABLE users"


class Cursor(sqlite3.Cursor):
    """An application's own cursor."""

    executed: list[str]

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        vars(self).setdefault("executed", []).append(sql)
        return super().execute(sql, parameters)


class BluntCursor(sqlite3.Cursor):
    """One that passes the classes between by."""

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return sqlite3.Cursor.execute(self, sql, parameters)


class Connection(sqlite3.Connection):
    """An application's own connection, with its own cursor and something to do at the start."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA foreign_keys = ON")

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)


class BluntConnection(sqlite3.Connection):
    """One whose ``__init__`` passes the classes between by."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        sqlite3.Connection.__init__(self, *arguments, **options)


@pytest.fixture
def engines() -> Iterator[Callable[..., Engine]]:
    """Return a function that makes engines; they are disposed of at the end."""
    made: list[Engine] = []

    def make(url: str, **options: Any) -> Engine:
        made.append(create_engine(url, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


def assert_guarded(engine: Engine, shop: Any, *, is_raw_refused: bool = True) -> None:
    """Assert that nothing is lost, by SQLAlchemy and by a raw cursor, and that the engine still works."""
    before = shop.contents()
    with engine.connect() as connection, pytest.raises(DestructiveOperationError):
        connection.execute(text(DROP))
    raw = engine.raw_connection()
    with pytest.raises(DestructiveOperationError if is_raw_refused else sqlite3.DatabaseError):
        raw.cursor().execute(DROP)
    raw.close()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 3
    assert shop.contents() == before


@pytest.mark.parametrize("pool", [QueuePool, NullPool, StaticPool, SingletonThreadPool])
def test_every_pool_of_an_engine_is_guarded(engines: Any, shop: Any, pool: type) -> None:
    assert_guarded(guard(engines(f"sqlite:///{shop.path}", poolclass=pool)), shop)


@pytest.mark.parametrize("pool", [QueuePool, NullPool, StaticPool, SingletonThreadPool])
def test_every_pool_is_guarded_that_has_opened_connections(engines: Any, shop: Any, pool: type) -> None:
    engine = engines(f"sqlite:///{shop.path}", poolclass=pool)
    with engine.connect():
        guard(engine)
    assert_guarded(engine, shop, is_raw_refused=pool is NullPool)


@pytest.mark.parametrize("is_used", [True, False])
def test_a_pool_that_is_ready_made_is_guarded(engines: Any, shop: Any, is_used: bool) -> None:
    connect: Any = sqlite3.connect
    pool = QueuePool(lambda: connect(shop.path))
    if is_used:
        pool.connect().close()
    assert_guarded(guard(engines("sqlite://", pool=pool)), shop, is_raw_refused=False)
    pool.dispose()


def test_a_creator_is_guarded_whatever_the_url_says(engines: Any, shop: Any) -> None:
    engine = guard(engines("sqlite:///test_harmless.db", creator=lambda: sqlite3.connect(shop.path)))
    assert_guarded(engine, shop, is_raw_refused=False)


def test_a_listener_that_connects_by_itself_is_guarded(engines: Any, shop: Any) -> None:
    engine = engines("sqlite:///test_harmless.db")
    event.listen(engine, "do_connect", lambda *_: sqlite3.connect(shop.path))
    assert_guarded(guard(engine), shop, is_raw_refused=False)


def test_a_listener_that_names_another_file_is_guarded(engines: Any, shop: Any) -> None:
    engine = engines("sqlite:///test_harmless.db")

    @event.listens_for(engine, "do_connect")
    def redirect(_dialect: Any, _record: Any, arguments: list[Any], _options: Any) -> None:
        arguments[0] = str(shop.path)

    assert_guarded(guard(engine), shop)


def test_arguments_that_name_another_file_are_guarded(engines: Any, shop: Any) -> None:
    options = {"database": str(shop.path)}
    with pytest.raises(Exception, match="database"):  # SQLAlchemy passes the file by position
        engines("sqlite:///test_harmless.db", connect_args=options).connect()


FACTORIES = [Connection, BluntConnection, sqlite3.Connection, GuardedConnection, guarded_factory(Connection)]


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_applications_own_connection_class_is_guarded(engines: Any, shop: Any, factory: Any) -> None:
    engine = guard(engines(f"sqlite:///{shop.path}", connect_args={"factory": factory}))
    assert_guarded(engine, shop)
    with engine.connect() as connection:
        assert isinstance(connection.connection.driver_connection, factory)


def test_an_applications_own_methods_go_on_working(engines: Any, shop: Any) -> None:
    engine = guard(engines(f"sqlite:///{shop.path}", connect_args={"factory": Connection}))
    raw = engine.raw_connection()
    cursor = raw.cursor()
    cursor.execute("SELECT 1")
    assert isinstance(cursor, Cursor)
    assert isinstance(cursor, GuardedCursor)
    assert cursor.executed == ["SELECT 1"]
    assert raw.cursor().execute("PRAGMA foreign_keys").fetchall() == [(1,)]
    raw.close()


def test_a_function_that_makes_connections_is_guarded(engines: Any, shop: Any) -> None:
    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return sqlite3.Connection(*arguments, **options)

    engine = guard(engines(f"sqlite:///{shop.path}", connect_args={"factory": connect}))
    assert_guarded(engine, shop, is_raw_refused=False)


CURSORS: dict[str, Callable[[Any], Any]] = {
    "a class": lambda connection: connection.cursor(Cursor),
    "a class by its keyword": lambda connection: connection.cursor(factory=Cursor),
    "sqlite3's class": lambda connection: connection.cursor(sqlite3.Cursor),
    "a function": lambda connection: connection.cursor(lambda it: Cursor(it)),  # noqa: PLW0108  # a function
    "a class that passes the guard by": lambda connection: connection.cursor(BluntCursor),
    "a cursor made by hand": sqlite3.Cursor,
    "the connection's shortcut": lambda connection: connection,
}


@pytest.mark.parametrize("make", CURSORS.values(), ids=CURSORS)
@pytest.mark.parametrize("sql", [DROP, "ALTER TABLE users RENAME TO x", "PRAGMA writable_schema = ON"])
def test_every_cursor_of_a_guarded_connection_refuses(
    engines: Any, shop: Any, make: Callable[[Any], Any], sql: str
) -> None:
    raw = guard(engines(f"sqlite:///{shop.path}")).raw_connection()
    for _ in range(2):
        with pytest.raises(DestructiveOperationError) as caught:
            make(raw.driver_connection).execute(sql)
        assert caught.value.__context__ is None
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        make(raw.driver_connection).execute("SELECT * FROM missing")
    raw.close()
    assert "users" in shop.names()


def test_a_text_that_may_run_no_more_is_refused_by_every_cursor(engines: Any, shop: Any) -> None:
    raw = guard(engines(f"sqlite:///{shop.path}")).raw_connection()
    driver: Any = raw.driver_connection
    driver.execute("CREATE TEMP TABLE users (a)")
    driver.execute(DROP)
    for make in CURSORS.values():
        with pytest.raises((DestructiveOperationError, sqlite3.DatabaseError), match=r"(?i)refused|not authorized"):
            make(driver).execute(DROP)
    raw.close()
    assert "users" in shop.names()


def test_many_values_are_refused_as_one(engines: Any, shop: Any) -> None:
    raw = guard(engines(f"sqlite:///{shop.path}")).raw_connection()
    driver: Any = raw.driver_connection
    for target in (driver, driver.cursor()):
        with pytest.raises((DestructiveOperationError, sqlite3.ProgrammingError)):
            target.executemany(DROP, [(), ()])
        target.executemany("INSERT INTO users (name) VALUES (?)", [("a",), ("b",)])
        with pytest.raises(sqlite3.IntegrityError):
            target.executemany("INSERT INTO users (id) VALUES (?)", [(1,)])
    raw.close()
    assert "users" in shop.names()


# What an application sets on its connection


def deny_views(action: int, *_: Any) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_CREATE_VIEW else sqlite3.SQLITE_OK


@pytest.mark.parametrize("callback", [None, deny_views, lambda *_: sqlite3.SQLITE_OK])
def test_an_applications_own_authorizer_stands_behind_the_guard(engines: Any, shop: Any, callback: Any) -> None:
    engine = engines(f"sqlite:///{shop.path}")
    event.listen(engine, "connect", lambda dbapi_connection, _: dbapi_connection.set_authorizer(callback))
    assert_guarded(guard(engine), shop)


def test_a_denial_of_the_application_stays_its_own(engines: Any, shop: Any) -> None:
    engine = guard(engines(f"sqlite:///{shop.path}"))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(deny_views)
        with pytest.raises(DestructiveOperationError):
            connection.exec_driver_sql(DROP)
        with pytest.raises(DatabaseError, match="not authorized"):
            connection.exec_driver_sql("CREATE VIEW v AS SELECT 1")
        driver.set_authorizer(None)
        connection.exec_driver_sql("CREATE VIEW v AS SELECT 1")
        with pytest.raises(DestructiveOperationError):
            connection.exec_driver_sql(DROP)


def test_an_applications_authorizer_is_asked_about_everything_all_the_time(engines: Any, shop: Any) -> None:
    def deny_names(action: int, _: Any, column: Any, *__: Any) -> int:
        return sqlite3.SQLITE_DENY if (action, column) == (sqlite3.SQLITE_READ, "name") else sqlite3.SQLITE_OK

    engine = guard(engines(f"sqlite:///{shop.path}"))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(deny_names)
        for sql in (
            "SELECT 1",
            "CREATE TABLE scratch (a)",
            "DROP TABLE scratch",
            "ATTACH ':memory:' AS other",
            "DETACH other",
        ):
            connection.exec_driver_sql(sql)
            with pytest.raises(DatabaseError, match=r"access to \S*users\.name is prohibited"):
                connection.exec_driver_sql("SELECT name FROM users")
        driver.set_authorizer(None)
        connection.exec_driver_sql("SELECT name FROM users")


def test_a_denial_that_nobody_took_does_not_stick_to_another_error(engines: Any, shop: Any) -> None:
    raw = guard(engines(f"sqlite:///{shop.path}")).raw_connection()
    driver: Any = raw.driver_connection
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        sqlite3.Cursor.executescript(driver.cursor(), DROP)
    driver.set_authorizer(deny_views)
    for sql, error in [
        ("CREATE VIEW v AS SELECT 1", sqlite3.DatabaseError),
        ("SELECT * FROM missing", sqlite3.OperationalError),
        ("INSERT INTO users (id) VALUES (1)", sqlite3.IntegrityError),
    ]:
        with pytest.raises(error):
            driver.execute(sql)
    raw.close()


def test_an_authorizer_that_forbids_pragmas_does_not_blind_the_guard(engines: Any, shop: Any, folder: Any) -> None:
    def deny_pragmas(action: int, *_: Any) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA else sqlite3.SQLITE_OK

    engine = guard(engines(f"sqlite:///{folder}/test_home.db"))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(deny_pragmas)
        connection.exec_driver_sql("ATTACH ? AS shop", (str(shop.path),))
        with pytest.raises(DestructiveOperationError, match=str(shop.path)):
            connection.exec_driver_sql("DROP TABLE shop.users")
        with pytest.raises(DatabaseError, match="not authorized"):
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")


FACTORIES_OF_VALUES: dict[str, dict[str, Any]] = {
    "bytes for texts": {"text_factory": bytes},
    "nothing for texts": {"text_factory": lambda _: None},
    "dictionaries for rows": {"row_factory": lambda cursor, row: {c[0]: v for c, v in zip(cursor.description, row)}},  # noqa: B905
    "named rows": {"row_factory": sqlite3.Row},
    "an error for rows": {"row_factory": lambda *_: 1 / 0},
}


@pytest.mark.parametrize("attributes", FACTORIES_OF_VALUES.values(), ids=FACTORIES_OF_VALUES)
@pytest.mark.parametrize("is_guarded", [True, False])
def test_an_applications_factories_do_not_confuse_the_guard(
    engines: Any, shop: Any, folder: Any, attributes: dict[str, Any], is_guarded: bool
) -> None:
    engine = engines(f"sqlite:///{folder}/test_home.db")

    @event.listens_for(engine, "connect")
    def set_attributes(dbapi_connection: Any, _: Any) -> None:
        for name, value in attributes.items():
            setattr(dbapi_connection, name, value)

    if is_guarded:
        guard(engine)
    raw = engine.raw_connection()
    raw.cursor().execute("ATTACH ? AS shop", (str(shop.path),))
    if is_guarded:
        with pytest.raises(DestructiveOperationError):
            raw.cursor().execute("DROP TABLE shop.users")
    raw.close()
    event.remove(engine, "connect", set_attributes)


@pytest.mark.parametrize("attributes", FACTORIES_OF_VALUES.values(), ids=FACTORIES_OF_VALUES)
def test_an_applications_factories_do_not_confuse_the_verdict(engines: Any, shop: Any, attributes: Any) -> None:
    engine = engines("sqlite:///test_harmless.db", creator=lambda: sqlite3.connect(shop.path))
    with engine.connect() as connection:
        for name, value in attributes.items():
            setattr(connection.connection.driver_connection, name, value)
        judged = verdict(connection)
    assert (judged.disposable, judged.database) == (False, "shop.db")


@pytest.mark.parametrize("size", [0, 1, 128])
def test_the_size_of_the_drivers_cache_does_not_matter(engines: Any, shop: Any, size: int) -> None:
    engine = guard(engines(f"sqlite:///{shop.path}", connect_args={"cached_statements": size}))
    assert_guarded(engine, shop)


@pytest.mark.parametrize("options", [{"isolation_level": None}, {"isolation_level": "IMMEDIATE"}, {"timeout": 1}])
def test_the_drivers_options_do_not_matter(engines: Any, shop: Any, options: dict[str, Any]) -> None:
    assert_guarded(guard(engines(f"sqlite:///{shop.path}", connect_args=options)), shop)


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "autocommit"), reason="the attribute came with Python 3.12")
@pytest.mark.parametrize("autocommit", [True, False])
def test_the_drivers_autocommit_does_not_matter(engines: Any, shop: Any, autocommit: bool) -> None:
    engine = guard(engines(f"sqlite:///{shop.path}", connect_args={"autocommit": autocommit}))
    with engine.connect() as connection, pytest.raises(DestructiveOperationError):
        connection.exec_driver_sql(DROP)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE scratch (a)")
        connection.commit()
        connection.exec_driver_sql("DROP TABLE scratch")
        connection.commit()


# Isolation levels, copies, nested transactions


def test_isolation_levels_do_not_matter(engines: Any, shop: Any) -> None:
    engine = guard(engines(f"sqlite:///{shop.path}"))
    for level in ("AUTOCOMMIT", "SERIALIZABLE", "READ UNCOMMITTED"):
        assert_guarded(engine.execution_options(isolation_level=level), shop)
        with (
            engine.connect().execution_options(isolation_level=level) as connection,
            pytest.raises(DestructiveOperationError),
        ):
            connection.execute(text(DROP))


def test_a_refusal_inside_a_savepoint_undoes_only_that(engines: Any, shop: Any) -> None:
    engine = guard(engines(f"sqlite:///{shop.path}"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (name) VALUES ('kept')"))
        with pytest.raises(DestructiveOperationError), connection.begin_nested():  # noqa: PT012
            connection.execute(text("INSERT INTO users (name) VALUES ('gone')"))
            connection.execute(text(DROP))
    with engine.connect() as connection:
        names = connection.execute(text("SELECT name FROM users WHERE name IN ('kept', 'gone')")).scalars().all()
    assert names == ["kept"]


def test_a_refusal_ends_a_block_like_any_error(engines: Any, shop: Any) -> None:
    engine = guard(engines(f"sqlite:///{shop.path}", pool_size=1, max_overflow=0))
    for _ in range(3):
        with pytest.raises(DestructiveOperationError), engine.begin() as connection:  # noqa: PT012
            connection.execute(text("INSERT INTO users (name) VALUES ('gone')"))
            connection.execute(text(DROP))
    assert engine.pool.checkedout() == 0
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 3


def test_a_guard_that_is_put_on_twice_is_one(engines: Any, shop: Any) -> None:
    engine = engines(f"sqlite:///{shop.path}")
    assert guard(guard(engine)) is engine
    assert guard(engine.execution_options(stream_results=True)) is not engine
    assert_guarded(engine, shop)


def test_the_guard_stays_when_the_engine_is_disposed_of(engines: Any, shop: Any) -> None:
    engine = guard(engines("sqlite://", creator=lambda: sqlite3.connect(shop.path)))
    engine.connect().close()
    engine.dispose()
    assert_guarded(engine, shop, is_raw_refused=False)


def test_an_engine_without_the_guard_is_not_touched(engines: Any, shop: Any) -> None:
    guard(engines(f"sqlite:///{shop.path}"))
    plain = engines(f"sqlite:///{shop.path}")
    metadata = MetaData()
    with plain.connect() as connection:
        assert type(connection.connection.driver_connection) is sqlite3.Connection
    Table("users", metadata, autoload_with=plain)
    metadata.drop_all(plain)
    assert "users" not in shop.names()


def test_a_table_of_ones_own_is_nobodys_when_the_connection_was_given_back(engines: Any, shop: Any) -> None:
    for options in ({}, {"pool_reset_on_return": None}, {"creator": lambda: sqlite3.connect(shop.path)}):
        engine = guard(engines(f"sqlite:///{shop.path}", pool_size=1, max_overflow=0, **options))
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE scratch (a)")
            connection.commit()
        with engine.connect() as connection, pytest.raises(DestructiveOperationError):
            connection.exec_driver_sql("DROP TABLE scratch")
        engine.dispose()
        shop.run("DROP TABLE scratch")


def test_an_authorizer_that_the_application_replaced_is_set_again_at_the_next_turn(engines: Any, shop: Any) -> None:
    engine = guard(engines("sqlite://", creator=lambda: sqlite3.connect(shop.path), poolclass=QueuePool, pool_size=1))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(None)
    assert_guarded(engine, shop, is_raw_refused=False)


def test_a_schema_table_that_was_open_before_the_guard_came_is_shut(engines: Any, shop: Any) -> None:
    engine = engines(f"sqlite:///{shop.path}", pool_size=1)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
    guard(engine)
    with engine.connect() as connection, pytest.raises(DatabaseError, match="may not be modified"):
        connection.exec_driver_sql("DELETE FROM sqlite_master WHERE name = 'users'")
    assert "users" in shop.names()


# What SQLite's authorizer does not see


def test_a_backup_does_not_overwrite_a_guarded_database(engines: Any, shop: Any) -> None:
    before = shop.contents()
    raw = guard(engines(f"sqlite:///{shop.path}")).raw_connection()
    source = guard(engines("sqlite://")).raw_connection()
    target: Any = raw.driver_connection
    source_driver: Any = source.driver_connection
    with pytest.raises(DestructiveOperationError, match="overwrite the whole database"):
        source_driver.backup(target)
    raw.close()
    source.close()
    assert shop.contents() == before


def test_a_backup_may_go_where_nothing_is_lost(engines: Any, shop: Any, folder: Any) -> None:
    raw = guard(engines(f"sqlite:///{shop.path}")).raw_connection()
    source: Any = raw.driver_connection
    (folder / "test_full.db").write_bytes(shop.path.read_bytes())
    for name in ("test_new.db", "test_full.db", "backup.db"):
        other = guard(engines(f"sqlite:///{folder}/{name}")).raw_connection()
        source.backup(other.driver_connection)
        other.close()
    plain = sqlite3.connect(folder / "plain.db")
    source.backup(plain, pages=10)
    assert plain.execute("SELECT count(*) FROM users").fetchall() == [(3,)]
    plain.close()
    raw.close()


def test_an_image_that_takes_the_place_of_a_file_leaves_the_file_alone(engines: Any, shop: Any) -> None:
    before = shop.contents()
    raw = guard(engines(f"sqlite:///{shop.path}")).raw_connection()
    driver: Any = raw.driver_connection
    driver.deserialize(driver.serialize())
    driver.execute(DROP)
    driver.commit()
    raw.detach()
    driver.close()
    assert shop.contents() == before


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "setconfig"), reason="the method came with Python 3.12")
@pytest.mark.parametrize("name", ["SQLITE_DBCONFIG_RESET_DATABASE", "SQLITE_DBCONFIG_WRITABLE_SCHEMA"])
def test_a_configuration_that_destroys_is_refused(engines: Any, shop: Any, folder: Any, name: str) -> None:
    before = shop.contents()
    raw = guard(engines(f"sqlite:///{shop.path}")).raw_connection()
    driver: Any = raw.driver_connection
    with pytest.raises(DestructiveOperationError):
        driver.setconfig(getattr(sqlite3, name), True)  # noqa: FBT003
    driver.setconfig(getattr(sqlite3, name), False)  # noqa: FBT003
    driver.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)  # type: ignore[attr-defined,unused-ignore]
    raw.close()
    assert shop.contents() == before
    free = guard(engines(f"sqlite:///{folder}/test_free.db")).raw_connection()
    free_driver: Any = free.driver_connection
    free_driver.setconfig(getattr(sqlite3, name), True)  # noqa: FBT003
    free.close()


def test_the_newer_methods_are_there_only_where_sqlite3_has_them() -> None:
    for name in ("setconfig", "deserialize"):
        assert hasattr(GuardedConnection, name) == hasattr(sqlite3.Connection, name)


# Threads, tasks, errors


def test_threads_that_share_a_database_in_memory_do_not_wait_for_each_other(engines: Any) -> None:
    options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    driver: Any = guard(engines("sqlite://", **options)).raw_connection().driver_connection
    driver.execute("CREATE TABLE numbers (a, b)")
    driver.executemany("INSERT INTO numbers VALUES (?, ?)", [(n, n) for n in range(100)])
    finished: list[int] = []

    def work(number: int) -> None:
        for turn in range(300):
            sql = f"SELECT a, b, {turn} FROM numbers WHERE a > ?"  # noqa: S608  # a new text each time
            sqlite3.Connection.cursor(driver).execute(sql, (1,)).fetchall()
        finished.append(number)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(finished) == 4


@pytest.mark.parametrize("send", ["execute", "executescript"])
@pytest.mark.parametrize("attach", ["ATTACH '{}' AS shop", "/**/attach database '{}' as shop"])
def test_a_database_in_memory_does_not_reach_beyond(engines: Any, shop: Any, send: str, attach: str) -> None:
    for url in ("sqlite://", "sqlite:///file:x?mode=memory&uri=true"):
        raw = guard(engines(url, poolclass=QueuePool)).raw_connection()
        driver: Any = raw.driver_connection
        for sql in ("CREATE TABLE users (id)", DROP, "PRAGMA writable_schema = ON"):
            getattr(driver, send)(sql)
        with pytest.raises(DestructiveOperationError):
            getattr(driver, send)(attach.format(shop.path))
        driver.execute("PRAGMA writable_schema = OFF")
        getattr(driver, send)(attach.format(shop.path))
        with pytest.raises(DestructiveOperationError):
            getattr(driver, send)("DROP TABLE shop.users")
        raw.close()


@pytest.mark.parametrize("factory", [Cursor, BluntCursor, sqlite3.Cursor, lambda it: Cursor(it)])  # noqa: PLW0108
def test_a_script_by_an_applications_cursor_does_not_reach_beyond(engines: Any, shop: Any, factory: Any) -> None:
    raw = guard(engines("sqlite://")).raw_connection()
    driver: Any = raw.driver_connection
    with pytest.raises((DestructiveOperationError, sqlite3.DatabaseError), match=r"(?i)refused|not authorized"):
        driver.cursor(factory).executescript(f"ATTACH '{shop.path}' AS shop; DROP TABLE shop.users")
    raw.close()
    assert "users" in shop.names()


def test_an_applications_authorizer_works_where_the_guard_sleeps(engines: Any, shop: Any) -> None:
    with guard(engines("sqlite://")).connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(deny_views)
        for _ in range(2):
            with pytest.raises(DatabaseError, match="not authorized"):
                connection.exec_driver_sql("CREATE VIEW v AS SELECT 1")
            connection.exec_driver_sql("ATTACH ? AS shop", (str(shop.path),))
            with pytest.raises(DestructiveOperationError):
                connection.exec_driver_sql("DROP TABLE shop.users")
            connection.exec_driver_sql("DETACH shop")


def test_tasks_are_refused_one_by_one(shop: Any) -> None:
    async def run() -> list[Any]:
        engine = guard(create_async_engine(f"sqlite+aiosqlite:///{shop.path}"))

        async def drop() -> None:
            async with engine.begin() as connection:
                await connection.execute(text(DROP))

        async def count() -> Any:
            async with engine.connect() as connection:
                return (await connection.execute(text("SELECT count(*) FROM users"))).scalar()

        results = await asyncio.gather(
            *(drop() for _ in range(5)), *(count() for _ in range(5)), return_exceptions=True
        )
        await engine.dispose()
        return results

    results = asyncio.run(run())
    assert [type(result) for result in results] == [DestructiveOperationError] * 5 + [int] * 5


def test_errors_of_a_foreign_connection_stay_what_they_are(engines: Any, shop: Any) -> None:
    engine = guard(engines("sqlite://", creator=lambda: sqlite3.connect(shop.path)))
    with engine.connect() as connection:
        with pytest.raises(IntegrityError):
            connection.exec_driver_sql("INSERT INTO users (id) VALUES (1)")
        with pytest.raises(IntegrityError):
            connection.execute(text("INSERT INTO users (id) VALUES (:id)"), [{"id": 7}, {"id": 7}])
        connection.execution_options(no_parameters=True).exec_driver_sql("SELECT '%'")


def test_a_connection_without_an_authorizer_is_not_handed_out(engines: Any) -> None:
    class Odd:
        """A connection of a library that has no authorizer."""

        def __init__(self) -> None:
            self.inside = sqlite3.connect(":memory:")

        def __getattr__(self, name: str) -> Any:
            if name in {"set_authorizer", "__wrapped__", "driver_connection", "_conn", "run_async"}:
                raise AttributeError(name)
            return getattr(self.inside, name)

    engine = guard(engines("sqlite://", creator=Odd, poolclass=NullPool))
    with pytest.raises(InvalidSettingError, match="cannot watch a connection of the class"):
        engine.connect()


def test_a_connection_that_a_tracer_wrapped_is_guarded(engines: Any, shop: Any) -> None:
    class Traced:
        """What tracers make of a connection: a proxy that keeps it as ``__wrapped__``."""

        def __init__(self, connection: Any) -> None:
            self.__wrapped__ = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self.__wrapped__, name)

    engine = engines(f"sqlite:///{shop.path}")
    connect = engine.dialect.loaded_dbapi.connect
    engine.dialect.connect = lambda *arguments, **options: Traced(connect(*arguments, **options))
    assert_guarded(guard(engine), shop)
    foreign = guard(engines("sqlite://", creator=lambda: Traced(sqlite3.connect(shop.path))))
    assert_guarded(foreign, shop, is_raw_refused=False)


@pytest.mark.parametrize("is_foreign", [True, False])
def test_a_broken_configuration_lets_no_connection_through(shop: Any, is_foreign: bool) -> None:
    options: dict[str, Any] = {"creator": lambda: sqlite3.connect(shop.path)} if is_foreign else {}
    engine = guard(create_engine(f"sqlite:///{shop.path}", **options))
    Path("pyproject.toml").write_text("[tool.engineroom]\nunknown = 1\n")
    for _ in range(2):
        with pytest.raises(InvalidSettingError):
            engine.connect()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    Path("pyproject.toml").unlink()
    engine.dispose()


def test_what_the_guard_needs_of_other_libraries_is_there(engines: Any) -> None:
    """Pin the names without a promise that the guard relies on."""
    engine = engines("sqlite://")
    with engine.connect() as connection:
        record = connection.connection._connection_record
        assert record.finalize_callback.append
        assert connection.schema_for_object
    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        assert callable(getattr(engine.dialect, name))


def test_sqlite3_prepares_statements_by_calling_the_connection() -> None:
    prepared: list[str] = []

    class Noting(sqlite3.Connection):
        def __call__(self, sql: str, /) -> Any:
            prepared.append(sql)
            return super().__call__(sql)

    connection = sqlite3.connect(":memory:", factory=Noting)
    connection.execute("SELECT 1")
    connection.execute("SELECT 1")
    connection.close()
    assert prepared == ["SELECT 1"]
