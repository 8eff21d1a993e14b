"""Planning events."""

from datetime import date

import pytest

from app.db.database import async_session_maker
from app.errors import ConflictError, RuleError
from app.models import Event
from app.repositories import EventRepository, TournamentRepository
from app.services.events import EventService
from app.services.tournaments import TournamentService

FRIDAY, SUNDAY = date(2026, 5, 1), date(2026, 5, 3)


async def plan(service: EventService, name: str = "Spring Jam", starts_on: date = FRIDAY) -> Event:
    return await service.plan(name=name, venue="Pier 4", starts_on=starts_on, ends_on=SUNDAY)


async def test_an_event_is_planned() -> None:
    async with async_session_maker() as session:
        event = await plan(EventService(session))
    async with async_session_maker() as session:
        stored = await EventRepository(session).get(event.id)
        assert (stored.venue, stored.starts_on, stored.ends_on) == ("Pier 4", FRIDAY, SUNDAY)


async def test_an_event_ends_after_it_starts() -> None:
    async with async_session_maker() as session:
        with pytest.raises(RuleError):
            await plan(EventService(session), starts_on=date(2026, 5, 4))


async def test_a_name_belongs_to_one_event() -> None:
    async with async_session_maker() as session:
        await plan(EventService(session))
        with pytest.raises(ConflictError, match="Spring Jam"):
            await plan(EventService(session))


async def test_a_postponed_event_is_as_long_as_before() -> None:
    async with async_session_maker() as session:
        event = await plan(EventService(session))
        await EventService(session).postpone(event.id, days=7)
        assert (event.starts_on, event.ends_on) == (date(2026, 5, 8), date(2026, 5, 10))
        with pytest.raises(RuleError):
            await EventService(session).postpone(event.id, days=0)


async def test_events_are_listed_in_their_order() -> None:
    async with async_session_maker() as session:
        service = EventService(session)
        await plan(service, "Second", date(2026, 5, 2))
        await plan(service, "First", date(2026, 5, 1))
        assert [event.name for event in await service.list_from(FRIDAY)] == ["First", "Second"]


async def test_a_cancelled_event_takes_its_tournaments_along() -> None:
    async with async_session_maker() as session:
        event = await plan(EventService(session))
        await TournamentService(session).announce(event.id, "Solo", {"Breaking 1v1": 8})
    async with async_session_maker() as session:
        await EventService(session).cancel(event.id)
        assert await TournamentRepository(session).count() == 0
