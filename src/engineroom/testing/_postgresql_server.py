"""Test databases on PostgreSQL: the lock is an advisory one, the mark is the comment on the database."""
# ruff: noqa: S608  # names are quoted

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from engineroom.testing import _postgresql_objects as catalogue
from engineroom.testing._keeper import sqlstate_of
from engineroom.testing._postgresql_watch import literal
from engineroom.testing._server_databases import MARK, LeftOver
from engineroom.testing.postgresql import PostgreSQLRows, clear_database

if TYPE_CHECKING:
    from engineroom.testing._keeper import Keeper

__all__ = ["PostgreSQLServer"]

LOCK = 0x656E67696E65  # "engine" as a number
ALREADY_THERE = frozenset({"42P04", "23505"})  # duplicate_database; two that were created at the same moment
IN_USE = "55006"
SECONDS_FOR_THE_TEMPLATE = 30.0
SECONDS_BETWEEN_TRIES = 0.1


class PostgreSQLServer:
    """What PostgreSQL does for its databases."""

    def maintenance_names(self) -> tuple[str, ...]:
        """Return the databases that hold no data."""
        return ("postgres", "template1")

    def has_database(self, keeper: Keeper, name: str) -> bool:
        """Tell whether there is a database of this name."""
        return bool(keeper.fetch(f"SELECT 1 FROM pg_database WHERE datname = {literal(name)}"))

    def create(self, keeper: Keeper, name: str) -> None:
        """Create a database; while somebody is connected to the template, PostgreSQL makes no copy of it."""
        deadline = time.monotonic() + SECONDS_FOR_THE_TEMPLATE
        while True:
            try:
                keeper.fetch(f"CREATE DATABASE {_quote(name)}")
            except Exception as error:
                code = sqlstate_of(error)
                if code in ALREADY_THERE:
                    return
                if code != IN_USE or time.monotonic() > deadline:
                    raise
                time.sleep(SECONDS_BETWEEN_TRIES)
            else:
                return

    def may_create(self, keeper: Keeper) -> bool:
        """Tell whether the user may create databases; its own may be dropped without that right."""
        return bool(keeper.scalar("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"))

    def drop(self, keeper: Keeper, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        keeper.fetch(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {literal(name)}")
        try:
            keeper.fetch(f"DROP DATABASE IF EXISTS {_quote(name)} WITH (FORCE)")
        except Exception as error:
            if sqlstate_of(error) != "42601":  # PostgreSQL 12 has no FORCE
                raise
            keeper.fetch(f"DROP DATABASE IF EXISTS {_quote(name)}")

    def hold(self, keeper: Keeper, name: str) -> bool:  # noqa: ARG002  # the lock is one of the keeper's database
        """Hold the keeper's database."""
        return bool(keeper.scalar(f"SELECT pg_try_advisory_lock({LOCK})"))

    def is_marked(self, keeper: Keeper, name: str) -> bool:
        """Tell whether a database carries the mark."""
        return bool(keeper.fetch(f"SELECT 1 FROM ({_MARKED}) m WHERE datname = {literal(name)}"))

    def mark(self, keeper: Keeper, name: str) -> None:
        """Put the mark on a database, and have it wait for no disk."""
        keeper.fetch(f"COMMENT ON DATABASE {_quote(name)} IS {literal(MARK)}")
        with contextlib.suppress(Exception):
            keeper.fetch(f"ALTER DATABASE {_quote(name)} SET synchronous_commit = off")

    def count_objects(self, keeper: Keeper, name: str) -> int:  # noqa: ARG002  # it is the keeper's database
        """Count what the keeper's database holds."""
        found = [kind for kind, _, text, _ in keeper.fetch(catalogue.OBJECTS) if (kind, text) != ("schema", "public")]
        return sum(kind in {"relation", "function", "type", "schema"} for kind in found)

    def describe(self, keeper: Keeper) -> str:
        """Return the version of the server and its extensions, and what decides where unqualified names go."""
        return " ".join(map(str, keeper.fetch(_CIRCUMSTANCES)[0]))

    def take_record(self, keeper: Keeper, name: str) -> str:  # noqa: ARG002  # as above
        """Return the comment on our schema, and remove it; nothing where a trigger told of a write since."""
        try:
            recorded = keeper.fetch(_RECORDED)
            keeper.fetch("COMMENT ON SCHEMA engineroom IS NULL")
        except Exception:  # noqa: BLE001  # the schema is not there, or is not whole
            return ""
        return str(recorded[0][0] or "") if recorded else ""

    def record(self, keeper: Keeper, name: str, text: str) -> None:  # noqa: ARG002  # as above
        """Put a comment on our schema."""
        keeper.fetch(f"COMMENT ON SCHEMA engineroom IS {literal(text)}")

    def list_marked(self, keeper: Keeper) -> list[LeftOver]:
        """Return the databases of the server that carry the mark."""
        return [LeftOver(name, bool(is_held)) for name, is_held in keeper.fetch(f"{_MARKED} ORDER BY 1")]

    def rows(self, keeper: Keeper) -> PostgreSQLRows:
        """Return what keeps and restores the rows."""
        return PostgreSQLRows(keeper)

    def clear(self, keeper: Keeper) -> None:
        """Drop everything that the keeper's database holds."""
        clear_database(keeper.fetch)


_MARKED = f"""
SELECT datname, EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = d.oid AND objsubid = 1
  AND (classid::bigint << 32) + objid::bigint = {LOCK})
FROM pg_database d JOIN pg_shdescription s ON s.objoid = d.oid AND s.classoid = 'pg_database'::regclass
WHERE s.description = {literal(MARK)}
"""
_CIRCUMSTANCES = """
SELECT version(), current_user, rolsuper, current_setting('search_path'), current_setting('default_tablespace'),
  (SELECT concat_ws(' ', encoding, datcollate, datctype) FROM pg_database WHERE datname = current_database()),
  (SELECT string_agg(concat(name, default_version), ' ' ORDER BY name) FROM pg_available_extensions)
FROM pg_roles WHERE rolname = current_user
"""
_RECORDED = """
SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'engineroom'
  AND pg_sequence_last_value('engineroom.written'::regclass) IS NULL
  AND pg_sequence_last_value('engineroom.changed'::regclass) IS NULL
"""


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
