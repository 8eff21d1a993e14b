"""Noting down dancers."""

from datetime import date, timedelta

import pytest

from app.db.database import async_session_maker
from app.errors import ConflictError, NotFoundError, RuleError
from app.models import Dancer
from app.repositories import DancerRepository
from app.services.dancers import DancerService


async def add(service: DancerService, *, email: str = "lea@example.org", born_on: date = date(2001, 2, 3)) -> Dancer:
    return await service.add_dancer(
        email=email, stage_name="Lea Loop", first_name="Lea", last_name="Martin", country="fr", born_on=born_on
    )


async def test_a_dancer_is_noted_down() -> None:
    async with async_session_maker() as session:
        dancer = await add(DancerService(session), email="LEA@example.org")
    async with async_session_maker() as session:
        stored = await DancerRepository(session).get(dancer.id)
        assert (stored.email, stored.country, stored.born_on) == ("lea@example.org", "FR", date(2001, 2, 3))


async def test_a_dancer_is_noted_down_once() -> None:
    async with async_session_maker() as session:
        service = DancerService(session)
        await add(service)
        with pytest.raises(ConflictError, match="is a dancer already"):
            await add(service, email="Lea@Example.org")
        assert await DancerRepository(session).count() == 1


async def test_nobody_is_born_tomorrow() -> None:
    tomorrow = date.today() + timedelta(days=1)  # noqa: DTZ011  # a birthday knows no time zone
    async with async_session_maker() as session:
        with pytest.raises(RuleError, match="born before today"):
            await add(DancerService(session), born_on=tomorrow)


async def test_a_stage_name_can_change() -> None:
    async with async_session_maker() as session:
        service = DancerService(session)
        dancer = await add(service)
        await service.rename(dancer.id, "Lea Zero")
    async with async_session_maker() as session:
        assert [each.stage_name for each in await DancerService(session).search("zero")] == ["Lea Zero"]


async def test_nobody_renames_a_stranger() -> None:
    async with async_session_maker() as session:
        with pytest.raises(NotFoundError):
            await DancerService(session).rename(1, "Nobody")
