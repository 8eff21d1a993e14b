"""Which database does a live connection reach? The connection's own answer beats the URL.

Asks and reports facts; judges nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from engineroom import _identity
from engineroom._address import mask_url
from engineroom._guard.catalogue import QUESTIONS, fetch
from engineroom._guard.schemas import MAIN, ask
from engineroom._guard.sqlite_connection import GuardedConnection
from engineroom._verdict import SERVER_BACKENDS, Facts
from engineroom.errors import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect

    from engineroom._guard.watch import Watch

__all__ = ["facts_of", "identify_connection", "in_its_thread", "sqlite3_connection", "watch_of"]


def facts_of(target: Engine | Connection) -> Facts:
    """Ask an engine, by a connection opened for it, or a connection for the database that it reaches.

    Returns:
        The facts; where nothing can be asked, the database is unknown.
    """
    location = mask_url(target.engine.url)
    try:
        if isinstance(target, Engine):
            with target.connect() as connection:
                return _ask(connection, location)
        return _ask(target, location)
    except (SQLAlchemyError, RefusalError, OSError, target.dialect.loaded_dbapi.Error):
        return Facts(target.dialect.name, None, location=location)


def identify_connection(dbapi_connection: Any, dialect: Dialect, location: str = "") -> Facts:
    """Ask a DBAPI connection, or the adapted one of an async driver, for the database that it reaches.

    Args:
        dbapi_connection: The connection as SQLAlchemy's pool has it.
        dialect: The dialect that opened it.
        location: The masked URL, for messages.
    """
    if dialect.name == "sqlite":
        watch = watch_of(dbapi_connection)
        if watch is None:
            return _identify_sqlite(dbapi_connection, location)
        # The path is looked at again: the file may have got a second name since it was opened.
        return _identity.facts_of_sqlite_path(watch.main.path)
    if dialect.name not in SERVER_BACKENDS:
        return Facts(dialect.name, None, location=location)
    name = fetch(dbapi_connection, QUESTIONS[dialect.name])[0][0]
    return Facts(dialect.name, name or None, location=location)


def watch_of(dbapi_connection: Any) -> Watch | None:
    """Return the watch of a connection that the guard opened, else None."""
    connection = sqlite3_connection(dbapi_connection)
    return connection.watch if isinstance(connection, GuardedConnection) else None


def sqlite3_connection(dbapi_connection: Any) -> Any:
    """Return the sqlite3 connection below SQLAlchemy's adapter, aiosqlite's proxy and the wrapper of a tracer."""
    driver = _unwrap(getattr(dbapi_connection, "driver_connection", dbapi_connection))
    return _unwrap(getattr(driver, "_conn", driver))  # aiosqlite 0.22 has no public name for it


def in_its_thread(dbapi_connection: Any, call: Callable[[Any], Any]) -> Any:
    """Call something with the SQLite connection in the thread that may use it: for aiosqlite, the worker's."""
    connection = sqlite3_connection(dbapi_connection)
    if not hasattr(dbapi_connection, "run_async"):
        return call(connection)
    # aiosqlite 0.22: every public method runs through _execute; none takes a function of ours.
    return dbapi_connection.run_async(lambda driver: driver._execute(call, connection))  # noqa: SLF001


def _unwrap(connection: Any) -> Any:
    """Return what a tracer wrapped; the proxies of wrapt, which these use, keep it under this name."""
    while (inner := getattr(connection, "__wrapped__", None)) is not None:
        connection = inner
    return connection


def _ask(connection: Connection, location: str) -> Facts:
    pooled = connection.connection
    facts = identify_connection(pooled.dbapi_connection, connection.dialect, location)
    if connection.dialect.name != "sqlite" and not connection.in_transaction():
        pooled.rollback()  # the question began a transaction that nobody asked for
    return facts


def _identify_sqlite(dbapi_connection: Any, location: str) -> Facts:
    rows = in_its_thread(dbapi_connection, lambda connection: ask(connection, "PRAGMA database_list"))
    files = [file for _, schema, file in rows if schema == MAIN]
    return _identity.facts_of_sqlite_path(files[0]) if files else Facts("sqlite", None, location=location)
