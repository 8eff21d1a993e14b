"""The watch over one connection to a server: is what a statement would destroy somewhere disposable, or permitted?

The judge of texts has said what a statement would destroy. The watch asks the live connection which database it is in,
at that moment, since ``USE`` may have switched it, and whether the names mean anything that persists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineroom import _project, _verdict
from engineroom._guard.catalogue import Catalogue, fetch
from engineroom._guard.refusals import refuse_destruction
from engineroom._statements import Destruction
from engineroom._verdict import Facts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Table

    from engineroom._permit import Permit
    from engineroom._verdict import Verdict
    from engineroom.errors import DestructiveOperationError

__all__ = ["QUESTIONS", "ServerWatch"]

QUESTIONS = {
    "postgresql": "SELECT pg_catalog.current_database()",
    "mysql": "SELECT DATABASE()",
    "mariadb": "SELECT DATABASE()",
}
"""How to ask a server which database a connection is in."""


class ServerWatch:
    """Judges what one connection is about to destroy.

    Args:
        dbapi_connection: The connection as SQLAlchemy's pool has it.
        backend: The name of the dialect.
        location: The masked URL, for messages.
    """

    def __init__(self, dbapi_connection: Any, backend: str, location: str) -> None:
        """Ask nothing yet: most connections never destroy anything."""
        self._connection = dbapi_connection
        self._backend = backend
        self._location = location
        self._permits: list[Permit] = []
        self._created: set[object] = set()
        self._is_kept: bool | None = None  # whether the first database of the connection is one that is not disposable
        self._catalogue = Catalogue(dbapi_connection, backend, self._created)

    @property
    def names(self) -> Collection[str]:
        """The name of the database that the connection is in now."""
        name = self.identify().database
        return {name} if name else ()

    def grant(self, permit: Permit) -> None:
        """Let a permit hold."""
        self._permits.append(permit)

    def revoke(self, permit: Permit) -> None:
        """Let a permit hold no longer."""
        if permit in self._permits:
            self._permits.remove(permit)

    def identify(self) -> Facts:
        """Ask the connection for its database; one of an unknown kind of server stays unknown."""
        if self._backend not in QUESTIONS:
            return Facts(self._backend, None, location=self._location)
        name = fetch(self._connection, QUESTIONS[self._backend])[0][0]
        return Facts(self._backend, name or None, location=self._location)

    def check(self, losses: Sequence[Destruction]) -> None:
        """Refuse what would be lost somewhere that is not disposable.

        Args:
            losses: What a text would destroy.

        Raises:
            DestructiveOperationError: Something would be lost, and no permit covers it.
        """
        here = self.identify()
        for loss in losses:
            facts, verdict = self._judge(loss, here)
            if not (verdict.disposable or self._is_harmless(loss) or self._use_permit(loss, here)):
                raise self._refuse(loss.operation, loss.objects, facts, verdict)

    def check_drop_all(self, tables: Sequence[Table]) -> None:
        """Refuse ``drop_all`` as a whole, with all its tables in one message, before its first statement.

        Raises:
            DestructiveOperationError: One of the tables would be lost, and no permit covers it.
        """
        here = self.identify()
        refused: list[tuple[str, Facts, Verdict]] = []
        for table in tables:
            loss = Destruction("drop table", "drop", (table.fullname,), database=self._database_of(table))
            facts, verdict = self._judge(loss, here)
            if not (verdict.disposable or self._is_own(table) or self._find_permit(loss, here)):
                refused.append((table.fullname, facts, verdict))
        if refused:
            _, facts, verdict = refused[0]
            raise self._refuse("drop table", [name for name, _, _ in refused], facts, verdict)

    def is_free_for_own(self, parts: tuple[str, ...]) -> bool:
        """Tell whether a table of this name that is created now replaces nothing, and whether that matters here."""
        if self._is_kept is None:
            self._is_kept = not _verdict.judge(self.identify(), _project.get_project().test_names).disposable
        return self._is_kept and self._catalogue.find_table(parts) is None

    def note_creation(self, parts: tuple[str, ...]) -> None:
        """Remember a table that the connection has just created where there was none."""
        identity = self._catalogue.find_table(parts)
        if identity is not None:
            self._created.add(identity)

    def forget_creations(self) -> None:
        """Forget which tables the connection created: they may be gone, or somebody else may use it next."""
        self._created.clear()

    def _judge(self, loss: Destruction, here: Facts) -> tuple[Facts, Verdict]:
        """Judge the database from which something would be lost."""
        facts = here
        if loss.server_wide:
            facts = Facts(here.backend, None, location=f"the whole server of {here.location}")
        elif loss.database is not None and loss.database != here.database:
            facts = Facts(here.backend, loss.database, location=f"the server of {here.location}")
        return facts, _verdict.judge(facts, _project.get_project().test_names)

    def _is_harmless(self, loss: Destruction) -> bool:
        return bool(loss.ask) and all(self._catalogue.is_harmless(name) for name in loss.ask)

    def _is_own(self, table: Table) -> bool:
        parts = (table.schema, table.name) if table.schema else (table.name,)
        return self._catalogue.find_table(parts) in self._created

    def _database_of(self, table: Table) -> str | None:
        """Return the database of a table, where a schema is one."""
        return table.schema if self._backend in {"mysql", "mariadb"} else None

    def _use_permit(self, loss: Destruction, here: Facts) -> bool:
        permit = self._find_permit(loss, here)
        if permit is not None:
            permit.note_use(loss.operation, loss.objects)
        return permit is not None

    def _find_permit(self, loss: Destruction, here: Facts) -> Permit | None:
        """Return a permit for what would be lost. For another database, or all of them, it must name the objects."""
        is_elsewhere = loss.server_wide or loss.database not in {None, here.database}
        for permit in reversed(self._permits):
            is_meant = permit.database == here.database and (permit.names_objects or not is_elsewhere)
            if is_meant and (permit.covers(loss.operation, loss.objects) or permit.covers(loss.kind, loss.objects)):
                return permit
        return None

    def _refuse(
        self, operation: str, objects: Sequence[str], facts: Facts, verdict: Verdict
    ) -> DestructiveOperationError:
        note = "The permit that is open here does not cover this." if self._permits else ""
        return refuse_destruction(operation, objects, facts=facts, verdict=verdict, note=note)
