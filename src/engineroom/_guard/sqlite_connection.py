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
from engineroom._guard.schemas import ask
from engineroom._guard.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engineroom._guard.answers import Authorizer

__all__ = ["GuardedConnection", "GuardedCursor", "guarded_factory"]

# Bound once: these run for every statement, and super() would be a fifth of what the guard costs.
_cursor = sqlite3.Connection.cursor
_prepare = sqlite3.Connection.__call__
_execute = sqlite3.Cursor.execute
_executemany = sqlite3.Cursor.executemany
_executescript = sqlite3.Cursor.executescript

RESET_DATABASE: int | None = getattr(sqlite3, "SQLITE_DBCONFIG_RESET_DATABASE", None)  # Python 3.12
WRITABLE_SCHEMA: int | None = getattr(sqlite3, "SQLITE_DBCONFIG_WRITABLE_SCHEMA", None)


class GuardedCursor(sqlite3.Cursor):
    """A cursor that replaces SQLite's denial by the guard's refusal."""

    __slots__ = ()

    connection: GuardedConnection

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Execute one statement, or refuse it."""
        watch = self.connection.watch
        if watch.needs_attention:
            watch.attend(self.connection, sql)
        try:
            _execute(self, sql, parameters)
        except sqlite3.DatabaseError as error:
            refusal = watch.settle_failure(self.connection, sql, error)
            if refusal is None:
                raise
        else:
            if watch.needs_attention:
                watch.settle(self.connection, sql)
            return self
        raise refusal

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        """Execute one statement for each set of parameters, or refuse it."""
        watch = self.connection.watch
        if watch.needs_attention:
            watch.attend(self.connection, sql)
        try:
            _executemany(self, sql, parameters)
        except sqlite3.DatabaseError as error:
            refusal = watch.settle_failure(self.connection, sql, error)
            if refusal is None:
                raise
        else:
            return self
        raise refusal

    def executescript(self, sql_script: str, /) -> Self:
        """Execute several statements, up to the first that is refused."""
        watch = self.connection.watch
        watch.attend_script(self.connection, sql_script)
        try:
            _executescript(self, sql_script)
        except sqlite3.DatabaseError as error:
            refusal = watch.settle_failure(self.connection, sql_script, error)
            if refusal is None:
                raise
        else:
            watch.settle(self.connection, sql_script)
            return self
        raise refusal


class GuardedConnection(sqlite3.Connection):
    """A connection under watch; see :class:`engineroom._guard.watch.Watch`."""

    watch: Watch

    def __init__(self, database: Any, *args: Any, **options: Any) -> None:
        """Open the database and identify it."""
        super().__init__(database, *args, **options)
        address = _address.sqlite_address(database, uri=bool(options.get("uri")))
        try:
            self.watch = Watch(self, in_memory=address.in_memory)
        except BaseException:
            self.close()
            raise

    def __getattr__(self, name: str) -> Watch:
        """Begin the watch late, where an application's own class did not call this one's ``__init__``."""
        if name != "watch":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.watch = watch = Watch(self)
        return watch

    def __call__(self, sql: str, /) -> Any:
        """Prepare a statement: sqlite3's cache calls its connection for a text that it does not hold.

        Here the refusal reaches also who uses a cursor class of his own, which knows nothing of the guard.
        """
        watch: Watch | None = vars(self).get("watch")
        if watch is None:
            return _prepare(self, sql)  # the watch's own questions, at its beginning
        if watch.is_asleep:
            watch.wake_up(self, sql)
        try:
            return _prepare(self, sql)
        except sqlite3.DatabaseError as error:
            refusal = watch.take_refusal(error)
            if refusal is None:
                raise
        raise refusal

    def cursor(  # type: ignore[override]  # as in sqlite3, where a missing factory is something else than None
        self, factory: Callable[[sqlite3.Connection], Any] = GuardedCursor
    ) -> Any:
        """Return a guarded cursor, also of an application's own cursor class."""
        if factory is not GuardedCursor:
            factory = _guarded_cursor_class(factory) if isinstance(factory, type) else factory
            if self.watch.is_asleep:
                self.watch.wake_up(self)  # a script that runs by a cursor of the application's is not seen before
        return _cursor(self, factory)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Execute one statement by a new cursor; sqlite3's own shortcut would take a plain one."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        """Execute one statement for each set of parameters by a new cursor."""
        return self.cursor().executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> Any:
        """Execute several statements by a new cursor."""
        return self.cursor().executescript(sql_script)

    def set_authorizer(self, authorizer_callback: Authorizer | None) -> None:
        """Chain an application's authorizer behind the watch instead of replacing it."""
        self.watch.chain(self, authorizer_callback)

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:
        """Copy this database over another one, unless that one is guarded, not disposable, and not empty."""
        if isinstance(target, GuardedConnection) and not _is_empty(target):
            _require(target.watch.allows_on_main("overwrite the whole database"), target.watch)
        super().backup(target, **options)

    if hasattr(sqlite3.Connection, "deserialize"):

        def deserialize(self, data: Any, /, *, name: str = "main") -> None:
            """Exchange a database for one in memory; the file that was open is left as it is."""
            super().deserialize(data, name=name)
            self.watch.note_exchange(name)

    if hasattr(sqlite3.Connection, "setconfig"):

        def setconfig(self, op: int, enable: bool = True, /) -> None:
            """Set a configuration option, unless it destroys."""
            if op == RESET_DATABASE and enable:
                _require(self.watch.allows_on_main("reset the whole database"), self.watch)
            if op == WRITABLE_SCHEMA and enable:
                _require(self.watch.allows_writing_schema(), self.watch)
            super().setconfig(op, enable)  # type: ignore[misc,unused-ignore]  # Python 3.12


def _require(is_allowed: bool, watch: Watch) -> None:
    refusal = watch.take_refusal()
    if not is_allowed and refusal is not None:
        raise refusal


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether nothing can be lost; a connection that cannot be asked from this thread may hold something."""
    try:
        return not ask(connection, "SELECT 1 FROM main.sqlite_master LIMIT 1")
    except sqlite3.Error:
        return False


@cache
def guarded_factory(factory: type[sqlite3.Connection] | None) -> type[GuardedConnection]:
    """Return the guarded variant of a connection class that an application passed as ``factory=``.

    The application's methods come first, and reach the guarded ones by ``super()`` as they would reach sqlite3's.
    """
    if factory is None or factory is sqlite3.Connection:
        return GuardedConnection
    if issubclass(factory, GuardedConnection):
        return factory

    def __init__(self: GuardedConnection, *args: Any, **options: Any) -> None:  # noqa: N807  # becomes a method
        factory.__init__(self, *args, **options)
        _ = self.watch  # begun here at the latest

    return type(f"Guarded{factory.__name__}", (factory, GuardedConnection), {"__init__": __init__})


@cache
def _guarded_cursor_class(factory: type) -> type:
    if issubclass(factory, GuardedCursor) or not issubclass(factory, sqlite3.Cursor):
        return factory
    if factory is sqlite3.Cursor:
        return GuardedCursor
    return type(f"Guarded{factory.__name__}", (factory, GuardedCursor), {})
