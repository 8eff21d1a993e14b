"""Empty tables for every test, and the mistake that this example is about.

The fixture below calls the application's own ``drop_db()``, and the tests use the application's own session maker. With
an ordinary engine every run empties the development database, and every test is green. The tests stay as they are: it
is ``app/db/database.py`` that keeps the database safe, by one line.
"""

from collections.abc import AsyncIterator

import pytest

from app.db.database import drop_db, init_db


@pytest.fixture(autouse=True)
async def fresh_tables() -> AsyncIterator[None]:
    """Drop all tables before and after each test, and create them for it."""
    await drop_db()
    await init_db()
    yield
    await drop_db()
