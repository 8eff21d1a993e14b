"""Whatever SQLAlchemy itself offers to drop things is refused, ``drop_all`` as a whole, sync and async alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    DDL,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    create_engine,
    inspect,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateTable, DropTable

from engineroom import allow_destructive, guard
from engineroom._guard.drop_all import before_drop_all
from engineroom.errors import DestructiveOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def run_sync(url: str, work: Callable[[Connection], object]) -> None:
    engine = guard(create_engine(url))
    try:
        with engine.begin() as connection:
            work(connection)
    finally:
        engine.dispose()


def run_async(url: str, work: Callable[[Connection], object]) -> None:
    async def run() -> None:
        engine = guard(create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:")))
        try:
            async with engine.begin() as connection:
                await connection.run_sync(work)
        finally:
            await engine.dispose()

    asyncio.run(run())


@pytest.fixture(params=[run_sync, run_async], ids=["sync", "async"])
def run(request: pytest.FixtureRequest, shop: Any) -> Callable[[Callable[[Connection], object]], None]:
    """Return a function that runs something with a connection of a guarded engine."""
    return lambda work: request.param(f"sqlite:///{shop.path}", work)


@pytest.fixture
def metadata() -> MetaData:
    """Return the tables of the application; some are in the database."""
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer, primary_key=True))
    Table("orders", metadata, Column("id", Integer, primary_key=True), Column("user", ForeignKey("users.id")))
    Table("not_yet_there", metadata, Column("id", Integer, primary_key=True))
    return metadata


@pytest.fixture(autouse=True)
def _unchanged(shop: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    before = shop.contents()
    yield
    if "changes" not in request.fixturenames:
        assert shop.contents() == before


@pytest.fixture
def changes() -> None:
    """Say of a test that it changes the database."""


DROPS: dict[str, Callable[[Connection, MetaData], object]] = {
    "Table.drop": lambda connection, metadata: metadata.tables["users"].drop(connection),
    "Table.drop, to be sure": lambda connection, metadata: metadata.tables["users"].drop(connection, checkfirst=True),
    "DropTable": lambda connection, metadata: connection.execute(DropTable(metadata.tables["users"])),
    "DropTable, to be sure": lambda connection, metadata: connection.execute(
        DropTable(metadata.tables["users"], if_exists=True)
    ),
    "DDL": lambda connection, _: connection.execute(DDL("DROP TABLE users")),  # type: ignore[no-untyped-call,unused-ignore]
    "text": lambda connection, _: connection.execute(text("DROP TABLE users")),
    "a session": lambda connection, _: Session(connection).execute(text("DROP TABLE users")),
    "one of several": lambda connection, metadata: metadata.drop_all(connection, tables=[metadata.tables["users"]]),
    "one that is reflected": lambda connection, _: Table("users", MetaData(), autoload_with=connection).drop(
        connection
    ),
}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
def test_a_table_is_not_dropped(run: Any, shop: Any, metadata: MetaData, drop: Any) -> None:
    with pytest.raises(DestructiveOperationError) as caught:
        run(lambda connection: drop(connection, metadata))
    assert caught.value.what == f"Refused to drop table users on sqlite:///{shop.path}."


def test_drop_all_tells_all_tables_that_are_there(run: Any, shop: Any, metadata: MetaData) -> None:
    with pytest.raises(DestructiveOperationError) as caught:
        run(metadata.drop_all)
    assert caught.value.what == f"Refused to drop tables orders, users on sqlite:///{shop.path}."


def test_drop_all_counts_many_tables(run: Any, shop: Any) -> None:
    metadata = MetaData()
    for number in range(14):
        Table(f"table_{number}", metadata, Column("id", Integer))
    with pytest.raises(DestructiveOperationError) as caught:
        run(lambda connection: metadata.drop_all(connection, checkfirst=False))
    assert caught.value.what == f"Refused to drop 14 tables on sqlite:///{shop.path}."


def test_drop_all_is_refused_before_its_first_statement(shop: Any, metadata: MetaData) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    sent: list[str] = []
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(sent.append)
        with pytest.raises(DestructiveOperationError):
            metadata.drop_all(connection)
    engine.dispose()
    assert not [sql for sql in sent if "DROP" in sql.upper()]


def test_drop_all_of_an_engine_is_refused(shop: Any, metadata: MetaData) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    with pytest.raises(DestructiveOperationError):
        metadata.drop_all(engine)
    with pytest.raises(DestructiveOperationError):
        metadata.drop_all(engine.execution_options(isolation_level="AUTOCOMMIT"))
    engine.dispose()


def test_drop_all_of_what_is_not_there_is_allowed(run: Any) -> None:
    metadata = MetaData()
    Table("not_yet_there", metadata, Column("id", Integer))
    run(metadata.drop_all)
    run(MetaData().drop_all)


def test_drop_all_of_what_was_just_created_is_allowed(run: Any) -> None:
    metadata = MetaData()
    Table("Fresh", metadata, Column("id", Integer, primary_key=True))
    Table("fresh_too", metadata, Column("id", Integer), Column("fresh", ForeignKey("Fresh.id")))
    Index("by_id", metadata.tables["fresh_too"].c.id)

    def create_and_drop(connection: Connection) -> None:
        metadata.create_all(connection)
        metadata.drop_all(connection)
        connection.execute(CreateTable(metadata.tables["Fresh"]))
        connection.execute(DropTable(metadata.tables["Fresh"]))

    run(create_and_drop)


def test_drop_all_of_old_and_new_tables_tells_the_old_ones(run: Any, shop: Any) -> None:
    metadata = MetaData()
    for name in ("fresh", "users"):
        Table(name, metadata, Column("id", Integer))

    def create_and_drop(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
        metadata.create_all(connection)
        metadata.drop_all(connection)

    with pytest.raises(DestructiveOperationError) as caught:
        run(create_and_drop)
    assert caught.value.what == f"Refused to drop table users on sqlite:///{shop.path}."


@pytest.mark.parametrize("prefix", ["TEMPORARY", "TEMP", "temporary"])
def test_drop_all_of_temporary_tables_is_allowed(run: Any, prefix: str) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer), prefixes=[prefix])
    Table("scratch", metadata, Column("id", Integer), prefixes=[prefix])

    def create_and_drop(connection: Connection) -> None:
        metadata.create_all(connection, checkfirst=False)
        metadata.drop_all(connection)

    run(create_and_drop)


def test_a_table_that_only_says_it_is_temporary_is_not_dropped(run: Any) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer), prefixes=["TEMPORARY"])
    with pytest.raises(DestructiveOperationError):
        run(metadata.drop_all)


def test_drop_all_goes_by_the_schema_that_is_meant(run: Any, folder: Any) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer))
    Table("orders", metadata, Column("id", Integer), schema="other")

    def drop(connection: Connection) -> None:
        connection.exec_driver_sql("ATTACH ? AS other", (str(folder / "test_other.db"),))
        translated = connection.execution_options(schema_translate_map={None: "other"})
        metadata.create_all(translated)
        metadata.drop_all(translated)
        Table("orders", MetaData(), Column("id", Integer), schema="main").create(connection, checkfirst=True)
        with pytest.raises(DestructiveOperationError, match="drop table users on"):
            metadata.drop_all(connection.execution_options(schema_translate_map=None))

    run(drop)


@pytest.mark.parametrize("name", ["test_other.db", "other.db"])
def test_drop_all_looks_at_what_was_attached_last(folder: Any, name: str) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer), schema="other")
    engine = guard(create_engine(f"sqlite:///{folder}/shop.db"))
    with engine.connect() as connection:
        connection.exec_driver_sql("ATTACH ? AS other", (str(folder / name),))
        metadata.create_all(connection, checkfirst=False)
        connection.commit()
    with engine.connect() as connection:
        connection.connection.cursor().execute("DETACH other")
        connection.connection.cursor().execute("ATTACH ? AS other", (str(folder / name),))
        if name == "test_other.db":
            metadata.drop_all(connection, checkfirst=False)
        else:
            with pytest.raises(DestructiveOperationError):
                metadata.drop_all(connection, checkfirst=False)
    engine.dispose()


def test_drop_all_in_an_attached_database_is_refused(shop: Any, folder: Any) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer), schema="shop")
    engine = guard(create_engine(f"sqlite:///{folder}/test_home.db"))
    with engine.connect() as connection:
        connection.exec_driver_sql("ATTACH ? AS shop", (str(shop.path),))
        with pytest.raises(DestructiveOperationError) as caught:
            metadata.drop_all(connection)
    engine.dispose()
    assert caught.value.what == f"Refused to drop table shop.users on sqlite:///{shop.path}."
    assert "attach a database" in caught.value.fix[0]


@pytest.mark.usefixtures("changes")
def test_everything_may_go_where_the_database_is_disposable(folder: Any, shop: Any, metadata: MetaData) -> None:
    free = folder / "test_shop.db"
    free.write_bytes(shop.path.read_bytes())
    for run in (run_sync, run_async):
        run(f"sqlite:///{free}", metadata.create_all)
        run(f"sqlite:///{free}", metadata.drop_all)
        run(f"sqlite:///{free}", _assert_gone)
    for url in ("sqlite://", "sqlite:///:memory:"):
        run_sync(url, metadata.create_all)
        run_async(url, metadata.drop_all)


def _assert_gone(connection: Connection) -> None:
    assert not {"users", "orders"} & set(inspect(connection).get_table_names())


class Base(DeclarativeBase):
    """An application's models."""


class User(Base):
    """One that has a table in the database."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


@pytest.mark.usefixtures("changes")
def test_the_orm_is_not_disturbed(shop: Any) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([User(name="DROP TABLE users") for _ in range(3)])
        session.flush()
        session.query(User).filter(User.name == "Ada").delete()
        session.commit()
        assert session.query(User).count() == 5
        with pytest.raises(DestructiveOperationError):
            session.execute(text("DROP TABLE users"))
        assert session.query(User).count() == 5
    engine.dispose()


@pytest.mark.usefixtures("changes")
def test_the_asynchronous_orm_is_not_disturbed(shop: Any) -> None:
    async def run() -> None:
        engine = guard(create_async_engine(f"sqlite+aiosqlite:///{shop.path}"))
        async with AsyncSession(engine) as session:
            session.add(User(name="Edsger"))
            await session.commit()
            with pytest.raises(DestructiveOperationError):
                await session.execute(text("DROP TABLE users"))
            await session.rollback()
            found = await session.stream(text("SELECT name FROM users"))
            assert len([row async for row in found]) == 4
        with pytest.raises(DestructiveOperationError):
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.drop_all)
        await engine.dispose()

    asyncio.run(run())


def test_metadata_with_views_is_told_as_such(shop: Any) -> None:
    metadata = MetaData()
    view = Table("names", metadata, Column("name", Integer))
    if not hasattr(view, "is_view"):
        pytest.skip("SQLAlchemy 2.1 brought views")
    from sqlalchemy import CreateView, select  # noqa: PLC0415  # SQLAlchemy 2.1

    views = MetaData()
    CreateView(select(Table("users", MetaData(), Column("name", Integer))), "names", metadata=views)
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    with pytest.raises(DestructiveOperationError) as caught:
        views.drop_all(engine)
    engine.dispose()
    assert caught.value.what == f"Refused to drop view names on sqlite:///{shop.path}."


def test_a_permit_to_drop_views_lets_the_views_of_a_metadata_go(shop: Any) -> None:
    metadata = MetaData()
    users = Table("users", MetaData(), Column("name", Integer))
    if not hasattr(users, "is_view"):
        pytest.skip("SQLAlchemy 2.1 brought views")
    from sqlalchemy import CreateView, select  # noqa: PLC0415  # SQLAlchemy 2.1

    view = CreateView(select(users), "names", metadata=metadata).table
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    with (
        allow_destructive(engine, database="shop.db", reason="a test", operations="drop view"),
        engine.connect() as connection,
    ):
        before_drop_all(metadata, connection, tables=[view])
    with (
        allow_destructive(engine, database="shop.db", reason="a test", operations="drop table"),
        engine.connect() as connection,
        pytest.raises(DestructiveOperationError, match="drop view names"),
    ):
        before_drop_all(metadata, connection, tables=[view])
    engine.dispose()


def test_drop_all_tells_that_a_permit_covers_something_else(shop: Any, metadata: MetaData) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    with (
        allow_destructive(engine, database="shop.db", reason="a test", objects=["orders"]),
        pytest.raises(DestructiveOperationError, match="The permit that is open here does not cover this"),
    ):
        metadata.drop_all(engine)
    engine.dispose()
