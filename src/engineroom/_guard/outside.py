"""The watch over SQLite connections that somebody else opens: ``creator=``, a pool of one's own, or pooled already.

Their class cannot be changed any more, so the watch is kept beside them, and SQLite's denial is replaced by the guard's
refusal where SQLAlchemy executes a statement. A raw cursor of such a connection is denied too, but gets SQLite's own
``DatabaseError: not authorized``.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from engineroom._guard.live import in_its_thread, sqlite3_connection
from engineroom._guard.watch import Watch
from engineroom._permit import WATCH_KEY, permits_of
from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.engine import Dialect
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["hear_of_its_end", "translate_denials", "watch_connection"]

EXECUTORS = ("do_execute", "do_executemany", "do_execute_no_params")

_translating: WeakSet[Dialect] = WeakSet()


def watch_connection(dbapi_connection: Any, dialect: Dialect) -> Watch:
    """Begin to watch a connection, and have the dialect turn its denials into refusals.

    Raises:
        InvalidSettingError: The connection has no authorizer, so that the guard could not keep its promise.
    """
    translate_denials(dialect)
    try:
        watch: Watch = in_its_thread(dbapi_connection, lambda connection: Watch(connection, is_inside=False))
    except (AttributeError, TypeError):
        pass
    else:
        watch.follow(permits_of(dialect))
        return watch
    raise _no_authorizer(type(sqlite3_connection(dbapi_connection)))


def hear_of_its_end(record: ConnectionPoolEntry | None, watch: Watch) -> None:
    """Have the turn of a watch ended when its connection goes back to the pool; a listener would cost each turn."""
    # The attribute of SQLAlchemy 2.0 and 2.1 is not there yet while the first connection of a record is being made.
    callbacks = getattr(record, "finalize_callback", None)
    if callbacks is not None and watch.end_turn not in callbacks:
        callbacks.append(watch.end_turn)
        watch.needs_attention = True  # at the beginning of a turn: the application may have replaced the authorizer


def translate_denials(dialect: Dialect) -> None:
    """Have a dialect look after connections that do not carry their watch, and turn their denials into refusals."""
    if dialect in _translating:
        return
    _translating.add(dialect)
    for name in EXECUTORS:
        setattr(dialect, name, _translate(getattr(dialect, name), dialect))


def _translate(execute: Callable[..., None], dialect: Dialect) -> Callable[..., None]:
    @wraps(execute)
    def execute_watched(cursor: Any, statement: str, *arguments: Any) -> None:
        connection: Connection | None = getattr(arguments[-1] if arguments else None, "root_connection", None)
        watch = None if connection is None else _watch_of(connection, dialect)
        if connection is None or watch is None or watch.is_inside:
            return execute(cursor, statement, *arguments)
        dbapi_connection = connection.connection.dbapi_connection
        hear_of_its_end(getattr(connection.connection, "_connection_record", None), watch)
        return _oversee(watch, dbapi_connection, statement, lambda: execute(cursor, statement, *arguments), dialect)

    return execute_watched


def _oversee(
    watch: Watch, dbapi_connection: Any, statement: str, execute: Callable[[], None], dialect: Dialect
) -> None:
    if watch.needs_attention:
        in_its_thread(dbapi_connection, lambda connection: watch.attend(connection, statement))
    watch.is_overseen = True
    try:
        execute()
    except dialect.loaded_dbapi.DatabaseError as error:
        settle = partial(watch.settle_failure, sql=statement, error=error)
        refusal = in_its_thread(dbapi_connection, settle)
        if refusal is None:
            raise
    else:
        if watch.needs_attention:
            in_its_thread(dbapi_connection, partial(watch.settle, sql=statement))
        return
    finally:
        watch.is_overseen = False
    raise refusal


def _watch_of(connection: Connection, dialect: Dialect) -> Watch | None:
    """Return the watch of a connection; it begins here for one that was taken before the engine was guarded."""
    watch: Watch | None = connection.info.get(WATCH_KEY)
    if watch is None and connection.connection.dbapi_connection is not None:
        watch = connection.info[WATCH_KEY] = watch_connection(connection.connection.dbapi_connection, dialect)
    return watch


def _no_authorizer(kind: type) -> InvalidSettingError:
    return InvalidSettingError(
        f"The guard cannot watch a connection of the class {kind.__module__}.{kind.__qualname__}.",
        why="it works through SQLite's authorizer, and this class has none.",
        fix=["let the engine open its connections by sqlite3 or aiosqlite"],
    )
