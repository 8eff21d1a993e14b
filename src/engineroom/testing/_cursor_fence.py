"""The fence around what the drivers of servers send, below every cursor, pool and engine of SQLAlchemy.

Each text is taken where the driver itself hands it on, which no cursor class of an application passes by; psycopg2,
whose cursors are written in C, gets subclasses of them. Nothing is imported here: each function is called with a driver
that has arrived.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from engineroom.testing._servers import MAINTENANCE
from engineroom.testing._statement_fence import judge_current_database, judge_statement
from engineroom.testing._wrapping import wrap_function, wrap_method

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from engineroom.errors import FenceError
    from engineroom.testing._database_files import Terms

    Ask = Callable[[], Terms | None]

__all__ = ["STATEMENTS"]

COM_INIT_DB, COM_QUERY, COM_STMT_PREPARE = 2, 3, 22  # https://mariadb.com/kb/en/2-text-protocol/


def _judge_postgresql(
    sql: str | bytes, database: object, ask: Ask, settings: Callable[[], Mapping[str, Any]]
) -> FenceError | None:
    terms, own = ask(), _text(database)
    if terms is None:
        return None
    is_about_databases = b"database" in sql.lower() if isinstance(sql, bytes) else "database" in sql.lower()
    if not is_about_databases and own not in MAINTENANCE["postgresql"]:
        return None  # most statements
    return judge_statement(_text(sql), "postgresql", own or None, terms, settings)


def _judge_mysql(command: int, argument: object, connection: Any, prefix: str, ask: Ask) -> FenceError | None:
    terms = ask()
    if terms is None or command not in {COM_INIT_DB, COM_QUERY, COM_STMT_PREPARE}:
        return None

    def settings() -> Mapping[str, Any]:
        names = ("host", "port", "user", "unix_socket")
        return {name: _text(getattr(connection, f"{prefix}{name}", None)) for name in names}

    if command == COM_INIT_DB:
        return judge_current_database(_text(argument), "mysql", terms, settings)
    own = getattr(connection, f"{prefix}db", None) or getattr(connection, f"{prefix}database", None)
    return judge_statement(_text(argument), "mysql", _text(own) or None, terms, settings)


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="surrogateescape")
    return "" if value is None else str(value)


def _watch_psycopg(psycopg: Any, ask: Ask) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def _convert_query(self: Any, *args: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            converted = original(self, *args, **options)
            pgconn = self._conn.pgconn
            refusal = _judge_postgresql(converted.query, pgconn.db, ask, lambda: _settings_of_libpq(pgconn))
            if refusal is not None:
                raise refusal
            return converted

        return _convert_query

    owner = next(parent for parent in psycopg.Cursor.__mro__ if "_convert_query" in vars(parent))
    wrap_method(owner, "_convert_query", wrap)


def _settings_of_libpq(pgconn: Any) -> Mapping[str, Any]:
    return {name: _text(getattr(pgconn, name)) for name in ("host", "port", "user")}


def _watch_psycopg2(psycopg2: Any, ask: Ask) -> None:
    classes = _Psycopg2(psycopg2.extensions, ask)

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def _connect(dsn: str, connection_factory: Any = None, **options: Any) -> Any:
            __tracebackhide__ = True
            factory = connection_factory or psycopg2.extensions.connection
            if isinstance(factory, type) and ask() is not None:
                connection_factory = classes.connection(factory)
            return original(dsn, connection_factory=connection_factory, **options)

        return _connect

    wrap_function(psycopg2, "_connect", wrap, purpose="statements")


class _Psycopg2:
    """Makes the classes of connections and cursors, each of one that the application chose."""

    def __init__(self, extensions: Any, ask: Ask) -> None:
        cursor = _fenced_cursor(extensions, ask)
        self._cursor_class = cache(lambda factory: _subclass(factory, cursor))
        self.connection = cache(lambda factory: _subclass(factory, self._fenced_connection(extensions)))

    def _fenced_connection(self, extensions: Any) -> type:
        cursor_class = self._cursor_class

        class FencedConnection(extensions.connection):  # type: ignore[misc]
            def cursor(self, name: Any = None, cursor_factory: Any = None, **options: Any) -> Any:
                factory = cursor_factory or self.cursor_factory or extensions.cursor
                if isinstance(factory, type) and issubclass(factory, extensions.cursor):
                    factory = cursor_class(factory)
                return super().cursor(name, cursor_factory=factory, **options)

        return FencedConnection


def _fenced_cursor(extensions: Any, ask: Ask) -> type:
    def check(cursor: Any, query: Any) -> None:
        __tracebackhide__ = True
        connection = cursor.connection
        text = query.as_string(connection) if hasattr(query, "as_string") else _text(query)
        refusal = _judge_postgresql(text, connection.info.dbname, ask, lambda: _settings_of_psycopg2(connection))
        if refusal is not None:
            raise refusal

    class FencedCursor(extensions.cursor):  # type: ignore[misc]
        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  # as the driver calls it
            __tracebackhide__ = True
            check(self, query)
            super().execute(query, vars)

        def executemany(self, query: Any, vars_list: Any) -> None:
            __tracebackhide__ = True
            check(self, query)
            super().executemany(query, vars_list)

        def copy_expert(self, sql: Any, *args: Any, **options: Any) -> None:
            __tracebackhide__ = True
            check(self, sql)
            super().copy_expert(sql, *args, **options)

    return FencedCursor


def _settings_of_psycopg2(connection: Any) -> Mapping[str, Any]:
    return {name: getattr(connection.info, name) for name in ("host", "port", "user")}


def _subclass(chosen: type, fenced: type) -> type:
    """Return a class that is what the application chose in every way but one; its own methods come first."""
    if issubclass(chosen, fenced):
        return chosen
    bases = (fenced,) if issubclass(fenced, chosen) else (chosen, fenced)
    names = {"__module__": chosen.__module__, "__qualname__": chosen.__qualname__, "__doc__": chosen.__doc__}
    return type(chosen.__name__, bases, names)


def _watch_asyncpg(asyncpg: Any, ask: Ask) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def send(self: Any, query: Any, *args: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            refusal = _judge_postgresql(_text(query), self._params.database, ask, lambda: _settings_of_asyncpg(self))
            if refusal is not None:
                raise refusal
            return await original(self, query, *args, **options)

        return send

    connection = asyncpg.connection.Connection
    wrap_method(connection, "execute", wrap)
    wrap_method(connection, "_get_statement", wrap)
    wrap_method(connection, "_copy_in", wrap)

    def wrap_records(original: Callable[..., Any]) -> Callable[..., Any]:
        async def copy_records_to_table(self: Any, table_name: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            settings, database = lambda: _settings_of_asyncpg(self), self._params.database
            refusal = _judge_postgresql("COPY records FROM STDIN", database, ask, settings)
            if refusal is not None:
                raise refusal
            return await original(self, table_name, **options)

        return copy_records_to_table

    wrap_method(connection, "copy_records_to_table", wrap_records)


def _settings_of_asyncpg(connection: Any) -> Mapping[str, Any]:
    address = connection._addr  # noqa: SLF001  # there is no public way to it
    host, port = (address.rpartition("/")[0], None) if isinstance(address, str) else address[:2]
    return {"host": host, "port": port, "user": connection._params.user}  # noqa: SLF001


def _watch_mysql(owner: type, ask: Ask, *, prefix: str = "", is_async: bool = False) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def _execute_command(self: Any, command: int, sql: Any, *args: Any) -> Any:
            __tracebackhide__ = True
            refusal = _judge_mysql(command, sql, self, prefix, ask)
            if refusal is not None:
                raise refusal
            return original(self, command, sql, *args)

        async def _execute_command_async(self: Any, command: int, sql: Any, *args: Any) -> Any:
            __tracebackhide__ = True
            refusal = _judge_mysql(command, sql, self, prefix, ask)
            if refusal is not None:
                raise refusal
            return await original(self, command, sql, *args)

        return _execute_command_async if is_async else _execute_command

    wrap_method(owner, "_execute_command", wrap)


def _watch_pymysql(pymysql: Any, ask: Ask) -> None:
    _watch_mysql(pymysql.connections.Connection, ask)


def _watch_aiomysql(aiomysql: Any, ask: Ask) -> None:
    _watch_mysql(aiomysql.connection.Connection, ask, prefix="_", is_async=True)


def _watch_asyncmy(asyncmy: Any, ask: Ask) -> None:
    _watch_mysql(asyncmy.connection.Connection, ask, prefix="_", is_async=True)


def _watch_mysql_connector(connector: Any, ask: Ask) -> None:
    def wrap(command: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def wrap_command(original: Callable[..., Any]) -> Callable[..., Any]:
            def send(self: Any, argument: Any, *args: Any, **options: Any) -> Any:
                __tracebackhide__ = True
                refusal = _judge_mysql(command, argument, self, "_", ask)
                if refusal is not None:
                    raise refusal
                return original(self, argument, *args, **options)

            return send

        return wrap_command

    def wrap_change(original: Callable[..., Any]) -> Callable[..., Any]:
        def cmd_change_user(
            self: Any, username: str = "", password: str = "", database: str = "", *args: Any, **options: Any
        ) -> Any:
            __tracebackhide__ = True
            refusal = _judge_mysql(COM_INIT_DB, database, self, "_", ask) if database else None
            if refusal is not None:
                del password, args, options
                raise refusal
            return original(self, username, password, database, *args, **options)

        return cmd_change_user

    names = ("MySQLConnection", "CMySQLConnection")
    for owner in filter(None, (getattr(connector, name, None) for name in names)):
        wrap_method(owner, "cmd_query", wrap(COM_QUERY))
        wrap_method(owner, "cmd_query_iter", wrap(COM_QUERY))
        wrap_method(owner, "cmd_stmt_prepare", wrap(COM_STMT_PREPARE))
        wrap_method(owner, "cmd_init_db", wrap(COM_INIT_DB))
        wrap_method(owner, "cmd_change_user", wrap_change)
        current = next(vars(parent)["database"] for parent in owner.__mro__ if "database" in vars(parent))
        type.__setattr__(owner, "database", property(current.fget, wrap(COM_INIT_DB)(current.fset)))


STATEMENTS: Mapping[str, Callable[[ModuleType, Ask], None]] = {
    "psycopg": _watch_psycopg,
    "psycopg2": _watch_psycopg2,
    "asyncpg": _watch_asyncpg,
    "pymysql": _watch_pymysql,
    "aiomysql": _watch_aiomysql,
    "asyncmy": _watch_asyncmy,
    "mysql.connector": _watch_mysql_connector,
}
"""What the fence does when a driver has been imported."""
