"""What a watch answers when SQLite asks, while it prepares a statement, what that may do.

Turns the codes of SQLite's authorizer into a call of the judge about the database behind the schema that is meant, or
of the permits. Nothing here may execute SQL on the connection, since SQLite forbids that while it asks; what an answer
needs to know was found out before the statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from engineroom._guard.creations import Creations, Key, key_of
from engineroom._guard.schemas import MAIN, Judged, Schemas
from engineroom._permit import Grants

if TYPE_CHECKING:
    from engineroom._permit import Permit

__all__ = ["WRITE_SCHEMA", "Answers", "Authorizer", "Refusal", "answer_quickly"]

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


class Refusal(NamedTuple):
    """What was denied, kept until the driver's error can be replaced by ours."""

    operation: str
    objects: tuple[str, ...]
    judged: Judged


class Answers:
    """The answers to SQLite's questions about one connection.

    Attributes:
        needs_attention: Whether something is to be done before or after the next statement, since SQL is needed for it.
        chained: The application's own authorizer; what the guard allows, it may still deny.
        is_overseen: Whether the end of the statement that is being prepared will be seen. Only then can be told what it
            created.
        when_created: Called when the connection is about to create its first object: the end of its turn is to be
            heard of.
        grants: The permits that hold for this connection.
        refusal: What was denied last.
    """

    def __init__(self, schemas: Schemas) -> None:
        """Know of no permit, and of nothing that the connection created."""
        self.needs_attention = False
        self.chained: Authorizer | None = None
        self.is_overseen = False
        self.when_created: Callable[[], None] = _do_nothing
        self.grants = Grants()
        self.refusal: Refusal | None = None
        self._schemas = schemas
        self._creations = Creations()
        self._is_schema_writable = False
        self._altering: tuple[str | None, str] = (None, "")
        self._dropping: Key | None = None

    @property
    def main(self) -> Judged:
        """The main database and its verdict."""
        return self._schemas.main

    def is_main(self, judged: Judged) -> bool:
        """Tell whether a database is the connection's own, under whatever schema."""
        return judged.path == self.main.path and judged.facts == self.main.facts

    def would_lose(self, operation: str, name: str, schema: str = MAIN) -> Judged | None:
        """Return the database that an operation would take something from without a permit, else None."""
        judged = self._schemas.find(schema)
        if judged is None or judged.is_disposable or key_of(schema, name, operation) in self._creations:
            return None
        return None if self._find_permit(operation, (name,), judged) else judged

    def find_forbidden(self, operation: str) -> Judged | None:
        """Return the first database that an operation on all of them may not touch."""
        return next(
            (
                judged
                for judged in self._schemas.databases
                if not judged.is_disposable and self._find_permit(operation, (), judged) is None
            ),
            None,
        )

    def allows_on_main(self, operation: str) -> bool:
        """Tell whether an operation on the whole main database is allowed; if not, keep the refusal."""
        return self._allows(operation, (), self.main)

    def allows_writing_schema(self) -> bool:
        """Tell whether the tables that hold the schemas may be opened for writing; if not, keep the refusal."""
        if not all(self._allows(WRITE_SCHEMA, (), judged) for judged in self._schemas.databases):
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
        self.refusal = None  # a denial from here on is the application's
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
                self.when_created()
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
        key = key_of(schema, name, operation)
        if key in self._creations:
            if not column:
                self._creations.lose(key)
            return True
        judged = self._schemas.find(schema)
        objects = (f"{name}.{column}", name) if column else (name,)
        return judged is None or self._allows(operation, objects, judged)

    def _allows(self, operation: str, objects: tuple[str, ...], judged: Judged) -> bool:
        if judged.is_disposable:
            return True
        permit = self._find_permit(operation, objects, judged)
        if permit is None:
            self.refusal = Refusal(operation, objects[:1], judged)
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


def answer_quickly(authorize: Authorizer) -> Authorizer:
    """Return a callback that lets pass at once what is no question of the watch, as each column that is read."""
    questions = _QUESTIONS

    def answer(action: int, first: str | None, second: str | None, third: str | None, trigger: str | None) -> int:
        return authorize(action, first, second, third, trigger) if action in questions else sqlite3.SQLITE_OK

    return answer


def _do_nothing() -> None:
    pass


_QUESTIONS: dict[int, Callable[[Answers, int, str | None, str | None, str | None], bool]] = {
    **dict.fromkeys(DROPS, Answers._ask_drop),  # noqa: SLF001  # the table of this class's own questions
    **dict.fromkeys(CREATIONS, Answers._ask_create),  # noqa: SLF001
    sqlite3.SQLITE_UPDATE: Answers._ask_update,  # noqa: SLF001
    sqlite3.SQLITE_ALTER_TABLE: Answers._ask_alter,  # noqa: SLF001
    sqlite3.SQLITE_FUNCTION: Answers._ask_function,  # noqa: SLF001
    sqlite3.SQLITE_ATTACH: Answers._ask_attach,  # noqa: SLF001
    sqlite3.SQLITE_DETACH: Answers._ask_detach,  # noqa: SLF001
    sqlite3.SQLITE_PRAGMA: Answers._ask_pragma,  # noqa: SLF001
    sqlite3.SQLITE_TRANSACTION: Answers._ask_transaction,  # noqa: SLF001
    sqlite3.SQLITE_SAVEPOINT: Answers._ask_transaction,  # noqa: SLF001
}
