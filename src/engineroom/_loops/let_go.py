"""How a driver's connection is freed whose event loop is closed, so that neither a thread nor a socket is left behind.

The drivers' own ways to close need the loop: aiosqlite 0.22 reports to it, asyncpg 0.32 and aiomysql 0.3 close their
transport by a callback of it. So the worker is told to stop without a report, and the socket is closed. Another thing
that only the driver's insides can put right: nobody waits for a worker of aiosqlite that has stopped.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading

__all__ = ["close_socket", "end", "is_cancelling", "let_go", "stop_once", "worker_of"]


def let_go(driver_connection: Any) -> None:
    """Free a connection; it must not be used any more."""
    if hasattr(driver_connection, "_tx"):  # aiosqlite
        _stop_worker(driver_connection)
    elif hasattr(driver_connection, "pgconn"):  # psycopg
        end(driver_connection)
    else:
        # The writer is held until its transport is closing: it warns when it is collected before.
        writer = getattr(driver_connection, "_writer", None)
        transport = writer.transport if writer is not None else getattr(driver_connection, "_transport", None)
        if writer is not None:
            driver_connection._writer = None  # noqa: SLF001  # aiomysql: how it knows that it is closed
        with contextlib.suppress(RuntimeError, AttributeError):
            driver_connection.terminate()  # asyncpg marks itself as closed before it asks the loop
        close_socket(getattr(transport, "transport", transport))


def stop_once(driver_connection: Any) -> None:
    """Let a worker of aiosqlite be told to stop once, and stop soon; who tells it again has nothing to wait for.

    A statement that is cancelled twice, as by a scope of anyio, has SQLAlchemy 2.1 stop the worker while a graceful
    close still waits for it (``AsyncAdapt_terminate``). That close then tells it again, and aiosqlite 0.22 makes it
    wait for ever for a worker that is gone; so the event loop cannot shut down. And a statement that goes on after it
    was cancelled would report to a loop that is closed by then.
    """
    stop = getattr(driver_connection, "stop", None)
    if stop is None or worker_of(driver_connection) is None:
        return

    def stop_if_running() -> Any:
        driver_connection.stop = _nothing_to_wait_for
        connection = driver_connection._connection  # noqa: SLF001
        if connection is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # the worker has just closed it
                connection.interrupt()
        return stop()

    driver_connection.stop = stop_if_running


def end(driver_connection: Any) -> None:
    """Say farewell to the server, and wait for nothing: for asyncpg and psycopg, in a loop or in none."""
    if hasattr(driver_connection, "pgconn"):
        driver_connection.pgconn.finish()
        return
    with contextlib.suppress(RuntimeError):  # its last loop is closed, and somebody asked to be told there
        driver_connection.terminate()


def is_cancelling(driver_connection: Any) -> bool:
    """Tell whether asyncpg has been told to cancel a statement which the server has not ended yet."""
    ask = getattr(getattr(driver_connection, "_protocol", None), "_is_cancelling", None)
    return ask is not None and bool(ask())


def worker_of(driver_connection: Any) -> threading.Thread | None:
    """Return the thread that does what a connection of aiosqlite is told; None for other drivers."""
    thread: threading.Thread | None = getattr(driver_connection, "_thread", None)
    return thread if hasattr(driver_connection, "_tx") else None


def _nothing_to_wait_for() -> None:
    """Stand in for the ``stop`` of a worker that was told to stop already."""


def _stop_worker(driver_connection: Any) -> None:
    from aiosqlite.core import _STOP_RUNNING_SENTINEL  # noqa: PLC0415  # only where aiosqlite is in use

    def close() -> object:
        driver_connection._running = False  # noqa: SLF001
        connection, driver_connection._connection = driver_connection._connection, None  # noqa: SLF001
        if connection is not None:
            connection.close()
        return _STOP_RUNNING_SENTINEL

    if driver_connection._thread.is_alive():  # noqa: SLF001
        driver_connection._tx.put_nowait((_NobodyWaits(), close))  # noqa: SLF001
    else:  # it could not report to the closed loop, and ended
        with contextlib.suppress(sqlite3.ProgrammingError):
            close()


class _NobodyWaits:
    """Stands in for the future that aiosqlite's worker reports to; version 0.22.0 does not take None."""

    def get_loop(self) -> _NobodyWaits:
        """Return what the worker calls to report."""
        return self

    def call_soon_threadsafe(self, *_: object) -> None:
        """Report to nobody."""


def close_socket(transport: Any) -> None:
    """Close the socket of a transport whose loop is closed."""
    sock = getattr(transport, "_sock", None)
    if sock is not None:  # a transport of asyncio; it warns when it is collected with a socket
        sock.close()
        transport._sock = None  # noqa: SLF001
        transport._closing = True  # noqa: SLF001
