"""PostgreSQL: where a test only added rows, those go and nothing else is touched; else all is filled anew."""

from __future__ import annotations

from typing import Any

import pytest
from tests.database.test_baseline_on_servers import Database, database, driver

__all__ = ["database", "driver"]

pytestmark = pytest.mark.parametrize("driver", ["psycopg"], indirect=True)

TABLES = ("users", "posts", "log", "empty", "parts")
ADDED = (
    "INSERT INTO users (name) VALUES ('eve')",
    "INSERT INTO posts (user_id) VALUES (2)",
    "INSERT INTO empty (at_number) VALUES (1)",
    "INSERT INTO parts VALUES (2, 'more')",
)
PLACES = {table: f"SELECT tableoid, ctid, xmin FROM {table} ORDER BY 1, 2" for table in TABLES}  # noqa: S608  # of these names
CHANGED: dict[str, tuple[str, ...]] = {
    "a row changed": ("UPDATE users SET name = 'changed' WHERE id = 1",),
    "a row changed to what it was": ("UPDATE users SET name = name",),
    "a row changed to refer to one that was added": (*ADDED, "UPDATE users SET boss = 3 WHERE id = 1"),
    "a row removed and another added": ("DELETE FROM posts WHERE id = 1", "INSERT INTO posts (user_id) VALUES (2)"),
    "a row removed and added again": ("DELETE FROM parts", "INSERT INTO parts VALUES (1, 'low')"),
    "all rows removed": ("DELETE FROM users",),
    "a table truncated, and as many rows added": ("TRUNCATE posts", "INSERT INTO posts (user_id) VALUES (2), (1)"),
    "a row of another partition": ("CREATE TABLE p PARTITION OF parts DEFAULT", "UPDATE parts SET k = 50"),
    "a savepoint": ("SAVEPOINT a", "DELETE FROM posts", "ROLLBACK TO a", "DELETE FROM parts"),
    "one table changed and another added to": (*ADDED, "UPDATE parts SET what = 'changed'"),
}
ALWAYS = (
    (
        "CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO log VALUES (new.what); RETURN new; END $$"
    ),
    "CREATE TRIGGER double AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION double()",
    "ALTER TABLE parts ENABLE ALWAYS TRIGGER double",
)
RULE = ("CREATE RULE double AS ON INSERT TO parts DO ALSO INSERT INTO log VALUES (new.what)",)


def places(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return where each row lies, and which transaction wrote it."""
    return {table: database.read(question) for table, question in PLACES.items()}


def fill(database: Database) -> None:
    """Have each table filled once: from then on it is known who did."""
    database.run(*ADDED)
    database.baseline.undo()


def test_rows_that_nobody_changed_stay_where_they_are(database: Database) -> None:
    fill(database)
    state, before = database.state(), places(database)
    for _ in range(3):
        database.run(*ADDED)
        database.baseline.undo()
        assert places(database) == before
        assert database.state() == state
        assert not database.baseline.is_dirty


def test_whatever_was_done_to_others_is_undone(database: Database) -> None:
    before = database.state()
    fill(database)
    for case, statements in CHANGED.items():
        database.run(*statements)
        database.baseline.undo()
        assert database.state() == before, case
        database.run(*ADDED)
        database.baseline.undo()
        assert database.state() == before, f"{case}, and then rows added"


def test_rows_that_were_locked_or_vacuumed_are_those_that_were_there(database: Database) -> None:
    fill(database)
    before, state = places(database), database.state()
    database.run("SELECT FROM users FOR UPDATE", *ADDED)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM FREEZE")
        connection.exec_driver_sql("VACUUM FULL posts")
    database.baseline.undo()
    assert {**places(database), "posts": []} == {**before, "posts": []}
    assert database.state() == state


def test_what_a_fixture_adds_is_part_of_the_baseline_until_it_goes(database: Database) -> None:
    fill(database)
    before = database.state()
    mark = database.baseline.mark()
    database.run("INSERT INTO users (name) VALUES ('fixture')")
    database.baseline.push("module", mark)
    with_fixture = database.state()
    for _ in range(2):
        database.run(*ADDED)
        database.baseline.undo()
        assert database.state() == with_fixture
    database.baseline.pop("module")
    for _ in range(2):
        database.baseline.undo()
        assert database.state() == before
        database.run(*ADDED)


@pytest.mark.parametrize("schema", [ALWAYS, RULE], ids=["trigger", "rule"])
def test_rows_that_others_may_add_meanwhile_are_not_told_apart(database: Database, schema: tuple[str, ...]) -> None:
    mark = database.baseline.mark()
    database.run(*schema)
    if schema is RULE:
        database.run("ALTER TABLE parts ENABLE ALWAYS RULE double")
    database.baseline.push("session", mark)
    database.run(*ADDED)
    database.baseline.undo()
    before = places(database)["users"]
    database.run(*ADDED)
    database.baseline.undo()
    assert places(database)["users"] != before, "they were filled once more"
    assert database.names() == ["ada", "bob"]
