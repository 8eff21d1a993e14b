"""The schema that a database on a server keeps for the next run: when it is used, and when it is built anew.

One run after the other in this process, each with an engine, a build and a baseline of its own.
"""

from __future__ import annotations

import importlib
import re
import secrets
import sys
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from engineroom import _project, _schema
from engineroom._project.bind import BindConfiguration
from engineroom._schema.place import Place
from engineroom.cli import main
from engineroom.testing._mysql_objects import companion_of
from engineroom.testing.databases import Databases, drop_database, list_left_over_databases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from engineroom.testing.baseline import Baseline

MODELS = """
    import pathlib
    from sqlalchemy import Column, DDL, Enum, ForeignKey, Integer, MetaData, String, Table, event, insert

    metadata = MetaData()
    users = Table(
        "users", metadata, Column("id", Integer, primary_key=True), Column("name", String(50), unique=True),
        Column("mood", Enum("glad", "sad", name="mood")),
    )
    posts = Table(
        "posts", metadata, Column("id", Integer, primary_key=True),
        Column("user_id", ForeignKey(users.c.id, ondelete="CASCADE")),
    )
    roles = Table("roles", metadata, Column("id", Integer, primary_key=True), Column("name", String(50)))
    event.listen(metadata, "after_create", DDL("INSERT INTO roles (name) VALUES ('of the schema')"))

    def fill(session):
        session.execute(insert(users).values(name="ada"))
        session.execute(insert(posts).values(user_id=1))
        session.execute(insert(roles).values(name="of the seed"))

    async def fill_async(session):
        await session.run_sync(fill)

    def init_db(session):
        metadata.create_all(session.connection())
"""
ENV = """
    from alembic import context
    from sqlalchemy import engine_from_config, pool
    engine = engine_from_config(context.config.get_section("alembic"), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
ASYNC_ENV = """
    import asyncio
    from alembic import context
    from sqlalchemy import pool
    from sqlalchemy.ext.asyncio import async_engine_from_config

    def migrate(connection):
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()

    async def run():
        engine = async_engine_from_config(context.config.get_section("alembic"), poolclass=pool.NullPool)
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
            await connection.commit()
        await engine.dispose()

    asyncio.run(run())
"""
REVISION = """
    import sqlalchemy as sa
    from alembic import op
    revision, down_revision = "one", None

    def upgrade():
        op.create_table(
            "users",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.String(50), unique=True),
            sa.Column("mood", sa.String(50)),
        )
        op.create_table(
            "posts",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE")),
        )
        roles = op.create_table(
            "roles", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50))
        )
        op.bulk_insert(roles, [{"name": "of the schema"}])
"""
SCHEMA, SEED = "shop_made:metadata", "shop_made:fill"
STATE = (
    "SELECT id, name FROM users ORDER BY id",
    "SELECT id, user_id FROM posts ORDER BY id",
    "SELECT id, name FROM roles ORDER BY id",
)
SEEDED: list[list[tuple[Any, ...]]] = [[(1, "ada")], [(1, 1)], [(1, "of the schema"), (2, "of the seed")]]
DRIVERS = {
    "psycopg": ("postgresql", "postgresql+psycopg", False),
    "asyncpg": ("postgresql", "postgresql+asyncpg", True),
    "pymysql": ("mariadb", "mysql+pymysql", False),
    "aiomysql": ("mariadb", "mysql+aiomysql", True),
}


class Run:
    """A run that goes on."""

    def __init__(self, engine: Engine, databases: Databases, baseline: Baseline, statements: list[str]) -> None:
        self.engine = engine
        self.databases = databases
        self.baseline = baseline
        self.statements = statements

    @property
    def has_built(self) -> bool:
        return any(text.lstrip().startswith("CREATE TABLE users") for text in self.statements)

    def send(self, *statements: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with self.engine.begin() as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement)
                rows = [tuple(row) for row in result] if result.returns_rows else []
        return rows

    def state(self) -> list[list[tuple[Any, ...]]]:
        return [self.send(statement) for statement in STATE]


class Shop:
    """A project with a database on a server."""

    def __init__(self, root: Path, url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.url = url
        self.name = str(url.database)
        self._monkeypatch = monkeypatch
        self.write("shop_made.py", MODELS)

    @property
    def is_postgresql(self) -> bool:
        return self.url.get_backend_name() == "postgresql"

    @property
    def place(self) -> Place:
        return Place(self.url)

    def write(self, name: str, content: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
        sys.modules.pop("shop_made", None)
        importlib.invalidate_caches()

    def use_alembic(self, env: str = ENV) -> None:
        self.write("alembic.ini", "[alembic]\nscript_location = migrations\n")
        self.write("migrations/env.py", env)
        self.write("migrations/versions/one.py", REVISION)

    @contextmanager
    def run(
        self, schema: str = SCHEMA, seed: str | None = SEED, *, place: Place | None = None, is_killed: bool = False
    ) -> Iterator[Run]:
        """Build the database as the first connection of a run does, and let go of it as the end of the run does."""
        _schema.reset()
        databases = Databases()
        baselines: list[Any] = []
        statements: list[str] = []
        _schema.prepare_with(databases.prepare)
        _schema.when_built(lambda build: baselines.append(databases.open_baseline(build)))
        place = place or self.place
        create = create_async_engine if place.is_async else create_engine
        with self._monkeypatch.context() as patched:
            note_statements(patched, statements)
            made: Any = create(place.url, poolclass=NullPool, connect_args=place.connect_args)
            engine = made.sync_engine if place.is_async else made
            build = _schema.build_before_first_connection(engine, "default", place, BindConfiguration(schema, seed))
            try:
                build.ensure()
                yield Run(
                    create_engine(self.url.set(database=build.place.name), poolclass=NullPool),
                    databases,
                    baselines[0],
                    statements,
                )
            finally:
                if is_killed:
                    for database in databases._on_servers.values():
                        database.keeper.close()
                else:
                    databases.close(is_kept=False)

    def builds(self, schema: str = SCHEMA, seed: str | None = SEED, **options: Any) -> bool:
        """Tell whether a run has to build, and see that it starts from the right state and brings that back."""
        with self.run(schema, seed, **options) as run:
            expected = SEEDED if seed else [[], [], SEEDED[2][:1]]
            assert run.state() == expected
            run.send("INSERT INTO users (name) VALUES ('x')", "DELETE FROM posts", "UPDATE roles SET name = 'x'")
            run.baseline.undo()
            assert run.state() == expected
            return run.has_built

    def databases(self) -> set[str]:
        return {each.name for each in list_left_over_databases(self.place) if each.name.startswith(self.name)}

    def send(self, *statements: str) -> list[Any]:
        engine = create_engine(self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement)
            return list(result) if result.returns_rows else []

    def record(self) -> str:
        if self.is_postgresql:
            rows = self.send("SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname='engineroom'")
        else:
            rows = self.send(f"SELECT record FROM {companion_of(self.name)}.engineroom_record")  # noqa: S608
        return str(rows[0][0])


def note_statements(patched: pytest.MonkeyPatch, statements: list[str]) -> None:
    """Note what SQLAlchemy sends, by whatever engine."""
    from sqlalchemy.engine.default import DefaultDialect  # noqa: PLC0415

    for name in ("do_execute", "do_execute_no_params"):
        send = getattr(DefaultDialect, name)

        def note(dialect: Any, cursor: Any, statement: str, *more: Any, send: Any = send, **options: Any) -> None:
            statements.append(statement)
            send(dialect, cursor, statement, *more, **options)

        patched.setattr(DefaultDialect, name, note)


@pytest.fixture(params=["postgresql", "mariadb"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    url: URL = request.getfixturevalue(f"{request.param}_url")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Shop(tmp_path, url.set(database=f"test_engineroom_{secrets.token_hex(4)}"), monkeypatch)
    _project.set_root(tmp_path)
    yield made
    for name in made.databases():
        drop_database(made.place.named(name))
    assert made.databases() == set()


def test_the_next_run_finds_the_schema_until_it_is_told_not_to(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [shop.builds() for _ in range(3)] == [True, False, False]
    assert shop.databases() == {shop.name}
    _schema.ignore_kept_images()
    assert shop.builds()
    importlib.import_module("engineroom._schema.images").reset()
    assert not shop.builds(), "what was built anew is kept"
    monkeypatch.setenv("TEST_DATABASE_URL", shop.url.render_as_string(hide_password=False))
    assert main(["clean"]) == 0
    assert shop.name in capsys.readouterr().out
    assert shop.databases() == set()


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_driver_finds_it(
    driver: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, scheme, is_async = DRIVERS[driver]
    url: URL = request.getfixturevalue(f"{kind}_url")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    shop = Shop(tmp_path, url.set(database=f"test_engineroom_{secrets.token_hex(4)}"), monkeypatch)
    _project.set_root(tmp_path)
    args = {"timeout": 30} if driver == "asyncpg" else {"connect_timeout": 30} if is_async else {}
    place = Place(shop.url.set(drivername=scheme), args, is_async=is_async)
    seed = "shop_made:fill_async" if is_async else SEED
    assert [shop.builds(seed=seed, place=place) for _ in range(2)] == [True, False]
    assert drop_database(shop.place)


def test_a_changed_model_is_noticed_and_the_seed_is_filled_in_each_time(shop: Shop) -> None:
    shop.builds()
    shop.write("shop_made.py", MODELS.replace("String(50)", "String(60)"))
    assert shop.builds()
    assert not shop.builds(seed=None)
    shop.write("shop_made.py", MODELS.replace("String(50)", "String(60)").replace('name="ada"', 'name="eve"'))
    with shop.run() as run:
        assert run.state() == [[(1, "eve")], *SEEDED[1:]]
        assert not run.has_built


def test_the_key_of_a_server_that_may_be_mariadb_knows_both(shop: Shop) -> None:
    shop.builds()
    shop.write(
        "shop_made.py",
        MODELS.replace(
            'Column("user_id"',
            'Column("at", String(9).with_variant(String(8), '
            f'"{"postgresql" if shop.is_postgresql else "mariadb"}")), Column("user_id"',
        ),
    )
    assert shop.builds()


def test_what_a_run_does_to_the_schema_is_not_kept(shop: Shop) -> None:
    with shop.run() as run:
        run.send("DROP TABLE posts")
        run.baseline.undo()
        mark = run.baseline.mark()
        run.send("CREATE TABLE extra (id int)", "INSERT INTO users (name) VALUES ('of a fixture')")
        run.baseline.push("session", mark)
    assert not shop.builds()
    with shop.run() as run:
        run.send("DROP TABLE roles", "CREATE TABLE extra (id int)")
    assert not shop.builds(), "it was built once more, and that is kept"


def test_a_seed_that_changes_the_schema_does_so_each_time(shop: Shop) -> None:
    shop.write(
        "shop_made.py",
        MODELS.replace(
            "def fill(session):",
            """def fill(session):
        session.execute(DDL("CREATE VIEW names AS SELECT name FROM users"))""",
        ),
    )
    for _ in range(2):
        with shop.run() as run:
            assert run.send("SELECT name FROM names") == [("ada",)]
            run.send("DROP TABLE posts")
            run.baseline.undo()
            assert run.send("SELECT name FROM names") == [("ada",)]
            assert run.state() == SEEDED


MEDDLING = {
    "a row": ("INSERT INTO users (name) VALUES ('x')",),
    "a row of the schema": ("UPDATE roles SET name = 'x'",),
    "a number": ("INSERT INTO users (name) VALUES ('x')", "DELETE FROM users"),
    "a column": ("ALTER TABLE posts ADD COLUMN age int",),
    "an index": ("CREATE INDEX more ON posts (user_id, id)",),
    "a table less": ("DROP TABLE posts",),
    "a table more": ("CREATE TABLE extra (id int)",),
}


@pytest.mark.parametrize("what", MEDDLING)
def test_a_database_that_somebody_changed_meanwhile_is_built_anew(shop: Shop, what: str) -> None:
    shop.builds()
    shop.send(*MEDDLING[what])
    assert shop.builds()


UNSEEN = {
    "a sequence": ("SELECT setval('users_id_seq', 99)",),
    "a row": ("SET session_replication_role = replica", "UPDATE roles SET name = 'x'"),
}


@pytest.mark.parametrize("shop", ["postgresql"], indirect=True)
@pytest.mark.parametrize("what", UNSEEN)
def test_what_no_trigger_of_postgresql_sees_is_a_change_too(shop: Shop, what: str) -> None:
    shop.builds()
    shop.send(*UNSEEN[what])
    assert shop.builds()


def test_a_killed_run_leaves_nothing_that_is_used(shop: Shop) -> None:
    shop.builds()
    with shop.run(is_killed=True) as run:
        assert not run.has_built
    assert shop.builds(), "whatever it did meanwhile"
    with shop.run(is_killed=True):
        pass
    shop.write("shop_made.py", MODELS.replace("def fill(session):", "def fill(session):\n        1 / 0"))
    with pytest.raises(ZeroDivisionError), shop.run():
        pass
    shop.write("shop_made.py", MODELS)
    assert not shop.builds(), "the schema was whole when the seed failed"


def test_one_that_somebody_writes_to_at_the_end_is_not_kept(shop: Shop) -> None:
    with shop.run() as run, run.engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO users (name) VALUES ('open')")
        run.databases.close(is_kept=False)
        connection.invalidate()
    assert shop.databases() == set()
    assert shop.builds()


def test_runs_at_once_do_not_race(shop: Shop) -> None:
    shop.builds()
    with shop.run() as first:
        assert not first.has_built
        assert shop.builds(), "another one has a database of its own"
        assert shop.databases() == {shop.name}, "which nobody would look for afterwards"
        assert first.state() == SEEDED
    assert not shop.builds()


def test_what_a_callable_builds_is_not_kept(shop: Shop) -> None:
    shop.write("shop_made.py", MODELS)
    for _ in range(2):
        with shop.run("shop_made:init_db") as run:
            assert run.has_built
    assert shop.databases() == set()


@pytest.mark.parametrize("env", [ENV, ASYNC_ENV], ids=["sync", "async"])
def test_revisions_are_applied_once_with_the_rows_that_they_bring(shop: Shop, env: str) -> None:
    shop.use_alembic(env)
    assert [shop.builds("alembic"), shop.builds("alembic")] == [True, False]
    with (shop.root / "migrations/versions/one.py").open("a") as file:
        file.write("\n# changed\n")
    assert shop.builds("alembic")


def test_the_record_holds_no_secret(shop: Shop) -> None:
    shop.builds()
    assert re.fullmatch("[0-9a-f]{64} [0-9a-f]{64}", shop.record())


def test_what_decides_how_tables_are_made_is_part_of_the_key(shop: Shop) -> None:
    shop.builds()
    query = {"options": "-csearch_path=public,pg_catalog"}
    if not shop.is_postgresql:
        query = {"init_command": "SET SESSION sql_mode='ANSI_QUOTES'"}
    place = Place(shop.url.update_query_dict(query))
    assert [shop.builds(place=place), shop.builds(place=place), shop.builds()] == [True, False, True]
