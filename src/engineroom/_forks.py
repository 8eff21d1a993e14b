"""What a forked child inherits and must leave alone: the connections of its parent.

A connection that two processes share is ruined by whichever speaks first, and one that the child merely collects may
say goodbye to the server, or roll back, in the parent's name. So after ``os.fork()`` the child's engines get new pools,
what was checked out is taken out of SQLAlchemy's hands, and every inherited connection is kept until the process is
gone. Decides nothing about databases, and imports no SQLAlchemy.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["keep_for_ever", "take_connection", "watch_forks"]

_engines: WeakSet[Engine] = WeakSet()
_records: WeakSet[ConnectionPoolEntry] = WeakSet()
_kept: list[object] = []


def watch_forks(engine: Engine) -> None:
    """Give an engine a new pool in every child that is forked from now on; call it before the first connection."""
    from sqlalchemy import event  # noqa: PLC0415  # the front door is lazy

    _engines.add(engine)
    event.listen(engine, "connect", _remember)


def take_connection(record: ConnectionPoolEntry) -> Any:
    """Take the connection out of a pool's record, and of the session that uses it; it is neither used nor closed.

    A session that held it finds it invalidated, as after a disconnect: it can be closed without a word to the database,
    and gets another connection when it begins anew.

    Returns:
        The connection as the pool had it, or None.
    """
    connection = record.dbapi_connection
    record.dbapi_connection = None  # type: ignore[misc]  # a slot of the one subclass there is
    reference = getattr(record, "fairy_ref", None)  # there is no public way from the record to who checked it out
    holder = reference() if reference is not None else None
    if holder is not None:
        holder.dbapi_connection = None
    return connection


def keep_for_ever(thing: object) -> None:
    """Keep an object from ever being collected, also when the interpreter ends and clears all its modules."""
    _kept.append(thing)
    try:
        import ctypes  # noqa: PLC0415  # rarely needed, and not part of every build of Python
    except ImportError:
        return
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _remember(_: object, record: ConnectionPoolEntry) -> None:
    _records.add(record)


def _after_fork_in_child() -> None:
    inherited: list[object] = [take_connection(record) for record in list(_records)]
    keep_for_ever(inherited)
    _records.clear()
    for engine in list(_engines):
        inherited.append(engine.pool)
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork_in_child)
