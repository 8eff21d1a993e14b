"""A database in memory is one database for the process and its children; concurrent sessions are kept apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engineroom._memory import storage_directories

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

CONFIGURATION = """
    [tool.pytest.ini_options]
    addopts = "-p no:randomly -p no:cacheprovider -p no:hypothesispytest -p no:pytest_cov"
    pythonpath = ["."]
    asyncio_mode = "auto"
    asyncio_default_fixture_loop_scope = "function"
    [tool.engineroom]
    schema = "app.models:Base"
"""
MODELS = """
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(unique=True)
"""
DATABASE = """
    from sqlalchemy.ext.asyncio import async_sessionmaker
    from sqlalchemy.orm import sessionmaker
    from engineroom import get_async_engine, get_engine

    engine = get_engine("sqlite:///shop.db")
    async_engine = get_async_engine("sqlite+aiosqlite:///shop.db")
    Session = sessionmaker(engine)
    AsyncSession = async_sessionmaker(async_engine)
"""
MAIN = """
    from contextlib import asynccontextmanager
    from fastapi import FastAPI
    from sqlalchemy import select
    from app.db import AsyncSession, Session
    from app.models import User

    @asynccontextmanager
    async def lifespan(app):
        async with AsyncSession() as session:
            app.state.at_start = len((await session.scalars(select(User))).all())
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/users/{name}")
    async def add(name: str):
        async with AsyncSession.begin() as session:
            session.add(User(name=name))

    @app.get("/users")
    async def users():
        async with AsyncSession() as session:
            return [user.name for user in await session.scalars(select(User).order_by(User.id))]

    @app.get("/sync")
    def sync_users():  # a plain function: it runs in a thread
        with Session() as session:
            return [user.name for user in session.scalars(select(User).order_by(User.id))]
"""
TESTS = """
    import asyncio, socket, subprocess, sys, time, warnings
    import httpx
    import pytest
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of Starlette deprecate httpx
        from fastapi.testclient import TestClient
    from sqlalchemy import func, select, text
    from app.db import AsyncSession, Session, async_engine, engine
    from app.main import app
    from app.models import User

    def names():
        with Session() as session:
            return list(session.scalars(select(User.name).order_by(User.id)))

    @pytest.mark.parametrize("time", range(2))
    class TestEach:
        async def test_ten_sessions_keep_their_transactions_apart(self, time):
            async def write(number):
                async with AsyncSession() as session:
                    assert await session.scalar(select(func.count()).select_from(User)) is not None
                async with AsyncSession.begin() as session:
                    session.add_all([User(name=f"{number}-{turn}") for turn in range(3)])
                    await session.flush()
                    await asyncio.sleep(0.001)
                    if number % 2:
                        await session.rollback()

            await asyncio.gather(*map(write, range(10)))
            assert sorted(names()) == [f"{number}-{turn}" for number in range(0, 10, 2) for turn in range(3)]

        async def test_an_uncommitted_row_is_nobody_elses(self, time):
            async with AsyncSession() as one, AsyncSession() as other:
                one.add(User(name="a"))
                await one.flush()
                assert await other.scalar(select(func.count()).select_from(User)) == 0
                await one.commit()
                assert await other.scalar(select(func.count()).select_from(User)) == 1

        def test_an_open_read_does_not_lock_out_a_commit(self, open_read, client, time):
            assert client.post("/users/a").status_code == 200
            assert open_read.execute(text("SELECT count(*) FROM users")).scalar() == 0, "it keeps its snapshot"
            assert client.get("/users").json() == ["a"]

        async def test_sync_and_async_engines_share_it(self, time):
            async with AsyncSession.begin() as session:
                session.add(User(name="async"))
            assert names() == ["async"]
            with Session.begin() as session:
                session.add(User(name="sync"))
            async with AsyncSession() as session:
                assert (await session.scalars(select(User.name).order_by(User.id))).all() == ["async", "sync"]

        async def test_the_private_loop_of_a_client_shares_it(self, time):
            async with AsyncSession.begin() as session:
                session.add(User(name="test"))
            with TestClient(app) as client:
                assert client.app.state.at_start == 1
                assert client.get("/users").json() == ["test"]
                assert client.post("/users/client").status_code == 200
                assert client.get("/sync").json() == ["test", "client"]
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                assert (await client.get("/users")).json() == ["test", "client"]

        def test_a_server_in_a_child_shares_it(self, server, time):
            with Session.begin() as session:
                session.add(User(name="test"))
            assert server.get("/users").json() == ["test"]
            assert server.post("/users/child").status_code == 200
            assert server.get("/sync").json() == ["test", "child"] == names()

    @pytest.fixture
    def client():
        return TestClient(app)

    @pytest.fixture
    def open_read():
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 0
            yield connection

    @pytest.fixture(scope="module")
    def server():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        child = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), "--log-level", "warning"]
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                deadline = time.monotonic() + 30
                while True:
                    try:
                        client.get("/users")
                        break
                    except httpx.TransportError:
                        assert child.poll() is None and time.monotonic() < deadline
                        time.sleep(0.05)
                yield client
        finally:
            child.terminate()
            child.wait(10)
"""


@pytest.fixture
def shop(lone_project: SmallProject) -> SmallProject:
    lone_project.write_text("pyproject.toml", CONFIGURATION)
    return lone_project.write(app____init__="", app__models=MODELS, app__db=DATABASE, app__main=MAIN)


def run_directories() -> set[Path]:
    return {path for place in storage_directories() for path in place.glob("engineroom-*")}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["in one process", "with two workers"])
def test_concurrent_sessions_loops_engines_and_children_share_one_database(
    shop: SmallProject, workers: tuple[str, ...]
) -> None:
    shop.write(test_a=TESTS)
    before = shop.digest()
    outcome = shop.pytest(*workers, "-W", "error")
    assert outcome.counts == {"passed": 12}, outcome.out + outcome.err
    assert shop.digest() == before


WHERE = """
    import os, time
    from pathlib import Path
    from app.db import engine

    def test_where():
        Path("where.txt").write_text(engine.url.database)
        with engine.connect():
            if os.environ.get("WAIT"):
                Path("waits.txt").touch()
                time.sleep(60)
"""


def test_it_is_gone_at_the_end(shop: SmallProject) -> None:
    shop.write(test_a=WHERE)
    assert shop.pytest("-q").counts == {"passed": 1}
    assert not Path((shop.root / "where.txt").read_text()).parent.exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")
def test_what_a_killed_run_left_is_gone_after_the_next_one(shop: SmallProject) -> None:
    shop.write(test_a=WHERE)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "ENGINEROOM_"))}
    killed = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=shop.root,
        env={**environ, "TMPDIR": str(shop.temporary), "WAIT": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (shop.root / "waits.txt").exists():
            assert killed.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        killed.kill()
        killed.wait(10)
    left = Path((shop.root / "where.txt").read_text())
    assert left.exists(), "nobody could clear up after a SIGKILL"
    assert shop.pytest("-q").counts == {"passed": 1}
    assert not left.parent.exists()
