"""Entering categories."""

import pytest

from app.db.database import async_session_maker
from app.errors import ConflictError, NotFoundError, RuleError
from app.models import Category, Phase, Tournament
from app.repositories import DancerRepository, PerformerRepository
from app.services.performers import PerformerService
from tests.builders import a_dancer, add_category, add_performers


async def test_a_dancer_becomes_a_performer() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        dancer = await DancerRepository(session).add(a_dancer())
        await PerformerService(session).register(category_id=category.id, dancer_id=dancer.id)
    async with async_session_maker() as session:
        (performer,) = await PerformerRepository(session).list_of_category(category.id)
        assert (performer.dancer_id, performer.pool_id) == (dancer.id, None)


async def test_a_dancer_enters_one_category_of_a_tournament() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        other = Category(tournament_id=category.tournament_id, name="Popping 1v1")
        session.add(other)
        (performer,) = await add_performers(session, category, 1)
        with pytest.raises(ConflictError, match="Dancer 1"):
            await PerformerService(session).register(category_id=other.id, dancer_id=performer.dancer_id)


async def test_a_dancer_enters_several_tournaments() -> None:
    async with async_session_maker() as session:
        (performer,) = await add_performers(session, await add_category(session), 1)
        other = await add_category(session, event="Another Jam")
        again = await PerformerService(session).register(category_id=other.id, dancer_id=performer.dancer_id)
        assert again.id != performer.id


async def test_a_full_category_takes_nobody_else() -> None:
    async with async_session_maker() as session:
        category = await add_category(session, places=4)
        await add_performers(session, category, 4)
        late = await DancerRepository(session).add(a_dancer(5))
        with pytest.raises(RuleError, match="All 4 places"):
            await PerformerService(session).register(category_id=category.id, dancer_id=late.id)


async def test_a_performer_can_withdraw() -> None:
    async with async_session_maker() as session:
        (performer,) = await add_performers(session, await add_category(session), 1)
        await PerformerService(session).withdraw(performer.id)
        assert await PerformerRepository(session).count() == 0
        assert await DancerRepository(session).count() == 1


async def test_registration_closes_with_its_phase() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        (performer,) = await add_performers(session, category, 1)
        (await session.get_one(Tournament, category.tournament_id)).phase = Phase.POOLS
        with pytest.raises(RuleError, match="closed"):
            await PerformerService(session).withdraw(performer.id)


async def test_nobody_enters_what_does_not_exist() -> None:
    async with async_session_maker() as session:
        with pytest.raises(NotFoundError, match="category"):
            await PerformerService(session).register(category_id=1, dancer_id=1)
