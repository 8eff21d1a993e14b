"""The fence inside of SQLite connections: what they open after they were opened, which no audit event tells.

``sqlite3.connect`` hands out a subclass of the connection that was asked for. It looks at a text when sqlite3 prepares
it, which a statement that sqlite3 remembers is not, and only if it holds ``attach`` or ``vacuum``. No authorizer is
set: its only slot belongs to the application, and one in Python costs a fifth of each statement that is prepared.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from engineroom.testing._database_files import judge_connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from engineroom.testing._database_files import ProtectedDatabase, Terms

    Ask = Callable[[], Terms | None]

__all__ = ["fence_connections"]

FACTORY_POSITION = 5
"""Where ``factory`` stands among the arguments of :func:`sqlite3.connect`."""

OWN_SCHEMAS = frozenset({"main", "temp"})

_asks: dict[str, Ask] = {}

_cursor = sqlite3.Connection.cursor
_executescript = sqlite3.Cursor.executescript


def fence_connections(module: ModuleType, ask: Ask) -> None:
    """Have ``sqlite3.connect`` hand out fenced connections, whichever of its two names is used.

    Args:
        module: The package ``sqlite3``, which has arrived.
        ask: On which terms the fence judges now; None while it is down.
    """
    _asks["fence"] = ask
    for place in (module, sys.modules["sqlite3.dbapi2"]):
        original = vars(place)["connect"]
        if not hasattr(original, "__engineroom_fence__"):
            vars(place)["connect"] = _wrapped_connect(original, ask)


def _wrapped_connect(original: Callable[..., Any], ask: Ask) -> Callable[..., Any]:
    @functools.wraps(original)
    def connect(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        if ask() is not None:
            if len(args) > FACTORY_POSITION:
                args = (*args[:FACTORY_POSITION], _fenced(args[FACTORY_POSITION]), *args[FACTORY_POSITION + 1 :])
            else:
                options["factory"] = _fenced(options.get("factory", sqlite3.Connection))
        return original(*args, **options)

    vars(connect)["__engineroom_fence__"] = True
    return connect


class _Fenced(sqlite3.Connection):
    """A connection whose texts are looked at when they are prepared."""

    _engineroom_pending = False  # a file was attached whose name the text did not tell

    def __call__(self, *sql: Any) -> Any:
        """Prepare a statement: sqlite3's cache calls its connection for a text that it does not hold."""
        __tracebackhide__ = True
        if sql:
            _check(self, sql[0])
        return super().__call__(*sql)

    def executescript(self, sql_script: str, /) -> Any:
        """Execute several statements, unless one of them opens a protected file."""
        __tracebackhide__ = True
        _check(self, sql_script)
        return super().executescript(sql_script)


class _Connection(_Fenced):
    """The same, and its cursors look at scripts, which are not prepared by the connection."""

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        """Return a cursor of the class that was asked for, which looks at scripts."""
        __tracebackhide__ = True
        if self._engineroom_pending:
            _check_attached(self)
        if factory is sqlite3.Cursor:
            return _cursor(self, _PlainCursor)
        if isinstance(factory, type) and issubclass(factory, sqlite3.Cursor):
            factory = _fenced_cursor(factory)
        return _cursor(self, factory)


class _Cursor(sqlite3.Cursor):
    """A cursor that looks at scripts."""

    __slots__ = ()

    def executescript(self, sql_script: str, /) -> Any:
        """Execute several statements, unless one of them opens a protected file."""
        __tracebackhide__ = True
        _check(self.connection, sql_script)
        return _executescript(self, sql_script)


def _check(connection: Any, sql: object) -> None:
    """Refuse a text that opens a protected file; remember one that opens a file whose name it does not tell."""
    __tracebackhide__ = True
    if getattr(connection, "_engineroom_pending", False):
        _check_attached(connection)
    if not isinstance(sql, str) or ("attach" not in (lowered := sql.lower()) and "vacuum" not in lowered):
        return
    terms = _asks["fence"]()
    if terms is None:
        return
    from engineroom._statements.files import opened_files  # noqa: PLC0415  # most runs attach nothing

    for name in opened_files(sql):
        if name is None:
            connection._engineroom_pending = True  # noqa: SLF001
            continue
        protected = judge_connect(name, terms)
        if protected is not None:
            raise _refusal(protected, terms)


def _check_attached(connection: Any) -> None:
    """Ask a connection which files are attached, and refuse to go on with a protected one."""
    __tracebackhide__ = True
    connection._engineroom_pending = False  # noqa: SLF001  # the question is prepared by the connection as well
    terms = _asks["fence"]()
    if terms is None:
        return
    for schema, file in _attached(connection):
        protected = judge_connect(file, terms)
        if protected is not None:
            connection._engineroom_pending = not _detach(connection, schema)  # noqa: SLF001
            raise _refusal(protected, terms)


def _attached(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    try:
        rows = sqlite3.Cursor(connection).execute("PRAGMA database_list").fetchall()
    except sqlite3.Error:  # an authorizer of the application's, or another thread
        return []
    texts = [(os.fsdecode(schema), os.fsdecode(file or "")) for _, schema, file in rows]
    return [(schema, file) for schema, file in texts if schema not in OWN_SCHEMAS and file]


def _detach(connection: sqlite3.Connection, schema: str) -> bool:
    quoted = schema.replace('"', '""')
    try:
        sqlite3.Cursor(connection).execute(f'DETACH "{quoted}"')
    except sqlite3.Error:  # not while a transaction is open
        return False
    return True


def _refusal(protected: ProtectedDatabase, terms: Terms) -> Exception:
    from engineroom.testing._refusals import refuse_sqlite  # noqa: PLC0415  # most runs never do

    return refuse_sqlite(protected, terms)


@cache
def _fenced(factory: Any) -> Any:
    """Return the fenced variant of a connection class that was passed as ``factory=``; what is no class stays."""
    if not isinstance(factory, type) or not issubclass(factory, sqlite3.Connection) or issubclass(factory, _Fenced):
        return factory
    if factory is sqlite3.Connection:
        return _named_like(factory, (_Connection,))
    guarded = getattr(sys.modules.get("engineroom._guard.sqlite_connection"), "GuardedConnection", None)
    if guarded is not None and issubclass(factory, guarded):
        return _named_like(factory, (_Fenced, factory))  # the guard prepares by itself, and has cursors of its own
    try:
        return _named_like(factory, (factory, _Connection))
    except Exception:  # noqa: BLE001  # a class that minds who inherits from it
        return factory


@cache
def _fenced_cursor(factory: type) -> type:
    try:
        return factory if issubclass(factory, _Cursor) else _named_like(factory, (factory, _Cursor))
    except Exception:  # noqa: BLE001  # as above
        return factory


def _named_like(chosen: type, bases: tuple[type, ...]) -> type:
    names: dict[str, Any] = {"__module__": chosen.__module__, "__qualname__": chosen.__qualname__}
    names["__doc__"] = chosen.__doc__
    if chosen is sqlite3.Cursor:
        names["__slots__"] = ()
    return type(chosen.__name__, bases, names)


_PlainCursor = _named_like(sqlite3.Cursor, (_Cursor,))
