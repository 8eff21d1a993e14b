"""Whatever a test run does, the development database is what it was, and the run is red.

Each row is a test, or a line that runs while pytest collects, starts or ends, in a small real project.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import MODES, make_database, make_project

if TYPE_CHECKING:
    from tests.plugin.conftest import Outcome, SmallProject

APP = """
    import sqlite3
    from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine
    from sqlalchemy.ext.asyncio import create_async_engine

    metadata = MetaData()
    Table("articles", metadata, Column("name", String, primary_key=True))
    engine = create_engine("sqlite:///shop.db")
    async_engine = create_async_engine("sqlite+aiosqlite:///shop.db")

    def swallow():
        try:
            sqlite3.connect("shop.db")
        except Exception:
            pass
"""

RAISING = {
    "sqlite3": "sqlite3.connect('shop.db')",
    "sqlite3_by_uri": "sqlite3.connect('file:shop.db?mode=rw', uri=True)",
    "sqlite3_by_a_link": "os.symlink('shop.db', tmp_path / 'x'); os.symlink(os.path.abspath('shop.db'), tmp_path / 'test_x.db'); sqlite3.connect(tmp_path / 'test_x.db')",  # noqa: E501
    "sqlite3_by_a_hard_link": "os.link('shop.db', 'test_hard.db'); sqlite3.connect('test_hard.db')",
    "aiosqlite": "asyncio.run(open_by_aiosqlite())",
    "drop_all": "app.metadata.drop_all(app.engine)",
    "async_drop_all": "asyncio.run(drop_all())",
    "an_engine_of_its_own": "create_engine('sqlite:///shop.db').connect()",
    "a_creator": "create_engine('sqlite://', creator=lambda: sqlite3.connect('shop.db')).connect()",
    "os_remove": "os.remove('shop.db')",
    "path_unlink": "Path('shop.db').unlink(missing_ok=True)",
    "truncate": "os.truncate('shop.db', 0)",
    "open_for_writing": "open('shop.db', 'wb')",
    "rename": "os.rename('shop.db', 'shop.bak')",
    "copy_over": "shutil.copy(__file__, 'shop.db')",
    "rmtree": "shutil.rmtree(os.getcwd(), ignore_errors=True)",
    "the_environment_set_back": "os.environ['APP_ENV'] = 'production'; sqlite3.connect('shop.db')",
    "an_empty_environment": "monkeypatch.setattr(os, 'environ', {}); sqlite3.connect('shop.db')",
    "a_reloaded_application": "importlib.reload(app).engine.connect()",
    "a_process_pool_thread": "ThreadPoolExecutor().submit(sqlite3.connect, 'shop.db').result()",
}
"""Lines that end their test with the refusal itself."""

SWALLOWED = {
    "except_exception": "app.swallow()",
    "a_thread": "in_a_thread(app.swallow)",
    "a_thread_that_dies": "in_a_thread(lambda: sqlite3.connect('shop.db'))",
    "a_task": "asyncio.run(in_a_task())",
    "a_fork": "in_a_fork(app.swallow)",
    "multiprocessing": "in_a_process(app.swallow)",
    "a_skip": "app.swallow(); pytest.skip('not today')",
    "an_xfail": "app.swallow(); pytest.xfail('known')",
    "rmtree_in_a_finally": "contextlib.suppress(Exception).__enter__(); remove_all()",
}
"""Lines after which their test would be green."""

PRELUDE = """
    import asyncio, contextlib, importlib, multiprocessing, os, shutil, sqlite3, threading
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    import pytest
    import aiosqlite
    from sqlalchemy import create_engine
    import app

    pytestmark = pytest.mark.filterwarnings("ignore")

    async def open_by_aiosqlite():
        await aiosqlite.connect("shop.db")

    async def drop_all():
        async with app.async_engine.begin() as connection:
            await connection.run_sync(app.metadata.drop_all)

    def in_a_thread(function):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()

    async def in_a_task():
        task = asyncio.create_task(asyncio.to_thread(app.swallow))
        await asyncio.gather(task, return_exceptions=True)

    def in_a_fork(function):
        pid = os.fork()
        if not pid:
            function()
            os._exit(0)
        os.waitpid(pid, 0)

    def in_a_process(function):
        process = multiprocessing.get_context("fork").Process(target=function)
        process.start()
        process.join()

    def remove_all():
        try:
            shutil.rmtree(os.getcwd())
        except Exception:
            pass

    @pytest.fixture(scope="session")
    def of_the_session():
        app.swallow()
        yield
        app.swallow()

    def test_a_fixture(of_the_session):
        pass

    class TestOfUnittest(__import__("unittest").TestCase):
        def setUp(self):
            app.swallow()

        def test_unittest(self):
            pass
"""


def write_rows() -> str:
    lines = [textwrap.dedent(PRELUDE)]
    for name, line in {**RAISING, **SWALLOWED}.items():
        lines.append(f"def test_{name}(tmp_path, monkeypatch):\n    {line}\n")
    return "\n".join(lines)


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def wild_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallProject, Outcome]:
    """Run every row in one project, once in one process and once with two workers."""
    project = make_project(tmp_path_factory.mktemp("wild"), request.param)
    project.write(app=APP, test_wild=write_rows())
    before = project.digest()
    outcome = project.pytest(APP_ENV="production")
    assert project.digest() == before, outcome.out
    return project, outcome


@pytest.mark.parametrize("name", [*RAISING, *SWALLOWED, "a_fixture", "unittest"])
def test_a_test_that_reaches_for_the_database_is_red(wild_run: tuple[SmallProject, Outcome], name: str) -> None:
    _, outcome = wild_run
    assert f"test_{name}" in outcome.failed, outcome.out
    listed = [line for line in outcome.refusals if not line.startswith(" ") and f"test_{name}" in line]
    assert listed, "\n".join(outcome.refusals)


def test_no_test_of_the_wild_run_is_green(wild_run: tuple[SmallProject, Outcome]) -> None:
    _, outcome = wild_run
    assert outcome.code == pytest.ExitCode.TESTS_FAILED
    assert "passed" not in outcome.counts


@pytest.mark.parametrize("name", SWALLOWED)
def test_a_swallowed_refusal_names_the_line(wild_run: tuple[SmallProject, Outcome], name: str) -> None:
    _, outcome = wild_run
    (first, *_) = [line for line in outcome.refusals if line.endswith((f"test_{name}", f"test_{name} (2 times)"))]
    file = first.split(":")[0]
    assert file in {"app.py", "test_wild.py"}


def test_each_refusal_is_listed_once(wild_run: tuple[SmallProject, Outcome]) -> None:
    _, outcome = wild_run
    heads = [line for line in outcome.refusals if not line.startswith(" ")]
    assert len(heads) == len(set(heads))
    assert len(heads) == outcome.out.count("\n    Fix: ", outcome.out.index("= engineroom: the fence refused ="))


# --- Outside of any test

MOMENTS: dict[str, dict[str, str]] = {
    "while a conftest is imported": {"conftest": "import app; app.swallow()"},
    "while a test module is imported": {"test_b": "import app; app.swallow()\ndef test_b(): pass"},
    "while the session starts": {"conftest": "import app\ndef pytest_sessionstart(): app.swallow()"},
    "while tests are collected": {"conftest": "import app\ndef pytest_collection_modifyitems(): app.swallow()"},
    "when the session ends": {"conftest": "import app\ndef pytest_sessionfinish(): app.swallow()"},
    "between the tests": {"conftest": "import app\ndef pytest_runtest_logfinish(): app.swallow()"},
    "after the summary": {"conftest": "import app\ndef pytest_unconfigure(): app.swallow()"},
    "at exit": {"conftest": "import app, atexit; atexit.register(app.swallow)"},
    "in a thread that outlives the session": {
        "conftest": """
            import app, threading
            def wait_and_swallow():
                threading.main_thread().join()
                app.swallow()
            threading.Thread(target=wait_and_swallow).start()
        """
    },
}


@pytest.mark.parametrize("files", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_refusal_outside_of_any_test_fails_the_run(project: SmallProject, files: dict[str, str]) -> None:
    project.write(app=APP, test_a="def test_a(): pass", **files)
    before = project.digest()
    outcome = project.pytest()
    assert outcome.code != 0, outcome.out + outcome.err
    assert outcome.counts.get("passed", 0) >= 1
    assert "Refused to connect to sqlite:///" in outcome.out + outcome.err
    assert "app.py:13" in outcome.out + outcome.err
    assert project.digest() == before


@pytest.mark.parametrize("moment", ["while a conftest is imported", "while a test module is imported"])
def test_to_collect_tests_is_no_licence(project: SmallProject, moment: str) -> None:
    project.write(app=APP, test_a="def test_a(): pass", **MOMENTS[moment])
    outcome = project.pytest("--collect-only")
    assert outcome.code == pytest.ExitCode.TESTS_FAILED
    assert "app.py:13" in "\n".join(outcome.refusals)


def test_a_run_without_tests_is_red_too(lone_project: SmallProject) -> None:
    lone_project.write(app=APP, conftest="import app; app.swallow()")
    assert lone_project.pytest().code == pytest.ExitCode.TESTS_FAILED


def test_a_refusal_that_ends_the_collection_stays_an_error(project: SmallProject) -> None:
    project.write(app=APP, test_a="import app; app.engine.connect()\ndef test_a(): pass")
    outcome = project.pytest()
    assert outcome.code in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}
    assert "FenceError" in outcome.out


def test_a_conftest_that_reaches_for_the_database_stops_the_run(project: SmallProject) -> None:
    project.write(app=APP, conftest="import app; app.engine.connect()", test_a="def test_a(): pass")
    before = project.digest()
    outcome = project.pytest()
    assert outcome.code == pytest.ExitCode.USAGE_ERROR
    assert "FenceError" in outcome.out + outcome.err
    assert project.digest() == before


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_the_database_and_its_log_are_safe_while_a_server_uses_them(
    lone_project: SmallProject, journal_mode: str
) -> None:
    import sqlite3  # noqa: PLC0415  # the development server of this test

    lone_project.database.unlink()
    make_database(lone_project.database, journal_mode=journal_mode)
    server = sqlite3.connect(lone_project.database, isolation_level=None)
    server.execute("INSERT INTO articles VALUES ('d')")
    sides = sorted(path.name for path in lone_project.root.glob("shop.db*"))
    lone_project.write(
        test_a=f"""
            import os, pytest
            @pytest.mark.parametrize("name", {sides})
            def test_remove(name):
                os.remove(name)
        """
    )
    outcome = lone_project.pytest()
    assert outcome.counts == {"failed": len(sides)}, outcome.out
    assert server.execute("SELECT count(*) FROM articles").fetchone() == (4,)
    server.close()


# --- Expected

EXPECTED = """
    import sqlite3
    import pytest
    from engineroom import FenceError
    from engineroom.testing import expect_refusal

    def test_expected():
        with expect_refusal() as refusals:
            sqlite3.connect("shop.db")
        assert refusals[0].target.endswith("shop.db")
        assert refusals[0].file == __file__

    @pytest.fixture
    def expecting():
        with expect_refusal():
            yield

    def test_expected_over_the_whole_test(expecting):
        with pytest.raises(FenceError):
            sqlite3.connect("shop.db")
"""


def test_an_expected_refusal_is_green(project: SmallProject) -> None:
    project.write(test_a=EXPECTED)
    outcome = project.pytest()
    assert (outcome.code, outcome.counts) == (0, {"passed": 2}), outcome.out
    assert outcome.refusals == []


def test_a_refusal_that_is_caught_without_being_expected_is_red(project: SmallProject) -> None:
    project.write(
        test_a="""
            import sqlite3
            import pytest
            def test_caught():
                with pytest.raises(Exception, match="Refused"):
                    sqlite3.connect("shop.db")
        """
    )
    outcome = project.pytest()
    assert (outcome.code, outcome.counts) == (1, {"failed": 1}), outcome.out


def test_an_expectation_that_is_not_met_is_red(project: SmallProject) -> None:
    project.write(
        test_a="from engineroom.testing import expect_refusal\ndef test_a():\n    with expect_refusal(): pass\n"
    )
    outcome = project.pytest()
    assert (outcome.code, outcome.counts) == (1, {"failed": 1}), outcome.out
    assert "Nothing was refused in this block." in outcome.out


def test_a_test_that_fails_for_another_reason_shows_the_refusal_too(lone_project: SmallProject) -> None:
    lone_project.write(app=APP, test_a="import app\ndef test_a():\n    app.swallow()\n    assert 1 == 2\n")
    outcome = lone_project.pytest()
    assert "assert 1 == 2" in outcome.out
    assert outcome.out.count("Refused to connect to") == 2  # at the test, and in the summary


def test_the_text_of_the_failure_tells_what_to_do(lone_project: SmallProject) -> None:
    lone_project.write(app=APP, test_a="import app\ndef test_a(): app.swallow()")
    out = lone_project.pytest().out
    assert "The fence refused something in this test, and the test went on as if nothing had happened:" in out
    assert "\napp.py:13 in test_a.py::test_a\n" in out
    assert f"    Refused to connect to sqlite:///{lone_project.database} while pytest runs.\n" in out
    assert "    Fix: open it for reading:" in out


def test_a_loop_that_tries_again_is_listed_once(lone_project: SmallProject) -> None:
    lone_project.write(app=APP, test_a="import app\ndef test_a():\n    for _ in range(50): app.swallow()\n")
    outcome = lone_project.pytest()
    assert [line for line in outcome.refusals if "app.py" in line] == ["app.py:13 in test_a.py::test_a (50 times)"]
