"""Drawing the pools, and who leads them."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import RuleError
from app.models import Battle, BattleStatus, Performer, Pool, Stage
from app.repositories import PerformerRepository, PoolRepository

POOL_NAMES = ("A", "B")
FEWEST_IN_POOL = 2
VICTORY_POINTS = 3
DRAW_POINTS = 1

shuffle_fairly = secrets.SystemRandom().shuffle


@dataclass(frozen=True)
class Standing:
    """Where a performer stands in a pool."""

    performer: Performer
    victory_points: int
    points: int


class PoolService:
    """Draws pools; how the performers are shuffled can be chosen, so that a test need not be lucky."""

    def __init__(self, session: AsyncSession, shuffle: Callable[[list[Performer]], None] = shuffle_fairly) -> None:
        self.session = session
        self.shuffle = shuffle
        self.performers = PerformerRepository(session)
        self.pools = PoolRepository(session)

    async def draw(self, category_id: int) -> list[Pool]:
        """Deal the performers of a category out to its pools, and let all in a pool meet each other.

        It does not commit: a tournament draws the pools of all its categories or none.
        """
        performers = list(await self.performers.list_of_category(category_id))
        if len(performers) < FEWEST_IN_POOL * len(POOL_NAMES):
            raise RuleError(f"{len(performers)} performers cannot fill {len(POOL_NAMES)} pools.")
        self.shuffle(performers)
        pools = []
        for start, name in enumerate(POOL_NAMES):
            pool = await self.pools.add(Pool(category_id=category_id, name=name))
            dealt = performers[start :: len(POOL_NAMES)]
            for performer in dealt:
                performer.pool_id = pool.id
            self.session.add_all(
                Battle(category_id=category_id, pool_id=pool.id, stage=Stage.POOL, red_id=red.id, blue_id=blue.id)
                for red, blue in combinations(dealt, 2)
            )
            pools.append(pool)
        await self.session.flush()
        return pools

    async def list_standings(self, category_id: int) -> dict[str, list[Standing]]:
        """Return the standings of every pool of a category, the best performer first."""
        return {pool.name: rank(pool) for pool in await self.pools.list_of_category(category_id)}


def rank(pool: Pool) -> list[Standing]:
    """Order the performers of a pool by victories, then by points given, then by who registered first."""
    standings = [_stand(performer, pool.battles) for performer in pool.performers]
    return sorted(standings, key=lambda each: (-each.victory_points, -each.points, each.performer.id))


def _stand(performer: Performer, battles: list[Battle]) -> Standing:
    own = [
        battle
        for battle in battles
        if battle.status is BattleStatus.COMPLETED and performer.id in (battle.red_id, battle.blue_id)
    ]
    won = sum(battle.winner_id == performer.id for battle in own)
    drawn = sum(battle.winner_id is None for battle in own)
    points = sum(score.points for battle in own for score in battle.scores if score.performer_id == performer.id)
    return Standing(performer, VICTORY_POINTS * won + DRAW_POINTS * drawn, points)
