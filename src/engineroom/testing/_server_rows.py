"""What one database system does for the baseline on a server: tells what was written, and brings it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["OBJECTS", "BusyError", "Counter", "Object", "Rows"]

OBJECTS = "objects"
"""Stands among the names of written tables where an object was created, changed or dropped."""

Counter = tuple[object, ...]


class BusyError(Exception):
    """Somebody holds a transaction open for longer than the server was told to wait."""


class Object(NamedTuple):
    """A table, a column, a function, ...: its definition, and what removes it where that is simple."""

    definition: str
    removal: str | None


class Rows(Protocol):
    """What one database system does for the baseline. Names are those of tables; copies have names of their own."""

    def install(self) -> None:
        """Begin to watch, after the schema was built or objects were added."""

    def tables(self) -> list[str]:
        """Return the names of all tables that persist."""

    def objects(self) -> dict[str, Object]:
        """Return everything that the database holds besides rows."""

    def written(self) -> set[str]:
        """Return what was written since it was forgotten or restored last: tables, counters, :data:`OBJECTS`."""

    def restore(self, *, is_locking: bool) -> set[str]:
        """Bring back the rows of what was written, and return what it was; nothing where it holds :data:`OBJECTS`."""

    def forget(self, names: Iterable[str]) -> None:
        """Take what was written to be the baseline."""

    def note(self, names: Iterable[str]) -> None:
        """Have these restored the next time, as if somebody had written to them."""

    def copy(self, names: Iterable[str]) -> dict[str, str | None]:
        """Copy the rows of tables; None stands for none."""

    def merge(self, name: str, onto: str | None, old: str | None, new: str | None) -> str | None:
        """Return a copy with the changes that led from an old copy of a table to a new one."""

    def discard(self, copies: Iterable[str | None]) -> None:
        """Drop copies."""

    def counters(self) -> dict[str, Counter]:
        """Return the state of each sequence."""

    def publish(self, copies: Mapping[str, str | None], counters: Mapping[str, Counter]) -> None:
        """Take these to be what is brought back."""

    def contents(self) -> dict[str, str]:
        """Return for each table that is not as empty as when it was made what its rows are known by."""

    def writers(self) -> dict[int, str]:
        """Return the sessions in a transaction that writes, and the last statement of each."""

    def sessions(self) -> dict[int, str]:
        """Return all sessions that may be in a transaction, if only to read, and the last statement of each."""

    def untold(self) -> set[str]:
        """Return the tables of which nobody can tell whether they were written: they count as written always."""

    def wait_at_most(self, seconds: float) -> None:
        """Set how long a statement of the keeper waits for others."""

    def end(self, session: int) -> None:
        """End a session."""

    def remove(self, objects: Iterable[Object]) -> None:
        """Drop these objects."""

    def clear(self) -> None:
        """Drop everything."""
