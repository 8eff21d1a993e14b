"""The watch over SQLite connections that somebody else opens: ``creator=``, a pool of one's own, or pooled already.

Their class cannot be changed any more, so the watch is kept beside them, and SQLite's denial is replaced by the guard's
refusal where SQLAlchemy executes a statement. A raw cursor of such a connection is denied too, but gets SQLite's own
``DatabaseError: not authorized``.
"""

from __future__ import annotations

import sqlite3
from functools import wraps
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from engineroom._guard.live import sqlite3_connection, watch_of
from engineroom._guard.watch import Watch
from engineroom._permit import WATCH_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.engine import ExecutionContext
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

__all__ = ["watch_from_outside"]

EXECUTORS = ("do_execute", "do_executemany", "do_execute_no_params")


def watch_from_outside(engine: Engine) -> None:
    """Watch all connections of an SQLite engine, those in its pool included, from when they are taken next."""
    event.listen(engine, "checkout", _watch)
    event.listen(engine, "checkin", _forget_creations)
    for name in EXECUTORS:
        setattr(engine.dialect, name, _translate_denials(getattr(engine.dialect, name)))


def _watch(dbapi_connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
    if record.info.get(WATCH_KEY) is None:
        record.info[WATCH_KEY] = watch_of(dbapi_connection) or _in_its_thread(dbapi_connection, Watch)


def _forget_creations(_: Any, record: ConnectionPoolEntry) -> None:
    watch = record.info.get(WATCH_KEY)
    if watch is not None:
        watch.forget_creations()


def _translate_denials(execute: Callable[..., None]) -> Callable[..., None]:
    @wraps(execute)
    def execute_watched(*arguments: Any) -> None:
        context: ExecutionContext | None = arguments[-1]
        watch: Watch | None = context.root_connection.info.get(WATCH_KEY) if context else None
        if context is None or watch is None:
            return execute(*arguments)
        if watch.needs_attention:
            _in_its_thread(context.root_connection.connection.dbapi_connection, watch.attend)
        try:
            return execute(*arguments)
        except sqlite3.DatabaseError:
            refusal = watch.take_refusal()
            if refusal is None:
                raise
        raise refusal

    return execute_watched


def _in_its_thread(dbapi_connection: Any, call: Callable[[sqlite3.Connection], Any]) -> Any:
    """Call something with the sqlite3 connection in the thread that may use it: for aiosqlite, the worker's."""
    connection = sqlite3_connection(dbapi_connection)
    if connection is getattr(dbapi_connection, "driver_connection", dbapi_connection):
        return call(connection)
    # aiosqlite 0.20 to 0.22: every public method runs through _execute; none takes a function of ours.
    return dbapi_connection.run_async(lambda driver: driver._execute(call, connection))  # noqa: SLF001
