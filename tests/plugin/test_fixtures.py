"""The fixtures, under every plugin that runs coroutines and under none, and the docs that pytest prints for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

CONFIGURATION = """
    [tool.pytest.ini_options]
    addopts = "-p no:randomly -p no:cacheprovider -p no:hypothesispytest -p no:pytest_cov {plugins}"
    pythonpath = ["."]
    {asyncio}
    [tool.engineroom]
    schema = "app:Base"
"""
APP = """
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
"""
NO_ASYNC = "-p no:anyio -p no:asyncio"


def make_project(project: SmallProject, *, plugins: str = NO_ASYNC, asyncio: str = "") -> SmallProject:
    project.write_text("pyproject.toml", CONFIGURATION.format(plugins=plugins, asyncio=asyncio))
    return project.write(app=APP)


SYNC = """
    import asyncio
    import pytest
    from sqlalchemy import func, select, text
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session
    from app import User

    def count(session):
        return session.scalar(select(func.count()).select_from(User))

    @pytest.mark.parametrize("time", range(2))
    class TestEach:
        def test_engine(self, db_engine, time):
            with Session(db_engine) as session, session.begin():
                assert count(session) == 0
                session.add(User(name="a"))

        def test_session(self, db_session, time):
            assert isinstance(db_session, Session)
            assert count(db_session) == 0
            db_session.add(User(name="a"))
            db_session.commit()
            assert count(db_session) == 1

        def test_session_is_the_engines(self, db_session, db_engine, time):
            assert db_session.get_bind() is db_engine
            db_session.add(User(name="never committed"))
            db_session.flush()

        def test_two_sessions_see_what_was_committed(self, db_session, db_engine, time):
            db_session.add(User(name="a"))
            db_session.commit()
            with Session(db_engine) as other:
                assert count(other) == 1

        def test_async_engine_without_plugin(self, async_db_engine, db_session, time):
            async def main():
                async with AsyncSession(async_db_engine) as session:
                    session.add(User(name="a"))
                    await session.commit()

            asyncio.run(main())
            assert count(db_session) == 1

        def test_async_session_without_plugin(self, async_db_session, db_session, time):
            async def main():
                assert isinstance(async_db_session, AsyncSession)
                user = User(name="a")
                async_db_session.add(user)
                await async_db_session.commit()
                return user

            assert asyncio.run(main()).name == "a", "it outlives the commit"
            assert count(db_session) == 1

        def test_async_session_left_in_a_transaction(self, async_db_session, time):
            async def main():
                async_db_session.add(User(name="a"))
                await async_db_session.flush()

            asyncio.run(main())

        def test_async_session_in_a_loop_that_is_closed_at_once(self, async_db_session, time):
            async def main():
                async_db_session.add(User(name="a"))
                await async_db_session.flush()

            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()

        def test_async_session_in_a_loop_that_stays(self, async_db_session, time):
            async def main():
                async_db_session.add(User(name="a"))
                await async_db_session.flush()

            kept.append(asyncio.new_event_loop())
            kept[-1].run_until_complete(main())

        def test_async_session_that_nobody_uses(self, async_db_session, time):
            pass

    kept = []

    def test_failing(db_session):
        db_session.add(User(name="a"))
        db_session.flush()
        raise RuntimeError("as expected")

    def test_after_failing(db_session):
        assert count(db_session) == 0
        db_session.add(User(name="a"))
        db_session.commit()
        while kept:
            loop = kept.pop()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
"""


@pytest.mark.parametrize("plugins", [NO_ASYNC, "-p no:anyio"], ids=["alone", "with pytest-asyncio"])
def test_they_work_in_plain_tests(lone_project: SmallProject, plugins: str) -> None:
    asyncio = "" if plugins == NO_ASYNC else 'asyncio_default_fixture_loop_scope = "function"'
    make_project(lone_project, plugins=plugins, asyncio=asyncio).write(test_a=SYNC)
    outcome = lone_project.pytest("-W", "error")
    assert outcome.failed == {"test_failing"}, outcome.out
    assert outcome.counts == {"passed": 21, "failed": 1}, outcome.out


ASYNC = """
    import asyncio
    import pytest
    from sqlalchemy import func, select
    from sqlalchemy.ext.asyncio import AsyncSession
    from app import User

    {mark}

    async def count(session):
        return await session.scalar(select(func.count()).select_from(User))

    @pytest.mark.parametrize("time", range(2))
    class TestEach:
        async def test_engine(self, async_db_engine, time):
            async with AsyncSession(async_db_engine) as session:
                assert await count(session) == 0
                session.add(User(name="a"))
                await session.commit()

        async def test_session(self, async_db_session, time):
            assert await count(async_db_session) == 0
            user = User(name="a")
            async_db_session.add(user)
            await async_db_session.commit()
            assert user.name == "a"

        async def test_both(self, async_db_session, db_session, time):
            async_db_session.add(User(name="a"))
            await async_db_session.commit()
            assert db_session.query(User).count() == 1
            db_session.add(User(name="b"))
            db_session.commit()
            await async_db_session.rollback()
            assert await count(async_db_session) == 2

        async def test_left_in_a_transaction(self, async_db_session, time):
            async_db_session.add(User(name="a"))
            await async_db_session.flush()

        async def test_ten_at_once(self, async_db_engine, time):
            async def add(number):
                async with AsyncSession(async_db_engine) as session:
                    session.add(User(name=str(number)))
                    await session.flush()
                    await asyncio.sleep(0)
                    await session.commit()

            await asyncio.gather(*map(add, range(10)))
            async with AsyncSession(async_db_engine) as session:
                assert await count(session) == 10

    async def test_failing(async_db_session):
        async_db_session.add(User(name="a"))
        await async_db_session.flush()
        raise RuntimeError("as expected")

    async def test_after_failing(async_db_session):
        assert await count(async_db_session) == 0
        async_db_session.add(User(name="a"))
        await async_db_session.commit()

    @{fixture}
    async def wide(async_db_engine):
        async with AsyncSession(async_db_engine) as session:
            session.add(User(name="wide"))
            await session.commit()
        yield
        async with AsyncSession(async_db_engine) as session:
            await session.delete(await session.scalar(select(User).filter_by(name="wide")))
            await session.commit()

    class TestWide:
        @pytest.mark.parametrize("time", range(3))
        async def test_a_fixture_of_a_wider_scope(self, wide, async_db_session, time):
            assert await count(async_db_session) == 1
            async_db_session.add(User(name="own"))
            await async_db_session.commit()
"""
LAST = """
    from app import User

    def test_last(db_session):
        assert db_session.query(User).count() == 0
"""
PLUGINS = {
    "pytest-asyncio, strict, a loop for each test": (
        "-p no:anyio",
        'asyncio_mode = "strict"',
        "pytestmark = pytest.mark.asyncio",
        "__import__('pytest_asyncio').fixture(loop_scope='class', scope='class')",
    ),
    "pytest-asyncio, auto, a loop for each test": (
        "-p no:anyio",
        'asyncio_mode = "auto"',
        "",
        "pytest.fixture(scope='class')",
    ),
    "pytest-asyncio, a loop for each module": (
        "-p no:anyio",
        'asyncio_mode = "auto"\n    asyncio_default_fixture_loop_scope = "module"',
        "pytestmark = pytest.mark.asyncio(loop_scope='module')",
        "pytest.fixture(scope='class')",
    ),
    "pytest-asyncio, a loop for the session": (
        "-p no:anyio",
        (
            'asyncio_mode = "auto"\n    asyncio_default_fixture_loop_scope = "session"\n'
            '    asyncio_default_test_loop_scope = "session"'
        ),
        "",
        "pytest.fixture(scope='class')",
    ),
    "anyio": (
        "-p no:asyncio",
        "",
        "pytestmark = pytest.mark.anyio\n    @pytest.fixture(scope='class')\n    def anyio_backend(): return 'asyncio'",
        "pytest.fixture(scope='class')",
    ),
}


@pytest.mark.parametrize("case", PLUGINS)
def test_they_work_in_coroutines(lone_project: SmallProject, case: str) -> None:
    plugins, asyncio, mark, fixture = PLUGINS[case]
    if "asyncio_default_fixture_loop_scope" not in asyncio and asyncio:
        asyncio += '\n    asyncio_default_fixture_loop_scope = "function"'
    if "strict" not in case and "each test" in case:
        fixture = "__import__('pytest_asyncio').fixture(loop_scope='class', scope='class')"
    make_project(lone_project, plugins=plugins, asyncio=asyncio)
    lone_project.write(test_a=ASYNC.replace("{mark}", mark).replace("{fixture}", fixture), test_b=LAST)
    outcome = lone_project.pytest("-W", "error")
    assert outcome.failed == {"test_failing"}, outcome.out + outcome.err
    assert outcome.counts == {"passed": 15, "failed": 1}, outcome.out


def test_a_conftest_may_override_them(lone_project: SmallProject) -> None:
    make_project(lone_project).write(
        conftest="""
            import pytest
            from sqlalchemy.orm import Session
            from engineroom import get_engine

            @pytest.fixture(scope="session")
            def db_engine():
                return get_engine("sqlite:///other.db", echo=False)

            @pytest.fixture
            def db_session(db_session):
                db_session.info["mine"] = True
                return db_session
        """,
        test_a="""
            from engineroom import get_engine
            from app import User

            def test_a(db_session, db_engine):
                assert db_session.info == {"mine": True}
                assert db_session.get_bind() is db_engine is get_engine()
                db_session.add(User(name="a"))
                db_session.commit()
        """,
    )
    outcome = lone_project.pytest("-q")
    assert outcome.counts == {"passed": 1}, outcome.out


@pytest.mark.parametrize(("option", "has_example"), [("-q", False), ("-v", True)])
def test_pytest_prints_what_they_are(lone_project: SmallProject, option: str, has_example: bool) -> None:
    lines = make_project(lone_project).pytest("--fixtures", option).out.splitlines()
    for name in ("db_engine [session scope]", "db_session", "async_db_engine [session scope]", "async_db_session"):
        index = next(number for number, line in enumerate(lines) if line.startswith(f"{name} --"))
        docs = lines[index + 1 : index + 12]
        assert docs[0].startswith("    "), f"{name} has no docs"
        assert docs[0].endswith("."), "its first line is no sentence"
        assert any("Example:" in line for line in docs) is has_example
