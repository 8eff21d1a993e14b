"""Every test starts from the baseline, whatever the one before it committed, by whatever way."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

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
    addopts = "-p no:randomly -p no:cacheprovider -p no:anyio -p no:asyncio -p no:hypothesispytest -p no:pytest_cov"
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


@pytest.fixture(params=[(), ("-n2",)], ids=["in order", "in random order with two workers"])
def shop(request: pytest.FixtureRequest, lone_project: SmallProject) -> SmallProject:
    """Return a project with an application, for one process and for two workers."""
    lone_project.arguments = request.param
    make_shop(lone_project)
    if request.param:
        lone_project.write_text("pyproject.toml", CONFIGURATION.replace("-p no:randomly", ""))
    return lone_project


@pytest.fixture
def lone_shop(lone_project: SmallProject) -> SmallProject:
    """Return the same for one process alone."""
    return make_shop(lone_project)


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


ENDINGS = """
    import unittest
    import pytest
    from app.db import add, names

    def test_that_fails():
        add("new")
        assert names() == ["seed"], "as expected"

    def test_after_a_failure():
        assert names() == ["seed"]

    @pytest.fixture
    def broken():
        add("new")
        raise RuntimeError("as expected")

    def test_that_errs(broken): pass

    def test_after_an_error():
        assert names() == ["seed"]

    @pytest.fixture
    def broken_at_the_end():
        yield
        add("new")
        raise RuntimeError("as expected")

    def test_that_errs_at_the_end(broken_at_the_end): pass

    def test_after_an_error_at_the_end():
        assert names() == ["seed"]

    def test_that_skips():
        add("new")
        pytest.skip("as expected")

    @pytest.mark.xfail
    def test_that_xfails():
        assert names() == ["seed"]
        add("new")
        assert False

    @pytest.mark.skip
    def test_that_never_runs(): pass

    @pytest.mark.parametrize("number", range(3))
    def test_with_parameters(number):
        assert names() == ["seed"]
        add("new")

    class TestOldStyle(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            add("class")

        def setUp(self):
            add("own")

        def test_one(self):
            assert names() == ["seed", "class", "own"]
            add("new")

        def test_two(self):
            assert names() == ["seed", "class", "own"]
            add("new")

        def tearDown(self):
            add("more")

        @classmethod
        def tearDownClass(cls):
            add("end")

    class TestAsyncOldStyle(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            from app.db import AsyncSession
            from app.models import User
            async with AsyncSession.begin() as session:
                session.add(User(name="new"))

        async def test_one(self):
            assert names() == ["seed", "new"]

        async def test_two(self):
            assert names() == ["seed", "new"]

    class TestXunit:
        @classmethod
        def setup_class(cls):
            add("class")

        def setup_method(self):
            add("own")

        def test_one(self):
            assert names() == ["seed", "class", "own"]

        def test_two(self):
            assert names() == ["seed", "class", "own"]

    def setup_module(module):
        pass

    def test_last():
        assert names() == ["seed"]
"""


def test_a_test_is_undone_however_it_ends_and_whatever_its_style(shop: SmallProject) -> None:
    shop.write(test_endings=ENDINGS)
    outcome = shop.pytest()
    assert outcome.counts == {"failed": 1, "passed": 14, "skipped": 2, "xfailed": 1, "error": 2}, outcome.out
    assert outcome.failed == {"test_that_fails", "test_that_errs", "test_that_errs_at_the_end"}, outcome.out


LAYERS = """
    import pytest
    from sqlalchemy import text
    from app.db import add, engine, names, Session

    @pytest.fixture(scope="session")
    def for_the_session():
        add("session")

    @pytest.fixture(scope="module")
    def for_the_module(for_the_session):
        add("module")
        yield "module"
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM users WHERE name = 'module'"))

    @pytest.fixture(scope="class")
    def for_the_class(for_the_module):
        add("class")

    @pytest.fixture(scope="module", params=["red", "blue"])
    def with_parameters(request):
        with Session.begin() as session:
            session.execute(text("INSERT INTO users (id, name) VALUES (77, :name)"), {"name": request.param})
        return request.param

    @pytest.fixture(scope="session")
    def with_a_table():
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE colours (name TEXT)"))
            connection.execute(text("INSERT INTO colours VALUES ('green')"))
"""
LAYERED_TESTS = """
    import pytest
    from sqlalchemy import text
    from app import db
    from app.db import add, engine

    def names():  # the fixture with parameters lives as long as its module
        return [name for name in db.names() if name not in {"red", "blue"}]

    def test_nothing():
        assert names()[0] == "seed"
        assert "new" not in names() and "class" not in names()
        add("new")

    class TestClass:
        @pytest.mark.parametrize("time", range(3))
        def test_layers(self, for_the_class, time):
            assert names() == ["seed", "session", "module", "class"]
            add("new")
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM users WHERE name = 'session'"))

    def test_after_the_class(for_the_module):
        assert names() == ["seed", "session", "module"]
        add("new")

    class TestParameters:
        def test_one(self, with_parameters):
            assert {"red", "blue"} & set(db.names()) == {with_parameters}
            add("new")

        def test_two(self, with_parameters):
            assert {"red", "blue"} & set(db.names()) == {with_parameters}
            assert "new" not in names()

    def test_dynamic(request):
        add("before")
        request.getfixturevalue("with_a_table")
        assert "before" in names()

    def test_after_dynamic(with_a_table):
        assert "before" not in names()
        with engine.connect() as connection:
            assert connection.execute(text("SELECT * FROM colours")).all() == [("green",)]
"""


def test_what_a_wider_fixture_writes_stays_as_long_as_the_fixture(shop: SmallProject) -> None:
    shop.write(conftest=LAYERS, test_a=LAYERED_TESTS, package____init__="", package__test_b=LAYERED_TESTS)
    last = "def test_nothing_stays_but_the_session():\n    from app.db import names\n"
    shop.write(test_z=last + "    assert set(names()) <= {'seed', 'session'}")
    outcome = shop.pytest("-q")
    assert outcome.counts == {"passed": 2 * 11 + 1}, outcome.out


def test_a_fixture_that_began_later_than_one_of_a_narrower_scope_keeps_its_rows(lone_shop: SmallProject) -> None:
    lone_shop.write(
        conftest=LAYERS,
        test_a="""
            from app.db import add, names
            import pytest

            @pytest.fixture(scope="module")
            def narrow():
                add("narrow")

            @pytest.fixture(scope="module", autouse=True)
            def reading():
                return names()

            def test_narrow(narrow):
                assert names() == ["seed", "narrow"]

            def test_wide_beside_it(narrow, for_the_session):
                assert names() == ["seed", "narrow", "session"]
                add("new")

            def test_both(narrow, for_the_session):
                assert names() == ["seed", "narrow", "session"]

            def test_later(request):
                assert names() == ["seed", "narrow", "session"]
                add("mine")
                request.getfixturevalue("with_a_table")
                request.getfixturevalue("tmp_path_factory")
                assert names() == ["seed", "narrow", "session", "mine"]

            def test_the_end():
                assert names() == ["seed", "narrow", "session"]
        """,
        test_b="""
            from sqlalchemy import text
            from app.db import add, engine, names

            def test_the_wide_one_stays(for_the_session, with_a_table):
                assert names() == ["seed", "session"]
                with engine.begin() as connection:
                    assert connection.execute(text("SELECT name FROM colours")).all() == [("green",)]
                    connection.execute(text("DROP TABLE colours"))

            def test_and_stays(for_the_session, with_a_table):
                add("new")
                with engine.connect() as connection:
                    assert connection.execute(text("SELECT name FROM colours")).all() == [("green",)]
                    assert connection.execute(text("SELECT max(id) FROM users")).scalar() > 2
        """,
    )
    outcome = lone_shop.pytest("-q")
    assert outcome.counts == {"passed": 7}, outcome.out


def test_a_fixture_whose_setup_fails_leaves_nothing(lone_shop: SmallProject) -> None:
    lone_shop.write(
        test_a="""
            import pytest
            from app.db import add, names

            @pytest.fixture(scope="session")
            def broken():
                add("broken")
                pytest.fail("as expected")

            def test_one(broken): pass
            def test_two(): assert names() == ["seed"]
            def test_three(broken): pass
            def test_four(): assert names() == ["seed"]
        """
    )
    assert lone_shop.pytest("-q").counts == {"passed": 2, "error": 2}
