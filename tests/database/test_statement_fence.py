"""What is reached from a connection to a test database, or from one that looks after the server: on real servers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiomysql  # type: ignore[import-untyped]
import asyncmy
import asyncpg  # type: ignore[import-untyped]
import psycopg
import psycopg2  # type: ignore[import-untyped]
import psycopg2.extras  # type: ignore[import-untyped]
import pymysql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from tests.database.conftest import DRIVERS
from tests.database.direct_drivers import KINDS, opened

from engineroom._project import Project
from engineroom.errors import FenceError
from engineroom.testing import fence
from engineroom.testing.ledger import active_ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL
    from tests.database.conftest import Database

MYSQL_WAYS = [way for way, kind in KINDS.items() if kind == "mariadb"]
POSTGRESQL_WAYS = [way for way, kind in KINDS.items() if kind == "postgresql"]
MULTI = {"aiomysql", "aiomysql_pool", "asyncmy", "asyncmy_pool"}
"""Drivers that send several statements in one text without being told to."""


@pytest.fixture(autouse=True)
def _lowered() -> Iterator[None]:
    open_ledger(None)
    yield
    fence.lower_fence()


@pytest.fixture
def _raised(tmp_path: Path) -> None:
    fence.raise_fence(Project(root=tmp_path))


def need(way: str) -> None:
    if way in {"psycopg_pool", "psycopg_async_pool"}:
        pytest.importorskip("psycopg_pool")
    if way.startswith("mysql_connector"):
        pytest.importorskip("mysql.connector")


class World:
    """A test database, and one to keep beside it on the same server."""

    def __init__(self, kind: str, databases: Callable[[str, str], Database]) -> None:
        self.test, self.kept = databases(kind, "test"), databases(kind, "kept")
        self.test.rebuild()
        self.kept.rebuild()
        self._before = self.kept._look()
        fence.raise_fence(Project(root=Path.cwd()))

    def check(self) -> None:
        """See that the database to keep is what it was."""
        fence.lower_fence()
        assert self.kept._look() == self._before
        assert self.kept.send("SELECT id, email FROM users") == [(1, "a@example.org")]


@pytest.fixture
def mariadb(databases: Callable[[str, str], Database]) -> World:
    return World("mariadb", databases)


@pytest.fixture
def postgresql(databases: Callable[[str, str], Database]) -> World:
    return World("postgresql", databases)


STATEMENTS = {
    "use": "USE {0}",
    "delete": "DELETE FROM {0}.users",
    "update": "UPDATE {0}.users SET email = 'x'",
    "joined update": "UPDATE users u JOIN {0}.users o ON o.id = u.id SET o.email = 'x'",
    "insert": "INSERT INTO {0}.users VALUES (9, 'x')",
    "truncate": "TRUNCATE TABLE `{0}`.`users`",
    "drop table": "DROP TABLE {0}.users",
    "drop database": "DROP DATABASE {0}",
    "executable comment": "/*!50000 DELETE FROM {0}.users */",
    "immediate": "EXECUTE IMMEDIATE 'DELETE FROM {0}.users'",
    "rename": "RENAME TABLE {0}.users TO users2",
}
READS = [
    "SELECT * FROM {}.users",
    "DELETE FROM users WHERE id IN (SELECT id FROM {}.users)",
    "INSERT INTO users SELECT * FROM {}.users",
    "UPDATE users u JOIN {}.users o ON o.id = u.id SET u.email = o.email",
]
NOTHING = "DELETE FROM {0}.users WHERE id = 0"
SECOND = "SELECT 1; DELETE FROM {0}.users"


@pytest.mark.parametrize("way", MYSQL_WAYS)
def test_no_other_database_is_written_to(way: str, mariadb: World) -> None:
    need(way)
    with opened(way, mariadb.test.url) as send:
        for statement in STATEMENTS.values():
            with pytest.raises(FenceError, match=mariadb.kept.name):
                send(statement.format(mariadb.kept.name))
        if way in MULTI:
            with pytest.raises(FenceError):
                send(SECOND.format(mariadb.kept.name))
        send("INSERT INTO users VALUES (3, 'the connection still works')")
    assert len(active_ledger().refusals()) == len(STATEMENTS) + (way in MULTI)
    mariadb.check()
    assert (3, "the connection still works") in mariadb.test.send("SELECT id, email FROM users")


@pytest.mark.parametrize("way", MYSQL_WAYS)
def test_other_databases_are_read(way: str, mariadb: World) -> None:
    need(way)
    with opened(way, mariadb.test.url) as send:
        for statement in READS:
            send(statement.format(mariadb.kept.name))
        send(f"USE {mariadb.test.name}")
        send("USE information_schema")
    assert active_ledger().refusals() == []
    mariadb.check()


@pytest.mark.parametrize("way", MYSQL_WAYS)
def test_a_connection_without_a_database_looks_after_the_server(way: str, mariadb: World, mariadb_url: URL) -> None:
    need(way)
    name = f"{mariadb.test.name}_made"
    with opened(way, mariadb_url.set(database="")) as send:
        for statement in (STATEMENTS["use"], STATEMENTS["delete"], STATEMENTS["drop database"]):
            with pytest.raises(FenceError, match="over a connection to the server"):
                send(statement.format(mariadb.kept.name))
        send(f"CREATE DATABASE {name}")
        send(f"USE {name}")
        send("CREATE TABLE x (id int)")
        send(f"DROP DATABASE {name}")
    mariadb.check()


def test_select_db_of_each_driver(mariadb: World) -> None:
    kept, url = mariadb.kept.name, mariadb.test.url
    options = {"host": url.host, "user": url.username, "password": url.password or "", "port": url.port or 3306}
    connection = pymysql.connect(database=url.database, **options)
    with pytest.raises(FenceError, match=f"Refused to use {kept} over a connection to"):
        connection.select_db(kept)
    connection.select_db(url.database)
    connection.close()

    async def select_by_tasks() -> None:
        for driver in (aiomysql, asyncmy):
            awaited = await driver.connect(db=url.database, **options)  # type: ignore[attr-defined, unused-ignore]
            with pytest.raises(FenceError):
                await awaited.select_db(kept)
            await awaited.ensure_closed()

    asyncio.run(select_by_tasks())
    mariadb.check()


@pytest.mark.parametrize("way", ["mysql_connector", "mysql_connector_in_python"])
def test_the_database_of_a_connection_of_mysql_connector(way: str, mariadb: World) -> None:
    connector = pytest.importorskip("mysql.connector")
    url = mariadb.test.url
    options = {"host": url.host, "user": url.username, "password": url.password or "", "database": url.database}
    pure = {"use_pure": True} if way.endswith("python") else {}
    connection = connector.connect(port=url.port or 3306, **options, **pure)
    with pytest.raises(FenceError):
        connection.database = mariadb.kept.name
    with pytest.raises(FenceError):
        connection.cmd_change_user(url.username, url.password or "", mariadb.kept.name)
    connection.database = url.database
    assert connection.database == url.database
    connection.close()


def test_what_is_told(mariadb: World) -> None:
    kept = mariadb.kept.name
    with opened("pymysql", mariadb.test.url) as send, pytest.raises(FenceError) as caught:
        send(STATEMENTS["delete"].format(kept))
    error = caught.value
    test = mariadb.test.name
    told = STATEMENTS["delete"].format(kept).replace("DELETE FROM", "delete from")
    assert error.what == f"Refused to {told} over a connection to the database {test} while pytest runs."
    assert f'the database "{kept}" is not disposable' in error.why
    assert error.fix[0] == "leave the name of the database out: delete from users"
    assert f'fence_allow = ["mysql://127.0.0.1/{kept}"]' in error.fix[2]
    (refusal,) = active_ledger().refusals()
    assert refusal.target == f"mysql://127.0.0.1/{kept}"


def test_fence_allow_counts_for_what_is_named(mariadb: World, tmp_path: Path) -> None:
    fence.raise_fence(Project(root=tmp_path, fence_allow=(f"mysql://127.0.0.1/{mariadb.kept.name}",)))
    with opened("pymysql", mariadb.test.url) as send:
        send(NOTHING.format(mariadb.kept.name))
        send(STATEMENTS["use"].format(mariadb.kept.name))
    assert active_ledger().refusals() == []


COMPANION = "DELETE FROM {0}__engineroom.users"


@pytest.mark.parametrize(("name", "is_let"), [("shop_test", True), ("shop", False)])
def test_what_isolation_keeps_beside_a_test_database(name: str, is_let: bool, mariadb: World, tmp_path: Path) -> None:
    fence.raise_fence(Project(root=tmp_path, test_names=("*_test", mariadb.test.name)))
    with opened("pymysql", mariadb.test.url) as send, pytest.raises(pymysql.Error if is_let else FenceError):
        send(COMPANION.format(name))


@pytest.mark.parametrize("way", POSTGRESQL_WAYS)
@pytest.mark.parametrize("place", ["test", "maintenance"])
def test_no_other_database_is_dropped(way: str, place: str, postgresql: World, postgresql_url: URL) -> None:
    need(way)
    kept, made = postgresql.kept.name, f"{postgresql.test.name}_made"
    with opened(way, postgresql.test.url if place == "test" else postgresql_url) as send:
        for statement in (
            "DROP DATABASE {}",
            "drop database if exists {} with (force)",
            "ALTER DATABASE {} RENAME TO x",
        ):
            with pytest.raises(FenceError, match=kept):
                send(statement.format(kept))
        send(f"CREATE DATABASE {made}")
        send(f"ALTER DATABASE {made} SET work_mem = '1MB'")
        send(f"DROP DATABASE {made}")
    assert len(active_ledger().refusals()) == 3
    postgresql.check()


@pytest.mark.usefixtures("_raised")
@pytest.mark.parametrize("way", POSTGRESQL_WAYS)
def test_a_maintenance_connection_changes_nothing_in_its_database(way: str, postgresql_url: URL) -> None:
    """Somebody's real tables may be in ``postgres``."""
    need(way)
    with opened(way, postgresql_url) as send:
        for statement in (
            "CREATE TABLE x (id int)",
            "DROP TABLE IF EXISTS x",
            "DELETE FROM x",
            "INSERT INTO x VALUES (1)",
        ):
            with pytest.raises(FenceError, match="in the database postgres"):
                send(statement)
        send("SELECT datname FROM pg_database")
        send("CREATE TEMPORARY TABLE x (id int)")


@pytest.mark.usefixtures("_raised")
def test_a_copy_into_a_maintenance_database(postgresql_url: URL) -> None:
    dsn = postgresql_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor, pytest.raises(FenceError):
        cursor.copy("COPY x FROM STDIN").__enter__()
    old = psycopg2.connect(dsn)
    with pytest.raises(FenceError), old.cursor() as cursor:
        cursor.copy_expert("COPY x FROM STDIN", None)
    old.close()

    async def copy() -> None:
        awaited = await asyncpg.connect(dsn)
        with pytest.raises(FenceError):
            await awaited.copy_records_to_table("x", records=[(1,)])
        with pytest.raises(FenceError):
            await awaited.copy_to_table("x", source=b"")
        await awaited.close()

    asyncio.run(copy())


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_engine_is_no_way_around(driver: str, databases: Callable[[str, str], Database]) -> None:
    kind, scheme, is_async = DRIVERS[driver]
    world = World(kind, databases)
    url = world.test.url.set(drivername=scheme)
    statement = "DROP DATABASE {}" if kind == "postgresql" else "DELETE FROM {}.users"

    async def use() -> None:
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            with pytest.raises(FenceError):
                await connection.execute(text(statement.format(world.kept.name)))
            assert await connection.scalar(text("SELECT 1")) == 1

    if is_async:
        asyncio.run(use())
    else:
        with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
            with pytest.raises(FenceError):
                connection.execute(text(statement.format(world.kept.name)))
            assert connection.scalar(text("SELECT 1")) == 1
    world.check()


class TestPsycopg2:
    """Its cursors are written in C: those of the application are told nothing but what they were before."""

    @pytest.fixture
    def dsn(self, postgresql: World) -> str:
        return postgresql.test.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def test_a_connection_is_what_it_was(self, dsn: str) -> None:
        with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
            assert isinstance(connection, psycopg2.extensions.connection)
            assert isinstance(cursor, psycopg2.extensions.cursor)
            assert type(connection).__name__ == "connection"
            assert repr(cursor).startswith("<cursor object at")
            assert connection.cursor_factory is None
        connection.close()

    def test_the_classes_of_the_application_are_kept(self, dsn: str) -> None:
        class OurCursor(psycopg2.extras.RealDictCursor):  # type: ignore[misc, unused-ignore]
            def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002
                return super().execute(f"{query} -- ours", vars)

        class OurConnection(psycopg2.extensions.connection):  # type: ignore[misc, unused-ignore]
            pass

        with psycopg2.connect(dsn, connection_factory=OurConnection, cursor_factory=OurCursor) as connection:
            assert isinstance(connection, OurConnection)
            with connection.cursor() as cursor:
                assert isinstance(cursor, OurCursor)
                cursor.execute("SELECT 1 AS one")
                assert cursor.fetchone() == {"one": 1}
                assert cursor.query.endswith(b"-- ours")
                with pytest.raises(FenceError):
                    cursor.execute("DROP DATABASE shop")
                with pytest.raises(FenceError):
                    cursor.executemany("DROP DATABASE shop", [()])
        connection.close()

    def test_named_cursors_and_extras(self, dsn: str) -> None:
        with psycopg2.connect(dsn) as connection:
            with connection.cursor("named", withhold=True) as cursor:
                cursor.execute("SELECT generate_series(1, 3)")
                assert [row for (row,) in cursor] == [1, 2, 3]
            with connection.cursor() as cursor:
                psycopg2.extras.execute_values(cursor, "INSERT INTO orders VALUES %s", [(7,), (8,)])
                psycopg2.extras.register_uuid(None, connection)
                cursor.execute(psycopg2.sql.SQL("SELECT {}").format(psycopg2.sql.Literal("drop database")))
        connection.close()

    def test_a_factory_that_is_a_function(self, dsn: str) -> None:
        connection = psycopg2.connect(dsn, connection_factory=lambda text, **_: psycopg2.extensions.connection(text))
        connection.close()
