"""A test's session and the application's sessions reach one database and keep their transactions apart."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi.testclient import TestClient

from app.db.database import async_session_maker
from app.main import app
from app.models import Dancer
from app.repositories import DancerRepository
from tests.builders import a_dancer


@pytest.fixture
async def async_client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://battle.example") as client:
        yield client


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


async def add_dancers(count: int) -> None:
    async with async_session_maker() as session:
        session.add_all([a_dancer(number) for number in range(1, count + 1)])
        await session.commit()


async def test_the_application_sees_what_a_test_committed(async_client: httpx.AsyncClient) -> None:
    await add_dancers(3)
    assert len((await async_client.get("/dancers")).json()) == 3


async def test_the_application_does_not_see_what_a_test_did_not_commit(async_client: httpx.AsyncClient) -> None:
    async with async_session_maker() as session:
        session.add(a_dancer())
        await session.flush()
        assert (await async_client.get("/dancers")).json() == []


def test_an_application_in_a_loop_of_its_own_sees_what_a_test_committed(client: TestClient) -> None:
    asyncio.run(add_dancers(2))
    assert len(client.get("/dancers").json()) == 2


async def test_a_rollback_keeps_what_another_session_committed() -> None:
    async with async_session_maker() as mine:
        assert await DancerRepository(mine).count() == 0
        await mine.rollback()
        await add_dancers(1)
        mine.add(a_dancer(2))
        await mine.flush()
        await mine.rollback()
        assert await DancerRepository(mine).count() == 1


async def test_requests_at_the_same_time_do_not_disturb_each_other(async_client: httpx.AsyncClient) -> None:
    await add_dancers(5)
    responses = await asyncio.gather(*(async_client.get("/dancers", params={"search": "kim"}) for _ in range(10)))
    assert [len(response.json()) for response in responses] == [5] * 10


async def test_sessions_at_the_same_time_all_write() -> None:
    async def add(number: int) -> None:
        async with async_session_maker() as session:
            session.add(a_dancer(number))
            await session.commit()

    await asyncio.gather(*(add(number) for number in range(1, 11)))
    async with async_session_maker() as session:
        assert await DancerRepository(session).count() == 10


@pytest.mark.parametrize("attempt", [1, 2])
async def test_every_test_starts_with_empty_tables(attempt: int) -> None:
    async with async_session_maker() as session:
        assert await DancerRepository(session).count() == 0
        session.add(a_dancer(attempt))
        await session.commit()
        assert (await session.get_one(Dancer, 1)).stage_name == f"Dancer {attempt}"
