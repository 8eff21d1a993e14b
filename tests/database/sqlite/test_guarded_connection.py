"""The guarded connection class by itself, as a driver that is handed it uses it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from engineroom import DestructiveOperationError
from engineroom._guard.sqlite_connection import GuardedConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DROP = "DROP TABLE users"


def connect(path: Any) -> Any:
    return sqlite3.connect(path, factory=GuardedConnection)


@pytest.fixture
def connection(shop: Any) -> Iterator[Any]:
    """Return a guarded connection to a protected file."""
    with closing(connect(shop.path)) as connection:
        yield connection


@pytest.mark.filterwarnings("ignore:Passing more than 1 positional argument:DeprecationWarning")  # of Python 3.13
def test_its_arguments_pass_through(shop: Any) -> None:
    with closing(sqlite3.connect(shop.path, 5.0, 0, None, factory=GuardedConnection)) as connection:
        assert connection.isolation_level is None
        assert connection.execute("SELECT ?, ?", (1, "a")).fetchall() == [(1, "a")]


def test_a_database_of_memdb_has_no_file_though_sqlite_tells_a_name() -> None:
    with closing(sqlite3.connect("file:/shop.db?vfs=memdb", uri=True, factory=GuardedConnection)) as connection:
        assert connection.watch.main.facts.in_memory


def test_what_it_has_not_is_told_as_by_any_object(connection: Any) -> None:
    with pytest.raises(AttributeError, match=r"^'GuardedConnection' object has no attribute 'nothing'$"):
        _ = connection.nothing


def test_an_own_table_stays_ones_own_whatever_else_is_run(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE scratch (id UNIQUE)")
    cursor.executemany("INSERT INTO scratch VALUES (?)", [(1,), (2,)])
    with pytest.raises(sqlite3.IntegrityError):
        cursor.executemany("INSERT INTO scratch VALUES (?)", [(1,)])
    cursor.executescript("SELECT 1; SELECT 2")
    with pytest.raises(sqlite3.OperationalError):
        cursor.executescript("SELECT * FROM missing")
    cursor.execute("DROP TABLE scratch")
    with pytest.raises(DestructiveOperationError):
        cursor.execute(DROP)


def test_a_text_that_sqlite3_remembers_is_refused_in_the_guards_own_words(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP TABLE users (a)")
    cursor.execute(DROP)
    with pytest.raises(DestructiveOperationError):
        cursor.execute(DROP)


OTHER_ERRORS: dict[str, Callable[[Any], Any]] = {
    "a statement that cannot be prepared": lambda cursor: cursor.execute("SELECT * FROM missing"),
    "a statement that fails": lambda cursor: cursor.execute("INSERT INTO users (id) VALUES (1)"),
    "many values": lambda cursor: cursor.executemany("INSERT INTO users (id) VALUES (?)", [(1,)]),
    "a script": lambda cursor: cursor.executescript("INSERT INTO users (id) VALUES (1)"),
}


@pytest.mark.parametrize("fail", OTHER_ERRORS.values(), ids=OTHER_ERRORS)
def test_a_denial_that_nobody_took_is_not_told_of_another_error(connection: Any, fail: Callable[[Any], Any]) -> None:
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        sqlite3.Cursor.executescript(connection.cursor(), DROP)
    with pytest.raises(sqlite3.DatabaseError, match=r"UNIQUE constraint|no such table"):
        fail(connection.cursor())


def test_a_backup_over_it_is_refused_by_its_name(connection: Any) -> None:
    with (
        closing(connect(":memory:")) as source,
        pytest.raises(DestructiveOperationError, match=r"^Refused to overwrite the whole database on "),
    ):
        source.backup(connection)


def test_a_backup_over_a_connection_of_another_thread_is_refused(shop: Any) -> None:
    before = shop.contents()
    with ThreadPoolExecutor(1) as thread, closing(connect(":memory:")) as source:
        target = thread.submit(connect, shop.path).result()
        with pytest.raises(DestructiveOperationError):
            source.backup(target)
        thread.submit(target.close).result()
    assert shop.contents() == before


def test_a_backup_passes_its_options_on() -> None:
    left: list[int] = []
    with closing(connect(":memory:")) as source, closing(connect(":memory:")) as target:
        source.execute("CREATE TABLE scratch (a)")
        source.backup(target, pages=1, progress=lambda _, remaining, __: left.append(remaining))
    assert left[-1] == 0


def test_a_denial_that_nobody_took_keeps_no_backup_from_a_test_database(shop: Any, folder: Path) -> None:
    with closing(connect(folder / "test_shop.db")) as target, closing(connect(":memory:")) as source:
        target.execute("CREATE TABLE scratch (a)")
        target.execute("ATTACH ? AS shop", (str(shop.path),))
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            sqlite3.Cursor.executescript(target.cursor(), "DROP TABLE shop.users")
        target.execute("DETACH shop")
        source.backup(target)
        assert target.execute("SELECT * FROM sqlite_master").fetchall() == []


def test_a_connection_in_memory_sleeps_until_a_text_attaches(shop: Any) -> None:
    with closing(connect(":memory:")) as connection:
        connection.execute("SELECT 1")
        assert connection.watch.is_asleep
        connection.execute("ATTACH ? AS shop", (str(shop.path),))
        assert not connection.watch.is_asleep
        with pytest.raises(DestructiveOperationError):
            connection.execute("DROP TABLE shop.users")


def test_what_was_just_attached_is_looked_at_before_many_values(connection: Any, folder: Path) -> None:
    connection.execute("ATTACH ? AS other", (str(folder / "test_other.db"),))
    connection.execute("CREATE TABLE other.scratch (a)")
    connection.executemany("INSERT INTO other.scratch VALUES (?)", [(1,), (2,)])
    connection.execute("ATTACH ? AS another", (str(folder / "test_another.db"),))
    connection.executemany("INSERT INTO other.scratch VALUES (?)", [(3,)])
    connection.execute("DROP TABLE other.scratch")


def test_many_values_that_roll_a_creation_back_leave_nothing_that_is_ones_own(connection: Any, shop: Any) -> None:
    connection.isolation_level = None
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE scratch (id UNIQUE)")
    with pytest.raises(sqlite3.IntegrityError):
        connection.executemany("INSERT OR ROLLBACK INTO scratch VALUES (?)", [(1,), (1,)])
    shop.run("CREATE TABLE scratch (id)")
    with pytest.raises(DestructiveOperationError):
        connection.execute("DROP TABLE scratch")
