"""What a driver remembers of a table that is gone: prepared statements and types do not reach the next test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.server_shop import CONFIGURATION, make_shop

if TYPE_CHECKING:
    from sqlalchemy import URL
    from tests.plugin.conftest import SmallProject

SHOP = """
    import asyncio
    from sqlalchemy import Enum, String, text
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
    from engineroom import get_async_engine

    engine = get_async_engine(pool_size=1, max_overflow=0)

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50))
        mood: Mapped[str] = mapped_column(Enum("glad", "sad", name="mood"))

    async def fill(session):
        session.add(User(name="seed", mood="glad"))

    async def send(*statements):
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    async def ask(statement):
        rows = [await send(statement) for _ in range(7)]  # psycopg prepares what it has met five times
        assert rows == [rows[0]] * 7
        return rows[0]
"""
TESTS = """
    import asyncio
    import pytest
    from shop import ask, engine, send

    SEEDED = [(1, "seed", "glad")]
    CHANGES = {
        "a column more": ["ALTER TABLE users ADD COLUMN age int"],
        "a column that came and went": ["ALTER TABLE users ADD COLUMN age int", "ALTER TABLE users DROP COLUMN age"],
        "another type": ["ALTER TABLE users ALTER COLUMN name TYPE text"],
        "a new table": ["CREATE TABLE extra (a int)"],
        "another one of this name": ["CREATE TABLE extra (a text, b text)"],
        "a view": ["CREATE VIEW extra AS SELECT * FROM users"],
        "another one": ["CREATE VIEW extra AS SELECT 1"],
        "a word more": ["ALTER TYPE mood ADD VALUE 'calm'"],
        "a new type": [
            "DROP TABLE users", "DROP TYPE mood", "CREATE TYPE mood AS ENUM ('sad', 'glad')",
            "CREATE TABLE users (id int, mood mood)", "INSERT INTO users VALUES (1, 'sad')",
        ],
        "nothing at last": [],
    }

    async def test_first():
        assert await ask("SELECT * FROM users") == SEEDED

    @pytest.mark.parametrize("what", CHANGES)
    async def test_each(what):
        assert await ask("SELECT * FROM users") == SEEDED
        await send(*CHANGES[what], "SELECT 1")
        await engine.dispose()  # in the test that changes a table it is the application that has to do so
        await ask("SELECT * FROM users")
        if "extra" in "".join(CHANGES[what]):
            await ask("SELECT * FROM extra")

    class TestOfAFixture:
        @pytest.fixture(scope="class", autouse=True)
        @classmethod
        async def age(cls):
            assert await ask("SELECT * FROM users") == SEEDED
            await send("ALTER TABLE users ADD COLUMN age int DEFAULT 3")

        @pytest.mark.parametrize("times", [1, 2])
        async def test_is_there(self, times):
            assert await ask("SELECT * FROM users") == [(1, "seed", "glad", 3)]
            await send("INSERT INTO users (name, mood) VALUES ('x', 'sad')")

    async def test_last():
        assert await ask("SELECT * FROM users") == SEEDED
"""


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql+psycopg"])
def test_no_prepared_statement_outlives_its_table(lone_project: SmallProject, postgresql_url: URL, scheme: str) -> None:
    with make_shop(lone_project, postgresql_url, scheme) as shop:
        configuration = CONFIGURATION.replace("app.models", "shop").replace(" -p no:asyncio", "")
        ini = 'asyncio_mode = "auto"\n    asyncio_default_test_loop_scope = "session"\n'
        ini += '    asyncio_default_fixture_loop_scope = "session"\n    pythonpath'
        shop.project.write_text("pyproject.toml", configuration.replace("pythonpath", ini))
        shop.project.write(shop=SHOP, test_shop=TESTS)
        outcome = shop.project.pytest("-p", "no:randomly")
    assert outcome.counts == {"passed": 14}, outcome.out + outcome.err
