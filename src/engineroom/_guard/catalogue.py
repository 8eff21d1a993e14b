"""What the guard asks a server before it refuses: is what would be lost temporary, absent, or this connection's own?

Asks by the connection that is about to destroy, in its transaction, and answers for one name at a time. Whatever cannot
be asked or answered counts as something that would be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container

    from engineroom._statements import ObjectName

__all__ = ["Catalogue", "fetch"]

POSTGRESQL_RELATION = """
SELECT c.oid, c.relpersistence, c.relkind FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({})
"""
POSTGRESQL_TYPE = "SELECT pg_catalog.to_regtype({})::oid"
POSTGRESQL_DEPENDANTS = """
SELECT count(*) FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_constraint'::regclass AND d.refobjid = k.oid
WHERE k.conrelid = pg_catalog.to_regclass({}) AND k.conname = {} AND d.deptype = 'n'
AND d.classid <> 'pg_catalog.pg_constraint'::regclass
"""
MYSQL_TABLE = """
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_schema = COALESCE({}, DATABASE()) AND table_name = {} AND table_type <> 'TEMPORARY'
"""
INDEX_KINDS = frozenset({"i", "I"})
TABLES = frozenset({"table", "view", "sequence", "base table"})


def fetch(dbapi_connection: Any, question: str) -> Any:
    """Return the rows that answer a question; the text holds no value of a user but quoted names."""
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute(question)
        return cursor.fetchall()
    finally:
        cursor.close()


class Catalogue:
    """The catalogue of a server, as one connection sees it.

    Args:
        dbapi_connection: The connection as SQLAlchemy's pool has it.
        backend: The name of the dialect.
        created: The identities of what the connection created.
    """

    def __init__(self, dbapi_connection: Any, backend: str, created: Container[object]) -> None:
        """Ask nothing yet."""
        self._connection = dbapi_connection
        self._is_postgresql = backend == "postgresql"
        self._created = created

    def is_harmless(self, name: ObjectName) -> bool:
        """Tell whether losing what a name means loses nothing that persists, or nothing that was there before."""
        if not self._is_postgresql:
            return name.kind in {"table", "base table"} and self._is_harmless_on_mysql(name)
        if name.kind == "constraint":
            return self._has_no_dependants(name)
        if name.kind == "type":
            return self._ask(POSTGRESQL_TYPE, _quote_name(name.parts))[0][0] is None
        rows = self._ask(POSTGRESQL_RELATION, _quote_name(name.parts))
        if not rows:
            return True
        oid, persistence, kind = rows[0]
        if name.kind == "index":
            return _text(kind) in INDEX_KINDS
        return name.kind in TABLES and (_text(persistence) == "t" or oid in self._created)

    def find_table(self, parts: tuple[str, ...]) -> object | None:
        """Return what identifies a permanent table: its oid, or its database and name; None where there is none."""
        if self._is_postgresql:
            rows = self._ask(POSTGRESQL_RELATION, _quote_name(parts))
            return rows[0][0] if rows and _text(rows[0][1]) != "t" else None
        database = _quote_bytes(parts[-2]) if len(parts) > 1 else "NULL"
        rows = self._ask(MYSQL_TABLE, database, _quote_bytes(parts[-1]))
        return tuple(rows[0]) if rows else None

    def _is_harmless_on_mysql(self, name: ObjectName) -> bool:
        identity = self.find_table(name.parts)
        if identity is None or identity in self._created:
            return True
        return name.kind == "table" and self._is_temporary_on_mysql(name.parts)

    def _is_temporary_on_mysql(self, parts: tuple[str, ...]) -> bool:
        """Tell whether a temporary table hides the permanent one; before MariaDB 11.2 only its definition tells."""
        table = ".".join("`" + part.replace("`", "``") + "`" for part in parts)
        definition = fetch(self._connection, f"SHOW CREATE TABLE {table}")[0][1]
        return bool(str(definition).upper().startswith("CREATE TEMPORARY"))

    def _has_no_dependants(self, name: ObjectName) -> bool:
        rows = self._ask(POSTGRESQL_DEPENDANTS, _quote_name(name.parts[:-1]), _quote_text(name.parts[-1]))
        return bool(rows[0][0] == 0)

    def _ask(self, question: str, *values: str) -> Any:
        return fetch(self._connection, question.format(*values))


def _text(char: str | bytes) -> str:
    """Return PostgreSQL's type "char", which asyncpg gives as bytes."""
    return char.decode() if isinstance(char, bytes) else char


def _quote_name(parts: tuple[str, ...]) -> str:
    """Return a qualified name of PostgreSQL as a literal."""
    return _quote_text(".".join('"' + part.replace('"', '""') + '"' for part in parts))


def _quote_text(text: str) -> str:
    """Return a literal of PostgreSQL that reads the same whether backslashes escape in plain strings or not."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quote_bytes(text: str) -> str:
    """Return a literal of MySQL that reads the same in every SQL mode."""
    return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)" if text else "''"
