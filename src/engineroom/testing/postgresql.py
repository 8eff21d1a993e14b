"""How PostgreSQL tells which rows were written, and brings them back.

Triggers note it, and one call of a function restores the tables from copies that the keeper's connection holds: one
round trip to the server. What the triggers and functions do stands in :mod:`engineroom.testing._postgresql_watch`.
"""
# ruff: noqa: S608  # what is put into the statements comes from the catalogue, quoted by the server

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engineroom.testing import _postgresql_objects as catalogue
from engineroom.testing import _postgresql_watch as watch
from engineroom.testing._keeper import sqlstate_of
from engineroom.testing._postgresql_watch import literal
from engineroom.testing._server_rows import OBJECTS, BusyError, Object

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from engineroom.testing._keeper import Keeper

__all__ = ["PostgreSQLRows"]

LOCK_NOT_AVAILABLE = "55P03"
PART_OF_ANOTHER = frozenset({"2BP01", "42P16"})  # dependent_objects_still_exist, invalid_table_definition
SESSIONS = """
SELECT pid, left(query, 100) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND
"""


@dataclass(frozen=True)
class _Table:
    """A table as the catalogue shows it."""

    name: str
    root: int
    is_root: bool
    is_partitioned: bool
    columns: str
    as_copied: str
    as_refilled: str
    key: str | None
    without_triggers: str | None
    with_triggers: str | None

    @property
    def source(self) -> str:
        """What stands for its own rows: those of heirs are theirs, those of partitions are its own."""
        return self.name if self.is_partitioned else f"ONLY {self.name}"


class PostgreSQLRows:
    """The rows of one database.

    Args:
        keeper: The connection that holds it.
    """

    def __init__(self, keeper: Keeper) -> None:
        """Prepare the keeper's connection."""
        self._keeper = keeper
        self._number = 0
        self._tables: dict[str, _Table] = {}
        self._seconds = 0.0
        self._may_trim = False
        self._is_superuser = bool(keeper.scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        keeper.fetch("SET synchronous_commit = off")
        keeper.fetch("SET client_min_messages = error")
        if self._is_superuser:
            keeper.fetch("SET session_replication_role = replica")  # no foreign key, no trigger of the application

    def install(self) -> None:
        """Watch every table; a table that was new is watched from now on."""
        if not self._keeper.fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'engineroom'"):
            self._keeper.fetch(watch.INSTALL)
            if self._is_superuser:
                self._keeper.fetch(watch.EVENT_TRIGGERS)
        if not self._keeper.fetch("SELECT 1 FROM pg_class WHERE oid = to_regclass('pg_temp.tables')"):
            self._keeper.fetch(watch.KEEPER)
        self._keeper.fetch("DELETE FROM pg_temp.tables WHERE to_regclass(name) IS NULL")
        self._keeper.fetch("DELETE FROM pg_temp.sequences WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = seq)")
        self._may_trim = not self._keeper.scalar(catalogue.has_unseen_writers(is_replica=self._is_superuser))
        rows = self._keeper.fetch(catalogue.TABLES)
        self._tables = {
            # A partition has no rows of its own: they are those of the partitioned table.
            name: _Table(name, root, not is_partition, kind in {"p", b"p"}, *rest)
            for name, root, kind, is_partition, *rest in rows
        }
        if rows:
            self._keeper.fetch(watch.watch_tables([(name, root) for name, root, *_ in rows]))
        self._tables = {name: table for name, table in self._tables.items() if table.is_root}
        self._fill_references()

    def tables(self) -> list[str]:
        """Return the names of all tables that have rows."""
        return list(self._tables)

    def objects(self) -> dict[str, Object]:
        """Return everything that the database holds besides rows."""
        return {f"{kind} {key}": Object(text, removal) for kind, key, text, removal in self._fetch(catalogue.OBJECTS)}

    def written(self) -> set[str]:
        """Return what was written."""
        return {name for (name,) in self._fetch("SELECT pg_temp.find_written()")}

    def restore(self, *, is_locking: bool) -> set[str]:
        """Bring back the rows of what was written."""
        call = f"SELECT pg_temp.restore({literal(self._is_superuser)}, {literal(is_locking)})"
        outcome = self._fetch(call)[0][0]
        return {OBJECTS} if outcome == OBJECTS else set()

    def forget(self, names: Iterable[str]) -> None:
        """Take what was written to be the baseline."""
        forgotten = set(names)
        listed = ", ".join(map(literal, forgotten)) or "NULL"
        self._fetch(f"SELECT setval(flag, 1, false) FROM pg_temp.tables WHERE name IN ({listed})")
        if OBJECTS in forgotten:
            self._fetch("SELECT setval('engineroom.changed', 1, false)")
            if not self._is_superuser:
                self._fetch("DELETE FROM pg_temp.known")
                self._fetch("INSERT INTO pg_temp.known SELECT pg_temp.age()")
        if not self._fetch("SELECT 1 FROM pg_temp.tables WHERE pg_sequence_last_value(flag) IS NOT NULL LIMIT 1"):
            self._fetch("SELECT setval('engineroom.written', 1, false)")

    def note(self, names: Iterable[str]) -> None:
        """Have these restored the next time; a sequence goes with the table that owns it, and any other at once."""
        listed = ", ".join(map(literal, names))
        if listed:
            self._fetch(f"UPDATE pg_temp.tables SET born = NULL WHERE name IN ({listed})")
            self._fetch(
                f"SELECT nextval(flag), nextval('engineroom.written') FROM pg_temp.tables WHERE name IN ({listed}) OR "
                f"name IN (SELECT owner FROM pg_temp.sequences WHERE name IN ({listed}))"
            )
            self._fetch(
                "SELECT setval(seq, value, is_called) FROM pg_temp.sequences WHERE owner IS NULL "
                f"AND EXISTS (SELECT FROM pg_class WHERE oid = seq) AND name IN ({listed})"
            )

    def copy(self, names: Iterable[str]) -> dict[str, str | None]:
        """Copy the rows of tables."""
        copies: dict[str, str | None] = dict.fromkeys(names)
        for table in self._filled([self._tables[name] for name in copies]):
            copies[table.name] = self._make_copy(f"SELECT {table.as_copied} FROM {table.source}")
        return copies

    def merge(self, name: str, onto: str | None, old: str | None, new: str | None) -> str | None:
        """Return a copy with the changes between two others; rows are told apart by their primary key, if any."""
        table = self._tables.get(name)
        if table is None or (onto, new) == (None, None):
            return new
        if old is None and onto is None:
            return new
        model = onto or new or old
        rows = {
            role: f"SELECT t::text AS whole, t.* FROM pg_temp.{copy} t"
            if copy
            else f"SELECT t::text AS whole, t.* FROM pg_temp.{model} t WHERE false"
            for role, copy in (("onto", onto), ("old", old), ("new", new))
        }
        with_rows = ", ".join(f"{role}_rows AS ({query})" for role, query in rows.items())
        key = f"({table.key})" if table.key else "(whole)"
        keys = table.key or "whole"
        return self._make_copy(f"""
            WITH {with_rows},
            came AS (SELECT * FROM new_rows WHERE whole NOT IN (SELECT whole FROM old_rows)),
            went AS (SELECT * FROM old_rows WHERE {key} NOT IN (SELECT {keys} FROM new_rows))
            SELECT {table.columns} FROM onto_rows WHERE {key} NOT IN (SELECT {keys} FROM came)
              AND {key} NOT IN (SELECT {keys} FROM went)
            UNION ALL SELECT {table.columns} FROM came
        """)

    def discard(self, copies: Iterable[str | None]) -> None:
        """Drop copies."""
        for copy in filter(None, copies):
            self._fetch(f"DROP TABLE pg_temp.{copy}")

    def counters(self) -> dict[str, tuple[object, ...]]:
        """Return the owner and the state of each sequence."""
        listed = self._fetch(catalogue.SEQUENCES)
        if not listed:
            return {}
        values = " UNION ALL ".join(f"SELECT {literal(name)}, last_value, is_called FROM {name}" for name, *_ in listed)
        states = {name: (value, is_called) for name, value, is_called in self._fetch(values)}
        return {name: (owner, *states[name]) for name, owner, _ in listed}

    def publish(self, copies: Mapping[str, str | None], counters: Mapping[str, tuple[object, ...]]) -> None:
        """Take these to be what is brought back."""
        ranks = self._rank()
        lines = [self._line(self._tables[name], copy, ranks) for name, copy in copies.items() if name in self._tables]
        if lines:
            names = ", ".join(literal(name) for name in copies)
            self._fetch(f"DELETE FROM pg_temp.tables WHERE name IN ({names})")
            self._fetch(f"INSERT INTO pg_temp.tables VALUES {', '.join(lines)}")
        if counters:
            names = ", ".join(map(literal, counters))
            states = ", ".join(
                f"({literal(name)}, {', '.join(map(literal, state))})" for name, state in counters.items()
            )
            self._fetch(f"DELETE FROM pg_temp.sequences WHERE name IN ({names})")
            # One that a test dropped is published once more when it is there again.
            self._fetch(
                f"INSERT INTO pg_temp.sequences SELECT to_regclass(name), * FROM (VALUES {states}) "
                "AS v (name, owner, value, is_called) WHERE to_regclass(name) IS NOT NULL"
            )

    def contents(self) -> dict[str, str]:
        """Return for each table with rows what they are known by."""
        questions = [
            f"SELECT {literal(each.name)}, (SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {each.source} t)"
            for each in self._filled(self._tables.values())
        ]
        return dict(self._fetch(" UNION ALL ".join(questions))) if questions else {}

    def writers(self) -> dict[int, str]:
        """Return the sessions in a transaction that writes."""
        return dict(self._fetch(f"{SESSIONS} backend_xid IS NOT NULL"))

    def sessions(self) -> dict[int, str]:
        """Return the sessions in a transaction."""
        return dict(self._fetch(f"{SESSIONS} xact_start IS NOT NULL"))

    def untold(self) -> set[str]:
        """Return nothing: triggers tell of every table."""
        return set()

    def wait_at_most(self, seconds: float) -> None:
        """Set how long a statement waits for a lock."""
        if seconds != self._seconds:
            self._fetch(f"SET lock_timeout = {max(1, int(seconds * 1000))}")
            self._seconds = seconds

    def end(self, session: int) -> None:
        """End a session."""
        self._fetch(f"SELECT pg_terminate_backend({session}, 1000)")

    def remove(self, objects: Iterable[Object]) -> None:
        """Drop these objects, as far as each can be dropped alone; tables go before what belongs to them."""
        removals = [each.removal for each in objects if each.removal]
        for removal in sorted(removals, key=lambda text: not text.startswith(("DROP SCHEMA", "DROP TABLE"))):
            try:
                self._fetch(removal)
            except Exception as error:
                # A part of something else, as an index of a partition is: it went with that, or there is a build.
                if sqlstate_of(error) not in PART_OF_ANOTHER:
                    raise

    def clear(self) -> None:
        """Drop everything but extensions, and what belongs to them."""
        clear_database(self._fetch)
        for name in ("tables", "sequences", "refs"):
            self._fetch(f"DELETE FROM pg_temp.{name}")

    def _fetch(self, statement: str) -> list[tuple[Any, ...]]:
        try:
            return self._keeper.fetch(statement)
        except Exception as error:
            if sqlstate_of(error) == LOCK_NOT_AVAILABLE:
                raise BusyError from error
            raise

    def _filled(self, tables: Collection[_Table]) -> list[_Table]:
        """Return those of some tables that have rows."""
        questions = [f"SELECT {literal(each.name)} WHERE EXISTS (SELECT FROM {each.source})" for each in tables]
        found = self._fetch(" UNION ALL ".join(questions)) if questions else []
        return [self._tables[name] for (name,) in found]

    def _make_copy(self, query: str) -> str:
        self._number += 1
        name = f"copy_{self._number}"
        self._fetch(f"CREATE TEMP TABLE {name} AS {query}")
        return name

    def _line(self, table: _Table, copy: str | None, ranks: Mapping[str, int]) -> str:
        refill = f"INSERT INTO {table.name} ({table.columns}) OVERRIDING SYSTEM VALUE SELECT {table.as_refilled} FROM "
        switches = None if self._is_superuser else table.without_triggers
        trim = f"DELETE FROM {table.source} WHERE xmin <> $1; RETURN (SELECT count(*) = $2 FROM {table.source});"
        values = (
            *(table.name, table.root),
            f"engineroom.table_{table.root}",
            ranks.get(table.name, 0),
            f"ALTER TABLE {table.name} {switches}" if switches else None,
            f"DELETE FROM {table.source}",
            f"{refill}pg_temp.{copy}" if copy else None,
            f"ALTER TABLE {table.name} {table.with_triggers}" if switches else None,
            f"BEGIN {trim} END" if self._may_trim else None,
            *(None, None),  # who filled it, and with how many rows: nobody yet
        )
        return f"({', '.join(map(literal, values))})"

    def _fill_references(self) -> None:
        self._fetch("DELETE FROM pg_temp.refs")
        self._references = [(child, parent) for child, parent in self._fetch(catalogue.REFERENCES)]
        if self._references:
            lines = ", ".join(f"({literal(child)}, {literal(parent)})" for child, parent in self._references)
            self._fetch(f"INSERT INTO pg_temp.refs VALUES {lines}")

    def _rank(self) -> dict[str, int]:
        """Return for each table how many others must be filled before it, at most."""
        ranks = dict.fromkeys(self._tables, 0)
        for _ in ranks:
            moved = False
            for child, parent in self._references:
                if ranks.get(child, 0) <= ranks.get(parent, 0) < len(ranks):
                    ranks[child] = ranks.get(parent, 0) + 1
                    moved = True
            if not moved:
                break
        return ranks


def clear_database(fetch: Callable[[str], list[tuple[Any, ...]]]) -> None:
    """Drop everything that the database holds, but for extensions and what belongs to them."""
    with contextlib.suppress(Exception):  # not there, or not ours to drop
        fetch("DROP EVENT TRIGGER IF EXISTS engineroom_end")
        fetch("DROP EVENT TRIGGER IF EXISTS engineroom_drop")
    fetch("DROP SCHEMA IF EXISTS engineroom CASCADE")
    found = fetch(catalogue.OBJECTS)
    order = ("relation", "function", "type", "schema")
    for kind in order:
        for each, _, _, removal in found:
            if each == kind and removal and not removal.startswith("DROP INDEX"):
                fetch(removal)
