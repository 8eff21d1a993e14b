"""Several binds: two databases on one server, one in memory beside them, and two binds of one database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.server_shop import CONFIGURATION, DRIVERS, Shop, one_of_each_server, shop_on_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import SmallProject

BINDS = (
    CONFIGURATION
    + """
    [tool.engineroom.binds.stock]
    schema = "app.more:stock_metadata"
    seed = "app.more:fill_stock"
    [tool.engineroom.binds.notes]
    schema = "app.more:notes_metadata"
    [tool.engineroom.binds.replica]
"""
)
MORE = """
    from sqlalchemy import Column, Integer, MetaData, String, Table
    from engineroom import get_async_engine, get_engine

    replica = get_engine(bind="replica")
    stock, notes = get_engine(bind="stock"), get_engine(bind="notes")
    async_stock = get_async_engine(bind="stock")
    stock_metadata, notes_metadata = MetaData(), MetaData()
    items = Table("items", stock_metadata, Column("id", Integer, primary_key=True))
    texts = Table("texts", notes_metadata, Column("id", Integer, primary_key=True), Column("text", String(50)))

    def fill_stock(session):
        session.execute(items.insert(), [{}])
"""
TESTS = """
    import asyncio
    import pytest
    from sqlalchemy import delete, func, insert, inspect, select, text
    from app.more import async_stock, items, notes, replica, stock, texts
    from app.db import Session, engine, names
    from app.models import User

    @pytest.fixture(autouse=True)
    def baselines():
        assert names() == ["seed"]
        with stock.connect() as connection:
            assert connection.scalars(select(items.c.id)).all() == [1]
        with notes.connect() as connection:
            assert connection.scalars(select(texts.c.id)).all() == []
        assert inspect(stock).get_table_names() == ["items"]
        assert inspect(notes).get_table_names() == ["texts"]
        assert set(inspect(engine).get_table_names()) == {"posts", "users"}

    def write():
        with Session.begin() as session:
            session.add(User(name="new"))
        with stock.begin() as connection:
            assert connection.execute(insert(items)).inserted_primary_key == (2,)
        with notes.begin() as connection:
            connection.execute(insert(texts), [{"text": "new"}])

    @pytest.mark.parametrize("times", range(3))
    def test_all_binds(times):
        write()
        assert replica.url.database == engine.url.database
        with replica.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM users")) == 2

    @pytest.mark.parametrize("times", range(2))
    def test_one_bind_by_an_async_engine(times):
        async def run():
            async with async_stock.begin() as connection:
                await connection.execute(delete(items))
        asyncio.run(run())

    def test_objects_of_one_bind():
        with stock.begin() as connection:
            connection.execute(text("DROP TABLE items"))
            connection.execute(text("CREATE TABLE extra (id int)"))
        write_to_others = Session()
        write_to_others.add(User(name="more"))
        write_to_others.commit()
        write_to_others.close()

    class TestWithAFixture:
        @pytest.fixture(scope="class", autouse=True)
        @classmethod
        def two(cls):
            with stock.begin() as connection:
                connection.execute(text("CREATE TABLE of_the_class (id int)"))
            with Session.begin() as session:
                session.add(User(name="class"))
            yield

        @pytest.fixture(autouse=True)
        def baselines(self):
            assert names() == ["seed", "class"]
            assert set(inspect(stock).get_table_names()) == {"items", "of_the_class"}

        @pytest.mark.parametrize("times", range(2))
        def test_each_keeps_its_layer(self, times):
            write()
"""


def use_binds(shop: Shop) -> Shop:
    """Give the application three databases: two on the server, one in memory; one of them by a second bind too."""
    shop.project.write_text("pyproject.toml", BINDS)
    shop.project.write(app__more=MORE, test_shop=TESTS)
    shop.project.environ |= {
        "STOCK_DATABASE_URL": shop.url.set(database=f"{shop.name}_stock").render_as_string(hide_password=False),
        "NOTES_DATABASE_URL": "sqlite:///notes.db",
        "REPLICA_DATABASE_URL": shop.project.environ["DATABASE_URL"],
    }
    return shop


@pytest.fixture(params=list(DRIVERS.values()), ids=list(DRIVERS))
def shop(request: pytest.FixtureRequest, lone_project: SmallProject) -> Iterator[Shop]:
    with shop_on_server(request, lone_project) as made:
        yield use_binds(made)


@one_of_each_server
def test_each_bind_has_a_schema_and_a_baseline_of_its_own(shop: Shop) -> None:
    outcome = shop.project.pytest("-p", "no:randomly", "-n2")
    assert outcome.counts == {"passed": 8}, outcome.out + outcome.err
    kept = shop.kept_databases("_gw0", "_gw1", "_stock_gw0", "_stock_gw1")
    assert shop.databases() == kept
    with shop.held():
        outcome = shop.project.pytest("-p", "no:randomly")
    assert outcome.counts == {"passed": 8}, outcome.out + outcome.err
    assert shop.databases() == kept | {shop.place.name} | shop.kept_databases("_stock")
