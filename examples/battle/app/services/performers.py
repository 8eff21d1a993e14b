"""Dancers entering categories, and leaving them."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ConflictError, RuleError
from app.models import Performer, Phase
from app.repositories import CategoryRepository, DancerRepository, PerformerRepository, TournamentRepository


class PerformerService:
    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.categories = CategoryRepository(session)
        self.dancers = DancerRepository(session)
        self.performers = PerformerRepository(session)
        self.tournaments = TournamentRepository(session)

    async def register(self, *, category_id: int, dancer_id: int) -> Performer:
        """Enter a dancer into a category. In one tournament, a dancer enters one category."""
        category = await self.categories.get(category_id)
        dancer = await self.dancers.get(dancer_id)
        await self._require_open_registration(category.tournament_id)
        if await self.performers.find_in_tournament(category.tournament_id, dancer_id):
            raise ConflictError(f"{dancer.stage_name} is registered in this tournament already.")
        if len(await self.performers.list_of_category(category_id)) >= category.places:
            raise RuleError(f'All {category.places} places of "{category.name}" are taken.')
        performer = await self.performers.add(Performer(category_id=category_id, dancer_id=dancer_id))
        await self.session.commit()
        return performer

    async def withdraw(self, performer_id: int) -> None:
        """Take a performer out of a category, as long as registration is open."""
        performer = await self.performers.get(performer_id)
        category = await self.categories.get(performer.category_id)
        await self._require_open_registration(category.tournament_id)
        await self.performers.delete(performer)
        await self.session.commit()

    async def _require_open_registration(self, tournament_id: int) -> None:
        tournament = await self.tournaments.get(tournament_id)
        if tournament.phase is not Phase.REGISTRATION:
            raise RuleError(f'Registration for "{tournament.name}" is closed.')
