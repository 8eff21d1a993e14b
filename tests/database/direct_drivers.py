"""Every driver of a server as an application uses it without SQLAlchemy: connect, send statements, close."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiomysql  # type: ignore[import-untyped]
import asyncmy
import asyncpg  # type: ignore[import-untyped]
import psycopg
import psycopg2  # type: ignore[import-untyped]
import psycopg2.extras  # type: ignore[import-untyped]
import psycopg2.pool  # type: ignore[import-untyped]
import pymysql  # type: ignore[import-untyped]
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import URL

KINDS: Mapping[str, str] = {
    "psycopg": "postgresql",
    "psycopg_by_keywords": "postgresql",
    "psycopg_raw": "postgresql",
    "psycopg_async": "postgresql",
    "psycopg_pool": "postgresql",
    "psycopg_async_pool": "postgresql",
    "psycopg2": "postgresql",
    "psycopg2_by_keywords": "postgresql",
    "psycopg2_pool": "postgresql",
    "psycopg2_dict_cursor": "postgresql",
    "asyncpg": "postgresql",
    "asyncpg_prepared": "postgresql",
    "asyncpg_pool": "postgresql",
    "pymysql": "mariadb",
    "pymysql_as_mysqldb": "mariadb",
    "pymysql_deferred": "mariadb",
    "aiomysql": "mariadb",
    "aiomysql_pool": "mariadb",
    "asyncmy": "mariadb",
    "asyncmy_pool": "mariadb",
    "mysql_connector": "mariadb",
    "mysql_connector_in_python": "mariadb",
}
"""Each way to use a driver, and the kind of server that it reaches."""


@contextmanager
def opened(way: str, url: URL) -> Iterator[Callable[[str], object]]:
    """Open a connection, or a pool; yield a function that sends one statement over it, outside of a transaction."""
    if way in _ASYNC:
        with asyncio.Runner() as runner:
            opening = _ASYNC[way](url)
            send = runner.run(anext(opening))
            try:
                yield lambda statement: runner.run(send(statement))
            finally:
                runner.run(_finish(opening))
        return
    with _SYNC[way](url) as send:
        yield send


def touch(way: str, url: URL) -> None:
    """Open a connection, ask it something and close it."""
    with opened(way, url) as send:
        send("SELECT 1")


async def _finish(opening: Any) -> None:
    await anext(opening, None)


def _dsn(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _keywords(url: URL, name: str = "database") -> dict[str, Any]:
    options = {"host": url.host, "port": url.port, "user": url.username, "password": url.password, name: url.database}
    return {key: value for key, value in options.items() if value is not None}


@contextmanager
def _psycopg(url: URL, **options: Any) -> Iterator[Any]:
    with psycopg.connect(_dsn(url), autocommit=True, **options) as connection:
        yield connection.execute


@contextmanager
def _psycopg_by_keywords(url: URL) -> Iterator[Any]:
    connection = psycopg.Connection.connect(autocommit=True, **_keywords(url, "dbname"))
    with connection, connection.cursor() as cursor:
        yield cursor.execute


@contextmanager
def _psycopg_raw(url: URL) -> Iterator[Any]:
    with psycopg.connect(_dsn(url), autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        yield lambda statement: connection.execute(statement.encode())


@contextmanager
def _psycopg_pool(url: URL) -> Iterator[Any]:
    pools = pytest.importorskip("psycopg_pool")
    with pools.ConnectionPool(_dsn(url), min_size=1, max_size=1, kwargs={"autocommit": True}, open=True) as pool:

        def send(statement: str) -> None:
            with pool.connection() as connection:
                connection.execute(statement)

        yield send


@contextmanager
def _psycopg2(url: URL, **options: Any) -> Iterator[Any]:
    given = options.pop("given", (_dsn(url),))
    connection = psycopg2.connect(*given, **options)
    connection.autocommit = True
    with connection.cursor() as cursor:
        yield cursor.execute
    connection.close()


@contextmanager
def _psycopg2_pool(url: URL) -> Iterator[Any]:
    pool = psycopg2.pool.ThreadedConnectionPool(1, 1, _dsn(url))
    connection = pool.getconn()
    connection.autocommit = True
    with connection.cursor() as cursor:
        yield cursor.execute
    pool.closeall()


def _psycopg2_dict_cursor(url: URL) -> Any:
    return _psycopg2(url, cursor_factory=psycopg2.extras.RealDictCursor)


@contextmanager
def _mysql(connection: Any) -> Iterator[Any]:
    cursor = connection.cursor()

    def send(statement: str) -> object:
        cursor.execute(statement)
        rows: object = cursor.fetchall() if cursor.description else None
        connection.commit()
        return rows

    yield send
    connection.close()


def _pymysql(url: URL) -> Any:
    return _mysql(pymysql.connect(**_keywords(url), ssl_disabled=True))


def _pymysql_as_mysqldb(url: URL) -> Any:
    pymysql.install_as_MySQLdb()
    return _mysql(importlib.import_module("MySQLdb").connect(**_keywords(url), ssl_disabled=True))


def _pymysql_deferred(url: URL) -> Any:
    connection = pymysql.connect(**_keywords(url), defer_connect=True, ssl_disabled=True)
    connection.connect()
    return _mysql(connection)


def _mysql_connector(url: URL, **options: Any) -> Any:
    connector = pytest.importorskip("mysql.connector")
    return _mysql(connector.connect(**_keywords(url), ssl_disabled=True, **options))


_SYNC: dict[str, Any] = {
    "psycopg": _psycopg,
    "psycopg_by_keywords": _psycopg_by_keywords,
    "psycopg_raw": _psycopg_raw,
    "psycopg_pool": _psycopg_pool,
    "psycopg2": _psycopg2,
    "psycopg2_by_keywords": lambda url: _psycopg2(url, given=(), **_keywords(url, "dbname")),
    "psycopg2_pool": _psycopg2_pool,
    "psycopg2_dict_cursor": _psycopg2_dict_cursor,
    "pymysql": _pymysql,
    "pymysql_as_mysqldb": _pymysql_as_mysqldb,
    "pymysql_deferred": _pymysql_deferred,
    "mysql_connector": _mysql_connector,
    "mysql_connector_in_python": lambda url: _mysql_connector(url, use_pure=True),
}


async def _psycopg_async(url: URL) -> Any:
    async with await psycopg.AsyncConnection.connect(_dsn(url), autocommit=True) as connection:
        yield connection.execute


async def _psycopg_async_pool(url: URL) -> Any:
    pools = pytest.importorskip("psycopg_pool")
    pool = pools.AsyncConnectionPool(_dsn(url), min_size=1, max_size=1, kwargs={"autocommit": True}, open=False)
    async with pool:

        async def send(statement: str) -> None:
            async with pool.connection() as connection:
                await connection.execute(statement)

        yield send


async def _asyncpg(url: URL) -> Any:
    connection = await asyncpg.connect(_dsn(url))
    yield connection.execute
    await connection.close()


async def _asyncpg_prepared(url: URL) -> Any:
    connection = await asyncpg.connect(**_keywords(url))
    yield connection.fetch
    await connection.close()


async def _asyncpg_pool(url: URL) -> Any:
    async with asyncpg.create_pool(_dsn(url), min_size=1, max_size=1) as pool:
        yield pool.execute


async def _aiomysql(url: URL) -> Any:
    connection = await aiomysql.connect(**_keywords(url, "db"))
    yield lambda statement: _execute(connection, statement)
    connection.close()


async def _aiomysql_pool(url: URL) -> Any:
    async with aiomysql.create_pool(**_keywords(url, "db"), minsize=1, maxsize=1) as pool, pool.acquire() as connection:
        yield lambda statement: _execute(connection, statement)


async def _asyncmy(url: URL) -> Any:
    connection = await asyncmy.connect(**_keywords(url))
    yield lambda statement: _execute(connection, statement)
    await connection.ensure_closed()


async def _asyncmy_pool(url: URL) -> Any:
    async with asyncmy.create_pool(**_keywords(url), minsize=1, maxsize=1) as pool, pool.acquire() as connection:
        yield lambda statement: _execute(connection, statement)


async def _execute(connection: Any, statement: str) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute(statement)
    await connection.commit()


_ASYNC: dict[str, Any] = {
    "psycopg_async": _psycopg_async,
    "psycopg_async_pool": _psycopg_async_pool,
    "asyncpg": _asyncpg,
    "asyncpg_prepared": _asyncpg_prepared,
    "asyncpg_pool": _asyncpg_pool,
    "aiomysql": _aiomysql,
    "aiomysql_pool": _aiomysql_pool,
    "asyncmy": _asyncmy,
    "asyncmy_pool": _asyncmy_pool,
}
