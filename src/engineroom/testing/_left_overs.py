"""What a test left behind on a server: which connections hold a transaction open, and where they were taken.

Each time a connection leaves its pool, the line of the user's code that asked for it is noted, so that the error in the
guilty test can name it. Which sessions write, and how one is ended, is a question to the server.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from engineroom.errors import LifecycleError
from engineroom.testing._callers import find_caller

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom.testing._callers import Caller

__all__ = ["callers_of", "describe_taken", "describe_writers", "left_over", "lost_layer", "note_caller", "session_of"]

CALLER_KEY = "engineroom.caller"
WAYS_TO_ASK = ("get_server_pid", "get_backend_pid", "thread_id")


def note_caller(record: ConnectionPoolEntry) -> None:
    """Note who takes a connection from its pool."""
    record.info[CALLER_KEY] = find_caller()


def session_of(record: ConnectionPoolEntry) -> int:
    """Return the number of the server's session that serves a connection; 0 where that is not known."""
    connection: Any = record.driver_connection
    information = getattr(connection, "info", None)
    with contextlib.suppress(Exception):  # closed meanwhile, by whatever driver
        if isinstance(number := getattr(information, "backend_pid", None), int):
            return number
        for name in WAYS_TO_ASK:
            ask = getattr(connection, name, None)
            if ask is not None:
                return int(ask())
    return 0


def callers_of(connections: Collection[ConnectionPoolEntry]) -> dict[int, Caller | None]:
    """Return the lines that took connections last, by the sessions that serve them."""
    return {session_of(record): record.info.get(CALLER_KEY) for record in list(connections)}


def describe_writers(writers: Mapping[int, str], callers: Mapping[int, Caller | None]) -> str:
    """Return what is known of the sessions that hold a transaction open, with the line that took the connection."""
    told = []
    for number, statement in sorted(writers.items()):
        caller = callers.get(number)
        place = (
            f"taken at {caller.file}:{caller.line}" if caller and caller.file else "not of an engine of this process"
        )
        told.append(f"session {number}, {place}" + (f", whose last statement was {statement!r}" if statement else ""))
    return "; ".join(told) or "a session that is gone by now"


def describe_taken(records: Collection[ConnectionPoolEntry]) -> str:
    """Return the lines that took the connections whose transaction is open; empty where none is known."""
    places = set()
    for record in records:
        caller = record.info.get(CALLER_KEY)
        with contextlib.suppress(ValueError):  # aiosqlite's word for a connection that was closed
            if caller and caller.file and getattr(record.driver_connection, "in_transaction", False):
                places.add(f"{caller.file}:{caller.line}")
    return ", ".join(sorted(places))


def left_over(seconds: float, who: str) -> LifecycleError:
    """Build the error for a transaction that did not end."""
    return LifecycleError(
        "A transaction that writes was still open when the test ended.",
        why=(
            f"the baseline could not be restored within {seconds:g} seconds, since a connection has neither committed, "
            f"nor rolled back, nor been closed: {who}. Its session was ended."
        ),
        fix=[
            "close the session in the test or the fixture: with session_maker() as session: ...",
            "wait for the task or the thread that still writes before the test ends",
        ],
    )


def lost_layer() -> LifecycleError:
    """Build the error for what a fixture made and a test lost."""
    return LifecycleError(
        "The test database cannot be brought back to the state that this test started from.",
        why="a fixture of a wider scope created, changed or dropped tables, and then a test changed or dropped what "
        "was there before; the schema can be built once more, but the fixture is not set up again.",
        fix=["let the fixture have the scope of one test", "let the schema in [tool.engineroom] make those tables"],
    )
