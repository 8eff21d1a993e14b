"""The quick look at a text: it may say yes too often, and never no too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engineroom._statements import holds_destructive_word, judge_text

if TYPE_CHECKING:
    from engineroom._statements import Dialect

DIALECTS: tuple[Dialect, ...] = ("postgresql", "mysql", "mariadb", "sqlite")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sql",
    [
        "",
        " ",
        ";",
        "SELECT 1",
        "SELECT dropped, backdrop_id, truncated_at, altered, renames FROM exchange WHERE changed_at > %s",
        "INSERT INTO users (id, do_it) VALUES (%s, 'window, undo') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "INSERT INTO users VALUES (1) ON CONFLICT DO NOTHING",
        "REPLACE INTO users VALUES (1)",
        "SELECT replace(name, 'a', 'b'), replace (name, 'a', 'b') FROM users",
        "CREATE TABLE users (id int)",
        "BEGIN; COMMIT",
        "SET x = 1; SELECT domain FROM users",
        "CREATE TABLE raindrop (i int)",
    ],
)
def test_an_ordinary_text_passes_at_once(sql: str, dialect: Dialect) -> None:
    assert not holds_destructive_word(sql, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM users WHERE name = 'drop'",
        "  update users SET name = 'drop; '",
        "\n\tInsert INTO users VALUES ('drop table')  ;  \n; ",
        "DELETE FROM `drop`",
        "WITH a AS (SELECT 'drop') SELECT * FROM a",
        "REPLACE INTO a VALUES ('drop')",
    ],
)
def test_one_statement_about_rows_passes_whatever_words_it_holds(sql: str, dialect: Dialect) -> None:
    assert holds_destructive_word(sql, dialect) == ("; '" in sql)
    assert judge_text(sql, dialect) == ()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE a",
        "drop\ttable a",
        "SELECT 1;DROP TABLE a",
        "SELECT 1 ; DROP TABLE a",
        "SELECTED; DROP TABLE a",
        "select1 DROP a",
        "/* SELECT */ DROP TABLE a",
        "-- SELECT\nDROP TABLE a",
        "(DROP)",
        "DROP\u00a0TABLE a",
        "DROP/**/TABLE a",
        "ALTER TABLE a DROP b",
        "a\u00a0drop b",
        "é drop b",
        "_ drop",
    ],
)
def test_a_destructive_word_is_seen(sql: str, dialect: Dialect) -> None:
    assert holds_destructive_word(sql, dialect)


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        ("TRUNCATE a", "postgresql"),
        ("REASSIGN OWNED BY a TO b", "postgresql"),
        ("RENAME a TO b", "postgresql"),
        ("DO $$ BEGIN END $$", "postgresql"),
        (" \n dO 'BEGIN END'", "postgresql"),
        ("do$$x", "postgresql"),
        ("/* a */ DO $$ BEGIN END $$", "postgresql"),
        ("/* a */DO/* b */$$ BEGIN END $$", "postgresql"),
        ("-- a\nDO $$ BEGIN END $$", "postgresql"),
        ("SELECT 1;DO $$ BEGIN END $$", "postgresql"),
        ("DO E'BEGIN \\x44ROP TABLE a; END'", "postgresql"),
        ("TRUNCATE a", "mysql"),
        ("RENAME TABLE a TO b", "mysql"),
        ("CREATE OR REPLACE TABLE a (i int)", "mysql"),
        ("CREATE OR/**/REPLACE/**/TABLE a (i int)", "mysql"),
        ("/*!50000DROP TABLE a*/", "mysql"),
        ("/*!50000CREATE OR REPLACE TABLE a (i int)*/", "mysql"),
        ("EXECUTE IMMEDIATE @a", "mysql"),
        ("PREPARE a FROM @b", "mysql"),
        ("PRAGMA writable_schema=1", "sqlite"),
        ("PRAGMA main.WRITABLE_SCHEMA=1", "sqlite"),
    ],
)
def test_the_words_of_a_dialect_are_seen(sql: str, dialect: Dialect) -> None:
    assert holds_destructive_word(sql, dialect)
