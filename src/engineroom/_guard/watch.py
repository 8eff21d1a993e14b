"""The watch over one SQLite connection: SQLite itself asks it, while it prepares a statement, what may be done.

SQLite's authorizer sees every way in (text, ORM, scripts, raw cursors) after parsing, with the schema that is meant.
The watch turns those questions into a call of the judge about the database behind the schema. It runs in whatever
thread prepares the statement and must not execute SQL while it is asked (SQLite forbids that), so what has to be asked
of the connection is asked before and after a statement: by :meth:`Watch.attend` and :meth:`Watch.settle`.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engineroom._guard.answers import WRITE_SCHEMA, Answers, answer_quickly
from engineroom._guard.creations import is_notable
from engineroom._guard.refusals import refuse_destruction
from engineroom._guard.schemas import Schemas, ask

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from engineroom._guard.answers import Authorizer
    from engineroom._permit import OpenPermits, Permit
    from engineroom.errors import DestructiveOperationError

__all__ = ["Watch"]

DENIALS = ("not authorized", "authorization denied")
"""SQLite's words while it prepares a statement, and while one that is running makes it prepare another one."""

WAKING_WORD = "attach"


class Watch(Answers):
    """Judges what one SQLite connection is about to do; belongs to the thread that uses the connection.

    Args:
        connection: The connection to watch; its authorizer is set.
        in_memory: Whether the main database is known to have no file (``vfs=memdb`` gives it a name all the same).
        is_inside: Whether the connection itself calls the watch around each statement.

    Attributes:
        is_asleep: Whether SQLite asks nothing, since the connection reaches nothing but memory; see :meth:`wake_up`.
    """

    def __init__(self, connection: Any, *, in_memory: bool = False, is_inside: bool = True) -> None:
        """Identify the databases that the connection reaches, and set its authorizer."""
        super().__init__(Schemas(in_memory=in_memory))
        self.is_inside = self.is_overseen = is_inside
        self.is_asleep = False
        self._set_authorizer(connection)  # at once, as the application's own might forbid the question
        self._schemas.identify(connection)
        if not is_inside:
            self._look_at_schema_tables(connection)
            self._shut_schema_tables(connection)
        elif self.main.facts.in_memory and not self.main.path:
            self.is_asleep = True
            self._set_authorizer(connection)

    @property
    def names(self) -> Collection[str]:
        """The names by which a permit may call the main database: the file's name, its path, or ``:memory:``."""
        return {name for name in (self.main.verdict.database, self.main.facts.location) if name}

    def follow(self, permits: OpenPermits) -> None:
        """Let refusals tell about the permits that are open for the engine."""
        self.grants.permits = permits

    def wake_up(self, connection: Any, sql: str = WAKING_WORD) -> None:
        """Have SQLite ask from now on, if a text holds the one word that reaches beyond a database in memory.

        A connection with nothing to lose sleeps: one that several threads share at the same time, as it is usual for a
        database in memory, would hang where one of them waits for Python inside SQLite, and another one for SQLite.
        """
        if WAKING_WORD in sql.lower():
            self.is_asleep = False
            self._set_authorizer(connection)
            with self._unchained():
                self._look_at_schema_tables(connection)

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
        with self._unchained():
            if self._schemas.is_stale:
                self._schemas.identify(connection)
            self._creations.before(connection, sql)
            self._shut_schema_tables(connection)
        if not self._creations or is_notable(sql):
            self._set_authorizer(connection)
        self.needs_attention = bool(self._creations)

    def attend_script(self, connection: Any, sql: str) -> None:
        """Do the same before several statements."""
        if self.is_asleep:
            self.wake_up(connection, sql)
        self.attend(connection, sql)
        if is_notable(sql):
            with self._unchained():
                self._creations.start_script(connection, self._schemas.protected_names)

    def settle(self, connection: Any, sql: str, *, failed: bool = False) -> None:
        """Look after a statement what it did, and tell what was permitted."""
        self.is_overseen = self.is_inside
        self._dropping = None
        with self._unchained():
            self._creations.after(connection, sql, failed=failed)
        self.grants.tell_uses()

    def settle_failure(self, connection: Any, sql: str, error: Exception) -> DestructiveOperationError | None:
        """Do the same after an error, and return ours if it is a denial; None where it has another cause."""
        refusal = self.take_refusal(error)
        if self.needs_attention:
            self.settle(connection, sql, failed=True)
        return refusal

    def take_refusal(self, error: Exception | None = None) -> DestructiveOperationError | None:
        """Return the error for what was denied last, once, if the driver's error is that denial."""
        refusal, self.refusal = self.refusal, None
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

    @contextmanager
    def _unchained(self) -> Iterator[None]:
        """Leave the application's authorizer out: our own questions are no business of it."""
        chained, self.chained = self.chained, None
        try:
            yield
        finally:
            self.chained = chained

    def _set_authorizer(self, connection: Any) -> None:
        if self.is_asleep:
            callback = self.chained
        else:
            callback = self.authorize if self.chained else answer_quickly(self.authorize)
        if isinstance(connection, sqlite3.Connection):
            sqlite3.Connection.set_authorizer(connection, callback)
        else:
            connection.set_authorizer(callback)

    def _look_at_schema_tables(self, connection: Any) -> None:
        self._is_schema_writable = bool(ask(connection, "PRAGMA writable_schema")[0][0])

    def _shut_schema_tables(self, connection: Any) -> None:
        """Make the tables that hold the schemas read-only again, once the permit to write to them is closed."""
        if self._is_schema_writable and self.find_forbidden(WRITE_SCHEMA) is not None:
            ask(connection, "PRAGMA writable_schema = OFF")
