"""The target decides: what a connection to a disposable database may not do to another one, whatever it is called."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from engineroom import guard
from engineroom.errors import DestructiveOperationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def opened(way: Any, folder: Path) -> Iterator[Any]:
    """Return a connection to a disposable database."""
    with way.open(folder / "test_home.db") as connection:
        connection.send("CREATE TABLE users (id)")
        connection.commit()
        yield connection


@pytest.fixture
def raw(folder: Path) -> Iterator[sqlite3.Connection]:
    """Return the driver's connection to a disposable database, for scripts."""
    engine = guard(create_engine(f"sqlite:///{folder}/test_home.db"))
    connection = engine.raw_connection()
    driver: Any = connection.driver_connection
    yield driver
    connection.close()
    engine.dispose()


def make_test_file(folder: Path, name: str = "test_other.db") -> Path:
    with sqlite3.connect(folder / name) as connection:
        connection.execute("CREATE TABLE users (id)")
        connection.execute("CREATE TABLE orders (id)")
    connection.close()
    return folder / name


def test_a_connection_to_a_disposable_database_may_lose_its_own(opened: Any, shop: Any) -> None:
    opened.send("ATTACH ? AS shop", (str(shop.path),))
    opened.send("DROP TABLE users")
    opened.commit()


ATTACHMENTS = {
    "by a literal": ("ATTACH '{path}' AS shop", ()),
    "by the whole command": ("ATTACH DATABASE '{path}' AS shop", ()),
    "by a parameter": ("ATTACH ? AS shop", ("{path}",)),
    "by an expression": ("ATTACH '{path}' || '' AS shop", ()),
    "with a computed alias": ("ATTACH '{path}' AS ('sh' || 'op')", ()),
    "with a bound alias": ("ATTACH ? AS ?", ("{path}", "shop")),
    "with an alias in another case": ("ATTACH '{path}' AS ShOp", ()),
    "by a relative path": ("ATTACH '{relative}' AS shop", ()),
    "by a symbolic link": ("ATTACH '{symlink}' AS shop", ()),
    "by a hard link": ("ATTACH '{hardlink}' AS shop", ()),
    "through /proc": ("ATTACH '/proc/self/cwd/{relative}' AS shop", ()),
}


@pytest.mark.parametrize(("attach", "parameters"), ATTACHMENTS.values(), ids=ATTACHMENTS)
@pytest.mark.parametrize("sql", ["DROP TABLE shop.users", 'drop table "SHOP".users', "DROP TABLE orders"])
def test_nothing_is_lost_in_a_database_that_is_attached(  # noqa: PLR0913, PLR0917  # what varies, and what it needs
    opened: Any,
    shop: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    attach: str,
    parameters: tuple[str, ...],
    sql: str,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "test_symlink.db").symlink_to(shop.path)
    if "hardlink" in attach:
        (folder / "test_hardlink.db").hardlink_to(shop.path)
    places = {"path": shop.path, "relative": "shop.db", "symlink": folder / "test_symlink.db"}
    places["hardlink"] = folder / "test_hardlink.db"
    before = shop.contents()
    opened.send(attach.format(**places), tuple(value.format(**places) for value in parameters))
    monkeypatch.chdir("/")
    with pytest.raises(DestructiveOperationError):
        opened.send(sql)
    assert shop.contents() == before


def test_the_message_tells_the_database_that_would_lose_something(opened: Any, shop: Any) -> None:
    opened.send("ATTACH ? AS shop", (str(shop.path),))
    with pytest.raises(DestructiveOperationError) as caught:
        opened.send("ALTER TABLE shop.users DROP COLUMN nick")
    assert caught.value.what == f"Refused to drop column users.nick on sqlite:///{shop.path}."
    assert caught.value.fix == (
        'attach a database whose name starts with "test_"',
        (
            'do it through an engine of that database, inside engineroom.allow_destructive(engine, database="shop.db", '
            'reason="...")'
        ),
    )


def test_an_attached_database_that_is_disposable_may_lose_everything(opened: Any, folder: Path, shop: Any) -> None:
    opened.send("ATTACH ? AS shop", (str(shop.path),))
    opened.send("ATTACH ? AS other", (str(make_test_file(folder)),))
    opened.send("ALTER TABLE other.users RENAME TO people")
    opened.send("DROP TABLE other.people")
    opened.commit()


@pytest.mark.parametrize("uri", ["file:{path}?mode=rw", "file://{path}", "file://localhost{path}", "file:{path}#x"])
def test_a_uri_is_read_as_sqlite_reads_it(folder: Path, shop: Any, uri: str) -> None:
    engine = guard(create_engine(f"sqlite:///file:{folder}/test_home.db?uri=true"))
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ATTACH '{uri.format(path=shop.path)}' AS shop")
        with pytest.raises(DestructiveOperationError):
            connection.exec_driver_sql("DROP TABLE shop.users")
    engine.dispose()


def test_databases_in_memory_that_are_attached_are_disposable() -> None:
    engine = guard(create_engine("sqlite:///file:main_one?mode=memory&uri=true", poolclass=StaticPool))
    with engine.connect() as connection:
        for number, name in enumerate(["", ":memory:", "file:b?mode=memory", "file:/c?vfs=memdb"]):
            connection.exec_driver_sql("ATTACH '%s' AS a%d" % (name, number))  # noqa: UP031  # names with braces
            connection.exec_driver_sql(f"CREATE TABLE a{number}.users (id)")
            connection.exec_driver_sql(f"DROP TABLE a{number}.users")
    engine.dispose()


def test_ten_databases_are_told_apart(opened: Any, folder: Path, shop: Any) -> None:
    files = [make_test_file(folder, f"test_{number}.db") for number in range(9)]
    for number, file in enumerate(files):
        opened.send(f"ATTACH ? AS a{number}", (str(file),))
    opened.send("ATTACH ? AS shop", (str(shop.path),))
    for number in range(9):
        opened.send(f"DROP TABLE a{number}.users")
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE shop.users")


@pytest.mark.parametrize("detach", ["DETACH other", "DETACH DATABASE OTHER", "DETACH 'ot' || 'her'"])
def test_another_file_under_the_same_alias_is_judged_anew(opened: Any, folder: Path, shop: Any, detach: str) -> None:
    test_file = make_test_file(folder)
    for _ in range(2):
        opened.send("ATTACH ? AS other", (str(test_file),))
        opened.send("DROP TABLE other.orders")
        opened.send("CREATE TABLE other.orders (id)")
        opened.commit()
        opened.send(detach)
        opened.send("ATTACH ? AS other", (str(shop.path),))
        with pytest.raises(DestructiveOperationError):
            opened.send("DROP TABLE other.orders")
        opened.rollback()
        opened.send(detach)


def test_a_table_of_ones_own_is_forgotten_with_its_database(opened: Any, folder: Path, shop: Any) -> None:
    empty = folder / "empty.db"
    opened.send("ATTACH ? AS other", (str(empty),))
    opened.send("CREATE TABLE other.orders (id)")
    opened.commit()
    opened.send("DETACH other")
    opened.send("ATTACH ? AS other", (str(shop.path),))
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE other.orders")


def test_letters_outside_of_ascii_keep_aliases_apart(opened: Any, folder: Path, shop: Any) -> None:
    opened.send('ATTACH ? AS "ß"', (str(shop.path),))
    opened.send("ATTACH ? AS ss", (str(make_test_file(folder)),))
    with pytest.raises(DestructiveOperationError):
        opened.send('DROP TABLE "ß".users')
    opened.send("DROP TABLE ss.users")


def test_what_vacuum_made_in_its_own_schema_is_nobodys_own(opened: Any, shop: Any) -> None:
    opened.send("VACUUM")
    opened.send("ATTACH ? AS vacuum_db", (str(shop.path),))
    with pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE vacuum_db.users")


def test_the_schema_table_of_an_attached_database_stays_shut(opened: Any, shop: Any) -> None:
    opened.send("ATTACH ? AS shop", (str(shop.path),))
    with pytest.raises(DestructiveOperationError, match="switch on writable_schema"):
        opened.send("PRAGMA writable_schema = ON")


def test_no_database_is_attached_while_schema_tables_are_open(opened: Any, shop: Any) -> None:
    for _ in range(2):  # the second time from the cache of statements
        opened.send("PRAGMA writable_schema = ON")
        opened.send("DELETE FROM sqlite_master WHERE name = 'nothing'")
        with pytest.raises(DestructiveOperationError):
            opened.send("ATTACH ? AS shop", (str(shop.path),))
        opened.send("PRAGMA writable_schema = OFF")
    opened.send("ATTACH ? AS shop", (str(shop.path),))
    with pytest.raises(Exception, match="may not be modified"):
        opened.send("DELETE FROM shop.sqlite_master")


SCRIPTS = {
    "attached and dropped": "ATTACH '{shop}' AS shop; DROP TABLE shop.users",
    "attached by an expression": "ATTACH '{shop}' || '' AS shop; DROP TABLE shop.users",
    "attached among others": "ATTACH '{test}' AS a; ATTACH '{shop}' AS b; DROP TABLE b.users",
    "attached where a test database was": (
        "ATTACH '{test}' AS a; SELECT 1; DETACH a; ATTACH '{shop}' AS a; DROP TABLE a.users"
    ),
    "attached where the alias is computed": (
        "ATTACH '{test}' AS a; DETACH 'a' || ''; ATTACH '{shop}' AS 'a'; DROP TABLE a.users"
    ),
    "attached while schema tables are open": (
        "PRAGMA writable_schema = ON; ATTACH '{shop}' AS shop; DELETE FROM shop.sqlite_master"
    ),
    "attached and then opened": "ATTACH '{shop}' AS shop; PRAGMA writable_schema = ON; DELETE FROM shop.sqlite_master",
    "attached where a table of that name was dropped": (
        "ATTACH '{test}' AS a; SELECT 1; DROP TABLE a.orders; DETACH a; ATTACH '{shop}' AS a; DROP TRIGGER a.log_order"
    ),
    "created if it is not there": (
        "ATTACH '{shop}' AS shop; CREATE TABLE IF NOT EXISTS shop.users (id); "
        "SELECT * FROM pragma_table_info('users'); DROP TABLE shop.users"
    ),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_gets_no_further_than_to_what_is_refused(
    raw: sqlite3.Connection, folder: Path, shop: Any, script: str
) -> None:
    before = shop.contents()
    with pytest.raises(DestructiveOperationError) as caught:
        raw.executescript(script.format(shop=shop.path, test=make_test_file(folder)))
    assert caught.value.__context__ is None
    raw.rollback()
    assert shop.contents() == before


@pytest.mark.parametrize("start", ["", "SELECT 1;", "CREATE TABLE fresh (a); INSERT INTO fresh VALUES (';');"])
@pytest.mark.parametrize("sql", ["DROP TABLE users", "ALTER TABLE users RENAME TO x", "PRAGMA writable_schema=1"])
def test_a_script_is_refused_where_it_begins_to_destroy(shop: Any, start: str, sql: str) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    raw = engine.raw_connection()
    driver: Any = raw.driver_connection
    for send in (driver.executescript, driver.cursor().executescript):
        with pytest.raises(DestructiveOperationError):
            send(f"{start.replace('fresh', f'fresh_{id(send)}')}{sql};")
    raw.close()
    engine.dispose()
    assert "users" in shop.names()


SCRIPTS_OF_ONES_OWN = {
    "created and dropped": "CREATE TABLE scratch (a); DROP TABLE scratch;",
    "created if it is not there": "CREATE TABLE IF NOT EXISTS scratch (a TEXT PRIMARY KEY); DROP TABLE scratch;",
    "dropped to be sure": "DROP TABLE IF EXISTS scratch; CREATE TABLE scratch AS SELECT 1; DROP TABLE scratch",
    "in a transaction": "BEGIN; CREATE TABLE scratch (a); SAVEPOINT b; DROP TABLE scratch; COMMIT;",
}


@pytest.mark.parametrize("script", SCRIPTS_OF_ONES_OWN.values(), ids=SCRIPTS_OF_ONES_OWN)
def test_a_script_may_drop_what_it_created(shop: Any, script: str) -> None:
    before = shop.contents()
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    raw = engine.raw_connection()
    driver: Any = raw.driver_connection
    driver.executescript(script)
    driver.executescript("CREATE TABLE scratch (a);")
    driver.execute("DROP TABLE scratch")
    raw.close()
    engine.dispose()
    assert shop.contents() == before


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE IF NOT EXISTS users (id); SELECT * FROM pragma_table_info('users'); DROP TABLE users;",
        "CREATE TABLE IF NOT EXISTS users (id); ALTER TABLE users ADD COLUMN x; DROP TABLE users;",
        "CREATE TRIGGER users AFTER DELETE ON orders BEGIN SELECT 1; END; CREATE TABLE x (a); DROP TABLE users;",
        "BEGIN; CREATE TABLE scratch (a); ROLLBACK; CREATE TABLE IF NOT EXISTS users (id); DROP TABLE users;",
    ],
)
def test_a_script_may_not_drop_what_was_there(shop: Any, script: str) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    raw = engine.raw_connection()
    driver: Any = raw.driver_connection
    with pytest.raises(DestructiveOperationError):
        driver.executescript(script)
    raw.close()
    engine.dispose()
    assert "users" in shop.names()


def test_a_hard_link_that_is_made_later_counts(opened: Any, folder: Path) -> None:
    os.link(folder / "test_home.db", folder / "precious.db")
    with pytest.raises(DestructiveOperationError, match="drop table users"):
        opened.send("DROP TABLE users")
    (folder / "precious.db").unlink()
    opened.send("DROP TABLE users")


@pytest.mark.parametrize("name", ["precious.db", "test_else.db"])
def test_a_file_that_was_moved_away_is_protected_by_sqlite_itself(opened: Any, folder: Path, name: str) -> None:
    (folder / "test_home.db").rename(folder / name)
    with pytest.raises(Exception, match="readonly"):
        opened.send("DROP TABLE users")


def test_a_relative_path_is_the_one_of_the_moment_of_connecting(
    way: Any, shop: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "test_x.db").symlink_to(shop.path)
    monkeypatch.chdir(elsewhere)
    with way.open("test_x.db") as opened:  # relative on purpose
        monkeypatch.chdir(folder)
        with pytest.raises(DestructiveOperationError) as caught:
            opened.send("DROP TABLE users")
    assert f"sqlite:///{shop.path}" in caught.value.what
