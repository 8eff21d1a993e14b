"""Header and proof: what a run tells of the environment, the binds and the development database."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import FEW_PLUGINS, make_database

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

APP = """
    from engineroom import get_async_engine, get_engine
    engine = get_engine("sqlite:///shop.db")
    async_engine = get_async_engine("sqlite:///shop.db")
"""
USES_APP = """
    import app
    from sqlalchemy import text
    def test_a():
        with app.engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
"""
UNCHANGED = "engineroom: the development database shop.db is unchanged."

# A program that is no part of the test run: it does not inherit the environment.
WRITER = """
    import subprocess, sys, time
    def write(name="shop.db"):
        program = f"import sqlite3; c = sqlite3.connect({name!r}); c.execute('CREATE TABLE x (y)'); c.close()"
        subprocess.run([sys.executable, "-c", program], check=True, env={})
        time.sleep(0.02)
"""


def test_the_header_tells_each_bind_that_is_made_before_the_session(lone_project: SmallProject) -> None:
    lone_project.write(app=APP, conftest="import app", test_a=USES_APP)
    outcome = lone_project.pytest()
    binds = [line for line in outcome.own_lines if line.startswith("engineroom: bind default: ")]
    assert len(binds) == 2, outcome.out
    assert outcome.out.index(binds[0]) < outcome.out.index("collected 1 item")
    assert "sqlite://" in binds[0]
    assert "test-twin" in binds[0]
    assert "in-memory" in binds[0]


def test_binds_that_come_up_while_tests_are_collected_are_told_after_it(lone_project: SmallProject) -> None:
    lone_project.write(app=APP, test_a=USES_APP)
    outcome = lone_project.pytest()
    binds = [line for line in outcome.own_lines if line.startswith("engineroom: bind default: ")]
    assert len(binds) == 2, outcome.out
    assert outcome.out.index("collected 1 item") < outcome.out.index(binds[0])


def test_a_bind_is_told_once(lone_project: SmallProject) -> None:
    lone_project.write(app=APP, conftest="import app", test_a=USES_APP)
    lines = lone_project.pytest().own_lines
    assert len(lines) == len(set(lines))


def test_no_secret_stands_in_the_header(lone_project: SmallProject) -> None:
    lone_project.write(
        app="""
            from engineroom import get_engine
            engine = get_engine("postgresql+psycopg://app:geheim@localhost/shop?password=geheim2")
        """,
        test_a="import app\ndef test_a(): pass",
    )
    outcome = lone_project.pytest("-vv")
    assert outcome.counts == {"passed": 1}, outcome.out
    (bind,) = [line for line in outcome.own_lines if "bind default" in line]
    assert "localhost/test_shop" in bind
    assert "geheim" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("", 'engineroom: isolation: off (no schema in [tool.engineroom]; add schema = "app.models:Base")'),
        ("schema = 'app:Base'", "engineroom: schema default: app:Base"),
        ("[tool.engineroom.binds.stock]\nschema = 'stock:Base'", "engineroom: schema stock: stock:Base"),
    ],
)
def test_the_header_tells_whether_isolation_is_on(lone_project: SmallProject, table: str, line: str) -> None:
    lone_project.write_text(
        "pyproject.toml", f"[tool.pytest.ini_options]\naddopts = {FEW_PLUGINS!r}\n[tool.engineroom]\n{table}\n"
    )
    lone_project.write(test_a="def test_a(): pass")
    lines = lone_project.pytest().own_lines
    assert line in lines
    assert lines[1] == 'engineroom: fence: on (a project that does not want it: addopts = "-p no:engineroom")'


# --- Proof


@pytest.mark.parametrize(
    ("files", "environ"),
    [
        ({".env": "DATABASE_URL=sqlite:///shop.db\n"}, {}),
        ({".env.development": "DATABASE_URL=sqlite+aiosqlite:///shop.db\n"}, {}),
        ({}, {"DATABASE_URL": "sqlite:///shop.db"}),
        ({}, {"DATABASE_URL": "sqlite:///shop.db", "APP_ENV": "production"}),
        ({}, {"ANALYTICS_DATABASE_URL": "sqlite:///shop.db"}),
    ],
    ids=["by .env", "by .env.development", "by the shell", "by the shell of production", "by another bind"],
)
def test_a_database_that_the_settings_name_is_proved_unchanged(
    lone_project: SmallProject, files: dict[str, str], environ: dict[str, str]
) -> None:
    for name, text in files.items():
        lone_project.write_text(name, text)
    lone_project.write(test_a="def test_a(): pass")
    outcome = lone_project.pytest(**environ)
    assert outcome.code == 0
    assert outcome.own_lines[-1] == UNCHANGED, outcome.out


def test_a_database_that_only_the_code_names_is_proved_unchanged(lone_project: SmallProject) -> None:
    lone_project.write(app=APP, test_a=USES_APP)
    assert lone_project.pytest().own_lines[-1] == UNCHANGED


def test_the_default_database_is_proved_unchanged(lone_project: SmallProject) -> None:
    lone_project.database.rename(lone_project.root / "development.db")
    lone_project.write(test_a="def test_a(): pass")
    assert lone_project.pytest().own_lines[-1] == UNCHANGED.replace("shop.db", "development.db")


def test_without_a_development_database_there_is_nothing_to_tell(lone_project: SmallProject) -> None:
    lone_project.write(test_a="def test_a(): pass")
    assert not [line for line in lone_project.pytest().own_lines if "development database" in line]


@pytest.mark.parametrize(("option", "is_told"), [("-v", True), ("-q", True), ("-qq", False)])
def test_the_good_news_is_left_out_where_nobody_wants_to_read(
    lone_project: SmallProject, option: str, is_told: bool
) -> None:
    lone_project.write(test_a="def test_a(): pass")
    assert (UNCHANGED in lone_project.pytest(option, DATABASE_URL="sqlite:///shop.db").own_lines) is is_told


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_change_is_told_with_the_test_that_ran_and_fails_nobody(project: SmallProject, journal_mode: str) -> None:
    project.database.unlink()
    make_database(project.database, journal_mode=journal_mode)
    project.write(
        writer=WRITER,
        test_a="""
            import pytest, time
            import writer
            @pytest.mark.parametrize("number", range(4))
            def test_quiet(number): time.sleep(0.02)
        """,
        test_b="import writer\ndef test_while_it_changes(): writer.write()",
    )
    outcome = project.pytest("-qq", DATABASE_URL="sqlite:///shop.db")
    assert outcome.code == 0
    (line,) = [line for line in outcome.own_lines if "development database" in line]
    assert line.startswith("engineroom: WARNING: the development database shop.db changed while ")
    assert "test_b.py::test_while_it_changes" in line
    assert line.endswith("Is a development server writing to it?")


def test_a_change_before_the_first_test_is_told_without_one(lone_project: SmallProject) -> None:
    lone_project.write(writer=WRITER, conftest="import writer; writer.write()", test_a="def test_a(): pass")
    (line,) = [line for line in lone_project.pytest(DATABASE_URL="sqlite:///shop.db").own_lines if "WARNING" in line]
    assert re.search(r"changed (during the run, outside of any test|while test_a.py::test_a ran)", line)


def test_a_development_database_that_comes_into_being_is_told(lone_project: SmallProject) -> None:
    lone_project.write(writer=WRITER, test_a="import writer\ndef test_a(): writer.write('development.db')")
    (line,) = [line for line in lone_project.pytest().own_lines if "WARNING" in line]
    assert "development.db changed while test_a.py::test_a ran" in line


def test_a_server_that_only_reads_changes_nothing(lone_project: SmallProject) -> None:
    lone_project.database.unlink()
    make_database(lone_project.database, journal_mode="wal")
    with closing(sqlite3.connect(lone_project.database)) as server:
        server.execute("SELECT * FROM articles").fetchall()
        lone_project.write(
            test_a="""
                import sqlite3, time
                def test_a():
                    time.sleep(0.02)
                    sqlite3.connect("file:shop.db?mode=ro", uri=True).execute("SELECT * FROM articles").fetchall()
            """
        )
        outcome = lone_project.pytest(DATABASE_URL="sqlite:///shop.db")
    assert (outcome.code, outcome.counts) == (0, {"passed": 1}), outcome.out
    assert outcome.own_lines[-1] == UNCHANGED


def test_a_change_at_the_very_end_is_told_with_the_last_test(project: SmallProject) -> None:
    project.write(writer=WRITER.replace("time.sleep(0.02)", "pass"))
    project.write(test_a="import writer\ndef test_before(): pass\ndef test_last(): writer.write()")
    (line,) = [line for line in project.pytest(DATABASE_URL="sqlite:///shop.db").own_lines if "WARNING" in line]
    assert "test_a.py::test_last" in line


def test_the_proof_stands_after_the_refusals(project: SmallProject) -> None:
    project.write(test_a="import sqlite3\ndef test_a(): sqlite3.connect('shop.db')")
    outcome = project.pytest(DATABASE_URL="sqlite:///shop.db")
    assert outcome.counts == {"failed": 1}
    assert outcome.out.index(UNCHANGED) > outcome.out.index("= engineroom: the fence refused =")


def test_other_reports_tell_a_swallowed_refusal_too(project: SmallProject) -> None:
    project.write(
        test_a="""
            import contextlib, sqlite3
            def test_a():
                with contextlib.suppress(Exception):
                    sqlite3.connect("shop.db")
        """
    )
    outcome = project.pytest("--junitxml=report.xml", "--tb=line", "-rA")
    assert outcome.counts == {"failed": 1}, outcome.out
    report = (project.root / "report.xml").read_text()
    assert 'failures="1"' in report
    assert "Refused to connect to" in report
    assert project.pytest("--lf").counts == {"failed": 1}
