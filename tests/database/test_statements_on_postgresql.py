"""The table of PostgreSQL texts, proven: each row runs on a real server, and the catalogue tells what was lost."""

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

    from sqlalchemy import URL, Engine, PoolProxiedConnection

TABLE = tomllib.loads((Path(__file__).parents[1] / "statement_rows" / "postgresql.toml").read_text("utf-8"))
NAME = f"test_engineroom_statements_{os.getpid()}"
PLACEHOLDERS = {"otherdb": f"{NAME}_other", "somerole": f"{NAME}_role"}

# What is there to be lost, one line each. Relations, columns and types go by name, since that is how a program finds
# them; functions and the rest by identity, so that a new name is no loss. Indexes, constraints, defaults and the
# sequence behind an identity are no losses.
# ruff: noqa: S608, SIM905 - the only names put in are our own
CATALOGUE = f"""
WITH relation AS (
    SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
      AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
      AND NOT (c.relkind = 'S' AND EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i'))
)
SELECT 'relation ' || name FROM relation
UNION ALL SELECT format('column %s.%I', name, attname) FROM relation JOIN pg_attribute ON attrelid = oid
          WHERE attnum > 0 AND NOT attisdropped
UNION ALL SELECT format('row %s of %s', number, name) FROM relation, generate_series(1,
          (xpath('//n/text()', query_to_xml('SELECT count(*) AS n FROM ONLY ' || name, true, true, '')))[1]::text::int
          ) AS number WHERE relkind = 'r'
UNION ALL SELECT format('partition %s of %s', child.name, parent.name) FROM pg_inherits
          JOIN relation child ON child.oid = inhrelid JOIN relation parent ON parent.oid = inhparent
UNION ALL SELECT format('type %I.%I', nspname, typname) FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
          WHERE t.oid >= 16384 AND nspname NOT LIKE 'pg\\_%' AND typtype IN ('e', 'd', 'r', 'b')
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
UNION ALL SELECT 'function ' || p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
          WHERE p.oid >= 16384 AND nspname NOT LIKE 'pg\\_%'
UNION ALL SELECT 'trigger ' || oid FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'rule ' || oid FROM pg_rewrite WHERE oid >= 16384 AND rulename <> '_RETURN'
UNION ALL SELECT 'database ' || datname FROM pg_database WHERE datname LIKE '{NAME}%'
UNION ALL SELECT 'role ' || oid FROM pg_roles WHERE rolname LIKE '{NAME}%'
UNION ALL SELECT format('ownership %s of %s', relname, rolname) FROM pg_class
          JOIN pg_roles r ON r.oid = relowner WHERE rolname LIKE '{NAME}%'
"""
BY_IDENTITY = """pg_am pg_cast pg_collation pg_conversion pg_event_trigger pg_extension pg_foreign_data_wrapper
pg_foreign_server pg_language pg_opclass pg_operator pg_opfamily pg_policy pg_publication pg_statistic_ext pg_ts_config
pg_ts_dict pg_user_mapping""".split()
for catalogue in BY_IDENTITY:
    CATALOGUE += f"UNION ALL SELECT '{catalogue} ' || oid FROM {catalogue} WHERE oid >= 16384\n"


def fill(sql: str) -> str:
    for placeholder, name in PLACEHOLDERS.items():
        sql = sql.replace(placeholder, name)
    return sql


class World:
    """A scratch database that is the same before each row."""

    def __init__(self, server: URL) -> None:
        self._maintenance = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._engine = create_engine(server.set(database=NAME), poolclass=NullPool)
        self._template = f"{NAME}_template"
        self._shared: PoolProxiedConnection | None = None

    def build(self) -> None:
        self.tear_down()
        self._maintain(f"CREATE DATABASE {self._template}")
        template = create_engine(self._engine.url.set(database=self._template), poolclass=NullPool)
        with closing(template.raw_connection()) as connection:
            for statement in TABLE["world"]:
                run(connection, statement)
            connection.commit()
        self._rebuild()

    def tear_down(self) -> None:
        self._disconnect()
        for name in (NAME, f"{NAME}_other", f"{NAME}_other_gone", self._template):
            self._maintain(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def lost(self, row: dict[str, Any]) -> set[str]:
        return self._lost_for_good(row) if row.get("alone") else self._lost_for_now(row)

    def _lost_for_now(self, row: dict[str, Any]) -> set[str]:
        """Run a row and undo it: DDL is transactional here."""
        self._shared = self._shared or self._engine.raw_connection()
        connection = self._shared
        try:
            for statement in row.get("setup", ()):
                run(connection, fill(statement))
            before = inventory(connection)
            run(connection, fill(row["sql"]))
            return before - inventory(connection)
        finally:
            connection.rollback()

    def _lost_for_good(self, row: dict[str, Any]) -> set[str]:
        self._disconnect()
        try:
            with closing(autocommitting(self._engine)) as connection:
                before = inventory(connection)
                run(connection, fill(row["sql"]))
                return before - inventory(connection)
        finally:
            self._rebuild()

    def _rebuild(self) -> None:
        self._disconnect()
        for name in (NAME, f"{NAME}_other", f"{NAME}_other_gone"):
            self._maintain(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._maintain(f"CREATE DATABASE {NAME} TEMPLATE {self._template}")
        self._maintain(f"CREATE DATABASE {NAME}_other")

    def _disconnect(self) -> None:
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def _maintain(self, statement: str) -> None:
        with self._maintenance.connect() as connection:
            connection.exec_driver_sql(statement)


def run(connection: PoolProxiedConnection, sql: str) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql)


def autocommitting(engine: Engine) -> PoolProxiedConnection:
    connection = engine.raw_connection()
    driver: Any = connection.driver_connection
    driver.autocommit = True
    return connection


def inventory(connection: PoolProxiedConnection) -> set[str]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(CATALOGUE)
        return {line for (line,) in cursor.fetchall()}


@pytest.fixture(scope="module")
def world(postgresql_url: URL) -> Iterator[World]:
    built = World(postgresql_url)
    built.build()
    yield built
    built.tear_down()


@pytest.mark.parametrize("row", [pytest.param(row, id=row["is"]) for row in TABLE["rows"]])
def test_what_is_judged_to_be_lost_is_lost_and_nothing_else(world: World, row: dict[str, Any]) -> None:
    judged = judge_text(fill(row["sql"]), "postgresql")
    assert [str(loss) for loss in judged] == [fill(loss) for loss in row.get("destroys", [])]
    if row.get("fails"):
        with pytest.raises(Exception, match=r"(?s).+"):
            world.lost(row)
        return
    lost = world.lost(row)
    if row.get("rows"):
        lost = {line for line in lost if not line.startswith("row ")}
    assert bool(lost) == (bool(judged) and "keeps" not in row), lost
    for loss in judged:
        assert loss.database is None or f"database {loss.database}" in lost
