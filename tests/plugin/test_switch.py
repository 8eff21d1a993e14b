"""The switch: the test environment is selected before anything of the project is imported, whatever the shell says."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

REMEMBER = "import os; seen = os.environ.get('APP_ENV')"
INNER = """
    import os, sqlite3
    def test_allowed_there():
        sqlite3.connect("shop.db").close()
    def test_refused_there():
        try:
            sqlite3.connect(os.environ["SHOP"])
        except Exception:
            pass
"""
OUTER = """
    import os, sqlite3
    from pathlib import Path
    from engineroom.testing import expect_refusal
    pytest_plugins = ["pytester"]

    def test_inner(pytester, request, monkeypatch):
        monkeypatch.setenv("SHOP", str(request.config.rootpath / "shop.db"))
        pytester.makepyprojecttoml("[tool.engineroom]\\nfence_allow = ['*.db']")
        pytester.makepyfile((request.config.rootpath / "inner.py").read_text())
        result = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", "--rootdir", ".")
        result.assert_outcomes(passed=1, failed=1)
        assert os.environ["APP_ENV"] == "test"

    def test_after_it():
        sqlite3.connect("reference.db").close()
        with expect_refusal():
            sqlite3.connect("shop.db")
"""
EARLY = """
    from engineroom import get_engine
    engine = get_engine("sqlite:///shop.db")
"""


@pytest.mark.parametrize("shell", [{}, {"APP_ENV": "production"}, {"APP_ENV": "no such word"}, {"APP_ENV": ""}])
def test_the_environment_is_test_wherever_the_project_looks(project: SmallProject, shell: dict[str, str]) -> None:
    project.write(conftest=REMEMBER, plugin=REMEMBER, app=REMEMBER)
    project.write(
        test_a="""
            import os
            import app, conftest, plugin, pytest
            seen = os.environ["APP_ENV"]

            @pytest.fixture(scope="session")
            def fixture():
                return os.environ["APP_ENV"]

            def test_everywhere(fixture):
                assert {app.seen, conftest.seen, plugin.seen, seen, fixture, os.environ["APP_ENV"]} == {"test"}
        """
    )
    outcome = project.pytest(PYTEST_PLUGINS="plugin", PYTHONPATH=str(project.root), **shell)
    assert outcome.counts == {"passed": 1}, outcome.out
    assert outcome.code == 0


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ({}, "engineroom: APP_ENV=test"),
        ({"APP_ENV": "test"}, "engineroom: APP_ENV=test"),
        ({"APP_ENV": ""}, "engineroom: APP_ENV=test"),
        ({"APP_ENV": "development"}, 'engineroom: APP_ENV=test (replaces "development" from the shell)'),
        ({"APP_ENV": " Prod "}, 'engineroom: APP_ENV=test (replaces "Prod" from the shell)'),
        ({"APP_ENV": "postgresql://me:geheim@db/shop"}, "engineroom: APP_ENV=test (replaces a value from the shell)"),
    ],
)
def test_the_header_tells_what_was_replaced(project: SmallProject, shell: dict[str, str], line: str) -> None:
    project.write(test_a="def test_a(): pass")
    outcome = project.pytest(**shell)
    assert outcome.own_lines[0] == line
    assert "geheim" not in outcome.out


def test_the_variable_is_the_projects_own(project: SmallProject) -> None:
    project.write_text("pyproject.toml", "[tool.engineroom]\nenvironment_variable = 'FLASK_ENV'\n")
    project.write(
        test_a="import os\ndef test_a(): assert (os.environ['FLASK_ENV'], os.environ['APP_ENV']) == ('test', 'mine')"
    )
    outcome = project.pytest("-p", "no:randomly", FLASK_ENV="production", APP_ENV="mine")
    assert outcome.counts == {"passed": 1}, outcome.out
    assert outcome.own_lines[0] == 'engineroom: FLASK_ENV=test (replaces "production" from the shell)'


def test_quiet_means_no_header(project: SmallProject) -> None:
    project.write(test_a="def test_a(): pass")
    assert project.pytest("-q").own_lines == []
    assert project.pytest("--no-header").own_lines == []


def test_the_project_is_found_from_pytests_rootdir(lone_project: SmallProject) -> None:
    lone_project.write(tests__test_a="import os\ndef test_a(): assert os.environ['FLASK_ENV'] == 'test'")
    lone_project.write_text(
        "pyproject.toml", "[tool.pytest.ini_options]\n[tool.engineroom]\nenvironment_variable = 'FLASK_ENV'\n"
    )
    elsewhere = lone_project.temporary
    outcome = lone_project.python(
        "-c",
        "import os, pytest, sys; os.chdir(sys.argv[1]); sys.exit(pytest.main(sys.argv[2:]))",
        str(elsewhere),
        "-p",
        "no:randomly",
        str(lone_project.root / "tests"),
    )
    assert outcome.counts == {"passed": 1}, outcome.out


# --- Too early


def test_an_engine_that_was_made_too_early_stops_the_run(project: SmallProject) -> None:
    project.write(early=EARLY, run=f"import early, pytest, sys; sys.exit(pytest.main({[*project.arguments]}))")
    project.write(test_a="def test_a(): pass")
    outcome = project.python("run.py")
    assert outcome.code == pytest.ExitCode.USAGE_ERROR
    assert "The application was imported before the test environment was selected." in outcome.err
    assert "was made by the module early for the environment development" in outcome.err
    assert "import early in a conftest.py or in a test" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_plugin_that_makes_an_engine_too_early_gets_none(project: SmallProject) -> None:
    project.write(early=EARLY, test_a="def test_a(): pass")
    before = project.digest()
    outcome = project.pytest("-p", "early", PYTHONPATH=str(project.root))
    assert outcome.code != 0
    assert "There is no test database" in outcome.err or "unsafe-test-database" in outcome.err
    assert project.digest() == before


def test_the_fix_that_the_message_names_works(project: SmallProject) -> None:
    project.write(early=EARLY, test_a="def test_a(): pass")
    before = project.digest()
    outcome = project.pytest("-p", "engineroom", "-p", "early", PYTHONPATH=str(project.root))
    assert outcome.counts == {"passed": 1}, outcome.err
    assert project.digest() == before


def test_a_settings_object_that_was_made_too_early_stops_the_run(lone_project: SmallProject) -> None:
    lone_project.write(
        early="""
            from engineroom import Settings, get_settings
            settings = get_settings(Settings)
        """,
        test_a="def test_a(): pass",
    )
    outcome = lone_project.pytest("-p", "early", PYTHONPATH=str(lone_project.root))
    assert outcome.code == pytest.ExitCode.USAGE_ERROR
    assert "module early" in outcome.err


def test_a_table_that_cannot_be_used_stops_the_run(lone_project: SmallProject) -> None:
    lone_project.write_text("pyproject.toml", "[tool.engineroom]\nschemata = 'app.models:Base'\n")
    lone_project.write(test_a="def test_a(): pass")
    outcome = lone_project.pytest()
    assert outcome.code == pytest.ExitCode.USAGE_ERROR
    assert "schemata" in outcome.err
    assert "Traceback" not in outcome.err


def test_after_a_run_that_was_stopped_the_environment_is_as_before(lone_project: SmallProject) -> None:
    lone_project.write(early=EARLY, test_a="def test_a(): pass")
    lone_project.write(
        run="""
            import os, pytest
            before = dict(os.environ)
            import early
            code = pytest.main(["-p", "no:terminal"])
            print(int(code), {name for name in before.keys() | os.environ if before.get(name) != os.environ.get(name)})
        """
    )
    outcome = lone_project.python("run.py")
    assert outcome.out.splitlines()[-1] == "4 set()"


# --- Ways to start pytest

COMMANDS = [
    ("--help",),
    ("--version",),
    ("-VV",),
    ("--fixtures",),
    ("--markers",),
    ("--collect-only",),
    ("--collect-only", "-q"),
    ("-p", "engineroom"),
    ("-p", "engineroom.pytest_plugin"),
    ("-p", "engineroom", "-p", "engineroom"),
    ("-p", "no:cacheprovider"),
    ("-p", "no:terminal"),
    ("--assert=plain",),
    ("-W", "error"),
    ("--strict-markers", "--strict-config"),
    ("-vv", "-rA"),
    ("--tb=native", "-l"),
    ("--lf",),
    ("--co", "--rootdir", "."),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_pytest_can_be_started_in_every_way(lone_project: SmallProject, command: tuple[str, ...]) -> None:
    lone_project.write(test_a="def test_a(): pass")
    outcome = lone_project.pytest(*command, APP_ENV="development")
    assert outcome.code == 0, outcome.out + outcome.err
    assert "most recent call last" not in outcome.out + outcome.err
    assert "INTERNAL" not in outcome.out + outcome.err


def test_the_plugin_can_be_named_where_none_is_loaded_by_itself(lone_project: SmallProject) -> None:
    lone_project.write(test_a="import os\ndef test_a(): assert os.environ['APP_ENV'] == 'test'")
    outcome = lone_project.pytest("-p", "engineroom", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert outcome.counts == {"passed": 1}, outcome.out


def test_the_plugin_can_be_switched_off(project: SmallProject) -> None:
    project.write(
        test_a="""
            import os, sys
            def test_a():
                assert os.environ.get("APP_ENV") is None
                assert not [name for name in os.environ if name.startswith("ENGINEROOM")]
                assert "engineroom.testing.fence" not in sys.modules
        """
    )
    outcome = project.pytest("-p", "no:engineroom")
    assert outcome.counts == {"passed": 1}, outcome.out
    assert outcome.own_lines == []


def test_the_plugin_is_named_and_its_marker_is_known(lone_project: SmallProject) -> None:
    lone_project.write(
        test_a="""
            import pytest
            @pytest.mark.engineroom(isolation="none")
            def test_a(request):
                assert request.config.pluginmanager.hasplugin("engineroom")
        """
    )
    outcome = lone_project.pytest("--strict-markers")
    assert outcome.counts == {"passed": 1}, outcome.out


def test_two_runs_in_one_process(lone_project: SmallProject) -> None:
    lone_project.write(
        test_a="""
            import os, sqlite3
            def test_a(tmp_path):
                assert os.environ["APP_ENV"] == "test"
                sqlite3.connect(tmp_path / "shop.db").execute("CREATE TABLE a (b)").connection.close()
            def test_refused():
                try:
                    sqlite3.connect("shop.db")
                except Exception:
                    pass
        """,
        run="""
            import os, pytest
            os.environ["APP_ENV"] = "staging"
            before = dict(os.environ)
            codes = []
            for chosen in ("test_a", "test_refused", "test_a"):
                codes.append(int(pytest.main(["-q", f"test_a.py::{chosen}"])))
                changed = {name for name in before.keys() | os.environ if before.get(name) != os.environ.get(name)}
                assert not changed, changed
            from engineroom import current_environment
            print(codes, os.environ["APP_ENV"], current_environment())
        """,
    )
    outcome = lone_project.python("run.py")
    assert outcome.out.splitlines()[-1] == "[0, 1, 0] staging test", outcome.out + outcome.err


def test_the_process_stays_behind_the_fence_after_the_run(lone_project: SmallProject) -> None:
    lone_project.write(
        test_a="def test_a(): pass",
        run="""
            import pytest, sqlite3
            pytest.main(["-q"])
            try:
                sqlite3.connect("shop.db")
            except Exception as error:
                print(type(error).__name__)
        """,
    )
    before = lone_project.digest()
    outcome = lone_project.python("run.py")
    assert outcome.out.splitlines()[-1] == "FenceError"
    assert outcome.code == 120
    assert lone_project.digest() == before


def test_pytest_main_with_the_plugins_module_as_a_plugin(lone_project: SmallProject) -> None:
    lone_project.write(
        test_a="import os\ndef test_a(): assert os.environ['APP_ENV'] == 'test'",
        run="import pytest, sys; sys.exit(pytest.main(['-q'], plugins=['engineroom.pytest_plugin']))",
    )
    outcome = lone_project.python("run.py")
    assert (outcome.code, outcome.counts["passed"]) == (0, 1), outcome.out + outcome.err


def test_a_pytest_that_a_test_starts_has_a_run_of_its_own(project: SmallProject) -> None:
    project.write(
        inner__test_inner="""
            import os, sqlite3
            from pathlib import Path
            def test_inner():
                Path(os.environ["RESULT"]).write_text(os.environ["ENGINEROOM_RUN"])
            def test_refused():
                try:
                    sqlite3.connect("shop.db")
                except Exception:
                    pass
        """,
        test_outer="""
            import os, subprocess, sys
            import pytest
            @pytest.mark.parametrize("arguments", [[], ["-n2"]])
            def test_outer(tmp_path, arguments):
                environ = {**os.environ, "RESULT": str(tmp_path / "result")}
                done = subprocess.run(
                    [sys.executable, "-m", "pytest", "inner", *arguments], env=environ, capture_output=True, text=True
                )
                assert done.returncode == 1, done.stdout
                assert done.stdout.count("inner/test_inner.py:8") == 2, done.stdout
                inner = (tmp_path / "result").read_text()
                assert inner != os.environ["ENGINEROOM_RUN"]
                assert not os.path.exists(inner)
        """,
    )
    outcome = project.pytest("test_outer.py")
    assert (outcome.code, outcome.counts) == (0, {"passed": 2}), outcome.out


def test_a_pytest_that_a_test_runs_inside_of_itself_changes_nothing_for_the_rest(lone_project: SmallProject) -> None:
    lone_project.write_text(
        "pyproject.toml", "[tool.pytest.ini_options]\n[tool.engineroom]\nfence_allow = ['reference.db']\n"
    )
    lone_project.write(inner=INNER, test_a=OUTER)
    before = lone_project.digest()
    outcome = lone_project.pytest("-p", "no:randomly")
    assert (outcome.code, outcome.counts["passed"]) == (0, 2), outcome.out + outcome.err
    assert lone_project.digest() == before


def test_workers_take_part_in_the_run_of_their_controller(lone_project: SmallProject) -> None:
    lone_project.write(
        conftest="""
            import os
            def pytest_sessionstart(session):
                with open("runs.txt", "a") as file:
                    file.write(os.environ["ENGINEROOM_RUN"] + "\\n")
        """,
        test_a="import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_a(n): pass",
    )
    assert lone_project.pytest("-n2").counts == {"passed": 4}
    runs = (lone_project.root / "runs.txt").read_text().splitlines()
    assert len(runs) == 3
    assert len(set(runs)) == 1


def test_a_suite_without_a_database_loads_neither_sqlalchemy_nor_pydantic(project: SmallProject) -> None:
    project.write(
        conftest="""
            import sys
            def pytest_sessionfinish(session):
                assert not {"sqlalchemy", "pydantic", "pydantic_settings", "dotenv", "aiosqlite"} & sys.modules.keys()
        """,
        test_a="def test_a(tmp_path): (tmp_path / 'a').write_text('b')",
    )
    outcome = project.pytest()
    assert (outcome.code, outcome.counts) == (0, {"passed": 1}), outcome.out


def test_a_suite_without_settings_loads_few_modules_of_the_plugin(lone_project: SmallProject) -> None:
    lone_project.write(
        conftest="""
            import sys
            FEW = {
                "engineroom", "engineroom._interpreter", "engineroom._memory", "engineroom._project",
                "engineroom._run_files", "engineroom._test_process", "engineroom.pytest_plugin",
                "engineroom.pytest_plugin._found", "engineroom.pytest_plugin._switch",
                "engineroom.pytest_plugin._watching", "engineroom.testing", "engineroom.testing._arrivals",
                "engineroom.testing._database_files", "engineroom.testing.fence", "engineroom.testing.ledger",
                "engineroom.testing.proof",
            }
            def pytest_unconfigure():
                assert not {"sqlite3", "asyncio"} & sys.modules.keys()
                assert {name for name in sys.modules if name.startswith("engineroom")} == FEW
                names = [names for finder in sys.meta_path if (names := getattr(finder, "_must_rewrite", None))]
                assert names
                assert all("engineroom" not in each for each in names), names
        """,
        test_a="def test_a(tmp_path): (tmp_path / 'a').write_text('b')",
    )
    outcome = lone_project.pytest("-q", COVERAGE_PROCESS_CONFIG="", COVERAGE_PROCESS_START="")  # it imports sqlite3
    assert (outcome.code, outcome.counts, outcome.err) == (0, {"passed": 1}, ""), outcome.out + outcome.err


def test_the_module_that_pytest_reads_value_by_value_holds_names_alone() -> None:
    source = (Path(__file__).parents[2] / "src" / "engineroom" / "pytest_plugin" / "__init__.py").read_text()
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert [node.name for node in nodes] == ["__dir__"], "each value costs some 2,000 instructions there"


def test_pytest_is_shown_hooks_and_fixtures_of_the_plugin_and_no_other_name(lone_project: SmallProject) -> None:
    lone_project.write(
        test_a="""
            import subprocess
            FIXTURES = {"db_engine", "db_session", "async_db_engine", "async_db_session"}
            def test_a(pytestconfig, db_engine):
                subprocess.run(["true"])
                manager = pytestconfig.pluginmanager
                ours = {name: plugin for name, plugin in manager.list_name_plugin() if name.startswith("engineroom")}
                assert len(ours) == 4, ours
                for plugin in ours.values():
                    hooks = {caller.name for caller in manager.get_hookcallers(plugin)}
                    assert hooks
                    assert set(dir(plugin)) - hooks <= FIXTURES
                assert set(dir(ours["engineroom"])) >= FIXTURES
        """
    )
    outcome = lone_project.pytest("-q")
    assert outcome.counts == {"passed": 1}, outcome.out


def test_a_suite_that_imports_sqlalchemy_does_not_load_pydantic(project: SmallProject) -> None:
    project.write(
        conftest="""
            import sys
            def pytest_sessionfinish(session):
                assert not {"pydantic", "pydantic_settings", "dotenv"} & sys.modules.keys()
        """,
        test_a="""
            from sqlalchemy import create_engine, text
            def test_a():
                with create_engine("sqlite://").connect() as connection:
                    assert connection.scalar(text("SELECT 1")) == 1
        """,
    )
    outcome = project.pytest()
    assert (outcome.code, outcome.counts) == (0, {"passed": 1}), outcome.out


def test_the_tests_of_this_folder_run_the_python_that_runs_them(lone_project: SmallProject) -> None:
    lone_project.write(test_a=f"import sys\ndef test_a(): assert sys.executable == {sys.executable!r}")
    assert lone_project.pytest().counts == {"passed": 1}
