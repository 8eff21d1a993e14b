"""The ways in which a program sends SQL to a SQLite file through a guarded engine, behind one interface."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosqlite
import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from engineroom import guard
from engineroom._guard import guard_new
from engineroom._loops import pool_per_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RAM = Path("/dev/shm")  # noqa: S108
SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, nick TEXT, "drop" TEXT DEFAULT 'drop');
CREATE TABLE orders (id TEXT PRIMARY KEY, user_id INTEGER REFERENCES users) WITHOUT ROWID;
CREATE TABLE [sélect "x"] (a);
CREATE INDEX users_by_name ON users (name);
CREATE VIEW names AS SELECT name FROM users;
CREATE TRIGGER log_order AFTER INSERT ON orders BEGIN UPDATE users SET name = name; END;
CREATE VIRTUAL TABLE notes USING fts5(body);
CREATE VIRTUAL TABLE places USING rtree(id, low, high);
INSERT INTO users (name) VALUES ('Ada'), ('Grace'), ('DROP TABLE users');
INSERT INTO orders VALUES ('a', 1), ('b', 2);
INSERT INTO notes VALUES ('a note');
"""


@dataclass(frozen=True)
class Database:
    """A database in a file, and an independent look at what is in it."""

    path: Path

    def contents(self) -> list[str]:
        """Return the whole schema and all rows."""
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
            found = [str(row) for row in schema]
            for name in (name for kind, name, *_ in schema if kind == "table"):
                quoted = name.replace('"', '""')
                found += [f"{name} {row}" for row in connection.execute(f'SELECT * FROM "{quoted}"')]  # noqa: S608
            return found

    def names(self, kind: str = "table") -> set[str]:
        """Return the names of the objects of a kind."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = ?", (kind,))}

    def run(self, script: str) -> None:
        """Do something that the guard does not see."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)


class Opened:
    """One connection of a guarded engine, and how statements are sent to it."""

    def __init__(self, send: Callable[..., list[Any]], end: Callable[[str], None], engine: Any) -> None:
        self.send = send
        self.end = end
        self.engine = engine

    def commit(self) -> None:
        self.end("commit")

    def rollback(self) -> None:
        self.end("rollback")


class Way:
    """How statements reach a SQLite file. Each subclass opens a connection of a guarded engine in its own manner."""

    name = ""

    def make_engine(self, path: Path) -> Any:
        return guard(create_engine(f"sqlite:///{path}"))

    @contextmanager
    def open(self, path: Path, engine: Any = None) -> Iterator[Opened]:
        engine = engine or self.make_engine(path)
        try:
            with engine.connect() as connection:
                yield Opened(partial(self.send, connection), lambda verb: getattr(connection, verb)(), engine)
        finally:
            engine.dispose()

    def send(self, connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        raise NotImplementedError


class Text(Way):
    name = "text()"

    def send(self, connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        sql = sql.replace(":", "\\:")
        named = {f"p{number}": value for number, value in enumerate(parameters)}
        for name in named:
            sql = sql.replace("?", f":{name}", 1)
        return _rows(connection.execute(text(sql), named))


class DriverSql(Way):
    name = "exec_driver_sql"

    def send(self, connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        return _rows(connection.exec_driver_sql(sql, parameters))


class RawCursor(Way):
    name = "a raw cursor"

    def send(self, connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        cursor = connection.connection.cursor()
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


class DriverConnection(Way):
    name = "the driver's connection"

    def send(self, connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        driver: Any = connection.connection.driver_connection
        return list(driver.execute(sql, parameters).fetchall())


class Creator(DriverSql):
    name = "an engine with creator="

    def make_engine(self, path: Path) -> Any:
        return guard(create_engine("sqlite:///test_other.db", creator=lambda: sqlite3.connect(path)))


class Pooled(DriverSql):
    name = "a connection pooled before the guard came"

    def make_engine(self, path: Path) -> Any:
        engine = create_engine(f"sqlite:///{path}")
        engine.connect().close()
        return guard(engine)


class Taken(DriverSql):
    name = "a connection taken before the guard came"

    @contextmanager
    def open(self, path: Path, engine: Any = None) -> Iterator[Opened]:
        engine = engine or create_engine(f"sqlite:///{path}")
        try:
            with engine.connect() as connection:
                guard(engine)
                yield Opened(partial(self.send, connection), lambda verb: getattr(connection, verb)(), engine)
        finally:
            engine.dispose()


class AsyncWay(Way):
    def make_engine(self, path: Path) -> Any:
        return guard(create_async_engine(f"sqlite+aiosqlite:///{path}"))

    @contextmanager
    def open(self, path: Path, engine: Any = None) -> Iterator[Opened]:
        engine = engine or self.make_engine(path)
        with asyncio.Runner() as runner:
            connection = runner.run(_call(engine, "connect"))
            try:
                yield Opened(
                    lambda sql, parameters=(): runner.run(self.send_async(connection, sql, parameters)),
                    lambda verb: runner.run(_call(connection, verb)),
                    engine,
                )
            finally:
                runner.run(_call(connection, "close"))
                runner.run(_call(engine, "dispose"))

    async def send_async(self, connection: AsyncConnection, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        raise NotImplementedError


class AsyncDriverSql(AsyncWay):
    name = "exec_driver_sql of an async engine"

    async def send_async(self, connection: AsyncConnection, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        return _rows(await connection.exec_driver_sql(sql, parameters))


class LoopPool(AsyncDriverSql):
    name = "an async engine of the factory"

    def make_engine(self, path: Path) -> Any:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        pool_per_loop(engine.sync_engine)
        guard_new(engine.sync_engine)
        return engine


class RunSync(AsyncWay):
    name = "run_sync"

    async def send_async(self, connection: AsyncConnection, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        return await connection.run_sync(lambda sync: _rows(sync.exec_driver_sql(sql, parameters)))


class Aiosqlite(AsyncWay):
    name = "aiosqlite's connection"

    async def send_async(self, connection: AsyncConnection, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        return list(await driver.execute_fetchall(sql, parameters))


class AsyncCreator(AsyncDriverSql):
    name = "an engine with async_creator="

    def make_engine(self, path: Path) -> Any:
        async def connect() -> aiosqlite.Connection:
            return await aiosqlite.connect(path)

        return guard(create_async_engine("sqlite+aiosqlite:///test_other.db", async_creator=connect))


WAYS: list[Way] = [way() for way in (Text, DriverSql, RawCursor, DriverConnection, Creator, Pooled, Taken)]
WAYS += [way() for way in (AsyncDriverSql, LoopPool, RunSync, Aiosqlite, AsyncCreator)]


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    """Return each way in turn."""
    chosen: Way = request.param
    return chosen


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty directory, on RAM-backed storage where there is some: these tests commit thousands of times."""
    with tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the content of a database file."""
    database = Database(tmp_path_factory.mktemp("image") / "shop.db")
    database.run(SCHEMA)
    return database.path.read_bytes()


@pytest.fixture
def shop(folder: Path, image: bytes) -> Database:
    """Return a database that is not disposable."""
    (folder / "shop.db").write_bytes(image)
    return Database(folder / "shop.db")


@pytest.fixture
def opened(way: Way, shop: Database) -> Iterator[Opened]:
    """Return a connection to the database that is not disposable, in each way in turn."""
    with way.open(shop.path) as connection:
        yield connection


def _rows(result: Any) -> list[Any]:
    return [tuple(row) for row in result] if result.returns_rows else []


async def _call(target: Any, method: str) -> Any:
    return await getattr(target, method)()
