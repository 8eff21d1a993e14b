"""The days on which tournaments take place."""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ConflictError, RuleError
from app.models import Event
from app.repositories import EventRepository


class EventService:
    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.events = EventRepository(session)

    async def plan(self, *, name: str, venue: str, starts_on: date, ends_on: date) -> Event:
        """Put an event into the calendar."""
        if ends_on < starts_on:
            raise RuleError("An event ends on the day it starts, or later.")
        if await self.events.find_by_name(name):
            raise ConflictError(f'There is an event named "{name}" already.')
        event = await self.events.add(Event(name=name, venue=venue, starts_on=starts_on, ends_on=ends_on))
        await self.session.commit()
        return event

    async def postpone(self, event_id: int, *, days: int) -> Event:
        """Move an event, as long as it is, to a later day."""
        if days < 1:
            raise RuleError("An event is postponed by at least one day.")
        event = await self.events.get(event_id)
        event.starts_on += timedelta(days=days)
        event.ends_on += timedelta(days=days)
        await self.session.commit()
        return event

    async def cancel(self, event_id: int) -> None:
        """Take an event out of the calendar, with its tournaments and everything in them."""
        await self.events.delete(await self.events.get(event_id))
        await self.session.commit()

    async def list_from(self, day: date) -> Sequence[Event]:
        return await self.events.list_from(day)
