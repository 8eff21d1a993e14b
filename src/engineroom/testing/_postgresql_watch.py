"""What engineroom puts into a PostgreSQL test database to learn who wrote, and how it brings rows back. SQL text only.

A statement trigger on each table advances a sequence, which takes no lock, is seen by other connections at once, and
stays advanced after a rollback. All of it lies in the schema ``engineroom``, which holds no table; what belongs to the
baseline lies in the temporary schema of the keeper, and goes with its connection.

A table that was filled once is known by the transaction that did it: as long as it holds as many rows of that one, none
of them was changed, and what a test added is all that has to go. Else it is emptied and filled once more.
"""
# ruff: noqa: S608  # what is put into the statements comes from the catalogue, quoted by the server

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING

from engineroom.testing._postgresql_objects import CATALOGUE_AGE

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EVENT_TRIGGERS", "INSTALL", "KEEPER", "literal", "watch_tables"]

INSTALL = """
DO $engineroom$
BEGIN
  CREATE SCHEMA engineroom;
  GRANT USAGE ON SCHEMA engineroom TO PUBLIC;
  ALTER DEFAULT PRIVILEGES IN SCHEMA engineroom GRANT USAGE, UPDATE ON SEQUENCES TO PUBLIC;
  CREATE SEQUENCE engineroom.written;
  CREATE SEQUENCE engineroom.changed;
  CREATE FUNCTION engineroom.note() RETURNS trigger LANGUAGE plpgsql AS $body$
  BEGIN
    PERFORM nextval(TG_ARGV[0]::oid::regclass), nextval(TG_ARGV[1]::oid::regclass);
    RETURN NULL;
  END $body$;
END $engineroom$
"""

EVENT_TRIGGERS = """
DO $engineroom$
BEGIN
  CREATE FUNCTION engineroom.note_change() RETURNS event_trigger LANGUAGE plpgsql AS $body$
  BEGIN
    IF tg_event = 'sql_drop' THEN
      IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary) THEN
        PERFORM nextval('engineroom.changed');
      END IF;
    ELSIF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE schema_name IS DISTINCT FROM 'pg_temp') THEN
      PERFORM nextval('engineroom.changed');
    END IF;
  END $body$;
  DROP EVENT TRIGGER IF EXISTS engineroom_end;
  DROP EVENT TRIGGER IF EXISTS engineroom_drop;
  CREATE EVENT TRIGGER engineroom_end ON ddl_command_end EXECUTE FUNCTION engineroom.note_change();
  CREATE EVENT TRIGGER engineroom_drop ON sql_drop EXECUTE FUNCTION engineroom.note_change();
END $engineroom$
"""
"""Only a superuser may create these. They do not notice what the keeper does: it is in the role of a replica."""

KEEPER = f"""
DO $engineroom$
BEGIN
  CREATE TEMP TABLE tables (
    name text PRIMARY KEY, root bigint, flag regclass, rank int, before text, remove text, refill text, after text,
    trim text, born xid, size bigint
  );
  CREATE TEMP TABLE sequences (seq regclass PRIMARY KEY, name text, owner text, value bigint, is_called bool);
  CREATE TEMP TABLE refs (child text, parent text);
  CREATE TEMP TABLE known (age text);
  CREATE FUNCTION pg_temp.age() RETURNS text LANGUAGE sql AS $body$ SELECT {CATALOGUE_AGE} $body$;
  CREATE FUNCTION pg_temp.find_written() RETURNS SETOF text LANGUAGE plpgsql AS $body$
  BEGIN
    IF pg_sequence_last_value('engineroom.written'::regclass) IS NOT NULL THEN
      RETURN QUERY SELECT name FROM pg_temp.tables WHERE pg_sequence_last_value(flag) IS NOT NULL;
    END IF;
    IF pg_sequence_last_value('engineroom.changed'::regclass) IS NOT NULL
      OR (CASE WHEN EXISTS (SELECT FROM pg_temp.known) THEN (SELECT age FROM pg_temp.known) <> pg_temp.age() END)
    THEN
      RETURN NEXT 'objects';
      RETURN;  -- a sequence may be gone
    END IF;
    RETURN QUERY SELECT 'sequence ' || s.name FROM pg_temp.sequences s
      WHERE pg_sequence_last_value(seq) IS DISTINCT FROM CASE WHEN is_called THEN value END;
  END $body$;
  CREATE FUNCTION pg_temp.restore(is_replica bool, is_locking bool) RETURNS text LANGUAGE plpgsql AS $body$
  DECLARE
    written text[] := ARRAY(SELECT pg_temp.find_written());
    names text;
    trims text;
    is_whole bool;
    filled bigint;
    line record;
  BEGIN
    IF written = '{{}}' THEN RETURN 'clean'; END IF;
    IF 'objects' = ANY (written) THEN RETURN 'objects'; END IF;
    IF NOT is_replica THEN
      written := ARRAY(WITH RECURSIVE more (name) AS (SELECT unnest(written) UNION SELECT child FROM pg_temp.refs
        JOIN more ON parent = more.name) SELECT name FROM more);
    END IF;
    SELECT string_agg(name, ', ' ORDER BY rank), bool_and(born IS NOT NULL),
      string_agg(format('pg_temp.trim_%s(%L, %s)', name::regclass::oid, born, size), ' AND ' ORDER BY rank DESC)
      INTO names, is_whole, trims FROM pg_temp.tables WHERE name = ANY (written);
    IF is_locking AND names IS NOT NULL THEN EXECUTE 'LOCK TABLE ' || names || ' IN SHARE ROW EXCLUSIVE MODE'; END IF;
    IF NOT is_replica THEN
      FOR line IN SELECT before FROM pg_temp.tables WHERE name = ANY (written) AND before IS NOT NULL LOOP
        EXECUTE line.before;
      END LOOP;
    END IF;
    IF is_whole THEN EXECUTE 'SELECT ' || trims INTO is_whole; END IF;
    IF NOT is_whole THEN
      FOR line IN SELECT remove FROM pg_temp.tables WHERE name = ANY (written) ORDER BY rank DESC LOOP
        EXECUTE line.remove;
      END LOOP;
      FOR line IN SELECT * FROM pg_temp.tables WHERE name = ANY (written) ORDER BY rank LOOP
        filled := 0;
        IF line.refill IS NOT NULL THEN EXECUTE line.refill; GET DIAGNOSTICS filled = ROW_COUNT; END IF;
        IF line.born IS NULL AND line.trim IS NOT NULL THEN
          EXECUTE format('CREATE OR REPLACE FUNCTION pg_temp.trim_%s(xid, bigint) RETURNS bool LANGUAGE plpgsql AS %L',
            line.name::regclass::oid, line.trim);
        END IF;
        UPDATE pg_temp.tables SET size = filled, born = CASE WHEN trim IS NOT NULL
          THEN (txid_current() % 4294967296)::text::xid END WHERE name = line.name;
      END LOOP;
    END IF;
    IF NOT is_replica THEN
      FOR line IN SELECT after FROM pg_temp.tables WHERE name = ANY (written) AND after IS NOT NULL LOOP
        EXECUTE line.after;
      END LOOP;
    END IF;
    PERFORM setval(flag, 1, false) FROM pg_temp.tables WHERE name = ANY (written);
    PERFORM setval(seq, value, is_called) FROM pg_temp.sequences
      WHERE owner = ANY (written) OR 'sequence ' || name = ANY (written);
    PERFORM setval('engineroom.written', 1, false);
    IF NOT is_replica THEN UPDATE pg_temp.known SET age = pg_temp.age() WHERE age IS NOT NULL; END IF;
    RETURN 'restored';
  END $body$;
END $engineroom$
"""


def literal(text: object) -> str:
    """Return a text, a number or nothing as SQL.

    Example:
        >>> literal("it's"), literal(None), literal(True)
        ("'it''s'", 'NULL', 'true')
    """
    if text is None:
        return "NULL"
    if isinstance(text, bool):
        return str(text).lower()
    return str(text) if isinstance(text, int) else "'" + str(text).replace("'", "''") + "'"


def watch_tables(tables: Iterable[tuple[str, int]]) -> str:
    """Return the statement that has writes to tables noted: their names, and the roots of their partitions or heirs."""
    return "DO $engineroom$\nBEGIN\n" + "".join(starmap(_watch_table, tables)) + "END $engineroom$"


def _watch_table(name: str, root: int) -> str:
    flag = f"engineroom.table_{root}"
    return f"""
  CREATE SEQUENCE IF NOT EXISTS {flag};
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = {literal(name)}::regclass AND tgname = 'engineroom') THEN
    EXECUTE format({literal(_TRIGGER.format(name))},
      {literal(flag)}::regclass::oid, 'engineroom.written'::regclass::oid);
    ALTER TABLE {name} ENABLE ALWAYS TRIGGER engineroom;
  END IF;
"""


_TRIGGER = """
CREATE TRIGGER engineroom BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {}
FOR EACH STATEMENT EXECUTE FUNCTION engineroom.note(%L, %L)
"""
