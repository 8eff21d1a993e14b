"""An async engine works from every event loop of the process, and its connections end with their loop."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosqlite
import anyio
import pytest
import sqlalchemy
from aiosqlite.core import _STOP_RUNNING_SENTINEL
from fastapi import FastAPI
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import MissingGreenlet, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, StaticPool

from engineroom import _loops, dispose_async_engines, get_async_engine
from engineroom._loops import LoopPool, pool_of_loop
from engineroom._loops.let_go import let_go

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sqlalchemy import URL

SECONDS = 60
IS_2_0 = sqlalchemy.__version__.startswith("2.0.")
CANCELLED = ("Exception terminating connection", "Task exception was never retrieved")
CONNECTIONS = {
    "postgresql": (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ),
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> connection_id()",
}
SLOW = {
    "sqlite": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1500000) SELECT max(x) FROM c",
    "postgresql": "SELECT pg_sleep(0.3)",
    "mysql": "SELECT sleep(0.3)",
}
DRIVERS = {
    "aiosqlite": "",
    "asyncpg": "postgresql+asyncpg",
    "psycopg": "postgresql+psycopg",
    "aiomysql": "mysql+aiomysql",
    "asyncmy": "mysql+asyncmy",
}


@dataclass
class Database:
    """A database, and what is connected to it."""

    url: str
    family: str

    @property
    def slow(self) -> str:
        """A statement that takes a while."""
        return SLOW[self.family]

    def count_connections(self) -> int:
        """Ask the server how many connections there are; for SQLite, count the threads of aiosqlite."""
        if self.family == "sqlite":
            return sum("_connection_worker_thread" in thread.name for thread in threading.enumerate())
        plain = (
            self.url.replace("+asyncpg", "+psycopg").replace("+aiomysql", "+pymysql").replace("+asyncmy", "+pymysql")
        )
        engine = create_engine(plain, poolclass=NullPool)
        with engine.connect() as connection:
            return int(connection.execute(text(CONNECTIONS[self.family])).scalar_one())

    def expect_connections(self, number: int) -> None:
        """Wait a moment: a server notices only after a while that a client is gone."""
        deadline = time.monotonic() + 10
        while self.count_connections() != number and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.count_connections() == number


@pytest.fixture(params=DRIVERS)
def database(request: pytest.FixtureRequest) -> Database:
    scheme = DRIVERS[request.param]
    if not scheme:
        return Database("sqlite:///test_shop.db", "sqlite")
    kind = "postgresql" if scheme.startswith("postgresql") else "mariadb"
    make: Callable[[str], URL] = request.getfixturevalue("server_database")
    return Database(make(kind).set(drivername=scheme).render_as_string(hide_password=False), scheme.partition("+")[0])


@pytest.fixture
def engine(database: Database) -> AsyncEngine:
    return get_async_engine(database.url)


@pytest.fixture
def shop() -> AsyncEngine:
    """Return an engine of a SQLite file, for what does not depend on the driver."""
    return get_async_engine("sqlite:///test_shop.db")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which SQLAlchemy or asyncio logged something bad: that is where lost errors end.

    SQLAlchemy 2.0 itself complains when it cannot wait for the end of a connection whose task anyio has cancelled.
    """
    yield
    gc.collect()
    bad = [
        record.getMessage()
        for when in ("setup", "call", "teardown")
        for record in caplog.get_records(when)
        if record.levelno >= logging.WARNING and record.name.startswith(("sqlalchemy", "asyncio"))
        if not (IS_2_0 and request.node.name.startswith("test_anyio") and record.msg.startswith(CANCELLED))
    ]
    assert bad == []


async def use(engine: AsyncEngine, statement: str = "SELECT 1") -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text(statement))).scalar()


@contextmanager
def bare_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield a loop that is closed without notice: no async generator is finalised."""
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.close()


def pool_of(engine: AsyncEngine) -> LoopPool:
    pool = engine.pool
    assert isinstance(pool, LoopPool)
    return pool


# --- One loop after the other, and at once ---------------------------------------------------------------------------


def test_one_loop_after_the_other(engine: AsyncEngine, database: Database) -> None:
    assert [asyncio.run(use(engine)) for _ in range(4)] == [1] * 4
    database.expect_connections(0)
    assert not pool_of_loop._in_use


def test_a_loop_for_each_test_as_pytest_asyncio_has_it(engine: AsyncEngine, database: Database) -> None:
    for _ in range(3):
        with asyncio.Runner() as runner:
            session = AsyncSession(engine)
            runner.run(session.execute(text("SELECT 1")))  # a fixture
            assert runner.run(use(engine)) == 1  # the test
            runner.run(session.close())
    database.expect_connections(0)


def test_loops_that_are_nested_in_threads(engine: AsyncEngine, database: Database) -> None:
    async def main() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            assert await asyncio.to_thread(lambda: asyncio.run(use(engine))) == 1
            assert (await connection.execute(text("SELECT 2"))).scalar() == 2

    asyncio.run(main())
    database.expect_connections(0)


def test_ten_threads_with_a_loop_each_from_cold(engine: AsyncEngine, database: Database) -> None:
    gate = threading.Barrier(10)
    got: list[int] = []

    async def main() -> None:
        got.extend(await asyncio.gather(*(use(engine) for _ in range(3))))

    def work() -> None:
        gate.wait()
        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert got == [1] * 30
    database.expect_connections(0)


def test_ten_threads_from_cold_with_a_pool_that_keeps_nothing(database: Database) -> None:
    engine = get_async_engine(database.url, poolclass=NullPool)
    assert isinstance(engine.pool, NullPool)
    for _ in range(2):
        test_ten_threads_with_a_loop_each_from_cold(engine, database)
        asyncio.run(engine.dispose())  # the next pool is cold again


@pytest.fixture
def client_class() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # starlette 1 announces httpx2 when it is imported
        return importlib.import_module("fastapi.testclient").TestClient


def test_the_private_loop_of_a_test_client(engine: AsyncEngine, database: Database, client_class: Any) -> None:
    app = FastAPI()

    @app.get("/")
    async def read() -> Any:
        return await use(engine)

    async def main() -> None:
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT 1"))
            assert client_class(app).get("/").json() == 1  # a loop for the request
            with client_class(app) as client:  # a loop for the block
                assert client.get("/").json() == 1
                assert client.get("/").json() == 1
            assert (await session.execute(text("SELECT 2"))).scalar() == 2

    asyncio.run(main())
    database.expect_connections(0)


def test_anyio(engine: AsyncEngine, database: Database) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(use, engine)
        await anyio.to_thread.run_sync(lambda: anyio.run(use, engine))
        with anyio.move_on_after(0.05):
            await use(engine, database.slow)
        assert await use(engine) == 1

    anyio.run(main)
    anyio.run(main)
    database.expect_connections(0)


def test_connections_are_pooled_within_a_loop(engine: AsyncEngine, database: Database) -> None:
    async def main() -> None:
        for _ in range(5):
            await use(engine)
        assert await asyncio.to_thread(database.count_connections) == 1
        await asyncio.gather(*(use(engine) for _ in range(3)))
        assert await asyncio.to_thread(database.count_connections) <= 3

    asyncio.run(main())


# --- The end of a loop -----------------------------------------------------------------------------------------------


def test_a_loop_that_is_closed_without_notice_costs_its_connections(engine: AsyncEngine, database: Database) -> None:
    for _ in range(3):
        with bare_loop() as loop:
            assert loop.run_until_complete(use(engine)) == 1
    assert asyncio.run(use(engine)) == 1
    database.expect_connections(0)


def test_any_engine_frees_the_connections_of_a_closed_loop(engine: AsyncEngine, database: Database) -> None:
    with bare_loop() as loop:
        loop.run_until_complete(use(engine))
    other = get_async_engine("sqlite:///test_other.db")
    with bare_loop() as loop:
        loop.run_until_complete(use(other))
        if database.family != "sqlite":
            database.expect_connections(0)
    pool_of(other).abandon_closed()
    assert not pool_of_loop._in_use


def test_a_connection_that_was_forgotten_ends_with_its_loop(engine: AsyncEngine, database: Database) -> None:
    forgotten: list[Any] = []

    async def forget() -> None:
        forgotten.append(await engine.connect())
        await forgotten[-1].execute(text("SELECT 1"))

    asyncio.run(forget())
    database.expect_connections(0)
    with bare_loop() as loop:
        loop.run_until_complete(forget())
    assert asyncio.run(use(engine)) == 1
    database.expect_connections(0)
    forgotten.clear()
    gc.collect()  # no warning any more: nothing is left to clean up


@pytest.mark.parametrize("end", ["shut down", "closed without notice"])
def test_a_session_outlives_its_loop_and_begins_anew_in_another(
    engine: AsyncEngine, database: Database, end: str
) -> None:
    session = AsyncSession(engine)
    if end == "shut down":
        asyncio.run(session.execute(text("SELECT 1")))
    else:
        with bare_loop() as loop:
            loop.run_until_complete(session.execute(text("SELECT 1")))

    async def go_on() -> None:
        await use(engine)
        with pytest.raises(StatementError, match="ended with its event loop"):
            await session.execute(text("SELECT 1"))
        with pytest.raises(Exception, match="ended with its event loop"):
            await session.commit()
        await session.rollback()
        assert (await session.execute(text("SELECT 3"))).scalar() == 3
        await session.close()

    asyncio.run(go_on())
    database.expect_connections(0)


def test_a_statement_that_was_cancelled_leaves_nothing_behind(engine: AsyncEngine, database: Database) -> None:
    async def main() -> None:
        await use(engine)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(use(engine, database.slow), 0.05)
        assert await use(engine) == 1

    asyncio.run(main())
    asyncio.run(main())
    database.expect_connections(0)


def test_generators_that_the_loop_closes_give_back_their_sessions(engine: AsyncEngine, database: Database) -> None:
    kept = []

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT 1"))
            yield session

    async def main() -> None:
        for _ in range(3):
            kept.append(get_session())
            session = await anext(kept[-1])
            await session.execute(text("SELECT 1"))

    for _ in range(3):
        asyncio.run(main())
    database.expect_connections(0)


def test_connections_may_be_opened_while_the_loop_shuts_down(engine: AsyncEngine, database: Database) -> None:
    kept = []
    seen: list[int] = []

    async def say_goodbye() -> AsyncIterator[None]:
        try:
            yield
        finally:
            for _ in range(3):
                await asyncio.sleep(0.01)
                seen.append(await use(engine))

    async def main() -> None:
        await use(engine)
        kept.append(say_goodbye())
        await anext(kept[-1])

    asyncio.run(main())
    assert seen == [1, 1, 1]
    assert asyncio.run(use(engine)) == 1
    database.expect_connections(0)


def test_a_loop_that_goes_on_after_its_generators_were_shut_down(shop: AsyncEngine) -> None:
    with bare_loop() as loop:
        loop.run_until_complete(use(shop))
        loop.run_until_complete(loop.shutdown_asyncgens())
        assert loop.run_until_complete(use(shop)) == 1  # asyncio would warn of a generator that begins now
    pool_of(shop).abandon_closed()
    assert not pool_of_loop._in_use


def test_two_hundred_loops_leave_nothing_behind(shop: AsyncEngine) -> None:
    def measure() -> tuple[int, int, int]:
        gc.collect()
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), len(pool_of_loop._in_use)

    for _ in range(20):
        asyncio.run(use(shop))
    before = measure()
    objects = count_objects()
    for number in range(200):
        if number % 2:
            asyncio.run(use(shop))
        else:
            with bare_loop() as loop:
                loop.run_until_complete(use(shop))
    asyncio.run(use(shop))
    time.sleep(0.05)  # the last worker thread is told to stop, and does so when it gets its turn
    assert measure() == before
    assert count_objects() < objects + 200
    assert len(pool_of(shop)._pools) <= 1


def test_twenty_loops_leave_nothing_behind_on_a_server(engine: AsyncEngine, database: Database) -> None:
    for number in range(20):
        if number % 2:
            asyncio.run(use(engine))
        else:
            with bare_loop() as loop:
                loop.run_until_complete(use(engine))
    pool_of(engine).abandon_closed()
    database.expect_connections(0)


# --- Dispose ---------------------------------------------------------------------------------------------------------


def test_dispose_closes_the_idle_connections(engine: AsyncEngine, database: Database) -> None:
    async def main() -> None:
        await use(engine)
        await engine.dispose()
        await engine.dispose()
        await asyncio.to_thread(database.expect_connections, 0)
        assert not pool_of_loop._in_use
        assert await use(engine) == 1
        await dispose_async_engines()
        await asyncio.to_thread(database.expect_connections, 0)

    asyncio.run(main())


def test_dispose_leaves_a_connection_in_use_alone_until_it_comes_back(engine: AsyncEngine, database: Database) -> None:
    async def main() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await engine.dispose()
            gc.collect()
            await asyncio.sleep(0.02)
            assert (await connection.execute(text("SELECT 2"))).scalar() == 2
            assert await use(engine) == 1
        await engine.dispose()
        await asyncio.to_thread(database.expect_connections, 0)
        assert not pool_of_loop._in_use

    asyncio.run(main())


def test_dispose_from_another_loop_closes_each_connection_in_its_own(engine: AsyncEngine, database: Database) -> None:
    ready, done = threading.Event(), threading.Event()
    got: list[int] = []

    async def elsewhere() -> None:
        await use(engine)
        ready.set()
        await asyncio.to_thread(done.wait, SECONDS)
        got.append(await use(engine))

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    assert ready.wait(SECONDS)

    async def main() -> None:
        await use(engine)
        await engine.dispose()

    asyncio.run(main())
    database.expect_connections(0)
    done.set()
    thread.join(SECONDS)
    assert got == [1]
    database.expect_connections(0)


def test_dispose_while_a_loop_rests_closes_its_connections_when_it_goes_on(
    engine: AsyncEngine, database: Database
) -> None:
    with asyncio.Runner() as runner:
        runner.run(use(engine))
        asyncio.run(engine.dispose())  # the loop is neither running nor closed
        assert runner.run(use(engine)) == 1
        runner.run(asyncio.sleep(0.05))
        database.expect_connections(1)
        engine.sync_engine.dispose()
    with asyncio.Runner() as runner:
        runner.run(use(engine))
        asyncio.run(engine.dispose())
        runner.run(asyncio.sleep(0))  # it ends while they are being closed
    database.expect_connections(0)
    assert not pool_of_loop._in_use


def test_dispose_after_a_loop_was_closed_without_notice(engine: AsyncEngine, database: Database) -> None:
    with bare_loop() as loop:
        loop.run_until_complete(use(engine))
    engine.sync_engine.dispose()
    database.expect_connections(0)
    assert not pool_of_loop._in_use


def test_dispose_without_a_greenlet_closes_the_connections_soon(engine: AsyncEngine, database: Database) -> None:
    async def main() -> None:
        await use(engine)
        engine.sync_engine.dispose()  # SQLAlchemy's own pool would lose them here
        await asyncio.sleep(0.05)
        await asyncio.to_thread(database.expect_connections, 0)

    asyncio.run(main())


def test_dispose_without_closing_leaves_the_connections_to_their_loop(engine: AsyncEngine, database: Database) -> None:
    async def main() -> None:
        async with engine.connect() as connection:
            await engine.dispose(close=False)
            gc.collect()
            await asyncio.sleep(0.01)
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
            assert await use(engine) == 1

    asyncio.run(main())
    database.expect_connections(0)
    assert not pool_of_loop._in_use


def test_who_waits_for_a_connection_gets_one_when_the_engine_is_disposed_of(shop: AsyncEngine) -> None:
    small = get_async_engine("sqlite:///test_shop.db", pool_size=1, max_overflow=0, pool_timeout=5)

    async def main() -> None:
        first = await small.connect()
        waiting = asyncio.create_task(use(small))
        await asyncio.sleep(0.02)
        await small.dispose()
        await first.close()
        assert await asyncio.wait_for(waiting, 4) == 1

    asyncio.run(main())
    assert not pool_of_loop._in_use
    assert asyncio.run(use(shop)) == 1


def test_a_thousand_disposals_in_one_loop_do_not_pile_up(shop: AsyncEngine) -> None:
    async def main() -> None:
        for _ in range(20):
            await use(shop)
            await shop.dispose()
        gc.collect()
        objects, generators = count_objects(), _count_generators()
        for _ in range(100):
            await use(shop)
            await shop.dispose()
        gc.collect()
        assert count_objects() < objects + 200
        assert _count_generators() == generators

    asyncio.run(main())


def count_objects() -> int:
    """Count what Python keeps; nothing while Coverage measures, which keeps some objects for each thread."""
    return 0 if sys.gettrace() is not None else len(gc.get_objects())


def _count_generators() -> int:
    return sum(type(each).__name__ == "async_generator" for each in gc.get_objects())


# --- The pool --------------------------------------------------------------------------------------------------------


def test_what_an_application_asks_of_a_pool(shop: AsyncEngine) -> None:
    pool = pool_of(shop)
    plain = AsyncAdaptedQueuePool(lambda: None)  # type: ignore[arg-type]
    assert (pool.size(), pool.checkedin(), pool.checkedout(), pool.overflow()) == (
        plain.size(),
        plain.checkedin(),
        plain.checkedout(),
        plain.overflow(),
    )
    assert pool.status() == plain.status()
    assert pool.timeout() == plain.timeout()
    with pytest.raises(AttributeError, match="no_such_thing"):
        pool.no_such_thing  # noqa: B018

    async def main() -> None:
        async with shop.connect(), shop.connect():
            assert (pool.size(), pool.checkedin(), pool.checkedout(), pool.overflow()) == (5, 0, 2, -3)
            await asyncio.to_thread(lambda: asyncio.run(other()))
        assert (pool.size(), pool.checkedin(), pool.checkedout(), pool.overflow()) == (5, 2, 0, -3)
        assert pool.status().count("Pool size: 5") == 1

    async def other() -> None:
        async with shop.connect():
            assert (pool.size(), pool.checkedin(), pool.checkedout(), pool.overflow()) == (10, 0, 3, -7)
            assert pool.status().count("Pool size: 5") == 2

    asyncio.run(main())
    with bare_loop() as loop:
        loop.run_until_complete(use(shop))
    assert (pool.size(), pool.checkedin(), pool.checkedout()) == (5, 0, 0)


def test_the_options_of_a_pool_hold_in_every_loop() -> None:
    engine = get_async_engine("sqlite:///test_shop.db", pool_size=2, max_overflow=1, pool_timeout=0.05, pool_recycle=7)

    async def main() -> None:
        held = [await engine.connect() for _ in range(3)]
        with pytest.raises(PoolTimeoutError, match="size 2 overflow 1"):
            await engine.connect()
        for each in held:
            await each.close()

    asyncio.run(main())
    asyncio.run(main())
    assert pool_of(engine)._template._recycle == 7
    with bare_loop() as loop:
        loop.run_until_complete(use(engine))
        assert next(iter(pool_of(engine)._pools.values())).pool._recycle == 7


def test_pre_ping_replaces_a_connection_that_the_server_ended(
    server_database: Callable[[str], URL],
) -> None:
    url = server_database("postgresql")
    engine = get_async_engine(url.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
    plain = create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid = :pid"

    async def main() -> None:
        first = await use(engine, "SELECT pg_backend_pid()")
        with plain.connect() as connection:
            connection.execute(text(kill), {"pid": first})
        await asyncio.sleep(0.05)
        assert await use(engine, "SELECT pg_backend_pid()") != first

    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        asyncio.run(main())
        asyncio.run(main())
    finally:
        logging.getLogger("sqlalchemy.pool").setLevel(logging.NOTSET)


def test_recycle_replaces_a_connection_that_is_too_old(shop: AsyncEngine) -> None:
    opened: list[int] = []
    engine = get_async_engine("sqlite:///test_shop.db", pool_recycle=0)
    event.listen(engine.sync_engine, "connect", lambda *_: opened.append(1))

    async def main() -> None:
        await use(engine)
        first = len(opened)
        await asyncio.sleep(0.01)
        await use(engine)
        assert len(opened) > first

    asyncio.run(main())
    assert asyncio.run(use(shop)) == 1


def test_a_pool_of_one_connection_has_one_for_each_loop(database: Database) -> None:
    if database.family == "sqlite":
        pytest.skip("on SQLite it is for databases in memory only, where it is set aside")
    engine = get_async_engine(database.url, poolclass=StaticPool)

    async def main() -> None:
        await use(engine)
        await asyncio.to_thread(database.expect_connections, 1)
        await asyncio.to_thread(lambda: asyncio.run(use(engine)))

    asyncio.run(main())
    asyncio.run(main())
    database.expect_connections(0)


def test_listeners_that_come_later_hold_in_every_loop_and_after_a_disposal(shop: AsyncEngine) -> None:
    seen: list[str] = []
    inner = shop.sync_engine

    def listen(name: str) -> Callable[..., None]:
        def listener(*_: object) -> None:
            seen.append(name)

        event.listen(inner, name, listener)
        return listener

    asyncio.run(use(shop))
    names = ("connect", "first_connect", "checkout", "reset", "checkin", "close")
    listeners = {name: listen(name) for name in names}
    asyncio.run(use(shop))
    assert sorted(seen) == sorted(names)
    seen.clear()
    asyncio.run(use(shop))
    again = sorted(set(names) - {"first_connect"})
    assert sorted(seen) == again
    asyncio.run(shop.dispose())
    seen.clear()
    asyncio.run(use(shop))
    assert sorted(seen) == sorted(names)  # a new pool has a first connection again, as with SQLAlchemy's own
    for name, listener in listeners.items():
        event.remove(inner, name, listener)
    seen.clear()
    asyncio.run(use(shop))
    assert seen == []


def test_a_listener_that_fails_fails_every_time_and_locks_nobody_out(shop: AsyncEngine) -> None:
    def fail(*_: object) -> None:
        raise LookupError("no")

    event.listen(shop.sync_engine, "connect", fail)
    for _ in range(3):
        with pytest.raises(LookupError, match="no"):
            asyncio.run(use(shop))
    event.remove(shop.sync_engine, "connect", fail)
    assert asyncio.run(use(shop)) == 1
    assert not pool_of_loop._in_use


def test_a_server_that_does_not_answer_locks_nobody_out() -> None:
    engine = get_async_engine("postgresql+asyncpg://127.0.0.1:1/test_shop")

    async def main() -> None:
        failures = await asyncio.gather(*(use(engine) for _ in range(5)), return_exceptions=True)
        assert [type(each) for each in failures] == [ConnectionRefusedError] * 5

    for _ in range(2):
        asyncio.run(main())
    with bare_loop() as loop:
        loop.run_until_complete(main())
    asyncio.run(main())
    assert len(pool_of(engine)._pools) <= 1


def test_who_holds_the_first_connection_up_does_not_lock_out_other_loops(
    shop: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_loops, "MOST_SECONDS_OF_A_TURN", 0.2)
    held: list[Any] = []

    def hang(dbapi_connection: Any, _: object) -> None:
        if not held:
            held.append(1)
            dbapi_connection.run_async(lambda _: asyncio.sleep(3600))

    event.listen(shop.sync_engine, "connect", hang)
    loop = asyncio.new_event_loop()
    task = loop.create_task(use(shop))
    loop.run_until_complete(asyncio.sleep(0.05))  # it is left in the middle of its first connection
    try:
        assert asyncio.run(asyncio.wait_for(use(shop), 10)) == 1
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_without_a_loop_sqlalchemy_says_what_is_missing(shop: AsyncEngine) -> None:
    with pytest.raises(MissingGreenlet):
        shop.sync_engine.connect()


def test_an_engine_of_somebody_else_is_not_touched() -> None:
    assert isinstance(get_async_engine("sqlite:///test_shop.db").sync_engine, Engine)
    assert not isinstance(create_async_engine("sqlite+aiosqlite:///test_shop.db").pool, LoopPool)


def test_a_pool_of_loops_is_not_wrapped_twice(shop: AsyncEngine) -> None:
    pool = shop.pool
    _loops.pool_per_loop(shop.sync_engine)
    assert shop.pool is pool
    assert asyncio.run(use(shop)) == 1


def test_the_name_of_a_pool_in_logs_is_kept() -> None:
    engine = get_async_engine("sqlite:///test_shop.db", pool_logging_name="till")
    assert engine.pool.logging_name == "till"


# --- The private names that this relies on ---------------------------------------------------------------------------


class Stranger:
    """A connection of a driver that nobody knows."""


def test_a_connection_of_an_unknown_driver_is_let_go_in_silence() -> None:
    let_go(Stranger())


async def test_a_worker_that_died_is_closed_from_outside() -> None:
    connection = await aiosqlite.connect("test_shop.db", check_same_thread=False)
    connection._tx.put_nowait((_Deaf(), _stop))  # type: ignore[arg-type]
    connection._thread.join(5)
    let_go(connection)
    assert connection._connection is None


class _Deaf:
    def get_loop(self) -> _Deaf:
        return self

    def call_soon_threadsafe(self, *_: object) -> None:
        return None


def _stop() -> object:
    return _STOP_RUNNING_SENTINEL


PROGRAM = """
import asyncio, sys, threading
from sqlalchemy import text
from engineroom import get_async_engine
engine = get_async_engine(sys.argv[1])

async def use():
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))

async def forget():
    global held
    held = await engine.connect()
    await held.execute(text("SELECT 1"))

def bare(function):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(function())
    loop.close()

for step in sys.argv[2].split():
    {"run": lambda: asyncio.run(use()), "bare": lambda: bare(use), "forget": lambda: asyncio.run(forget()),
     "bare-forget": lambda: bare(forget)}[step]()
print("good")
"""


@pytest.mark.parametrize("steps", ["run bare", "forget bare-forget"])
def test_a_program_that_ends_with_a_loop_closed_without_notice_ends_in_silence(
    database: Database, steps: str, tmp_path: Path
) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, database.url, steps],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]  # slow, says asyncio
    assert (done.returncode, done.stdout, lines) == (0, "good\n", [])
    if database.family != "sqlite":
        database.expect_connections(0)


def test_no_warning_is_hidden_by_this_module() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine = get_async_engine("sqlite:///test_shop.db")
        for _ in range(3):
            asyncio.run(use(engine))
        with bare_loop() as loop:
            loop.run_until_complete(use(engine))
        pool_of(engine).abandon_closed()
        gc.collect()
    assert [str(each.message) for each in caught] == []
