"""Rows created, read, changed and deleted, each time in a session of its own."""

from sqlalchemy import select

from app.db.database import async_session_maker
from app.models import Dancer, Role, Tournament, User
from app.repositories import DancerRepository, EventRepository, TournamentRepository, UserRepository
from app.seed import USERS, seed
from tests.builders import a_dancer, add_category, add_user


async def test_a_dancer_lives_through_four_sessions() -> None:
    async with async_session_maker() as session:
        dancer_id = (await DancerRepository(session).add(a_dancer())).id
        await session.commit()
    async with async_session_maker() as session:
        dancer = await DancerRepository(session).get(dancer_id)
        dancer.country = "JP"
        await session.commit()
    async with async_session_maker() as session:
        dancer = await DancerRepository(session).get(dancer_id)
        assert dancer.country == "JP"
        await DancerRepository(session).delete(dancer)
        await session.commit()
    async with async_session_maker() as session:
        assert await DancerRepository(session).count() == 0


async def test_what_is_not_committed_is_not_kept() -> None:
    async with async_session_maker() as session:
        await add_user(session)
    async with async_session_maker() as session:
        assert await UserRepository(session).count() == 0


async def test_a_role_is_read_back_as_it_was_written() -> None:
    async with async_session_maker() as session:
        for role in Role:
            await add_user(session, f"{role}@example.org", role)
        await session.commit()
    async with async_session_maker() as session:
        users = (await session.scalars(select(User))).all()
        assert {user.email: user.role for user in users} == {f"{role}@example.org": role for role in Role}


async def test_a_tournament_leaves_with_its_event() -> None:
    async with async_session_maker() as session:
        category = await add_category(session)
        await session.commit()
    async with async_session_maker() as session:
        event_id = (await session.get_one(Tournament, category.tournament_id)).event_id
        events = EventRepository(session)
        await events.delete(await events.get(event_id))
        await session.commit()
    async with async_session_maker() as session:
        assert await TournamentRepository(session).count() == 0


async def test_the_seed_writes_the_development_data() -> None:
    async with async_session_maker() as session:
        await seed(session)
    async with async_session_maker() as session:
        assert await UserRepository(session).count() == len(USERS) == 3
        assert await session.scalar(select(Dancer.country).where(Dancer.stage_name == "Emi Flip")) == "JP"
        assert await DancerRepository(session).count() == 40
        assert await TournamentRepository(session).count() == 2
