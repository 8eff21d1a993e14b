"""What the guard asks a server before it refuses: is what would be lost temporary, absent, or this connection's own?

Asks by the connection that is about to destroy, in its transaction, and answers for one name at a time. Whatever cannot
be asked or answered counts as something that would be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from engineroom._statements import ObjectName

__all__ = ["QUESTIONS", "Catalogue", "fetch", "is_idle"]

QUESTIONS = {
    "postgresql": "SELECT pg_catalog.current_database()",
    "mysql": "SELECT DATABASE()",
    "mariadb": "SELECT DATABASE()",
}
"""How to ask a server which database a connection is in."""

POSTGRESQL_RELATION = """
SELECT named.oid, c.relpersistence, c.relkind FROM (SELECT pg_catalog.to_regclass({})::oid AS oid) named
LEFT JOIN pg_catalog.pg_class c ON c.oid = named.oid WHERE named.oid IS NOT NULL
"""
"""The name is looked up as a DROP looks it up; the row of a relation that is newer than the transaction's snapshot is
not to be seen."""
POSTGRESQL_MADE = """
SELECT named.oid FROM (SELECT pg_catalog.to_regclass({0})::oid AS oid) named
LEFT JOIN pg_catalog.pg_class c ON c.oid = named.oid
WHERE named.oid IS NOT NULL AND c.relpersistence IS DISTINCT FROM 't'
UNION ALL SELECT d.objid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
WHERE d.refobjid = pg_catalog.to_regclass({0}) AND d.refclassid = 'pg_catalog.pg_class'::regclass
AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
"""
"""A permanent table that was just created, and the sequences that were created with it."""
POSTGRESQL_TYPE = "SELECT pg_catalog.to_regtype({})::oid"
POSTGRESQL_DEPENDANTS = """
SELECT count(*) FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_constraint'::regclass AND d.refobjid = k.oid
WHERE k.conrelid = pg_catalog.to_regclass({}) AND k.conname = {} AND d.deptype = 'n'
AND d.classid <> 'pg_catalog.pg_constraint'::regclass
"""
POSTGRESQL_ATTACHED = """
WITH RECURSIVE edge AS (
    SELECT inhparent AS parent, inhrelid AS child FROM pg_catalog.pg_inherits
    UNION ALL SELECT confrelid, conrelid FROM pg_catalog.pg_constraint WHERE contype = 'f'
    UNION ALL SELECT d.refobjid, r.ev_class FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
              WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
    UNION ALL SELECT d.refobjid, s.oid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid
              WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
              AND d.deptype IN ('a', 'i') AND s.relkind = 'S' AND s.oid < d.refobjid
), below AS (SELECT {0}::oid AS oid UNION SELECT edge.child FROM below JOIN edge ON edge.parent = below.oid)
SELECT oid FROM below
"""
"""What may go together with a table: its partitions and heirs, the tables that refer to it, its views, and the older
sequences that it owns: it may have been given one that somebody wants to keep."""
POSTGRESQL_PRESENCE = {
    "function": """SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE {lower}(p.proname::text) = {lower}({name}::name::text) AND n.nspname = coalesce({place}, n.nspname)""",
    "schema": "SELECT 1 FROM pg_catalog.pg_namespace WHERE {lower}(nspname::text) = {lower}({name}::name::text)",
    "extension": "SELECT 1 FROM pg_catalog.pg_extension WHERE {lower}(extname::text) = {lower}({name}::name::text)",
    "database": "SELECT 1 FROM pg_catalog.pg_database WHERE {lower}(datname::text) = {lower}({name}::name::text)",
    "column": """SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass({table})
        AND {lower}(attname::text) = {lower}({name}::name::text) AND NOT attisdropped""",
    "trigger": """SELECT 1 FROM pg_catalog.pg_trigger WHERE tgrelid = pg_catalog.to_regclass({table})
        AND {lower}(tgname::text) = {lower}({name}::name::text)""",
    "policy": """SELECT 1 FROM pg_catalog.pg_policy WHERE polrelid = pg_catalog.to_regclass({table})
        AND {lower}(polname::text) = {lower}({name}::name::text)""",
    "rule": """SELECT 1 FROM pg_catalog.pg_rewrite WHERE ev_class = pg_catalog.to_regclass({table})
        AND {lower}(rulename::text) = {lower}({name}::name::text)""",
}
"""Whether there is an object of that name, whatever its arguments. A name in two cases counts as one: where each letter
is one byte, the server folds letters that are not ASCII."""
IF_THE_SNAPSHOT_IS_OLD = """
UNION ALL SELECT 1
WHERE pg_catalog.current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted')
"""
"""In such a transaction the catalogue's rows are as old as its snapshot, and what is not seen may be there."""
MEMBERS = frozenset({"column", "policy", "rule", "trigger"})
MYSQL_TABLE = """
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_schema = COALESCE({}, DATABASE()) AND table_name = {} AND table_type <> 'TEMPORARY'
"""
MYSQL_PRESENCE = {
    "function": """SELECT 1 FROM information_schema.routines
        WHERE routine_schema = COALESCE({place}, DATABASE()) AND routine_name = {name}
        UNION ALL SELECT 1 FROM mysql.func WHERE name = {name}""",
    "procedure": """SELECT 1 FROM information_schema.routines
        WHERE routine_schema = COALESCE({place}, DATABASE()) AND routine_name = {name}""",
    "trigger": """SELECT 1 FROM information_schema.triggers
        WHERE trigger_schema = COALESCE({place}, DATABASE()) AND trigger_name = {name}""",
    "event": """SELECT 1 FROM information_schema.events
        WHERE event_schema = COALESCE({place}, DATABASE()) AND event_name = {name}""",
    "database": "SELECT 1 FROM information_schema.schemata WHERE schema_name = {name}",
    "column": """SELECT 1 FROM information_schema.columns
        WHERE table_schema = COALESCE({place}, DATABASE()) AND table_name = {table} AND column_name = {name}""",
}
INDEX_KINDS = frozenset({"i", "I"})
TABLES = frozenset({"table", "view", "sequence", "base table"})
RELATIONS = TABLES | {"index"}
MOST_PARTS = 2
IDLE = 0
"""The number of libpq for a connection without a transaction."""


def fetch(dbapi_connection: Any, question: str) -> Any:
    """Return the rows that answer a question; the text holds no value of a user but quoted names."""
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute(question)
        return cursor.fetchall()
    finally:
        cursor.close()


def is_idle(dbapi_connection: Any) -> bool:
    """Tell whether a connection to PostgreSQL is known to be in no transaction, so that a question begins one."""
    driver = getattr(dbapi_connection, "driver_connection", dbapi_connection)
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return not driver.is_in_transaction()
    return getattr(getattr(driver, "info", None), "transaction_status", None) == IDLE


class Catalogue:
    """The catalogue of a server, as one connection sees it.

    Args:
        dbapi_connection: The connection as SQLAlchemy's pool has it.
        backend: The name of the dialect.
        created: The identities of what the connection created.
    """

    def __init__(self, dbapi_connection: Any, backend: str, created: AbstractSet[object]) -> None:
        """Ask nothing yet."""
        self._connection = dbapi_connection
        self._is_postgresql = backend == "postgresql"
        self._created = created

    def is_harmless(self, name: ObjectName) -> bool:
        """Tell whether losing what a name means loses nothing that persists, or nothing that was there before."""
        ask = self._is_harmless_on_postgresql if self._is_postgresql else self._is_harmless_on_mysql
        # Some drivers write a doubled percent sign as one, others do not.
        readings = {name.parts, tuple(part.replace("%%", "%") for part in name.parts)}
        if self._is_postgresql and not all(part.isascii() for part in name.parts):
            # Where each letter is one byte, the server folds letters that are not ASCII, too.
            readings |= {tuple(part.lower() for part in parts) for parts in readings}
        return all(ask(name.kind, parts) for parts in readings)

    def find_tables(self, parts: tuple[str, ...]) -> frozenset[object]:
        """Return what identifies the permanent table of a name: its oid, or its database and name.

        There may be two on MySQL, where the catalogue compares names without regard to letter case.
        """
        if len(parts) > MOST_PARTS:
            return frozenset()
        if self._is_postgresql:
            rows = self._ask(POSTGRESQL_RELATION, _quote_name(parts))
            return frozenset(oid for oid, persistence, _ in rows if _text(persistence) != "t")
        database = _quote_bytes(parts[-2]) if len(parts) > 1 else "NULL"
        return frozenset(tuple(row) for row in self._ask(MYSQL_TABLE, database, _quote_bytes(parts[-1])))

    def find_made(self, parts: tuple[str, ...]) -> frozenset[object]:
        """Return what identifies the table that was just created under a name, and what was created with it."""
        if self._is_postgresql and len(parts) <= MOST_PARTS:
            return frozenset(oid for (oid,) in self._ask(POSTGRESQL_MADE, _quote_name(parts)))
        return self.find_tables(parts)

    def _is_harmless_on_postgresql(self, kind: str, parts: tuple[str, ...]) -> bool:
        if kind == "constraint":
            return self._has_no_dependants(parts)
        if kind in POSTGRESQL_PRESENCE:
            is_of_such_a_table = kind in MEMBERS and self._is_harmless_on_postgresql("table", parts[:-1])
            return is_of_such_a_table or self._is_absent_on_postgresql(kind, parts)
        if len(parts) > MOST_PARTS:
            return False
        if kind == "type":
            return self._ask(POSTGRESQL_TYPE, _quote_name(parts))[0][0] is None
        return kind in RELATIONS and self._is_harmless_relation(kind, parts)

    def _is_harmless_relation(self, kind: str, parts: tuple[str, ...]) -> bool:
        rows = self._ask(POSTGRESQL_RELATION, _quote_name(parts))
        if not rows:
            return True
        oid, persistence, relation = rows[0]
        if kind == "index":
            return _text(relation) in INDEX_KINDS
        return _text(persistence) == "t" or self._is_own_alone(oid)

    def _is_absent_on_postgresql(self, kind: str, parts: tuple[str, ...]) -> bool:
        owner = parts[:-1]
        if len(owner) > (MOST_PARTS if kind in MEMBERS else 1):
            return False
        names = {"name": _quote_text(parts[-1]), "lower": "pg_catalog.lower"}
        if kind in MEMBERS:
            names["table"] = _quote_name(owner)
        else:
            names["place"] = _quote_text(owner[0]) if owner else "NULL"
        return not self._ask(POSTGRESQL_PRESENCE[kind] + IF_THE_SNAPSHOT_IS_OLD, **names)

    def _is_absent_on_mysql(self, kind: str, parts: tuple[str, ...]) -> bool:
        *owner, name = map(_quote_bytes, parts)
        table = owner.pop() if kind == "column" else ""
        if len(owner) > 1:
            return False
        try:
            rows = self._ask(MYSQL_PRESENCE[kind], name=name, place=owner[0] if owner else "NULL", table=table)
        except Exception:  # noqa: BLE001  # whatever a driver raises: an account may see less than it may drop
            return False
        return not rows

    def _is_own_alone(self, oid: object) -> bool:
        """Tell whether the connection created a table and all that may go with it."""
        if oid not in self._created:
            return False
        return all(row[0] in self._created for row in self._ask(POSTGRESQL_ATTACHED, str(oid)))

    def _is_harmless_on_mysql(self, kind: str, parts: tuple[str, ...]) -> bool:
        if kind in MYSQL_PRESENCE:
            is_of_such_a_table = kind == "column" and self._is_harmless_on_mysql("table", parts[:-1])
            return is_of_such_a_table or self._is_absent_on_mysql(kind, parts)
        if kind not in TABLES or len(parts) > MOST_PARTS:
            return False
        return self.find_tables(parts) <= self._created or (kind == "table" and self._is_temporary_on_mysql(parts))

    def _is_temporary_on_mysql(self, parts: tuple[str, ...]) -> bool:
        """Tell whether a temporary table hides the permanent one; before MariaDB 11.2 only its definition tells."""
        table = ".".join("`" + part.replace("`", "``") + "`" for part in parts)
        try:
            definition = fetch(self._connection, f"SHOW CREATE TABLE {table}")[0][1]
        except Exception:  # noqa: BLE001  # whatever a driver raises: an account may see a table and not its definition
            return False
        return bool(str(definition).upper().startswith("CREATE TEMPORARY"))

    def _has_no_dependants(self, parts: tuple[str, ...]) -> bool:
        if len(parts) > MOST_PARTS + 1:
            return False
        rows = self._ask(POSTGRESQL_DEPENDANTS, _quote_name(parts[:-1]), _quote_text(parts[-1]))
        return bool(rows[0][0] == 0)

    def _ask(self, question: str, *values: str, **names: str) -> Any:
        return fetch(self._connection, question.format(*values, **names))


def _text(char: str | bytes | None) -> str:
    """Return PostgreSQL's type "char", which asyncpg gives as bytes; empty where there is none."""
    return char.decode() if isinstance(char, bytes) else char or ""


def _quote_name(parts: tuple[str, ...]) -> str:
    """Return a qualified name of PostgreSQL as a literal."""
    return _quote_text(".".join('"' + part.replace('"', '""') + '"' for part in parts))


def _quote_text(text: str) -> str:
    """Return a literal of PostgreSQL that reads the same whether backslashes escape in plain strings or not."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quote_bytes(text: str) -> str:
    """Return a literal of MySQL that reads the same in every SQL mode."""
    return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)" if text else "''"
