"""What travels over HTTP."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.models import MOST_POINTS, BattleStatus, Phase, Role, Stage

Name = Annotated[str, Field(min_length=1, max_length=80)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
Country = Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")]
Points = Annotated[int, Field(ge=0, le=MOST_POINTS)]
Places = Annotated[int, Field(ge=4, le=128)]


class FromRow(BaseModel):
    """A schema that can be read off a row."""

    model_config = ConfigDict(from_attributes=True)


class Credentials(BaseModel):
    email: Email
    password: str


class Token(BaseModel):
    access_token: str
    token_type: str = "bearer"  # noqa: S105  # the name of a kind of token


class UserOut(FromRow):
    id: int
    email: str
    role: Role


class DancerIn(BaseModel):
    email: Email
    stage_name: Name
    first_name: Name
    last_name: Name
    country: Country
    born_on: date


class DancerOut(FromRow):
    """What anybody may know of a dancer: neither email nor birthday."""

    id: int
    stage_name: str
    country: str


class EventIn(BaseModel):
    name: Name
    venue: Name
    starts_on: date
    ends_on: date


class EventOut(FromRow, EventIn):
    id: int


class TournamentIn(BaseModel):
    name: Name
    categories: dict[Name, Places] = Field(min_length=1)


class CategoryOut(FromRow):
    id: int
    name: str
    places: int


class TournamentOut(FromRow):
    id: int
    event_id: int
    name: str
    phase: Phase
    categories: list[CategoryOut]


class PerformerIn(BaseModel):
    dancer_id: int


class PerformerOut(FromRow):
    id: int
    category_id: int
    dancer_id: int


class StandingOut(BaseModel):
    performer_id: int
    stage_name: str
    victory_points: int
    points: int


class Ballot(BaseModel):
    red: Points
    blue: Points


class BattleOut(FromRow):
    id: int
    stage: Stage
    status: BattleStatus
    red_id: int
    blue_id: int
    winner_id: int | None
