"""The permit: what it opens, for whom, until when, and what is told about it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from engineroom import allow_destructive, guard
from engineroom._permit import WATCH_KEY, _current_holder, _is_held_here, _wrong_name, permits_of
from engineroom.errors import DestructiveOperationError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

DROP = "DROP TABLE users"
REASON = "the users moved to the identity service"


@pytest.fixture
def engine(shop: Any) -> Iterator[Engine]:
    """Return a guarded engine of a database that is not disposable."""
    engine = guard(create_engine(f"sqlite:///{shop.path}", pool_size=2, max_overflow=5))
    yield engine
    engine.dispose()


@contextmanager
def permit(engine: Engine | AsyncEngine, **narrow: Any) -> Iterator[Any]:
    with allow_destructive(engine, database=narrow.pop("database", "shop.db"), reason=REASON, **narrow) as opened:
        yield opened


def drop(engine: Engine, sql: str = DROP) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)


def is_refused(engine: Engine, sql: str = "DROP TABLE orders") -> bool:
    try:
        drop(engine, sql)
    except DestructiveOperationError:
        return True
    return False


# What it opens, in every way in


@pytest.mark.parametrize(
    "sql",
    [
        DROP,
        "DROP TABLE notes",
        "DROP TABLE places",
        "DROP VIEW names",
        "DROP TRIGGER log_order",
        "ALTER TABLE users DROP COLUMN nick",
        "ALTER TABLE users RENAME TO people",
        "ALTER TABLE notes RENAME TO papers",
        "ALTER TABLE users RENAME COLUMN nick TO alias",
        "PRAGMA writable_schema = ON",
    ],
)
def test_a_permit_opens_what_is_refused_without_it(way: Any, shop: Any, sql: str) -> None:
    engine = way.make_engine(shop.path)
    with way.open(shop.path, engine) as opened, pytest.raises(DestructiveOperationError):
        opened.send(sql)
    with permit(engine), way.open(shop.path, engine) as opened:
        opened.send(sql)
        opened.commit()
    before = shop.contents()
    with way.open(shop.path, engine) as opened, pytest.raises(DestructiveOperationError):
        opened.send("DROP TABLE orders")
    assert shop.contents() == before


def test_the_same_text_is_refused_permitted_and_refused_again(way: Any, shop: Any) -> None:
    engine = way.make_engine(shop.path)
    for _ in range(2):
        with way.open(shop.path, engine) as opened, pytest.raises(DestructiveOperationError):
            opened.send(DROP)
        with permit(engine), way.open(shop.path, engine) as opened:
            opened.send(DROP)
            opened.commit()
        shop.run("CREATE TABLE users (id)")
    with way.open(shop.path, engine) as opened, pytest.raises(DestructiveOperationError):
        opened.send(DROP)
    assert "users" in shop.names()


def test_a_schema_table_that_was_opened_by_permit_is_shut_with_it(engine: Any, shop: Any) -> None:
    with permit(engine):
        connection = engine.connect()
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql("UPDATE sqlite_master SET sql = sql WHERE name = 'users'")
    with pytest.raises(Exception, match="may not be modified"):
        connection.exec_driver_sql("DELETE FROM sqlite_master WHERE name = 'users'")
    connection.close()
    assert "users" in shop.names()


@pytest.mark.parametrize("is_used", [True, False])
def test_drop_all_passes_as_a_whole(engine: Engine, shop: Any, is_used: bool) -> None:
    if is_used:
        engine.connect().close()
    metadata = MetaData()
    for name in ("users", "orders", "missing"):
        Table(name, metadata, Column("id", Integer))
    with permit(engine):
        metadata.drop_all(engine)
    assert not {"users", "orders"} & shop.names()


def test_drop_all_is_refused_as_a_whole_where_one_table_is_not_permitted(engine: Engine, shop: Any) -> None:
    metadata = MetaData()
    for name in ("users", "orders"):
        Table(name, metadata, Column("id", Integer))
    with permit(engine, objects="users"), pytest.raises(DestructiveOperationError) as caught:
        metadata.drop_all(engine)
    assert caught.value.what == f"Refused to drop table orders on sqlite:///{shop.path}."
    assert "The permit that is open here does not cover this." in caught.value.why
    assert {"users", "orders"} <= shop.names()


# Names


@pytest.mark.parametrize("name", ["shop", "Shop.db", "test_shop.db", "main", "*", "shop.db "])
def test_a_wrong_name_is_an_error_at_the_first_connection(engine: Engine, shop: Any, name: str) -> None:
    before = shop.contents()
    with permit(engine, database=name), pytest.raises(InvalidSettingError) as caught:
        engine.connect()
    assert f'"{name}"' in caught.value.what
    assert '"shop.db"' in caught.value.why
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    assert shop.contents() == before


@pytest.mark.parametrize("spelling", ["path", "symlink", "uri"])
def test_the_real_file_gives_the_name(shop: Any, folder: Any, spelling: str) -> None:
    (folder / "test_link.db").symlink_to(shop.path)
    urls = {
        "path": f"sqlite:///{shop.path}",
        "symlink": f"sqlite:///{folder}/test_link.db",
        "uri": f"sqlite:///file:{shop.path}?mode=rw&uri=true",
    }
    engine = guard(create_engine(urls[spelling]))
    with permit(engine, database=str(shop.path)):
        drop(engine, "DROP VIEW names")
    with permit(engine):
        drop(engine)
    engine.dispose()


def test_a_permit_opens_no_database_that_is_attached(engine: Engine, shop: Any, folder: Any) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "shop.db").write_bytes(shop.path.read_bytes())
    with permit(engine), engine.connect() as connection:
        connection.exec_driver_sql("ATTACH ? AS other", (str(other / "shop.db"),))
        with pytest.raises(DestructiveOperationError) as caught:
            connection.exec_driver_sql("DROP TABLE other.users")
        assert str(other) in caught.value.what
        with pytest.raises(DestructiveOperationError):
            connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql("DROP TABLE main.users")


def test_a_permit_does_not_attach_anything_to_open_schema_tables(engine: Engine, shop: Any, folder: Any) -> None:
    (folder / "archive.db").write_bytes(shop.path.read_bytes())
    with permit(engine), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        with pytest.raises(DestructiveOperationError):
            connection.exec_driver_sql("ATTACH ? AS archive", (str(folder / "archive.db"),))


@pytest.mark.parametrize("arguments", [("", REASON), (" ", REASON), ("shop.db", ""), ("shop.db", "\n")])
def test_a_name_and_a_reason_are_needed(engine: Engine, arguments: tuple[str, str]) -> None:
    with pytest.raises(InvalidSettingError, match="The permit has no"):
        allow_destructive(engine, database=arguments[0], reason=arguments[1])


# Narrowing

NARROWED = {
    "one operation": ({"operations": "drop table"}, [DROP], ["DROP VIEW names", "ALTER TABLE users DROP nick"]),
    "a verb": ({"operations": ["drop"]}, ["DROP VIEW names", DROP], ["ALTER TABLE users RENAME TO x"]),
    "an operation in other words": ({"operations": "  DROP   Table "}, [DROP], ["DROP VIEW names"]),
    "several operations": (
        {"operations": ("rename column", "drop view")},
        ["ALTER TABLE users RENAME nick TO x", "DROP VIEW names"],
        [DROP, "ALTER TABLE users RENAME TO x"],
    ),
    "one object": ({"objects": "users"}, ["ALTER TABLE users DROP nick", DROP], ["DROP TABLE orders"]),
    "a column": ({"objects": "users.nick"}, ["ALTER TABLE users DROP nick"], [DROP, 'ALTER TABLE users DROP "drop"']),
    "several objects": ({"objects": {"users", "orders"}}, [DROP, "DROP TABLE orders"], ["DROP VIEW names"]),
    "an operation on an object": (
        {"operations": "drop table", "objects": "users"},
        [DROP],
        ["ALTER TABLE users DROP nick", "DROP TABLE orders"],
    ),
    "no object": ({"objects": []}, [], [DROP, "PRAGMA writable_schema = ON"]),
    "no operation": ({"operations": []}, [], [DROP]),
    "an object, but all are meant": ({"objects": "users"}, [], ["PRAGMA writable_schema = ON"]),
    "the schema's own table": ({"operations": "switch on writable_schema"}, ["PRAGMA writable_schema = ON"], [DROP]),
}


@pytest.mark.parametrize(("narrow", "allowed", "refused"), NARROWED.values(), ids=NARROWED)
def test_a_permit_is_as_narrow_as_it_was_made(
    engine: Engine, narrow: dict[str, Any], allowed: list[str], refused: list[str]
) -> None:
    with permit(engine, **narrow):
        for sql in refused:
            assert is_refused(engine, sql)
        for sql in allowed:
            drop(engine, sql)


def test_a_virtual_table_goes_with_its_shadows_or_not_at_all(engine: Engine, shop: Any) -> None:
    before = shop.contents()
    with permit(engine, objects="notes"), pytest.raises(DestructiveOperationError, match="drop table notes_"):
        drop(engine, "DROP TABLE notes")
    assert shop.contents() == before
    with permit(engine):
        drop(engine, "DROP TABLE notes")
    assert not {name for name in shop.names() if name.startswith("notes")}


def test_a_table_takes_its_triggers_along(engine: Engine, shop: Any) -> None:
    with permit(engine, operations="drop table"), engine.begin() as connection:
        with pytest.raises(DestructiveOperationError):
            connection.exec_driver_sql("DROP TRIGGER log_order")
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("DROP TABLE orders")
        connection.exec_driver_sql("ROLLBACK")
        with pytest.raises(DestructiveOperationError):
            connection.exec_driver_sql("DROP TRIGGER log_order")
    assert shop.names("trigger") == {"log_order"}


def test_permits_stand_inside_each_other(engine: Engine) -> None:
    with permit(engine, objects="users"):
        with permit(engine, objects="orders"), engine.begin() as connection:
            connection.exec_driver_sql(DROP)
            connection.exec_driver_sql("DROP TABLE orders")
        assert is_refused(engine, "DROP VIEW names")
        with permit(engine):
            drop(engine, "DROP VIEW names")
        assert is_refused(engine, "DROP TABLE notes")


def test_a_permit_is_entered_once_at_a_time(engine: Engine) -> None:
    reusable = allow_destructive(engine, database="shop.db", reason=REASON)
    with reusable, pytest.raises(InvalidSettingError, match="is open already"):
        reusable.__enter__()
    with reusable:
        drop(engine)
    assert is_refused(engine)


def test_a_name_of_ones_own_that_something_else_got_is_not_ones_own(engine: Engine, shop: Any) -> None:
    with permit(engine, operations="rename"), engine.connect() as connection:
        for gone in ("DROP TABLE scratch", "ALTER TABLE scratch RENAME TO somewhere"):
            connection.exec_driver_sql("CREATE TABLE scratch (a)")
            connection.exec_driver_sql(gone)
            connection.exec_driver_sql("ALTER TABLE users RENAME TO scratch")
            with pytest.raises(DestructiveOperationError):
                connection.exec_driver_sql("DROP TABLE scratch")
            connection.exec_driver_sql("ALTER TABLE scratch RENAME TO users")
    assert "users" in shop.names()


def test_a_table_of_ones_own_stays_so_when_it_could_not_be_dropped(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE scratch (a, b)")
        connection.exec_driver_sql("ALTER TABLE scratch DROP COLUMN a")
        for _ in range(2):
            with pytest.raises(Exception, match="use DROP TABLE"):
                connection.exec_driver_sql("DROP VIEW scratch")
        connection.exec_driver_sql("DROP TABLE scratch")


# For whom, and until when


def test_a_permit_ends_with_its_block_even_by_an_error(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), permit(engine):
        raise ZeroDivisionError
    assert is_refused(engine)
    assert not permits_of(engine.dialect)


def test_a_connection_that_was_taken_before_is_not_permitted(engine: Engine) -> None:
    with engine.connect() as earlier, permit(engine):
        with pytest.raises(DestructiveOperationError) as caught:
            earlier.exec_driver_sql(DROP)
        assert "it was taken before the block, or by somebody else" in caught.value.why
        drop(engine, "DROP VIEW names")
        with pytest.raises(DestructiveOperationError):
            earlier.exec_driver_sql(DROP)


def test_a_connection_that_was_given_back_is_not_permitted_to_somebody_else(engine: Engine) -> None:
    with permit(engine):
        engine.connect().close()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(is_refused, engine).result(30)
        drop(engine)


def test_a_connection_that_is_kept_is_not_permitted_after_the_block(engine: Engine) -> None:
    with permit(engine):
        kept = engine.connect()
        kept.exec_driver_sql("DROP VIEW names")
    with pytest.raises(DestructiveOperationError) as caught:
        kept.exec_driver_sql(DROP)
    assert "permit" not in caught.value.why
    kept.close()
    assert is_refused(engine)


def test_a_permit_that_opens_again_holds_for_no_connection_of_its_first_block(engine: Engine) -> None:
    twice = allow_destructive(engine, database="shop.db", reason=REASON)
    with twice:
        connection = engine.connect()
    with twice, pytest.raises(DestructiveOperationError, match="not for this connection"):
        connection.exec_driver_sql(DROP)
    connection.close()


@pytest.mark.parametrize("pool", [NullPool, StaticPool, QueuePool])
def test_every_pool_knows_permits(shop: Any, pool: type) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}", poolclass=pool))
    assert is_refused(engine)
    with permit(engine):
        drop(engine)
    assert is_refused(engine)
    engine.dispose()


def test_who_takes_a_shared_connection_last_decides(shop: Any) -> None:
    options: Any = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    engine = guard(create_engine(f"sqlite:///{shop.path}", **options))
    with permit(engine), engine.connect():
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(is_refused, engine).result(30)
        drop(engine)
    engine.dispose()


def test_a_detached_connection_keeps_its_permit_to_the_end_of_the_block(engine: Engine) -> None:
    with permit(engine):
        connection = engine.connect()
        connection.detach()
        connection.exec_driver_sql("DROP VIEW names")
    with pytest.raises(DestructiveOperationError):
        connection.exec_driver_sql(DROP)
    connection.close()


def test_other_threads_are_refused_meanwhile(engine: Engine) -> None:
    inside = threading.Barrier(2, timeout=30)
    outcome: list[bool] = []

    def other() -> None:
        inside.wait()
        outcome.extend(is_refused(engine) for _ in range(20))
        inside.wait()

    thread = threading.Thread(target=other)
    thread.start()
    with permit(engine):
        inside.wait()
        drop(engine)
        inside.wait()
    thread.join(30)
    assert outcome == [True] * 20


def test_a_thread_that_inherits_the_number_of_another_inherits_no_permit(engine: Engine) -> None:
    left_open = allow_destructive(engine, database="shop.db", reason=REASON)
    outcome: list[bool] = []
    for target in (left_open.__enter__, lambda: outcome.append(is_refused(engine))):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join(30)
    left_open.__exit__(None, None, None)
    assert outcome == [True]


def test_permits_come_and_go_while_others_take_connections(engine: Engine) -> None:
    """Pin that no listener changes while another thread may be calling it."""
    seen: list[str] = []
    for number in range(5):
        event.listen(engine, "checkout", lambda *_, number=number: seen.append(str(number)))
    stop, errors = threading.Event(), []

    def take() -> None:
        while not stop.is_set():
            try:
                engine.connect().close()
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

    with permit(engine):
        drop(engine)
    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        with permit(engine):
            assert not is_refused(engine, "DROP TABLE IF EXISTS missing")
    stop.set()
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_tasks_are_told_apart(shop: Any) -> None:
    async def attempt(engine: AsyncEngine, sql: str = "DROP TABLE orders") -> str:
        try:
            async with engine.begin() as connection:
                await connection.execute(text(sql))
        except DestructiveOperationError:
            return "refused"
        return "permitted"

    async def run() -> list[Any]:
        engine = guard(create_async_engine(f"sqlite+aiosqlite:///{shop.path}"))
        async with engine.connect():
            pass
        loop = asyncio.get_running_loop()
        async with allow_destructive(engine, database="shop.db", reason=REASON):
            outcome = [await asyncio.create_task(attempt(engine)), await attempt(engine, "DROP VIEW names")]
            outcome += await asyncio.gather(attempt(engine), attempt(engine))
            async with asyncio.TaskGroup() as group:
                child = group.create_task(attempt(engine))
            outcome.append(child.result())
            outcome.append(await loop.run_in_executor(None, lambda: asyncio.run(attempt(other))))
            with permit(engine, objects="users"):
                outcome.append(await attempt(engine, DROP))
        outcome.append(await attempt(engine))
        await engine.dispose()
        return outcome

    other = guard(create_async_engine(f"sqlite+aiosqlite:///{shop.path}", poolclass=NullPool))
    outcome = asyncio.run(run())
    assert outcome == ["refused", "permitted", "refused", "refused", "refused", "refused", "permitted", "refused"]
    assert "orders" in shop.names()


def test_permits_of_two_tasks_at_once_hold_for_each_alone(shop: Any) -> None:
    async def run() -> None:
        engine = guard(create_async_engine(f"sqlite+aiosqlite:///{shop.path}"))
        both_open = asyncio.Barrier(2)

        async def work(name: str, forbidden: str) -> None:
            async with allow_destructive(engine, database="shop.db", reason=REASON, objects=name):
                await both_open.wait()
                async with engine.connect() as connection:
                    with pytest.raises(DestructiveOperationError):
                        await connection.execute(text(f"DROP VIEW {forbidden}"))
                    await both_open.wait()
                    await connection.execute(text(f"DROP VIEW {name}"))
                await both_open.wait()

        await asyncio.wait_for(asyncio.gather(work("one", "two"), work("two", "one")), 30)
        await engine.dispose()

    shop.run("CREATE VIEW one AS SELECT 1; CREATE VIEW two AS SELECT 2;")
    asyncio.run(run())
    assert shop.names("view") == {"names"}


def test_a_permit_of_a_sync_block_in_a_task_holds_for_the_task(shop: Any) -> None:
    async def run() -> None:
        engine = guard(create_async_engine(f"sqlite+aiosqlite:///{shop.path}"))
        with permit(engine):
            async with engine.begin() as connection:
                await connection.run_sync(lambda sync: sync.exec_driver_sql(DROP))
        await engine.dispose()

    asyncio.run(run())
    assert "users" not in shop.names()


# Copies of engines, and engines that change


def test_a_permit_holds_for_copies_of_an_engine(engine: Engine) -> None:
    copy = engine.execution_options(isolation_level="AUTOCOMMIT")
    with permit(copy):
        drop(engine)
    with permit(engine):
        drop(copy, "DROP TABLE orders")
    assert is_refused(copy, "DROP TABLE notes")


def test_a_permit_holds_when_the_engine_is_disposed_of_inside(engine: Engine) -> None:
    with permit(engine):
        engine.dispose()
        drop(engine)
    engine.dispose()
    assert is_refused(engine)
    with permit(engine):
        drop(engine, "DROP TABLE orders")


def test_a_permit_follows_a_pool_once(engine: Engine) -> None:
    before = len(list(engine.pool.dispatch.checkout))
    for _ in range(3):
        with permit(engine), permit(engine):
            engine.dispose()
    assert len(list(engine.pool.dispatch.checkout)) == before + 1


def test_a_permit_for_another_engine_opens_nothing(engine: Engine, shop: Any) -> None:
    other = guard(create_engine(f"sqlite:///{shop.path}"))
    with permit(other):
        assert is_refused(engine)
    other.dispose()


def test_a_permit_for_an_engine_without_the_guard_changes_nothing(shop: Any) -> None:
    plain = create_engine(f"sqlite:///{shop.path}")
    with permit(plain, database="anything"):
        drop(plain)
    plain.dispose()


# The log


def test_a_permit_is_logged_with_its_reason_and_every_use(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="engineroom.permit")
    with permit(engine), engine.begin() as connection:
        connection.execute(text("INSERT INTO users (name) VALUES (:name)"), {"name": "hunter2"})
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN nick")
        connection.exec_driver_sql(DROP)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", f"permit opened for database shop.db (reason: {REASON})"),
        ("WARNING", f"permitted on database shop.db: drop column users.nick (reason: {REASON})"),
        ("WARNING", f"permitted on database shop.db: drop table users (reason: {REASON})"),
        ("INFO", f"permit closed for database shop.db (reason: {REASON})"),
    ]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("ALTER TABLE users RENAME TO people", "rename table users"),
        ("ALTER TABLE users RENAME nick TO x", "rename column users"),
        ("PRAGMA writable_schema = ON", "switch on writable_schema"),
        ("DROP TABLE IF EXISTS missing", None),
        ("SELECT 1", None),
    ],
)
def test_a_use_is_logged_once(engine: Engine, caplog: pytest.LogCaptureFixture, sql: str, told: str | None) -> None:
    with permit(engine):
        drop(engine, sql)
    uses = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert uses == ([f"permitted on database shop.db: {told} (reason: {REASON})"] if told else [])


def test_a_log_that_is_kept_in_the_same_database_works(engine: Engine, shop: Any) -> None:
    class InDatabase(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            connection.exec_driver_sql("INSERT INTO audit VALUES (?)", (record.getMessage(),))

    shop.run("CREATE TABLE audit (line)")
    logger, handler = logging.getLogger("engineroom.permit"), InDatabase(logging.WARNING)
    with permit(engine), engine.connect() as connection:
        logger.addHandler(handler)
        try:
            connection.exec_driver_sql(DROP)
        finally:
            logger.removeHandler(handler)
        connection.commit()
    assert any("drop table users" in line for line in shop.contents())


def test_every_use_in_a_script_is_logged(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with permit(engine):
        raw = engine.raw_connection()
        driver: Any = raw.driver_connection
        driver.executescript("DROP VIEW names; DROP TABLE users; DROP TABLE orders;")
        raw.close()
    assert [record.getMessage().split(":")[1].split(" (")[0] for record in caplog.records] == [
        " drop view names",
        " drop table users",
        " drop table orders",
    ]


# What SQLite does not ask about


def test_a_permit_opens_a_backup_over_the_database(engine: Engine, shop: Any) -> None:
    source = sqlite3.connect(":memory:")
    free = guard(create_engine("sqlite://"))
    with permit(engine):
        raw, empty = engine.raw_connection(), free.raw_connection()
        driver: Any = empty.driver_connection
        driver.backup(raw.driver_connection)
        raw.close()
        empty.close()
    free.dispose()
    source.close()
    assert shop.names() == set()


# What is said and covered, to the letter


def test_a_wrong_name_is_answered_with_the_names_that_would_do(engine: Engine, shop: Any) -> None:
    with permit(engine, database="store.db"), pytest.raises(InvalidSettingError) as caught:
        engine.connect()
    assert caught.value.what == 'The permit names the database "store.db", but the connection reaches another one.'
    assert f'it reaches "shop.db" or "{shop.path}"; nothing was executed.' in caught.value.why
    assert list(caught.value.fix) == [
        "name the database that is meant to lose something",
        "point the engine at the database that was named",
    ]


def test_a_verb_covers_every_kind_and_nothing_is_covered_after_the_block(engine: Engine) -> None:
    with permit(engine, operations="drop") as opened:
        assert opened.covers("drop materialized view", ("totals",))
        assert not opened.covers("truncate table", ("totals",))
    assert not opened.covers("drop materialized view", ("totals",))


def test_a_database_whose_name_is_not_known_is_told_as_such() -> None:
    reached = _wrong_name("shop", [])
    assert "it reaches a database whose name is not known; nothing was executed." in reached.why


def test_a_use_tells_all_its_objects(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with permit(engine) as opened:
        opened.tell_use("drop table", ("users", "orders"))
    assert f"permitted on database shop.db: drop table users, orders (reason: {REASON})" in caplog.messages


def test_a_permit_that_nobody_holds_any_more_is_held_by_nobody() -> None:
    # Another thread may close it between the pool's look at the open ones and the question who holds it.
    assert not _is_held_here(None)
    assert _is_held_here(_current_holder())


def test_a_connection_that_went_back_to_its_pool_has_no_permit(engine: Engine) -> None:
    with permit(engine):
        with engine.connect() as connection:
            grants = connection.info[WATCH_KEY].grants
            assert grants.find("drop table", ("users",)) is not None
        assert grants.find("drop table", ("users",)) is None


def test_a_permit_that_says_too_little_is_answered_with_what_to_write(engine: Engine) -> None:
    for missing in ("database", "reason"):
        with pytest.raises(InvalidSettingError) as caught:
            allow_destructive(engine, **{"database": "shop.db", "reason": REASON, missing: " "})
        assert caught.value.what == f"The permit has no {missing}."
        assert caught.value.why == (
            "a permit names the database that is really reached and says why the loss is wanted."
        )
        assert list(caught.value.fix) == [
            'write allow_destructive(engine, database="shop", reason="drop the table of the old importer")'
        ]


def test_a_permit_that_is_entered_twice_is_answered_with_what_to_call(engine: Engine) -> None:
    with permit(engine) as opened, pytest.raises(InvalidSettingError) as caught, opened:
        pass
    assert caught.value.why == "a permit is one visible block, and belongs to the thread or task that entered it."
    assert list(caught.value.fix) == ["call engineroom.allow_destructive(...) anew for each block"]
