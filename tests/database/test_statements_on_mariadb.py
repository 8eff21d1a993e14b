"""The table of MariaDB texts, proven: each row runs on a real server, and the catalogue tells what was lost."""

from __future__ import annotations

import os
import tomllib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from engineroom._statements import judge_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, PoolProxiedConnection

TABLE = tomllib.loads((Path(__file__).parents[1] / "statement_rows" / "mariadb.toml").read_text("utf-8"))
NAME = f"test_engineroom_statements_{os.getpid()}"
OTHER = f"{NAME}_other"
PLACEHOLDERS = {"otherdb": OTHER, "someuser": f"{NAME}_user"}

# What is there to be lost, one line each. Indexes, constraints and defaults are no losses, nor is a partition whose
# rows go to another, nor a new name of an account or event. "kept" lines may change without a loss, but the next row
# needs them as they were. The schema is compared for equality: only that keeps the server from opening all tables.
OF_ONE_DATABASE = """
SELECT CONCAT('table ', table_schema, '.', table_name, ' ', table_type) FROM information_schema.tables
       WHERE table_schema = '{0}'
UNION ALL SELECT CONCAT('column ', table_schema, '.', table_name, '.', LOWER(column_name))
       FROM information_schema.columns WHERE table_schema = '{0}'
UNION ALL SELECT CONCAT('trigger ', trigger_schema, '.', trigger_name)
       FROM information_schema.triggers WHERE trigger_schema = '{0}'
UNION ALL SELECT CONCAT(LOWER(type), ' ', db, '.', name) FROM mysql.proc WHERE db = '{0}'
UNION ALL SELECT CONCAT('event of ', db, ' since ', created) FROM mysql.event WHERE db = '{0}'
UNION ALL SELECT CONCAT('kept ', table_schema, '.', table_name, ' ', index_name)
       FROM information_schema.statistics WHERE table_schema = '{0}'
UNION ALL SELECT CONCAT('kept ', table_schema, '.', table_name, ' ', constraint_name)
       FROM information_schema.table_constraints WHERE table_schema = '{0}'
UNION ALL SELECT CONCAT_WS(' ', 'kept', table_name, column_name, column_type, column_default, is_nullable)
       FROM information_schema.columns WHERE table_schema = '{0}'
UNION ALL SELECT CONCAT_WS(' ', 'kept', table_name, engine, table_collation, table_comment, create_options)
       FROM information_schema.tables WHERE table_schema = '{0}' AND table_type <> 'SEQUENCE'
UNION ALL SELECT CONCAT_WS(' ', 'kept', table_name, partition_name)
       FROM information_schema.partitions WHERE table_schema = '{0}'
UNION ALL SELECT CONCAT_WS(' ', 'kept', table_name, view_definition)
       FROM information_schema.views WHERE table_schema = '{0}'
UNION ALL SELECT CONCAT_WS(' ', 'kept', name, body) FROM mysql.proc WHERE db = '{0}'
UNION ALL SELECT CONCAT_WS(' ', 'kept', name, body) FROM mysql.event WHERE db = '{0}'
"""
CATALOGUE = f"""
{OF_ONE_DATABASE.format(NAME)} UNION ALL {OF_ONE_DATABASE.format(OTHER)}
UNION ALL SELECT CONCAT('database ', schema_name) FROM information_schema.schemata WHERE schema_name LIKE '{NAME}%'
UNION ALL SELECT CONCAT_WS(' ', 'kept', schema_name, default_collation_name, schema_comment)
       FROM information_schema.schemata WHERE schema_name LIKE '{NAME}%'
UNION ALL SELECT CONCAT('account ', LEFT(user, {len(NAME) + 5})) FROM mysql.global_priv WHERE user LIKE '{NAME}%'
UNION ALL SELECT CONCAT('server ', server_name) FROM mysql.servers WHERE server_name LIKE '{NAME}%'
"""
# ruff: noqa: S608 - the only names put in are our own

MULTI_STATEMENTS = 1 << 16


class World:
    """Two scratch databases that are the same before each row."""

    def __init__(self, server: URL) -> None:
        self._server = server
        self._witness: PoolProxiedConnection | None = None
        self._clean: set[str] = set()

    def connect(self, charset: str = "utf8mb4", database: str | None = NAME) -> PoolProxiedConnection:
        options = {"autocommit": True, "client_flag": MULTI_STATEMENTS, "charset": charset, "ssl_disabled": True}
        engine = create_engine(self._server.set(database=database), poolclass=NullPool, connect_args=options)
        return engine.raw_connection()

    def lost(self, row: dict[str, Any]) -> tuple[set[str], str]:
        """Run a row; return what it lost and what the server said against it. Put right what the row left behind."""
        if self._witness is None:
            self.build()
            self._witness = self.connect()
            self._clean = inventory(self._witness)
        after: set[str] = set()
        try:
            with closing(self.connect(row.get("charset", "utf8mb4"))) as session:
                run(session, f"SET sql_mode = '{row.get('mode', 'STRICT_TRANS_TABLES')}'")
                for statement in row.get("setup", ()):
                    run(session, fill(statement))
                before = inventory(self._witness) if row.get("setup") else self._clean
                try:
                    run(session, fill(row["sql"]))
                    complaint = ""
                except driver_error(session) as error:
                    complaint = str(error)
            after = inventory(self._witness)
            return {line for line in before - after if not line.startswith("kept ")}, complaint
        finally:
            if after != self._clean:
                self._witness.close()
                self._witness = None

    def build(self) -> None:
        self.tear_down()
        with closing(self.connect(database=None)) as connection:
            for name in (OTHER, NAME):
                run(connection, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
                run(connection, f"USE {name}")
            for statement in TABLE["world"]:
                run(connection, fill(statement))

    def tear_down(self) -> None:
        if self._witness is not None:
            self._witness.close()
        with closing(self.connect(database=None)) as connection:
            for name in (OTHER, NAME):
                run(connection, f"DROP DATABASE IF EXISTS {name}")
            for name in rows(connection, f"SELECT user FROM mysql.global_priv WHERE user LIKE '{NAME}%'"):
                run(connection, f"DROP ROLE IF EXISTS {name}")
                run(connection, f"DROP USER IF EXISTS {name}@localhost, {name}@'%'")
            run(connection, f"DROP SERVER IF EXISTS {NAME}_user")


def fill(sql: str) -> str:
    for placeholder, name in PLACEHOLDERS.items():
        sql = sql.replace(placeholder, name)
    return sql


def run(connection: PoolProxiedConnection, sql: str) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        while cursor.nextset():
            pass


def driver_error(connection: PoolProxiedConnection) -> type[Exception]:
    driver: Any = connection.driver_connection
    error: type[Exception] = driver.Error
    return error


def rows(connection: PoolProxiedConnection, sql: str) -> list[str]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        # Where a definition is part of a line, the line is bytes.
        return [line.decode() if isinstance(line, bytes) else line for (line,) in cursor.fetchall()]


def inventory(connection: PoolProxiedConnection) -> set[str]:
    found = set(rows(connection, CATALOGUE))
    for line in sorted(found):
        kind, _, name = line.partition(" ")
        name, _, kind = name.partition(" ") if kind == "table" else ("", "", "")
        quoted = ".".join(f"`{part.replace('`', '``')}`" for part in name.split("."))
        if kind in {"BASE TABLE", "SYSTEM VERSIONED"}:
            everything = " FOR SYSTEM_TIME ALL" if kind == "SYSTEM VERSIONED" else ""
            count = count_rows(connection, quoted + everything)
            found |= {f"row {number} of {name}" for number in range(count)}
        elif kind == "SEQUENCE":
            (value,) = rows(connection, f"SELECT next_not_cached_value FROM {quoted}")
            found |= {f"number {number} of {name}" for number in range(1, int(value) // 1000 + 2)}
    return found


def count_rows(connection: PoolProxiedConnection, table: str) -> int:
    try:
        (count,) = rows(connection, f"SELECT COUNT(*) FROM {table}")
    except driver_error(connection):  # its file is gone
        return 0
    return int(count)


@pytest.fixture(scope="module")
def world(mariadb_url: URL) -> Iterator[World]:
    built = World(mariadb_url)
    yield built
    built.tear_down()


@pytest.mark.parametrize("row", [pytest.param(row, id=row["is"]) for row in TABLE["rows"]])
def test_what_is_judged_to_be_lost_is_lost_and_nothing_else(world: World, row: dict[str, Any]) -> None:
    judged = judge_text(fill(row["sql"]), "mariadb")
    assert [str(loss) for loss in judged] == [fill(loss) for loss in row.get("destroys", [])]
    lost, complaint = world.lost(row)
    assert bool(complaint) == row.get("fails", False), complaint
    if row.get("rows"):
        lost = {line for line in lost if not line.startswith("row ")}
    assert bool(lost) == (bool(judged) and "keeps" not in row), lost
    places = {loss.database for loss in judged} - {None}
    assert all(any(place in line for line in lost) for place in places if place and "keeps" not in row)
