"""What a test run may do without a word from the fence: a false alarm is a bug as a miss is."""

from __future__ import annotations

import textwrap
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import FEW_PLUGINS, MODES, make_database, make_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import Outcome, SmallProject

FREE = {
    "memory": "use('sqlite://')",
    "memory_by_sqlite3": "sqlite3.connect(':memory:').close()",
    "a_temporary_database": "use(f'sqlite:///{tmp_path}/shop.db')",
    "a_temporary_database_by_sqlite3": "sqlite3.connect(tmp_path / 'shop.db').close()",
    "a_temporary_database_by_tempfile": "sqlite3.connect(tempfile.mkdtemp() + '/shop.db').close()",
    "a_named_temporary_file": "sqlite3.connect(tempfile.NamedTemporaryFile(suffix='.db').name).close()",
    "a_copy_of_the_development_database": "use(f\"sqlite:///{shutil.copy('shop.db', tmp_path)}\")",
    "a_file_in_an_old_temporary_directory": "sqlite3.connect(tempfile.gettempdir() + '/old/new.db').close()",
    "removing_its_own_database": "make(tmp_path / 'shop.db'); os.remove(tmp_path / 'shop.db')",
    "removing_its_own_directory": "make(tmp_path / 'shop.db'); shutil.rmtree(tmp_path)",
    "renaming_its_own_database": "make(tmp_path / 'shop.db'); os.replace(tmp_path / 'shop.db', tmp_path / 'other.db')",
    "writing_over_its_own_database": "make(tmp_path / 'shop.db'); (tmp_path / 'shop.db').write_bytes(b'')",
    "a_test_database_in_the_project": "make('test_shop.db'); os.remove('test_shop.db')",
    "drop_all_on_a_test_database": "create_and_drop(f'sqlite:///{tmp_path}/shop.db')",
    "wal_on_a_test_database": "use_wal(tmp_path / 'shop.db')",
    "vacuum_on_a_test_database": "use(f'sqlite:///{tmp_path}/shop.db', 'VACUUM')",
    "attach_to_a_test_database": "use('sqlite://', f\"ATTACH '{tmp_path}/other.db' AS other\")",
    "aiosqlite": "asyncio.run(use_async(f'sqlite+aiosqlite:///{tmp_path}/shop.db'))",
    "reading_the_development_database": "sqlite3.connect('file:shop.db?mode=ro', uri=True).execute('SELECT * FROM articles').connection.close()",  # noqa: E501
    "an_immutable_development_database": "sqlite3.connect('file:shop.db?immutable=1', uri=True).close()",
    "hashing_the_development_database": "assert Path('shop.db').read_bytes()",
    "copying_the_development_database": "shutil.copytree('.', tmp_path / 'all', ignore=all_but('shop.db'))",
    "allowed_by_the_project": "make('reference/cities.db'); os.remove('reference/cities.db')",
    "mypys_cache": "Path('.mypy_cache').mkdir(exist_ok=True); sqlite3.connect('.mypy_cache/cache.db').close()",
    "a_big_file": "Path('big.bin').write_bytes(bytes(4096)); Path('big.bin').unlink()",
    "changing_the_directory": "monkeypatch.chdir(tmp_path); make('shop.db'); os.remove('shop.db')",
    "a_mocked_file_system": "write_while_stat_is_mocked(tmp_path / 'a')",
    "shelve": "shelve.open(str(tmp_path / 'shelf')).close()",
    "a_child": "subprocess.run([sys.executable, '-c', 'pass'], check=True)",
    "a_process_pool": "multiprocessing.get_context('fork').Pool(1).map(abs, [1])",
    "the_backup_of_the_development_database": "back_up(tmp_path / 'backup.db')",
    "reading_by_an_engine": "use('sqlite:///file:shop.db?mode=ro&uri=true', 'SELECT * FROM articles')",
    "reading_a_fixture": "sqlite3.connect('file:data/map.gpkg?mode=ro', uri=True).execute('SELECT * FROM articles')",
    "an_immutable_fixture": "sqlite3.connect('file:data/map.gpkg?immutable=1', uri=True).execute('SELECT * FROM articles')",  # noqa: E501
    "writing_to_a_copied_fixture": "change(shutil.copy('data/map.gpkg', tmp_path))",
    "writing_to_a_fixture_copied_with_its_directory": "change(shutil.copytree('data', tmp_path / 'data') / 'map.gpkg')",
    "a_temporary_table": "use(f'sqlite:///{tmp_path}/a.db', 'CREATE TEMP TABLE shop (name TEXT)', 'DROP TABLE shop')",
    "vacuum_into_a_new_file": "use(f'sqlite:///{tmp_path}/a.db', f\"VACUUM INTO '{tmp_path}/b.db'\")",
    "migrations": "migrate(f'sqlite:///{tmp_path}/a.db')",
    "a_temporary_directory": "use_directory(tempfile.TemporaryDirectory())",
    "mkstemp": "change_new(tempfile.mkstemp(suffix='.db')[1])",
    "a_named_file_that_stays": "change_new(tempfile.NamedTemporaryFile(suffix='.db', delete=False).name)",
    "a_fixed_name_in_the_temporary_directory": "change_new(tempfile.gettempdir() + '/fixed.db')",
    "a_http_cache_of_the_user": "change_new('home/.cache/http.sqlite'); os.remove('home/.cache/http.sqlite')",
    "a_cache_that_was_there": "change('home/.cache/old.sqlite')",
    "ipythons_history": "change('home/.ipython/profile_default/history.sqlite')",
    "jupyters_signatures": "change('home/.local/share/jupyter/nbsignatures.db')",
    "jupyters_signatures_on_macos": "change('home/Library/Jupyter/nbsignatures.db')",
    "playwrights_browser": "change('home/ms-playwright/profile/Default/Cookies'); shutil.rmtree('home/ms-playwright')",
    "playwrights_profile": "fill_profile(Path(tempfile.mkdtemp(prefix='playwright_chromiumdev_profile-')))",
    "testmons_record": "change('.testmondata'); os.remove('.testmondata')",
    "a_mocked_driver": "mocked('sqlite:///shop.db', module=mock_driver('named'))",
    "a_magic_mock_of_a_driver": "mocked('sqlite:///shop.db', module=mock_driver('named', mock.MagicMock))",
    "a_mocked_driver_of_a_server": "mocked('postgresql+psycopg2://u@db.example/shop', module=mock_driver('pyformat'))",
    "a_mocked_connect": "mock_connect('sqlite:///shop.db')",
    "a_mocked_connection": "mocked('mysql+pymysql://u@db/shop', module=mock_driver('format'), creator=mock.Mock)",
    "a_checkout": "shutil.copytree('data', tmp_path / 'clone'); shutil.rmtree(tmp_path / 'clone')",
}
FIXTURES = (
    "data/map.gpkg",
    "home/.cache/old.sqlite",
    "home/.ipython/profile_default/history.sqlite",
    "home/.local/share/jupyter/nbsignatures.db",
    "home/Library/Jupyter/nbsignatures.db",
    "home/ms-playwright/profile/Default/Cookies",
    ".testmondata",
)
"""Databases that are there before the run."""

PRELUDE = """
    import asyncio, multiprocessing, os, shelve, shutil, sqlite3, subprocess, sys, tempfile
    from contextlib import closing
    from pathlib import Path
    from unittest import mock
    import pytest
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from sqlalchemy import Column, MetaData, String, Table, create_engine, text
    from sqlalchemy.ext.asyncio import create_async_engine

    def use(url, *statements):
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements or ["SELECT 1"]:
                connection.execute(text(statement))
        engine.dispose()

    def change(path):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM articles")
            connection.execute("DROP TABLE articles")

    def change_new(path):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE articles (name TEXT)")
        change(path)

    def use_directory(directory):
        with directory as name:
            change_new(f"{name}/shop.db")

    def fill_profile(directory):
        '''A browser is another program: its files come into being without a word to Python.'''
        (directory / "Default").mkdir()
        code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE articles (name TEXT)')"
        subprocess.run([sys.executable, "-I", "-c", code, directory / "Default" / "History"], env={}, check=True)
        change(directory / "Default" / "History")
        shutil.rmtree(directory)

    def migrate(url):
        engine = create_engine(url)
        with engine.begin() as connection:
            operations = Operations(MigrationContext.configure(connection, opts={"as_sql": False}))
            operations.create_table("articles", Column("name", String), Column("note", String))
            with operations.batch_alter_table("articles") as batch:
                batch.drop_column("note")
            operations.rename_table("articles", "texts")
            operations.drop_table("texts")
        engine.dispose()

    async def use_async(url):
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE articles (name TEXT)"))
        await engine.dispose()

    def make(path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE articles (name TEXT)")

    def use_wal(path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute("CREATE TABLE articles (name TEXT)")
            Path(f"{path}-wal").read_bytes()

    def create_and_drop(url):
        metadata = MetaData()
        Table("articles", metadata, Column("name", String))
        engine = create_engine(url)
        metadata.create_all(engine)
        metadata.drop_all(engine)
        engine.dispose()

    def write_while_stat_is_mocked(path):
        with mock.patch("os.stat", side_effect=RuntimeError), mock.patch("os.path.realpath", side_effect=RuntimeError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT))

    def all_but(name):
        '''Other rows may be removing theirs at the same time.'''
        return lambda _, names: set(names) - {name}

    def mock_driver(style, kind=mock.Mock):
        driver = kind(paramstyle=style, sqlite_version_info=(3, 40), version_info=(2, 0), __version__="2.9.9")
        driver.Error = sqlite3.Error
        return driver

    def mocked(url, **options):
        engine = create_engine(url, _initialize=False, **options)
        engine.connect().close()
        engine.dispose()

    def mock_connect(url):
        with mock.patch.object(sqlite3.dbapi2, "connect", return_value=mock.Mock()):
            mocked(url)

    def back_up(path):
        source = sqlite3.connect("file:shop.db?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(path)) as target:
            source.backup(target)
"""


def write_rows() -> str:
    lines = [textwrap.dedent(PRELUDE)]
    lines += [f"def test_{name}(tmp_path, monkeypatch):\n    {line}\n" for name, line in FREE.items()]
    return "\n".join(lines)


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def tame_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run every row in one project, once in one process and once with two workers."""
    project = make_project(tmp_path_factory.mktemp("tame"), request.param)
    project.write_text(
        "pyproject.toml",
        f"[tool.pytest.ini_options]\naddopts = {FEW_PLUGINS!r}\n[tool.engineroom]\nfence_allow = ['reference/*.db']\n",
    )
    (project.root / "reference").mkdir()
    (project.temporary / "old").mkdir()
    for name in FIXTURES:
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        make_database(project.root / name)
    project.write(test_tame=write_rows())
    before = project.digest()
    outcome = project.pytest("-rA", APP_ENV="production", DATABASE_URL="sqlite:///shop.db")
    assert project.digest() == before, outcome.out
    return outcome


@pytest.mark.parametrize("name", FREE)
def test_what_harms_nobody_is_green(tame_run: Outcome, name: str) -> None:
    assert f"PASSED test_tame.py::test_{name}" in tame_run.out, tame_run.out


def test_the_tame_run_is_green(tame_run: Outcome) -> None:
    assert (tame_run.code, tame_run.counts["passed"]) == (0, len(FREE)), tame_run.out
    assert tame_run.refusals == []
    assert tame_run.own_lines[-1] == "engineroom: the development database shop.db is unchanged."


def test_what_was_in_the_temporary_directory_before_is_protected(lone_project: SmallProject) -> None:
    make_database(lone_project.temporary / "old.db")
    lone_project.write(
        test_a="import sqlite3, tempfile\ndef test_a(): sqlite3.connect(tempfile.gettempdir() + '/old.db')"
    )
    assert lone_project.pytest().counts == {"failed": 1}


USES_A_FIXED_NAME = (
    "import sqlite3\ndef test_a(): sqlite3.connect('{path}').execute('CREATE TABLE articles (name TEXT)')"
)


@pytest.fixture
def fixed_name() -> Iterator[Path]:
    """Return the path of a file that is not there, in the directory that every system has for temporary files."""
    path = Path(f"/tmp/engineroom-{uuid.uuid4().hex}.db")  # noqa: S108  # it is this directory that is meant
    yield path
    path.unlink(missing_ok=True)


def test_a_name_below_slash_tmp_is_free_wherever_the_temporary_directory_is(
    lone_project: SmallProject, fixed_name: Path
) -> None:
    lone_project.write(test_a=USES_A_FIXED_NAME.format(path=fixed_name))
    done = lone_project.pytest()
    assert done.counts == {"passed": 1}, done.out


def test_what_was_below_slash_tmp_before_is_protected(lone_project: SmallProject, fixed_name: Path) -> None:
    make_database(fixed_name)
    lone_project.write(test_a=USES_A_FIXED_NAME.format(path=fixed_name))
    done = lone_project.pytest()
    assert done.counts == {"failed": 1}, done.out
    assert f"Refused to connect to sqlite:///{fixed_name}" in done.out


MAKES_DATABASES = """
    import sqlite3
    from contextlib import closing
    import pytest
    @pytest.mark.parametrize("number", range(3))
    def test_a(tmp_path, number):
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            connection.execute("CREATE TABLE articles (name TEXT)")
        (tmp_path / "shop.db").write_bytes((tmp_path / "shop.db").read_bytes())
"""


def test_pytest_may_clean_up_what_its_last_runs_left(lone_project: SmallProject) -> None:
    lone_project.write(test_a=MAKES_DATABASES)
    for _ in range(6):
        outcome = lone_project.pytest()
        assert (outcome.code, outcome.counts) == (0, {"passed": 3}), outcome.out + outcome.err
        assert "engineroom: the fence refused" not in outcome.out + outcome.err
    kept = [path.name for path in lone_project.temporary.glob("pytest-of-*/pytest-*") if path.name != "pytest-current"]
    assert len(kept) == 3


def test_pytest_may_empty_the_directory_that_it_is_given(project: SmallProject) -> None:
    project.write(test_a=MAKES_DATABASES)
    for _ in range(2):
        outcome = project.pytest("--basetemp=scratch")
        assert (outcome.code, outcome.counts) == (0, {"passed": 3}), outcome.out + outcome.err


def test_a_database_in_the_directory_that_pytest_is_given_by_mistake_is_protected(lone_project: SmallProject) -> None:
    make_database(lone_project.root / "data.db")
    (lone_project.root / "data").mkdir()
    precious = make_database(lone_project.root / "data" / "shop.db")
    lone_project.write(test_a=MAKES_DATABASES)
    outcome = lone_project.pytest("--basetemp=data")
    assert outcome.code != 0
    assert precious.exists()


def test_pytests_own_temporary_root_is_one(lone_project: SmallProject, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    lone_project.write(test_a=MAKES_DATABASES)
    for _ in range(2):
        outcome = lone_project.pytest(PYTEST_DEBUG_TEMPROOT=str(tmp_path / "root"))
        assert (outcome.code, outcome.counts) == (0, {"passed": 3}), outcome.out + outcome.err


@pytest.mark.parametrize("where", ["", "measured/data.db"], ids=["as usual", "elsewhere"])
def test_coverage_may_keep_its_data(project: SmallProject, where: str) -> None:
    (project.root / "measured").mkdir()
    project.write(app="def answer(): return 42", test_a="import app\ndef test_a(): assert app.answer() == 42")
    environ = {"COVERAGE_FILE": where} if where else {}
    for _ in range(2):
        outcome = project.pytest("-p", "pytest_cov.plugin", "--cov=app", "--cov-report=term", **environ)
        assert (outcome.code, outcome.counts) == (0, {"passed": 1}), outcome.out + outcome.err
        assert "100%" in outcome.out
    assert (project.root / (where or ".coverage")).exists()


@pytest.mark.parametrize("configuration", ["", "[run]\ndata_file = measured.db\n"], ids=["as usual", "configured"])
def test_coverage_may_run_pytest(lone_project: SmallProject, configuration: str) -> None:
    lone_project.write_text(".coveragerc", configuration)
    lone_project.write(app="def answer(): return 42", test_a="import app\ndef test_a(): assert app.answer() == 42")
    for _ in range(2):
        outcome = lone_project.python("-m", "coverage", "run", "--source=.", "-m", "pytest")
        assert (outcome.code, outcome.counts) == (0, {"passed": 1}), outcome.out + outcome.err
    assert "app.py" in lone_project.python("-m", "coverage", "report").out


def test_every_plugin_that_is_installed_gets_along(lone_project: SmallProject) -> None:
    lone_project.write_text("pyproject.toml", "[tool.pytest.ini_options]\nasyncio_mode = 'auto'\n")
    lone_project.write(
        test_a="""
            import asyncio
            import anyio
            import pytest
            from hypothesis import given, strategies
            from sqlalchemy import text
            from sqlalchemy.ext.asyncio import create_async_engine

            @given(strategies.integers())
            def test_hypothesis(number):
                assert number == number

            @pytest.fixture
            async def engine(tmp_path):
                engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
                yield engine
                await engine.dispose()

            async def test_asyncio(engine):
                async with engine.connect() as connection:
                    assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        """
    )
    for _ in range(2):
        outcome = lone_project.pytest()
        assert (outcome.code, outcome.counts) == (0, {"passed": 2}), outcome.out + outcome.err


def test_refusals_of_another_kind_are_not_the_fences(lone_project: SmallProject) -> None:
    lone_project.write(
        test_a="""
            from pathlib import Path
            import pytest
            def test_a():
                with pytest.raises(FileNotFoundError):
                    Path("nowhere.db").unlink()
                with pytest.raises(IsADirectoryError):
                    Path.cwd().write_bytes(b"")
        """
    )
    outcome = lone_project.pytest()
    assert (outcome.code, outcome.counts) == (0, {"passed": 1}), outcome.out


def test_what_a_fixture_that_is_opened_for_writing_needs_is_told(lone_project: SmallProject) -> None:
    (lone_project.root / "tests" / "data").mkdir(parents=True)
    make_database(lone_project.root / "tests" / "data" / "50% off?.db")
    lone_project.write(
        tests__test_a="""
            import sqlite3
            def test_a(): sqlite3.connect("tests/data/50% off?.db").execute("SELECT * FROM articles")
        """
    )
    outcome = lone_project.pytest()
    assert outcome.counts == {"failed": 1}
    call = 'sqlite3.connect("file:tests/data/50%25 off%3f.db?mode=ro", uri=True)'
    allow = 'fence_allow = ["tests/data/50% off?.db"]'
    assert f"open it for reading: {call}" in outcome.out
    assert allow in outcome.out
    file = lone_project.root / "tests" / "test_a.py"
    file.write_text(file.read_text().replace('sqlite3.connect("tests/data/50% off?.db")', call))
    assert lone_project.pytest().counts == {"passed": 1}


def test_what_an_earlier_run_left_in_the_temporary_directory_can_be_removed(lone_project: SmallProject) -> None:
    lone_project.write(
        test_a="""
            import sqlite3, tempfile
            def test_a(): sqlite3.connect(tempfile.gettempdir() + "/cache.sqlite").execute("CREATE TABLE a (b)")
        """
    )
    assert lone_project.pytest().counts == {"passed": 1}
    outcome = lone_project.pytest()
    assert outcome.counts == {"failed": 1}
    assert f"remove it, if an earlier run left it there: rm {lone_project.temporary}/cache.sqlite" in outcome.out
    (lone_project.temporary / "cache.sqlite").unlink()
    assert lone_project.pytest().counts == {"passed": 1}


def test_addopts_are_the_way_out(lone_project: SmallProject) -> None:
    lone_project.write(
        test_a="""
            import os, sqlite3, sys
            def test_a():
                sqlite3.connect("shop.db").execute("SELECT * FROM articles")
                assert os.environ["APP_ENV"] == "production"
                assert not any(name.startswith("engineroom") for name in sys.modules)
        """
    )
    assert lone_project.pytest(APP_ENV="production").counts == {"failed": 1}
    lone_project.write_text(
        "pyproject.toml", f'[tool.pytest.ini_options]\naddopts = "{FEW_PLUGINS} -p no:engineroom"\n'
    )
    outcome = lone_project.pytest(APP_ENV="production")
    assert (outcome.code, outcome.counts, outcome.own_lines) == (0, {"passed": 1}, []), outcome.out


@pytest.mark.parametrize("arguments", MODES.values(), ids=MODES)
def test_coverage_may_keep_its_data_where_it_was_configured(
    lone_project: SmallProject, arguments: tuple[str, ...]
) -> None:
    lone_project.write_text(
        "pyproject.toml",
        f"""
        [tool.pytest.ini_options]
        addopts = "{FEW_PLUGINS} --strict-config"
        [tool.coverage.run]
        data_file = "build/measured.db"
        """,
    )
    lone_project.write(app="def answer(): return 42", test_a="import app\ndef test_a(): assert app.answer() == 42")
    for _ in range(2):
        outcome = lone_project.pytest("-p", "pytest_cov.plugin", "--cov=app", "--cov-report=term", *arguments)
        assert (outcome.code, outcome.counts) == (0, {"passed": 1}), outcome.out + outcome.err
        assert "100%" in outcome.out
    assert (lone_project.root / "build" / "measured.db").exists()
