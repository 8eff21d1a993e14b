"""Every test starts from the baseline, whatever the one before it committed, by whatever way."""

from __future__ import annotations

import re
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
    outcome = shop.pytest("-q", "-W", "ignore:This process:DeprecationWarning")
    assert outcome.counts == {"passed": 2 * len(WAYS_TO_WRITE) + 1}, outcome.out
    assert outcome.code == 0


def test_no_connection_goes_on_with_a_schema_that_is_gone(lone_shop: SmallProject) -> None:
    ways = {name: WAYS_TO_WRITE[name] for name in ("an_altered_table", "a_raw_cursor")}
    tests = [f"def test_{name}():\n    {body}\n" for name, body in ways.items()]
    use = "async with AsyncSession.begin() as s: await s.execute(text({!r}))"
    for name, sql in {
        "an_async_change": "ALTER TABLE users ADD COLUMN age int",
        "an_async_insert": "INSERT INTO users VALUES (9, 'raw')",
    }.items():
        tests.append(f"@pytest.mark.asyncio(loop_scope='module')\nasync def test_{name}():\n    {use.format(sql)}\n")
    lone_shop.write_text("pyproject.toml", CONFIGURATION.replace(" -p no:asyncio", ""))
    lone_shop.write(test_ways="\n".join([IMPORTS, *tests]))
    outcome = lone_shop.pytest("-q")
    assert outcome.counts == {"passed": 4}, outcome.out


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

            @pytest.fixture(scope="module")
            def broken_later():
                pytest.fail("as expected")

            def test_five(request):
                add("new")
                request.getfixturevalue("broken_later")
        """
    )
    outcome = lone_shop.pytest("-q", "-W", "error")
    assert outcome.counts == {"passed": 2, "error": 2, "failed": 1}, outcome.out


LEFT_OVERS = """
    import asyncio, threading, time
    import pytest
    from sqlalchemy import text
    from app.db import AsyncSession, Session, add, async_engine, engine, names
    from app.models import User

    kept = []

    def write(session):
        session.add(User(name="left over"))
        session.flush()

    def test_a_session_that_reads_is_left_open():
        session = Session()
        assert session.query(User).count() == 1
        kept.append(session)
        add("new")

    def test_after_a_reader():
        assert names() == ["seed"]
        add("new")
        kept.pop().close()

    def test_a_session_that_wrote_is_forgotten():
        session = Session()
        write(session)

    def test_after_a_forgotten_session():
        assert names() == ["seed"]
        add("new")

    def test_a_failing_test_leaves_its_session_open():
        session = Session()
        write(session)
        assert names() == [], "as expected"

    def test_after_a_failing_one():
        assert names() == ["seed"]
        add("new")

    def test_a_loop_is_closed_over_an_open_transaction():
        async def main():
            session = AsyncSession()
            session.add(User(name="left over"))
            await session.flush()
            kept.append(session)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()

    def test_after_the_loop():
        kept.clear()
        assert names() == ["seed"]
        add("new")

    def test_a_thread_that_soon_ends():
        def go_on():
            for number in range(60):
                add(f"thread {number}")
                time.sleep(0.005)

        threading.Thread(target=go_on).start()

    def test_after_the_thread():
        assert names() == ["seed"]
        time.sleep(0.1)
        assert names() == ["seed"]

    def test_a_transaction_that_soon_ends():
        def end():
            with Session.begin() as session:
                write(session)
                begun.set()
                time.sleep(0.4)

        begun = threading.Event()
        threading.Thread(target=end).start()
        begun.wait(5)

    def test_after_the_transaction():
        assert names() == ["seed"]
        add("new")
"""


def test_what_a_test_forgets_to_close_does_not_reach_the_next_one(lone_shop: SmallProject) -> None:
    lone_shop.write(test_left_overs=LEFT_OVERS)
    outcome = lone_shop.pytest("-q")
    assert outcome.failed == {"test_a_failing_test_leaves_its_session_open"}, outcome.out
    assert outcome.counts == {"failed": 1, "passed": 11}, outcome.out


GUILTY = """
    import threading
    import pytest
    from app.db import Session, add, names
    from app.models import User

    kept = []
    has_ended = threading.Event()

    def test_that_keeps_a_transaction_open():
        session = Session()
        session.add(User(name="left over"))
        session.flush()
        kept.append(session)

    def test_that_cannot_start():
        pass

    def test_that_cannot_start_either():
        pass

    @pytest.fixture(scope="module", params=["the module"])
    def closing():
        kept.pop().rollback()

    @pytest.mark.engineroom(isolation="none")
    def test_that_ends_it(closing):
        pass

    def test_that_starts_clean():
        assert names() == ["seed"]
        add("new")

    def test_that_leaves_a_thread_that_writes():
        def go_on():
            number = 0
            while not has_ended.wait(0.002):
                add(f"thread {number}")
                number += 1

        thread = threading.Thread(target=go_on, name="importer")
        thread.start()
        kept.append(thread)

    @pytest.mark.engineroom(isolation="none")
    def test_that_ends_the_thread():
        has_ended.set()
        kept.pop().join()

    def test_that_starts_clean_too():
        assert names() == ["seed"]
"""


def test_the_guilty_test_gets_the_error_in_time(lone_shop: SmallProject) -> None:
    lone_shop.write(test_guilty=GUILTY)
    outcome = lone_shop.pytest("-q", "-rA")
    assert outcome.counts == {"passed": 6, "error": 4}, outcome.out
    guilty, *innocent, writer = (
        block for block in outcome.out.split("\n____") if block.strip("_ ").startswith("ERROR")
    )
    assert "ERROR at teardown of test_that_keeps_a_transaction_open" in guilty
    assert "A transaction that writes was still open when the test ended." in guilty
    assert "within 2 seconds" in guilty
    for one in innocent:
        assert "test_guilty.py::test_that_keeps_a_transaction_open took a connection" in one
    assert "ERROR at teardown of test_that_leaves_a_thread_that_writes" in writer
    assert "threads that the test left behind: importer." in writer
    assert max(len(block.splitlines()) for block in (guilty, *innocent, writer)) < 40, "our own frames fill the screen"


def test_a_transaction_that_a_wider_fixture_keeps_open_is_its_own_business(lone_shop: SmallProject) -> None:
    lone_shop.write(
        test_a="""
            import pytest
            from sqlalchemy.orm import Session as SqlalchemySession
            from app.db import engine, names
            from app.models import User

            @pytest.fixture(scope="module")
            def connection():
                with engine.connect() as connection:
                    transaction = connection.begin()
                    SqlalchemySession(connection).add(User(name="module"))
                    with SqlalchemySession(connection, join_transaction_mode="create_savepoint") as session:
                        session.add(User(name="module"))
                        session.commit()
                    yield connection
                    transaction.rollback()

            @pytest.fixture
            def session(connection):
                savepoint = connection.begin_nested()
                with SqlalchemySession(connection, join_transaction_mode="create_savepoint") as session:
                    yield session
                savepoint.rollback()

            @pytest.mark.parametrize("time", range(3))
            def test_the_savepoint_recipe(session, time):
                session.add(User(name="own"))
                session.commit()
                assert {user.name for user in session.query(User)} == {"seed", "module", "own"}
        """,
        test_b="""
            from app.db import add, names

            def test_afterwards():
                assert names() == ["seed"]
                add("new")

            def test_at_the_end():
                assert names() == ["seed"]
        """,
    )
    outcome = lone_shop.pytest("-q")
    assert outcome.counts == {"passed": 5}, outcome.out


def test_tests_that_opt_out_build_on_each_other_and_what_follows_starts_from_the_baseline(
    lone_shop: SmallProject,
) -> None:
    lone_shop.write(
        test_a="""
            import pytest
            from app.db import add, names

            @pytest.mark.engineroom(isolation="none")
            class TestSteps:
                def test_one(self):
                    assert names() == ["seed"]
                    add("one")

                def test_two(self):
                    assert names() == ["seed", "one"]
                    add("two")

                @pytest.mark.engineroom(isolation="restore")
                def test_three(self):
                    assert names() == ["seed"]
                    add("three")

                def test_four(self):
                    assert names() == ["seed"]
                    add("four")

            @pytest.fixture(scope="module")
            def wide():
                add("wide")

            @pytest.mark.engineroom(isolation="none")
            def test_with_a_fixture(wide):
                assert names() == ["seed", "four", "wide"]

            def test_after(wide):
                assert names() == ["seed", "wide"]
        """,
        test_b="""
            import pytest
            pytestmark = pytest.mark.engineroom(isolation="none")
            from app.db import add, names

            def test_one():
                assert names() == ["seed"]
                add("one")

            def test_two():
                assert names() == ["seed", "one"]
        """,
    )
    outcome = lone_shop.pytest("-q")
    assert outcome.counts == {"passed": 8}, outcome.out


def test_a_marker_that_means_nothing_fails_the_collection(shop: SmallProject) -> None:
    wrong = ["'none'", "isolation='off'", "isolated=False", "", "isolation='none', more=1"]
    tests = [f"@pytest.mark.engineroom({text})\ndef test_{number}(): pass" for number, text in enumerate(wrong)]
    shop.write(
        test_a="\n".join(["import pytest", *tests, "def test_good(): pass"]),
        test_b="import pytest\n@pytest.mark.engineroom(isolation='of')\nclass TestAll:\n    def test_a(self): pass",
    )
    outcome = shop.pytest()
    assert outcome.code == pytest.ExitCode.INTERRUPTED or shop.arguments, outcome.out
    assert outcome.code != 0
    assert set(outcome.counts) == {"error"}, outcome.out
    for number, text in enumerate(wrong):
        line = f"engineroom: test_a.py::test_{number}: the marker engineroom({text}) is not known; @pytest.mark."
        assert line in outcome.out
    assert "test_b.py::TestAll: the marker engineroom(isolation='of') is not known" in outcome.out
    assert "Traceback" not in outcome.out
    assert "INTERNALERROR" not in outcome.out


def test_a_marker_may_be_added_by_a_conftest(lone_shop: SmallProject) -> None:
    lone_shop.write(
        conftest="""
            import pytest

            def pytest_collection_modifyitems(items):
                for item in items:
                    if "steps" in item.name:
                        item.add_marker(pytest.mark.engineroom(isolation="none"))
                    if "wrong" in item.name:
                        item.add_marker(pytest.mark.engineroom(isolation="non"))
        """,
        test_a="""
            from app.db import add, names

            def test_steps_1(): add("one")
            def test_steps_2(): assert names() == ["seed", "one"]
            def test_other(): assert names() == ["seed"]
            def test_wrong(): pass
        """,
    )
    outcome = lone_shop.pytest()
    assert outcome.failed == {"test_wrong"}
    assert outcome.counts == {"passed": 3, "error": 1}, outcome.out
    assert "the marker engineroom(isolation='non') is not known" in outcome.out


FIRST_CONNECTIONS = {
    "a_test": ("", "def test_first():\n    assert names() == ['seed']\n    add('new')"),
    "a_session_fixture": (
        (
            "import pytest\n@pytest.fixture(scope='session', autouse=True)\ndef wide():\n"
            "    from app.db import add\n    add('wide')"
        ),
        "def test_first():\n    assert names() == ['seed', 'wide']\n    add('new')",
    ),
    "a_lazy_fixture": (
        "import pytest\n@pytest.fixture\ndef narrow():\n    from app.db import add\n    add('narrow')",
        "def test_first(narrow):\n    assert names() == ['seed', 'narrow']",
    ),
    "conftest": ("from app.db import add\nadd('early')", "def test_first():\n    add('new')"),
    "sessionstart": (
        "def pytest_sessionstart():\n    from app.db import add\n    add('early')",
        "def test_first():\n    add('new')",
    ),
    "a_thread": (
        "",
        (
            "def test_first():\n    t = threading.Thread(target=add, args=('new',)); t.start(); t.join()\n"
            "    assert names() == ['seed', 'new']"
        ),
    ),
    "two_threads": (
        "",
        (
            "def test_first():\n    threads = [threading.Thread(target=add, args=(n,)) for n in ('a', 'b')]\n"
            "    [t.start() for t in threads]; [t.join() for t in threads]\n    assert len(names()) == 3"
        ),
    ),
    "an_async_engine": (
        "",
        (
            "def test_first():\n    from app.db import AsyncSession\n    from app.models import User\n"
            "    async def main():\n        async with AsyncSession.begin() as session: session.add(User(name='new'))\n"
            "    asyncio.run(main())"
        ),
    ),
    "an_own_connection": (
        "",
        (
            "from app.db import engine\ndef test_first():\n    c = sqlite3.connect(engine.url.database)\n"
            "    c.execute(\"INSERT INTO users (name) VALUES ('raw')\"); c.commit(); c.close()"
        ),
    ),
}


@pytest.mark.parametrize("case", FIRST_CONNECTIONS)
def test_the_database_is_built_at_the_first_connection_whoever_makes_it(lone_shop: SmallProject, case: str) -> None:
    conftest, first = FIRST_CONNECTIONS[case]
    expected = {"conftest": ["seed", "early"], "sessionstart": ["seed", "early"], "a_session_fixture": ["seed", "wide"]}
    head = "import asyncio, sqlite3, threading\ndef names():\n    from app import db\n    return db.names()\n"
    head += "def add(*names):\n    from app import db\n    db.add(*names)\n"
    second = f"\ndef test_second():\n    assert names() == {expected.get(case, ['seed'])}"
    lone_shop.write(conftest=conftest, test_a=head + first + second)
    outcome = lone_shop.pytest("-q", "-W", "error")
    assert outcome.counts == {"passed": 2}, outcome.out + outcome.err


FAILING = {
    "the models cannot be imported": ("app.models:Base", "import no_such_module", "No module named 'no_such_module'"),
    "the callable raises": ("app.broken:init", "def init(): raise ZeroDivisionError('oh')", "ZeroDivisionError: oh"),
    "the reference is wrong": ("app.models:Bases", MODELS, "has no attribute 'Bases'"),
    "alembic": ("alembic", MODELS, "Alembic's configuration cannot be used"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_build_that_fails_stops_the_run_with_its_own_error_once(lone_shop: SmallProject, case: str) -> None:
    schema, models, message = FAILING[case]
    lone_shop.write_text(
        "pyproject.toml", CONFIGURATION.replace("app.models:Base", schema).replace("seed =", "# seed =")
    )
    lone_shop.write(app__models=models, app__broken=models)
    test = "from app.db import engine\n\ndef test_{}(): engine.connect().close()\ndef test_{}(): pass\n"
    lone_shop.write(test_a=test.format(1, 2), test_b=test.format(3, 4))
    outcome = lone_shop.pytest()
    assert outcome.code == pytest.ExitCode.INTERRUPTED, outcome.out
    assert outcome.counts == {"error": 1}, outcome.out
    assert message in outcome.out
    assert "engineroom: the test database of bind default could not be built" in outcome.out
    assert f'"{schema}"' in outcome.out
    blocks = outcome.out.split("= ERRORS =")[1]
    assert not re.search("pluggy|_pytest", blocks), "frames of pytest fill the screen"


def test_a_build_that_fails_in_a_test_that_swallows_it_stops_the_run_too(shop: SmallProject) -> None:
    shop.write(app__models="import no_such_module")
    swallow = """
        def test_that_swallows():
            from app.db import engine
            try:
                engine.connect()
            except Exception:
                pass
    """
    shop.write(test_a=swallow, test_b="def test_never():\n    import app.db\n    assert False\n" * 1)
    outcome = shop.pytest()
    assert outcome.code != 0
    assert "engineroom: the test database of bind default could not be built" in outcome.out


def test_a_suite_without_schema_is_left_alone(lone_shop: SmallProject) -> None:
    lone_shop.write_text("pyproject.toml", CONFIGURATION.split("[tool.engineroom]", maxsplit=1)[0])
    lone_shop.write(
        test_a="""
            import sys
            import pytest
            from sqlalchemy import inspect
            from app.db import add, engine, names
            from app.models import Base

            def test_nothing_of_ours_is_there():
                assert inspect(engine).get_table_names() == []
                assert "engineroom.testing.baseline" not in sys.modules
                Base.metadata.create_all(engine)
                add("kept")

            @pytest.mark.engineroom(isolation="none")
            def test_what_was_committed_stays():
                assert names() == ["kept"]
        """
    )
    outcome = lone_shop.pytest()
    assert outcome.counts == {"passed": 2}, outcome.out
    assert [line for line in outcome.own_lines if "isolation: off" in line]


def test_the_header_says_that_a_database_with_words_of_its_own_is_not_isolated(lone_shop: SmallProject) -> None:
    lone_shop.write(
        test_a="""
            from sqlalchemy import inspect
            from app.db import engine

            def test_nothing_is_built_there():
                assert inspect(engine).get_table_names() == []
        """
    )
    outcome = lone_shop.pytest(TEST_DATABASE_URL="sqlite:///test_shop.db?timeout=5")
    assert outcome.counts == {"passed": 1}, outcome.out
    line = (
        "isolation: off (this database is named by more than its path; this release does not build app.models:Base "
        "there)"
    )
    assert outcome.own_lines.count(f"engineroom: bind default: {line}") == 1


def test_a_suite_that_makes_no_engine_loads_nothing(lone_shop: SmallProject) -> None:
    lone_shop.write(
        test_a="""
            import sys
            def test_a(): pass
            def test_b(): assert not {"sqlalchemy", "app.models", "engineroom._schema"} & set(sys.modules)
        """
    )
    assert lone_shop.pytest("-q", "-p", "no:pytest_cov").counts == {"passed": 2}


def test_nothing_of_ours_shows_in_the_database(lone_shop: SmallProject) -> None:
    lone_shop.write(
        test_a="""
            from sqlalchemy import MetaData, inspect, text
            from app.db import engine
            from app.models import Base

            def test_reflection():
                assert set(inspect(engine).get_table_names()) == set(Base.metadata.tables)
                reflected = MetaData()
                reflected.reflect(engine)
                assert set(reflected.tables) == set(Base.metadata.tables)
                with engine.connect() as connection:
                    assert {row[1] for row in connection.execute(text("PRAGMA database_list"))} <= {"main", "temp"}
                    assert connection.execute(text("SELECT count(*) FROM sqlite_temp_master")).scalar() == 0
        """
    )
    outcome = lone_shop.pytest("-q")
    assert outcome.counts == {"passed": 1}, outcome.out


def test_each_bind_has_a_schema_and_a_baseline_of_its_own(lone_shop: SmallProject) -> None:
    configuration = CONFIGURATION + '\n    [tool.engineroom.binds.stock]\n    schema = "app.stock:metadata"\n'
    configuration += '    seed = "app.stock:fill"\n    [tool.engineroom.binds.bare]\n'
    lone_shop.write_text("pyproject.toml", configuration)
    lone_shop.write(
        app__stock="""
            from sqlalchemy import Column, Integer, MetaData, Table, text
            from engineroom import get_engine
            metadata = MetaData()
            items = Table("items", metadata, Column("id", Integer, primary_key=True))
            engine = get_engine("sqlite:///stock.db", bind="stock")
            bare = get_engine("sqlite:///bare.db", bind="bare")

            async def fill(session):
                await session.execute(items.insert(), [{"id": 1}])
        """,
        test_a="""
            import pytest
            from sqlalchemy import inspect, text
            from app import db, stock

            @pytest.mark.parametrize("time", range(4))
            def test_both(time):
                assert db.names() == ["seed"]
                assert inspect(stock.engine).get_table_names() == ["items"]
                assert inspect(stock.bare).get_table_names() == []
                with stock.engine.begin() as connection:
                    assert connection.execute(text("SELECT id FROM items")).all() == [(1,)]
                    connection.execute(text("DELETE FROM items"))
                db.add("new")
        """,
    )
    assert lone_shop.pytest("-q").counts == {"passed": 4}


def test_a_second_run_in_the_same_process_starts_from_what_was_built(lone_shop: SmallProject) -> None:
    lone_shop.write(
        test_a="""
            import pytest
            from app.db import add, names

            @pytest.fixture(scope="session")
            def wide():
                add("wide")

            def test_one(wide):
                assert names() == ["seed", "wide"]

            @pytest.mark.engineroom(isolation="none")
            def test_two():
                add("left")
        """,
        run="import pytest, sys; sys.exit(pytest.main(['-q']) or pytest.main(['-q']))",
    )
    outcome = lone_shop.python("-W", "error", "run.py")
    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.out.count("2 passed") == 2


@pytest.mark.parametrize("line", ["add('between')", "raw('between')"])
def test_what_a_hook_writes_between_two_tests_does_not_reach_the_next_one(lone_shop: SmallProject, line: str) -> None:
    lone_shop.write(
        conftest="""
            import sqlite3
            from contextlib import closing
            from app.db import add, engine

            def raw(name):
                with closing(sqlite3.connect(engine.url.database)) as connection, connection:
                    connection.execute("INSERT INTO users (name) VALUES (?)", [name])

            def pytest_runtest_logfinish():
                LINE
        """.replace("LINE", line),
        test_between="""
            import pytest
            from app.db import names

            @pytest.mark.parametrize("time", range(3))
            def test_read(time):
                assert names() == ["seed"]
        """,
    )
    outcome = lone_shop.pytest("test_between.py")
    assert outcome.counts == {"passed": 3}, outcome.out
