"""What a PostgreSQL database holds: objects with their definitions, tables, sequences. SQL and nothing else.

System schemas, engineroom's own and what belongs to an extension are left out. The text of an object changes whenever
something about it does that a test could notice.
"""
# ruff: noqa: S608  # what is put into the statements comes from the catalogue, quoted by the server

from __future__ import annotations

__all__ = ["CATALOGUE_AGE", "OBJECTS", "REFERENCES", "SEQUENCES", "TABLES", "has_unseen_writers"]

FIRST_OF_USERS = 16384
HEAP = 2

_SCHEMAS = """
schemas AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'engineroom')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = pg_namespace.oid
                    AND d.deptype = 'e')
), members AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
relations AS (
  SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_class c JOIN schemas n ON n.oid = c.relnamespace
  WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
)
"""

OBJECTS = f"""
WITH {_SCHEMAS}, found (kind, id, text, remove) AS (
  SELECT 'schema', n.oid::text, n.nspname::text,
    CASE WHEN nspname <> 'public' THEN format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) END FROM schemas n
  UNION ALL SELECT 'relation', r.oid::text,
    concat_ws('|', r.name, relkind, relpersistence, reloptions, relrowsecurity, relforcerowsecurity, relowner, relacl,
      relispartition, pg_get_expr(relpartbound, r.oid),
      CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) WHEN relkind IN ('i', 'I') THEN pg_get_indexdef(r.oid)
      END,
      (SELECT concat_ws(' ', seqtypid, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle) FROM pg_sequence s
       WHERE s.seqrelid = r.oid)),
    CASE relkind WHEN 'r' THEN 'DROP TABLE IF EXISTS ' WHEN 'p' THEN 'DROP TABLE IF EXISTS '
      WHEN 'v' THEN 'DROP VIEW IF EXISTS ' WHEN 'm' THEN 'DROP MATERIALIZED VIEW IF EXISTS '
      WHEN 'S' THEN CASE WHEN NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
        AND d.objid = r.oid AND d.deptype = 'i') THEN 'DROP SEQUENCE IF EXISTS ' END
      WHEN 'f' THEN 'DROP FOREIGN TABLE IF EXISTS '
      WHEN 'i' THEN 'DROP INDEX IF EXISTS ' WHEN 'I' THEN 'DROP INDEX IF EXISTS ' END || r.name || ' CASCADE'
    FROM relations r WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I', 'c') AND NOT (relkind IN ('i', 'I')
      AND EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = r.oid AND k.contype IN ('p', 'u', 'x')))
  UNION ALL SELECT 'columns', r.oid::text,
    string_agg(concat_ws('|', attnum, attname, atttypid, atttypmod, attnotnull, attidentity, attgenerated,
      attcollation, attisdropped, attstorage, pg_get_expr(adbin, adrelid)), ',' ORDER BY attnum), NULL
    FROM relations r JOIN pg_attribute ON attrelid = r.oid AND attnum > 0
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE relkind IN ('r', 'p', 'f', 'c') GROUP BY r.oid
  UNION ALL SELECT 'constraint', k.oid::text,
    concat_ws('|', conname, conrelid, contypid, pg_get_constraintdef(k.oid), convalidated, condeferred),
    CASE WHEN conrelid <> 0 THEN format('ALTER TABLE IF EXISTS %s DROP CONSTRAINT IF EXISTS %I CASCADE',
      conrelid::regclass, conname) END
    FROM pg_constraint k WHERE connamespace IN (SELECT oid FROM schemas)
  UNION ALL SELECT 'trigger', t.oid::text, concat_ws('|', tgenabled, pg_get_triggerdef(t.oid)),
    format('DROP TRIGGER IF EXISTS %I ON %s', tgname, r.name)
    FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT tgisinternal
  UNION ALL SELECT 'rule', w.oid::text, pg_get_ruledef(w.oid), format('DROP RULE IF EXISTS %I ON %s', rulename, r.name)
    FROM pg_rewrite w JOIN relations r ON r.oid = w.ev_class WHERE rulename <> '_RETURN'
  UNION ALL SELECT 'policy', p.oid::text, p::text, format('DROP POLICY IF EXISTS %I ON %s', polname, r.name)
    FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
  UNION ALL SELECT 'function', p.oid::text, md5(p::text),
    format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure)
    FROM pg_proc p WHERE pronamespace IN (SELECT oid FROM schemas)
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
  UNION ALL SELECT 'type', t.oid::text,
    concat_ws('|', typname, typtype, typnotnull, typdefault, typbasetype, (SELECT string_agg(enumlabel, ','
      ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)),
    format('DROP %s IF EXISTS %I.%I CASCADE', CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, n.nspname, typname)
    FROM pg_type t JOIN schemas n ON n.oid = t.typnamespace
    WHERE (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid
        AND relkind = 'c'))
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
  UNION ALL SELECT 'extension', oid::text, concat_ws('|', extname, extversion),
    format('DROP EXTENSION IF EXISTS %I CASCADE', extname) FROM pg_extension
  UNION ALL SELECT 'comment', concat_ws('.', classoid, d.objoid, objsubid), description, NULL
    FROM pg_description d JOIN relations r ON classoid = 'pg_class'::regclass AND objoid = r.oid
)
SELECT kind, id, coalesce(text, ''), remove FROM found
"""
"""Every object: its kind, what tells it from others, its definition, and what removes it where that is simple.

The first part of the union decides its types: of the type ``name`` the definitions would end after 63 letters.
"""

TABLES = f"""
WITH RECURSIVE {_SCHEMAS}, roots (oid, root) AS (
  SELECT oid, oid FROM relations r WHERE relkind IN ('r', 'p') AND relpersistence <> 't'
    AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = r.oid)
  UNION ALL SELECT inhrelid, root FROM pg_inherits JOIN roots ON inhparent = roots.oid
)
SELECT r.name, min(roots.root::bigint), r.relkind, r.relispartition,
  (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
   WHERE attrelid = r.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
  (SELECT string_agg(CASE WHEN atttypid >= 16384 THEN format('%1$I::text AS %1$I', attname) ELSE quote_ident(attname)
     END, ', ' ORDER BY attnum) FROM pg_attribute
   WHERE attrelid = r.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
  (SELECT string_agg(CASE WHEN atttypid >= 16384 THEN format('%I::%s', attname, format_type(atttypid, atttypmod))
     ELSE quote_ident(attname) END, ', ' ORDER BY attnum) FROM pg_attribute
   WHERE attrelid = r.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
  (SELECT string_agg(quote_ident(attname), ', ') FROM pg_index JOIN pg_attribute ON attrelid = indrelid
     AND attnum = ANY (indkey) WHERE indrelid = r.oid AND indisprimary),
  (SELECT string_agg(format('DISABLE TRIGGER %I', tgname), ', ') FROM pg_trigger WHERE tgrelid = r.oid
     AND NOT tgisinternal AND tgname <> 'engineroom' AND tgenabled <> 'D'),
  (SELECT string_agg(format('ENABLE %s TRIGGER %I', CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' END,
     tgname), ', ') FROM pg_trigger WHERE tgrelid = r.oid
     AND NOT tgisinternal AND tgname <> 'engineroom' AND tgenabled <> 'D')
FROM relations r JOIN roots ON roots.oid = r.oid GROUP BY r.oid, r.name, r.relkind, r.relispartition
ORDER BY r.oid
"""
"""Every table that persists: its name, the root of its partitions or heirs, the columns as they are written, copied and
brought back, its primary key, and the words that switch off triggers of the application, and on again."""

SEQUENCES = f"""
WITH {_SCHEMAS}
SELECT r.name, (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_depend d JOIN pg_class c ON c.oid = d.refobjid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid
  AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') LIMIT 1), s.seqstart
FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid WHERE relpersistence <> 't'
"""
"""Every sequence, the table that owns it, and where it starts."""

REFERENCES = """
SELECT DISTINCT format('%I.%I', n.nspname, c.relname), format('%I.%I', m.nspname, p.relname)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace m ON m.oid = p.relnamespace
WHERE contype = 'f' AND conrelid <> confrelid
"""
"""Which table refers to which other one."""

CATALOGUE_AGE = " || ' ' || ".join(
    f"(SELECT concat(count(*), ' ', max(xmin::text::bigint)) FROM {catalogue})"
    for catalogue in (
        *("pg_class", "pg_attribute", "pg_attrdef", "pg_constraint", "pg_trigger", "pg_proc", "pg_type", "pg_enum"),
        *("pg_namespace", "pg_index", "pg_rewrite", "pg_policy", "pg_description", "pg_extension"),
    )
)
"""What changes with every change of the catalogue, for those who may not have an event trigger."""


def has_unseen_writers(*, is_replica: bool) -> str:
    """Return the question whether anything may add rows to a table while others are filled, or hides who wrote a row.

    Args:
        is_replica: Whether only what is made for replicas fires meanwhile.
    """
    fires = "ev_enabled IN ('A', 'R')" if is_replica else "ev_enabled <> 'D'"
    return f"""
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgenabled IN ('A', 'R') AND NOT tgisinternal AND tgname <> 'engineroom')
  OR EXISTS (SELECT FROM pg_rewrite WHERE rulename <> '_RETURN' AND oid >= {FIRST_OF_USERS} AND {fires})
  OR EXISTS (SELECT FROM pg_class WHERE relkind = 'f' OR relkind IN ('r', 'p') AND relam NOT IN (0, {HEAP}))
"""
