"""The fence around the drivers of servers, used directly: psycopg, psycopg2, asyncpg, PyMySQL and their like.

Each driver is asked for its final arguments at the last place before it dials, behind its connection strings, option
files and pools. Nothing is imported here: each function is called with a driver that has arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineroom.testing._servers import judge_driver
from engineroom.testing._wrapping import wrap_function, wrap_method

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from engineroom.errors import FenceError
    from engineroom.testing._database_files import Terms

    Ask = Callable[[], Terms | None]

__all__ = ["DRIVERS", "judge_connection"]


def _fence_psycopg(psycopg: Any, ask: Ask) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def _connect_gen(cls: type, conninfo: str = "", **options: Any) -> Any:
            __tracebackhide__ = True
            refusal = _judge_conninfo("psycopg", conninfo, ask)
            if refusal is not None:
                del conninfo, options
                raise refusal
            return original(cls, conninfo, **options)

        return _connect_gen

    # Both kinds of connections inherit it.
    owner = next(parent for parent in psycopg.Connection.__mro__ if "_connect_gen" in vars(parent))
    wrap_method(owner, "_connect_gen", wrap)


def _fence_psycopg_pool(pools: Any, ask: Ask) -> None:
    """A pool connects in threads of its own, which try again for minutes: it is refused where it is opened."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def _open(self: Any, *args: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            refusal = _judge_pool(self, ask)
            if refusal is not None:
                raise refusal
            return original(self, *args, **options)

        return _open

    for pool in (pools.ConnectionPool, pools.AsyncConnectionPool):
        wrap_method(pool, "_open", wrap)


def _judge_pool(pool: Any, ask: Ask) -> FenceError | None:
    conninfo, options = pool.conninfo, pool.kwargs
    if not isinstance(conninfo, str):
        return None  # what a function returns is judged when it is dialled
    terms = ask()
    settings = _read_conninfo(conninfo)
    if terms is None or settings is None or not isinstance(options or {}, dict):
        return None  # as above
    return judge_driver("postgresql", "psycopg", (), {**settings, **(options or {})}, terms)


def _fence_psycopg2(psycopg2: Any, ask: Ask) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def _connect(dsn: str, *args: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            refusal = _judge_conninfo("psycopg2", dsn, ask)
            if refusal is not None:
                del dsn, args, options
                raise refusal
            return original(dsn, *args, **options)

        return _connect

    wrap_function(psycopg2, "_connect", wrap)


def _fence_asyncpg(asyncpg: Any, ask: Ask) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def _connect_addr(*, addr: Any, params: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            host, port = (addr.rpartition("/")[0], None) if isinstance(addr, str) else addr[:2]
            given = {"database": params.database, "user": params.user, "host": host, "port": port}
            given["server_settings"] = params.server_settings
            refusal = _judge("postgresql", "asyncpg", given, ask)
            if refusal is not None:
                del params, options
                raise refusal
            return await original(addr=addr, params=params, **options)

        return _connect_addr

    wrap_function(asyncpg.connect_utils, "_connect_addr", wrap)


def _fence_mysql(owner: type, method: str, ask: Ask, *, prefix: str = "", is_async: bool = False) -> None:
    """Ask a connection that knows all its settings, right before it dials; it does so again when it reconnects."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: Any, *args: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            refusal = judge_connection(self, prefix, ask)
            if refusal is not None:
                raise refusal
            return original(self, *args, **options)

        async def connect_async(self: Any, *args: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            refusal = judge_connection(self, prefix, ask)
            if refusal is not None:
                raise refusal
            return await original(self, *args, **options)

        return connect_async if is_async else connect

    wrap_method(owner, method, wrap)


def judge_connection(connection: Any, prefix: str, ask: Ask) -> FenceError | None:
    """Return the error for a connection of MySQL's drivers that is about to dial, or None where it may."""
    names = {"database": ("db", "database"), "host": ("host",), "port": ("port",), "user": ("user",)}
    names |= {"unix_socket": ("unix_socket",), "init_command": ("init_command",)}
    given = {}
    for key, spellings in names.items():
        values = (getattr(connection, f"{prefix}{name}", None) for name in spellings)
        value = next(filter(None, values), None)
        given[key] = value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
    return _judge("mysql", "pymysql", given, ask)


def _judge_conninfo(driver: str, conninfo: str, ask: Ask) -> FenceError | None:
    settings = _read_conninfo(conninfo)
    if settings is None:
        settings = {"dsn": conninfo}  # what cannot be read is unknown
    return _judge("postgresql", driver, settings, ask)


def _read_conninfo(conninfo: str) -> Mapping[str, Any] | None:
    from engineroom._address.conninfo import read_conninfo  # noqa: PLC0415  # as in judge_driver

    return read_conninfo(conninfo)


def _judge(backend: str, driver: str, settings: Mapping[str, Any], ask: Ask) -> FenceError | None:
    terms = ask()
    return None if terms is None else judge_driver(backend, driver, (), settings, terms)


def _fence_pymysql(pymysql: Any, ask: Ask) -> None:
    _fence_mysql(pymysql.connections.Connection, "connect", ask)


def _fence_aiomysql(aiomysql: Any, ask: Ask) -> None:
    _fence_mysql(aiomysql.connection.Connection, "_connect", ask, prefix="_", is_async=True)


def _fence_asyncmy(asyncmy: Any, ask: Ask) -> None:
    _fence_mysql(asyncmy.connection.Connection, "connect", ask, prefix="_", is_async=True)


def _fence_mysql_connector(connector: Any, ask: Ask) -> None:
    names = ("MySQLConnection", "CMySQLConnection")  # the second where its C extension is installed
    for owner in filter(None, (getattr(connector, name, None) for name in names)):
        _fence_mysql(owner, "_open_connection", ask, prefix="_")


DRIVERS: Mapping[str, Callable[[ModuleType, Ask], None]] = {
    "psycopg": _fence_psycopg,
    "psycopg_pool": _fence_psycopg_pool,
    "psycopg2": _fence_psycopg2,
    "asyncpg": _fence_asyncpg,
    "pymysql": _fence_pymysql,
    "aiomysql": _fence_aiomysql,
    "asyncmy": _fence_asyncmy,
    "mysql.connector": _fence_mysql_connector,
}
"""What the fence does when a driver has been imported."""
