"""``python -m unittest`` and scripts: the same switch, fence, build and baseline without pytest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.plugin.server_shop import DRIVERS, make_shop

if TYPE_CHECKING:
    from tests.plugin.conftest import Outcome, SmallProject

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
    from sqlalchemy import String
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
        name: Mapped[str] = mapped_column(String(50))

    def fill(session):
        session.add(User(name="seed"))

    def add(name):
        with Session.begin() as session:
            session.add(User(name=name))

    def names():
        with Session() as session:
            return [user.name for user in session.query(User).order_by(User.id)]
"""
CREATION = 'connection.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"))'
START = "from engineroom.testing import start_test_run\n\nstart_test_run()\n"
TESTS = """
    import threading, unittest
    from engineroom.testing import IsolatedTestCase
    from shop import AsyncSession, User, add, engine, names
    from sqlalchemy import select, text

    class ATest(IsolatedTestCase):
        def setUp(self):
            self.assertEqual(names(), ["seed"])
            add("set up")

        def tearDown(self):
            add("torn down")

        def test_1(self):
            thread = threading.Thread(target=add, args=("thread",))
            thread.start(); thread.join()
            self.assertEqual(names(), ["seed", "set up", "thread"])

        def test_2(self):
            with engine.begin() as connection:
                connection.execute(text("DROP TABLE users"))
                connection.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"))

        @unittest.expectedFailure
        def test_3(self):
            add("three")
            self.fail()

        @unittest.skip("no time")
        def test_4(self):
            add("four")

        def test_5(self):
            for number in range(2):
                with self.subTest(number=number):
                    add("five")

    class BTest(IsolatedTestCase):
        @classmethod
        def setUpClass(cls):
            add("class")

        def test_1(self):
            self.assertEqual(names(), ["seed", "class"])
            add("one")

        def test_2(self):
            self.assertEqual(names(), ["seed", "class"])

    class CTest(IsolatedTestCase, unittest.IsolatedAsyncioTestCase):
        async def add(self, name):
            async with AsyncSession.begin() as session:
                session.add(User(name=name))
            async with AsyncSession() as session:
                return list(await session.scalars(select(User.name)))

        async def test_1(self):
            self.assertEqual(await self.add("async"), ["seed", "async"])

        async def test_2(self):
            self.assertEqual(await self.add("async"), ["seed", "async"])
"""


def make_project(project: SmallProject, **files: str) -> SmallProject:
    project.write_text("pyproject.toml", CONFIGURATION)
    project.write_text("tests/__init__.py", START)
    return project.write(**({"shop": SHOP, "tests__test_shop": TESTS} | files))


def run(project: SmallProject, *arguments: str, **environ: str) -> Outcome:
    return project.python("-W", "error", "-m", "unittest", *arguments, **environ)


# Python 3.12.1 alone does not count the skipped one: https://github.com/python/cpython/issues/110890
OUTCOME = r"Ran [89] tests.*OK \(skipped=1, expected failures=1\)"


def test_tests_of_unittest_start_from_the_baseline(lone_project: SmallProject) -> None:
    project = make_project(lone_project)
    before = project.database.read_bytes()
    outcome = run(project, "-v", APP_ENV="production")
    assert outcome.code == 0, outcome.err
    assert re.search(OUTCOME, outcome.err, re.DOTALL), outcome.err
    assert project.database.read_bytes() == before


@pytest.mark.parametrize("driver", ["psycopg and asyncpg", "pymysql and aiomysql"])
def test_they_do_so_on_servers(driver: str, request: pytest.FixtureRequest, lone_project: SmallProject) -> None:
    kind, scheme = DRIVERS[driver]
    on_a_server = SHOP.replace('"sqlite:///shop.db"', "")
    with make_shop(lone_project, request.getfixturevalue(f"{kind}_url"), scheme) as shop:
        tests = TESTS.replace(CREATION, "User.__table__.create(connection)")
        project = make_project(lone_project, shop=on_a_server, tests__test_shop=tests)
        for _ in range(2):
            outcome = run(project, "-v")
            assert re.search(OUTCOME, outcome.err, re.DOTALL), outcome.err
            assert shop.databases() == shop.kept_databases()
        outcome = run(make_project(lone_project, shop=on_a_server, tests__test_shop=GUILTY_ON_A_SERVER))
        assert re.findall(r"^ERROR: (test_\d)", outcome.err, re.MULTILINE) == ["test_1"], outcome.err
        assert re.search(r"taken at \S+test_shop\.py", outcome.err)


def test_the_same_tests_pass_under_pytest(lone_project: SmallProject) -> None:
    outcome = make_project(lone_project).pytest("-W", "error")
    assert outcome.counts == {"passed": 7, "skipped": 1, "xfailed": 1}, outcome.out


GUILTY = """
    import sqlite3, subprocess, sys
    from engineroom.testing import IsolatedTestCase, expect_refusal
    from shop import Session, User, names

    class ATest(IsolatedTestCase):
        def test_1_swallows_a_refusal(self):
            try:
                sqlite3.connect("shop.db")
            except Exception:
                pass

        def test_2_is_refused(self):
            sqlite3.connect("shop.db")

        def test_3_expects_a_refusal(self):
            with expect_refusal():
                sqlite3.connect("shop.db")

        def test_4_answers_for_its_child_process(self):
            child = [sys.executable, "-c", "import sqlite3; sqlite3.connect('shop.db')"]
            done = subprocess.run(child, capture_output=True, text=True)
            self.assertIn("FenceError", done.stderr)

        def test_5_starts_clean(self):
            self.assertEqual(names(), ["seed"])

        def test_6_leaves_a_session_open(self):
            ATest.session = Session()
            ATest.session.add(User(name="open"))
            ATest.session.flush()

        def test_7_cannot_start(self):
            pass
"""


GUILTY_ON_A_SERVER = """
    from engineroom.testing import IsolatedTestCase
    from shop import Session, User, names

    class ATest(IsolatedTestCase):
        def test_1_leaves_a_session_open(self):
            ATest.session = Session()
            ATest.session.add(User(name="open"))
            ATest.session.flush()

        def test_2_starts_clean(self):
            self.assertEqual(names(), ["seed"])
"""


def test_the_guilty_test_gets_the_error(lone_project: SmallProject) -> None:
    outcome = run(make_project(lone_project, tests__test_shop=GUILTY))
    failed = re.findall(r"^ERROR: (test_\d)", outcome.err, re.MULTILINE)
    assert failed == ["test_1", "test_2", "test_4", "test_6", "test_7"], outcome.err
    assert outcome.err.count("A transaction that writes was still open when the test ended.") == 2
    assert outcome.err.count("FenceError: Refused") == 3


def test_a_build_that_fails_stops_the_run_with_its_own_error_once(lone_project: SmallProject) -> None:
    project = make_project(lone_project, shop=SHOP.replace('name="seed"', 'no_such_name="seed"'))
    outcome = run(project)
    assert re.search(r"Ran 1 test\b", outcome.err), outcome.err
    assert outcome.err.count("TypeError: 'no_such_name' is an invalid keyword argument") == 1, outcome.err
    assert 'seed = "shop:fill" of [tool.engineroom]' in outcome.err


def test_a_script_isolates_a_block(lone_project: SmallProject) -> None:
    script = """
        from engineroom.testing import isolate, start_test_run
        start_test_run()
        from shop import add, names
        for _ in range(2):
            with isolate("a trial"):
                add("trial")
                assert names() == ["seed", "trial"]
        assert names() == ["seed"]
        try:
            with isolate("a mistake"):
                add("mistake")
                raise ValueError
        except ValueError:
            print(names())
    """
    outcome = make_project(lone_project, script=script).python("-W", "error", "script.py")
    assert outcome.out == "['seed']\n", outcome.err


@pytest.mark.parametrize("line", ["import shop", "from engineroom import get_engine; get_engine()"])
def test_a_start_that_comes_too_late_is_a_clear_error(lone_project: SmallProject, line: str) -> None:
    project = make_project(lone_project, script=f"{line}\n{START}")
    outcome = project.python("script.py")
    assert outcome.code == 1
    assert "The application was imported before the test environment was selected." in outcome.err
