"""Rows that tests need, with everything that does not matter filled in. Nothing here commits."""

from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Battle, Category, Dancer, Event, Performer, Pool, Role, Stage, Tournament, User
from app.security import hash_password

PASSWORD = "a password for tests"  # noqa: S105  # of users that live as long as a test
PASSWORD_HASH = hash_password(PASSWORD)  # once: hashing is slow by design


async def add_user(session: AsyncSession, email: str = "judge@example.org", role: Role = Role.JUDGE) -> User:
    user = User(email=email, password_hash=PASSWORD_HASH, role=role)
    session.add(user)
    await session.flush()
    return user


def a_dancer(number: int = 1) -> Dancer:
    return Dancer(
        email=f"dancer{number}@example.org",
        stage_name=f"Dancer {number}",
        first_name="Kim",
        last_name=f"Number {number}",
        country="FR",
        born_on=date(2000, 1, number),
    )


def an_event(name: str = "Summer Jam") -> Event:
    return Event(name=name, venue="Town Hall", starts_on=date(2026, 7, 4), ends_on=date(2026, 7, 5))


async def add_category(session: AsyncSession, *, places: int = 8, event: str = "Summer Jam") -> Category:
    """Add a category, with the tournament and the event around it."""
    category = Category(name="Breaking 1v1", places=places)
    session.add(Tournament(name="Solo", event=an_event(event), categories=[category]))
    await session.flush()
    return category


async def add_performers(session: AsyncSession, category: Category, count: int) -> list[Performer]:
    """Register the dancers 1 to ``count``."""
    performers = [Performer(category_id=category.id, dancer=a_dancer(number)) for number in range(1, count + 1)]
    session.add_all(performers)
    await session.flush()
    return performers


async def add_battle(session: AsyncSession, stage: Stage = Stage.POOL) -> Battle:
    """Add a battle between the only two performers of a category."""
    category = await add_category(session)
    red, blue = await add_performers(session, category, 2)
    pool = Pool(category_id=category.id, name="A", performers=[red, blue]) if stage is Stage.POOL else None
    battle = Battle(category_id=category.id, pool=pool, stage=stage, red_id=red.id, blue_id=blue.id)
    session.add(battle)
    await session.flush()
    return battle
