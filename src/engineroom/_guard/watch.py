"""The watch over one SQLite connection: SQLite itself asks it, while it prepares a statement, what may be done.

SQLite's authorizer sees every way in (text, ORM, scripts, raw cursors) after parsing, with the schema that is meant.
The watch turns those questions into a call of the judge about the database behind the schema. It runs in whatever
thread prepares the statement and must not execute SQL while it is asked (SQLite forbids that), so what has to be asked
of the connection is asked before and after a statement: by :meth:`Watch.attend` and :meth:`Watch.settle`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom._guard.creations import Creations, Key, is_notable, key_of
from engineroom._guard.refusals import refuse_destruction
from engineroom._guard.schemas import MAIN, Judged, Schemas, ask
from engineroom._permit import Grants

if TYPE_CHECKING:
    from collections.abc import Collection

    from engineroom._permit import OpenPermits, Permit
    from engineroom.errors import DestructiveOperationError

__all__ = ["Authorizer", "Watch"]

Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]
"""The signature of the callback that SQLite's authorizer calls."""

DROPS = {
    sqlite3.SQLITE_DROP_TABLE: "drop table",
    sqlite3.SQLITE_DROP_VTABLE: "drop table",
    sqlite3.SQLITE_DROP_VIEW: "drop view",
    sqlite3.SQLITE_DROP_TRIGGER: "drop trigger",
}
CREATIONS = {
    sqlite3.SQLITE_CREATE_TABLE: "create table",
    sqlite3.SQLITE_CREATE_VTABLE: "create table",
    sqlite3.SQLITE_CREATE_VIEW: "create view",
    sqlite3.SQLITE_CREATE_TRIGGER: "create trigger",
}
RENAMES = {"sqlite_rename_table": "rename table", "sqlite_rename_column": "rename column"}
FALSE_WORDS = frozenset({"0", "off", "no", "false", "reset"})
WRITE_SCHEMA = "switch on writable_schema"
SCHEMA_TABLE = "sqlite_master"
DENIALS = ("not authorized", "authorization denied")
"""SQLite's words while it prepares a statement, and while one that is running makes it prepare another one."""
WAKING_WORD = "attach"


class _Refusal(NamedTuple):
    """What was denied, kept until the driver's error can be replaced by ours."""

    operation: str
    objects: tuple[str, ...]
    judged: Judged


class Watch:
    """Judges what one SQLite connection is about to do; belongs to the thread that uses the connection.

    Args:
        connection: The connection to watch; its authorizer is set.
        in_memory: Whether the main database is known to have no file (``vfs=memdb`` gives it a name all the same).
        is_inside: Whether the connection itself calls the watch around each statement.

    Attributes:
        needs_attention: Whether :meth:`attend` and :meth:`settle` have something to do; looked at for each statement.
        chained: The application's own authorizer.
        is_overseen: Whether :meth:`settle` will follow the statement that is being prepared. Only then can be told
            what it created.
        is_asleep: Whether SQLite asks nothing, since the connection reaches nothing but memory; see :meth:`wake_up`.
        grants: The permits that hold for this connection.
        when_created: Called when the connection is about to create its first object, to have :meth:`end_turn` called
            when it goes back to its pool. A listener for that would cost something at each turn.
    """

    def __init__(self, connection: Any, *, in_memory: bool = False, is_inside: bool = True) -> None:
        """Set the connection's authorizer, and identify the databases that it reaches."""
        self.needs_attention = False
        self.chained: Authorizer | None = None
        self.is_inside = is_inside
        self.grants = Grants()
        self.when_created: Callable[[], None] = _do_nothing
        self._schemas = Schemas(in_memory=in_memory)
        self._creations = Creations()
        self._altering: tuple[str | None, str] = (None, "")
        self._dropping: Key | None = None
        self._is_schema_writable = False
        self.is_overseen = is_inside
        self.is_asleep = False
        self._refusal: _Refusal | None = None
        self._set_authorizer(connection)
        self._schemas.identify(connection)
        self.is_asleep = is_inside and self.main.facts.in_memory and not self.main.path
        if self.is_asleep:
            self._set_authorizer(connection)
        if not is_inside:
            self._is_schema_writable = bool(ask(connection, "PRAGMA writable_schema")[0][0])
            self._shut_schema(connection)

    @property
    def main(self) -> Judged:
        """The main database and its verdict."""
        return self._schemas.main

    @property
    def names(self) -> Collection[str]:
        """The names by which a permit may call the main database: the file's name, its path, or ``:memory:``."""
        return {name for name in (self.main.verdict.database, self.main.facts.location) if name}

    def follow(self, permits: OpenPermits) -> None:
        """Let refusals tell about the permits that are open for the engine."""
        self.grants.permits = permits

    def wake_up(self, connection: Any, sql: str) -> None:
        """Have SQLite ask from now on, if a text holds the one word that reaches beyond a database in memory.

        A connection with nothing to lose sleeps: one that several threads share at the same time, as it is usual for a
        database in memory, would hang where one of them waits for Python inside SQLite, and another one for SQLite.
        """
        if WAKING_WORD in sql.lower():
            self.is_asleep = False
            self._is_schema_writable = bool(ask(connection, "PRAGMA writable_schema")[0][0])
            self._set_authorizer(connection)

    def chain(self, connection: Any, authorizer: Authorizer | None) -> None:
        """Put an application's own authorizer behind the watch."""
        self.chained = authorizer
        self._set_authorizer(connection)

    def grant(self, permit: Permit) -> None:
        """Let a permit hold; statements that were prepared and denied before are asked about again."""
        self.grants.add(permit)
        self.needs_attention = True

    def revoke(self, permit: Permit) -> None:
        """Let it hold no longer; statements that were prepared under it are asked about again."""
        self.grants.remove(permit)
        self.needs_attention = True

    def attend(self, connection: Any, sql: str) -> None:
        """Do before a statement what cannot be done while SQLite asks.

        Setting the authorizer anew makes SQLite prepare, and so ask about, every cached statement again.
        """
        self.is_overseen = True
        self._dropping = None
        chained, self.chained = self.chained, None  # our own questions are no business of the application's
        try:
            if self._schemas.is_stale:
                self._schemas.identify(connection)
            self._creations.before(connection, sql)
            self._shut_schema(connection)
            if not self._creations or is_notable(sql):
                self._set_authorizer(connection)
        finally:
            self.chained = chained
        self.needs_attention = bool(self._creations)

    def attend_script(self, connection: Any, sql: str) -> None:
        """Do the same before several statements."""
        if self.is_asleep:
            self.wake_up(connection, sql)
        self.attend(connection, sql)
        if is_notable(sql):
            self._creations.start_script(connection, self._schemas.protected_names)

    def settle(self, connection: Any, sql: str, *, failed: bool = False) -> None:
        """Look after a statement what it did, and tell what was permitted."""
        self.is_overseen = self.is_inside
        self._dropping = None
        chained, self.chained = self.chained, None
        try:
            self._creations.after(connection, sql, failed=failed)
        finally:
            self.chained = chained
        self.grants.tell_uses()

    def settle_failure(self, connection: Any, sql: str, error: Exception) -> DestructiveOperationError | None:
        """Do the same after an error, and return ours if it is a denial; None where it has another cause."""
        refusal = self.take_refusal(error)
        if self.needs_attention:
            self.settle(connection, sql, failed=True)
        return refusal

    def take_refusal(self, error: Exception | None = None) -> DestructiveOperationError | None:
        """Return the error for what was denied last, once, if the driver's error is that denial."""
        refusal, self._refusal = self._refusal, None
        if refusal is None or (error is not None and not any(words in str(error) for words in DENIALS)):
            return None
        return refuse_destruction(
            refusal.operation,
            refusal.objects,
            facts=refusal.judged.facts,
            verdict=refusal.judged.verdict,
            note=self.grants.note,
            is_attached=not self.is_main(refusal.judged),
        )

    def end_turn(self, _dbapi_connection: object = None) -> None:
        """Begin anew when the connection goes back to its pool: somebody else may use it next."""
        self._creations.forget()
        self.needs_attention = True

    def note_exchange(self, schema: str) -> None:
        """Note that the database of a schema was exchanged for one in memory."""
        self._schemas.exchange(schema)
        self.needs_attention = True

    def would_lose(self, operation: str, name: str, schema: str = MAIN) -> Judged | None:
        """Return the database that an operation would take something from without a permit, else None."""
        judged = self._schemas.find(schema)
        if judged is None or judged.is_disposable or key_of(schema, name, operation) in self._creations:
            return None
        return None if self._find_permit(operation, (name,), judged) else judged

    def allows_everywhere(self, operation: str) -> bool:
        """Tell whether an operation on the whole connection is allowed; if not, keep the refusal."""
        return all(self._allows(operation, (), judged) for judged in self._schemas.databases)

    def allows_on_main(self, operation: str) -> bool:
        """Tell whether an operation on the whole main database is allowed; if not, keep the refusal."""
        return self._allows(operation, (), self.main)

    def allows_writing_schema(self) -> bool:
        """Tell whether the tables that hold the schemas may be opened for writing; if not, keep the refusal."""
        if not self.allows_everywhere(WRITE_SCHEMA):
            return False
        self._is_schema_writable = self.needs_attention = True
        return True

    def authorize(
        self, action: int, first: str | None, second: str | None, third: str | None, trigger: str | None
    ) -> int:
        """Answer SQLite's question; the meaning of the texts depends on the action."""
        asked = _QUESTIONS.get(action)
        if asked is not None and not asked(self, action, first, second, third):
            return sqlite3.SQLITE_DENY
        if self.chained is None:
            return sqlite3.SQLITE_OK
        self._refusal = None  # a denial from here on is the application's
        return self.chained(action, first, second, third, trigger)

    def _ask_drop(self, action: int, name: str | None, table: str | None, schema: str | None) -> bool:
        if action == sqlite3.SQLITE_DROP_TRIGGER:
            # Its triggers go with a table, and are asked about one by one.
            return key_of(schema, table, "") == self._dropping or self._allow(DROPS[action], name or "", schema)
        is_allowed = self._allow(DROPS[action], name or "", schema)
        self._dropping = key_of(schema, name, "") if is_allowed else None
        return is_allowed

    def _ask_create(self, action: int, name: str | None, _: str | None, schema: str | None) -> bool:
        if self.is_overseen and self._schemas.protects(schema):
            self.needs_attention = True
            if not self._creations:
                self.when_created()  # its end of the turn is to be heard of
            self._creations.begin(key_of(schema, name, CREATIONS[action]))
            if action == sqlite3.SQLITE_CREATE_TRIGGER:  # not asked about where IF NOT EXISTS finds one
                self._creations.confirm(schema)
        return True

    def _ask_update(self, _action: int, name: str | None, _: str | None, schema: str | None) -> bool:
        if name == SCHEMA_TABLE:
            self._creations.confirm(schema)
        return True

    def _ask_alter(self, _action: int, schema: str | None, table: str | None, column: str | None) -> bool:
        self._altering = (schema, table or "")
        return column is None or self._allow("drop column", table or "", schema, column=column)

    def _ask_function(self, _action: int, _: str | None, function: str | None, __: str | None) -> bool:
        # RENAME shows only as the internal function that rewrites the schema; users cannot call it themselves.
        operation = RENAMES.get(function or "")
        return operation is None or self._allow(operation, self._altering[1], self._altering[0])

    def _ask_attach(self, _action: int, file: str | None, _: str | None, __: str | None) -> bool:
        # A bound or computed name is not shown. The alias never is: it is looked up before the next statement.
        judged = self._schemas.attach(file)
        self.needs_attention = True
        return not self._is_schema_writable or self._allows(WRITE_SCHEMA, (), judged)

    def _ask_detach(self, _action: int, schema: str | None, _: str | None, __: str | None) -> bool:
        self._schemas.detach(schema)
        self._creations.forget(schema)
        self._dropping = None
        self.needs_attention = True
        return True

    def _ask_pragma(self, _action: int, name: str | None, value: str | None, _: str | None) -> bool:
        if value is None or (name or "").lower() != "writable_schema":
            return True
        self.needs_attention = True  # so that a cached statement is asked about the next time as well
        if value.lower() not in FALSE_WORDS:
            return self.allows_writing_schema()
        self._is_schema_writable = False
        return True

    def _ask_transaction(self, action: int, verb: str | None, _: str | None, __: str | None) -> bool:
        if verb == "ROLLBACK":
            self._creations.roll_back(to_savepoint=action == sqlite3.SQLITE_SAVEPOINT)
        return True

    def _allow(self, operation: str, name: str, schema: str | None, column: str = "") -> bool:
        if key_of(schema, name, operation) in self._creations:
            return True
        judged = self._schemas.find(schema)
        objects = (f"{name}.{column}", name) if column else (name,)
        return judged is None or self._allows(operation, objects, judged)

    def _allows(self, operation: str, objects: tuple[str, ...], judged: Judged) -> bool:
        if judged.is_disposable:
            return True
        permit = self._find_permit(operation, objects, judged)
        if permit is None:
            self._refusal = _Refusal(operation, objects[:1], judged)
            return False
        self.grants.note_use(permit, operation, objects[:1])
        self.needs_attention = True
        return True

    def _find_permit(self, operation: str, names: tuple[str, ...], judged: Judged) -> Permit | None:
        """Return the permit that covers an operation; a permit names the main database, and opens no other.

        Args:
            operation: The verb and the kind.
            names: The names of its one object: a column may be permitted by itself, or with its table.
            judged: The database.
        """
        if not self.is_main(judged):
            return None
        ways: list[tuple[str, ...]] = [(name,) for name in names] or [()]
        return next((permit for way in ways if (permit := self.grants.find(operation, way))), None)

    def is_main(self, judged: Judged) -> bool:
        """Tell whether a database is the connection's own, under whatever schema."""
        return judged.path == self.main.path and judged.facts == self.main.facts

    def _set_authorizer(self, connection: Any) -> None:
        if self.is_asleep:
            callback = self.chained
        else:
            callback = self.authorize if self.chained else _answer_quickly(self.authorize)
        if isinstance(connection, sqlite3.Connection):
            sqlite3.Connection.set_authorizer(connection, callback)
        else:
            connection.set_authorizer(callback)

    def _shut_schema(self, connection: Any) -> None:
        """Make the schema tables read-only again, once the permit to write to them is closed."""
        if self._is_schema_writable and any(
            not judged.is_disposable and self._find_permit(WRITE_SCHEMA, (), judged) is None
            for judged in self._schemas.databases
        ):
            ask(connection, "PRAGMA writable_schema = OFF")


def _answer_quickly(authorize: Authorizer) -> Authorizer:
    """Return a callback that lets pass at once what is no question of the watch, as each column that is read."""
    questions = _QUESTIONS

    def answer(action: int, first: str | None, second: str | None, third: str | None, trigger: str | None) -> int:
        return authorize(action, first, second, third, trigger) if action in questions else sqlite3.SQLITE_OK

    return answer


def _do_nothing() -> None:
    pass


_QUESTIONS: dict[int, Callable[[Watch, int, str | None, str | None, str | None], bool]] = {
    **dict.fromkeys(DROPS, Watch._ask_drop),  # noqa: SLF001  # the table of this class's own questions
    **dict.fromkeys(CREATIONS, Watch._ask_create),  # noqa: SLF001
    sqlite3.SQLITE_UPDATE: Watch._ask_update,  # noqa: SLF001
    sqlite3.SQLITE_ALTER_TABLE: Watch._ask_alter,  # noqa: SLF001
    sqlite3.SQLITE_FUNCTION: Watch._ask_function,  # noqa: SLF001
    sqlite3.SQLITE_ATTACH: Watch._ask_attach,  # noqa: SLF001
    sqlite3.SQLITE_DETACH: Watch._ask_detach,  # noqa: SLF001
    sqlite3.SQLITE_PRAGMA: Watch._ask_pragma,  # noqa: SLF001
    sqlite3.SQLITE_TRANSACTION: Watch._ask_transaction,  # noqa: SLF001
    sqlite3.SQLITE_SAVEPOINT: Watch._ask_transaction,  # noqa: SLF001
}
