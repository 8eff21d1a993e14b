"""The fixtures. None is needed: the application's own engines and session makers reach the test database by themselves.

They load SQLAlchemy when a test asks for one of them, not before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

__all__ = ["async_db_engine", "async_db_session", "db_engine", "db_session"]


@pytest.fixture(scope="session")
def db_engine() -> Engine:
    """The sync engine of the test database: ``engineroom.get_engine()``, whatever the application made of it."""
    from engineroom import get_engine  # noqa: PLC0415

    return get_engine()


@pytest.fixture
def db_session(db_engine: Engine) -> Iterator[Session]:
    """A session on the test database, closed after the test. Commit for real; what is committed is undone."""
    from sqlalchemy.orm import Session  # noqa: PLC0415

    with Session(db_engine) as session:
        yield session


@pytest.fixture(scope="session")
def async_db_engine() -> AsyncEngine:
    """The async engine of the test database: ``engineroom.get_async_engine()``. It works from every event loop."""
    from engineroom import get_async_engine  # noqa: PLC0415

    return get_async_engine()


@pytest.fixture
def async_db_session(async_db_engine: AsyncEngine) -> Iterator[AsyncSession]:
    """An async session on the test database, closed after the test, with objects that outlive a commit.

    It is no coroutine fixture, so it works under pytest-asyncio in either mode, under anyio, and in a plain test that
    calls ``asyncio.run``.
    """
    from sqlalchemy import event  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import AsyncSession  # noqa: PLC0415

    session = AsyncSession(async_db_engine, expire_on_commit=False)
    loops: list[asyncio.AbstractEventLoop] = []
    event.listen(session.sync_session, "after_begin", lambda *_: loops.append(asyncio.get_running_loop()))
    yield session
    _close(session, loops)


def _close(session: AsyncSession, loops: list[asyncio.AbstractEventLoop]) -> None:
    """Close a session in the event loop that used it last, if that is still there; else the loop closed its connection."""
    loop = loops[-1] if loops else None
    if loop is None:
        session.sync_session.close()
    elif not loop.is_closed() and not loop.is_running():
        loop.run_until_complete(session.close())
