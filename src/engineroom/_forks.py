"""What a forked child inherits and must leave alone: the connections of its parent.

A connection that two processes share is ruined by whichever speaks first, and one that the child merely collects may
say goodbye to the server, or roll back, in the parent's name. So after ``os.fork()`` the child's engines get new pools,
what was checked out is taken out of SQLAlchemy's hands, and every inherited connection is kept until the process is
gone. Decides nothing about databases, and imports no SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakSet

from engineroom._interpreter import call_in_child
from engineroom.errors import LifecycleError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["keep_for_ever", "take_connection", "watch_forks"]

INHERITED = "it belongs to the parent process, which opened it before os.fork()"

_engines: WeakSet[Engine] = WeakSet()
_records: WeakSet[ConnectionPoolEntry] = WeakSet()
_kept: list[object] = []


def watch_forks(engine: Engine) -> None:
    """Give an engine a new pool in every child that is forked from now on; call it before the first connection."""
    from sqlalchemy import event  # noqa: PLC0415  # the front door is lazy

    _engines.add(engine)
    event.listen(engine, "connect", _remember)


class _GoneConnection:
    """Stands in for a connection that was taken from its session: the session can be ended, and not gone on with."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def cursor(self, *_: object, **__: object) -> NoReturn:
        raise LifecycleError(
            "This connection cannot be used any more.",
            why=f"{self._reason}, and its transaction with it.",
            fix=["end the session or the connection, and begin anew: session.rollback()"],
        )

    commit = cursor

    def rollback(self) -> None:
        """Forget a transaction that is lost already."""

    close = terminate = rollback


def take_connection(record: ConnectionPoolEntry, reason: str) -> Any:
    """Take the connection out of a pool's record, and of the session that uses it; it is neither used nor closed.

    The session can be closed or rolled back without a word to the database, and gets another connection when it begins
    anew. Whatever else it does is an error.

    Args:
        record: The pool's record.
        reason: What became of the connection, for that error: a clause.

    Returns:
        The connection as the pool had it, or None.
    """
    connection = record.dbapi_connection
    record.dbapi_connection = None  # type: ignore[misc]  # a slot of the one subclass there is
    reference = getattr(record, "fairy_ref", None)  # there is no public way from the record to who checked it out
    holder = reference() if reference is not None else None
    if holder is not None:
        holder.dbapi_connection = _GoneConnection(reason)
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
    inherited: list[object] = [take_connection(record, INHERITED) for record in list(_records)]
    keep_for_ever(inherited)
    _records.clear()
    for engine in list(_engines):
        inherited.append(engine.pool)
        engine.dispose(close=False)


call_in_child(_after_fork_in_child)
