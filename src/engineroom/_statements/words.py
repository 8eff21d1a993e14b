"""The quick look: may this text destroy anything at all?

Answers in about a microsecond for the statements that a program runs all day; only where it says yes is the text read.
It may say yes too often and never says no too often. Words are looked for in the lower-case text by plain search, which
is several times as fast as one regular expression that ignores case.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Dialect", "holds_destructive_word"]

Dialect = Literal["postgresql", "mysql", "mariadb", "sqlite"]

# ALTER stands for all that only it can introduce: DROP COLUMN, RENAME, SET SCHEMA, DETACH, EXCHANGE, CHANGE, CONVERT.
# A digit may stand right before a word (/*!50000DROP*/), and only ASCII letters make a word longer: U+00A0 is a space
# to some connections.
_POSTGRESQL = re.compile(r"(?<![a-z_$])(?:drop|truncate|alter|rename|reassign)(?![a-z0-9_$])")
_DO = re.compile(r"(?<![a-z0-9_$.])do(?![a-z0-9_])(?!\s+(?:nothing|update|instead|also)\b)")
_MYSQL = re.compile(
    r"(?<![a-z_$])(?:drop|truncate|alter|rename|immediate|prepare|replace(?!\s*+\(|\s++into\b))(?![a-z0-9_$])"
)
_SQLITE = re.compile(r"(?<![a-z_$])(?:drop|alter|writable_schema)(?![a-z0-9_$])")
# One statement that starts so is about rows, whatever words its values and names hold; a second one needs a semicolon.
_ROWS = re.compile(r"\s*+(?:select|insert|update|delete|merge|replace|with)(?![\w$])")


def _postgresql(lowered: str) -> bool:
    if (
        "drop" in lowered or "truncate" in lowered or "alter" in lowered or "rename" in lowered or "reassign" in lowered
    ) and _POSTGRESQL.search(lowered):
        return True
    # A DO block may hold anything, also spelled with escapes. It starts a statement: the text, after a comment, or
    # after a semicolon.
    if ";" not in lowered and lowered.lstrip()[:2] not in {"do", "--", "/*"}:
        return False
    return "do" in lowered and _DO.search(lowered) is not None


def _mysql(lowered: str) -> bool:
    return (
        "drop" in lowered
        or "truncate" in lowered
        or "alter" in lowered
        or "rename" in lowered
        or "replace" in lowered
        or "immediate" in lowered
        or "prepare" in lowered
    ) and _MYSQL.search(lowered) is not None


def _sqlite(lowered: str) -> bool:
    return ("drop" in lowered or "alter" in lowered or "writable_schema" in lowered) and (
        _SQLITE.search(lowered) is not None
    )


_LOOKS: dict[str, Callable[[str], bool]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlite": _sqlite,
}


def holds_destructive_word(sql: str, dialect: Dialect) -> bool:
    """Say whether a text has to be read before it may run.

    Args:
        sql: The text.
        dialect: SQLAlchemy's name of the dialect.

    Example:
        >>> holds_destructive_word("SELECT id, dropped_at FROM users", "postgresql")
        False
        >>> holds_destructive_word("UPDATE users SET name = 'drop'", "postgresql")
        False
        >>> holds_destructive_word("CREATE TABLE users (id int) -- do not drop", "postgresql")
        True
    """
    lowered = sql.lower()
    if not _LOOKS[dialect](lowered):
        return False
    return ";" in lowered.rstrip("; \t\r\n") or _ROWS.match(lowered) is None
