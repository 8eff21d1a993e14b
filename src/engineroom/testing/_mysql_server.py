"""Test databases on MariaDB and MySQL: the lock is one of GET_LOCK, the mark is the comment on the database.

MySQL has no comments on databases; there the mark is a table in the database beside it.
"""
# ruff: noqa: S608  # names are quoted

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from engineroom.testing import _mysql_objects as catalogue
from engineroom.testing._mysql_objects import companion_of, literal, quote
from engineroom.testing._server_databases import MARK, LeftOver
from engineroom.testing.mysql import MySQLRows, clear_database

if TYPE_CHECKING:
    from engineroom.testing._keeper import Keeper

__all__ = ["MySQLServer"]

COLUMN = "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_NAME = 'SCHEMATA' AND COLUMN_NAME = 'SCHEMA_COMMENT'"
COMPANION_MARK = "engineroom_mark"


class MySQLServer:
    """What MariaDB and MySQL do for their databases."""

    def maintenance_names(self) -> tuple[str, ...]:
        """Return the databases that hold no data: none is needed."""
        return ("",)

    def has_database(self, keeper: Keeper, name: str) -> bool:
        """Tell whether there is a database of this name."""
        return bool(keeper.fetch(f"SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {literal(name)}"))

    def create(self, keeper: Keeper, name: str) -> None:
        """Create a database."""
        keeper.fetch(f"CREATE DATABASE IF NOT EXISTS {quote(name)}")

    def may_create(self, keeper: Keeper) -> bool:  # noqa: ARG002  # as above
        """Tell that whoever may drop a database has what it takes to create it: rights outlive a database."""
        return True

    def drop(self, keeper: Keeper, name: str) -> None:
        """Drop a database with the one beside it, and end the sessions that are connected to it."""
        keeper.fetch("SET SESSION lock_wait_timeout = 5")
        query = "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND DB = "
        for (session,) in keeper.fetch(query + literal(name)):
            with contextlib.suppress(Exception):  # it is gone meanwhile
                keeper.fetch(f"KILL {session}")
        keeper.fetch(f"DROP DATABASE IF EXISTS {quote(name)}")
        keeper.fetch(f"DROP DATABASE IF EXISTS {quote(companion_of(name))}")

    def hold(self, keeper: Keeper, name: str) -> bool:
        """Hold a database until the keeper's connection closes."""
        keeper.fetch("SET SESSION wait_timeout = 604800")
        return bool(keeper.scalar(f"SELECT GET_LOCK({_lock(name)}, 0)"))

    def is_marked(self, keeper: Keeper, name: str) -> bool:
        """Tell whether a database carries the mark."""
        return any(each.name == name for each in self.list_marked(keeper))

    def mark(self, keeper: Keeper, name: str) -> None:
        """Put the mark on a database."""
        if self._has_comments(keeper):
            keeper.fetch(f"ALTER DATABASE {quote(name)} COMMENT = {literal(MARK)}")
            return
        keeper.fetch(f"CREATE DATABASE IF NOT EXISTS {quote(companion_of(name))}")
        keeper.fetch(f"CREATE TABLE IF NOT EXISTS {quote(companion_of(name))}.{COMPANION_MARK} (marked INT)")

    def count_objects(self, keeper: Keeper, name: str) -> int:
        """Count what a database holds."""
        return sum(bool(what) for *_, what in keeper.fetch(catalogue.objects(name)))

    def describe(self, keeper: Keeper) -> str:
        """Return the version of the server, and what decides how tables are made."""
        return " ".join(map(str, keeper.fetch(_CIRCUMSTANCES)[0]))

    def take_record(self, keeper: Keeper, name: str) -> str:
        """Return what the table in the database beside it holds, and drop that table."""
        table = _table_of_record(name)
        try:
            recorded = keeper.fetch(f"SELECT record FROM {table}")
            keeper.fetch(f"DROP TABLE {table}")
        except Exception:  # noqa: BLE001  # it is not there
            return ""
        return str(recorded[0][0]) if recorded else ""

    def record(self, keeper: Keeper, name: str, text: str) -> None:
        """Make a table in the database beside it."""
        keeper.fetch(f"CREATE TABLE {_table_of_record(name)} AS SELECT {literal(text)} AS record")

    def list_marked(self, keeper: Keeper) -> list[LeftOver]:
        """Return the databases of the server that carry the mark."""
        if self._has_comments(keeper):
            query = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_COMMENT = {literal(MARK)}"
        else:
            query = (
                "SELECT s.SCHEMA_NAME FROM information_schema.SCHEMATA s JOIN information_schema.TABLES t "
                f"ON t.TABLE_NAME = '{COMPANION_MARK}' AND t.TABLE_SCHEMA = CONCAT(s.SCHEMA_NAME, '__engineroom')"
            )
        names = sorted(str(name) for (name,) in keeper.fetch(query))
        return [LeftOver(name, keeper.scalar(f"SELECT IS_USED_LOCK({_lock(name)})") is not None) for name in names]

    def rows(self, keeper: Keeper) -> MySQLRows:
        """Return what keeps and restores the rows."""
        return MySQLRows(keeper)

    def clear(self, keeper: Keeper) -> None:
        """Drop everything that the keeper's database holds."""
        clear_database(keeper.fetch, keeper.place.name)

    def _has_comments(self, keeper: Keeper) -> bool:
        return bool(keeper.fetch(COLUMN))


_CIRCUMSTANCES = (
    "SELECT @@version, @@version_comment, CURRENT_USER(), @@sql_mode, @@collation_database, @@default_storage_engine, "
    "@@lower_case_table_names, @@explicit_defaults_for_timestamp"
)


def _table_of_record(name: str) -> str:
    return f"{quote(companion_of(name))}.engineroom_record"


def _lock(name: str) -> str:
    """Return the name of a lock, which may have 64 letters."""
    return literal(f"engineroom {hashlib.sha256(name.encode()).hexdigest()[:32]}")
