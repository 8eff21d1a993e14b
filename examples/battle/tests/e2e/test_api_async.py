"""The HTTP endpoints, driven by httpx in the event loop of the test."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.db.database import async_session_maker
from app.main import app
from app.models import Role
from app.security import issue_token
from tests.builders import a_dancer, add_battle, add_category, add_performers, add_user

DANCER = {
    "email": "lea@example.org",
    "stage_name": "Lea Loop",
    "first_name": "Lea",
    "last_name": "Martin",
    "country": "FR",
    "born_on": "2001-02-03",
}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client that talks to the application without a network."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://battle.example") as client:
        yield client


async def log_in(role: Role) -> dict[str, str]:
    """The header of a request by a user of this role."""
    async with async_session_maker() as session:
        user = await add_user(session, f"{role}@example.org", role)
        await session.commit()
    return {"Authorization": f"Bearer {issue_token(user.id)}"}


async def test_dancers_are_added_and_found(client: httpx.AsyncClient) -> None:
    added = await client.post("/dancers", json=DANCER, headers=await log_in(Role.STAFF))
    assert added.status_code == 201
    found = await client.get("/dancers", params={"search": "loop"})
    assert found.json() == [{"id": added.json()["id"], "stage_name": "Lea Loop", "country": "FR"}]
    assert (await client.get(f"/dancers/{added.json()['id']}")).json() == added.json()


async def test_strangers_and_judges_add_no_dancers(client: httpx.AsyncClient) -> None:
    assert (await client.post("/dancers", json=DANCER)).status_code == 401
    refused = await client.post("/dancers", json=DANCER, headers=await log_in(Role.JUDGE))
    assert (refused.status_code, refused.json()) == (403, {"detail": "This is for staff only."})


@pytest.mark.parametrize("wrong", [{"country": "France"}, {"born_on": "yesterday"}, {"email": "nobody"}])
async def test_malformed_dancers_are_not_added(client: httpx.AsyncClient, wrong: dict[str, str]) -> None:
    response = await client.post("/dancers", json=DANCER | wrong, headers=await log_in(Role.STAFF))
    assert response.status_code == 422


async def test_what_is_missing_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/tournaments/1")
    assert (response.status_code, response.json()) == (404, {"detail": "There is no tournament with the id 1."})


async def test_a_full_category_answers_with_the_rule(client: httpx.AsyncClient) -> None:
    async with async_session_maker() as session:
        category = await add_category(session, places=4)
        await add_performers(session, category, 4)
        late = a_dancer(5)
        session.add(late)
        await session.commit()
    response = await client.post(
        f"/categories/{category.id}/performers", json={"dancer_id": late.id}, headers=await log_in(Role.STAFF)
    )
    assert (response.status_code, response.json()["detail"]) == (400, 'All 4 places of "Breaking 1v1" are taken.')


async def test_a_performer_withdraws(client: httpx.AsyncClient) -> None:
    async with async_session_maker() as session:
        (performer,) = await add_performers(session, await add_category(session), 1)
        await session.commit()
    headers = await log_in(Role.STAFF)
    assert (await client.delete(f"/performers/{performer.id}", headers=headers)).status_code == 204
    assert (await client.delete(f"/performers/{performer.id}", headers=headers)).status_code == 404


async def test_a_judge_votes_once(client: httpx.AsyncClient) -> None:
    async with async_session_maker() as session:
        battle = await add_battle(session)
        await session.commit()
    headers = await log_in(Role.JUDGE)
    ballot = {"red": 7, "blue": 5}
    first = await client.post(f"/battles/{battle.id}/ballots", json=ballot, headers=headers)
    assert (first.status_code, first.json()["status"]) == (200, "active")
    assert (await client.post(f"/battles/{battle.id}/ballots", json=ballot, headers=headers)).status_code == 409


async def test_only_an_administrator_advances_a_tournament(client: httpx.AsyncClient) -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        await add_performers(session, category, 4)
        await session.commit()
    path = f"/tournaments/{category.tournament_id}/advance"
    assert (await client.post(path, headers=await log_in(Role.STAFF))).status_code == 403
    assert (await client.post(path, headers=await log_in(Role.ADMIN))).json()["phase"] == "pools"
    battles = (await client.get(f"/categories/{category.id}/battles")).json()
    standings = (await client.get(f"/categories/{category.id}/standings")).json()
    assert len(battles) == 2
    assert {name: len(pool) for name, pool in standings.items()} == {"A": 2, "B": 2}
