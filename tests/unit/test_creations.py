"""Which table a statement creates."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom._statements import Dialect, created_table

CREATIONS = {
    "CREATE TABLE users (id int)": ("users",),
    "create table users(id int);": ("users",),
    "  \n\tCREATE  TABLE\nusers (id int) ; ": ("users",),
    "CREATE TABLE IF NOT EXISTS users (id int)": ("users",),
    "CREATE TABLE users AS SELECT 1": ("users",),
    "CREATE TABLE users LIKE others": ("users",),
    "CREATE TABLE users/* all of them */(id int)": ("users",),
    "CREATE TABLE users--all of them\n(id int)": ("users",),
    "-- one\n/* two */ CREATE /* three */ TABLE users (id int)": ("users",),
    "CREATE OR REPLACE TABLE users (id int)": ("users",),
    "CREATE UNLOGGED TABLE users (id int)": ("users",),
    "CREATE TABLE app.users (id int)": ("app", "users"),
    "CREATE TABLE shop.app.users (id int)": ("shop", "app", "users"),
    'CREATE TABLE "a b"."c""d" (id int)': ("a b", 'c"d'),
    "CREATE TABLE `a b`.`c``d` (id int)": ("a b", "c`d"),
    'CREATE TABLE "a.b" (id int)': ("a.b",),
    "CREATE TABLE _x$1 (id int)": ("_x$1",),
    "CREATE TABLE täglich (id int)": ("täglich",),
    "CREATE TABLE if (id int)": ("if",),
}


@pytest.mark.parametrize(("statement", "parts"), CREATIONS.items(), ids=CREATIONS)
@pytest.mark.parametrize("dialect", ["postgresql", "mysql", "mariadb"])
def test_the_table_is_named(statement: str, parts: tuple[str, ...], dialect: Dialect) -> None:
    assert created_table(statement, dialect) == parts


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELECT 1",
        "CREATE TEMPORARY TABLE users (id int)",
        "CREATE TEMP TABLE users (id int)",
        "CREATE GLOBAL TEMPORARY TABLE users (id int)",
        "CREATE VIEW users AS SELECT 1",
        "CREATE INDEX users ON t (a)",
        "CREATE TABLE",
        "CREATE TABLE 'users' (id int)",
        'CREATE TABLE "" (id int)',
        "CREATE TABLE 1users (id int)",
        "CREATE TABLE users",
        "CREATE TABLE users. (id int)",
        "CREATE TABLE users;(id int)",
        "CREATETABLE users (id int)",
        "CREATE TABLEusers (id int)",
        "SELECT 'CREATE TABLE users (id int)'",
        "-- CREATE TABLE users (id int)",
        "/* CREATE TABLE users (id int) */",
        "/*!50000 CREATE TABLE users (id int) */",
        "/*M! CREATE TABLE users (id int) */",
        "EXPLAIN CREATE TABLE users (id int)",
        "CREATE TABLE users (id int); DROP TABLE orders",
        "CREATE TABLE users (id int);;SELECT 1",
        "CREATE TABLE users (note text DEFAULT ';')",
        "SELECT 1; CREATE TABLE users (id int)",
    ],
)
@pytest.mark.parametrize("dialect", ["postgresql", "mysql", "mariadb"])
def test_what_is_no_plain_creation_of_a_table_names_none(statement: str, dialect: Dialect) -> None:
    assert created_table(statement, dialect) == ()


def test_an_unquoted_name_is_folded_where_the_server_does_it() -> None:
    statement = 'CREATE TABLE App.Übersicht."Users" (id int)'
    assert created_table(statement, "postgresql") == ("app", "Übersicht", "Users")
    assert created_table(statement, "mariadb") == ("App", "Übersicht", "Users")
    assert created_table("CREATE TABLE UsersAZ (id int)", "postgresql") == ("usersaz",)
    assert created_table("CREATE TABLE X (id int)", "postgresql") == ("x",)
    assert created_table("CREATE TABLE X (id int)", "mariadb") == ("X",)
    assert created_table("CREATE TABLE users (id int);X", "mariadb") == ()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_every_quoted_name_is_read_whole(name: str) -> None:
    if ";" in name:
        return  # what might be two statements is left alone
    quoted = name.replace('"', '""')
    assert created_table(f'CREATE TABLE "{quoted}" (id int)', "postgresql") == (name,)
    ticked = name.replace("`", "``")
    assert created_table(f"CREATE TABLE s.`{ticked}` (id int)", "mysql") == ("s", name)


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    for statement in (text, f"CREATE TABLE {text}", f"CREATE TABLE {text} (id int)"):
        assert all(created_table(statement, "postgresql") or ("nothing",))


@pytest.mark.parametrize("filler", ["/*", "/**/", "/* * ", "--\n", '"a', "`", "a.", " "])
def test_no_text_takes_long(filler: str) -> None:
    for head in ("", "CREATE TABLE "):
        started = time.process_time()
        created_table(head + filler * 20_000, "postgresql")
        assert time.process_time() - started < 0.5


def test_the_words_of_the_pattern_are_separated_by_the_same_gap() -> None:
    gaps = [" ", "\n", "/* x */", "-- x\n", " /**/ -- \n\t"]
    for gap in gaps:
        statement = "CREATE TABLE IF NOT EXISTS users".replace(" ", gap) + " (id int)"
        assert created_table(statement, "mysql") == ("users",)
