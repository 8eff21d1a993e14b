"""In a test run an idle connection to PostgreSQL moves on to the next event loop, and is the same in it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import logging
import os
import ssl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, create_engine, event, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from engineroom._forks import watch_forks
from engineroom._loops import LoopPool, pool_per_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from sqlalchemy import URL

SECONDS = 60
DAY = dt.timedelta(days=1)
CANCELLED = "unexpected connection_lost() call"  # asyncpg, where a loop ends while it still asks for a cancellation
PID = "SELECT pg_backend_pid()"
SHOP = MetaData()
BIKES = Table("bikes", SHOP, Column("id", Integer, primary_key=True), Column("name", String), Column("parts", JSON))


@pytest.fixture(params=["asyncpg", "psycopg"])
def url(server_database: Callable[[str], URL], request: pytest.FixtureRequest) -> URL:
    return server_database("postgresql").set(drivername=f"postgresql+{request.param}")


asyncpg_only = pytest.mark.parametrize("url", ["asyncpg"], indirect=True)


@pytest.fixture
def engine(url: URL) -> Iterator[AsyncEngine]:
    engine = make_engine(url)
    yield engine
    engine.sync_engine.pool.dispose()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    gc.collect()
    records = [record for when in ("setup", "call", "teardown") for record in caplog.get_records(when)]
    bad = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    assert [message for message in bad if CANCELLED not in message] == []


def make_engine(url: URL, **options: Any) -> AsyncEngine:
    engine = create_async_engine(url, **options)
    pool_per_loop(engine.sync_engine, is_kept=True)
    watch_forks(engine.sync_engine)
    return engine


@contextlib.contextmanager
def server_side(engine: AsyncEngine) -> Iterator[Callable[[str], Any]]:
    """Yield a way to ask the server over a connection that has nothing to do with the engine."""
    plain = create_engine(engine.url.set(drivername="postgresql+psycopg", query={}), poolclass=NullPool)
    with plain.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield lambda statement: connection.execute(text(statement)).scalar()


def count_connections(engine: AsyncEngine) -> int:
    """Count the engine's connections, once those that are ending have ended."""
    deadline = time.monotonic() + 5
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with server_side(engine) as ask:
        while (count := int(ask(statement))) and time.monotonic() < deadline:
            time.sleep(0.05)
            if int(ask(statement)) == count:
                break
    return count


def run_on(connection: Any, statement: str) -> None:
    """Run a statement on a connection of the driver, and end its transaction."""
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
    connection.commit()


async def ask_pid(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text(PID))).scalar_one())


def close_without_notice(coroutine: Awaitable[Any]) -> Any:
    """Run something in a loop that finalises no generator before it is closed."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def close_at_once(coroutine: Awaitable[Any]) -> Any:
    """Run something in a loop that does nothing more once its generators are finalised."""
    loop = asyncio.new_event_loop()
    try:
        result = loop.run_until_complete(coroutine)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    gc.collect()  # what is not closed warns now
    return result


WAYS = {"shut down": asyncio.run, "closed at once": close_at_once, "closed without notice": close_without_notice}
runs = pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)


def pool_of(engine: AsyncEngine) -> LoopPool:
    pool = engine.pool
    assert isinstance(pool, LoopPool)
    return pool


# --- What stays the same ---------------------------------------------------------------------------------------------


@runs
def test_the_same_connection_serves_one_loop_after_the_other(engine: AsyncEngine, run: Any) -> None:
    assert len({run(ask_pid(engine)) for _ in range(5)}) == 1
    assert count_connections(engine) == 1


def test_each_way_to_use_it_goes_on_in_the_next_loop(engine: AsyncEngine) -> None:
    async def use(number: int) -> list[Any]:
        async with AsyncSession(engine) as session:
            await session.execute(insert(BIKES).values(name=f"bike {number}", parts={"wheels": number}))
            await session.commit()
            parts = list(await session.scalars(select(BIKES.c.parts).order_by(BIKES.c.id)))
            await session.execute(insert(BIKES), [{"name": "many"}] * 3)
            await session.rollback()
        async with engine.connect() as connection:
            rows = [row.id async for row in await connection.stream(select(BIKES).order_by(BIKES.c.id))]
            nested = await connection.begin_nested()
            with pytest.raises(DBAPIError, match="division by zero"):
                await connection.execute(text("SELECT 1/0"))
            await nested.rollback()
            copied = await copy_out((await connection.get_raw_connection()).driver_connection)
        return [parts, len(rows), copied]

    async def make() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(SHOP.create_all)

    asyncio.run(make())
    for number in range(1, 4):
        wheels = [{"wheels": each} for each in range(1, number + 1)]
        assert asyncio.run(use(number), debug=True) == [wheels, number, [b"42\n"]]


async def copy_out(driver: Any) -> list[bytes]:
    """Have the server send a row by COPY."""
    copied: list[bytes] = []
    if hasattr(driver, "pgconn"):
        async with driver.cursor() as cursor, cursor.copy("COPY (SELECT 42) TO STDOUT") as copy:
            return [bytes(data) async for data in copy]

    async def take(data: bytes) -> None:
        copied.append(data)

    await driver.copy_from_query("SELECT 42", output=take)
    with pytest.raises(TimeoutError):
        await driver.execute("SELECT pg_sleep(10)", timeout=0.01)
    return copied


def test_connect_listeners_are_called_once_for_a_connection(engine: AsyncEngine) -> None:
    calls: list[str] = []
    event.listen(engine.sync_engine, "connect", lambda *_: calls.append("connect"))
    event.listen(engine.sync_engine, "checkout", lambda *_: calls.append("checkout"))
    for _ in range(3):
        asyncio.run(ask_pid(engine))
    assert calls == ["connect", *["checkout"] * 3]


async def listen(driver: Any, heard: list[object]) -> None:
    """Listen on a channel, and ring it, over a connection of the driver."""
    if hasattr(driver, "pgconn"):
        driver.add_notify_handler(heard.append)
        await driver.execute("LISTEN bells")
        await driver.commit()
    else:
        await driver.add_listener("bells", lambda *arguments: heard.append(arguments))
    await driver.execute("NOTIFY bells")
    if hasattr(driver, "pgconn"):
        await driver.commit()


def test_what_belonged_to_the_loop_is_forgotten(engine: AsyncEngine) -> None:
    heard: list[object] = []
    event.listen(engine.sync_engine, "connect", lambda connection, _: run_on(connection, "SET work_mem = '7MB'"))

    async def use() -> None:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("CREATE TEMP TABLE basket (bike integer)")
            await driver.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
            await driver.execute("SELECT pg_advisory_lock(42)")
            await listen(driver, heard)
            await asyncio.sleep(0.02)
            assert (await connection.execute(text("SHOW work_mem"))).scalar() == "7MB"

    first = asyncio.run(ask_pid(engine))
    for number in range(3):
        asyncio.run(use())
        assert len(heard) == number + 1
    assert asyncio.run(ask_pid(engine)) == first
    with server_side(engine) as ask:
        ask("SELECT pg_notify('bells', 'to nobody')")
        assert ask("SELECT pg_try_advisory_lock(42)")
    asyncio.run(ask_pid(engine))
    assert len(heard) == 3


def test_a_connection_that_several_tasks_wait_for(engine: AsyncEngine) -> None:
    async def main() -> None:
        async with engine.connect() as connection:
            slow = connection.execute(text("SELECT pg_sleep(0.02)"))
            await asyncio.gather(slow, *(connection.execute(text("SELECT 1")) for _ in range(3)))

    for _ in range(3):
        asyncio.run(main())
    assert count_connections(engine) == 1


def test_a_unix_socket(engine: AsyncEngine) -> None:
    with server_side(engine) as ask:
        directory = str(ask("SHOW unix_socket_directories")).partition(",")[0]
    local = engine.url.set(host=None, port=None).update_query_dict({"host": directory})
    moved = make_engine(local)
    try:
        first = asyncio.run(ask_pid(moved))
    except (OSError, DBAPIError, asyncpg.PostgresError) as error:
        pytest.skip(f"there is no way in by {directory}: {type(error).__name__}")
    assert asyncio.run(ask_pid(moved)) == first
    pool_of(moved).dispose()


def test_another_kind_of_loop(engine: AsyncEngine) -> None:
    uvloop = pytest.importorskip("uvloop")
    runners = [uvloop.run, asyncio.run, uvloop.run, uvloop.run, asyncio.run]
    assert len({run(ask_pid(engine)) for run in runners}) == 1


# --- Several at once -------------------------------------------------------------------------------------------------


@runs
def test_ten_sessions_at_once_are_ten_connections_in_the_next_loop_too(url: URL, run: Any) -> None:
    engine = make_engine(url, pool_size=10)

    async def main() -> set[int]:
        gate = asyncio.Barrier(10)

        async def ask() -> int:
            async with engine.connect() as connection:
                await gate.wait()
                return int((await connection.execute(text(PID))).scalar_one())

        pids = await asyncio.gather(*(ask() for _ in range(10)))
        assert (pool_of(engine).checkedin(), pool_of(engine).checkedout(), pool_of(engine).overflow()) == (10, 0, 0)
        return set(pids)

    first = run(main())
    assert len(first) == 10
    assert [run(main()) for _ in range(3)] == [first] * 3
    pool_of(engine).dispose()
    assert count_connections(engine) == 0


def test_waiting_for_a_connection_works_in_every_loop(url: URL) -> None:
    engine = make_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.2)

    async def main() -> int:
        async def ask() -> int:
            async with engine.connect() as connection:
                await asyncio.sleep(0.01)
                return int((await connection.execute(text(PID))).scalar_one())

        pids = await asyncio.gather(*(ask() for _ in range(3)))  # two of them wait
        async with engine.connect():
            with pytest.raises(PoolTimeoutError):
                await ask()
        assert len(set(pids)) == 1
        return pids[0]

    assert len({asyncio.run(main()) for _ in range(3)}) == 1
    pool_of(engine).dispose()


def test_tasks_that_come_first_at_once_in_a_new_loop(engine: AsyncEngine) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(ask_pid(engine) for _ in range(5)))

    for _ in range(5):
        assert all(asyncio.run(main()))
    assert count_connections(engine) <= 5


def test_loops_in_threads_share_no_connection(engine: AsyncEngine) -> None:
    rounds = 10
    gate = threading.Barrier(4)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(rounds):
                gate.wait(SECONDS)
                asyncio.run(ask_pid(engine))
        except BaseException as problem:  # noqa: BLE001  # the test tells it
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert problems == []
    assert count_connections(engine) <= 4


# --- What does not move ----------------------------------------------------------------------------------------------


@runs
def test_while_one_is_in_use_all_end_with_the_loop(engine: AsyncEngine, run: Any) -> None:
    async def leave_one() -> tuple[int, AsyncSession]:
        await asyncio.gather(*(ask_pid(engine) for _ in range(3)))
        session = AsyncSession(engine)
        return int((await session.execute(text(PID))).scalar_one()), session

    pid, session = run(leave_one())
    assert run(ask_pid(engine)) != pid
    assert count_connections(engine) == 1
    asyncio.run(session.close())


@asyncpg_only
def test_one_that_had_to_wait_for_the_network_stays_in_its_loop(engine: AsyncEngine) -> None:
    async def send_much() -> tuple[int, bool]:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.executemany("SELECT length($1)", [("x" * 100_000,) for _ in range(300)])
            return int(driver.get_server_pid()), driver._transport.has_waited

    first, has_waited = asyncio.run(send_much())
    assert has_waited or sys.version_info >= (3, 12)  # whose transports do not always make a driver wait
    second, _ = asyncio.run(send_much())
    assert (second != first) == has_waited


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_end_of_a_loop_waits_for_no_statement_that_was_cancelled(url: URL, *, is_kept: bool) -> None:
    engine = create_async_engine(url)
    pool_per_loop(engine.sync_engine, is_kept=is_kept)

    async def cancel() -> None:
        for seconds in (0.005, 0.02, 0.05):
            async with engine.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(driver.execute("SELECT pg_sleep(20)"), seconds)

    began = time.monotonic()
    for _ in range(3):
        asyncio.run(cancel())
        assert asyncio.run(ask_pid(engine))
    assert time.monotonic() - began < 10
    pool_of(engine).dispose()


@asyncpg_only
def test_one_whose_statement_was_cancelled_moves_once_that_is_over(engine: AsyncEngine) -> None:
    async def cancel() -> int:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(driver.execute("SELECT pg_sleep(20)"), 0.05)
            return int((await connection.execute(text(PID))).scalar_one())  # which waits until it is over

    assert len({asyncio.run(cancel()) for _ in range(3)}) == 1


@asyncpg_only
@runs
def test_one_that_cannot_move_is_closed_and_the_others_move(engine: AsyncEngine, run: Any) -> None:
    async def main(*statements: str) -> list[int]:
        async with engine.connect() as first, engine.connect() as second:
            pids = [int((await each.execute(text(PID))).scalar_one()) for each in (first, second)]
            await second.rollback()
            driver: Any = (await second.get_raw_connection()).driver_connection
            for statement in statements:
                await driver.execute(statement)
        return pids

    kept, closed = run(main("BEGIN"))
    pids = run(main())
    assert kept in pids
    assert closed not in pids
    assert count_connections(engine) == 2


@asyncpg_only
def test_an_open_transaction_of_the_driver_stays_in_its_loop(engine: AsyncEngine) -> None:
    async def begin() -> int:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("BEGIN")
            return int(driver.get_server_pid())

    first = asyncio.run(begin())
    assert asyncio.run(ask_pid(engine)) != first
    assert count_connections(engine) == 1


@asyncpg_only
def test_a_connection_of_the_applications_own_creator_stays_in_its_loop(url: URL) -> None:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    engine = make_engine(url, async_creator=lambda **_: asyncpg.connect(plain))
    assert asyncio.run(ask_pid(engine)) != asyncio.run(ask_pid(engine))
    assert count_connections(engine) == 0


def test_a_pool_that_keeps_nothing(url: URL) -> None:
    engine = make_engine(url, poolclass=NullPool)
    assert asyncio.run(ask_pid(engine)) != asyncio.run(ask_pid(engine))
    assert count_connections(engine) == 0


def test_outside_of_a_test_run_connections_end_with_their_loop(url: URL) -> None:
    engine = create_async_engine(url)
    pool_per_loop(engine.sync_engine)
    assert asyncio.run(ask_pid(engine)) != asyncio.run(ask_pid(engine))
    assert count_connections(engine) == 0


# --- What may happen while it waits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["while it waits", "in its next loop"])
def test_one_that_the_server_ended_is_opened_anew(engine: AsyncEngine, when: str) -> None:
    first = asyncio.run(ask_pid(engine))
    with server_side(engine) as ask:
        assert ask(f"SELECT pg_terminate_backend({first}, 5000)")
    if when == "in its next loop":
        assert asyncio.run(ask_pid(engine)) != first
    second = asyncio.run(ask_pid(engine))
    assert second != first
    assert asyncio.run(ask_pid(engine)) == second


def test_one_that_was_invalidated_is_opened_anew(engine: AsyncEngine) -> None:
    records: list[Any] = []
    event.listen(engine.sync_engine, "connect", lambda _, record: records.append(record))
    first = asyncio.run(ask_pid(engine))
    records[0].invalidate(soft=True)
    second = asyncio.run(ask_pid(engine))
    assert second != first
    assert asyncio.run(ask_pid(engine)) == second
    assert count_connections(engine) == 1


@pytest.mark.parametrize("how", ["in a loop", "outside"])
def test_disposing_of_the_engine_ends_them(engine: AsyncEngine, how: str) -> None:
    first = asyncio.run(ask_pid(engine))
    if how == "in a loop":
        asyncio.run(engine.dispose())
    else:
        engine.sync_engine.dispose()
    assert count_connections(engine) == 0
    assert asyncio.run(ask_pid(engine)) != first


def test_disposing_in_use_ends_them_with_their_loop(engine: AsyncEngine) -> None:
    async def main() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await engine.dispose()

    asyncio.run(main())
    assert count_connections(engine) == 0


def test_a_task_that_is_cancelled_as_the_first_of_its_loop(engine: AsyncEngine) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(ask_pid(engine))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await ask_pid(engine)

    for _ in range(3):
        asyncio.run(main())
    assert count_connections(engine) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_leaves_them_alone(engine: AsyncEngine) -> None:
    first = asyncio.run(ask_pid(engine))
    pid = os.fork()
    if pid == 0:
        try:
            second = asyncio.run(ask_pid(engine))
            pool_of(engine).dispose()
            os._exit(0 if second != first else 1)
        except BaseException:  # noqa: BLE001  # the child must end here
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert asyncio.run(ask_pid(engine)) == first


FORK = """
import asyncio, os, sys
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy import text
from engineroom._loops import pool_per_loop

async def ask():
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()

engine = create_async_engine(sys.argv[1])
pool_per_loop(engine.sync_engine, is_kept=True)
first = asyncio.run(ask())
child = os.fork()
if child == 0:
    sys.exit()  # as a program ends, handlers included
assert os.waitpid(child, 0)[1] == 0
assert asyncio.run(ask()) == first
"""


def test_a_forked_child_that_ends_says_farewell_for_none(engine: AsyncEngine) -> None:
    command = [sys.executable, "-c", FORK, engine.url.render_as_string(hide_password=False)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")


PROCESS = """
import asyncio, sys
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy import text
from engineroom._loops import pool_per_loop

async def ask():
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()

engine = create_async_engine(sys.argv[1])
pool_per_loop(engine.sync_engine, is_kept=True)
assert asyncio.run(ask()) == asyncio.run(ask())
loop = asyncio.new_event_loop()
loop.run_until_complete(ask())
if sys.argv[2] == "closed":
    loop.close()
"""


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_the_end_of_the_process_is_quiet(engine: AsyncEngine, loop: str) -> None:
    url = engine.url.render_as_string(hide_password=False)
    options = ["-X", "dev", *(["-W", "error"] if loop == "closed" else [])]
    command = [sys.executable, *options, "-c", PROCESS, url, loop]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert loop == "open" or done.stderr == ""
    assert count_connections(engine) == 0


# --- Encryption ------------------------------------------------------------------------------------------------------


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
def encrypted(engine: AsyncEngine, certificate: ssl.SSLContext) -> Iterator[AsyncEngine]:
    """Return an engine that reaches the same database through a door that speaks TLS."""
    started: list[int] = []
    ready, done = threading.Event(), threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(8)
        assert request[4:] == (80877103).to_bytes(4, "big")  # SSLRequest
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(certificate)
        inner_reader, inner_writer = await asyncio.open_connection(engine.url.host, engine.url.port or 5432)
        with contextlib.suppress(asyncio.CancelledError):  # the door is closed
            await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer), return_exceptions=True)

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        started.append(server.sockets[0].getsockname()[1])
        ready.set()
        await asyncio.to_thread(done.wait)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    ready.wait(SECONDS)
    secret = make_engine(engine.url.set(host="127.0.0.1", port=started[0]))
    yield secret
    pool_of(secret).dispose()
    done.set()
    thread.join(SECONDS)


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """Return what a server needs that signs for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    text_of_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(text_of_key + signed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    return context


@asyncpg_only
def test_an_encrypted_connection_stays_in_its_loop(encrypted: AsyncEngine) -> None:
    async def main() -> int:
        async with encrypted.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            assert driver._protocol.is_ssl
        return await ask_pid(encrypted)

    assert asyncio.run(main()) != asyncio.run(main())
    assert count_connections(encrypted) == 0


@pytest.mark.parametrize("url", ["psycopg"], indirect=True)
def test_an_encrypted_connection_of_psycopg_moves(encrypted: AsyncEngine) -> None:
    secret = make_engine(encrypted.url.update_query_dict({"sslmode": "require"}))
    assert asyncio.run(ask_pid(secret)) == asyncio.run(ask_pid(secret))
    pool_of(secret).dispose()


@asyncpg_only
def test_encryption_that_the_server_demands(encrypted: AsyncEngine) -> None:
    secret = make_engine(encrypted.url.update_query_dict({"ssl": "require"}))
    assert asyncio.run(ask_pid(secret)) != asyncio.run(ask_pid(secret))
