"""Restores the rows of the tables that were written to, instead of the whole image of a SQLite database.

What was written is read from the write-ahead log, whoever wrote it: another connection, a thread, a child process, raw
SQL, a trigger or a cascade. Whatever is out of the ordinary (DDL, a table of several pages or with a trigger, a virtual
table, a function of the application in an index) is left to the whole image.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from engineroom.testing._image import columns_of, quote
from engineroom.testing._pages import Pages, has_same_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engineroom.testing._wal import Position, WriteAheadLog

__all__ = ["Restored", "RowRestore"]

SEQUENCES = "sqlite_sequence"
SCHEMA = "sqlite_master"
TABLES_WITH_SEQUENCES = "SELECT 1, name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%autoincrement%'"
LIVE = "live"


class Restored(NamedTuple):
    """What became of an attempt.

    Attributes:
        position: How far the log has come with it; None where nothing was done, and the whole image has to be restored.
        is_locked: Whether somebody else was writing, so that another attempt may do.
    """

    position: Position | None
    is_locked: bool = False


class RowRestore:
    """The tables of one image, and the connection that brings their rows back.

    Args:
        image: The image; the database is attached to it.
        database: The file of the database, which is a copy of the image, page by page.
        log: The database's log.
        first_page: The first page of the database as it is now.
    """

    def __init__(self, image: sqlite3.Connection, database: Path, log: WriteAheadLog, first_page: bytes) -> None:
        """Find out where the tables stand."""
        self._connection = image
        self._log = log
        self._first_page = first_page
        image.execute(f"ATTACH ? AS {LIVE}", (str(database),)).close()
        for pragma in ("synchronous = OFF", "secure_delete = OFF"):
            image.execute(f"PRAGMA {LIVE}.{pragma}").close()
        # Its own commits are not to begin the log anew: what others wrote is read from it.
        for pragma in ("wal_autocheckpoint = 0", "foreign_keys = OFF", "ignore_check_constraints = ON"):
            image.execute(f"PRAGMA {pragma}").close()
        found = _rows(image, "SELECT rootpage, tbl_name FROM sqlite_master WHERE rootpage > 0")
        self._pages = Pages(image.serialize(), [(1, SCHEMA), *found])
        self._refused = {SCHEMA, *_tables_with_triggers(image), *_tables_of_modules(image)}
        self._numbered = {name for _, name in _rows(image, TABLES_WITH_SEQUENCES)}
        self._statements: dict[str, tuple[str, str]] = {}

    def restore(self, start: Position) -> Restored:
        """Bring back the rows of all tables that were written to since a position of the log.

        Args:
            start: Where the database was a copy of the image.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError:
            return Restored(None, is_locked=True)
        try:
            before = self._log.position()  # nobody else commits from now on
            tables = self._tables_since(start)
            if tables is None:
                return Restored(None)
            for table in tables:
                self._restore_rows(table)
            self._connection.execute("COMMIT").close()
        except sqlite3.Error:  # a function or a collation of the application is needed to write here
            return Restored(None)
        finally:
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK").close()
        if not tables:
            return Restored(before)
        commit = self._log.next_commit(before)
        return Restored(commit and commit.end)

    def close(self) -> None:
        """Let go of the database; the image stays."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute(f"DETACH {LIVE}").close()

    def _tables_since(self, start: Position) -> list[str] | None:
        """Return the tables that were written to, the sequences last; None where rows are not enough."""
        written = self._log.pages_since(start)
        if not written:
            return None
        place = written.pop(1, None)
        if place is not None and not has_same_schema(self._first_page, self._log.read(place, len(self._first_page))):
            return None
        owners = self._pages.owners(written)
        if owners is None or not all(each.is_alone and each.table not in self._refused for each in owners):
            return None
        tables = {each.table for each in owners}
        if not tables.isdisjoint(self._numbered):
            tables.add(SEQUENCES)
        return sorted(tables, key=SEQUENCES.__eq__)  # to write rows moves them

    def _restore_rows(self, table: str) -> None:
        if table not in self._statements:
            keys, others = columns_of(self._connection, table)
            name, columns = quote(table), ", ".join(dict.fromkeys([*keys, *others]))
            self._statements[table] = (
                f"DELETE FROM {LIVE}.{name}",  # noqa: S608  # names are quoted
                f"INSERT INTO {LIVE}.{name} ({columns}) SELECT {columns} FROM main.{name}",  # noqa: S608
            )
        for statement in self._statements[table]:
            self._connection.execute(statement).close()


def _rows(database: sqlite3.Connection, query: str) -> Iterator[tuple[int, str]]:
    with contextlib.closing(database.execute(query)) as cursor:
        yield from cursor.fetchall()


def _tables_with_triggers(image: sqlite3.Connection) -> set[str]:
    names = {
        str(name).casefold() for _, name in _rows(image, "SELECT 1, tbl_name FROM sqlite_master WHERE type = 'trigger'")
    }
    return {name for _, name in _rows(image, "SELECT 1, name FROM sqlite_master") if name.casefold() in names}


def _tables_of_modules(image: sqlite3.Connection) -> set[str]:
    """Return the tables in the shadow of virtual ones, whose module may keep what it knows of them."""
    modules = "SELECT 1, name FROM sqlite_master WHERE type = 'table' AND rootpage = 0"
    prefixes = tuple(f"{name}_".casefold() for _, name in _rows(image, modules))
    return {
        name for _, name in _rows(image, "SELECT 1, name FROM sqlite_master") if name.casefold().startswith(prefixes)
    }
