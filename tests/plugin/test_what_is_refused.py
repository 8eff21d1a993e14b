"""Whatever a test run does, the development database is what it was, and the run is red.

What tests do stands in ``scenarios.py``; here are the lines that run while pytest collects, starts or ends, and what is
told of a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import make_database

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

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


MOCKS = {
    "a driver that is wrapped": "create_engine(URL, module=wrapped(sqlite3))",
    "a driver whose connect is the real one": "create_engine(URL, module=driver(connect=sqlite3.connect))",
    "a connect that is wrapped": "patched(wraps=sqlite3.connect)",
    "a connect with the real one behind it": "patched(side_effect=sqlite3.connect)",
    "a creator with the real one behind it": "create_engine(URL, creator=mock.Mock(side_effect=connect))",
}
BEHIND_A_MOCK = """
    import sqlite3, types
    from unittest import mock
    from sqlalchemy import create_engine, text

    URL = "sqlite:///shop.db"

    def connect(*arguments, **options):
        return sqlite3.connect("shop.db")

    def driver(connect):
        return types.SimpleNamespace(**vars(sqlite3) | {"connect": connect})

    def wrapped(module):
        return mock.Mock(wraps=module, sqlite_version_info=(3, 40), paramstyle="qmark")

    def patched(**options):
        mock.patch.object(sqlite3.dbapi2, "connect", **options).start()
        return create_engine(URL)

    def test_a():
        with ENGINE.begin() as connection:
            connection.execute(text("DELETE FROM articles"))
"""


@pytest.mark.parametrize("engine", MOCKS.values(), ids=MOCKS.keys())
def test_a_mock_with_a_real_database_behind_it_is_no_way_around(lone_project: SmallProject, engine: str) -> None:
    lone_project.write(test_a=BEHIND_A_MOCK.replace("ENGINE", engine))
    before = lone_project.digest()
    outcome = lone_project.pytest()
    assert outcome.counts == {"failed": 1}, outcome.out
    assert "shop.db while pytest runs." in "".join(outcome.refusals), outcome.out
    assert lone_project.digest() == before


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
