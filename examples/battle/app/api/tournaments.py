"""Tournaments, their categories, and who enters them."""

from fastapi import APIRouter, status

from app.api.dependencies import Admin, Session, Staff
from app.models import Performer, Tournament
from app.repositories import TournamentRepository
from app.schemas import DancerOut, PerformerIn, PerformerOut, StandingOut, TournamentOut
from app.services.performers import PerformerService
from app.services.pools import PoolService
from app.services.tournaments import TournamentService

router = APIRouter(tags=["tournaments"])


@router.get("/tournaments/{tournament_id}", response_model=TournamentOut)
async def show_tournament(tournament_id: int, session: Session) -> Tournament:
    return await TournamentRepository(session).get_whole(tournament_id)


@router.post("/tournaments/{tournament_id}/advance", response_model=TournamentOut)
async def advance_tournament(tournament_id: int, session: Session, _user: Admin) -> Tournament:
    return await TournamentService(session).advance(tournament_id)


@router.get("/tournaments/{tournament_id}/champions")
async def list_champions(tournament_id: int, session: Session) -> dict[str, DancerOut]:
    champions = await TournamentService(session).list_champions(tournament_id)
    return {category: DancerOut.model_validate(dancer) for category, dancer in champions.items()}


@router.post("/categories/{category_id}/performers", response_model=PerformerOut, status_code=status.HTTP_201_CREATED)
async def register_performer(category_id: int, performer: PerformerIn, session: Session, _user: Staff) -> Performer:
    return await PerformerService(session).register(category_id=category_id, dancer_id=performer.dancer_id)


@router.delete("/performers/{performer_id}", status_code=status.HTTP_204_NO_CONTENT)
async def withdraw_performer(performer_id: int, session: Session, _user: Staff) -> None:
    await PerformerService(session).withdraw(performer_id)


@router.get("/categories/{category_id}/standings")
async def list_standings(category_id: int, session: Session) -> dict[str, list[StandingOut]]:
    pools = await PoolService(session).list_standings(category_id)
    return {
        name: [
            StandingOut(
                performer_id=standing.performer.id,
                stage_name=standing.performer.dancer.stage_name,
                victory_points=standing.victory_points,
                points=standing.points,
            )
            for standing in standings
        ]
        for name, standings in pools.items()
    }
