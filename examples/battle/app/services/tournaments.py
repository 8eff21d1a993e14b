"""A tournament's way from registration to its champions."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ConflictError, RuleError
from app.models import Battle, BattleStatus, Category, Dancer, Performer, Phase, Stage, Tournament
from app.repositories import BattleRepository, DancerRepository, EventRepository, PoolRepository, TournamentRepository
from app.services.pools import PoolService, rank

NEXT_PHASE = {
    Phase.REGISTRATION: Phase.POOLS,
    Phase.POOLS: Phase.FINALS,
    Phase.FINALS: Phase.COMPLETED,
}


class TournamentService:
    def __init__(self, session: AsyncSession, pool_service: PoolService | None = None) -> None:
        self.session = session
        self.pool_service = pool_service or PoolService(session)
        self.battles = BattleRepository(session)
        self.dancers = DancerRepository(session)
        self.events = EventRepository(session)
        self.pools = PoolRepository(session)
        self.tournaments = TournamentRepository(session)

    async def announce(self, event_id: int, name: str, categories: Mapping[str, int]) -> Tournament:
        """Open the registration for a tournament whose categories have so many places each."""
        if not categories:
            raise RuleError("A tournament has at least one category.")
        event = await self.events.get(event_id)
        if await self.tournaments.find_by_name(event_id, name):
            raise ConflictError(f'"{event.name}" has a tournament named "{name}" already.')
        tournament = await self.tournaments.add(
            Tournament(
                event_id=event_id,
                name=name,
                categories=[Category(name=category, places=places) for category, places in categories.items()],
            )
        )
        await self.session.commit()
        return tournament

    async def advance(self, tournament_id: int) -> Tournament:
        """Take a tournament into its next phase, and prepare the battles of that phase."""
        tournament = await self.tournaments.get_whole(tournament_id)
        if tournament.phase not in NEXT_PHASE:
            raise RuleError(f'"{tournament.name}" is completed.')
        for category in tournament.categories:
            await self._leave_phase(tournament.phase, category)
        tournament.phase = NEXT_PHASE[tournament.phase]
        await self.session.commit()
        return tournament

    async def list_champions(self, tournament_id: int) -> dict[str, Dancer]:
        """Return the dancer who won each category."""
        tournament = await self.tournaments.get_whole(tournament_id)
        if tournament.phase is not Phase.COMPLETED:
            raise RuleError(f'"{tournament.name}" is not completed.')
        return {category.name: await self.dancers.get_champion(category.id) for category in tournament.categories}

    async def _leave_phase(self, phase: Phase, category: Category) -> None:
        _require_completed(category)
        match phase:
            case Phase.REGISTRATION:
                await self.pool_service.draw(category.id)
            case Phase.POOLS:
                red, blue = await self._pool_winners(category.id)
                await self.battles.add(
                    Battle(category_id=category.id, stage=Stage.FINAL, red_id=red.id, blue_id=blue.id)
                )

    async def _pool_winners(self, category_id: int) -> list[Performer]:
        return [rank(pool)[0].performer for pool in await self.pools.list_of_category(category_id)]


def _require_completed(category: Category) -> None:
    waiting = [battle for battle in category.battles if battle.status is not BattleStatus.COMPLETED]
    if waiting:
        raise RuleError(f'{len(waiting)} battles of "{category.name}" are not completed.')
