"""``schema = "alembic"``: the application's own ``env.py`` upgrades the test database, whatever it was written for."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import textwrap
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from engineroom import InvalidSettingError, MissingDependencyError, _project, _schema
from engineroom._project.bind import BindConfiguration
from engineroom._schema.migrations import files_of_migrations
from engineroom._schema.place import Place

if TYPE_CHECKING:
    from pathlib import Path

INI = """
    [alembic]
    script_location = migrations
    sqlalchemy.url = sqlite:///development.db

    [loggers]
    keys = root
    [handlers]
    keys =
    [formatters]
    keys =
    [logger_root]
    level = CRITICAL
    handlers =
"""
START = """
    from logging.config import fileConfig
    from alembic import context
    from sqlalchemy import create_engine, engine_from_config, pool
    config = context.config
    if config.config_file_name is not None:
        fileConfig(config.config_file_name)
"""
ENVS = {
    "from its configuration": """
        engine = engine_from_config(config.get_section(config.config_ini_section), poolclass=pool.NullPool)
        with engine.connect() as connection:
            context.configure(connection=connection, target_metadata=None)
            with context.begin_transaction():
                context.run_migrations()
    """,
    "from settings, which it puts into its configuration": """
        config.set_main_option("sqlalchemy.url", "sqlite:///development.db")
        config.set_section_option(config.config_ini_section, "sqlalchemy.url", "sqlite:///development.db")
        engine = create_engine(config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
        with engine.connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
    """,
    "with asyncio": """
        import asyncio
        from sqlalchemy.ext.asyncio import async_engine_from_config

        def run(connection):
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()

        async def main():
            engine = async_engine_from_config(config.get_section(config.config_ini_section), poolclass=pool.NullPool)
            async with engine.connect() as connection:
                await connection.run_sync(run)
            await engine.dispose()

        asyncio.run(main())
    """,
    "by a connection that somebody hands over": """
        connection = config.attributes["connection"]
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    """,
}
REVISION = """
    import sqlalchemy as sa
    from alembic import op
    revision, down_revision = "{0}", {1}

    def upgrade():
        op.create_table("{2}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))
"""


class Shop:
    """A project with migrations, and a test database."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("pyproject.toml", "[tool.engineroom]\nschema = 'alembic'\n")
        self.write("alembic.ini", INI)
        self.use("from its configuration")
        self.write("migrations/versions/one.py", REVISION.format("one", None, "users"))
        self.write("migrations/versions/two.py", REVISION.format("two", "'one'", "posts"))
        self.database = root / "test_shop.db"

    def write(self, name: str, content: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))

    def use(self, env: str) -> None:
        self.write("migrations/env.py", textwrap.dedent(START) + textwrap.dedent(ENVS[env]))

    def build(self) -> None:
        url = make_url(f"sqlite:///{self.database}")
        engine = create_engine(url, poolclass=NullPool)
        _schema.build_before_first_connection(engine, "default", Place(url), BindConfiguration("alembic", None))
        engine.connect().close()

    async def build_async(self) -> None:
        url = make_url(f"sqlite+aiosqlite:///{self.database}")
        engine = create_async_engine(url, poolclass=NullPool)
        place = Place(url, is_async=True)
        _schema.build_before_first_connection(engine.sync_engine, "default", place, BindConfiguration("alembic", None))
        async with engine.connect():
            pass

    def tables(self) -> set[str]:
        with closing(sqlite3.connect(self.database)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop(tmp_path / "shop")
    _project.set_root(shop.root)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", sys.path[:])
    return shop


@pytest.mark.parametrize("env", ENVS)
def test_every_env_upgrades_the_test_database_and_no_other(shop: Shop, env: str) -> None:
    shop.use(env)
    shop.build()
    assert shop.tables() == {"alembic_version", "users", "posts"}
    assert not list(shop.root.parent.rglob("development.db"))


@pytest.mark.parametrize("env", ENVS)
def test_it_does_so_inside_of_a_running_loop_too(shop: Shop, env: str) -> None:
    shop.use(env)
    asyncio.run(shop.build_async())
    assert shop.tables() == {"alembic_version", "users", "posts"}


def test_all_heads_are_upgraded(shop: Shop) -> None:
    shop.write("migrations/versions/three.py", REVISION.format("three", "'one'", "codes"))
    shop.build()
    assert shop.tables() == {"alembic_version", "users", "posts", "codes"}


def test_logging_stays_as_it_was(shop: Shop) -> None:
    ours, root = logging.getLogger("shop.orders"), logging.getLogger()
    before = (root.level, root.handlers[:])
    shop.build()
    assert not ours.disabled
    assert (root.level, root.handlers) == before


def test_the_configuration_may_stand_in_a_directory_of_its_own(shop: Shop) -> None:
    (shop.root / "backend").mkdir()
    (shop.root / "alembic.ini").rename(shop.root / "backend" / "alembic.ini")
    (shop.root / "migrations").rename(shop.root / "backend" / "migrations")
    shop.build()
    assert "posts" in shop.tables()


def test_the_configuration_may_stand_in_pyproject(shop: Shop) -> None:
    (shop.root / "alembic.ini").unlink()
    with (shop.root / "pyproject.toml").open("a") as file:
        file.write("[tool.alembic]\nscript_location = '%(here)s/migrations'\n")
    shop.build()
    assert "posts" in shop.tables()


def test_an_error_of_a_revision_is_its_own_with_a_note(shop: Shop) -> None:
    shop.write("migrations/versions/two.py", REVISION.format("two", "'one'", "users"))
    with pytest.raises(Exception, match="table users already exists") as caught:
        shop.build()
    assert any('schema = "alembic" of [tool.engineroom]' in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        ("alembic.ini", "0 files alembic.ini stand in the directories below"),
        ("migrations/env.py", "cannot be read"),
        ("migrations", "Path doesn't exist"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_a_clear_error(shop: Shop, gone: str, why: str) -> None:
    (shop.root / gone).rename(shop.root / "away")
    with pytest.raises(InvalidSettingError, match="Alembic's configuration cannot be used") as caught:
        shop.build()
    assert why in caught.value.why


def test_no_revision_builds_nothing(shop: Shop) -> None:
    for path in (shop.root / "migrations/versions").iterdir():
        path.unlink()
    shop.build()
    assert shop.tables() == {"alembic_version"}


def test_a_missing_alembic_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "alembic"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "alembic", None)
    with pytest.raises(MissingDependencyError, match="pip install alembic"):
        shop.build()


def test_the_files_that_an_upgrade_is_made_of(shop: Shop) -> None:
    (shop.root / "migrations" / "rows.csv").write_text("1,2")
    names = [str(path.relative_to(shop.root)) for path in files_of_migrations()]
    assert names == [
        "alembic.ini",
        "migrations/env.py",
        "migrations/rows.csv",
        "migrations/versions/one.py",
        "migrations/versions/two.py",
    ]
