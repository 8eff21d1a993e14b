"""The table of SQLite texts, proven: each row runs in memory, and the schema tells what was lost."""

from __future__ import annotations

import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engineroom._statements import judge_text

TABLE = tomllib.loads((Path(__file__).parents[1] / "statement_rows" / "sqlite.toml").read_text("utf-8"))


def inventory(connection: sqlite3.Connection) -> set[str]:
    found = set()
    for alias in ("main", "aux"):
        objects = connection.execute(
            f"SELECT type, name FROM {alias}.sqlite_master WHERE type <> 'index'"  # noqa: S608 - the aliases are ours
        ).fetchall()
        for kind, name in objects:
            found.add(f"{kind} {alias}.{name}")
            if kind == "table":
                columns = connection.execute("SELECT name FROM pragma_table_info(?, ?)", (name, alias))
                found |= {f"column {alias}.{name}.{column}" for (column,) in columns}
                (count,) = connection.execute(f'SELECT count(*) FROM {alias}."{name}"').fetchone()  # noqa: S608 - ours
                found |= {f"row {number} of {alias}.{name}" for number in range(count)}
    return found


@pytest.mark.parametrize("row", [pytest.param(row, id=row["is"]) for row in TABLE["rows"]])
def test_what_is_judged_to_be_lost_is_lost_and_nothing_else(row: dict[str, Any]) -> None:
    judged = judge_text(row["sql"], "sqlite")
    assert [str(loss) for loss in judged] == row.get("destroys", [])
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("ATTACH ':memory:' AS aux")
        for statement in (*TABLE["world"], *row.get("setup", ())):
            connection.execute(statement)
        before = inventory(connection)
        complaint = ""
        try:
            connection.executescript(row["sql"])
        except sqlite3.Error as error:
            complaint = str(error)
        lost = before - inventory(connection)
    assert bool(complaint) == row.get("fails", False), complaint
    if row.get("rows"):
        lost = {line for line in lost if not line.startswith("row ")}
    assert bool(lost) == (bool(judged) and "keeps" not in row), lost
