"""The permit on servers: whom it lets destroy what, where, and who learns of it."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, text

from engineroom import DestructiveOperationError, InvalidSettingError, allow_destructive, get_async_engine, get_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    Reach = Callable[..., Any]
    Databases = Callable[[str, str], Any]

MULTI_STATEMENTS = {"connect_args": {"client_flag": 1 << 16}}
ASYNC = ["psycopg_async", "asyncpg", "aiomysql", "asyncmy"]
SYNC = ["psycopg", "psycopg2", "pymysql"]
MARIADB = ["pymysql", "aiomysql", "asyncmy"]


def permit(reached: Any, database: str = "", **narrow: Any) -> Any:
    """Make a permit; it is for who enters it, the thread or the task."""
    return allow_destructive(reached.outer, database=database or reached.name, reason="the old shop closes", **narrow)


def permitted(reached: Any, database: str = "", **narrow: Any) -> Any:
    """Have each task or thread that takes a connection open a permit first."""
    return reached.inside(lambda: permit(reached, database, **narrow))


def test_a_permit_lets_the_block_destroy_and_nothing_after_it(kept: Any) -> None:
    with permitted(kept):
        kept.send("DROP VIEW everybody", "TRUNCATE TABLE users", "DROP TABLE audit")
    assert "drop table users" in kept.refusal("DROP TABLE users")
    assert kept.database.relations() == {"users", "orders"}
    assert kept.database.send("SELECT count(*) FROM users") == [(0,)]


def test_drop_all_is_permitted_as_a_whole(kept: Any) -> None:
    metadata = MetaData()
    for name in ("orders", "audit"):
        Table(name, metadata, Column("id", Integer))
    with permitted(kept, objects=["orders"]), pytest.raises(DestructiveOperationError, match="drop table audit"):
        kept.do(metadata.drop_all)
    assert {"orders", "audit"} <= kept.database.relations()
    with permitted(kept, operations="drop table", objects=["orders", "audit"]):
        kept.do(metadata.drop_all)
    assert not {"orders", "audit"} & kept.database.relations()


@pytest.mark.parametrize("wrong", ["shop", "ENGINEROOM_KEPT", "*", "test_engineroom", "postgres"])
def test_a_wrong_name_is_an_error_before_anything_runs(wrong: str, kept: Any) -> None:
    ran: list[Connection] = []
    with (
        permitted(kept, database=wrong),
        pytest.raises(InvalidSettingError, match=f'names the database "[^"]+", but .* reaches "?{kept.name}|reaches'),
    ):
        kept.do(ran.append)
    assert ran == []
    kept.send("SELECT 1")  # the pool is whole
    assert "drop table users" in kept.refusal("DROP TABLE users")


NARROW = {
    "a verb": ({"operations": "drop"}, "DROP TABLE audit", "TRUNCATE TABLE orders"),
    "a verb and a kind": ({"operations": ["Drop  Table"]}, "DROP TABLE audit", "DROP VIEW everybody"),
    "another verb": ({"operations": "truncate"}, "TRUNCATE TABLE audit", "DROP TABLE audit"),
    "an object": ({"objects": "audit"}, "DROP TABLE audit", "DROP TABLE orders"),
    "objects, of which all are needed": (
        {"objects": ["audit", "users"]},
        "DROP TABLE audit",
        "DROP TABLE orders, users",
    ),
    "a column": ({"objects": "users.email"}, "ALTER TABLE users DROP COLUMN email", "DROP TABLE users"),
    "a table, and so its columns": ({"objects": "users"}, "ALTER TABLE users DROP COLUMN email", "DROP TABLE orders"),
    "both": ({"operations": "drop", "objects": "audit"}, "DROP TABLE audit", "TRUNCATE TABLE audit"),
}


@pytest.mark.parametrize(("narrow", "allowed", "refused"), NARROW.values(), ids=NARROW)
@pytest.mark.parametrize("name", ["psycopg", "asyncpg", "pymysql"])
def test_operations_and_objects_narrow_it(
    name: str, narrow: dict[str, Any], allowed: str, refused: str, reach: Reach
) -> None:
    kept = reach(name)
    with permitted(kept, **narrow):
        with pytest.raises(DestructiveOperationError) as caught:
            kept.send(refused)
        assert "The permit that is open here does not cover this." in caught.value.why
        kept.send(allowed)


def test_what_goes_by_cascade_goes_with_the_permit_of_its_object(reach: Reach) -> None:
    kept = reach("psycopg")
    with permitted(kept, objects="users"):
        kept.send("DROP TABLE users CASCADE")
    assert kept.database.relations() == {"orders", "audit"}


def test_what_cannot_be_read_is_none_of_the_objects(reach: Reach) -> None:
    kept = reach("psycopg")
    computed = "DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'audit'; END $$"
    with permitted(kept, objects="audit"):
        assert "computed" in kept.refusal(computed)
    with permitted(kept, operations="unreadable"):
        assert "drop table audit" in kept.refusal("DROP TABLE audit")
        kept.send(computed)
    assert "audit" not in kept.database.relations()


def test_several_permits_together_cover_one_text(reach: Reach) -> None:
    kept = reach("psycopg2")
    with permitted(kept, objects="audit"), permitted(kept, objects="orders"):
        assert "drop table users" in kept.refusal("DROP TABLE audit; DROP TABLE orders; DROP TABLE users CASCADE")
        assert {"audit", "orders"} <= kept.database.relations()
        kept.send("DROP TABLE audit; DROP TABLE orders")
    assert not {"audit", "orders"} & kept.database.relations()


def test_a_connection_that_was_taken_before_the_block_gets_nothing(kept: Any) -> None:
    def body(connection: Connection) -> None:
        with permit(kept), pytest.raises(DestructiveOperationError) as caught:
            connection.execute(text("DROP TABLE users"))
        assert "not for this connection" in caught.value.why

    kept.do(body)


@pytest.mark.parametrize("name", SYNC)
def test_a_connection_that_outlives_the_block_has_lost_it(name: str, reach: Reach) -> None:
    kept = reach(name)
    with permit(kept):
        connection = kept.engine.connect()
        connection.execute(text("DROP TABLE audit"))
    with pytest.raises(DestructiveOperationError):
        connection.execute(text("DROP TABLE orders"))
    connection.close()


@pytest.mark.parametrize("name", SYNC)
def test_another_thread_gets_nothing_while_it_is_open(name: str, reach: Reach) -> None:
    kept = reach(name)
    outcome: list[object] = []

    def try_it() -> None:
        try:
            kept.send("DROP TABLE users")
        except DestructiveOperationError as refusal:
            outcome.append(refusal)

    with permit(kept), kept.engine.connect() as connection:
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join(timeout=20)
        connection.execute(text("TRUNCATE TABLE orders"))
        connection.commit()
    assert [type(one) for one in outcome] == [DestructiveOperationError]
    # Nor does one that takes the very connection from the pool, which the permit was open for.
    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join(timeout=20)
    assert len(outcome) == 2
    assert "users" in kept.database.relations()


@pytest.mark.parametrize("name", ASYNC)
def test_another_task_gets_nothing_while_it_is_open(name: str, reach: Reach) -> None:
    async def use(kept: Any) -> None:
        is_open, is_tried = asyncio.Event(), asyncio.Event()

        async def other() -> None:
            await is_open.wait()
            async with kept.outer.connect() as connection:
                with pytest.raises(DestructiveOperationError, match="drop table users"):
                    await connection.execute(text("DROP TABLE users"))
            is_tried.set()

        async def holder() -> None:
            async with permit(kept), kept.outer.begin() as connection:
                is_open.set()
                await is_tried.wait()
                await connection.execute(text("TRUNCATE TABLE orders"))

        await asyncio.wait_for(asyncio.gather(holder(), other()), timeout=20)

    kept = reach(name)
    kept.run(use)
    assert "users" in kept.database.relations()


@pytest.mark.parametrize("name", MARIADB)
def test_it_ends_where_the_connection_leaves_the_database(name: str, reach: Reach, databases: Databases) -> None:
    kept, other = reach(name), databases("mariadb", "other")
    other.rebuild()

    def body(connection: Connection) -> None:
        connection.exec_driver_sql(f"USE {other.name}")
        with pytest.raises(DestructiveOperationError, match=f"drop table users in database {other.name} on "):
            connection.exec_driver_sql("DROP TABLE users")
        connection.exec_driver_sql(f"USE {kept.name}")
        connection.exec_driver_sql("DROP TABLE audit")
        connection.exec_driver_sql(f"USE {other.name}")

    with permitted(kept):
        kept.do(body)
        if kept.engine.pool.checkedin():  # the connection that went astray is the next one
            with pytest.raises(InvalidSettingError, match="reaches another one"):
                kept.send("SELECT 1")
    assert "users" in other.relations()


@pytest.mark.parametrize("name", MARIADB)
def test_for_another_database_it_must_name_the_objects(name: str, reach: Reach, databases: Databases) -> None:
    test, other = reach(name, "test", **(MULTI_STATEMENTS if name == "pymysql" else {})), databases("mariadb", "other")
    other.rebuild()
    drop = f"DROP TABLE {other.name}.audit"
    with pytest.raises(DestructiveOperationError) as caught:
        test.send(drop)
    hint = f'allow_destructive(engine, database="{test.name}", objects=["{other.name}.audit"], reason="...")'
    assert hint in caught.value.fix[-1]
    for narrow in ({}, {"operations": "drop"}, {"objects": "audit"}, {"objects": "orders"}):
        with permitted(test, **narrow):
            assert "drop table" in test.refusal(drop)
            if name == "pymysql":
                assert "drop table audit" in test.refusal(f"USE {other.name}; DROP TABLE audit")
                test.engine.dispose()
    with permitted(test, objects=f"{other.name}.audit"):
        assert "drop table" in test.refusal(f"DROP TABLE {other.name}.orders")
        test.send(drop)
    assert other.relations() == {"users", "orders", "everybody"}


@pytest.mark.parametrize("name", ["psycopg", "asyncpg"])
def test_a_whole_database_is_dropped_by_a_permit_that_names_it(name: str, reach: Reach, databases: Databases) -> None:
    test, other = reach(name, "test"), databases("postgresql", "other")
    doomed = f"{other.name}_doomed"
    other.send_to_server(f"CREATE DATABASE {doomed}")
    try:
        with permitted(test):
            assert f"drop database {doomed}" in test.refusal(f"DROP DATABASE {doomed}", isolation_level="AUTOCOMMIT")
        with permitted(test, objects=doomed):
            test.send(f"DROP DATABASE {doomed}", isolation_level="AUTOCOMMIT")
        assert test.send(f"SELECT 1 FROM pg_database WHERE datname = '{doomed}'") == []  # noqa: S608
    finally:
        other.send_to_server(f"DROP DATABASE IF EXISTS {doomed}")


@pytest.mark.parametrize("level", ["SERIALIZABLE", "AUTOCOMMIT", "REPEATABLE READ"])
def test_the_question_for_the_name_leaves_no_transaction_behind(level: str, kept: Any) -> None:
    with permitted(kept):
        kept.send("DROP TABLE audit", isolation_level=level)
        if kept.is_postgresql:
            assert kept.send("SHOW transaction_isolation", isolation_level="SERIALIZABLE") == [("serializable",)]
    assert "audit" not in kept.database.relations()


@pytest.mark.parametrize("name", ["psycopg", "psycopg2", "asyncpg"])
def test_an_open_transaction_of_the_pool_is_not_ended_by_the_question(name: str, reach: Reach) -> None:
    # A pool that resets nothing hands out connections that are in a transaction.
    kept = reach(name, pool_size=1, max_overflow=0, pool_reset_on_return=None)
    began: list[object] = []
    kept.do(lambda connection: began.append(connection.exec_driver_sql("INSERT INTO orders VALUES (5)")))
    kept.do(lambda connection: began.append(connection.exec_driver_sql("SELECT 1")))
    with permitted(kept):
        assert kept.send("SELECT id FROM orders") == [(5,)]


def test_its_uses_are_logged_with_the_reason_and_without_values(kept: Any, caplog: pytest.LogCaptureFixture) -> None:
    def body(connection: Connection) -> None:
        connection.execute(text("INSERT INTO orders VALUES (:id)"), {"id": 424242})
        connection.execute(text("DROP TABLE audit"))
        with pytest.raises(DestructiveOperationError):
            connection.execute(text("TRUNCATE TABLE orders"))
        connection.execute(text("DROP TABLE IF EXISTS never_was"))

    with caplog.at_level(logging.DEBUG, "engineroom.permit"), permitted(kept, operations="drop"):
        kept.do(body)
    name = kept.name
    assert [(record.levelname, record.getMessage()) for record in caplog.records if "engineroom" in record.name] == [
        ("INFO", f"permit opened for database {name} (reason: the old shop closes)"),
        ("WARNING", f"permitted on database {name}: drop table audit (reason: the old shop closes)"),
        ("INFO", f"permit closed for database {name} (reason: the old shop closes)"),
    ]


def test_a_text_of_which_one_loss_is_refused_uses_no_permit(reach: Reach, caplog: pytest.LogCaptureFixture) -> None:
    kept = reach("psycopg2")
    with caplog.at_level(logging.WARNING, "engineroom.permit"), permitted(kept, objects="audit"):
        kept.refusal("DROP TABLE audit; DROP TABLE orders")
    assert caplog.records == []


def test_it_holds_for_the_factorys_engines(reach: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = reach("psycopg")
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("DATABASE_URL", kept.url.render_as_string(hide_password=False))
    monkeypatch.delenv("PYTEST_VERSION", raising=False)  # the engine of an ordinary process
    engine = get_engine()
    with engine.connect() as connection, pytest.raises(DestructiveOperationError, match="drop table audit"):
        connection.execute(text("DROP TABLE audit"))
    with allow_destructive(engine, database=kept.name, reason="the old shop closes"), engine.begin() as connection:
        connection.execute(text("DROP TABLE audit"))
    engine.dispose()

    async def use() -> None:
        asynchronous = get_async_engine()
        permit = allow_destructive(asynchronous, database=kept.name, reason="the old shop closes")
        async with permit, asynchronous.begin() as connection:
            await connection.execute(text("DROP TABLE orders"))
        async with asynchronous.connect() as connection:
            with pytest.raises(DestructiveOperationError, match="drop table users"):
                await connection.execute(text("DROP TABLE users"))

    for _ in range(2):  # a loop each, and so a pool each
        kept.database.send("CREATE TABLE IF NOT EXISTS orders (id int)")
        asyncio.run(use())
    assert kept.database.relations() == {"users", "everybody"}
