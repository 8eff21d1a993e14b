"""The guard on SQLite, whichever way a statement is sent: what is refused, what never is, and what a refusal leaves."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from engineroom.errors import DestructiveOperationError

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = {
    "a table": ("DROP TABLE users", "drop table users"),
    "a table in lower case": ("drop table Users", "drop table users"),
    "a table by its schema": ("DROP TABLE main.users", "drop table users"),
    "a table by its quoted schema": ('DROP TABLE "MAIN"."users"', "drop table users"),
    "a table that exists, to be sure": ("DROP TABLE IF EXISTS users", "drop table users"),
    "a table behind comments": ("/* tidy */ DROP -- up\n TABLE/**/users", "drop table users"),
    "a table with a strange name": ('DROP TABLE "sélect ""x"""', 'drop table sélect "x"'),
    "a table without rowid": ("DROP TABLE orders", "drop table orders"),
    "a table of a full-text index": ("DROP TABLE notes", "drop table notes"),
    "a table of a spatial index": ("DROP TABLE places", "drop table places"),
    "the shadow of a virtual table": ("DROP TABLE notes_content", "drop table notes_content"),
    "a view": ("DROP VIEW names", "drop view names"),
    "a trigger": ("DROP TRIGGER log_order", "drop trigger log_order"),
    "a column": ("ALTER TABLE users DROP COLUMN nick", "drop column users.nick"),
    "a column called drop": ('ALTER TABLE users DROP "drop"', "drop column users.drop"),
    "the name of a table": ("ALTER TABLE users RENAME TO people", "rename table users"),
    "the name of a virtual table": ("ALTER TABLE notes RENAME TO papers", "rename table notes"),
    "the name of a column": ("ALTER TABLE users RENAME COLUMN name TO title", "rename column users"),
    "the schema's own table": ("PRAGMA writable_schema = ON", "switch on writable_schema"),
    "the schema's own table by a number": ("PRAGMA writable_schema = 1", "switch on writable_schema"),
    "the schema's own table by a call": ("PRAGMA main.Writable_Schema('yes')", "switch on writable_schema"),
    "the schema's own table in hexadecimal": ("PRAGMA writable_schema(0x1)", "switch on writable_schema"),
    "the plan of a drop": ("EXPLAIN DROP TABLE users", "drop table users"),
}

ALLOWED = {
    "rows by a condition": "DELETE FROM users WHERE id = 1",
    "all rows": "DELETE FROM users",
    "rows that change": "UPDATE users SET name = 'DROP TABLE users'",
    "a row that holds the words": "INSERT INTO users (name) VALUES ('x'); -- DROP TABLE users",
    "a row that is replaced": "REPLACE INTO users (id, name) VALUES (1, 'Eve')",
    "words in a string": "SELECT 'DROP TABLE users'",
    "words in a comment": "SELECT 1 /* ; DROP TABLE users; */",
    "words in an identifier": 'SELECT "drop" AS "drop table users" FROM users',
    "an index": "DROP INDEX users_by_name",
    "a new index": "CREATE INDEX another ON users (id)",
    "a new column": "ALTER TABLE users ADD COLUMN email TEXT",
    "a new table": "CREATE TABLE fresh (a)",
    "a new table from rows": "CREATE TABLE fresh AS SELECT * FROM users",
    "a table that is there": "CREATE TABLE IF NOT EXISTS users (id)",
    "a new view": "CREATE VIEW more AS SELECT 1",
    "a new trigger": "CREATE TRIGGER more AFTER DELETE ON users BEGIN SELECT 1; END",
    "a table that is not there": "DROP TABLE IF EXISTS missing",
    "a view that is not there": "DROP VIEW IF EXISTS missing",
    "statistics": "ANALYZE",
    "indexes anew": "REINDEX",
    "foreign keys switched off": "PRAGMA foreign_keys = OFF",
    "a question about the schema's own table": "PRAGMA writable_schema",
    "the schema's own table shut": "PRAGMA writable_schema = OFF",
    "the journal mode": "PRAGMA journal_mode = DELETE",
    "the columns of a table": "SELECT * FROM pragma_table_info('users')",
    "an index of a full-text table": "INSERT INTO notes(notes) VALUES ('rebuild')",
}


@pytest.mark.parametrize(("sql", "what"), REFUSED.values(), ids=REFUSED)
def test_is_refused(opened: Any, shop: Any, sql: str, what: str) -> None:
    before = shop.contents()
    with pytest.raises(DestructiveOperationError) as caught:
        opened.send(sql)
    assert caught.value.what == f"Refused to {what} on sqlite:///{shop.path}."
    assert shop.contents() == before


@pytest.mark.parametrize("sql", [sql for sql, _ in REFUSED.values()], ids=REFUSED)
def test_is_allowed_where_the_database_is_disposable(way: Any, folder: Path, shop: Any, sql: str) -> None:
    disposable = shop.path.rename(folder / "test_shop.db")
    with way.open(disposable) as opened:
        opened.send(sql)
        opened.commit()


@pytest.mark.parametrize("sql", ALLOWED.values(), ids=ALLOWED)
def test_is_never_refused(opened: Any, sql: str) -> None:
    opened.send(sql)
    opened.commit()


def test_vacuum_is_never_refused(opened: Any, shop: Any, folder: Path) -> None:
    before = shop.contents()
    opened.send("VACUUM")
    opened.send("VACUUM INTO ?", (str(folder / "copy.db"),))
    opened.send("SELECT 1")
    assert shop.contents() == before
    with pytest.raises(DestructiveOperationError, match="drop table users on"):
        opened.send("DROP TABLE users")


@pytest.mark.parametrize(
    "create",
    [
        "CREATE TABLE scratch (a)",
        "CREATE TABLE scratch (a TEXT PRIMARY KEY, b UNIQUE)",
        "CREATE TABLE Scratch AS SELECT * FROM users",
        "CREATE TABLE IF NOT EXISTS scratch (a)",
        "CREATE VIRTUAL TABLE scratch USING fts5(a)",
        "CREATE VIRTUAL TABLE scratch USING rtree(a, b, c)",
    ],
)
def test_a_table_that_the_connection_created_itself_may_go_again(opened: Any, shop: Any, create: str) -> None:
    before = shop.contents()
    opened.send(create)
    opened.send("SELECT * FROM scratch")
    opened.send("DROP TABLE SCRATCH")
    opened.commit()
    assert shop.contents() == before


@pytest.mark.parametrize(
    ("create", "drop"),
    [
        ("CREATE VIEW scratch AS SELECT 1", "DROP VIEW scratch"),
        ("CREATE TRIGGER scratch AFTER DELETE ON users BEGIN SELECT 1; END", "DROP TRIGGER scratch"),
        ("CREATE TABLE scratch (a, b)", "ALTER TABLE scratch DROP COLUMN a"),
        ("CREATE TABLE scratch (a, b)", "ALTER TABLE scratch RENAME TO final"),
        ("CREATE TABLE scratch (a, b)", "ALTER TABLE scratch RENAME COLUMN a TO c"),
    ],
)
def test_what_the_connection_created_itself_may_change_and_go(opened: Any, create: str, drop: str) -> None:
    opened.send(create)
    opened.send(drop)
    opened.commit()


@pytest.mark.parametrize(
    "between",
    [
        ["COMMIT"],
        ["COMMIT", "BEGIN", "INSERT INTO users (name) VALUES ('x')", "ROLLBACK"],
        ["COMMIT", "BEGIN", "CREATE TABLE other (a)", "ROLLBACK"],
        ["SAVEPOINT a", "INSERT INTO scratch VALUES (1)", "ROLLBACK TO a", "RELEASE a"],
        ["SAVEPOINT a", "CREATE TABLE other (a)", "ROLLBACK TO a", "RELEASE a", "COMMIT"],
        ["SAVEPOINT a", "ROLLBACK TO a"] * 3,
        ["COMMIT", "VACUUM", "ANALYZE"],
        ["COMMIT", "ALTER TABLE users ADD COLUMN x", "CREATE INDEX i ON users (x)"],
        ["SELECT * FROM pragma_table_info('users')"],
    ],
    ids="; ".join,
)
def test_a_table_of_ones_own_stays_so_until_it_is_rolled_back(opened: Any, between: list[str]) -> None:
    opened.send("BEGIN")
    opened.send("CREATE TABLE scratch (a)")
    for statement in between:
        opened.send(statement)
    opened.send("DROP TABLE scratch")
    opened.commit()


REPLACED = {
    "created where there was one": ["CREATE TABLE IF NOT EXISTS users (id)"],
    "created where there was one, then a column": [
        "CREATE TABLE IF NOT EXISTS users (id)",
        "ALTER TABLE users ADD COLUMN x",
    ],
    "created where there was one, then a look at it": [
        "CREATE TABLE IF NOT EXISTS users (id)",
        "SELECT * FROM pragma_table_info('users')",
    ],
    "created where there was one, then an index": [
        "CREATE TABLE IF NOT EXISTS users (id)",
        "CREATE TABLE other (id TEXT PRIMARY KEY)",
        "CREATE INDEX i ON users (name)",
    ],
    "a trigger of that name": [
        "CREATE TRIGGER users AFTER DELETE ON orders BEGIN SELECT 1; END",
        "ALTER TABLE orders ADD COLUMN x",
    ],
    "a temporary table of that name, gone": ["CREATE TEMP TABLE users (a)", "DROP TABLE users"],
    "an index, then a savepoint": ["CREATE INDEX i ON users (name)", "SAVEPOINT a", "ROLLBACK TO a"],
}


@pytest.mark.parametrize("statements", REPLACED.values(), ids=REPLACED)
def test_a_table_that_was_there_before_is_not_ones_own(opened: Any, shop: Any, statements: list[str]) -> None:
    for statement in statements:
        opened.send(statement)
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE users")
    opened.rollback()
    assert "users" in shop.names()


ENDED = {
    "rolled back": ["ROLLBACK"],
    "rolled back to a savepoint and released": ["ROLLBACK TO a", "RELEASE a", "COMMIT"],
    "rolled back by a conflict": ["INSERT OR ROLLBACK INTO users (id) VALUES (1)"],
}


@pytest.mark.parametrize("end", ENDED.values(), ids=ENDED)
def test_a_table_that_was_rolled_back_is_not_ones_own_any_more(opened: Any, shop: Any, end: list[str]) -> None:
    for _ in range(2):  # the second time from the cache of statements
        opened.send("BEGIN")
        opened.send("SAVEPOINT a")
        opened.send("CREATE TABLE scratch (a)")
        for statement in end:
            try:
                opened.send(statement)
            except (sqlite3.IntegrityError, IntegrityError):
                assert "OR ROLLBACK" in statement
    opened.rollback()
    shop.run("CREATE TABLE scratch (a); INSERT INTO scratch VALUES (1)")
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE scratch")
    opened.rollback()
    assert "scratch" in shop.names()


def test_a_table_that_somebody_else_made_anew_is_not_ones_own(opened: Any, shop: Any) -> None:
    opened.send("CREATE TABLE scratch (a)")
    opened.commit()
    shop.run("DROP TABLE scratch; CREATE TABLE scratch (a); INSERT INTO scratch VALUES (1)")
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE scratch")


def test_rows_that_somebody_else_wrote_change_nothing(opened: Any, shop: Any) -> None:
    opened.send("CREATE TABLE scratch (a)")
    opened.commit()
    shop.run("INSERT INTO scratch VALUES (1); INSERT INTO users (name) VALUES ('Alan')")
    opened.send("DROP TABLE scratch")
    opened.commit()
    assert "scratch" not in shop.names()


def test_a_temporary_table_may_go_even_where_it_hides_a_real_one(opened: Any, shop: Any) -> None:
    before = shop.contents()
    for _ in range(2):
        opened.send("CREATE TEMP TABLE users (a, b)")
        opened.send("ALTER TABLE users RENAME COLUMN a TO c")
        opened.send("ALTER TABLE users DROP COLUMN b")
        opened.send("ALTER TABLE users RENAME TO persons")
        opened.send("DROP TABLE persons")
    opened.send("CREATE TEMP VIEW names AS SELECT 1")
    opened.send("DROP VIEW names")
    opened.send("CREATE TEMP TRIGGER log_order AFTER INSERT ON users BEGIN SELECT 1; END")
    opened.send("DROP TRIGGER temp.log_order")
    opened.send("CREATE VIRTUAL TABLE temp.notes USING fts5(body)")
    opened.send("DROP TABLE notes")
    opened.commit()
    assert shop.contents() == before
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE users")


def test_the_same_text_is_asked_about_each_time(opened: Any, shop: Any) -> None:
    for _ in range(3):
        with pytest.raises(DestructiveOperationError):
            opened.send("DROP TABLE users")
    opened.send("CREATE TEMP TABLE users (a)")
    opened.send("DROP TABLE users")
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE users")
    assert "users" in shop.names()


def test_a_refusal_leaves_the_transaction_as_it_was(opened: Any) -> None:
    opened.send("INSERT INTO users (name) VALUES ('Edsger')")
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE users")
    opened.send("INSERT INTO users (name) VALUES ('Donald')")
    opened.commit()
    assert opened.send("SELECT count(*) FROM users WHERE name IN ('Edsger', 'Donald')") == [(2,)]


def test_a_refusal_stands_alone(opened: Any) -> None:
    with pytest.raises(DestructiveOperationError) as caught:
        opened.send("DROP TABLE users")
    assert type(caught.value) is DestructiveOperationError
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_an_error_of_another_cause_stays_what_it_is(opened: Any) -> None:
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE users")
    for sql, words in {"SELECT * FROM missing": "no such table", "INSERT INTO users (id) VALUES (1)": "UNIQUE"}.items():
        with pytest.raises(Exception, match=words) as caught:
            opened.send(sql)
        assert not isinstance(caught.value, DestructiveOperationError)
