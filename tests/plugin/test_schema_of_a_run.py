"""Runs whose schema Alembic builds, and what the next run has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

CONFIGURATION = """
    [tool.pytest.ini_options]
    addopts = "-p no:randomly -p no:cacheprovider -p no:anyio -p no:asyncio -p no:hypothesispytest -p no:pytest_cov"
    pythonpath = ["."]
    [tool.engineroom]
    schema = "alembic"
"""
REVISION = """
    from alembic import op
    revision, down_revision = "one", None

    def upgrade():
        op.execute("CREATE TABLE users (id INTEGER PRIMARY KEY NOT NULL, name TEXT)")
"""
ENV = """
    from alembic import context
    from sqlalchemy import create_engine, engine_from_config
    URL = "sqlite:///shop.db"
    context.config.set_main_option("sqlalchemy.url", URL)
    engine = {0}
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()
    print("upgraded with env.py")
"""
TESTS = """
    import pytest
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from engineroom import get_engine
    from sqlalchemy import Column, Integer, MetaData, Table, Text, inspect, text

    engine = get_engine("sqlite:///shop.db")

    @pytest.mark.parametrize("times", [1, 2])
    def test_every_test_starts_from_the_revisions(times):
        with engine.begin() as connection:
            assert connection.scalar(text("SELECT count(*) FROM users")) == 0
            connection.execute(text("INSERT INTO users (name) VALUES ('ada')"))
            connection.execute(text("DELETE FROM alembic_version"))

    def test_nothing_of_ours_is_seen():
        assert inspect(engine).get_table_names() == ["alembic_version", "users"]
        metadata = MetaData()
        Table("users", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
"""


def make_project(project: SmallProject, engine: str) -> SmallProject:
    project.write_text("pyproject.toml", CONFIGURATION)
    project.write_text("alembic.ini", "[alembic]\nscript_location = migrations\n")
    return project.write(migrations__env=ENV.format(engine), migrations__versions__one=REVISION, test_shop=TESTS)


def test_alembic_builds_the_baseline_once_and_the_next_run_takes_its_image(lone_project: SmallProject) -> None:
    project = make_project(lone_project, 'engine_from_config(context.config.get_section("alembic"))')
    before = project.database.read_bytes()
    upgraded = []
    for arguments in ((), (), ("--engineroom-rebuild",)):
        outcome = project.pytest("-s", *arguments)
        assert outcome.counts == {"passed": 3}, outcome.out + outcome.err
        assert "engineroom: schema default: alembic" in outcome.out
        upgraded.append("upgraded with env.py" in outcome.out)
    assert upgraded == [True, False, True]
    assert project.database.read_bytes() == before


def test_an_env_that_connects_elsewhere_is_refused_and_told_what_to_write(lone_project: SmallProject) -> None:
    project = make_project(lone_project, "create_engine(URL)")
    before = project.database.read_bytes()
    outcome = project.pytest()
    assert outcome.code != 0
    assert "env.py does not connect to what its configuration says" in outcome.out
    assert 'engine_from_config(config.get_section(config.config_ini_section), prefix="sqlalchemy.")' in outcome.out
    assert project.database.read_bytes() == before
