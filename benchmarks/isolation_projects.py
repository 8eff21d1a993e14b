"""The small projects that ``isolation.py`` measures: the same tables, seed and tests, isolated in different ways.

Every project has the tables, twenty rows in each of the first ten as its baseline, and tests that insert one row,
commit and select. What differs is who makes the session, and who undoes the commit.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PEERS", "Case", "write_project"]


class Case(NamedTuple):
    """What is measured.

    Attributes:
        url: The test database; empty for SQLite in memory.
        loop: The scope of the event loop; empty for tests that are not async.
        tables: The number of tables.
        tests: The number of tests.
        kind: What the tests do: ``write``, ``read`` or ``slow``, which takes 20 ms each.
    """

    url: str
    loop: str
    tables: int
    tests: int
    kind: str = "write"

    @property
    def is_async(self) -> bool:
        """Whether the tests are."""
        return bool(self.loop)


MODELS = """
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


def make(number):
    columns = {{
        "__tablename__": f"table_{{number}}",
        "__annotations__": {{"id": Mapped[int], "name": Mapped[str], "other_id": Mapped[int | None]}},
        "id": mapped_column(primary_key=True),
        "name": mapped_column(String(50), index=True),
        "other_id": mapped_column(ForeignKey(f"table_{{number - 1}}.id")) if number else mapped_column(),
    }}
    return type(f"Model{{number}}", (Base,), columns)


MODELS = [make(number) for number in range({tables})]


def rows():
    return [model(name=f"row {{number}}") for model in MODELS[:10] for number in range(20)]


def fill(session):
    session.add_all(rows())
"""

SYNC_TESTS = """
import time

import pytest
from sqlalchemy import func, select

from models import MODELS

Model = MODELS[3]


@pytest.mark.parametrize("number", range({tests}))
def test_{kind}(number, make_session):
    with make_session() as session:
        if "{kind}" != "read":
            session.add(Model(name=f"new {{number}}"))
            session.commit()
        if "{kind}" == "slow":
            time.sleep(0.02)
        assert session.scalar(select(func.count()).select_from(Model)) == (20 if "{kind}" == "read" else 21)
"""

ASYNC_TESTS = SYNC_TESTS.replace("def test_", "async def test_").replace("    with make", "    async with make")
ASYNC_TESTS = ASYNC_TESTS.replace("session.commit()", "await session.commit()").replace(
    "time.sleep", "await asyncio.sleep"
)
ASYNC_TESTS = ASYNC_TESTS.replace("assert session.scalar", "assert await session.scalar").replace(
    "import time", "import asyncio"
)

SAVEPOINT = """
import pytest
from sqlalchemy import StaticPool, create_engine, event
from sqlalchemy.orm import Session

from models import Base, rows

URL = "{url}"


@pytest.fixture(scope="session")
def engine():
    options = dict(poolclass=StaticPool, connect_args={{"check_same_thread": False}}) if "sqlite" in URL else {{}}
    engine = create_engine(URL, **options)
    if "sqlite" in URL:

        @event.listens_for(engine, "connect")
        def leave_transactions_alone(connection, record):
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begin(connection):
            connection.exec_driver_sql("BEGIN")

    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(rows())
        session.commit()
    yield engine
    engine.dispose()


@pytest.fixture
def make_session(engine):
    with engine.connect() as connection:
        transaction = connection.begin()
        yield lambda: Session(bind=connection, join_transaction_mode="create_savepoint")
        transaction.rollback()
"""

ASYNC_SAVEPOINT = """
import pytest_asyncio
from sqlalchemy import NullPool, StaticPool, event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from models import Base, rows

URL = "{url}"
built = []


@pytest_asyncio.fixture(scope="{loop}", loop_scope="{loop}")
async def engine():
    options = dict(poolclass=StaticPool, connect_args={{"check_same_thread": False}}) if "sqlite" in URL else {{}}
    if "{loop}" == "function" and "sqlite" not in URL:
        options = dict(poolclass=NullPool)
    engine = create_async_engine(URL, **options)
    if "sqlite" in URL:

        @event.listens_for(engine.sync_engine, "connect")
        def leave_transactions_alone(connection, record):
            connection.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection):
            connection.exec_driver_sql("BEGIN")

    if not built or "sqlite" in URL:
        built.append(True)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add_all(rows())
            await session.commit()
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture(loop_scope="{loop}")
async def make_session(engine):
    async with engine.connect() as connection:
        transaction = await connection.begin()
        yield lambda: AsyncSession(
            bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        )
        await transaction.rollback()
"""

ENGINEROOM = """
import pytest
from sqlalchemy.orm import sessionmaker

from engineroom import get_engine

make = sessionmaker(get_engine())


@pytest.fixture
def make_session():
    return make
"""

ASYNC_ENGINEROOM = """
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from engineroom import get_async_engine

make = async_sessionmaker(get_async_engine(), expire_on_commit=False)


@pytest.fixture
def make_session():
    return make
"""

PYTEST_SQLA = """
import pytest
from sqlalchemy.orm import Session

from models import rows


@pytest.fixture(scope="session", autouse=True)
def seed(_sqla_sync_engine, sqla_schema):
    with Session(_sqla_sync_engine) as session:
        session.add_all(rows())
        session.commit()


@pytest.fixture
def make_session(sqla_sessionmaker):
    return sqla_sessionmaker
"""

ASYNC_PYTEST_SQLA = PYTEST_SQLA.replace("sqla_sessionmaker", "sqla_async_sessionmaker")

DJANGO_TESTS = """
import time

import pytest

from shop.models import MODELS

Model = MODELS[3]


@pytest.mark.django_db
@pytest.mark.parametrize("number", range({tests}))
def test_{kind}(number):
    if "{kind}" != "read":
        Model.objects.create(name=f"new {{number}}")
    if "{kind}" == "slow":
        time.sleep(0.02)
    assert Model.objects.count() == (20 if "{kind}" == "read" else 21)
"""

DJANGO_MODELS = """
from django.db import models


def make(number):
    fields = {{
        "__module__": __name__,
        "name": models.CharField(max_length=50, db_index=True),
        "other": models.ForeignKey(f"Model{{number - 1 if number else 0}}", null=True, on_delete=models.CASCADE),
    }}
    return type(f"Model{{number}}", (models.Model,), fields)


MODELS = [make(number) for number in range({tables})]
"""

DJANGO_CONFTEST = """
import pytest


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    from shop.models import MODELS

    with django_db_blocker.unblock():
        for model in MODELS[:10]:
            model.objects.bulk_create(model(name=f"row {{number}}") for number in range(20))
"""

DJANGO_SETTINGS = """
SECRET_KEY = "none"
INSTALLED_APPS = ["shop"]
DATABASES = {{"default": {database}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""

INI = "[tool.pytest.ini_options]\npythonpath = ['.']\naddopts = '-p no:cacheprovider -p no:randomly'\n"
ASYNC_INI = (
    "asyncio_mode = 'auto'\nasyncio_default_fixture_loop_scope = '{loop}'\nasyncio_default_test_loop_scope = '{loop}'\n"
)
PEERS = ("savepoint by hand", "engineroom", "pytest-sqla", "pytest-django")


def write_project(root: Path, peer: str, case: Case, database: dict[str, str]) -> dict[str, str]:
    """Write a project.

    Args:
        root: Where.
        peer: Who isolates its tests.
        case: What is measured.
        database: How Django names the database.

    Returns:
        The variables that its run needs.
    """
    url = case.url or ("sqlite+aiosqlite://" if case.is_async else "sqlite://")
    words = {"url": url, "loop": case.loop, "tables": case.tables, "tests": case.tests, "kind": case.kind}
    ini = INI + (ASYNC_INI.format(**words) if case.is_async else "")
    if peer == "pytest-django":
        _write(root / "shop/__init__.py", "")
        _write(root / "shop/models.py", DJANGO_MODELS.format(**words))
        _write(root / "settings.py", DJANGO_SETTINGS.format(database=database))
        _write(root / "conftest.py", DJANGO_CONFTEST.format(**words))
        _write(root / "test_shop.py", DJANGO_TESTS.format(**words))
        _write(root / "pyproject.toml", ini + "DJANGO_SETTINGS_MODULE = 'settings'\n")
        return {}
    texts = {
        "savepoint by hand": (SAVEPOINT, ASYNC_SAVEPOINT),
        "engineroom": (ENGINEROOM, ASYNC_ENGINEROOM),
        "pytest-sqla": (PYTEST_SQLA, ASYNC_PYTEST_SQLA),
    }
    _write(root / "models.py", MODELS.format(**words))
    _write(root / "conftest.py", texts[peer][case.is_async].format(**words))
    _write(root / "test_shop.py", (ASYNC_TESTS if case.is_async else SYNC_TESTS).format(**words))
    if peer == "pytest-sqla":
        ini += f"sqla_metadata = 'models:Base'\nsqla_url = '{_sync(url)}'\n"
        ini += f"sqla_async_url = '{url}'\n" if case.is_async else ""
    if peer == "engineroom":
        ini += '[tool.engineroom]\nschema = "models:Base"\nseed = "models:fill"\n'
    _write(root / "pyproject.toml", ini)
    return {"TEST_DATABASE_URL": case.url} if peer == "engineroom" and case.url else {}


def _sync(url: str) -> str:
    return url.replace("+aiosqlite", "").replace("+asyncpg", "+psycopg")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
