"""Every test starts from the baseline on PostgreSQL and MariaDB too: real projects, sync and async, several runs."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.plugin.server_shop import CONFIGURATION, DATABASE, DRIVERS, MODELS, Shop, one_of_each_server, shop_on_server

from engineroom.testing._mysql_objects import companion_of
from engineroom.testing.databases import drop_database, list_left_over_databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import SmallProject

TESTS = """
    import asyncio
    import pytest
    from sqlalchemy import inspect, text
    from app.db import AsyncSession, Session, async_engine, engine, names
    from app.models import Base, Post, User

    @pytest.fixture(autouse=True)
    def baseline():
        assert names() == ["seed"]
        assert set(inspect(engine).get_table_names()) == {"posts", "users"}

    @pytest.mark.parametrize("times", [1, 2])
    def test_sync(times):
        with Session.begin() as session:
            user = User(name="sync")
            session.add(user)
            session.flush()
            assert user.id == 2

    @pytest.mark.parametrize("times", [1, 2])
    def test_ten_async_sessions_at_once(times):
        async def add(number):
            async with AsyncSession.begin() as session:
                session.add(User(name=f"async {number}"))

        async def run():
            await asyncio.gather(*(add(number) for number in range(10)))

        asyncio.run(run())
        assert len(names()) == 11

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_cascade(times):
        with Session.begin() as session:
            session.execute(text("DELETE FROM users"))
            assert session.scalar(text("SELECT count(*) FROM posts")) == 0

    def test_a_dropped_table():
        Base.metadata.drop_all(engine)

    def test_a_new_table():
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE extra (id int)"))

    class TestWithAFixtureOfTheClass:
        @pytest.fixture(scope="class", autouse=True)
        @classmethod
        def more(cls):
            with Session.begin() as session:
                session.add(Post(user_id=1))

        @pytest.mark.parametrize("times", [1, 2])
        def test_it_stays_for_the_class(self, times):
            with Session.begin() as session:
                assert session.query(Post).count() == 2
                session.add(Post(user_id=1))
"""


@pytest.fixture(params=list(DRIVERS.values()), ids=list(DRIVERS))
def shop(request: pytest.FixtureRequest, lone_project: SmallProject) -> Iterator[Shop]:
    with shop_on_server(request, lone_project) as made:
        made.project.write(test_shop=TESTS)
        yield made


def test_every_test_starts_from_the_baseline(shop: Shop) -> None:
    outcome = shop.project.pytest("-p", "no:randomly")
    assert outcome.counts == {"passed": 10}, outcome.out + outcome.err
    assert shop.databases() == shop.kept_databases()


TELL_BUILDS = """
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "before_cursor_execute")
    def tell(connection, cursor, statement, *_):
        if "CREATE TABLE users" in statement:
            with open("builds", "a") as file:
                file.write(f"{connection.engine.url.database}\\n")
"""


@one_of_each_server
def test_each_worker_has_a_database_of_its_own(shop: Shop) -> None:
    shop.project.write(
        test_name="""
            import pytest
            from app.db import engine

            @pytest.mark.parametrize("times", range(4))
            def test_name(times, worker_id):
                assert engine.url.database.endswith(f"_{worker_id}")
        """
    )
    shop.project.write(conftest=TELL_BUILDS)

    def builds() -> dict[str, int]:
        log = shop.project.root / "builds"
        log.unlink(missing_ok=True)
        outcome = shop.project.pytest("-n2")
        assert outcome.counts == {"passed": 14}, outcome.out + outcome.err
        assert shop.databases() == shop.kept_databases("_gw0", "_gw1")
        return Counter(log.read_text().split()) if log.exists() else {}

    gw0, gw1 = (f"{shop.place.name}_{worker}" for worker in ("gw0", "gw1"))
    first = builds()
    assert set(first) == {gw0, gw1}, "each builds"
    second = builds()
    assert second.keys() <= {gw0, gw1}
    assert sum(second.values()) == sum(first.values()) - 2, "each uses what is kept"
    shop.project.write(app__models=MODELS.replace("String(50)", "String(60)"))
    third = builds()
    assert set(third) == {gw0, gw1}, "each notices"
    assert sum(third.values()) == sum(first.values())


@one_of_each_server
def test_a_test_that_only_reads_costs_one_question(shop: Shop) -> None:
    # MariaDB counts changes of objects for the whole server: where another database has one, two more are asked.
    most = 1 if shop.is_postgresql else 3
    shop.project.write(
        conftest="""
            from engineroom.testing._keeper import Keeper
            asked, fetch = [], Keeper.fetch

            def note(keeper, statement):
                asked.append(statement)
                return fetch(keeper, statement)

            Keeper.fetch = note
        """,
        test_reads=f"""
            import pytest
            from app.db import names
            from conftest import asked

            @pytest.mark.parametrize("time", range(4))
            def test_read(time):
                assert names() == ["seed"]
                if time < 2:  # the build, and what the first restore sets
                    asked.clear()
                assert max(0, time - 1) <= len(asked) <= {most} * max(0, time - 1), asked
        """,
    )
    outcome = shop.project.pytest("-p", "no:randomly", "test_reads.py")
    assert outcome.counts == {"passed": 4}, outcome.out


@one_of_each_server
def test_what_a_hook_writes_between_two_tests_does_not_reach_the_next_one(shop: Shop) -> None:
    shop.project.write(
        conftest="""
            def pytest_runtest_logfinish():
                from app.db import Session
                from app.models import User

                with Session.begin() as session:
                    session.add(User(name="between"))
        """,
        test_between="""
            import pytest
            from app.db import names

            @pytest.mark.parametrize("time", range(3))
            def test_read(time):
                assert names() == ["seed"]
        """,
    )
    outcome = shop.project.pytest("test_between.py")
    assert outcome.counts == {"passed": 3}, outcome.out


@one_of_each_server
def test_a_run_that_goes_on_keeps_its_database_and_one_that_was_killed_loses_it(shop: Shop) -> None:
    shop.project.write(
        wait="""
            import pathlib, time
            from app.db import names

            def test_wait():
                assert names() == ["seed"]
                pathlib.Path("ready").touch()
                time.sleep(120)
        """
    )
    with shop.start("wait.py"):
        deadline = time.monotonic() + 60
        while not shop.project.root.joinpath("ready").exists():
            assert time.monotonic() < deadline, "the first run does not get on"
            time.sleep(0.05)
        assert shop.is_held()
        assert not drop_database(shop.place), "a run holds it"
        shop.project.write(
            test_name=f"""
                import subprocess, sys
                from app.db import engine, names

                def test_name():
                    assert names() == ["seed"]
                    code = "import app.db; app.db.names(); print(app.db.engine.url.database)"
                    said = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60)
                    assert said.stdout.strip() == engine.url.database
                    assert engine.url.database == "test_{shop.name}_r2"
            """
        )
        outcome = shop.project.pytest("test_name.py", "test_shop.py", "-k", "name or sync")
        assert outcome.counts == {"passed": 5}, outcome.out + outcome.err
    assert shop.place.name in shop.databases()
    deadline = time.monotonic() + 30
    while shop.is_held():  # the server has to notice the end of the connection
        assert time.monotonic() < deadline
        time.sleep(0.05)
    outcome = shop.project.pytest("test_shop.py", "-k", "sync", "--engineroom-keep")
    assert outcome.counts == {"passed": 4}, outcome.out + outcome.err
    assert shop.place.name in shop.databases(), "it was asked to stay"
    assert drop_database(shop.place)
    assert shop.databases() == set()


@one_of_each_server
def test_a_database_of_somebody_stops_the_run_and_stays_as_it_is(shop: Shop) -> None:
    name = shop.place.name
    shop.send(f"CREATE DATABASE {name}")
    shop.send("CREATE TABLE users (id int)", "INSERT INTO users VALUES (42)", database=name)
    outcome = shop.project.pytest()
    assert "engineroom did not make it" in outcome.out
    assert "DROP DATABASE" in outcome.out
    assert outcome.counts.get("passed", 0) == 0
    assert outcome.counts["error"] == 1, "the run stops"
    assert shop.send("SELECT id FROM users", database=name) == [(42,)]
    assert not drop_database(shop.place)
    assert name not in {each.name for each in list_left_over_databases(shop.place)}


@one_of_each_server
def test_what_a_test_leaves_open_is_told_in_it_and_the_next_starts_clean(shop: Shop) -> None:
    shop.project.write(
        test_shop="""
            from app.db import Session, names
            from app.models import User
            kept = []

            def test_guilty():
                session = Session()
                kept.append(session)
                session.add(User(name="open"))
                session.flush()

            def test_next():
                assert names() == ["seed"]
                with Session.begin() as session:
                    session.add(User(name="more"))

            def test_last():
                assert names() == ["seed"]
        """
    )
    outcome = shop.project.pytest("-p", "no:randomly")
    assert outcome.counts == {"passed": 3, "error": 1}, outcome.out
    assert outcome.failed == {"test_guilty"}
    assert re.search(r"taken at \S+test_shop\.py:10", outcome.out), "where the connection was taken"


@one_of_each_server
def test_a_failing_build_stops_the_run_once(shop: Shop) -> None:
    shop.project.write(app__models=MODELS.replace('name="seed"', 'name="seed", id="no number"'))
    outcome = shop.project.pytest()
    assert outcome.counts["error"] == 1, outcome.out
    assert "engineroom: this is the seed of bind default" in outcome.out
    assert "could not be built" in outcome.out


def test_a_suite_whose_server_does_not_answer_runs_what_needs_none(lone_project: SmallProject) -> None:
    lone_project.write_text("pyproject.toml", CONFIGURATION)
    lone_project.write(
        app____init__="",
        app__models=MODELS,
        app__db=DATABASE,
        test_a="""
            import app.db
            def test_a(): pass
            def test_b(): pass
            def test_c(): app.db.names()
        """,
    )
    lone_project.environ["DATABASE_URL"] = "postgresql+psycopg://me@127.0.0.1:1/shop"
    outcome = lone_project.pytest("-p", "no:randomly")
    assert outcome.counts == {"passed": 2, "failed": 1}, outcome.out
    assert "OperationalError" in outcome.out


@one_of_each_server
def test_without_a_schema_the_database_is_made_and_nothing_else(shop: Shop) -> None:
    shop.project.write_text("pyproject.toml", CONFIGURATION.partition("[tool.engineroom]")[0])
    shop.project.write(
        test_shop="""
            import asyncio
            from sqlalchemy import inspect, text
            from app.db import async_engine, engine

            def test_async():
                async def go():
                    async with async_engine.connect() as connection:
                        await connection.execute(text("SELECT 1"))
                asyncio.run(go())

            def test_sync():
                assert inspect(engine).get_table_names() == []
        """
    )
    outcome = shop.project.pytest()
    assert outcome.counts == {"passed": 2}, outcome.out
    assert shop.databases() == {shop.place.name}


def test_the_companion_of_a_long_name_fits_the_server() -> None:
    assert len(companion_of("test_" + "x" * 59)) == 64
