"""What a text would destroy on SQLite.

SQLite's own authorizer has the last word on a live connection; this reading serves where no connection is at hand, and
says what a refused text was about to do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engineroom._statements.cursor import SQLITE, Cursor, split_statements, word_set
from engineroom._statements.destruction import Destruction, Findings, ObjectName
from engineroom._statements.lexer import lex_sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_sqlite"]

_DESTRUCTIVE = frozenset({"DROP", "RENAME"})
_HARMLESS = word_set(
    """( ANALYZE ATTACH BEGIN COMMIT CREATE DELETE DETACH END EXPLAIN INSERT REINDEX RELEASE REPLACE ROLLBACK SAVEPOINT
    SELECT UPDATE VACUUM VALUES WITH"""
)
_NEUTRAL = frozenset({"ALTER", "BEGIN", "CREATE", "DROP", "INSERT"})
_OFF = frozenset({"0", "FALSE", "NO", "OFF", "RESET"})
_TEMPORARY = "temp"


def read_sqlite(sql: str) -> tuple[Findings, bool]:
    """Return what a text would destroy, and whether it could be read to its end.

    The database of a finding is the alias of an attached database, ``None`` for the connection's own.
    """
    tokens, whole = lex_sqlite(sql)
    findings = Findings()
    statements = split_statements(tokens)
    for statement in statements if whole else statements[:-1]:
        cursor = Cursor(sql, statement, SQLITE)
        head = cursor.word()
        _read(cursor, findings)
        if head not in _NEUTRAL:
            findings.names_stand = False
    return findings, whole


def _read(cursor: Cursor, findings: Findings) -> None:
    if cursor.accept("DROP"):
        _drop(cursor, findings)
    elif cursor.accept("ALTER", "TABLE"):
        _alter(cursor, findings)
    elif cursor.accept("PRAGMA"):
        _pragma(cursor, findings)
    elif cursor.word() not in _HARMLESS and cursor.holds(_DESTRUCTIVE):
        findings.unreadable()


def _drop(cursor: Cursor, findings: Findings) -> None:
    kind = cursor.word().lower()
    cursor.at += 1
    if kind == "index":
        return
    cursor.accept("IF", "EXISTS")
    names = cursor.names(kind)
    _lose(Destruction(f"drop {kind}".strip(), "drop"), names, findings, asked=cursor.done)
    findings.touch(names)


def _alter(cursor: Cursor, findings: Findings) -> None:
    table = cursor.name("table")
    names = [table] if table else []
    if cursor.accept("DROP"):
        if cursor.accept("CONSTRAINT") or cursor.accept("NOT", "NULL"):
            return
        cursor.accept("COLUMN")
        _lose(Destruction("drop column", "drop"), names, findings, member=cursor.parts()[-1:])
    elif cursor.accept("RENAME", "TO"):
        new = cursor.name("table")
        _lose(Destruction("rename table", "rename"), names, findings)
        findings.touch([*names, *([new] if new else [])])
    elif cursor.accept("RENAME"):
        cursor.accept("COLUMN")
        _lose(Destruction("rename column", "rename"), names, findings, member=cursor.parts()[-1:])
    elif cursor.word() not in {"ADD", "ALTER"} and cursor.holds(_DESTRUCTIVE):
        findings.unreadable()


def _pragma(cursor: Cursor, findings: Findings) -> None:
    pragma = cursor.parts()
    if not pragma or pragma[-1].lower() != "writable_schema":
        return
    if not cursor.accept_any(("=", "(")) or _is_off(cursor):
        return
    findings.add(Destruction("open the schema table for writing", "writable-schema", database=_database(pragma)))


def _is_off(cursor: Cursor) -> bool:
    token = cursor.token
    return token is not None and cursor.sql[token.start : token.end].strip("'\"`[]").upper() in _OFF


def _lose(
    loss: Destruction,
    names: Sequence[ObjectName],
    findings: Findings,
    *,
    member: tuple[str, ...] = (),
    asked: bool = True,
) -> None:
    """Note the loss of an object or of a member of it, unless the name says that it is temporary."""
    if not names:
        findings.add(loss)
    for name in names:
        if len(name.parts) > 1 and name.parts[0].lower() == _TEMPORARY:
            continue
        written = ".".join((name.written, *map(SQLITE.write, member)))
        found = replace(loss, objects=(written,), database=_database(name.parts), ask=(name,) if asked else ())
        findings.add(found)


def _database(parts: tuple[str, ...]) -> str | None:
    """Return the alias of the attached database that a name names."""
    return parts[0] if len(parts) > 1 and parts[0].lower() != "main" else None
