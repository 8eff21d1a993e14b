"""The tables.

An event holds tournaments, a tournament holds categories. A dancer who enters a category is a performer. Performers
meet in battles, first all against all in their pool, then pool winner against pool winner in the final. Judges are
users; the points that they give are scores.
"""

import enum
from datetime import date, datetime

from sqlalchemy import CheckConstraint, Enum, ForeignKey, MetaData, String, UniqueConstraint, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

MOST_POINTS = 10


class Role(enum.StrEnum):
    ADMIN = "admin"
    STAFF = "staff"
    JUDGE = "judge"


class Phase(enum.StrEnum):
    """The phases of a tournament, in their order."""

    REGISTRATION = "registration"
    POOLS = "pools"
    FINALS = "finals"
    COMPLETED = "completed"


class Stage(enum.StrEnum):
    POOL = "pool"
    FINAL = "final"


class BattleStatus(enum.StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    COMPLETED = "completed"


def enum_type(kind: type[enum.StrEnum]) -> Enum:
    """Store the enum's value, not its Python name, and let the database check it."""
    return Enum(
        kind,
        name=kind.__name__.lower(),
        native_enum=False,
        create_constraint=True,
        validate_strings=True,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        }
    )

    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)


class User(Base):
    """Somebody who may log in."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(enum_type(Role))
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Dancer(Base):
    """Somebody who dances; dancers need no account."""

    __tablename__ = "dancers"

    email: Mapped[str] = mapped_column(String(254), unique=True)
    stage_name: Mapped[str] = mapped_column(String(80), index=True)
    first_name: Mapped[str] = mapped_column(String(80))
    last_name: Mapped[str] = mapped_column(String(80))
    country: Mapped[str] = mapped_column(String(2))
    born_on: Mapped[date]

    performances: Mapped[list["Performer"]] = relationship(back_populates="dancer", passive_deletes="all")


class Event(Base):
    """One or more days at one venue."""

    __tablename__ = "events"
    __table_args__ = (CheckConstraint("ends_on >= starts_on", name="ends_after_it_starts"),)

    name: Mapped[str] = mapped_column(String(120), unique=True)
    venue: Mapped[str] = mapped_column(String(120))
    starts_on: Mapped[date]
    ends_on: Mapped[date]

    tournaments: Mapped[list["Tournament"]] = relationship(
        back_populates="event", cascade="all, delete-orphan", passive_deletes=True
    )


class Tournament(Base):
    __tablename__ = "tournaments"
    __table_args__ = (UniqueConstraint("event_id", "name"),)

    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(120))
    phase: Mapped[Phase] = mapped_column(enum_type(Phase), default=Phase.REGISTRATION)

    event: Mapped[Event] = relationship(back_populates="tournaments")
    categories: Mapped[list["Category"]] = relationship(
        back_populates="tournament", cascade="all, delete-orphan", passive_deletes=True, order_by="Category.id"
    )


class Category(Base):
    """A discipline of a tournament: "Breaking 1v1", "Popping 1v1"."""

    __tablename__ = "categories"
    __table_args__ = (
        UniqueConstraint("tournament_id", "name"),
        CheckConstraint("places >= 4", name="has_enough_places"),
    )

    tournament_id: Mapped[int] = mapped_column(ForeignKey("tournaments.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(80))
    places: Mapped[int] = mapped_column(default=16)

    tournament: Mapped[Tournament] = relationship(back_populates="categories")
    performers: Mapped[list["Performer"]] = relationship(
        back_populates="category", cascade="all, delete-orphan", passive_deletes=True, order_by="Performer.id"
    )
    pools: Mapped[list["Pool"]] = relationship(
        back_populates="category", cascade="all, delete-orphan", passive_deletes=True, order_by="Pool.name"
    )
    battles: Mapped[list["Battle"]] = relationship(
        back_populates="category", cascade="all, delete-orphan", passive_deletes=True, order_by="Battle.id"
    )


class Pool(Base):
    """The performers of a category who all meet each other."""

    __tablename__ = "pools"
    __table_args__ = (UniqueConstraint("category_id", "name"),)

    category_id: Mapped[int] = mapped_column(ForeignKey("categories.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(1))

    category: Mapped[Category] = relationship(back_populates="pools")
    performers: Mapped[list["Performer"]] = relationship(back_populates="pool", order_by="Performer.id")
    battles: Mapped[list["Battle"]] = relationship(back_populates="pool", order_by="Battle.id")


class Performer(Base):
    """A dancer in a category."""

    __tablename__ = "performers"
    __table_args__ = (UniqueConstraint("category_id", "dancer_id"),)

    category_id: Mapped[int] = mapped_column(ForeignKey("categories.id", ondelete="CASCADE"))
    dancer_id: Mapped[int] = mapped_column(ForeignKey("dancers.id", ondelete="RESTRICT"), index=True)
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id", ondelete="SET NULL"))

    category: Mapped[Category] = relationship(back_populates="performers")
    dancer: Mapped[Dancer] = relationship(back_populates="performances")
    pool: Mapped[Pool | None] = relationship(back_populates="performers")


class Battle(Base):
    """Two performers, red against blue. A completed battle without a winner was a draw."""

    __tablename__ = "battles"
    __table_args__ = (
        CheckConstraint("red_id <> blue_id", name="needs_two_performers"),
        CheckConstraint("winner_id IS NULL OR winner_id IN (red_id, blue_id)", name="winner_took_part"),
        CheckConstraint("(stage = 'pool') = (pool_id IS NOT NULL)", name="pool_battles_have_a_pool"),
    )

    category_id: Mapped[int] = mapped_column(ForeignKey("categories.id", ondelete="CASCADE"), index=True)
    pool_id: Mapped[int | None] = mapped_column(ForeignKey("pools.id", ondelete="CASCADE"))
    stage: Mapped[Stage] = mapped_column(enum_type(Stage))
    status: Mapped[BattleStatus] = mapped_column(enum_type(BattleStatus), default=BattleStatus.PENDING)
    red_id: Mapped[int] = mapped_column(ForeignKey("performers.id", ondelete="CASCADE"))
    blue_id: Mapped[int] = mapped_column(ForeignKey("performers.id", ondelete="CASCADE"))
    winner_id: Mapped[int | None] = mapped_column(ForeignKey("performers.id", ondelete="CASCADE"))

    category: Mapped[Category] = relationship(back_populates="battles")
    pool: Mapped[Pool | None] = relationship(back_populates="battles")
    red: Mapped[Performer] = relationship(foreign_keys=red_id)
    blue: Mapped[Performer] = relationship(foreign_keys=blue_id)
    winner: Mapped[Performer | None] = relationship(foreign_keys=winner_id)
    scores: Mapped[list["Score"]] = relationship(
        back_populates="battle", cascade="all, delete-orphan", passive_deletes=True, order_by="Score.id"
    )


class Score(Base):
    """What one judge gave one performer in one battle."""

    __tablename__ = "scores"
    __table_args__ = (
        UniqueConstraint("battle_id", "judge_id", "performer_id"),
        CheckConstraint(f"points BETWEEN 0 AND {MOST_POINTS}", name="points_in_range"),
    )

    battle_id: Mapped[int] = mapped_column(ForeignKey("battles.id", ondelete="CASCADE"))
    judge_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    performer_id: Mapped[int] = mapped_column(ForeignKey("performers.id", ondelete="CASCADE"))
    points: Mapped[int]

    battle: Mapped[Battle] = relationship(back_populates="scores")
    judge: Mapped[User] = relationship()
    performer: Mapped[Performer] = relationship()
