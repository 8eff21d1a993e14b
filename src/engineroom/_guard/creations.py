"""What a SQLite connection created itself, and may therefore drop again.

An object counts from when its CREATE really created something until it is rolled back, until the connection goes back
to its pool, or until somebody else changes the schema: what has that name then may be somebody else's. In doubt the
object is not the connection's own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from engineroom._guard.schemas import ask, fold

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Creations", "Key", "is_notable", "key_of"]

Key = tuple[str, str, bool]
"""An object: its schema, its name, and whether it is a trigger, which has a name space of its own."""

_NOTABLE = re.compile(
    "create|drop|alter|vacuum|analyze|pragma|attach|detach|savepoint|rollback|release|commit|end", re.IGNORECASE
)
_TRIGGER = "trigger"


def is_notable(sql: str) -> bool:
    """Tell whether a text could change a schema or end a transaction; most texts hold no such word."""
    return _NOTABLE.search(sql) is not None


def key_of(schema: str | None, name: str | None, operation: str) -> Key:
    """Return what identifies an object, whatever the case of its name."""
    return fold(schema or "main"), fold(name or ""), operation.endswith(_TRIGGER)


class Creations:
    """The objects that one connection created since it was taken from its pool."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._kept: set[Key] = set()
        self._uncommitted: set[Key] = set()
        self._lost: set[Key] = set()
        self._asked: Key | None = None
        self._existing: frozenset[Key] = frozenset()
        self._versions: dict[str, int] = {}
        self._committed_versions: dict[str, int] = {}
        self._is_doubtful = False

    def __bool__(self) -> bool:
        """Whether there is anything that the connection may drop."""
        return bool(self._kept or self._uncommitted)

    def __contains__(self, key: Key) -> bool:
        """Whether the connection created this."""
        return key in self._kept or key in self._uncommitted

    def begin(self, key: Key) -> None:
        """Note that a CREATE is being prepared; with IF NOT EXISTS it may turn out to create nothing."""
        self._asked = key

    def confirm(self, schema: str | None) -> None:
        """Note that the CREATE goes on to write the schema table, which it does only if it really creates."""
        asked, self._asked = self._asked, None
        if asked is not None and asked[0] == fold(schema or "main") and asked not in self._existing:
            self._uncommitted.add(asked)

    def lose(self, key: Key) -> None:
        """Note that an object is about to go, or to get another name: what has its name next is not the same."""
        self._lost.add(key)

    def roll_back(self, *, to_savepoint: bool) -> None:
        """Note that a ROLLBACK is being prepared."""
        if to_savepoint:
            self._is_doubtful = True
        else:
            self._uncommitted.clear()
            self._versions = self._committed_versions

    def forget(self, schema: str | None = None) -> None:
        """Forget what was created, in one schema or in all."""
        folded = None if schema is None else fold(schema)
        for keys in (self._kept, self._uncommitted):
            keys -= {key for key in keys if folded in (None, key[0])}
        self._asked = None

    def start_script(self, connection: Any, schemas: Iterable[str]) -> None:
        """Remember what exists before a script: where one statement of it ends is not to be seen."""
        self._existing = frozenset(key for schema in schemas for key in _list_objects(connection, schema))

    def before(self, connection: Any, sql: str) -> None:
        """Look, before a statement, whether everything is still as the last one left it."""
        self._asked = None
        if self._uncommitted and not connection.in_transaction:
            self._commit()
        if self and is_notable(sql) and _read_versions(connection, self._schemas) != self._versions:
            self.forget()

    def after(self, connection: Any, sql: str, *, failed: bool) -> None:
        """Look, after a statement, what became of what it created."""
        self._asked, self._existing = None, frozenset()
        if not failed:
            self._kept -= self._lost
            self._uncommitted -= self._lost
        self._lost.clear()
        if failed and not connection.in_transaction:
            self._uncommitted.clear()  # an error may roll a whole transaction back: INSERT OR ROLLBACK
        if self._is_doubtful:
            self._is_doubtful = False
            self._uncommitted &= {key for schema in self._schemas for key in _list_objects(connection, schema)}
        if self and is_notable(sql):
            self._versions = _read_versions(connection, self._schemas)
        if not connection.in_transaction:
            self._commit()

    @property
    def _schemas(self) -> set[str]:
        return {key[0] for key in (*self._kept, *self._uncommitted)}

    def _commit(self) -> None:
        self._kept |= self._uncommitted
        self._uncommitted.clear()
        self._committed_versions = self._versions


def _read_versions(connection: Any, schemas: Iterable[str]) -> dict[str, int]:
    """Return the number that SQLite counts up with each change of a schema; nothing where it cannot be read."""
    try:
        return {schema: ask(connection, f"PRAGMA {_quote(schema)}.schema_version")[0][0] for schema in schemas}
    except Exception:  # noqa: BLE001  # a locked database, in the words of whatever driver
        return {}


def _list_objects(connection: Any, schema: str) -> set[Key]:
    try:
        rows = ask(connection, f"SELECT type, name FROM {_quote(schema)}.sqlite_master")  # noqa: S608  # an identifier
    except Exception:  # noqa: BLE001  # as above
        return set()
    return {key_of(schema, name, kind) for kind, name in rows}


def _quote(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
