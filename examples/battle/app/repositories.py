"""How rows are found. A repository never commits: when a change is whole is the service's decision."""

from collections.abc import Sequence
from datetime import date
from typing import Generic, TypeVar

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from app.errors import NotFoundError
from app.models import Base, Battle, Category, Dancer, Event, Performer, Pool, Stage, Tournament, User

Row = TypeVar("Row", bound=Base)


class Repository(Generic[Row]):
    """What every table offers."""

    model: type[Row]

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def get(self, row_id: int) -> Row:
        """Return the row of this id, or raise ``NotFoundError``."""
        row = await self.session.get(self.model, row_id)
        if row is None:
            raise NotFoundError(f"There is no {self.model.__name__.lower()} with the id {row_id}.")
        return row

    async def add(self, row: Row) -> Row:
        """Add a row and give it its id."""
        self.session.add(row)
        await self.session.flush()
        return row

    async def delete(self, row: Row) -> None:
        await self.session.delete(row)
        await self.session.flush()

    async def count(self) -> int:
        return await self.session.scalar(select(func.count()).select_from(self.model)) or 0


class UserRepository(Repository[User]):
    model = User

    async def find_by_email(self, email: str) -> User | None:
        return await self.session.scalar(select(User).where(User.email == email.lower()))


class DancerRepository(Repository[Dancer]):
    model = Dancer

    async def find_by_email(self, email: str) -> Dancer | None:
        return await self.session.scalar(select(Dancer).where(Dancer.email == email.lower()))

    async def search(self, text: str, *, limit: int = 50) -> Sequence[Dancer]:
        """Return the dancers one of whose names holds this text, by stage name."""
        matches = [
            column.icontains(text, autoescape=True)
            for column in (Dancer.stage_name, Dancer.first_name, Dancer.last_name)
        ]
        query = select(Dancer).where(or_(*matches)).order_by(Dancer.stage_name, Dancer.id).limit(limit)
        return (await self.session.scalars(query)).all()

    async def get_champion(self, category_id: int) -> Dancer:
        """Return the dancer who won the final of a category."""
        query = (
            select(Dancer)
            .join(Performer, Performer.dancer_id == Dancer.id)
            .join(Battle, Battle.winner_id == Performer.id)
            .where(Battle.category_id == category_id, Battle.stage == Stage.FINAL)
        )
        champion = await self.session.scalar(query)
        if champion is None:
            raise NotFoundError(f"The category with the id {category_id} has no champion yet.")
        return champion


class EventRepository(Repository[Event]):
    model = Event

    async def find_by_name(self, name: str) -> Event | None:
        return await self.session.scalar(select(Event).where(Event.name == name))

    async def list_from(self, day: date) -> Sequence[Event]:
        """Return the events that are not over on this day, the earliest first."""
        query = select(Event).where(Event.ends_on >= day).order_by(Event.starts_on, Event.id)
        return (await self.session.scalars(query)).all()


class TournamentRepository(Repository[Tournament]):
    model = Tournament

    async def find_by_name(self, event_id: int, name: str) -> Tournament | None:
        return await self.session.scalar(
            select(Tournament).where(Tournament.event_id == event_id, Tournament.name == name)
        )

    async def get_whole(self, tournament_id: int) -> Tournament:
        """Return a tournament with its categories, and their performers and battles, loaded."""
        query = (
            select(Tournament)
            .where(Tournament.id == tournament_id)
            .options(
                selectinload(Tournament.categories).selectinload(Category.performers),
                selectinload(Tournament.categories).selectinload(Category.battles),
            )
            .execution_options(populate_existing=True)
        )
        tournament = await self.session.scalar(query)
        if tournament is None:
            raise NotFoundError(f"There is no tournament with the id {tournament_id}.")
        return tournament


class CategoryRepository(Repository[Category]):
    model = Category


class PerformerRepository(Repository[Performer]):
    model = Performer

    async def list_of_category(self, category_id: int) -> Sequence[Performer]:
        query = select(Performer).where(Performer.category_id == category_id).order_by(Performer.id)
        return (await self.session.scalars(query)).all()

    async def find_in_tournament(self, tournament_id: int, dancer_id: int) -> Performer | None:
        """Return the performer that this dancer already is in any category of the tournament."""
        query = (
            select(Performer)
            .join(Performer.category)
            .where(Category.tournament_id == tournament_id, Performer.dancer_id == dancer_id)
        )
        return await self.session.scalar(query)


class PoolRepository(Repository[Pool]):
    model = Pool

    async def list_of_category(self, category_id: int) -> Sequence[Pool]:
        """Return the pools with performers, dancers, battles and scores loaded."""
        query = (
            select(Pool)
            .where(Pool.category_id == category_id)
            .order_by(Pool.name)
            .options(
                selectinload(Pool.performers).selectinload(Performer.dancer),
                selectinload(Pool.battles).selectinload(Battle.scores),
            )
            .execution_options(populate_existing=True)
        )
        return (await self.session.scalars(query)).all()


class BattleRepository(Repository[Battle]):
    model = Battle

    async def get_with_scores(self, battle_id: int) -> Battle:
        query = select(Battle).where(Battle.id == battle_id).options(selectinload(Battle.scores))
        battle = await self.session.scalar(query.execution_options(populate_existing=True))
        if battle is None:
            raise NotFoundError(f"There is no battle with the id {battle_id}.")
        return battle

    async def list_of_category(self, category_id: int, stage: Stage) -> Sequence[Battle]:
        query = select(Battle).where(Battle.category_id == category_id, Battle.stage == stage).order_by(Battle.id)
        return (await self.session.scalars(query)).all()
