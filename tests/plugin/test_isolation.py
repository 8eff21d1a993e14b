"""Every test starts from the baseline, whatever the one before it committed, by whatever way."""

from __future__ import annotations

import re
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.conftest import Outcome, SmallProject

MODELS = """
    from sqlalchemy import ForeignKey, event, DDL
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        __table_args__ = {"sqlite_autoincrement": True}
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(unique=True)

    class Post(Base):
        __tablename__ = "posts"
        id: Mapped[int] = mapped_column(primary_key=True)
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))

    class Log(Base):
        __tablename__ = "logs"
        id: Mapped[int] = mapped_column(primary_key=True)
        what: Mapped[str]

    event.listen(Log.__table__, "after_create", DDL(
        "CREATE TRIGGER tell AFTER INSERT ON users BEGIN INSERT INTO logs (what) VALUES (new.name); END"
    ))
"""
DATABASE = """
    from sqlalchemy import event, text
    from sqlalchemy.ext.asyncio import async_sessionmaker
    from sqlalchemy.orm import sessionmaker
    from engineroom import get_async_engine, get_engine

    engine = get_engine("sqlite:///shop.db")
    async_engine = get_async_engine("sqlite+aiosqlite:///shop.db")
    Session = sessionmaker(engine)
    AsyncSession = async_sessionmaker(async_engine)

    @event.listens_for(engine, "connect")
    def check_foreign_keys(connection, _):
        connection.execute("PRAGMA foreign_keys = ON")

    def add(*names):
        from app.models import User
        with Session.begin() as session:
            session.add_all([User(name=name) for name in names])

    def names():
        with Session() as session:
            return [name for (name,) in session.execute(text("SELECT name FROM users ORDER BY id"))]
"""
SEED = """
    from app.models import Post, User

    def fill(session):
        session.add(User(id=1, name="seed"))
        session.flush()
        session.add(Post(id=1, user_id=1))
"""
CONFIGURATION = """
    [tool.pytest.ini_options]
    addopts = "-p no:randomly -p no:cacheprovider"
    pythonpath = ["."]
    [tool.engineroom]
    schema = "app.models:Base"
    seed = "app.seed:fill"
"""


def make_shop(project: SmallProject, **files: str) -> SmallProject:
    """Give a project an application whose tests start with one user, called "seed"."""
    project.write_text("pyproject.toml", CONFIGURATION)
    project.write(app____init__="", app__models=MODELS, app__db=DATABASE, app__seed=SEED)
    return project.write(**files)


@pytest.fixture
def shop(project: SmallProject) -> SmallProject:
    """Return a project with an application, for one process and for two workers."""
    return make_shop(project)


@pytest.fixture
def lone_shop(lone_project: SmallProject) -> SmallProject:
    """Return the same for one process alone."""
    return make_shop(lone_project)


def numbered(body: str, *, times: int = 2) -> str:
    """Return the text of a function that is called in each of so many tests: it must find the same every time."""
    return textwrap.dedent(body) + textwrap.dedent(f"""
        import pytest

        @pytest.mark.parametrize("time", range({times}))
        def test_it(time):
            body()
    """)


WAYS_TO_WRITE = {
    "rows": "with engine.begin() as c: c.execute(text('DELETE FROM users'))",
    "a_sequence": "add('new')\nwith Session() as s: assert s.query(User).filter_by(name='new').one().id == 2",
    "a_cascade": "with Session.begin() as s: s.delete(s.get(User, 1))",
    "a_trigger": "with Session() as s: assert s.query(Log).count() == 1\nadd('more')",
    "a_new_table": "with engine.begin() as c: c.execute(text('CREATE TABLE extra (id int)'))",
    "a_dropped_table": "with engine.begin() as c: c.execute(text('DROP TABLE posts'))",
    "drop_all": "Base.metadata.drop_all(engine)",
    "drop_and_create_all": "Base.metadata.drop_all(engine); Base.metadata.create_all(engine); add('new')",
    "an_altered_table": "with engine.begin() as c: c.execute(text('ALTER TABLE users ADD COLUMN age int'))",
    "a_renamed_table": "with engine.begin() as c: c.execute(text('ALTER TABLE logs RENAME TO old_logs'))",
    "an_index": "with engine.begin() as c: c.execute(text('CREATE INDEX i ON logs (what)'))",
    "a_dropped_trigger": "with engine.begin() as c: c.execute(text('DROP TRIGGER tell'))",
    "the_user_version": "with engine.begin() as c: c.execute(text('PRAGMA user_version = 7'))",
    "vacuum": "add('new')\nwith engine.connect() as c: c.execution_options(isolation_level='AUTOCOMMIT')"
    ".execute(text('VACUUM'))",
    "a_raw_connection": "c = sqlite3.connect(engine.url.database); c.execute(\"INSERT INTO users VALUES (9, 'raw')\");"
    " c.commit(); c.close()",
    "a_raw_cursor": "r = engine.raw_connection(); r.cursor().execute(\"INSERT INTO users VALUES (9, 'raw')\");"
    " r.commit(); r.close()",
    "a_thread": "t = threading.Thread(target=add, args=('thread',)); t.start(); t.join()",
    "a_child": "subprocess.run([sys.executable, '-c', 'import app.db; app.db.add(\"child\")'], check=True, timeout=60)",
    "a_fork": "pid = os.fork()\nif not pid: add('fork'); os._exit(0)\nassert os.waitpid(pid, 0)[1] == 0",
    "an_async_engine": "asyncio.run(add_async())",
    "a_removed_file": "os.unlink(engine.url.database); engine.dispose(); Base.metadata.create_all(engine); add('new')",
    "a_removed_file_alone": "os.unlink(engine.url.database); engine.dispose()",
}
IMPORTS = """
import asyncio, os, sqlite3, subprocess, sys, threading
import pytest
from sqlalchemy import inspect, text
from app.db import AsyncSession, Session, add, engine, names
from app.models import Base, Log, Post, User

async def add_async(name="async"):
    async with AsyncSession.begin() as session:
        session.add(User(name=name))

def state():
    with engine.connect() as connection:
        objects = connection.execute(text("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")).all()
        rows = {
            name: connection.execute(text(f'SELECT * FROM "{name}" ORDER BY 1')).all()
            for kind, name, _ in objects if kind == "table"
        }
        version = connection.execute(text("PRAGMA user_version")).scalar()
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        return [tuple(each) for each in objects], rows, version

@pytest.fixture(scope="session")
def baseline():
    return state()
"""


def test_whatever_a_test_commits_by_whatever_way_is_undone(shop: SmallProject) -> None:
    tests = [
        f"def test_before_{name}_or_after_the_last(baseline):\n    assert state() == baseline\n\n"
        f"def test_{name}():\n{textwrap.indent(body, '    ')}\n"
        for name, body in WAYS_TO_WRITE.items()
    ]
    shop.write(test_ways="\n".join([IMPORTS, *tests, "def test_last(baseline):\n    assert state() == baseline\n"]))
    outcome = shop.pytest("-q")
    assert outcome.counts == {"passed": 2 * len(WAYS_TO_WRITE) + 1}, outcome.out
    assert outcome.code == 0
    assert shop.pytest("-q", "-p", "randomly", "-p", "no:xdist" if not shop.arguments else "randomly").code == 0
