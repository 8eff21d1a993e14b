"""Where the copies of rows stand on MariaDB and MySQL.

In a database beside the test database, and where the user may not create one, in temporary tables of the keeper. There
MySQL, unlike MariaDB, reads one only once in a statement; it has no mark without the database beside it anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineroom.testing import _mysql_objects as catalogue
from engineroom.testing._mysql_objects import companion_of, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Copies"]


class Copies:
    """The copies that belong to one test database.

    Args:
        fetch: Runs a statement.
        database: The name of the test database.
    """

    def __init__(self, fetch: Callable[[str], list[tuple[Any, ...]]], database: str) -> None:
        """Make the place for them, and remove what an earlier run left there."""
        self._fetch = fetch
        self._number = 0
        self._word, self._prefix = "TABLE", f"{quote(companion_of(database))}."
        try:
            fetch(f"CREATE DATABASE IF NOT EXISTS {quote(companion_of(database))}")
            left = fetch(catalogue.copies(companion_of(database)))
        except Exception:  # noqa: BLE001  # whatever the driver says
            self._word, self._prefix, left = "TEMPORARY TABLE", f"{quote(database)}.engineroom_", []
        for (name,) in left:
            fetch(f"DROP TABLE {self.name(name)}")

    def name(self, copy: str) -> str:
        """Return the name of a copy for a statement."""
        return f"{self._prefix}{copy}"

    def make(self, query: str) -> str:
        """Copy what a query answers."""
        self._number += 1
        copy = f"copy_{self._number}"
        self._fetch(f"CREATE {self._word} {self.name(copy)} AS {query}")
        return copy

    def discard(self, copies: Iterable[str | None]) -> None:
        """Drop copies."""
        for copy in filter(None, copies):
            self._fetch(f"DROP {self._word} {self.name(copy)}")
