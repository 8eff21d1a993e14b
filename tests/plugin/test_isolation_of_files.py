"""Isolation of a test database in a file that somebody named: held, marked, emptied, restored, and nobody else's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from engineroom import UnsafeTestDatabaseError
from engineroom.testing._sqlite_files import HeldFile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import SmallProject

CONFIGURATION = """
    [tool.pytest.ini_options]
    addopts = "-p no:randomly -p no:cacheprovider -p no:anyio -p no:asyncio -p no:hypothesispytest -p no:pytest_cov"
    pythonpath = ["."]
    [tool.engineroom]
    schema = "shop:Base"
    seed = "shop:fill"
"""
SHOP = """
    from engineroom import get_async_engine, get_engine
    from sqlalchemy.ext.asyncio import async_sessionmaker
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

    engine = get_engine("sqlite:///shop.db")
    Session = sessionmaker(engine)
    AsyncSession = async_sessionmaker(get_async_engine("sqlite:///shop.db"))

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    def fill(session):
        session.add(User(name="seed"))
"""
TESTS = """
    import asyncio, os
    import pytest
    from shop import AsyncSession, Session, User, engine
    from sqlalchemy import inspect, text

    def names():
        with Session() as session:
            return [user.name for user in session.query(User).order_by(User.id)]

    @pytest.mark.parametrize("number", range(4))
    def test_a_commit_is_undone(number, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert names() == ["seed"]
        with Session.begin() as session:
            session.add(User(name="new"))

    @pytest.mark.parametrize("number", range(2))
    def test_ddl_and_async_commits_too(number):
        async def add():
            async with AsyncSession.begin() as session:
                session.add(User(name="async"))

        asyncio.run(add())
        assert names() == ["seed", "async"]
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE users"))

    def test_nothing_of_ours_is_seen():
        assert inspect(engine).get_table_names() == ["users"]
        assert os.path.basename(engine.url.database) in {"test_shop.db", "test_shop_gw0.db", "test_shop_gw1.db"}
"""
URL = "sqlite:///test_shop.db"


def make_project(project: SmallProject, tests: str = TESTS) -> SmallProject:
    project.write_text("pyproject.toml", CONFIGURATION)
    return project.write(shop=SHOP, test_shop=tests)


def rows_of(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM users").fetchall()


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["in one process", "with two workers"])
def test_every_run_and_every_test_starts_from_the_baseline(
    lone_project: SmallProject, arguments: tuple[str, ...]
) -> None:
    project = make_project(lone_project)
    for _ in range(2):
        outcome = project.pytest(*arguments, TEST_DATABASE_URL=URL)
        assert outcome.counts == {"passed": 7}, outcome.out + outcome.err
    names = ["test_shop_gw0.db", "test_shop_gw1.db"] if arguments else ["test_shop.db"]
    assert sorted(path.name for path in project.root.glob("test_shop*.db*")) == names
    assert [rows_of(project.root / name) for name in names] == [[(1, "seed")]] * len(names)


def test_a_file_with_somebodys_tables_stops_the_run_and_stays(lone_project: SmallProject) -> None:
    project = make_project(lone_project)
    with closing(sqlite3.connect(project.root / "test_shop.db")) as connection:
        connection.execute("CREATE TABLE users (id INTEGER, name TEXT)")
        connection.execute("INSERT INTO users VALUES (1, 'mine')")
        connection.commit()
    outcome = project.pytest(TEST_DATABASE_URL=URL)
    assert outcome.code == pytest.ExitCode.INTERRUPTED, outcome.out
    assert outcome.counts == {"error": 1}, outcome.out
    assert "it holds 1 table that engineroom did not make" in outcome.out
    assert rows_of(project.root / "test_shop.db") == [(1, "mine")]


LEFT_OVER = """
    from shop import Session, User

    kept = []

    def test_a_session_is_left_open():
        session = Session()
        session.add(User(name="open"))
        session.flush()
        kept.append(session)
"""


def test_the_error_of_a_left_over_names_the_line_that_took_the_connection(lone_project: SmallProject) -> None:
    outcome = make_project(lone_project, LEFT_OVER).pytest()
    assert outcome.counts == {"passed": 1, "error": 1}, outcome.out
    assert f"it was taken at {lone_project.root / 'test_shop.py'}:9" in outcome.out.replace("\n", "")


class TestHeldFile:
    """Which file a run may have."""

    def test_a_file_is_one_runs_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "test_shop.db"
        with closing(HeldFile(path)):
            (tmp_path / "link.db").symlink_to(path)
            for name in (path, tmp_path / "link.db"):
                with pytest.raises(UnsafeTestDatabaseError, match="another run of tests uses it now"):
                    HeldFile(name)
        HeldFile(path).close()

    def test_what_engineroom_made_is_emptied(self, tmp_path: Path) -> None:
        path = tmp_path / "test_shop.db"
        HeldFile(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE users (id INTEGER)")
        HeldFile(path).close()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []

    @pytest.mark.parametrize("content", [b"no database at all" * 100, None], ids=["no database", "tables"])
    def test_anything_else_stays(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "test_shop.db"
        if content is None:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("CREATE TABLE users (id INTEGER)")
        else:
            path.write_bytes(content)
        before = path.read_bytes()
        with pytest.raises(UnsafeTestDatabaseError, match="Refused to build the test database") as caught:
            HeldFile(path)
        assert path.read_bytes() == before
        assert "remove the file" in str(caught.value)
