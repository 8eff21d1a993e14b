"""One engine and one session maker for the whole application."""

from collections.abc import AsyncIterator

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from app.config import DATABASE_URL
from app.models import Base
from engineroom import get_async_engine

engine = get_async_engine(DATABASE_URL, connect_args={"timeout": 15})
async_session_maker = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def enforce_foreign_keys(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Switch foreign keys on, which SQLite leaves off until a connection asks."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


async def init_db() -> None:
    """Create the tables that do not exist yet."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


async def drop_db() -> None:
    """Drop every table, with everything in it."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)


async def get_session() -> AsyncIterator[AsyncSession]:
    """Give one request its session; what the request did not commit is rolled back."""
    async with async_session_maker() as session:
        yield session
