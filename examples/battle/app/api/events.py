"""Events, and the tournaments announced for them."""

from collections.abc import Sequence
from datetime import date

from fastapi import APIRouter, status

from app.api.dependencies import Session, Staff
from app.models import Event, Tournament
from app.schemas import EventIn, EventOut, TournamentIn, TournamentOut
from app.services.events import EventService
from app.services.tournaments import TournamentService

router = APIRouter(prefix="/events", tags=["events"])


@router.post("", response_model=EventOut, status_code=status.HTTP_201_CREATED)
async def plan_event(event: EventIn, session: Session, _user: Staff) -> Event:
    return await EventService(session).plan(**event.model_dump())


@router.get("", response_model=list[EventOut])
async def list_events(session: Session, since: date = date.min) -> Sequence[Event]:
    return await EventService(session).list_from(since)


@router.post("/{event_id}/tournaments", response_model=TournamentOut, status_code=status.HTTP_201_CREATED)
async def announce_tournament(event_id: int, tournament: TournamentIn, session: Session, _user: Staff) -> Tournament:
    return await TournamentService(session).announce(event_id, tournament.name, tournament.categories)
