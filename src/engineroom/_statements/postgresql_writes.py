"""What a text writes on PostgreSQL: other databases that it drops or alters, and the connection's own.

No statement reaches a table in another database here, so only ``DROP DATABASE`` and ``ALTER DATABASE`` name one. What
is done to the own one is told for maintenance connections, whose database may be somebody's real one.
"""

from __future__ import annotations

from engineroom._statements.cursor import POSTGRESQL, Cursor, split_statements, word_set
from engineroom._statements.lexer import lex_postgresql

__all__ = ["read_postgresql_writes"]

_ROWS = frozenset({"DELETE", "INSERT", "MERGE", "UPDATE"})
_OF_THE_SERVER = word_set("DATABASE GROUP PUBLICATION ROLE SERVER SUBSCRIPTION SYSTEM TABLESPACE USER")
_FREE_TO_CREATE = _OF_THE_SERVER | word_set("EXTENSION TEMP TEMPORARY LOCAL GLOBAL")
_WRITING = word_set("CALL DO REASSIGN REFRESH TRUNCATE IMPORT SECURITY")

Found = tuple[str, str | None, str]


def read_postgresql_writes(sql: str) -> list[Found]:
    """Return the operation, the database and the target of each write; the database is None for the own one.

    A text that ends inside a string or comment does nothing: PostgreSQL parses it whole before it runs any of it.
    """
    found: list[Found] = []
    for backslashes in (False, True) if "\\" in sql else (False,):
        tokens, whole = lex_postgresql(sql, backslashes=backslashes)
        for statement in split_statements(tokens) if whole else []:
            write = _read(Cursor(sql, statement, POSTGRESQL))
            if write is not None and write not in found:
                found.append(write)
    return found


def _read(cursor: Cursor) -> Found | None:
    head = cursor.word()
    if head == "EXPLAIN":
        return _own(head) if cursor.holds({"ANALYZE", "ANALYSE"}) and cursor.holds(_ROWS) else None
    if head in {"DROP", "ALTER"}:
        return _schema(cursor, head)
    if head == "CREATE":
        cursor.accept("CREATE")
        cursor.accept("OR", "REPLACE")
        return None if cursor.word() in _FREE_TO_CREATE else _own(head, cursor.word())
    if head == "COPY":
        return _own(head) if cursor.holds({"FROM"}) and not _copies_query(cursor) else None
    if head in {"SELECT", "WITH", "PREPARE"}:
        return _own(head) if cursor.holds({"INTO", *_ROWS} if head != "SELECT" else {"INTO"}) else None
    return _own(head) if head in _ROWS | _WRITING else None


def _schema(cursor: Cursor, head: str) -> Found | None:
    cursor.at += 1
    kind = cursor.word()
    if kind != "DATABASE":
        return None if kind in _OF_THE_SERVER else _own(head, kind)
    cursor.at += 1
    cursor.accept("IF", "EXISTS")
    name = cursor.parts()
    return (f"{head.lower()} database", name[-1], "") if name else None


def _copies_query(cursor: Cursor) -> bool:
    """Tell whether a COPY sends the rows of a query, whose FROM is no source of rows to store."""
    return cursor.word(1) == "("


def _own(*words: str) -> Found:
    return " ".join(words).lower().strip(), None, ""
