"""The watch over one connection to a server: is what a statement would destroy somewhere disposable, or permitted?

The judge of texts has said what a statement would destroy. The watch asks the live connection which database it is in,
at that moment, since ``USE`` may have switched it, and whether the names mean anything that persists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineroom import _project, _verdict
from engineroom._guard.catalogue import QUESTIONS, Catalogue, fetch, is_idle
from engineroom._guard.refusals import Refused, refuse_all
from engineroom._permit import Grants
from engineroom._statements import Destruction, ObjectName
from engineroom._verdict import Facts, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sqlalchemy import Table

    from engineroom._permit import OpenPermits, Permit
    from engineroom.errors import DestructiveOperationError

__all__ = ["ServerWatch"]

SERVER_WIDE = Verdict(
    disposable=False, rule="none", reason="what belongs to the whole server is not disposable", database=""
)

TAKEN = frozenset({"drop table", "rename table", "convert table"})
"""What leaves no table of that name behind."""


class ServerWatch:
    """Judges what one connection is about to destroy.

    Args:
        dbapi_connection: The connection as SQLAlchemy's pool has it.
        backend: The name of the dialect.
        location: The masked URL, for messages.
        permits: The permits that are open for its engine.

    Attributes:
        grants: The permits that hold for this connection.
        when_created: Called when the connection created its first table since it was taken.
    """

    def __init__(self, dbapi_connection: Any, backend: str, location: str, permits: OpenPermits) -> None:
        """Ask nothing yet: most connections never destroy anything."""
        self.grants = Grants()
        self.grants.permits = permits
        self.when_created: Callable[[], object] | None = None
        self._connection = dbapi_connection
        self._backend = backend
        self._location = location
        self._created: set[object] = set()
        self._is_kept: bool | None = None  # whether the first database of the connection is one that is not disposable
        self._catalogue = Catalogue(dbapi_connection, backend, self._created) if backend in QUESTIONS else None

    @property
    def names(self) -> Collection[str]:
        """The name of the database that the connection is in now; asking leaves no transaction behind."""
        idle = is_idle(self._connection)
        name = self.identify().database
        if idle:
            self._connection.rollback()  # an open transaction would forbid to set the isolation level
        return {name} if name else ()

    def grant(self, permit: Permit) -> None:
        """Let a permit hold."""
        self.grants.add(permit)

    def revoke(self, permit: Permit) -> None:
        """Let a permit hold no longer."""
        self.grants.remove(permit)

    def identify(self) -> Facts:
        """Ask the connection for its database; one of an unknown kind of server stays unknown."""
        if self._backend not in QUESTIONS:
            return Facts(self._backend, None, location=self._location)
        name = fetch(self._connection, QUESTIONS[self._backend])[0][0]
        return Facts(self._backend, name or None, location=self._location)

    def check(self, losses: Sequence[Destruction]) -> None:
        """Refuse what would be lost somewhere that is not disposable, all of it in one message.

        Args:
            losses: What a text would destroy.

        Raises:
            DestructiveOperationError: Something would be lost, and no permit covers it.
        """
        for permit, loss in self._weigh(losses):
            self.grants.note_use(permit, loss.operation, loss.objects)

    def check_drop_all(self, tables: Sequence[Table]) -> None:
        """Refuse ``drop_all`` as a whole, with all its tables in one message, before its first statement.

        Raises:
            DestructiveOperationError: One of the tables would be lost, and no permit covers it.
        """
        self._weigh([self._loss_of(table) for table in tables])  # a permit is used by the statements that follow

    def is_free_for_own(self, parts: tuple[str, ...]) -> bool:
        """Tell whether a table of this name that is created now replaces nothing, and whether that matters here."""
        if self._catalogue is None:
            return False
        if self._is_kept is None:
            self._is_kept = not _verdict.judge(self.identify(), _project.get_project().test_names).disposable
        return self._is_kept and not self._catalogue.find_tables(parts)

    def note_creation(self, parts: tuple[str, ...]) -> None:
        """Remember a table that the connection has just created where there was none."""
        if self._catalogue is None:
            return
        if not self._created and self.when_created is not None:
            self.when_created()
        self._created.update(self._catalogue.find_made(parts))

    def settle(self, losses: Sequence[Destruction]) -> None:
        """Do what is due after a statement: tell which permits it used, and forget own tables that are gone.

        On MySQL a name is all that tells a table, and it may be another's table next.
        """
        self.grants.tell_uses()
        gone = {name.parts[-1].casefold() for loss in losses if loss.operation in TAKEN for name in loss.ask}
        if gone:
            named = {own for own in self._created if isinstance(own, tuple) and str(own[-1]).casefold() in gone}
            self._created.difference_update(named)

    def forget_creations(self) -> None:
        """Forget which tables the connection created: they may be gone, or somebody else may use it next."""
        self._created.clear()

    def _weigh(self, losses: Sequence[Destruction]) -> list[tuple[Permit, Destruction]]:
        """Return the permits that are needed; raise if one is missing."""
        if not losses:
            return []
        here = self.identify()
        permitted: list[tuple[Permit, Destruction]] = []
        refused: list[tuple[Destruction, Refused]] = []
        for loss in losses:
            facts = _place_of(loss, here)
            verdict = SERVER_WIDE if loss.server_wide else _verdict.judge(facts, _project.get_project().test_names)
            if verdict.disposable or self._is_harmless(loss):
                continue
            permits = self._find_permits(loss, here)
            permitted += [(permit, loss) for permit in dict.fromkeys(permits)]
            if not permits:
                refused.append((loss, Refused(loss.operation, loss.objects, facts, verdict)))
        if refused:
            raise self._refuse(refused, here)
        return permitted

    def _is_harmless(self, loss: Destruction) -> bool:
        catalogue = self._catalogue
        return catalogue is not None and bool(loss.ask) and all(catalogue.is_harmless(name) for name in loss.ask)

    def _loss_of(self, table: Table) -> Destruction:
        """Return what dropping a table loses, or a view, as metadata of SQLAlchemy 2.1 may hold one.

        On MySQL a schema is a database.
        """
        kind = "view" if getattr(table, "is_view", False) else "table"
        parts = (table.schema, table.name) if table.schema else (table.name,)
        database = None if self._backend == "postgresql" else table.schema
        asked = ObjectName(kind, parts, table.fullname)
        return Destruction(f"drop {kind}", "drop", (table.fullname,), database=database, ask=(asked,))

    def _find_permits(self, loss: Destruction, here: Facts) -> list[Permit]:
        """Return permits for all that would be lost, else none; for another database they must name the objects."""
        is_elsewhere = _is_elsewhere(loss, here)
        objects = _qualified(loss) if is_elsewhere else loss.objects
        found = [self._find_permit(loss, _names_of(name, loss)) for name in objects] or [self._find_permit(loss, ())]
        permits = [
            permit
            for permit in found
            if permit is not None and permit.database == here.database and (permit.names_objects or not is_elsewhere)
        ]
        return permits if len(permits) == len(found) else []

    def _find_permit(self, loss: Destruction, names: Sequence[str]) -> Permit | None:
        """Return a permit for an object by one of its names, or for what has none."""
        tries = ((word, (name,)) for word in (loss.operation, loss.kind) for name in names)
        for word, objects in tries if names else ((loss.operation, ()), (loss.kind, ())):
            permit = self.grants.find(word, objects)
            if permit is not None:
                return permit
        return None

    def _refuse(self, refused: Sequence[tuple[Destruction, Refused]], here: Facts) -> DestructiveOperationError:
        elsewhere = [name for loss, _ in refused if _is_elsewhere(loss, here) for name in _qualified(loss)]
        losses = [one for _, one in refused]
        return refuse_all(losses, database=here.database, objects=elsewhere, note=self.grants.note)


def _names_of(name: str, loss: Destruction) -> tuple[str, ...]:
    """Return the names that an object goes by: a column also by that of its table."""
    return name, *(table.written for table in loss.ask if name.startswith(f"{table.written}."))


def _place_of(loss: Destruction, here: Facts) -> Facts:
    """Return the database from which something would be lost."""
    if loss.server_wide:
        return Facts(here.backend, None, location=f"the whole server of {here.location}")
    if _is_elsewhere(loss, here):
        return Facts(here.backend, loss.database, location=f"the server of {here.location}")
    return here


def _is_elsewhere(loss: Destruction, here: Facts) -> bool:
    return loss.server_wide or loss.database not in {None, here.database}


def _qualified(loss: Destruction) -> tuple[str, ...]:
    """Return the objects with their database, which ``USE other; DROP TABLE users`` does not write at each of them."""
    if loss.database is None or loss.operation.endswith(" database"):
        return loss.objects
    plain, quoted = f"{loss.database}.", f"`{loss.database}`."
    return tuple(name if name.startswith((plain, quoted)) else plain + name for name in loss.objects)
