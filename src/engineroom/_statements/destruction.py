"""What a statement would destroy, as the judge says it and as the guard weighs it.

Answers: which operation, on which objects, in which database, and what the guard may still ask of the live connection
before it refuses. Knows no SQL; the readers of each dialect fill these in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["KINDS", "Destruction", "Findings", "ObjectName"]

KINDS = (
    "drop",
    "truncate",
    "rename",
    "move",
    "replace",
    "detach",
    "exchange",
    "convert",
    "discard",
    "reassign",
    "writable-schema",
    "unreadable",
)
"""The stable words of ``Destruction.kind``, which a permit's ``operations`` may name."""


@dataclass(frozen=True, slots=True)
class ObjectName:
    """A name in a statement, as the server resolves it.

    Attributes:
        kind: What is named: ``table``, ``base table``, ``view``, ``sequence``, ``type``, ``index``, ``constraint`` and
            so on.
        parts: The parts of the name, outermost first, with quotes removed and letter case folded as the server does.
        written: The name as a person would write it in that dialect.

    Example:
        >>> ObjectName("table", ("public", "Users"), 'public."Users"').parts[-1]
        'Users'
    """

    kind: str
    parts: tuple[str, ...]
    written: str


@dataclass(frozen=True, slots=True)
class Destruction:
    """One thing that a statement would destroy.

    Temporary objects that the text itself names as such (``DROP TEMPORARY TABLE``, ``pg_temp.x``) are never reported.
    Whether a plain name is a temporary one only the live connection can tell: that is what ``ask`` is for.

    Attributes:
        operation: What would happen, for people: ``drop table``, ``truncate table``, ``computed statement``.
        kind: One of ``KINDS``.
        objects: What would be lost, as a person would write it; empty where the text does not say.
        database: The database that the text names, or ``None`` for the connection's own.
        server_wide: What is lost belongs to no single database (a role, a tablespace), so that no database's being
            disposable makes it so.
        cascade: Whatever depends on the objects would go as well.
        ask: If not empty, the guard may allow the destruction when **every** one of these turns out to be harmless at
            the moment before the text runs: a ``table``, ``view``, ``sequence`` or ``type`` that is temporary, absent,
            or made by this connection; a ``base table``, where a temporary table of that name does not count, that is
            absent or made by this connection; an ``index`` that really is one; a ``constraint`` on which nothing but
            other constraints depends; a ``column``, ``trigger``, ``policy`` or ``rule``, named after its table, that
            is absent, or of such a table; anything else that is absent. If empty, nothing that could be asked would
            help.

    Example:
        >>> loss = Destruction("drop table", "drop", ("users",))
        >>> print(loss)
        drop table users
        >>> print(Destruction("drop table", "drop", ("shop.users", "shop.orders"), database="shop"))
        drop table shop.users, shop.orders in database shop
    """

    operation: str
    kind: str
    objects: tuple[str, ...] = ()
    database: str | None = None
    server_wide: bool = False
    cascade: bool = False
    ask: tuple[ObjectName, ...] = ()

    def __str__(self) -> str:
        """Return the operation, its objects and the database, as they stand in a message."""
        objects = f" {', '.join(self.objects)}" if self.objects else ""
        # "drop database shop" says it already.
        named = self.database is None or self.operation.endswith(" database")
        place = "" if named else f" in database {self.database}"
        return f"{self.operation}{objects}{place}"


class Findings:
    """The destructions found in one reading of a text, and what earlier statements of it leave in doubt.

    A question about a name is only worth asking if the name still means the same when its statement runs. It does not
    after a statement that may switch the search path, nor after one that dropped or renamed that very name: in
    ``DROP TABLE t; DROP TABLE t`` the first takes the temporary table and the second the real one.
    """

    def __init__(self) -> None:
        """Start with nothing found and every name meaning what it means now."""
        self.found: list[Destruction] = []
        self.names_stand = True
        self._touched: set[str] = set()

    def add(self, loss: Destruction, *, taken: Iterable[ObjectName] = ()) -> None:
        """Note a destruction; ``taken`` are the names that mean something else afterwards."""
        asked = {part.casefold() for name in loss.ask for part in name.parts}
        if not self.names_stand or asked & self._touched:
            loss = replace(loss, ask=())
        self.touch(taken)
        self.found.append(loss)

    def touch(self, names: Iterable[ObjectName]) -> None:
        """Note names that mean something else from now on."""
        self._touched |= {name.parts[-1].casefold() for name in names}

    def unreadable(self, operation: str = "unreadable text") -> None:
        """Note that a part of the text cannot be read."""
        loss = Destruction(operation, "unreadable")
        if loss not in self.found:
            self.found.append(loss)
