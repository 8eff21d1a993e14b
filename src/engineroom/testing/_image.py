"""Images of SQLite databases: copies in memory, and what changed from one to another.

Answers: what would this database be, if something else had been there before the same changes? That is needed where
fixtures do not end in the reverse order of their beginning. It compares rows by their key and tables by their text.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["columns_of", "copy_of", "quote", "rebase"]

# What is dropped first stands last, what is made first stands first.
KINDS = ("table", "index", "view", "trigger")


class _Entry(NamedTuple):
    """An object of a database, as SQLite keeps it in ``sqlite_master``."""

    kind: str
    table: str
    sql: str


def copy_of(database: sqlite3.Connection) -> sqlite3.Connection:
    """Return an image of a database."""
    image = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    database.backup(image)
    return image


def rebase(onto: sqlite3.Connection, old: sqlite3.Connection, new: sqlite3.Connection) -> sqlite3.Connection:
    """Return an image of one database with the changes that led from an old image to a new one.

    Args:
        onto: What the changes are made to.
        old: The image before the changes.
        new: The image after them.

    Returns:
        A new image. Where the changes touch virtual tables, or do not fit, it is the one after the changes.
    """
    image = copy_of(onto)
    try:
        before, after = _read_objects(old), _read_objects(new)
        if any("VIRTUAL TABLE" in entry.sql[:40].upper() for entry in (*before.values(), *after.values())):
            raise sqlite3.NotSupportedError  # rows of the tables in its shadow are no rows of anything
        _change_objects(image, before, after)
        for name in _tables_of(after):
            _change_rows(image, old if before.get(name) == after[name] else None, new, name)
        if "sqlite_sequence" in _names_of(image) and "sqlite_sequence" in _names_of(new):
            _change_sequences(image, old, new)
    except sqlite3.Error:
        image.close()
        return copy_of(new)
    return image


def _rows(database: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    cursor = database.execute(query)
    try:
        return cursor.fetchall()
    finally:
        cursor.close()


def _read_objects(database: sqlite3.Connection) -> dict[str, _Entry]:
    found = _rows(database, "SELECT name, type, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {str(name): _Entry(*map(str, entry)) for name, *entry in found if not str(name).startswith("sqlite_")}


def _names_of(database: sqlite3.Connection) -> set[object]:
    return {name for (name,) in _rows(database, "SELECT name FROM sqlite_master")}


def _tables_of(objects: Mapping[str, _Entry]) -> list[str]:
    return [name for name, entry in objects.items() if entry.kind == "table"]


def quote(name: object) -> str:
    """Return a name as SQL writes it."""
    return '"' + str(name).replace('"', '""') + '"'


def _change_objects(image: sqlite3.Connection, before: Mapping[str, _Entry], after: Mapping[str, _Entry]) -> None:
    def rank(name: str) -> int:
        return KINDS.index((after.get(name) or before[name]).kind)

    different = sorted((name for name in {*before, *after} if before.get(name) != after.get(name)), key=rank)
    for name in reversed(different):
        known = _read_objects(image)
        if name in known:
            image.execute(f"DROP {known[name].kind} {quote(name)}").close()
    # What belongs to a table went with it, whether it changed or not.
    for name in sorted(after, key=rank):
        if (name in different or after[name].table in different) and name not in _read_objects(image):
            image.execute(after[name].sql).close()


def _change_rows(
    image: sqlite3.Connection, old: sqlite3.Connection | None, new: sqlite3.Connection, table: str
) -> None:
    """Make the changes to one table's rows; all of them where there was no such table before."""
    keys, columns = columns_of(new, table)
    if not old:
        image.execute(f"DELETE FROM {quote(table)}").close()  # noqa: S608  # it is quoted
    elif columns_of(image, table) != (keys, columns):
        return  # the table is not there without the layer that went
    query = f"SELECT {', '.join([*keys, *columns])} FROM {quote(table)}"  # noqa: S608  # as above
    width = len(keys)
    before = {row[:width]: row for row in _rows(old, query)} if old else {}
    after = {row[:width]: row for row in _rows(new, query)}
    gone = [key for key in before if key not in after]
    changed = [row for key, row in after.items() if before.get(key) != row]
    with _without_triggers(image, table):
        where = " AND ".join(f"{key} IS ?" for key in keys)
        _write(image, f"DELETE FROM {quote(table)} WHERE {where}", gone)  # noqa: S608  # as above
        # A key column that is also among the columns is written twice with the same value, which SQLite allows.
        names, marks = ", ".join([*keys, *columns]), ", ".join("?" * (width + len(columns)))
        _write(image, f"INSERT OR REPLACE INTO {quote(table)} ({names}) VALUES ({marks})", changed)  # noqa: S608


def columns_of(database: sqlite3.Connection, table: str) -> tuple[list[str], list[str]]:
    """Return the columns that tell a row from all others, and those that can be written."""
    information = _rows(database, f"PRAGMA table_xinfo({quote(table)})")
    written = [quote(name) for _, name, _, _, _, _, hidden in information if not hidden]
    primary = [quote(name) for _, name, _, _, _, position, _ in information if position]
    names = {str(name).casefold() for _, name, *_ in information}
    try:
        _rows(database, f"SELECT rowid FROM {quote(table)} LIMIT 0")  # noqa: S608  # as above
    except sqlite3.OperationalError:  # WITHOUT ROWID
        return primary, [name for name in written if name not in primary]
    alias = next((name for name in ("rowid", "oid", "_rowid_") if name not in names), None)
    return ([alias], written) if alias else (primary, [name for name in written if name not in primary])


@contextmanager
def _without_triggers(image: sqlite3.Connection, table: str) -> Iterator[None]:
    """Keep the triggers of a table from running: what they did is among the changes already."""
    triggers = {
        name: entry.sql
        for name, entry in _read_objects(image).items()
        if (entry.kind, entry.table.casefold()) == ("trigger", table.casefold())
    }
    for name in triggers:
        image.execute(f"DROP TRIGGER {quote(name)}").close()
    yield
    for sql in triggers.values():
        image.execute(sql).close()


def _write(image: sqlite3.Connection, statement: str, rows: list[tuple[object, ...]]) -> None:
    if rows:
        image.executemany(statement, rows).close()


def _change_sequences(image: sqlite3.Connection, old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Set the sequences that the changes advanced; writing rows above may have moved them too."""
    query = "SELECT name, seq FROM sqlite_sequence"
    before: dict[str, int] = dict(_rows(old, query)) if "sqlite_sequence" in _names_of(old) else {}
    for name, value in _rows(new, query):
        if before.get(name) != value:
            _write(image, "DELETE FROM sqlite_sequence WHERE name = ?", [(name,)])
            _write(image, "INSERT INTO sqlite_sequence VALUES (?, ?)", [(name, value)])
