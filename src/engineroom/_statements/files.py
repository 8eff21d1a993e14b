"""Which files does a text open on SQLite, beside the one that the connection was opened to?

Answers for ``ATTACH`` and ``VACUUM INTO``, the only statements that name a file. A name that is bound, or computed, is
unknown. No other statement is looked at, and nothing is judged.
"""

from __future__ import annotations

from engineroom._statements.cursor import SQLITE, Cursor, split_statements
from engineroom._statements.lexer import lex_sqlite

__all__ = ["opened_files"]


def opened_files(sql: str) -> tuple[str | None, ...]:
    """Return the name of each file that a text opens as it is written there; None for one that is bound or computed.

    Args:
        sql: The text, of one statement or several.

    Example:
        >>> opened_files("ATTACH 'shop.db' AS shop; ATTACH ? AS other; VACUUM")
        ('shop.db', None)
    """
    lowered = sql.lower()
    if "attach" not in lowered and "vacuum" not in lowered:
        return ()
    tokens, _ = lex_sqlite(sql)
    found = []
    for statement in split_statements(tokens):
        cursor = Cursor(sql, statement, SQLITE)
        if cursor.accept("ATTACH"):
            cursor.accept("DATABASE")
            found.append(_file(cursor))
        elif cursor.accept("VACUUM"):
            if not cursor.accept("INTO"):
                cursor.at += 1  # the schema
                if not cursor.accept("INTO"):
                    continue
            found.append(_file(cursor))
    return tuple(found)


def _file(cursor: Cursor) -> str | None:
    token = cursor.token
    name = SQLITE.part(cursor.sql, token) if token is not None else None
    is_whole = cursor.at + 1 >= cursor.stop or cursor.word(1) == "AS"
    return name if is_whole else None
