"""A real project whose application has a database on PostgreSQL or MariaDB."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.pool import NullPool
from tests.plugin.conftest import DROPPED

from engineroom._schema.place import Place
from engineroom.testing._keeper import Keeper
from engineroom.testing._mysql_objects import companion_of
from engineroom.testing._mysql_server import MySQLServer
from engineroom.testing._postgresql_server import PostgreSQLServer
from engineroom.testing._server_databases import ensure_database
from engineroom.testing.databases import list_left_over_databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import SmallProject

    from engineroom.testing._server_databases import Server

MODELS = """
    from sqlalchemy import ForeignKey, String
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50), unique=True)

    class Post(Base):
        __tablename__ = "posts"
        id: Mapped[int] = mapped_column(primary_key=True)
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))

    async def fill(session):
        session.add(User(name="seed"))
        await session.flush()
        session.add(Post(user_id=1))
"""
DATABASE = """
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import async_sessionmaker
    from sqlalchemy.orm import sessionmaker
    from engineroom import get_async_engine, get_engine

    engine, async_engine = get_engine(), get_async_engine()
    Session, AsyncSession = sessionmaker(engine), async_sessionmaker(async_engine)

    def names():
        with Session() as session:
            return [name for (name,) in session.execute(text("SELECT name FROM users ORDER BY id"))]
"""
CONFIGURATION = """
    [tool.pytest.ini_options]
    addopts = "-p no:cacheprovider -p no:anyio -p no:asyncio -p no:hypothesispytest -p no:pytest_cov"
    pythonpath = ["."]
    [tool.engineroom]
    schema = "app.models:Base"
    seed = "app.models:fill"
"""
DRIVERS = {
    "psycopg and asyncpg": ("postgresql", "postgresql+asyncpg"),
    "psycopg alone": ("postgresql", "postgresql+psycopg"),
    "pymysql and aiomysql": ("mariadb", "mysql+aiomysql"),
}


class Shop:
    """A project whose application has a database on a server."""

    def __init__(self, project: SmallProject, maintenance: URL, scheme: str) -> None:
        self.project = project
        self.name = f"engineroom_{secrets.token_hex(4)}"
        self.maintenance = maintenance
        self.url = maintenance.set(drivername=scheme, database=self.name)
        project.write_text("pyproject.toml", CONFIGURATION)
        project.write(app____init__="", app__models=MODELS, app__db=DATABASE)
        project.environ["DATABASE_URL"] = self.url.render_as_string(hide_password=False)

    @property
    def is_postgresql(self) -> bool:
        return self.maintenance.get_backend_name() == "postgresql"

    @property
    def place(self) -> Place:
        return Place(self.maintenance.set(database=f"test_{self.name}"))

    def send(self, *statements: str, database: str = "") -> list[Any]:
        url = self.maintenance.set(database=database) if database else self.maintenance
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        rows: list[Any] = []
        with engine.connect() as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement)
                rows = list(result) if result.returns_rows else []
        return rows

    def databases(self) -> set[str]:
        query = "SELECT datname FROM pg_database" if self.is_postgresql else "SHOW DATABASES"
        return {name for (name,) in self.send(query) if self.name in name}

    def kept_databases(self, *ends: str) -> set[str]:
        """Return the names of the databases that stay for the next run, with those beside them on MariaDB."""
        names = {f"{self.place.name}{end}" for end in ends or ("",)}
        return names if self.is_postgresql else names | {companion_of(name) for name in names}

    def is_held(self) -> bool:
        """Tell whether a run holds the test database, which is there and marked."""
        return next(each for each in list_left_over_databases(self.place) if each.name == self.place.name).is_held

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the test database, as another run would."""
        server: Server = PostgreSQLServer() if self.is_postgresql else MySQLServer()
        ensure_database(server, self.place)
        keeper = Keeper(self.place)
        assert server.hold(keeper, self.place.name)
        try:
            yield
        finally:
            keeper.close()

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run pytest at the same time."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        environ = {**kept, "TMPDIR": str(self.project.temporary), **self.project.environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.project.root,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


@contextmanager
def make_shop(project: SmallProject, maintenance: URL, scheme: str) -> Iterator[Shop]:
    """Make a project for a driver, and drop its databases afterwards."""
    made = Shop(project, maintenance, scheme)
    try:
        yield made
    finally:
        force = " WITH (FORCE)" if made.is_postgresql else ""
        for name in made.databases():
            made.send(f"DROP DATABASE {name}{force}")


@contextmanager
def shop_on_server(request: pytest.FixtureRequest, project: SmallProject) -> Iterator[Shop]:
    """Make a project for the driver that is the parameter of a fixture."""
    kind, scheme = request.param
    with make_shop(project, request.getfixturevalue(f"{kind}_url"), scheme) as made:
        yield made


one_of_each_server = pytest.mark.parametrize(
    "shop",
    [DRIVERS["psycopg and asyncpg"], DRIVERS["pymysql and aiomysql"]],
    ids=["postgresql", "mariadb"],
    indirect=True,
)
