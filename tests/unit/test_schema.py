"""What ``schema`` and ``seed`` may refer to, who waits for the build, and what a failure tells."""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from engineroom import InvalidSettingError, LifecycleError, _schema
from engineroom._loops import pool_per_loop
from engineroom._project import Project
from engineroom._project.bind import BindConfiguration
from engineroom._schema.place import Place

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

MODELS = """
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    metadata = Base.metadata
"""
BUILDERS = """
    import asyncio, threading
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial, wraps
    from types import SimpleNamespace
    from sqlalchemy import MetaData, create_engine, text
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session
    from shop_models import Base, User

    class Flask:
        metadata = Base.metadata

    flask = Flask()
    namespace = SimpleNamespace(inner=SimpleNamespace(Base=Base))
    empty = MetaData()
    number = 7

    def create(session):
        assert isinstance(session, Session)
        Base.metadata.create_all(session.connection())

    async def create_async(session):
        assert isinstance(session, AsyncSession)
        await (await session.connection()).run_sync(Base.metadata.create_all)

    def create_by_name(*, session): create(session)
    async def create_async_by_name(*, session): await create_async(session)
    def create_with_default(session, echo=False, *rest, **options): create(session)
    create_partly = partial(create_with_default, echo=True)
    create_async_partly = partial(create_async)
    create_briefly = lambda session: create(session)

    class Creator:
        def __call__(self, session): create(session)

    class AsyncCreator:
        async def __call__(self, session): await create_async(session)

    class CreatorInInit:
        def __init__(self, session): create(session)

        @classmethod
        def build(cls, session): create(session)

    creator, async_creator = Creator(), AsyncCreator()

    @wraps(create_async)
    def create_in_a_wrapper(session): return create(session)

    def create_with_its_own_loop(session):
        async def nothing(): await asyncio.sleep(0)
        asyncio.run(nothing())
        create(session)

    def fill(session): session.add(User(name="filled"))
    async def fill_async(session): session.add(User(name="filled"))

    def fill_more(session):
        fill(session)
        session.commit()
        session.add(User(name="more"))

    def returns_a_coroutine(): return create_async(None)
    def generates(session): yield session
    async def generates_async(session): yield session
    def builds_nothing(): pass
    def builds_elsewhere():
        elsewhere = create_engine("sqlite://")
        Base.metadata.create_all(elsewhere)
        elsewhere.dispose()
    def wants_two(engine, session): pass
    def raises(): raise ZeroDivisionError("as expected")
    async def raises_async(): raise ZeroDivisionError("as expected")
    def takes_an_engine(engine): Base.metadata.create_all(engine)

    engine = None  # the test puts its engine here
    pool = ThreadPoolExecutor(1)

    def init_db(): Base.metadata.create_all(engine)
    def reset_db():
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)

    async def init_async_db():
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)

    async def init_async_db_in_tasks():
        await asyncio.gather(init_async_db(), asyncio.sleep(0))
        await asyncio.to_thread(lambda: None)

    def run_async_db(): asyncio.run(init_async_db())

    def init_in_a_thread():
        thread = threading.Thread(target=init_db)
        thread.start()
        thread.join()

    def init_in_a_new_pool():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: pool.submit(int)).result()
            pool.submit(init_db).result()

    def init_in_an_old_pool():
        pool.submit(init_db).result()
"""


class Shop:
    """An empty test database, and the modules that it may be built from."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "test_shop.db"
        self.url = make_url(f"sqlite:///{self.path}")
        sqlite3.connect(self.path).close()

    def engine(
        self, schema: str | None, seed: str | None = None, *, bind: str = "default", **options: object
    ) -> Engine:
        engine = create_engine(self.url, **({"poolclass": NullPool} | options))
        _schema.build_before_first_connection(engine, bind, Place(self.url), BindConfiguration(schema, seed))
        return engine

    def async_engine(self, schema: str | None, seed: str | None = None) -> AsyncEngine:
        engine = create_async_engine(self.url.set(drivername="sqlite+aiosqlite"))
        pool_per_loop(engine.sync_engine)
        _schema.build_before_first_connection(
            engine.sync_engine, "default", Place(self.url), BindConfiguration(schema, seed)
        )
        return engine

    def names(self) -> list[str]:
        connection = sqlite3.connect(self.path)
        try:
            return [name for (name,) in connection.execute("SELECT name FROM users ORDER BY id")]
        finally:
            connection.close()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name, source in {"shop_models": MODELS, "shop_builders": BUILDERS}.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return Shop(tmp_path)


@pytest.fixture(autouse=True)
def _no_threads_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_schema, "SECONDS_TO_WAIT", 5.0)


SCHEMAS = [
    "shop_models:Base",
    "shop_models:metadata",
    "shop_models:User",
    "shop_builders:flask",
    "shop_builders:namespace.inner.Base",
    "shop_builders:create",
    "shop_builders:create_async",
    "shop_builders:create_by_name",
    "shop_builders:create_async_by_name",
    "shop_builders:create_with_default",
    "shop_builders:create_partly",
    "shop_builders:create_async_partly",
    "shop_builders:create_briefly",
    "shop_builders:creator",
    "shop_builders:async_creator",
    "shop_builders:CreatorInInit",
    "shop_builders:CreatorInInit.build",
    "shop_builders:create_with_its_own_loop",
]


@pytest.mark.parametrize("seed", [None, "shop_builders:fill", "shop_builders:fill_async", "shop_builders:fill_more"])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_first_connection_builds_the_database(shop: Shop, schema: str, seed: str | None) -> None:
    expected = {None: [], "shop_builders:fill_more": ["filled", "more"]}.get(seed, ["filled"])
    with shop.engine(schema, seed).connect() as connection:
        assert list(connection.scalars(text("SELECT name FROM users ORDER BY id"))) == expected


@pytest.mark.parametrize("schema", SCHEMAS)
def test_it_does_so_inside_of_a_running_loop_too(shop: Shop, schema: str) -> None:
    async def connect() -> list[str]:
        async with shop.async_engine(schema, "shop_builders:fill").connect() as connection:
            return list(await connection.scalars(text("SELECT name FROM users")))

    assert asyncio.run(connect()) == ["filled"]


def test_nothing_is_imported_and_nothing_built_before_the_first_connection(shop: Shop) -> None:
    shop.engine("shop_models:Base")
    assert "shop_models" not in sys.modules
    assert [build.is_done for build in _schema.known_builds()] == [False]


def test_it_is_built_once_for_all_engines_of_the_bind(shop: Shop) -> None:
    first, second = (
        shop.engine("shop_models:Base", "shop_builders:fill", poolclass=kind) for kind in (NullPool, QueuePool)
    )
    for engine in (first, second, first):
        engine.connect().close()
    second.dispose()
    assert shop.names() == ["filled"]
    assert len(_schema.known_builds()) == 1


@pytest.mark.parametrize("is_early", [False, True])
def test_a_bind_without_a_schema_leaves_it_to_another_of_the_same_database(shop: Shop, is_early: bool) -> None:
    replica = shop.engine(None, bind="replica")
    if is_early:
        with replica.connect() as connection:
            assert not inspect(connection).get_table_names()
    engine = shop.engine("shop_models:Base", "shop_builders:fill")
    shop.engine("shop_models:Base", "shop_builders:fill", bind="twin")
    with replica.connect() as connection:
        assert inspect(connection).get_table_names() == ["users"]
    engine.connect().close()
    assert shop.names() == ["filled"]


def test_two_binds_that_would_build_one_database_differently_are_an_error(shop: Shop) -> None:
    shop.engine("shop_models:Base")
    with pytest.raises(InvalidSettingError, match=r"(?s)binds default and stock .*TEST_STOCK_DATABASE_URL=\.\.\."):
        shop.engine("shop_models:metadata", bind="stock")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://127.0.0.1/shop", "postgresql+asyncpg://localhost:5432/shop"),
        ("mysql+pymysql://me@[::1]:3306/shop", "mariadb+pymysql://you@localhost/shop"),
        ("postgresql:///shop?host=db.internal", "postgresql://db.internal/shop"),
    ],
)
def test_one_database_has_one_key(one: str, other: str) -> None:
    assert Place(make_url(one)).key == Place(make_url(other)).key
    assert Place(make_url(one)).key != Place(make_url(other).set(port=9)).key


def test_a_seed_needs_no_schema(shop: Shop) -> None:
    shop.engine(None, "shop_builders:create").connect().close()
    assert shop.names() == []


OWN_ENGINE = ["init_db", "reset_db", "init_in_a_thread", "init_in_a_new_pool"]


@pytest.mark.parametrize("name", OWN_ENGINE)
def test_the_applications_own_engine_may_build(shop: Shop, name: str) -> None:
    shop_builders: Any = importlib.import_module("shop_builders")

    # The pool has room for one connection, and the one that waits for the build must not take it.
    shop_builders.engine = shop.engine(
        f"shop_builders:{name}", "shop_builders:fill", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=2
    )
    with shop_builders.engine.connect() as connection:
        assert list(connection.scalars(text("SELECT name FROM users"))) == ["filled"]
    shop_builders.engine.dispose()


@pytest.mark.parametrize("name", ["init_async_db", "init_async_db_in_tasks", "run_async_db"])
def test_the_applications_own_async_engine_may_build_while_a_loop_runs(shop: Shop, name: str) -> None:
    shop_builders: Any = importlib.import_module("shop_builders")

    shop_builders.engine = engine = shop.async_engine(f"shop_builders:{name}", "shop_builders:fill_async")

    async def connect() -> list[str]:
        async with engine.connect() as connection:
            return list(await connection.scalars(text("SELECT name FROM users")))

    started = time.monotonic()
    assert asyncio.run(connect()) == ["filled"]
    assert time.monotonic() - started < 4, "the builder's loop waited for its turn"


def test_a_thread_that_was_there_before_the_build_gets_an_error_in_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop_builders: Any = importlib.import_module("shop_builders")

    monkeypatch.setattr(_schema, "SECONDS_TO_WAIT", 0.3)
    shop_builders.pool.submit(int).result()
    shop_builders.engine = shop.engine("shop_builders:init_in_an_old_pool")
    with pytest.raises(LifecycleError, match=r"not built within 0\.3 seconds") as caught:
        shop_builders.engine.connect()
    assert "threads that they start" in str(caught.value)
    shop_builders.pool.shutdown()


def test_threads_that_connect_at_once_all_find_it_built(shop: Shop) -> None:
    engine = shop.engine("shop_models:Base", "shop_builders:fill")
    barrier = threading.Barrier(8)

    def count() -> int:
        barrier.wait(5)
        with engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM users")) or 0

    with ThreadPoolExecutor(8) as pool:
        assert [each.result(10) for each in [pool.submit(count) for _ in range(8)]] == [1] * 8


def test_a_thread_that_somebody_else_starts_during_the_build_waits_for_it(shop: Shop) -> None:
    shop_builders: Any = importlib.import_module("shop_builders")

    is_building, may_go_on = threading.Event(), threading.Event()

    def build_slowly() -> None:
        is_building.set()
        assert may_go_on.wait(5)
        shop_builders.init_db()

    shop_builders.build_slowly = build_slowly
    shop_builders.engine = engine = shop.engine("shop_builders:build_slowly", "shop_builders:fill")
    start = threading.Thread.start
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: engine.connect().close())
        assert is_building.wait(5)
        second = pool.submit(lambda: engine.connect().close())
        assert not second.done()
        may_go_on.set()
        first.result(5), second.result(5)
    assert threading.Thread.start is start, "the look at new threads outlived the build"
    assert shop.names() == ["filled"]


REFUSED: dict[str, tuple[str, str]] = {
    "no_such_module:Base": ("cannot be found", "No module named 'no_such_module'"),
    "shop_models.inner:Base": ("cannot be found", "shop_models' is not a package"),
    "shop_models:Bases": ("cannot be found", "module 'shop_models' has no attribute 'Bases'"),
    "shop_models:Base.inner": ("cannot be found", "has no attribute 'inner'"),
    "shop_builders:empty": ("has no tables", "did not import the models"),
    "shop_builders:number": ("builds nothing", "is neither a declarative base, nor MetaData, nor a callable"),
    "shop_builders:returns_a_coroutine": ("builds nothing", "returned coroutine"),
    "shop_builders:generates": ("builds nothing", "returned generator"),
    "shop_builders:generates_async": ("builds nothing", "returned async_generator"),
    "shop_builders:builds_nothing": ("built no table", "may use an engine that engineroom did not make"),
    "shop_builders:builds_elsewhere": ("built no table", "may use an engine that engineroom did not make"),
    "shop_builders:wants_two": ("cannot be called", "requires 2 arguments (engine, session)"),
}


@pytest.mark.parametrize("reference", REFUSED)
def test_a_reference_that_builds_nothing_is_a_clear_error(shop: Shop, reference: str) -> None:
    what, why = REFUSED[reference]
    with pytest.raises(InvalidSettingError) as caught:
        shop.engine(reference).connect()
    assert caught.value.what == f'The schema "{reference}" of bind default {what}' + (
        " in the test database." if what == "built no table" else "."
    )
    assert why in caught.value.why
    assert f'schema = "{reference}" of [tool.engineroom] in pyproject.toml' in caught.value.why


def test_a_seed_is_named_as_such(shop: Shop) -> None:
    with pytest.raises(InvalidSettingError, match='The seed "shop_models:metadata" of bind stock builds nothing'):
        shop.engine("shop_models:Base", "shop_models:metadata", bind="stock").connect()


FAILING = {
    "raises": ("shop_builders:raises", ZeroDivisionError),
    "raises_async": ("shop_builders:raises_async", ZeroDivisionError),
    "gets_a_session_for_an_engine": ("shop_builders:takes_an_engine", Exception),
    "imports_what_is_not_there": ("shop_broken:Base", ModuleNotFoundError),
    "cannot_be_read": ("shop_unreadable:Base", SyntaxError),
}


@pytest.mark.parametrize("case", FAILING)
def test_an_error_of_the_application_is_its_own_with_a_note(shop: Shop, tmp_path: Path, case: str) -> None:
    reference, kind = FAILING[case]
    (tmp_path / "shop_broken.py").write_text("import no_such_dependency")
    (tmp_path / "shop_unreadable.py").write_text("class Base(")
    engine = shop.engine(reference)
    with pytest.raises(kind) as caught:
        engine.connect()
    assert not isinstance(caught.value, InvalidSettingError)
    assert f'the schema of bind default, schema = "{reference}" of [tool.engineroom]' in caught.value.__notes__[0]
    for _ in range(2):
        with pytest.raises(InvalidSettingError, match=f"could not be built from {reference}") as later:
            engine.connect()
        assert later.value.__cause__ is caught.value
        assert type(caught.value).__name__ in later.value.why


def test_a_circular_import_that_connects_too_early_names_what_is_missing(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "shop_circle.py").write_text(
        textwrap.dedent("""
            import shop_circle_engine
            shop_circle_engine.engine.connect()
            from shop_models import Base
        """)
    )
    engine = shop.engine("shop_circle:Base")
    (tmp_path / "shop_circle_engine.py").write_text("engine = None")
    importlib.import_module("shop_circle_engine").engine = engine  # type: ignore[attr-defined]
    with pytest.raises(InvalidSettingError, match=r"module 'shop_circle'.* has no attribute 'Base'"):
        importlib.import_module("shop_circle")
    for name in ("shop_circle", "shop_circle_engine"):
        sys.modules.pop(name, None)


def test_whoever_waits_for_a_build_that_fails_is_told(shop: Shop) -> None:
    engine = shop.engine("shop_builders:raises")
    barrier = threading.Barrier(4)

    def connect() -> str:
        barrier.wait(5)
        try:
            engine.connect()
        except (ZeroDivisionError, InvalidSettingError) as error:
            return type(error).__name__
        return "connected"

    with ThreadPoolExecutor(4) as pool:
        said = sorted(each.result(10) for each in [pool.submit(connect) for _ in range(4)])
    assert said == ["InvalidSettingError"] * 3 + ["ZeroDivisionError"]


def test_a_listener_hears_of_each_database_before_anybody_else_connects(shop: Shop) -> None:
    heard: list[str] = []

    def hear(build: _schema.Build) -> None:
        heard.append(build.bind)
        assert shop.names() == ["filled"]

    _schema.when_built(hear)
    engine = shop.engine("shop_models:Base", "shop_builders:fill", bind="stock")
    assert heard == []
    engine.connect().close()
    assert heard == ["stock"]
    _schema.when_built(hear)
    assert heard == ["stock", "stock"], "who comes late hears of what is built already"
    _schema.forget_listener(hear)
    _schema.forget_listener(hear)
    _schema.forget_listener(hear)


def test_a_listener_that_fails_fails_the_build(shop: Shop) -> None:
    def refuse(_: _schema.Build) -> None:
        raise ZeroDivisionError

    _schema.when_built(refuse)
    with pytest.raises(ZeroDivisionError):
        shop.engine("shop_models:Base").connect()
    heard: list[object] = []
    _schema.when_built(heard.append)
    assert heard == [], "a database that could not be built has no baseline"


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("default", BindConfiguration("app:Base", "app:fill")),
        ("stock", BindConfiguration("stock:Base", None)),
        ("other", BindConfiguration(None, None)),
    ],
)
def test_each_bind_has_its_own_configuration(tmp_path: Path, bind: str, expected: BindConfiguration) -> None:
    project = Project(tmp_path, schema="app:Base", seed="app:fill", binds={"stock": BindConfiguration("stock:Base")})
    assert _schema.configuration_of(project, bind) == expected


@pytest.mark.parametrize("call", ["connect", "dispose", "execution_options"])
def test_an_engine_that_lost_its_pool_or_is_a_copy_builds_too(shop: Shop, call: str) -> None:
    engine = shop.engine("shop_models:Base", "shop_builders:fill")
    if call == "dispose":
        engine.dispose()
    elif call == "execution_options":
        engine = engine.execution_options(logging_token="copy")
    engine.connect().close()
    assert shop.names() == ["filled"]
