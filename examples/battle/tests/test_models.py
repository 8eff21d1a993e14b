"""What the database itself refuses, whatever the services forget to check."""

from datetime import date

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.database import async_session_maker
from app.models import Base, Battle, Category, Dancer, Event, Performer, Phase, Role, Score, Stage, Tournament, User
from tests.builders import a_dancer, add_battle, add_category, add_performers, add_user, an_event


async def refuse(session: AsyncSession, row: Base) -> None:
    session.add(row)
    with pytest.raises(IntegrityError):
        await session.flush()
    await session.rollback()


async def test_two_users_cannot_share_an_email() -> None:
    async with async_session_maker() as session:
        await add_user(session, "same@example.org")
        await refuse(session, User(email="same@example.org", password_hash="", role=Role.STAFF))


async def test_two_dancers_cannot_share_an_email() -> None:
    async with async_session_maker() as session:
        session.add(a_dancer())
        await session.flush()
        await refuse(session, a_dancer())


async def test_an_event_cannot_end_before_it_starts() -> None:
    async with async_session_maker() as session:
        event = an_event()
        event.ends_on = date(2026, 7, 3)
        await refuse(session, event)


async def test_a_category_has_places_for_two_pools() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        await refuse(session, Category(tournament_id=category.tournament_id, name="Locking 1v1", places=3))


async def test_a_dancer_enters_a_category_once() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        (performer,) = await add_performers(session, category, 1)
        await refuse(session, Performer(category_id=category.id, dancer_id=performer.dancer_id))


async def test_nobody_battles_alone() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        (only,) = await add_performers(session, category, 1)
        await refuse(session, Battle(category_id=category.id, stage=Stage.FINAL, red_id=only.id, blue_id=only.id))


async def test_a_winner_took_part() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        red, blue, other = await add_performers(session, category, 3)
        battle = Battle(category_id=category.id, stage=Stage.FINAL, red_id=red.id, blue_id=blue.id)
        battle.winner_id = other.id
        await refuse(session, battle)


@pytest.mark.parametrize("points", [-1, 11])
async def test_points_stay_in_their_range(points: int) -> None:
    async with async_session_maker() as session:
        judge = await add_user(session)
        battle = await add_battle(session)
        await refuse(session, Score(battle_id=battle.id, judge_id=judge.id, performer_id=battle.red_id, points=points))


async def test_foreign_keys_are_enforced() -> None:
    async with async_session_maker() as session:
        await refuse(session, Performer(category_id=404, dancer_id=404))


async def test_a_phase_is_stored_as_its_value() -> None:
    async with async_session_maker() as session:
        await add_category(session)
        assert await session.scalar(text("SELECT phase FROM tournaments")) == "registration"
        assert (await session.scalars(select(Tournament))).one().phase is Phase.REGISTRATION


async def test_an_event_takes_everything_below_it_along() -> None:
    async with async_session_maker() as session:
        battle = await add_battle(session)
        judge = await add_user(session)
        session.add(Score(battle_id=battle.id, judge_id=judge.id, performer_id=battle.red_id, points=5))
        await session.commit()
        await session.delete((await session.scalars(select(Event))).one())
        await session.commit()
        for table in (Tournament, Category, Performer, Battle, Score):
            assert await session.scalar(select(func.count()).select_from(table)) == 0, table
        assert await session.scalar(select(func.count()).select_from(Dancer)) == 2


async def test_a_dancer_who_performs_cannot_be_deleted() -> None:
    async with async_session_maker() as session:
        (performer,) = await add_performers(session, await add_category(session), 1)
        await session.commit()
        await session.delete(await session.get_one(Dancer, performer.dancer_id))
        with pytest.raises(IntegrityError):
            await session.commit()
