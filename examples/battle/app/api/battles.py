"""Battles, and the judges' ballots."""

from collections.abc import Sequence

from fastapi import APIRouter

from app.api.dependencies import CurrentUser, Session, Staff
from app.models import Battle, Stage
from app.repositories import BattleRepository
from app.schemas import Ballot, BattleOut
from app.services.battles import BattleService

router = APIRouter(tags=["battles"])


@router.get("/categories/{category_id}/battles", response_model=list[BattleOut])
async def list_battles(category_id: int, session: Session, stage: Stage = Stage.POOL) -> Sequence[Battle]:
    return await BattleRepository(session).list_of_category(category_id, stage)


@router.post("/battles/{battle_id}/ballots", response_model=BattleOut)
async def cast_ballot(battle_id: int, ballot: Ballot, session: Session, user: CurrentUser) -> Battle:
    return await BattleService(session).judge(battle_id, user, red=ballot.red, blue=ballot.blue)


@router.post("/battles/{battle_id}/complete", response_model=BattleOut)
async def complete_battle(battle_id: int, session: Session, _user: Staff) -> Battle:
    return await BattleService(session).complete(battle_id)
