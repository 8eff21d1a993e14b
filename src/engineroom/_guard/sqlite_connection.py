"""SQLite connections that carry their watch, so that it stands firm and its refusals are ours.

A subclass of ``sqlite3.Connection`` can be handed to every driver as ``factory=``: to sqlite3, through SQLAlchemy and
aiosqlite. It keeps the authorizer's only slot (an application's own callback is chained), and turns SQLite's bare "not
authorized" into the error that tells why. Everything happens in the thread that uses the connection.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from engineroom import _address
from engineroom._guard.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engineroom._guard.watch import Authorizer

__all__ = ["GuardedConnection", "GuardedCursor", "guarded_factory"]

_execute = sqlite3.Cursor.execute
_executemany = sqlite3.Cursor.executemany
_executescript = sqlite3.Cursor.executescript

# The operations of sqlite3_db_config that destroy; Python 3.12 added Connection.setconfig.
DESTRUCTIVE_CONFIGURATIONS = {
    getattr(sqlite3, "SQLITE_DBCONFIG_RESET_DATABASE", None): "reset the whole database",
    getattr(sqlite3, "SQLITE_DBCONFIG_WRITABLE_SCHEMA", None): "switch on writable_schema",
}


class GuardedCursor(sqlite3.Cursor):
    """A cursor that replaces SQLite's denial by the guard's refusal."""

    connection: GuardedConnection

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Execute one statement, or refuse it."""
        watch = self.connection.watch
        if watch.needs_attention:
            watch.attend(self.connection)
        try:
            return _execute(self, sql, parameters)
        except sqlite3.DatabaseError:
            refusal = watch.take_refusal()
            if refusal is None:
                raise
        raise refusal

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        """Execute one statement for each set of parameters, or refuse it."""
        watch = self.connection.watch
        if watch.needs_attention:
            watch.attend(self.connection)
        try:
            return _executemany(self, sql, parameters)
        except sqlite3.DatabaseError:
            refusal = watch.take_refusal()
            if refusal is None:
                raise
        raise refusal

    def executescript(self, sql_script: str, /) -> Self:
        """Execute several statements, up to the first that is refused."""
        watch = self.connection.watch
        if watch.needs_attention:
            watch.attend(self.connection)
        try:
            _executescript(self, sql_script)
        except sqlite3.DatabaseError:
            refusal = watch.take_refusal()
            if refusal is None:
                raise
        else:
            return self
        raise refusal


class GuardedConnection(sqlite3.Connection):
    """A connection under watch; see :class:`engineroom._guard.watch.Watch`."""

    def __init__(self, database: Any, *args: Any, **options: Any) -> None:
        """Open the database and identify it."""
        super().__init__(database, *args, **options)
        self.watch = Watch(self, in_memory=_address.sqlite_address(database, uri=bool(options.get("uri"))).in_memory)

    def cursor(self, factory: Callable[[sqlite3.Connection], Any] | None = None) -> Any:
        """Return a guarded cursor, also of an application's own cursor class."""
        return super().cursor(GuardedCursor if factory is None else _guarded_cursor_factory(factory))

    def rollback(self) -> None:
        """Roll back; what the connection created is gone."""
        self.watch.forget_creations()
        super().rollback()

    def set_authorizer(self, authorizer_callback: Authorizer | None) -> None:
        """Chain an application's authorizer behind the watch instead of replacing it."""
        self.watch.chained = authorizer_callback
        sqlite3.Connection.set_authorizer(self, self.watch.authorize)

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:
        """Copy this database over another one, unless that one is guarded and not disposable."""
        if isinstance(target, GuardedConnection) and not target.watch.allows_everywhere("overwrite the whole database"):
            _raise_refusal(target.watch)
        super().backup(target, **options)

    def setconfig(self, op: int, enable: bool = True, /) -> None:
        """Set a configuration option, unless it destroys."""
        operation = DESTRUCTIVE_CONFIGURATIONS.get(op)
        if operation and enable and not self.watch.allows_everywhere(operation):
            _raise_refusal(self.watch)
        super().setconfig(op, enable)  # type: ignore[misc,unused-ignore]  # Python 3.12


def _raise_refusal(watch: Watch) -> None:
    refusal = watch.take_refusal()
    if refusal is not None:
        raise refusal


@cache
def guarded_factory(factory: type[sqlite3.Connection] | None) -> type[GuardedConnection]:
    """Return the guarded variant of a connection class that an application passed as ``factory=``."""
    if factory is None or factory is sqlite3.Connection:
        return GuardedConnection
    if issubclass(factory, GuardedConnection):
        return factory
    return type(f"Guarded{factory.__name__}", (GuardedConnection, factory), {})


@cache
def _guarded_cursor_factory(factory: Callable[[sqlite3.Connection], Any]) -> Callable[[sqlite3.Connection], Any]:
    if not isinstance(factory, type) or issubclass(factory, GuardedCursor):
        return factory
    return type(f"Guarded{factory.__name__}", (GuardedCursor, factory), {})
