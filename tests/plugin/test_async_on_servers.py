"""Isolation of asynchronous tests on servers: each driver, each scope of a loop, a web framework's ways, left-overs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.plugin.server_shop import make_shop
from tests.plugin.test_isolation_of_async import CONFIGURATION, CONFTEST, SHOP, TESTS

if TYPE_CHECKING:
    from sqlalchemy import URL
    from tests.plugin.conftest import SmallProject

SHOP_ON_A_SERVER = SHOP.replace('"sqlite:///shop.db"', "")
SCOPES = ("function", "module", "session")
STRICT = {
    **{f"test_{scope}": (f'@pytest.mark.asyncio(loop_scope="{scope}")', "") for scope in SCOPES},
    "test_anyio": ("@pytest.mark.anyio", ", anyio_backend"),
}
AUTO = {"test_auto": ("", "")}
INI = 'asyncio_mode = "{}"\n    asyncio_default_test_loop_scope = "{}"'
LEFT = """
    import asyncio
    import pytest
    from shop import AsyncSession, Session, User

    def count():
        with Session() as session:
            return session.query(User).count()

    async def write(seconds):
        async with AsyncSession.begin() as session:
            session.add(User(name="left"))
            await session.flush()
            await asyncio.sleep(seconds)

    @pytest.mark.asyncio(loop_scope="{scope}")
    class TestLeft:
        async def test_1_a_cancelled_task(self):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(write(60), 0.3)

        async def test_2_a_task_that_goes_on_when_the_loop_ends(self):
            assert count() == 1
            self.__class__.task = asyncio.create_task(write(60))
            await asyncio.sleep(0.3)

        async def test_3_a_session_that_nobody_closes(self):
            assert count() == 1
            session = AsyncSession()
            session.add(User(name="open"))
            await session.flush()

        async def test_4_a_session_that_somebody_holds(self):
            assert count() == 1
            self.__class__.session = session = AsyncSession()
            session.add(User(name="open"))
            await session.flush()

        async def test_5_the_next_one(self):
            assert count() == 1
"""
GUILTY = {
    "test_2_a_task_that_goes_on_when_the_loop_ends",
    "test_3_a_session_that_nobody_closes",
    "test_4_a_session_that_somebody_holds",
}
"""Where the loop goes on after the test; the end of a loop ends what was left in it."""

DRIVERS = {
    "asyncpg": ("postgresql", "postgresql+asyncpg", STRICT),
    "psycopg": ("postgresql", "postgresql+psycopg", AUTO),
    "asyncmy": ("mariadb", "mysql+asyncmy", STRICT),
    "aiomysql": ("mariadb", "mysql+aiomysql", AUTO),
}


@pytest.mark.parametrize("driver", DRIVERS)
def test_asynchronous_tests_start_from_the_baseline(
    driver: str, request: pytest.FixtureRequest, lone_project: SmallProject
) -> None:
    kind, scheme, modes = DRIVERS[driver]
    is_auto = modes is AUTO
    ini = INI.format(*(("auto", "session") if is_auto else ("strict", "function")))
    tests = {name: TESTS.format(mark=mark, fixture=fixture) for name, (mark, fixture) in modes.items()}
    with make_shop(lone_project, request.getfixturevalue(f"{kind}_url"), scheme) as shop:
        shop.project.write_text("pyproject.toml", CONFIGURATION.format(addopts="", ini=ini))
        is_going_on = is_auto and kind == "postgresql"  # each left-over takes seconds
        scope = "session" if is_going_on else "function"
        shop.project.write(shop=SHOP_ON_A_SERVER, conftest=CONFTEST, test_left=LEFT.format(scope=scope), **tests)
        outcome = shop.project.pytest("-W", "ignore:The garbage collector is trying")
    assert outcome.counts["passed"] == 6 * len(tests) + 5, outcome.out + outcome.err
    assert outcome.failed == (GUILTY if is_going_on else set()), outcome.out
    assert outcome.out.count(", taken at ") == len(outcome.failed), outcome.out


MOVING = """
    import pytest
    from shop import AsyncSession, User
    from sqlalchemy import func, select, text

    PIDS = []

    @pytest.mark.asyncio
    @pytest.mark.parametrize("number", range(9))
    async def test_a_loop_of_its_own(number):
        async with AsyncSession() as session:
            PIDS.append(await session.scalar(text("SELECT pg_backend_pid()")))
            assert await session.scalar(select(func.count()).select_from(User)) == 1
            names = list(await session.scalars(select(User.name)))
            session.add(User(name=f"user {number}"))
            await session.commit()
            assert list(await session.scalars(select(User.name).order_by(User.id))) == [*names, f"user {number}"]
            await session.execute(text("CREATE TEMP TABLE basket (id integer)"))
            await session.commit()
        if number in (3, 5):  # what the connection has prepared is of another table afterwards
            async with AsyncSession() as session:
                await session.execute(text("ALTER TABLE users ALTER COLUMN name TYPE text, ADD COLUMN more integer"))
                await session.commit()

    def test_how_many_connections_there_were():
        assert [PIDS.count(pid) for pid in dict.fromkeys(PIDS)] == [4, 2, 3]
"""


def test_connections_of_asyncpg_move_from_test_to_test(lone_project: SmallProject, postgresql_url: URL) -> None:
    with make_shop(lone_project, postgresql_url, "postgresql+asyncpg") as shop:
        shop.project.write_text(
            "pyproject.toml", CONFIGURATION.format(addopts="", ini=INI.format("strict", "function"))
        )
        shop.project.write(shop=SHOP_ON_A_SERVER, conftest=CONFTEST, test_moving=MOVING)
        outcome = shop.project.pytest("-p", "no:randomly")
    assert outcome.counts == {"passed": 10}, outcome.out
