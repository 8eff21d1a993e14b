"""The guard of one engine of a server, put on directly: which connections it watches, what it does around a text."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import psycopg.sql
import psycopg2.sql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from engineroom import DestructiveOperationError, allow_destructive
from engineroom._guard.server import guard_server, server_watch_of
from engineroom._permit import WATCH_KEY, permits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Databases = Callable[[str, str], Any]

SCHEMES = {"postgresql": "postgresql+psycopg2", "mariadb": "mariadb+pymysql"}


@pytest.fixture(params=SCHEMES)
def database(request: pytest.FixtureRequest, databases: Databases) -> Any:
    """Return a database that is not disposable, on each server in turn."""
    database = databases(request.param, "kept")
    database.rebuild()
    return database


def make_engine(database: Any) -> Engine:
    """Return an engine of one connection, which nobody guards yet."""
    url = database.url.set(drivername=SCHEMES[database.kind])
    return create_engine(url, pool_size=1, max_overflow=0, pool_timeout=5)


@pytest.fixture
def unguarded(database: Any) -> Iterator[Engine]:
    """Return such an engine."""
    engine = make_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(unguarded: Engine) -> Engine:
    """Return an engine that was guarded before its first connection."""
    guard_server(unguarded)
    return unguarded


def refusal(connection: Connection, statement: Any, *more: Any) -> str:
    """Have a statement refused."""
    with pytest.raises(DestructiveOperationError) as caught:
        connection.exec_driver_sql(statement, *more)
    return caught.value.what


def test_a_new_connection_is_watched_and_keeps_its_watch(engine: Engine, database: Any) -> None:
    with engine.connect() as connection:
        watch = connection.info[WATCH_KEY]
        assert watch.identify().location == engine.url.render_as_string()
        assert watch.identify().backend == database.kind
        assert watch.grants.permits is permits_of(engine.dialect)
        assert server_watch_of(connection) is watch
    with engine.connect() as connection:
        assert connection.info[WATCH_KEY] is watch


def test_the_place_that_is_told_holds_no_password(database: Any) -> None:
    plain = make_engine(database)
    _, arguments = plain.dialect.create_connect_args(plain.url)
    url = plain.url.set(password="geheim")
    engine = create_engine(url, creator=lambda: plain.dialect.connect(**arguments))
    guard_server(engine)
    with engine.connect() as connection:
        assert server_watch_of(connection).identify().location == url.render_as_string(hide_password=True)
    engine.dispose()


def test_a_connection_that_was_opened_before_is_watched_when_it_is_taken(unguarded: Engine) -> None:
    with unguarded.connect():
        pass
    guard_server(unguarded, is_used=True)
    with unguarded.connect() as connection:
        watch = connection.info[WATCH_KEY]
    with unguarded.connect() as connection:
        assert connection.info[WATCH_KEY] is watch
        connection.execute(text("CREATE TABLE mine (id int)"))
        connection.execute(text("DROP TABLE mine"))
        connection.invalidate()
    with unguarded.connect() as connection:
        assert connection.info[WATCH_KEY] is not watch


def test_an_engine_that_opened_none_hears_nothing_when_one_is_taken(engine: Engine, database: Any) -> None:
    bare = make_engine(database).pool.dispatch
    assert len(engine.pool.dispatch.connect) == 1 + len(bare.connect)
    assert len(engine.pool.dispatch.checkout) == len(bare.checkout)


@pytest.mark.parametrize("is_detached", [False, True])
def test_a_connection_that_was_taken_before_is_watched_from_its_next_statement(
    is_detached: bool, unguarded: Engine, database: Any
) -> None:
    with unguarded.connect() as connection:
        if is_detached:
            connection.detach()
        guard_server(unguarded, is_used=True)
        assert WATCH_KEY not in connection.info
        connection.execute(text("CREATE TABLE mine (id int)"))
        watch = connection.info[WATCH_KEY]
        assert watch.identify().database == database.name
        connection.execute(text("DROP TABLE mine"))
        assert refusal(connection, "DROP TABLE users").startswith("Refused to drop table users in ")
        assert connection.info[WATCH_KEY] is watch
    with unguarded.connect() as connection:
        assert "drop table users" in refusal(connection, "DROP TABLE users")


def test_what_such_a_connection_created_is_forgotten_when_it_goes_back(unguarded: Engine) -> None:
    with unguarded.connect() as connection:
        guard_server(unguarded, is_used=True)
        connection.execute(text("CREATE TABLE mine (id int)"))
        connection.commit()
    with unguarded.connect() as connection:
        assert "drop table mine" in refusal(connection, "DROP TABLE mine")


def test_what_destroys_is_refused_and_not_sent(engine: Engine, database: Any) -> None:
    with engine.connect() as connection:
        refusal(connection, "DROP TABLE users")
        refusal(connection, "DROP TABLE users", [(), ()])
        refusal(connection.execution_options(no_parameters=True), "DROP TABLE users")
        refusal(connection, "CREATE TABLE IF NOT EXISTS mine (id int); DROP TABLE users")
    assert database.relations() == {"users", "orders", "audit", "everybody"}


def test_a_table_of_ones_own_may_go_until_the_connection_goes_back(engine: Engine) -> None:
    with engine.connect() as connection:
        for _ in range(2):
            connection.execute(text("CREATE TABLE IF NOT EXISTS users (id int)"))
            refusal(connection, "DROP TABLE users")
            connection.execute(text("CREATE TABLE mine (id int)"))
            connection.execute(text("DROP TABLE mine"))
        connection.execute(text("CREATE TABLE mine (id int)"))
        connection.commit()
    with engine.connect() as connection:
        assert "drop table mine" in refusal(connection, "DROP TABLE mine")


def test_a_table_that_somebody_else_made_under_its_name_may_not(engine: Engine, database: Any) -> None:
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE mine (id int)"))
        connection.execute(text("DROP TABLE mine"))
        connection.commit()
        database.send("CREATE TABLE mine (id int)")
        refusal(connection, "DROP TABLE mine")


def test_a_creation_that_fails_makes_nothing_ones_own(engine: Engine, database: Any) -> None:
    with engine.connect() as connection:
        with pytest.raises(DBAPIError):
            connection.execute(text("CREATE TABLE mine (id no_such_type)"))
        connection.rollback()
        database.send("CREATE TABLE mine (id int)")
        refusal(connection, "DROP TABLE mine")


def test_a_table_that_replaces_ones_own_is_ones_own(databases: Databases) -> None:
    database = databases("mariadb", "kept")
    database.rebuild()
    engine = make_engine(database)
    guard_server(engine)
    with engine.connect() as connection:
        refusal(connection, "CREATE OR REPLACE TABLE users (id int)")
        connection.execute(text("CREATE OR REPLACE TABLE mine (id int)"))
        connection.execute(text("CREATE OR REPLACE TABLE mine (id int)"))
        connection.execute(text("DROP TABLE mine"))
    engine.dispose()


def test_a_permit_is_told_of_once_for_each_statement(
    engine: Engine, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with allow_destructive(engine, database=database.name, reason="over"), engine.connect() as connection:
        caplog.set_level(logging.WARNING)
        connection.execute(text("DROP VIEW everybody"))
        assert caplog.messages == [f"permitted on database {database.name}: drop view everybody (reason: over)"]
        connection.execute(text("SELECT 1"))
        assert len(caplog.messages) == 1
        with pytest.raises(DBAPIError):
            connection.execute(text("DROP TABLE users, no_such_table"))
        connection.rollback()


# Each is a comment to its own server, and a DROP to the other one.
COMMENTS = {"postgresql": "SELECT 1 /*! ; DROP TABLE users */", "mariadb": "SELECT 1 # ; DROP TABLE users"}


def test_a_text_is_read_as_its_own_server_reads_it(engine: Engine, database: Any) -> None:
    with engine.connect() as connection:
        assert connection.exec_driver_sql(COMMENTS[database.kind]).scalar() == 1


def test_bytes_are_judged_each_time(engine: Engine) -> None:
    statement: Any = b"SELECT id FROM users"
    with engine.connect() as connection:
        for _ in range(2):
            assert connection.exec_driver_sql(statement).all() == [(1,)]
        assert "drop table users" in refusal(connection, b"DROP TABLE users")
        assert "cannot be read" in refusal(connection, b"DROP TABLE users\xff")


@pytest.mark.parametrize("module", [psycopg.sql, psycopg2.sql], ids=["psycopg", "psycopg2"])
def test_a_composed_statement_is_judged_by_the_text_that_it_makes(module: Any, databases: Databases) -> None:
    database = databases("postgresql", "kept")
    database.rebuild()
    scheme = "psycopg2" if module is psycopg2.sql else "psycopg"
    engine = create_engine(database.url.set(drivername=f"postgresql+{scheme}"))
    guard_server(engine)
    with engine.connect() as connection:
        statement = module.SQL("SELECT {} FROM {}").format(module.Literal("drop table"), module.Identifier("users"))
        for _ in range(2):
            assert connection.exec_driver_sql(statement).all() == [("drop table",)]
        assert "drop table users" in refusal(connection, module.SQL("DROP TABLE {}").format(module.Identifier("users")))
    engine.dispose()


def test_a_composed_statement_needs_no_connection_of_psycopg(databases: Databases) -> None:
    async def send() -> object:
        engine = create_async_engine(databases("postgresql", "kept").url.set(drivername="postgresql+psycopg"))
        guard_server(engine.sync_engine)
        statement: Any = psycopg.sql.SQL("SELECT {}").format(psycopg.sql.Literal("drop table"))
        async with engine.connect() as connection:
            row = (await connection.exec_driver_sql(statement)).scalar()
        await engine.dispose()
        return row

    assert asyncio.run(send()) == "drop table"
