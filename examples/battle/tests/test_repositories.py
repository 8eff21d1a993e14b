"""Finding rows."""

from datetime import date

import pytest

from app.db.database import async_session_maker
from app.errors import NotFoundError
from app.models import Stage
from app.repositories import (
    BattleRepository,
    DancerRepository,
    EventRepository,
    PerformerRepository,
    TournamentRepository,
    UserRepository,
)
from tests.builders import a_dancer, add_battle, add_category, add_performers, add_user, an_event


async def test_a_row_is_found_by_its_id() -> None:
    async with async_session_maker() as session:
        dancer = await DancerRepository(session).add(a_dancer())
        assert await DancerRepository(session).get(dancer.id) is dancer


async def test_a_missing_row_is_an_error_that_names_it() -> None:
    async with async_session_maker() as session:
        with pytest.raises(NotFoundError, match="no dancer with the id 7"):
            await DancerRepository(session).get(7)


async def test_rows_are_counted() -> None:
    async with async_session_maker() as session:
        dancers = DancerRepository(session)
        assert await dancers.count() == 0
        for number in range(1, 4):
            await dancers.add(a_dancer(number))
        assert await dancers.count() == 3


async def test_users_are_found_whatever_the_case_of_their_email() -> None:
    async with async_session_maker() as session:
        user = await add_user(session, "ana@example.org")
        assert await UserRepository(session).find_by_email("Ana@Example.org") is user


@pytest.mark.parametrize(("text", "found"), [("dancer 2", [2]), ("KIM", [1, 2, 3]), ("%", [])])
async def test_dancers_are_found_by_a_part_of_any_name(text: str, found: list[int]) -> None:
    async with async_session_maker() as session:
        session.add_all([a_dancer(number) for number in (3, 1, 2)])
        await session.flush()
        dancers = await DancerRepository(session).search(text)
        assert [dancer.stage_name for dancer in dancers] == [f"Dancer {number}" for number in found]


async def test_events_that_are_over_are_not_listed() -> None:
    async with async_session_maker() as session:
        events = EventRepository(session)
        event = await events.add(an_event())
        assert list(await events.list_from(date(2026, 7, 5))) == [event]
        assert list(await events.list_from(date(2026, 7, 6))) == []


async def test_a_whole_tournament_is_read_at_once() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        await add_performers(session, category, 4)
        await session.commit()
    async with async_session_maker() as session:
        tournament = await TournamentRepository(session).get_whole(category.tournament_id)
    assert [len(each.performers) for each in tournament.categories] == [4]


async def test_a_dancer_is_found_in_any_category_of_a_tournament() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        (performer,) = await add_performers(session, category, 1)
        performers = PerformerRepository(session)
        assert await performers.find_in_tournament(category.tournament_id, performer.dancer_id) is performer
        assert await performers.find_in_tournament(category.tournament_id + 1, performer.dancer_id) is None


async def test_battles_are_listed_by_stage() -> None:
    async with async_session_maker() as session:
        battle = await add_battle(session, Stage.FINAL)
        battles = BattleRepository(session)
        assert list(await battles.list_of_category(battle.category_id, Stage.FINAL)) == [battle]
        assert list(await battles.list_of_category(battle.category_id, Stage.POOL)) == []
