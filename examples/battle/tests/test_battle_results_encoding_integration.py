"""From ballots to a winner, and from winners to standings."""

import pytest
from sqlalchemy import select

from app.db.database import async_session_maker
from app.errors import ConflictError, NotAllowedError, RuleError
from app.models import Battle, BattleStatus, Pool, Role, Score, Stage
from app.services.battles import BattleService
from app.services.pools import PoolService
from tests.builders import add_battle, add_category, add_performers, add_user


async def test_a_ballot_is_stored_as_two_scores() -> None:
    async with async_session_maker() as session:
        judge = await add_user(session)
        battle = await add_battle(session)
        await BattleService(session).judge(battle.id, judge, red=7, blue=0)
    async with async_session_maker() as session:
        scores = (await session.scalars(select(Score).order_by(Score.id))).all()
        assert [(score.judge_id, score.performer_id, score.points) for score in scores] == [
            (judge.id, battle.red_id, 7),
            (judge.id, battle.blue_id, 0),
        ]


@pytest.mark.parametrize(
    ("ballots", "winner"),
    [
        pytest.param([(9, 3)], "red", id="one judge decides"),
        pytest.param([(9, 3), (2, 10)], "blue", id="points count, not judges"),
        pytest.param([(5, 6), (6, 5)], None, id="equal points are a draw"),
        pytest.param([(0, 0)], None, id="no points at all are a draw"),
    ],
)
async def test_more_points_win(ballots: list[tuple[int, int]], winner: str | None) -> None:
    async with async_session_maker() as session:
        service = BattleService(session)
        battle = await add_battle(session)
        for number, (red, blue) in enumerate(ballots):
            judge = await add_user(session, f"judge{number}@example.org")
            await service.judge(battle.id, judge, red=red, blue=blue)
        battle = await service.complete(battle.id)
        assert battle.status is BattleStatus.COMPLETED
        assert battle.winner_id == {"red": battle.red_id, "blue": battle.blue_id, None: None}[winner]


async def test_a_final_is_no_draw() -> None:
    async with async_session_maker() as session:
        service = BattleService(session)
        battle = await add_battle(session, Stage.FINAL)
        await service.judge(battle.id, await add_user(session), red=5, blue=5)
        with pytest.raises(RuleError, match="one more judge"):
            await service.complete(battle.id)
        await service.judge(battle.id, await add_user(session, "second@example.org"), red=5, blue=6)
        assert (await service.complete(battle.id)).winner_id == battle.blue_id


async def test_a_judge_votes_once() -> None:
    async with async_session_maker() as session:
        judge = await add_user(session)
        battle = await add_battle(session)
        await BattleService(session).judge(battle.id, judge, red=7, blue=6)
        with pytest.raises(ConflictError):
            await BattleService(session).judge(battle.id, judge, red=0, blue=10)


async def test_only_judges_vote() -> None:
    async with async_session_maker() as session:
        battle = await add_battle(session)
        for role in (Role.ADMIN, Role.STAFF):
            user = await add_user(session, f"{role}@example.org", role)
            with pytest.raises(NotAllowedError):
                await BattleService(session).judge(battle.id, user, red=1, blue=2)


async def test_points_out_of_range_are_refused() -> None:
    async with async_session_maker() as session:
        battle = await add_battle(session)
        with pytest.raises(RuleError, match="between 0 and 10"):
            await BattleService(session).judge(battle.id, await add_user(session), red=11, blue=1)


async def test_a_battle_is_completed_once_and_not_before_a_vote() -> None:
    async with async_session_maker() as session:
        service = BattleService(session)
        battle = await add_battle(session)
        with pytest.raises(RuleError, match="pending"):
            await service.complete(battle.id)
        await service.judge(battle.id, await add_user(session), red=2, blue=1)
        await service.complete(battle.id)
        with pytest.raises(RuleError, match="completed"):
            await service.complete(battle.id)
        with pytest.raises(RuleError, match="over"):
            await service.judge(battle.id, await add_user(session, "late@example.org"), red=1, blue=2)


async def test_a_victory_counts_in_the_standings() -> None:
    async with async_session_maker() as session:
        service = BattleService(session)
        battle = await add_battle(session)
        await service.judge(battle.id, await add_user(session), red=3, blue=8)
        await service.complete(battle.id)
        standings = await PoolService(session).list_standings(battle.category_id)
        assert [(each.performer.id, each.victory_points, each.points) for each in standings["A"]] == [
            (battle.blue_id, 3, 8),
            (battle.red_id, 0, 3),
        ]


async def test_a_draw_counts_for_both() -> None:
    async with async_session_maker() as session:
        service = BattleService(session)
        battle = await add_battle(session)
        await service.judge(battle.id, await add_user(session), red=6, blue=6)
        await service.complete(battle.id)
        standings = await PoolService(session).list_standings(battle.category_id)
        assert [(each.performer.id, each.victory_points, each.points) for each in standings["A"]] == [
            (battle.red_id, 1, 6),
            (battle.blue_id, 1, 6),
        ]


async def test_a_circle_of_victories_is_decided_by_points_and_then_by_registration() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        first, second, third = await add_performers(session, category, 3)
        judge = await add_user(session)
        pool = Pool(category_id=category.id, name="A", performers=[first, second, third])
        for red, blue, points in ((first, second, (6, 0)), (second, third, (7, 0)), (third, first, (9, 1))):
            battle = Battle(category_id=category.id, pool=pool, stage=Stage.POOL, red=red, blue=blue)
            session.add(battle)
            await session.flush()
            await BattleService(session).judge(battle.id, judge, red=points[0], blue=points[1])
            await BattleService(session).complete(battle.id)
        standings = await PoolService(session).list_standings(category.id)
        assert [(each.performer, each.points) for each in standings["A"]] == [(third, 9), (first, 7), (second, 7)]
