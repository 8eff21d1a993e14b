"""The people who dance."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import ConflictError, RuleError
from app.models import Dancer
from app.repositories import DancerRepository


class DancerService:
    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.dancers = DancerRepository(session)

    async def add_dancer(  # noqa: PLR0913  # six facts, all needed, all by keyword
        self, *, email: str, stage_name: str, first_name: str, last_name: str, country: str, born_on: date
    ) -> Dancer:
        """Note down a dancer."""
        if born_on >= date.today():  # noqa: DTZ011  # a birthday knows no time zone
            raise RuleError("A dancer is born before today.")
        if await self.dancers.find_by_email(email):
            raise ConflictError(f"{email} is a dancer already.")
        dancer = await self.dancers.add(
            Dancer(
                email=email.lower(),
                stage_name=stage_name,
                first_name=first_name,
                last_name=last_name,
                country=country.upper(),
                born_on=born_on,
            )
        )
        await self.session.commit()
        return dancer

    async def rename(self, dancer_id: int, stage_name: str) -> Dancer:
        """Give a dancer another stage name."""
        dancer = await self.dancers.get(dancer_id)
        dancer.stage_name = stage_name
        await self.session.commit()
        return dancer

    async def search(self, text: str) -> Sequence[Dancer]:
        return await self.dancers.search(text)
