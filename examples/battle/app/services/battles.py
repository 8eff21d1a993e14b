"""Judging battles."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ConflictError, NotAllowedError, RuleError
from app.models import MOST_POINTS, Battle, BattleStatus, Role, Score, Stage, User
from app.repositories import BattleRepository


class BattleService:
    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.battles = BattleRepository(session)

    async def judge(self, battle_id: int, judge: User, *, red: int, blue: int) -> Battle:
        """Record the points that one judge gives to both performers; the first ballot opens the battle."""
        if judge.role is not Role.JUDGE:
            raise NotAllowedError("Only judges give points.")
        if not all(0 <= points <= MOST_POINTS for points in (red, blue)):
            raise RuleError(f"A judge gives between 0 and {MOST_POINTS} points.")
        battle = await self.battles.get_with_scores(battle_id)
        if battle.status is BattleStatus.COMPLETED:
            raise RuleError("The battle is over.")
        if any(score.judge_id == judge.id for score in battle.scores):
            raise ConflictError("A judge votes once in a battle.")
        battle.scores += [
            Score(judge_id=judge.id, performer_id=battle.red_id, points=red),
            Score(judge_id=judge.id, performer_id=battle.blue_id, points=blue),
        ]
        battle.status = BattleStatus.ACTIVE
        await self.session.commit()
        return battle

    async def complete(self, battle_id: int) -> Battle:
        """Close a battle; whoever got more points won. A pool battle may be a draw, a final may not."""
        battle = await self.battles.get_with_scores(battle_id)
        if battle.status is not BattleStatus.ACTIVE:
            raise RuleError(f"A {battle.status} battle cannot be completed.")
        winner_id = winner_of(battle)
        if winner_id is None and battle.stage is Stage.FINAL:
            raise RuleError("A final needs a winner: let one more judge vote.")
        battle.winner_id = winner_id
        battle.status = BattleStatus.COMPLETED
        await self.session.commit()
        return battle


def winner_of(battle: Battle) -> int | None:
    """Return the performer with more points over all judges, or None for a draw."""
    red = sum(score.points for score in battle.scores if score.performer_id == battle.red_id)
    blue = sum(score.points for score in battle.scores if score.performer_id == battle.blue_id)
    if red == blue:
        return None
    return battle.red_id if red > blue else battle.blue_id
