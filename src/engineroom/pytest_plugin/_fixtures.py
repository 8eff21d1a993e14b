"""The fixtures. None is needed: the application's own engines and session makers reach the test database by themselves.

They load SQLAlchemy when a test asks for one of them, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

__all__ = ["async_db_engine", "async_db_session", "db_engine", "db_session"]


@pytest.fixture(scope="session")
def db_engine() -> Engine:
    """The engine of the test database, the same as the application's.

    It is what ``engineroom.get_engine()`` returns, of the default bind.

    Example:
        def test_the_table_is_there(db_engine):
            assert "users" in inspect(db_engine).get_table_names()
    """
    from engineroom._engines import get_engine  # noqa: PLC0415

    return get_engine()


@pytest.fixture
def db_session(db_engine: Engine) -> Iterator[Session]:
    """A session on the test database, closed after the test.

    Commits are real: other connections see them. With ``schema`` configured, they are undone after the test.

    Example:
        def test_a_user_is_stored(db_session):
            db_session.add(User(name="ada"))
            db_session.commit()
            assert db_session.query(User).count() == 1
    """
    from sqlalchemy.orm import Session  # noqa: PLC0415

    with Session(db_engine) as session:
        yield session


@pytest.fixture(scope="session")
def async_db_engine() -> AsyncEngine:
    """The async engine of the test database, the same as the application's.

    It is what ``engineroom.get_async_engine()`` returns, of the default bind. It works from every event loop.

    Example:
        async def test_the_database_answers(async_db_engine):
            async with async_db_engine.connect() as connection:
                assert await connection.scalar(text("SELECT 1")) == 1
    """
    from engineroom._engines import get_async_engine  # noqa: PLC0415

    return get_async_engine()


@pytest.fixture
def async_db_session(async_db_engine: AsyncEngine) -> Iterator[AsyncSession]:
    """An async session on the test database, closed after the test.

    Its objects can be read after a commit. It is no coroutine itself, so it works under pytest-asyncio in either mode,
    under anyio, and in a plain test that calls ``asyncio.run``.

    Example:
        async def test_a_user_is_stored(async_db_session):
            async_db_session.add(User(name="ada"))
            await async_db_session.commit()
            assert await async_db_session.scalar(select(func.count(User.id))) == 1
    """
    import asyncio  # noqa: PLC0415  # it alone takes as long as the rest of the plugin

    from sqlalchemy import event  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import AsyncSession  # noqa: PLC0415

    session = AsyncSession(async_db_engine, expire_on_commit=False)
    loops: list[asyncio.AbstractEventLoop] = []
    event.listen(session.sync_session, "after_begin", lambda *_: loops.append(asyncio.get_running_loop()))
    yield session
    _close(session, loops)


def _close(session: AsyncSession, loops: list[asyncio.AbstractEventLoop]) -> None:
    """Close a session in the event loop that used it last; if that is gone, so is the session's connection."""
    loop = loops[-1] if loops else None
    if loop is None:
        session.sync_session.close()
    elif loop.is_closed():
        pool = session.get_bind().engine.pool
        abandon = getattr(pool, "abandon_closed", None)  # the loop may have been closed without notice
        if abandon is not None:
            abandon()
    elif not loop.is_running():
        loop.run_until_complete(session.close())
