"""The HTTP endpoints, driven by FastAPI's TestClient: a synchronous test, the application in a loop of its own."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.main import app
from app.seed import PASSWORD, main


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A client of an application that has the development data."""
    assert asyncio.run(main()) == 0
    with TestClient(app) as client:
        yield client


def log_in(client: TestClient, name: str) -> dict[str, str]:
    response = client.post("/login", json={"email": f"{name}@battle.example", "password": PASSWORD})
    assert response.status_code == 200
    return {"Authorization": f"Bearer {response.json()['access_token']}"}


def test_a_login_gives_a_token_that_tells_who_is_asking(client: TestClient) -> None:
    refused = client.post("/login", json={"email": "desk@battle.example", "password": "guess"})
    assert (refused.status_code, refused.json()) == (401, {"detail": "Email or password is wrong."})
    assert client.get("/me").status_code == 401
    assert client.get("/me", headers=log_in(client, "desk")).json()["role"] == "staff"
    assert client.get("/me", headers={"Authorization": "Bearer forged"}).status_code == 401


def test_the_seeded_event_is_under_way(client: TestClient) -> None:
    (event,) = client.get("/events", params={"since": "2026-01-18"}).json()
    assert event["name"] == "Winter Jam"
    assert client.get("/events", params={"since": "2026-01-19"}).json() == []
    assert [client.get(f"/tournaments/{number}").json()["phase"] for number in (1, 2)] == ["pools", "registration"]
    leader = client.get("/categories/1/standings").json()["A"][0]
    assert (leader["victory_points"], leader["points"]) == (3, 8)


def test_a_seeded_database_is_not_seeded_again(client: TestClient) -> None:
    assert asyncio.run(main()) == 1
    assert len(client.get("/dancers").json()) == 40


def test_a_tournament_from_its_announcement_to_its_champion(client: TestClient) -> None:
    admin, desk, judge = (log_in(client, name) for name in ("admin", "desk", "judge"))

    event = {"name": "Street Day", "venue": "Market Square", "starts_on": "2026-06-01", "ends_on": "2026-06-01"}
    event_id = client.post("/events", json=event, headers=desk).json()["id"]
    announced = client.post(
        f"/events/{event_id}/tournaments", json={"name": "Open", "categories": {"House 1v1": 4}}, headers=desk
    ).json()
    category_id = announced["categories"][0]["id"]
    for dancer_id in (1, 2, 3, 4):
        path = f"/categories/{category_id}/performers"
        assert client.post(path, json={"dancer_id": dancer_id}, headers=desk).status_code == 201

    for stage in ("pool", "final"):
        client.post(f"/tournaments/{announced['id']}/advance", headers=admin)
        for battle in client.get(f"/categories/{category_id}/battles", params={"stage": stage}).json():
            client.post(f"/battles/{battle['id']}/ballots", json={"red": 6, "blue": 9}, headers=judge)
            completed = client.post(f"/battles/{battle['id']}/complete", headers=desk).json()
            assert completed["winner_id"] == battle["blue_id"]

    assert client.post(f"/tournaments/{announced['id']}/advance", headers=admin).json()["phase"] == "completed"
    champions = client.get(f"/tournaments/{announced['id']}/champions").json()
    assert champions["House 1v1"]["id"] in {1, 2, 3, 4}
