"""From registration to the champions."""

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.database import async_session_maker
from app.errors import ConflictError, NotFoundError, RuleError
from app.models import Category, Phase, Stage, User
from app.repositories import BattleRepository, EventRepository, PoolRepository
from app.services.battles import BattleService
from app.services.pools import PoolService
from app.services.tournaments import TournamentService
from tests.builders import add_category, add_performers, add_user, an_event


def open_service(session: AsyncSession) -> TournamentService:
    """A service that draws pools without luck: 1, 3, 5 ... into A and 2, 4, 6 ... into B."""
    return TournamentService(session, PoolService(session, shuffle=lambda _performers: None))


async def let_red_win(session: AsyncSession, category: Category, stage: Stage, judge: User) -> None:
    for battle in await BattleRepository(session).list_of_category(category.id, stage):
        await BattleService(session).judge(battle.id, judge, red=9, blue=4)
        await BattleService(session).complete(battle.id)


async def test_a_tournament_is_announced() -> None:
    async with async_session_maker() as session:
        event = await EventRepository(session).add(an_event())
        tournament = await open_service(session).announce(event.id, "Solo", {"Breaking 1v1": 16, "Popping 1v1": 8})
        assert tournament.phase is Phase.REGISTRATION
        assert [(each.name, each.places) for each in tournament.categories] == [
            ("Breaking 1v1", 16),
            ("Popping 1v1", 8),
        ]
        with pytest.raises(ConflictError, match='"Summer Jam" has a tournament named "Solo"'):
            await open_service(session).announce(event.id, "Solo", {"Locking 1v1": 8})


async def test_a_tournament_needs_an_event_and_a_category() -> None:
    async with async_session_maker() as session:
        with pytest.raises(RuleError, match="at least one category"):
            await open_service(session).announce(1, "Solo", {})
        with pytest.raises(NotFoundError, match="event"):
            await open_service(session).announce(1, "Solo", {"Breaking 1v1": 8})


async def test_pools_are_dealt_out_evenly() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        performers = await add_performers(session, category, 7)
        await open_service(session).advance(category.tournament_id)
        pools = await PoolRepository(session).list_of_category(category.id)
        assert {pool.name: pool.performers for pool in pools} == {"A": performers[::2], "B": performers[1::2]}


async def test_in_a_pool_all_meet_each_other_once() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        await add_performers(session, category, 7)
        await open_service(session).advance(category.tournament_id)
        battles = await BattleRepository(session).list_of_category(category.id, Stage.POOL)
        pairs = {frozenset((battle.red_id, battle.blue_id)) for battle in battles}
        assert len(battles) == len(pairs) == 6 + 3


async def test_three_performers_are_too_few() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        await add_performers(session, category, 3)
        await session.commit()
        with pytest.raises(RuleError, match="3 performers cannot fill 2 pools"):
            await open_service(session).advance(category.tournament_id)
    async with async_session_maker() as session:
        assert await PoolRepository(session).count() == 0


async def test_open_battles_keep_a_phase_open() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        await add_performers(session, category, 4)
        service = open_service(session)
        await service.advance(category.tournament_id)
        with pytest.raises(RuleError, match='2 battles of "Breaking 1v1" are not completed'):
            await service.advance(category.tournament_id)


async def test_a_tournament_finds_its_champion() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        performers = await add_performers(session, category, 6)
        judge = await add_user(session)
        service = open_service(session)
        await service.advance(category.tournament_id)
        await let_red_win(session, category, Stage.POOL, judge)
        await service.advance(category.tournament_id)
        (final,) = await BattleRepository(session).list_of_category(category.id, Stage.FINAL)
        assert (final.red_id, final.blue_id) == (performers[0].id, performers[1].id)
        with pytest.raises(RuleError, match="not completed"):
            await service.list_champions(category.tournament_id)
        await let_red_win(session, category, Stage.FINAL, judge)
        tournament = await service.advance(category.tournament_id)
        assert tournament.phase is Phase.COMPLETED
        champions = await service.list_champions(tournament.id)
        assert {name: dancer.stage_name for name, dancer in champions.items()} == {"Breaking 1v1": "Dancer 1"}
        with pytest.raises(RuleError, match="is completed"):
            await service.advance(tournament.id)
