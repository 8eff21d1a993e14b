"""What a live connection tells of itself, asked by the functions of the guard themselves, with and without a guard."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.dialects import mssql, sqlite

from engineroom import guard, verdict
from engineroom._address import mask_url
from engineroom._guard.live import facts_of, identify_connection, sqlite3_connection, watch_of
from engineroom._guard.sqlite_connection import GuardedConnection
from engineroom._verdict import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import URL, Engine


@pytest.fixture(params=["postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, server_database: Callable[[str], URL]) -> Iterator[Engine]:
    """Return an engine without the guard of a new database, on each server in turn."""
    engine = create_engine(server_database(request.param))
    yield engine
    engine.dispose()


def test_an_engine_and_a_connection_tell_the_database_and_where_it_is(engine: Engine) -> None:
    expected = Facts(engine.dialect.name, engine.url.database, location=mask_url(engine.url))
    assert facts_of(engine) == expected
    with engine.connect() as connection:
        assert facts_of(connection) == expected
        taken = connection.connection.dbapi_connection
        assert identify_connection(taken, engine.dialect) == Facts(engine.dialect.name, engine.url.database)


def test_a_question_leaves_no_transaction_behind(server_database: Callable[[str], URL]) -> None:
    engine = create_engine(server_database("postgresql"))
    with engine.connect() as connection:
        facts_of(connection)
        driver: Any = connection.connection.driver_connection
        assert driver.info.transaction_status.name == "IDLE"
    engine.dispose()


def test_a_question_leaves_a_transaction_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id int)"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users VALUES (1)"))
        facts_of(connection)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 1


def test_a_transaction_of_the_driver_is_left_alone_on_sqlite(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with engine.connect() as connection, closing(connection.connection.cursor()) as cursor:
        cursor.execute("CREATE TABLE users (id)")
        cursor.execute("INSERT INTO users VALUES (1)")
        assert facts_of(connection).database == "shop.db"
        connection.connection.commit()
        assert cursor.execute("SELECT count(*) FROM users").fetchall() == [(1,)]
    engine.dispose()


def test_a_function_of_the_application_does_not_answer_for_the_server(server_database: Callable[[str], URL]) -> None:
    url = server_database("postgresql")
    engine = create_engine(url, connect_args={"options": "-c search_path=liar,pg_catalog"})
    with engine.connect() as connection:
        connection.execute(text("CREATE SCHEMA liar"))
        connection.execute(
            text("CREATE FUNCTION liar.current_database() RETURNS text LANGUAGE sql AS 'SELECT ''test_liar'''")
        )
        assert connection.execute(text("SELECT current_database()")).scalar() == "test_liar"
        assert facts_of(connection).database == url.database
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://app:secret@127.0.0.1:1/test_shop", "sqlite:////no/such/directory/test_shop.db"]
)
def test_an_engine_that_reaches_nothing_tells_where_it_was_to_go(url: str) -> None:
    engine = create_engine(url)
    assert facts_of(engine) == Facts(engine.dialect.name, None, location=url.replace("secret", "***"))
    engine.dispose()


def test_a_server_that_nobody_taught_engineroom_is_not_asked() -> None:
    dialect = mssql.dialect()  # type: ignore[no-untyped-call]
    assert identify_connection(object(), dialect, "a place") == Facts("mssql", None, location="a place")


class Mute:
    """A connection of some SQLite driver that answers every question with nothing."""

    text_factory: object = str
    row_factory: object = None

    def cursor(self) -> Mute:
        return self

    def execute(self, _: str) -> Mute:
        return self

    def fetchall(self) -> list[object]:
        return []

    def close(self) -> None:
        """Do nothing."""


def test_a_driver_that_does_not_tell_its_databases_reaches_something_unknown() -> None:
    dialect = sqlite.dialect()
    assert identify_connection(Mute(), dialect, "a place") == Facts("sqlite", None, location="a place")


@pytest.mark.parametrize("is_guarded", [False, True])
def test_a_second_name_of_the_file_is_seen_on_a_connection_that_is_open(tmp_path: Path, is_guarded: bool) -> None:
    path = tmp_path / "test_shop.db"
    engine = create_engine(f"sqlite:///{path}")
    if is_guarded:
        guard(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id)"))
        assert verdict(connection).disposable
        os.link(path, tmp_path / "precious.db")
        assert not verdict(connection).disposable
        assert facts_of(connection).links == 2
    engine.dispose()


def test_a_database_of_memdb_is_in_memory_though_sqlite_tells_a_name(tmp_path: Path) -> None:
    engine = guard(create_engine("sqlite:///file:/shop.db?vfs=memdb&uri=true"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA database_list").all() == [(0, "main", "/shop.db")]
        assert facts_of(connection).in_memory
    engine.dispose()
    engine = guard(create_engine(f"sqlite:///{tmp_path}/shop.db"))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        connection.exec_driver_sql("CREATE TABLE users (id)")
        connection.commit()
        driver.deserialize(driver.serialize())
        connection.exec_driver_sql("SELECT 1")
        assert facts_of(connection).in_memory
    engine.dispose()


def test_a_connection_is_seen_through_what_tracers_and_drivers_put_around_it() -> None:
    with closing(sqlite3.connect(":memory:", factory=GuardedConnection)) as connection:
        traced = SimpleNamespace(__wrapped__=SimpleNamespace(__wrapped__=connection))
        adapted = SimpleNamespace(driver_connection=SimpleNamespace(__wrapped__=SimpleNamespace(_conn=traced)))
        for around in (connection, traced, adapted):
            assert sqlite3_connection(around) is connection
            assert watch_of(around) is connection.watch
    assert watch_of(SimpleNamespace(__wrapped__=None)) is None
