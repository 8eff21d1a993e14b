"""The watch over a SQLite connection that somebody else opened: what it knows, and what it lets be."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from engineroom import DestructiveOperationError, InvalidSettingError, guard
from engineroom._guard.outside import watch_connection
from engineroom._guard.watch import Watch
from engineroom._permit import WATCH_KEY, permits_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine


@pytest.fixture
def engine(shop: Any) -> Iterator[Engine]:
    """Return a guarded engine that opens a protected file by a function of the application's."""
    engine = guard(create_engine("sqlite://", creator=lambda: sqlite3.connect(shop.path)))
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """Return a connection of that engine."""
    with engine.connect() as connection:
        yield connection


def assert_refused(connection: Connection) -> None:
    with pytest.raises(DestructiveOperationError):
        connection.execute(text("DROP TABLE users"))


def test_it_knows_the_permits_of_its_engine(connection: Connection) -> None:
    assert connection.info[WATCH_KEY].grants.permits is permits_of(connection.dialect)


def test_a_connection_that_was_taken_before_the_guard_came_is_watched_from_its_next_statement(shop: Any) -> None:
    engine = create_engine(f"sqlite:///{shop.path}")
    with engine.connect() as connection:
        guard(engine)
        assert WATCH_KEY not in connection.info
        connection.execute(text("SELECT 1"))
        watch = connection.info[WATCH_KEY]
        assert isinstance(watch, Watch)
        assert_refused(connection)
        assert connection.info[WATCH_KEY] is watch
    engine.dispose()


def test_a_connection_that_left_its_pool_is_watched(connection: Connection) -> None:
    connection.detach()
    assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 3
    assert_refused(connection)


def test_an_own_table_stays_ones_own_after_a_statement_that_failed(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE scratch (id)"))
    with pytest.raises(OperationalError, match="no such table"):
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))
    connection.execute(text("DROP TABLE scratch"))
    assert_refused(connection)


def test_what_a_raw_cursor_creates_is_nobodys_own(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
    driver: Any = connection.connection.driver_connection
    driver.execute("CREATE TABLE scratch (id)")
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        driver.execute("DROP TABLE scratch")


def test_a_denial_of_a_raw_cursor_does_not_stick_to_another_error(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        driver.execute("DROP TABLE users")
    with pytest.raises(OperationalError, match="no such table"):
        connection.execute(text("SELECT * FROM nowhere"))


class Odd:
    """A connection of a library that has no authorizer."""


def test_a_connection_without_an_authorizer_is_told_by_its_class() -> None:
    with pytest.raises(InvalidSettingError) as caught:
        watch_connection(Odd(), create_engine("sqlite://").dialect)
    error = caught.value
    assert error.what == f"The guard cannot watch a connection of the class {__name__}.Odd."
    assert error.why == "it works through SQLite's authorizer, and this class has none."
    assert error.fix == ("let the engine open its connections by sqlite3 or aiosqlite",)
