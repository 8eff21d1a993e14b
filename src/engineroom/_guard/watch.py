"""The watch over one SQLite connection: SQLite itself asks it, while it prepares a statement, what may be done.

SQLite's authorizer sees every way in (text, ORM, scripts, raw cursors) after parsing, with the schema that is meant.
The watch turns those questions into a call of the judge about the database file behind the schema. It runs in whatever
thread prepares the statement and must not execute SQL while it is asked (SQLite forbids that), so what it needs to know
about attached databases is looked up before the next statement, by :meth:`Watch.attend`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from engineroom import _identity, _project, _verdict
from engineroom._guard.refusals import refuse_destruction

if TYPE_CHECKING:
    from collections.abc import Collection

    from engineroom._permit import Permit
    from engineroom.errors import DestructiveOperationError

__all__ = ["Authorizer", "Watch"]

Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]
"""The signature of the callback that SQLite's authorizer calls."""

MAIN = "main"
TEMPORARY = "temp"
DROPS = {
    sqlite3.SQLITE_DROP_TABLE: "drop table",
    sqlite3.SQLITE_DROP_VTABLE: "drop table",
    sqlite3.SQLITE_DROP_VIEW: "drop view",
    sqlite3.SQLITE_DROP_TRIGGER: "drop trigger",
}
CREATIONS = frozenset(
    {
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_VTABLE,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_CREATE_TRIGGER,
    }
)
RENAMES = {"sqlite_rename_table": "rename table", "sqlite_rename_column": "rename column"}
FALSE_WORDS = frozenset({"0", "off", "no", "false", "reset"})
UNKNOWN = _verdict.Facts("sqlite", None, location="an attached database that could not be identified")


class _Judged(NamedTuple):
    """A database and what the judge said of it."""

    facts: _verdict.Facts
    verdict: _verdict.Verdict


class _Refusal(NamedTuple):
    """What was denied, kept until the driver's error can be replaced by ours."""

    operation: str
    objects: tuple[str, ...]
    judged: _Judged


class Watch:
    """Judges what one SQLite connection is about to do; belongs to the thread that uses the connection.

    Args:
        connection: The connection to watch; its authorizer is set.
        in_memory: Whether the main database is known to have no file (``vfs=memdb`` gives it a name all the same).
    """

    def __init__(self, connection: sqlite3.Connection, *, in_memory: bool = False) -> None:
        """Identify the databases that the connection reaches, and set its authorizer."""
        self.needs_attention = False
        self.chained: Authorizer | None = None
        self._in_memory = in_memory
        self._judged: dict[str, _Judged] = {}
        self._unlisted: list[_Judged] = []
        self._created: set[tuple[str | None, str]] = set()
        self._creating: tuple[str | None, str] | None = None
        self._altering: tuple[str | None, str] = (None, "")
        self._permits: list[Permit] = []
        self._refusal: _Refusal | None = None
        self._identify(connection)

    @property
    def main(self) -> _Judged:
        """The main database and its verdict."""
        return self._judged[MAIN]

    @property
    def names(self) -> Collection[str]:
        """The names by which a permit may call the main database: the file's name, its path, or ``:memory:``."""
        path = self.main.facts.location.removeprefix("sqlite:///")
        return {name for name in (self.main.verdict.database, path) if name}

    @property
    def note(self) -> str:
        """What a refusal has to add about permits."""
        return "The permit that is open here does not cover this." if self._permits else ""

    def grant(self, permit: Permit) -> None:
        """Let a permit hold; statements that were prepared and denied before are asked about again."""
        self._permits.append(permit)
        self.needs_attention = True

    def revoke(self, permit: Permit) -> None:
        """Let a permit hold no longer; statements that were prepared under it are asked about again."""
        if permit in self._permits:
            self._permits.remove(permit)
        self.needs_attention = True

    def attend(self, connection: sqlite3.Connection) -> None:
        """Do before the next statement what cannot be done while SQLite asks.

        Setting the authorizer anew makes SQLite prepare, and so ask about, every cached statement again.
        """
        self.needs_attention = bool(self._created)  # a ROLLBACK from the statement cache would go unseen
        if self._unlisted:
            self._identify(connection)
        sqlite3.Connection.set_authorizer(connection, self.authorize)

    def forget_creations(self) -> None:
        """Forget which objects the connection created: they may be gone, or somebody else may use it next."""
        self._created.clear()

    def take_refusal(self) -> DestructiveOperationError | None:
        """Return the error for what was denied last, once; None where SQLite's error has another cause."""
        refusal, self._refusal = self._refusal, None
        if refusal is None:
            return None
        return refuse_destruction(
            refusal.operation,
            refusal.objects,
            facts=refusal.judged.facts,
            verdict=refusal.judged.verdict,
            note=self.note,
        )

    def would_lose(self, operation: str, name: str, schema: str = MAIN) -> _Judged | None:
        """Return the database that an operation would take something from without a permit, else None."""
        judged = self._find(schema)
        if judged is None or judged.verdict.disposable or (schema, name) in self._created:
            return None
        return None if self._find_permit(operation, name) else judged

    def authorize(
        self, action: int, first: str | None, second: str | None, third: str | None, trigger: str | None
    ) -> int:
        """Answer SQLite's question; the meaning of the texts depends on the action."""
        asked = _QUESTIONS.get(action)
        if asked is not None and not asked(self, action, first, second, third):
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if self.chained is None else self.chained(action, first, second, third, trigger)

    def _ask_drop(self, action: int, name: str | None, _: str | None, schema: str | None) -> bool:
        return self._allow(DROPS[action], name or "", schema)

    def _ask_create(self, _action: int, name: str | None, _: str | None, schema: str | None) -> bool:
        self._creating = (schema, name or "")
        return True

    def _ask_update(self, _action: int, name: str | None, _: str | None, __: str | None) -> bool:
        # Only a CREATE that really creates goes on to write the schema table; IF NOT EXISTS on what exists does not.
        if name == "sqlite_master" and self._creating is not None:
            self._created.add(self._creating)
            self._creating = None
            self.needs_attention = True
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
        if file != "":  # plain VACUUM attaches an empty name
            self._unlisted.append(_judge(UNKNOWN if file is None else _identity.facts_of_sqlite_connect(file).facts))
            self.needs_attention = True
        return True

    def _ask_detach(self, _action: int, schema: str | None, _: str | None, __: str | None) -> bool:
        self._judged.pop((schema or "").casefold(), None)
        return True

    def _ask_pragma(self, _action: int, name: str | None, value: str | None, _: str | None) -> bool:
        if (name or "").casefold() != "writable_schema" or value is None or value.casefold() in FALSE_WORDS:
            return True
        return self.allows_everywhere("switch on writable_schema")

    def _ask_transaction(self, _action: int, verb: str | None, _: str | None, __: str | None) -> bool:
        if verb == "ROLLBACK":
            self._created.clear()
        return True

    def allows_everywhere(self, operation: str) -> bool:
        """Tell whether an operation on the whole connection is allowed; if not, keep the refusal."""
        for judged in (*self._judged.values(), *self._unlisted):
            if not judged.verdict.disposable and not self._use_permit(operation, judged.verdict.database):
                self._refusal = _Refusal(operation, (), judged)
                return False
        return True

    def _allow(self, operation: str, name: str, schema: str | None, column: str = "") -> bool:
        judged = self._find(schema or MAIN)
        if judged is None or judged.verdict.disposable or (schema, name) in self._created:
            return True
        if self._use_permit(operation, name):
            return True
        self._refusal = _Refusal(operation, (f"{name}.{column}" if column else name,), judged)
        return False

    def _use_permit(self, operation: str, name: str) -> bool:
        permit = self._find_permit(operation, name)
        if permit is not None:
            permit.note_use(operation, (name,))
        return permit is not None

    def _find_permit(self, operation: str, name: str) -> Permit | None:
        return next((permit for permit in reversed(self._permits) if permit.covers(operation, (name,))), None)

    def _find(self, schema: str) -> _Judged | None:
        """Return the database behind a schema's name; for one attached since the last look, the worst candidate."""
        known = self._judged.get(schema.casefold())
        if known is not None or schema.casefold() == TEMPORARY:
            return known
        return next((judged for judged in self._unlisted if not judged.verdict.disposable), None)

    def _identify(self, connection: sqlite3.Connection) -> None:
        """Ask the connection for its databases, past an application's own authorizer, text and row factories."""
        sqlite3.Connection.set_authorizer(connection, None)
        text_factory, connection.text_factory = connection.text_factory, os.fsdecode
        cursor = sqlite3.Cursor(connection)
        try:
            rows = sqlite3.Cursor.execute(cursor, "PRAGMA database_list").fetchall()
            self._unlisted.clear()
            for _, schema, file in rows:
                if schema.casefold() != TEMPORARY:
                    self._judged[schema.casefold()] = _judge(self._facts_of(schema, file))
        finally:
            cursor.close()
            connection.text_factory = text_factory
            sqlite3.Connection.set_authorizer(connection, self.authorize)

    def _facts_of(self, schema: str, file: str | None) -> _verdict.Facts:
        return _identity.facts_of_sqlite_path(None if schema == MAIN and self._in_memory else file)


def _judge(facts: _verdict.Facts) -> _Judged:
    return _Judged(facts, _verdict.judge(facts, _project.get_project().test_names))


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
