"""Isolation of asynchronous tests: every mode and scope of a loop, a web framework's ways, several sessions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

CONFIGURATION = """
    [tool.pytest.ini_options]
    addopts = "-p no:randomly -p no:cacheprovider -p no:hypothesispytest -p no:pytest_cov {addopts}"
    pythonpath = ["."]
    {ini}
    [tool.engineroom]
    schema = "shop:Base"
    seed = "shop:fill"
"""
SHOP = """
    import asyncio
    from engineroom import get_async_engine, get_engine
    from fastapi import FastAPI
    from sqlalchemy import String, func, select
    from sqlalchemy.ext.asyncio import async_sessionmaker
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

    Session = sessionmaker(get_engine("sqlite:///shop.db"))
    AsyncSession = async_sessionmaker(get_async_engine("sqlite:///shop.db"), expire_on_commit=False)
    app = FastAPI()

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50))

    async def fill(session):
        session.add(User(name="seed"))

    def add(name):
        with Session.begin() as session:
            session.add(User(name=name))

    @app.post("/users/{name}")
    async def add_async(name: str):
        async with AsyncSession.begin() as session:
            session.add(User(name=name))
        async with AsyncSession() as session:
            return await session.scalar(select(func.count(User.id)))
"""
TESTS = """
    import asyncio
    import httpx
    import pytest
    from fastapi.testclient import TestClient
    from shop import Session, User, add, add_async, app

    def count():
        with Session() as session:
            return session.query(User).count()

    class TestAll:
        {mark}
        async def test_ten_sessions_at_once(self{fixture}):
            await asyncio.gather(*(add_async(f"user {{number}}") for number in range(10)))
            assert count() == 11

        {mark}
        async def test_sync_and_async_code_in_one_test(self{fixture}):
            add("sync")
            assert await add_async("async") == 3
            await asyncio.to_thread(add, "thread")
            assert count() == 4

        {mark}
        async def test_a_transport(self{fixture}):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
                answers = [await client.post("/users/new") for _ in range(2)]
            assert [answer.json() for answer in answers] == [2, 3]

        {mark}
        async def test_everything_is_undone(self{fixture}):
            assert count() == 1
            assert await add_async("new") == 2

        def test_a_client_with_a_loop_of_its_own(self):
            with TestClient(app) as client:
                assert client.post("/users/new").json() == 2
            assert TestClient(app).post("/users/new").json() == 3

        def test_everything_is_undone_again(self):
            assert count() == 1
"""
CONFTEST = """
    import pytest

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
"""
MODES = {
    "strict, a loop for each test": ("-p no:anyio", 'asyncio_mode = "strict"', "@pytest.mark.asyncio", ""),
    "auto, a loop for each module": (
        "-p no:anyio",
        'asyncio_mode = "auto"\n    asyncio_default_test_loop_scope = "module"',
        "",
        "",
    ),
    "auto, a loop for the session": (
        "-p no:anyio",
        'asyncio_mode = "auto"\n    asyncio_default_test_loop_scope = "session"',
        "",
        "",
    ),
    "anyio": ("-p no:asyncio", "", "@pytest.mark.anyio", ", anyio_backend"),
}


@pytest.mark.parametrize("mode", MODES)
def test_asynchronous_tests_start_from_the_baseline(lone_project: SmallProject, mode: str) -> None:
    addopts, ini, mark, fixture = MODES[mode]
    tests = TESTS.format(mark=mark, fixture=fixture)
    lone_project.write_text("pyproject.toml", CONFIGURATION.format(addopts=addopts, ini=ini))
    lone_project.write(shop=SHOP, test_shop=tests, conftest=CONFTEST)
    outcome = lone_project.pytest()
    assert (outcome.code, outcome.counts["passed"]) == (0, 6), outcome.out + outcome.err
