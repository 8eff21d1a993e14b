"""Dancers."""

from collections.abc import Sequence

from fastapi import APIRouter, status

from app.api.dependencies import Session, Staff
from app.models import Dancer
from app.repositories import DancerRepository
from app.schemas import DancerIn, DancerOut
from app.services.dancers import DancerService

router = APIRouter(prefix="/dancers", tags=["dancers"])


@router.post("", response_model=DancerOut, status_code=status.HTTP_201_CREATED)
async def add_dancer(dancer: DancerIn, session: Session, _user: Staff) -> Dancer:
    return await DancerService(session).add_dancer(**dancer.model_dump())


@router.get("", response_model=list[DancerOut])
async def search_dancers(session: Session, search: str = "") -> Sequence[Dancer]:
    return await DancerService(session).search(search)


@router.get("/{dancer_id}", response_model=DancerOut)
async def show_dancer(dancer_id: int, session: Session) -> Dancer:
    return await DancerRepository(session).get(dancer_id)
