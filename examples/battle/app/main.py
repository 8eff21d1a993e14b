"""The application: ``uvicorn app.main:app``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api import accounts, battles, dancers, events, tournaments
from app.api.errors import add_error_handlers
from app.db.database import engine, init_db


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Create missing tables when the server starts, and close every connection when it stops."""
    await init_db()
    yield
    await engine.dispose()


app = FastAPI(title="Battle", lifespan=lifespan)
add_error_handlers(app)
for module in (accounts, dancers, events, tournaments, battles):
    app.include_router(module.router)
