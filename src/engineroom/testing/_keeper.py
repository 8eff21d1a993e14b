"""The keeper: the one connection that holds a test database for this run, watches it and restores it.

Answers: how does code that is called without an event loop run a statement, whatever driver the application uses? An
async driver gets an event loop of its own in a thread of its own, which outlives those of the tests.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.pool import PoolProxiedConnection

    from engineroom._schema.place import Place

__all__ = ["Keeper", "sqlstate_of"]

SECONDS_OF_ONE_CALL = 60.0

T = TypeVar("T")


class Keeper:
    """A connection that commits each statement.

    Args:
        place: Where the database stands.
    """

    def __init__(self, place: Place) -> None:
        """Connect."""
        self.place = place
        choice = place.sync_choice()
        options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "poolclass": NullPool}
        self._loop: _Loop | None = None
        if choice is None:
            self._loop = _Loop()
            engine = create_async_engine(place.url, connect_args=place.connect_args, **options).sync_engine
        else:
            args = choice.connect_args if place.is_async else choice.merge(place.connect_args)
            engine = create_engine(choice.url, connect_args=args, **options)
        try:
            self._connection = self._run(lambda: _connect(engine))
        except BaseException:
            self._stop()
            raise

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement, and return its rows."""
        return self._run(lambda: self._fetch(statement))

    def scalar(self, statement: str) -> Any:
        """Run one statement, and return the first column of its first row."""
        return self.fetch(statement)[0][0]

    def close(self) -> None:
        """Close the connection, and with it all that the server keeps for it."""
        try:
            self._run(self._connection.close)
        finally:
            self._stop()

    def _fetch(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            cursor.close()

    def _run(self, call: Callable[[], T]) -> T:
        return call() if self._loop is None else self._loop.run(call)

    def _stop(self) -> None:
        if self._loop is not None:
            self._loop.stop()
            self._loop = None


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engineroom-keeper", daemon=True)
        self._thread.start()

    def run(self, call: Callable[[], T]) -> T:
        async def spawn() -> T:
            return await greenlet_spawn(call)

        return asyncio.run_coroutine_threadsafe(spawn(), self._loop).result(SECONDS_OF_ONE_CALL)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS_OF_ONE_CALL)
        self._loop.close()


def sqlstate_of(error: BaseException) -> str:
    """Return the code that the server gave an error: SQLSTATE on PostgreSQL, the number on MySQL and MariaDB."""
    if error.args and isinstance(error.args[0], int):
        return str(error.args[0])
    codes = (getattr(error, name, None) for name in ("sqlstate", "pgcode"))
    return next((code for code in codes if isinstance(code, str)), "")


def _connect(engine: Engine) -> PoolProxiedConnection:
    return engine.raw_connection()
