"""What the tests of the guard on servers share: databases to keep and to lose, and one way to drive every driver."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

import engineroom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

DRIVERS = {
    # The name in a test's id: the server, the URL's scheme, whether the engine is async.
    "psycopg": ("postgresql", "postgresql+psycopg", False),
    "psycopg2": ("postgresql", "postgresql+psycopg2", False),
    "psycopg_async": ("postgresql", "postgresql+psycopg", True),
    "asyncpg": ("postgresql", "postgresql+asyncpg", True),
    "pymysql": ("mariadb", "mariadb+pymysql", False),
    "aiomysql": ("mariadb", "mysql+aiomysql", True),
    "asyncmy": ("mariadb", "mariadb+asyncmy", True),
}
WORLD = (
    "CREATE TABLE users (id int PRIMARY KEY, email varchar(50))",
    "CREATE TABLE orders (id int)",
    "CREATE TABLE audit (id int)",
    "CREATE VIEW everybody AS SELECT id FROM users",
    "INSERT INTO users VALUES (1, 'a@example.org')",
)
RELATIONS = {
    "postgresql": (
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace = 'public'::regnamespace"
    ),
    "mariadb": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
}


# What a test may have changed, so that most tests find the world as it was.
FINGERPRINTS = {
    "postgresql": """
SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM orders),
  (SELECT string_agg(concat(oid, ' ', relname, ' ', relchecks, ' ', reloptions), ',' ORDER BY oid) FROM pg_class
   WHERE relnamespace = 'public'::regnamespace),
  (SELECT string_agg(concat(attrelid, attname, atttypid), ',' ORDER BY attrelid, attnum) FROM pg_attribute
   JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace),
  (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
  (SELECT count(*) FROM pg_type WHERE typnamespace = 'public'::regnamespace),
  (SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%')
""",
    "mariadb": """
SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM orders),
  (SELECT group_concat(table_name, ' ', column_name, ' ', column_type ORDER BY table_name, ordinal_position)
   FROM information_schema.columns WHERE table_schema = DATABASE()),
  (SELECT count(*) FROM information_schema.statistics WHERE table_schema = DATABASE()),
  (SELECT count(*) FROM information_schema.routines WHERE routine_schema = DATABASE())
""",
}


class Database:
    """A database of a server, rebuilt for each test, and watched over a connection that no guard sees."""

    def __init__(self, kind: str, maintenance: URL, name: str) -> None:
        self.kind = kind
        self.name = name
        self.url = maintenance.set(database=name)
        self._server = create_engine(maintenance, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._engine = create_engine(self.url, pool_size=1, isolation_level="AUTOCOMMIT")
        self._world: list[Any] = []

    def send(self, *statements: str) -> list[Any]:
        """Send statements past the guard; return the rows of the last one."""
        with self._engine.connect() as connection:
            if self.kind == "postgresql":
                connection.exec_driver_sql("SET lock_timeout = '5s'")
            result = None
            for statement in statements:
                result = connection.exec_driver_sql(statement)
            return list(result) if result is not None and result.returns_rows else []

    def send_to_server(self, statement: str) -> None:
        """Send a statement over a maintenance connection."""
        with self._server.connect() as connection:
            connection.exec_driver_sql(statement)

    def relations(self) -> set[str]:
        """Return the names of the tables and views that persist."""
        return {name for (name,) in self.send(RELATIONS[self.kind])}

    def rebuild(self) -> None:
        """Bring the database back to the world of the tests, if it is not."""
        if self._world and self._world == self._look():
            return
        if self.kind == "postgresql":
            self.send("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", *WORLD)
        else:
            self.send_to_server(f"DROP DATABASE {self.name}")
            self.send_to_server(f"CREATE DATABASE {self.name}")
            self.send(f"USE {self.name}", *WORLD)
        self._world = self._look()

    def _look(self) -> list[Any]:
        try:
            return self.send(FINGERPRINTS[self.kind])
        except DBAPIError:
            return []

    def drop(self) -> None:
        """Remove the database."""
        self._engine.dispose()
        force = " WITH (FORCE)" if self.kind == "postgresql" else ""
        self.send_to_server(f"DROP DATABASE IF EXISTS {self.name}{force}")


class Reached:
    """An engine with the guard, sync or async, and one way to use either."""

    def __init__(self, driver: str, database: Database, url: URL | None, options: dict[str, Any]) -> None:
        _, scheme, self.is_async = DRIVERS[driver]
        self.database = database
        self.name = database.name
        self.is_postgresql = database.kind == "postgresql"
        self.url = (url or database.url).set(drivername=scheme)
        creator: Callable[..., Any] = create_async_engine if self.is_async else create_engine
        self.outer: Any = engineroom.guard(creator(self.url, **options))
        self.engine: Engine = self.outer.sync_engine if isinstance(self.outer, AsyncEngine) else self.outer
        self._runner = asyncio.Runner() if self.is_async else None
        self._blocks: list[Callable[[], AbstractContextManager[object]]] = []

    def do(self, body: Callable[[Connection], Any], **execution_options: Any) -> Any:
        """Call a body with a connection in a transaction that is committed; sync code in both worlds."""
        if self._runner is None:
            with self._inside(), self.engine.connect() as connection:
                chosen = connection.execution_options(**execution_options) if execution_options else connection
                result = body(chosen)
                connection.commit()
                return result

        async def run() -> Any:
            with self._inside():
                return await connect()

        async def connect() -> Any:
            async with self.outer.connect() as connection:
                chosen: AsyncConnection = connection
                if execution_options:
                    chosen = await connection.execution_options(**execution_options)
                result = await chosen.run_sync(body)
                await connection.commit()
                return result

        return self._runner.run(run())

    @contextmanager
    def inside(self, block: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
        """Have whoever takes a connection from now on enter a block first, in the task that takes it."""
        self._blocks.append(block)
        try:
            yield
        finally:
            self._blocks.pop()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        with ExitStack() as stack:
            for block in self._blocks:
                stack.enter_context(block())
            yield

    def run(self, make: Callable[[Reached], Any]) -> Any:
        """Await a coroutine in the loop of the engine."""
        assert self._runner is not None
        return self._runner.run(make(self))

    def send(self, *statements: str, **execution_options: Any) -> Any:
        """Send statements over one connection; return the rows of the last one."""

        def body(connection: Connection) -> Any:
            for statement in statements:
                result = connection.exec_driver_sql(statement)
            return result.all() if result.returns_rows else None

        return self.do(body, **execution_options)

    def refusal(self, *statements: str, **execution_options: Any) -> str:
        """Send statements of which the last one must be refused; return what was refused."""
        with pytest.raises(engineroom.DestructiveOperationError) as caught:
            self.send(*statements, **execution_options)
        return caught.value.what

    def close(self) -> None:
        """Close the connections, in their loop."""
        if self._runner is None:
            self.engine.dispose()
            return
        self._runner.run(self.outer.dispose())
        self._runner.close()


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Database]]:
    """Return a function that gives the database to keep, the other one, or the test database of a kind of server."""
    made: dict[tuple[str, str], Database] = {}
    mark = f"{os.getpid()}_{secrets.token_hex(3)}"
    names = {
        "kept": f"engineroom_kept_{mark}",
        "other": f"engineroom_other_{mark}",
        "test": f"test_engineroom_guard_{mark}",
    }

    def get(kind: str, role: str) -> Database:
        if (kind, role) not in made:
            database = Database(kind, request.getfixturevalue(f"{kind}_url"), names[role])
            database.send_to_server(f"CREATE DATABASE {database.name}")
            made[kind, role] = database
        return made[kind, role]

    yield get
    for database in made.values():
        database.drop()


@pytest.fixture
def reach(databases: Callable[[str, str], Database]) -> Iterator[Callable[..., Reached]]:
    """Return a function that makes a guarded engine, by a driver, of a database that was just rebuilt."""
    open_ones: list[Reached] = []
    rebuilt: set[Database] = set()

    def make(driver: str, role: str = "kept", *, url: URL | None = None, **options: Any) -> Reached:
        database = databases(DRIVERS[driver][0], role)
        if database not in rebuilt:
            database.rebuild()
            rebuilt.add(database)
        open_ones.append(Reached(driver, database, url, options))
        return open_ones[-1]

    yield make
    for one in open_ones:
        one.close()


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """Return the name of each driver in turn."""
    name: str = request.param
    return name


@pytest.fixture
def kept(driver: str, reach: Callable[..., Reached]) -> Reached:
    """Return a guarded engine of a database that is not disposable, for each driver in turn."""
    return reach(driver)
