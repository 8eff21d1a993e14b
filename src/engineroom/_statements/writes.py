"""Which databases does a text write to, or make current?

Answers for the fence, where rows count as well: a ``DELETE`` in another database than the connection's own loses what
somebody wanted to keep. Reads are nobody's business. What it does not see: parameters that a driver writes into the
text, statements computed by the server, and the inside of a function or procedure that is called.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from engineroom._statements.mysql_writes import MySQLWrites
from engineroom._statements.postgresql_writes import read_postgresql_writes

if TYPE_CHECKING:
    from engineroom._statements.words import Dialect

__all__ = ["Write", "written_databases"]

LONGEST_REMEMBERED = 2000
_NAME = r"(?:`[^`]++`|[\w$]++)"
_SIMPLE = re.compile(
    rf"""\s*+(?:
        (?:select|show|set(?!\s++statement)|commit|rollback|savepoint|release|start|describe)\b
      | begin\s*+\Z
      | (?:insert|replace)\s++(?:ignore\s++)?into\s++{_NAME}\s*+(?:\(|select\b|values?\b|set\b)
      | update\s++{_NAME}\s++set\b
      | delete\s++from\s++{_NAME}\s*+(?:where\b|order\b|limit\b|\Z)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
"""A text that starts so, and is one statement, stays in the connection's own database, or reads."""

_SECOND = re.compile(
    r""";\s*+(?:/|\#|-|\(|\w++\s*+:
      | (?:alter|analyze|begin|case|create|declare|delete|drop|execute|explain|for|if|insert|load|loop|prepare|rename
        | repeat|replace|set\s++statement|truncate|update|use|while|with)\b)""",
    re.VERBOSE | re.IGNORECASE,
)
"""What a second statement that writes, or makes another database current, starts with; it may stand in a string too."""


class Write(NamedTuple):
    """One thing that a text does to a database.

    Attributes:
        operation: What it does, for people: ``delete from``, ``drop database``, ``use``.
        database: The database that the text names; None for the connection's own.
        target: What it does it to, as a person would write it; empty where that is the whole database.

    Example:
        >>> written_databases("DELETE FROM shop.users", "mysql")
        (Write(operation='delete from', database='shop', target='shop.users'),)
    """

    operation: str
    database: str | None
    target: str = ""


def written_databases(sql: str, dialect: Dialect, *, own: bool = False) -> tuple[Write, ...]:
    """Return what a text writes to other databases than the connection's own, in the order of its statements.

    Args:
        sql: The text as the driver gets it, of one statement or several.
        dialect: SQLAlchemy's name of the dialect of a server.
        own: Whether to tell what it does to the connection's own database as well (PostgreSQL).

    Example:
        >>> written_databases("INSERT INTO users SELECT * FROM shop.users", "mariadb")
        ()
        >>> [write.database for write in written_databases("USE shop; DROP DATABASE IF EXISTS crm", "mariadb")]
        ['shop', 'crm']
    """
    if dialect == "postgresql":
        lowered = sql.lower()
        if not own and not ("database" in lowered and ("drop" in lowered or "alter" in lowered)):
            return ()
    elif "/*" not in sql and _SIMPLE.match(sql) and not (";" in sql and _SECOND.search(sql)):
        return ()
    read = _read_and_remember if len(sql) <= LONGEST_REMEMBERED else _read
    return read(sql, dialect == "postgresql", own)


def _read(sql: str, is_postgresql: bool, own: bool) -> tuple[Write, ...]:
    found = read_postgresql_writes(sql) if is_postgresql else MySQLWrites.of_text(sql)
    writes = [Write(*write) for write in found]
    return tuple(dict.fromkeys(write for write in writes if own or write.database is not None))


_read_and_remember = lru_cache(maxsize=256)(_read)
