"""Fill an empty development database: ``python -m app.seed``.

It writes 3 users, 40 dancers, and an event with 2 tournaments, one of which is under way.
"""

import asyncio
import sys
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import count, islice, product

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.database import async_session_maker, engine, init_db
from app.models import Category, Dancer, Performer, Role, Stage
from app.repositories import BattleRepository, UserRepository
from app.services.accounts import AccountService
from app.services.battles import BattleService
from app.services.events import EventService
from app.services.tournaments import TournamentService

PASSWORD = "correct horse battery"  # noqa: S105  # for development only
USERS = {
    "admin@battle.example": Role.ADMIN,
    "desk@battle.example": Role.STAFF,
    "judge@battle.example": Role.JUDGE,
}
FIRST_NAMES = ("Ana", "Bo", "Chiara", "Dario", "Emi", "Fatou", "Gus", "Hana")
STYLES = {"Breeze": "BR", "Cobra": "FR", "Flip": "JP", "Groove": "SN", "Spin": "US"}


async def main() -> int:
    """Seed the database, unless there is something in it."""
    await init_db()
    async with async_session_maker() as session:
        if await UserRepository(session).count():
            print("The database is not empty: nothing was changed.")  # noqa: T201  # a command talks to its user
            return 1
        await seed(session)
    await engine.dispose()
    print(f"Seeded. Log in as {', '.join(USERS)}; the password is: {PASSWORD}")  # noqa: T201  # the same
    return 0


async def seed(session: AsyncSession) -> None:
    """Write the development data."""
    *_, judge = [await AccountService(session).open_account(email, PASSWORD, role) for email, role in USERS.items()]
    event = await EventService(session).plan(
        name="Winter Jam", venue="Old Power Station", starts_on=date(2026, 1, 17), ends_on=date(2026, 1, 18)
    )
    tournaments = TournamentService(session)
    solo = await tournaments.announce(event.id, "Solo", {"Breaking 1v1": 16, "Popping 1v1": 8})
    youth = await tournaments.announce(event.id, "Youth", {"Breaking 1v1": 16})
    session.add_all(fill([*solo.categories, *youth.categories], make_dancers()))
    await tournaments.advance(solo.id)
    opening, *_ = await BattleRepository(session).list_of_category(solo.categories[0].id, Stage.POOL)
    await BattleService(session).judge(opening.id, judge, red=8, blue=7)
    await BattleService(session).complete(opening.id)


def make_dancers() -> Iterator[Dancer]:
    """Make one dancer for each first name and style."""
    for (first, (style, country)), weeks in zip(product(FIRST_NAMES, STYLES.items()), count(step=14)):
        yield Dancer(
            email=f"{first}.{style}@battle.example".lower(),
            stage_name=f"{first} {style}",
            first_name=first,
            last_name=style,
            country=country,
            born_on=date(1998, 3, 1) + timedelta(weeks=weeks),
        )


def fill(categories: Iterable[Category], dancers: Iterator[Dancer]) -> Iterator[Performer]:
    """Enter dancers into one category after the other, until all places are taken."""
    for category in categories:
        for dancer in islice(dancers, category.places):
            yield Performer(category_id=category.id, dancer=dancer)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
