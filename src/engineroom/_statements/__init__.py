"""What would a statement destroy, and in which database?

A pure judge of texts: it reads, asks nothing and knows no engine. ``judge_text`` looks for a destructive word first
and lets a text without one pass at once; where there is one, the text is read in the server's own dialect, in every way
in which a server might read it, and what cannot be read is said to be unreadable.

What it does not see: parameters that a driver writes into the text, the inside of a function or procedure that a
statement calls, and triggers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engineroom._statements.creations import created_table
from engineroom._statements.destruction import KINDS, Destruction, Findings, ObjectName
from engineroom._statements.mysql import mysql_readings, read_mysql
from engineroom._statements.postgresql import read_postgresql
from engineroom._statements.sqlite import read_sqlite
from engineroom._statements.words import Dialect, holds_destructive_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["KINDS", "Destruction", "Dialect", "ObjectName", "created_table", "holds_destructive_word", "judge_text"]

_UNREADABLE = (Destruction("unreadable text", "unreadable"),)


def judge_text(
    sql: str,
    dialect: Dialect,
    *,
    backslash_escapes: bool | None = None,
    ansi_quotes: bool | None = None,
) -> tuple[Destruction, ...]:
    """Return what a text would destroy, in the order of its statements; nothing means that it may run.

    Args:
        sql: The text as the driver gets it, of one statement or several.
        dialect: SQLAlchemy's name of the dialect.
        backslash_escapes: Whether a backslash in a plain string is an escape: on MySQL and MariaDB unless the SQL mode
            has ``NO_BACKSLASH_ESCAPES``, on PostgreSQL if ``standard_conforming_strings`` is off. ``None``: not known,
            the text is read both ways.
        ansi_quotes: Whether double quotes enclose names on MySQL and MariaDB. ``None``: not known.

    Example:
        >>> for loss in judge_text("SELECT 'drop'; DROP TABLE users, shop.orders", "mariadb"):
        ...     print(loss)
        drop table users
        drop table shop.orders in database shop
        >>> judge_text("ALTER TABLE users DROP CONSTRAINT users_email_key", "postgresql")
        ()
    """
    if not holds_destructive_word(sql, dialect):
        return ()
    if dialect == "postgresql":
        return _judge_postgresql(sql, backslash_escapes)
    if dialect == "sqlite":
        return _judge_readings([read_sqlite(sql)])
    readings = mysql_readings(sql, backslash_escapes=backslash_escapes, ansi_quotes=ansi_quotes)
    if readings is None:
        return _UNREADABLE
    return _judge_readings([read_mysql(sql, reading) for reading in readings])


def _judge_postgresql(sql: str, backslash_escapes: bool | None) -> tuple[Destruction, ...]:
    # Without a backslash there is nothing to read in two ways.
    ways = (False, True) if backslash_escapes is None and "\\" in sql else (bool(backslash_escapes),)
    readings = [findings for way in ways if (findings := read_postgresql(sql, backslashes=way)) is not None]
    return _merge(readings) if readings else _UNREADABLE


def _judge_readings(readings: Sequence[tuple[Findings, bool]]) -> tuple[Destruction, ...]:
    """Merge the readings; if none gets to the end of the text, the rest of it counts as unreadable."""
    found = _merge(findings for findings, _ in readings)
    return found if any(whole for _, whole in readings) else (*found, *_UNREADABLE)


def _merge(readings: Iterable[Findings]) -> tuple[Destruction, ...]:
    """Return each destruction once; where two differ in what may be asked, nothing may be."""
    merged: dict[Destruction, Destruction] = {}
    for findings in readings:
        for loss in findings.found:
            key = replace(loss, ask=())
            merged[key] = loss if merged.get(key, loss) == loss else key
    return tuple(merged.values())
