"""Images of schemas between runs: when one is used, when it is not, and what it is known by."""

from __future__ import annotations

import importlib
import os
import sqlite3
import sys
import textwrap
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import DDL, Column, Enum, Integer, MetaData, String, Table, create_engine, event, make_url
from sqlalchemy.pool import NullPool

from engineroom import _project, _schema
from engineroom._project.bind import BindConfiguration
from engineroom._schema import images
from engineroom._schema.keys import key_of
from engineroom._schema.place import Place
from engineroom._schema.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODELS = """
    from sqlalchemy import Column, Integer, MetaData, String, Table, insert

    metadata = MetaData()
    users = Table("users", metadata, Column("id", Integer, primary_key=True), Column("name", String(50)))

    def fill(session):
        session.execute(insert(users).values(name="ada"))

    def init_db(session):
        metadata.create_all(session.connection())
"""
REVISION = """
    {0}
    from alembic import op
    revision, down_revision = "one", None

    def upgrade():
        op.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
"""
ENV = """
    from alembic import context
    from sqlalchemy import engine_from_config
    engine = engine_from_config(context.config.get_section("alembic"))
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()
"""


class Shop:
    """A project whose test database is built again and again, as by one run after the other."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root = root
        self.cache = cache
        self._runs = 0
        self.write("shop_tables.py", MODELS)

    def write(self, name: str, content: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
        sys.modules.pop("shop_tables", None)
        importlib.invalidate_caches()

    def source(self, schema: str = "shop_tables:metadata") -> Source:
        return Source("default", self.place(), "schema", schema)

    def place(self) -> Place:
        return Place(make_url(f"sqlite:///{self.root / f'test_shop_{self._runs}.db'}"))

    def run(self, schema: str = "shop_tables:metadata", seed: str | None = None) -> dict[str, int]:
        """Build the database of another run, and return its tables with the number of their rows."""
        self._runs += 1
        _schema.reset()
        place = self.place()
        engine = create_engine(place.url, poolclass=NullPool)
        _schema.build_before_first_connection(engine, "default", place, BindConfiguration(schema, seed))
        engine.connect().close()
        with closing(sqlite3.connect(place.name)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608

    def images(self) -> list[Path]:
        return sorted((self.cache / "engineroom").glob("*"))

    def mark_images(self) -> None:
        """Put a table into each image, by which its use is seen."""
        for path in self.images():
            with closing(sqlite3.connect(":memory:")) as connection:
                connection.deserialize(path.read_bytes()[len(images.MAGIC) + 4 :])
                connection.execute("CREATE TABLE from_image (id INTEGER)")
                content = connection.serialize()
            path.write_bytes(images.MAGIC + zlib.crc32(content).to_bytes(4, "big") + content)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "shop"), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    shop = Shop(tmp_path / "shop", tmp_path / "cache")
    _project.set_root(shop.root)
    return shop


def text_to_execute(text: str) -> DDL:
    return DDL(text)  # type: ignore[no-untyped-call]  # SQLAlchemy's


def use_alembic(shop: Shop, before: str = "") -> None:
    shop.write("alembic.ini", "[alembic]\nscript_location = migrations\n")
    shop.write("migrations/env.py", ENV)
    shop.write("migrations/versions/one.py", REVISION.format(before))


def test_the_next_run_takes_the_image(shop: Shop) -> None:
    assert shop.run() == {"users": 0}
    assert [path.suffix for path in shop.images()] == [".image"]
    shop.mark_images()
    assert shop.run() == {"users": 0, "from_image": 0}


def test_a_seed_is_filled_in_anew_in_each_run(shop: Shop) -> None:
    for _ in range(2):
        assert shop.run(seed="shop_tables:fill") == {"users": 1}
    shop.mark_images()
    assert shop.run(seed="shop_tables:fill") == {"users": 1, "from_image": 0}


def test_a_changed_model_is_noticed(shop: Shop) -> None:
    shop.run()
    shop.mark_images()
    shop.write("shop_tables.py", MODELS.replace("String(50)", "String(60)"))
    assert shop.run() == {"users": 0}
    assert len(shop.images()) == 2


def test_what_a_callable_builds_is_not_kept(shop: Shop) -> None:
    assert shop.run("shop_tables:init_db") == {"users": 0}
    assert shop.images() == []


def test_a_database_that_holds_something_is_not_overwritten(shop: Shop) -> None:
    shop.run()
    shop.mark_images()
    with closing(sqlite3.connect(shop.root / "test_shop_2.db")) as connection:
        connection.execute("CREATE TABLE mine (id INTEGER)")
    assert shop.run() == {"users": 0, "mine": 0}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-100],
        lambda _: b"",
        lambda content: content[:-1] + b"x",
        lambda content: b"x" + content,
    ],
)
def test_a_damaged_image_is_built_anew(shop: Shop, damage: Callable[[bytes], bytes]) -> None:
    shop.run()
    shop.mark_images()
    (path,) = shop.images()
    path.write_bytes(damage(path.read_bytes()))
    assert shop.run() == {"users": 0}
    shop.mark_images()
    assert shop.run() == {"users": 0, "from_image": 0}, "it was kept again"


def test_images_can_be_ignored_and_are_replaced_then(shop: Shop) -> None:
    shop.run()
    shop.mark_images()
    images.ignore_kept_images()
    assert shop.run() == {"users": 0}
    images.reset()
    assert shop.run() == {"users": 0}


def test_no_place_for_images_costs_no_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop.root / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shop.root / "file"))
    assert shop.run() == {"users": 0}
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(shop.root / "file"))
    assert shop.run() == {"users": 0}


def test_a_directory_that_others_may_write_to_is_not_used(shop: Shop) -> None:
    shop.run()
    shop.mark_images()
    (shop.cache / "engineroom").chmod(0o777)
    assert shop.run() == {"users": 0}
    assert images.kept_images() == []


def test_runs_at_once_do_not_race(shop: Shop) -> None:
    def build(number: int) -> None:
        path = shop.root / f"test_at_once_{number}.db"
        images.build_schema(Source("default", Place(make_url(f"sqlite:///{path}")), "schema", "shop_tables:metadata"))

    importlib.import_module("shop_tables")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(build, range(12)))
    assert len(shop.images()) == 1
    shop.mark_images()
    assert shop.run() == {"users": 0, "from_image": 0}


def test_old_images_are_removed(shop: Shop) -> None:
    shop.run()
    directory = shop.images()[0].parent
    for number in range(30):
        path = directory / f"schema-{number:064}.image"
        path.write_bytes(b"")
        os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
    (directory / "mine").write_text("")
    shop.write("shop_tables.py", MODELS.replace("50", "70"))
    shop.run()
    assert [path.name for path in shop.images() if path.stat().st_size < 100] == ["mine"]
    assert len(shop.images()) == 3


class TestKeys:
    """What a schema is known by."""

    @staticmethod
    def key(metadata: MetaData, monkeypatch: pytest.MonkeyPatch) -> str | None:
        module = type(sys)("shop_made")
        module.metadata = metadata  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "shop_made", module)
        return key_of(Source("default", Place(make_url("sqlite:///test_shop.db")), "schema", "shop_made:metadata"))

    @staticmethod
    def metadata(*, length: int = 50, index: bool = False) -> MetaData:
        metadata = MetaData()
        Table("users", metadata, Column("id", Integer, primary_key=True), Column("n", String(length), index=index))
        return metadata

    def test_the_same_metadata_has_the_same_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.key(self.metadata(), monkeypatch) == self.key(self.metadata(), monkeypatch) is not None

    def test_every_difference_makes_another_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with_trigger, with_other_trigger = self.metadata(), self.metadata()
        event.listen(with_trigger, "after_create", text_to_execute("CREATE TRIGGER a"))
        event.listen(with_other_trigger.tables["users"], "after_create", text_to_execute("CREATE TRIGGER b"))
        all_of_them = [
            self.metadata(),
            self.metadata(length=60),
            self.metadata(index=True),
            with_trigger,
            with_other_trigger,
        ]
        assert len({self.key(metadata, monkeypatch) for metadata in all_of_them}) == len(all_of_them)

    def test_an_enumeration_is_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = []
        for values in (("glad",), ("glad", "gloomy")):
            metadata = self.metadata()
            metadata.tables["users"].append_column(Column("mood", Enum(*values, name="mood")))
            keys.append(self.key(metadata, monkeypatch))
        assert None not in keys
        assert keys[0] != keys[1]

    def test_a_listener_of_the_application_is_unknown_and_not_called(self, monkeypatch: pytest.MonkeyPatch) -> None:
        metadata, calls = self.metadata(), []
        event.listen(metadata.tables["users"], "after_create", lambda *_, **__: calls.append(1))
        assert self.key(metadata, monkeypatch) is None
        assert calls == []

    def test_another_version_of_sqlite_makes_another_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key = self.key(self.metadata(), monkeypatch)
        monkeypatch.setattr(sqlite3, "sqlite_version", "3.0.0")
        assert self.key(self.metadata(), monkeypatch) != key


class TestAlembic:
    """What revisions are known by."""

    def test_the_next_run_takes_the_image(self, shop: Shop) -> None:
        use_alembic(shop)
        assert shop.run("alembic") == {"alembic_version": 1, "users": 0}
        shop.mark_images()
        assert "from_image" in shop.run("alembic")

    @pytest.mark.parametrize("name", ["alembic.ini", "migrations/env.py", "migrations/versions/one.py"])
    def test_a_change_of_each_file_is_noticed(self, shop: Shop, name: str) -> None:
        use_alembic(shop)
        key = key_of(shop.source("alembic"))
        with (shop.root / name).open("a") as file:
            file.write("\n# changed\n")
        assert key != key_of(shop.source("alembic")) is not None

    def test_the_code_of_the_project_counts_where_a_revision_imports_it(self, shop: Shop) -> None:
        use_alembic(shop)
        key = key_of(shop.source("alembic"))
        shop.write("shop_tables.py", MODELS + "\n# changed")
        assert key_of(shop.source("alembic")) == key, "no revision imports it"
        use_alembic(shop, "from shop_tables import metadata")
        key = key_of(shop.source("alembic"))
        shop.write("shop_tables.py", MODELS + "\n# changed once more")
        assert key != key_of(shop.source("alembic")) is not None

    @pytest.mark.parametrize(
        "line", ["import os; os.environ.get('X')", "open(__file__)", "import datetime; datetime.now"]
    )
    def test_a_revision_that_reads_something_else_is_unknown(self, shop: Shop, line: str) -> None:
        use_alembic(shop, line)
        assert key_of(shop.source("alembic")) is None
