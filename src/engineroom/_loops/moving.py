"""How an idle connection to PostgreSQL moves from one event loop to the next, instead of ending with the first.

pytest-asyncio and anyio give each test a loop of its own, and to open a connection takes as long as several tests.
psycopg asks for the running loop whenever it waits, so there is next to nothing to do; asyncpg has to be connected by
a loop that moves (:mod:`engineroom._loops.asyncpg_link`). This module must not know what a pool is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from engineroom._loops.asyncpg_link import Link, MovingLoop
from engineroom._loops.let_go import is_cancelling

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["DRIVERS", "let_move", "put_in", "take_out"]

DRIVERS = frozenset({"asyncpg", "psycopg", "psycopg_async"})

FORGET = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; DISCARD TEMP"
"""What a connection would have lost with its loop. Settings stay: they may come from a ``connect`` listener."""

IDLE = 0
"""The status of psycopg's connection that is in no transaction."""


def let_move(driver: str, arguments: MutableMapping[str, Any]) -> None:
    """Have a connection opened in such a way that it can move.

    Args:
        driver: The name of the driver.
        arguments: Its keyword arguments, which are changed. SQLAlchemy 2.0 hands in the same ones each time.
    """
    can_be_set = "async_creator_fn" not in arguments and isinstance(arguments.get("loop"), MovingLoop | None)
    if driver == "asyncpg" and can_be_set:
        arguments["loop"] = MovingLoop()


def take_out(driver_connection: Any) -> bool:
    """Take an idle connection out of its loop, which may be closed already.

    Returns:
        Whether that could be done; if not, nothing has changed.
    """
    if hasattr(driver_connection, "pgconn"):  # psycopg
        return not driver_connection.closed and driver_connection.info.transaction_status == IDLE
    link = getattr(driver_connection, "_transport", None)
    if not isinstance(link, Link) or driver_connection.is_closed() or is_cancelling(driver_connection):
        return False
    return not driver_connection.is_in_transaction() and link.take_out()


async def put_in(adapter: Any) -> bool:
    """Put a connection that was taken out of a loop into the running one.

    Args:
        adapter: The connection as SQLAlchemy has it.

    Returns:
        Whether it can be used; if not, it is to be thrown away.
    """
    driver_connection = adapter.driver_connection
    if hasattr(adapter, "_execute_mutex"):  # with SQLAlchemy 2.0 that of psycopg has none
        adapter._execute_mutex = asyncio.Lock()  # noqa: SLF001  # one that was waited for belongs to that loop
    try:
        if hasattr(driver_connection, "pgconn"):
            await _put_in_psycopg(driver_connection)
        else:
            await _put_in_asyncpg(driver_connection)
    except Exception:  # noqa: BLE001  # the server has ended it, or cannot do this: a new one tells what is the matter
        return False
    return True


async def _put_in_psycopg(connection: Any) -> None:
    connection.lock = asyncio.Lock()
    is_autocommit = connection.autocommit
    await connection.set_autocommit(True)  # so that it is one round trip
    await connection.execute(FORGET)
    await connection.set_autocommit(is_autocommit)
    connection._notify_handlers.clear()  # noqa: SLF001  # nothing is listened to any more


async def _put_in_asyncpg(connection: Any) -> None:
    loop = asyncio.get_running_loop()
    connection._loop.current = loop  # noqa: SLF001
    await connection._transport.put_in(loop)  # noqa: SLF001
    await connection.execute(FORGET)
    for listeners in (connection._listeners, connection._log_listeners):  # noqa: SLF001
        listeners.clear()  # as the driver's own reset() does, which would also reset all settings
