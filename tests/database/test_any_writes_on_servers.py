"""Whatever tests and fixtures do on a server, in whatever order: the baseline comes back, and each layer goes alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError
from tests.database.test_baseline_on_servers import STATE, Database, database, driver

from engineroom import LifecycleError
from engineroom.testing import _mysql_objects

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["database", "driver"]

STATEMENTS = [
    "INSERT INTO users (name, mood) VALUES ('{0}', 'sad')",
    "INSERT INTO users (id, name) VALUES ({1} + 50, 'at {0}')",
    "UPDATE users SET name = 'changed {0}' WHERE id = {1}",
    "UPDATE users SET boss = {1} WHERE id <> {1}",
    "UPDATE users SET id = id + 10 WHERE id = {1}",
    "DELETE FROM users WHERE id = {1}",
    "DELETE FROM users",
    "INSERT INTO posts (user_id) VALUES ({1})",
    "DELETE FROM posts WHERE id = {1}",
    "INSERT INTO empty (at_number) VALUES ({1})",
    "INSERT INTO empty (id) VALUES ({1} * 1000)",
    "DELETE FROM empty",
    "INSERT INTO parts VALUES ({1}, '{0}')",
    "UPDATE parts SET k = {1}, what = NULL",
    "INSERT INTO log VALUES ('{0}'), ('{0}')",
    "DELETE FROM log",
    "TRUNCATE TABLE posts",
    "TRUNCATE TABLE log",
    "CREATE TABLE own_{1} (id int PRIMARY KEY, what varchar(50))",
    "INSERT INTO own_{1} VALUES ({1}, '{0}')",
    "DROP TABLE own_{1}",
    "CREATE INDEX index_{1} ON log (what)",
    "CREATE VIEW view_{1} AS SELECT name FROM users WHERE id = {1}",
    "ALTER TABLE log ADD COLUMN column_{1} int DEFAULT {1}",
    "ALTER TABLE users ADD COLUMN column_{1} int",
    "DROP VIEW names",
    "DROP TABLE posts",
    "DROP TABLE log",
    "DROP SEQUENCE numbers",
]
OF = {
    "postgresql": [
        "SELECT nextval('numbers')",
        "SELECT setval('users_id_seq', {1} * 1000)",
        "ALTER SEQUENCE numbers RESTART WITH {1}",
        "TRUNCATE users RESTART IDENTITY CASCADE",
        "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'of {0}'",
        "ALTER TABLE users RENAME TO people",
        "CREATE TEMP TABLE log (what int)",
        "DROP TRIGGER tell ON users",
        "CREATE SCHEMA schema_{1} CREATE TABLE inner_{1} (id serial)",
        "DELETE FROM parts_low",
    ],
    "mariadb": [
        "SELECT NEXTVAL(numbers)",
        "SELECT SETVAL(numbers, {1} * 1000)",
        "ALTER TABLE users AUTO_INCREMENT = {1}000",
        "REPLACE INTO users (id, name) VALUES ({1}, '{0}')",
        "ALTER TABLE users MODIFY mood ENUM('glad', 'sad', 'angry')",
        "RENAME TABLE log TO book",
        "CREATE TEMPORARY TABLE log (what int)",
        "DROP TRIGGER tell",
        "ALTER TABLE log ENGINE=MyISAM",
        "OPTIMIZE TABLE users",
    ],
}
Change = tuple[str, list[tuple[str, int]]]
"""How a transaction ends, and its statements."""

ENDS = st.sampled_from(["commit", "rollback", "each"])
EXAMPLES = {"psycopg": 25, "pymysql": 8}


def changes(kind: str) -> st.SearchStrategy[Change]:
    """Return what one test may do."""
    statement = st.tuples(st.sampled_from(STATEMENTS + OF[kind]), st.integers(1, 3))
    return st.tuples(ENDS, st.lists(statement, max_size=6))


def change(database: Database, done: Change, owner: str) -> None:
    end, statements = done
    with database.engine.connect() as connection:
        if end == "each":
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")  # noqa: PLW2901
        for number, (statement, key) in enumerate(statements):
            try:
                connection.exec_driver_sql(statement.format(f"{owner} {number}", key)).close()
            except DBAPIError:  # some contradict what is there
                if end != "each":
                    connection.rollback()
        with contextlib.suppress(DBAPIError):
            connection.rollback() if end == "rollback" else connection.commit()


def look(database: Database) -> list[object]:
    """Return the state; of a table that a fixture dropped it is told that it is not there."""
    state: list[object] = []
    with database.engine.connect() as connection:
        for question in STATE[database.kind]:
            try:
                state.append([tuple(row) for row in connection.exec_driver_sql(question)])
            except DBAPIError as error:
                connection.rollback()
                state.append(type(error))
    return state


@pytest.mark.parametrize("driver", EXAMPLES, indirect=True)
def test_whatever_tests_and_fixtures_do_the_baseline_comes_back(database: Database, driver: str) -> None:
    lowest = look(database)
    one = changes(database.kind)

    @given(fixture=st.none() | one, tests=st.lists(one, min_size=1, max_size=3))
    @settings(max_examples=EXAMPLES[driver], deadline=None, suppress_health_check=list(HealthCheck))
    def check(fixture: Change | None, tests: list[Change]) -> None:
        expected = lowest
        if fixture is not None:
            mark = database.baseline.mark()
            change(database, fixture, "f")
            database.baseline.push("fixture", mark)
            expected = look(database)
        for done in tests:
            change(database, done, "t")
            try:
                database.baseline.undo()
            except LifecycleError as error:
                if "cannot be brought back" not in str(error):
                    raise
                break  # the fixture made objects, and the test lost others
            assert look(database) == expected, done
        database.baseline.pop("fixture")
        database.baseline.undo()
        assert look(database) == lowest
        assert not database.baseline.is_dirty

    check()


@pytest.mark.parametrize("driver", ["pymysql"], indirect=True)
@pytest.mark.parametrize("ask", [_mysql_objects.tables, _mysql_objects.objects, _mysql_objects.changes])
def test_no_question_is_asked_once_for_each_table(database: Database, ask: Callable[[str], str]) -> None:
    question = ask(database.place.name).strip().replace("%", "%%")
    assert not [row for row in database.read(f"EXPLAIN {question}") if "DEPENDENT" in str(row)]
