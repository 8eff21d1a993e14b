"""Which table does a statement create?

What it does not know is nobody's own, and so is not dropped without being judged. What it takes for a creation and is
none does no harm: the guard asks the catalogue before and after.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engineroom._statements.words import Dialect

__all__ = ["created_table"]

_PART = r'(?:"(?:[^"]|"")+"|`(?:[^`]|``)+`|[^\W\d][\w$]*+)'
_GAP = r"(?:\s|--[^\n]*\n|/\*(?!M?!)(?:[^*]|\*(?!/))*+\*/)"
_CREATE = re.compile(
    rf"{_GAP}*+create{_GAP}++(?:or{_GAP}++replace{_GAP}++)?(?:unlogged{_GAP}++)?table{_GAP}++"
    rf"(?:if{_GAP}++not{_GAP}++exists{_GAP}++)?(?P<name>{_PART}(?:\.{_PART})*+)(?=[\s(]|/\*|--)",
    re.IGNORECASE,
)
_PARTS = re.compile(_PART)
_FOLD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")  # no other letter is folded


def created_table(sql: str, dialect: Dialect) -> tuple[str, ...]:
    """Return the parts of the name of the table that a statement creates, as the server folds them; else nothing.

    Args:
        sql: The text of one statement.
        dialect: SQLAlchemy's name of the dialect.

    Example:
        >>> created_table('CREATE TABLE IF NOT EXISTS public."Users" (id int)', "postgresql")
        ('public', 'Users')
        >>> created_table("SELECT 1", "postgresql")
        ()
    """
    match = _CREATE.match(sql)
    if match is None or ";" in sql.rstrip().rstrip(";"):
        return ()
    return tuple(_fold(part, dialect) for part in _PARTS.findall(match["name"]))


def _fold(part: str, dialect: Dialect) -> str:
    quote = part[0]
    if quote in '"`':
        return part[1:-1].replace(quote * 2, quote)
    return part.translate(_FOLD) if dialect == "postgresql" else part
