"""What a MariaDB or MySQL database holds, and what InnoDB says of its tables. SQL and nothing else.

InnoDB counts the changes of each table in memory, whoever made them, foreign keys that cascade and transactions that
were rolled back included. It begins to count anew when it recalculates its statistics, so it is told not to do that by
itself; where somebody else has it do so, the date of the statistics tells.
"""
# ruff: noqa: S608  # the only thing that is put in is the name of the database, quoted

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any

from engineroom._address import fit_name

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "STATUS",
    "active_sessions",
    "changes",
    "companion_of",
    "copies",
    "count_on",
    "fingerprint",
    "literal",
    "objects",
    "quote",
    "sessions",
    "started",
    "tables",
    "writers",
]

CHANGED = tuple(
    f"COM_{verb}_{what}"
    for what in ("TABLE", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "INDEX", "SEQUENCE")
    for verb in ("CREATE", "ALTER", "DROP", "RENAME")
)
"""The counters of the server that move when somebody, in whichever database, changes objects."""


def literal(text: object) -> str:
    """Return a text, a number or nothing as SQL.

    Example:
        >>> literal("it's"), literal(None), literal(3)
        ("'it''s'", 'NULL', '3')
    """
    if text is None:
        return "NULL"
    return str(text) if isinstance(text, int) else "'" + str(text).replace("\\", "\\\\").replace("'", "''") + "'"


def quote(name: str) -> str:
    """Return a name in quotes.

    Example:
        >>> quote("test`shop")
        '`test``shop`'
    """
    return "`" + name.replace("`", "``") + "`"


def companion_of(name: str) -> str:
    """Return the name of the database beside a test database, which holds the copies.

    Example:
        >>> companion_of("test_shop")
        'test_shop__engineroom'
    """
    # It must be a test name too, whether those begin with the word or end with it.
    return fit_name(f"{name}__engineroom" if name.startswith("test") else f"engineroom__{name}", "mysql")


def _stats(database: str) -> str:
    return (
        "SELECT SUBSTRING(s.NAME, LENGTH(SUBSTRING_INDEX(s.NAME, '/', 1)) + 2) AS name, s.TABLE_ID AS id, "
        "s.NUM_ROWS AS counted, s.MODIFIED_COUNTER AS modified, s.AUTOINC AS autoinc "
        f"FROM information_schema.INNODB_SYS_TABLESTATS s WHERE SUBSTRING_INDEX(s.NAME, '/', 1) = {literal(database)}"
    )


def _dates(database: str) -> str:
    return f"FROM mysql.innodb_table_stats WHERE database_name = {literal(database)}"


def fingerprint(database: str) -> str:
    """Return the question for what changes whenever anybody writes to the database, or changes an object anywhere."""
    return f"""
SELECT (SELECT CONCAT_WS(' ', COUNT(*), SUM(CRC32(CONCAT_WS('/', name, id, counted, modified, autoinc))))
        FROM ({_stats(database)}) t),
  (SELECT SUM(UNIX_TIMESTAMP(last_update)) {_dates(database)}), {_changed()}
"""


def print_of(changes: Iterable[tuple[Any, ...]]) -> tuple[object, ...]:
    """Return what :func:`fingerprint` would have answered at the moment of these answers to :func:`changes`."""
    rows = list(changes)
    sums = [zlib.crc32("/".join(map(str, row[:5])).encode()) for row in rows]
    dates = [date for *_, date, _ in rows if date is not None]
    return (f"{len(rows)} {sum(sums)}" if rows else "0", sum(dates) if dates else None, rows[0][-1] if rows else None)


def changes(database: str) -> str:
    """Return the question for what InnoDB says of each table, with the date of its statistics."""
    return (
        f"SELECT t.name, t.id, t.counted, t.modified, t.autoinc, d.dated, {_changed()} "
        f"FROM ({_stats(database)}) t LEFT JOIN "
        f"(SELECT table_name, UNIX_TIMESTAMP(last_update) AS dated {_dates(database)}) d ON d.table_name = t.name"
    )


def _changed() -> str:
    counters = ", ".join(map(literal, CHANGED))
    return f"(SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN ({counters}))"


def count_on(name: str, *, is_persistent: bool) -> str:
    """Return the statement that has InnoDB go on counting the changes of a table."""
    return f"ALTER TABLE {quote(name)} STATS_AUTO_RECALC = 0{'' if is_persistent else ', STATS_PERSISTENT = 1'}"


def tables(database: str) -> str:
    """Return the question for the tables, their columns as they are written, their keys, and whether they count."""
    name = "CONCAT('`', REPLACE(COLUMN_NAME, '`', '``'), '`')"
    # One pass over the columns of all tables: a subquery for each table would have the server open all of them.
    return f"""
SELECT t.TABLE_NAME, t.ENGINE = 'InnoDB', c.names, c.parts_of_key,
  t.TABLE_TYPE = 'SEQUENCE', LOCATE('stats_auto_recalc=0', LOWER(t.CREATE_OPTIONS)) > 0
FROM information_schema.TABLES t LEFT JOIN (
  SELECT TABLE_NAME,
    GROUP_CONCAT(CASE WHEN COALESCE(GENERATION_EXPRESSION, '') = '' THEN {name} END
      ORDER BY ORDINAL_POSITION SEPARATOR ', ') AS names,
    GROUP_CONCAT(CASE WHEN COLUMN_KEY = 'PRI' THEN {name} END
      ORDER BY ORDINAL_POSITION SEPARATOR ', ') AS parts_of_key
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {literal(database)} GROUP BY TABLE_NAME
) c ON c.TABLE_NAME = t.TABLE_NAME
WHERE t.TABLE_SCHEMA = {literal(database)} AND t.TABLE_TYPE <> 'VIEW'
"""


def objects(database: str) -> str:
    """Return the question for every object: its kind, its name, its definition, and the words that remove it."""
    schema = literal(database)
    return f"""
SELECT 'table', TABLE_NAME, CONCAT_WS('|', TABLE_TYPE, ENGINE, TABLE_COLLATION, TABLE_COMMENT, CREATE_OPTIONS),
  CASE TABLE_TYPE WHEN 'VIEW' THEN 'VIEW' WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema}
UNION ALL SELECT 'columns', c.TABLE_NAME, GROUP_CONCAT(CONCAT_WS('|', c.COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE,
  COLUMN_DEFAULT, EXTRA, COLLATION_NAME, COLUMN_COMMENT, GENERATION_EXPRESSION) ORDER BY ORDINAL_POSITION), NULL
  FROM information_schema.COLUMNS c WHERE TABLE_SCHEMA = {schema} GROUP BY c.TABLE_NAME
UNION ALL SELECT 'index', CONCAT(TABLE_NAME, '.', INDEX_NAME), GROUP_CONCAT(CONCAT_WS('|', COLUMN_NAME, NON_UNIQUE,
  SUB_PART, COLLATION, INDEX_TYPE) ORDER BY SEQ_IN_INDEX), NULL
  FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {schema} GROUP BY TABLE_NAME, INDEX_NAME
UNION ALL SELECT 'reference', CONCAT(TABLE_NAME, '.', CONSTRAINT_NAME), CONCAT_WS('|', REFERENCED_TABLE_NAME,
  UNIQUE_CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE), NULL
  FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {schema}
UNION ALL SELECT 'check', CONCAT(TABLE_NAME, '.', CONSTRAINT_NAME), CHECK_CLAUSE, NULL
  FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {schema}
UNION ALL SELECT 'view', TABLE_NAME, VIEW_DEFINITION, NULL
  FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {schema}
UNION ALL SELECT 'trigger', TRIGGER_NAME, CONCAT_WS('|', EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION,
  ACTION_ORDER, ACTION_STATEMENT), 'TRIGGER'
  FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {schema}
UNION ALL SELECT 'routine', ROUTINE_NAME, CONCAT_WS('|', ROUTINE_TYPE, DTD_IDENTIFIER, ROUTINE_DEFINITION), ROUTINE_TYPE
  FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {schema}
UNION ALL SELECT 'event', EVENT_NAME, CONCAT_WS('|', EVENT_DEFINITION, STATUS, INTERVAL_VALUE, INTERVAL_FIELD), 'EVENT'
  FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {schema}
"""


def copies(companion: str) -> str:
    """Return the question for the copies that the database beside a test database holds."""
    return (
        f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(companion)} "
        "AND TABLE_NAME LIKE 'copy\\_%'"
    )


def started(database: str) -> str:
    """Return the question for the tables whose AUTO_INCREMENT is no longer at its start, and for that number."""
    return (
        f"SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(database)} "
        "AND AUTO_INCREMENT > 1"
    )


def writers(database: str) -> str:
    """Return the question for the sessions in a transaction that wrote to the database."""
    return f"{sessions(database, are_told=True)} AND (t.trx_rows_modified > 0 OR t.trx_rows_locked > 0)"


STATUS = "SHOW ENGINE INNODB STATUS"
"""Answers with one row, whose last value is a text."""


def active_sessions(status: str) -> set[int]:
    """Return the sessions that InnoDB's status shows in a transaction.

    The table of transactions is a cache for the whole server, and renewed only when nobody has read it for a tenth of a
    second (CACHE_MIN_IDLE_TIME in trx0i_s.cc): while several runs look at it, it may show what ended long ago.
    """
    transactions = status.split("---TRANSACTION ")[1:]
    found = [re.search(r"thread id (\d+)", text) for text in transactions if ", ACTIVE" in text.partition("\n")[0]]
    return {int(match[1]) for match in found if match}


def sessions(database: str, *, are_told: bool) -> str:
    """Return the question for the sessions in a transaction, or for all that are connected to the database."""
    joined = " JOIN information_schema.INNODB_TRX t ON p.ID = t.trx_mysql_thread_id" if are_told else ""
    return (
        f"SELECT p.ID, LEFT(COALESCE(p.INFO, ''), 100) FROM information_schema.PROCESSLIST p{joined} "
        f"WHERE p.DB = {literal(database)} AND p.ID <> CONNECTION_ID()"
    )
