"""One connection pool per event loop, behind one pool.

A connection of an asynchronous driver belongs to the event loop that opened it. An engine whose pool is a
:class:`LoopPool` may be used from every loop of the process, one after the other or at once. A loop that shuts down
closes its connections; one that was closed without notice costs them, and they are let go when the next loop comes, or
at exit. This module must not know what a database is.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy.pool import NullPool, Pool, PoolProxiedConnection
from sqlalchemy.util import await_only, greenlet_spawn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["LoopPool", "pool_per_loop"]

MOST_SECONDS_OF_A_TURN = 5.0

_loop_pools: WeakSet[LoopPool] = WeakSet()


def pool_per_loop(engine: Engine) -> None:
    """Give an engine of an asynchronous driver a pool for each event loop.

    Must be called before the engine's first connection. A ``NullPool`` stays: it keeps no connection from one loop to
    another anyway.
    """
    if not isinstance(engine.pool, (NullPool, LoopPool)):
        engine.pool = LoopPool(engine.pool)


class LoopPool(Pool):
    """A pool that keeps one pool for each running event loop; threads and loops may share it.

    Args:
        template: The pool that SQLAlchemy configured; it opens no connection itself, its copies do.
    """

    def __init__(self, template: Pool) -> None:
        """Share the template's configuration and listeners."""
        super().__init__(template._creator, dialect=template._dialect, echo=template.echo)  # noqa: SLF001
        # One set of listeners for all: those that an application adds later count for every loop, and SQLAlchemy's
        # own first-connect listener initialises the dialect once, not once a loop.
        self.__dict__["dispatch"] = template.dispatch
        self._template = template
        self._mutex = threading.Lock()
        self._pools: dict[asyncio.AbstractEventLoop, _PoolOfLoop] = {}
        self._has_connected = False
        self._turn: Future[None] | None = None
        _loop_pools.add(self)

    def connect(self) -> PoolProxiedConnection:
        """Take a connection from the pool of the running loop."""
        loop = asyncio.get_running_loop()
        pool = (self._pools.get(loop) or self._open_pool(loop)).pool
        return pool.connect() if self._has_connected else self._connect_in_turn(pool)

    def _connect_in_turn(self, pool: Pool) -> PoolProxiedConnection:
        """Let one caller at a time try to be the first.

        SQLAlchemy initialises the dialect at the first connection under an asyncio lock, which belongs to the loop in
        which somebody first had to wait for it; a waiter from a second loop would get an error.
        """
        while not self._has_connected:
            with self._mutex:
                turn, is_mine = self._turn or Future(), self._turn is None
                self._turn = turn
            if not is_mine:
                if await_only(_is_over(turn)):
                    continue
                break  # who has the turn does not get on, perhaps since its loop waits for this one
            try:
                connection = pool.connect()
                self._has_connected = True
                return connection
            finally:
                self._turn = None
                turn.set_result(None)
        return pool.connect()

    def dispose(self) -> None:
        """Close the idle connections of every loop, each in the loop that it belongs to."""
        with self._mutex:
            pools, self._pools = self._pools, {}
        running = _get_running_loop()
        for loop, pool_of_loop in pools.items():
            if loop is running:
                pool_of_loop.close_idle()
            elif loop.is_closed() or not pool_of_loop.close_idle_soon():
                pool_of_loop.abandon()

    def recreate(self) -> LoopPool:
        """Return a new pool of the same configuration."""
        return LoopPool(self._template.recreate())

    def status(self) -> str:
        """Tell the state of each loop's pool."""
        return "; ".join(known.pool.status() for known in list(self._pools.values())) or "no event loop yet"

    def abandon_closed(self) -> None:
        """Let go of the connections of loops that were closed without notice."""
        with self._mutex:
            dead = [self._pools.pop(loop) for loop in list(self._pools) if loop.is_closed()]
        for pool_of_loop in dead:
            pool_of_loop.abandon()

    def _open_pool(self, loop: asyncio.AbstractEventLoop) -> _PoolOfLoop:
        self.abandon_closed()
        pool = self._template.recreate()
        pool.__dict__["dispatch"] = self.dispatch
        with self._mutex:
            return self._pools.setdefault(loop, _PoolOfLoop(pool, loop, self._pools))


class _PoolOfLoop:
    """The pool of one event loop, and the connections that it opened."""

    def __init__(
        self, pool: Pool, loop: asyncio.AbstractEventLoop, siblings: dict[asyncio.AbstractEventLoop, _PoolOfLoop]
    ) -> None:
        self.pool = pool
        self._loop = loop
        self._siblings = siblings
        self._records: WeakSet[ConnectionPoolEntry] = WeakSet()
        self._closer = self._close_with_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        create = pool._invoke_creator  # noqa: SLF001  # the one place that each connection of a pool comes from

        def create_and_remember(rec: ConnectionPoolEntry) -> Any:
            connection = create(rec)
            self._records.add(rec)
            return connection

        pool._invoke_creator = create_and_remember  # noqa: SLF001
        # Advancing the generator registers it with the running loop, which finalises it when it shuts down.
        with contextlib.suppress(StopIteration):
            self._closer.__anext__().send(None)

    def close_idle(self) -> None:
        """Close the idle connections, in a greenlet of the running loop, which is theirs."""
        self.pool.dispose()

    def close_idle_soon(self) -> bool:
        """Have the loop close the idle connections when it runs next; False if it will not run any more."""

        def start() -> None:
            task = self._loop.create_task(_spawn(self.close_idle))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            self._loop.call_soon_threadsafe(start)
        except RuntimeError:
            return False
        return True

    def close_all(self) -> None:
        """Close all connections, those included that somebody forgot to give back."""
        self.pool.dispose()
        for record in list(self._records):
            if record.dbapi_connection is not None:
                record.invalidate()

    def abandon(self) -> None:
        """Let go of all connections without their loop, which is closed."""
        for record in list(self._records):
            if record.dbapi_connection is not None:
                _let_go(record.driver_connection)
                record.dbapi_connection = None  # type: ignore[misc]  # a slot of the one subclass there is

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._siblings.pop(self._loop, None)
            await greenlet_spawn(self.close_all)


async def _is_over(turn: Future[None]) -> bool:
    done, _ = await asyncio.wait([asyncio.wrap_future(turn)], timeout=MOST_SECONDS_OF_A_TURN)
    return bool(done)


async def _spawn(function: Any) -> None:
    await greenlet_spawn(function)


def _get_running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _let_go(driver_connection: Any) -> None:
    """Free a driver's connection whose event loop is closed, so that neither a thread nor a socket is left behind.

    The drivers' own ways to close need the loop: aiosqlite 0.22 reports to it, asyncpg 0.32 and aiomysql 0.3 close
    their transport by a callback of it. So the worker is told to stop without a report, and the socket is closed.
    """
    if hasattr(driver_connection, "_tx"):  # aiosqlite
        _stop_worker(driver_connection)
    elif hasattr(driver_connection, "pgconn"):  # psycopg
        driver_connection.pgconn.finish()
    else:
        transport = _transport_of(driver_connection)
        with contextlib.suppress(
            RuntimeError, AttributeError
        ):  # asyncpg marks itself as closed before it asks the loop
            driver_connection.terminate()
        _close_socket(transport)


def _transport_of(driver_connection: Any) -> Any:
    writer = getattr(driver_connection, "_writer", None)
    if writer is None:
        return getattr(driver_connection, "_transport", None)  # asyncpg, asyncmy
    driver_connection._writer = None  # noqa: SLF001  # aiomysql: how it knows that it is closed
    return writer.transport


def _stop_worker(driver_connection: Any) -> None:
    from aiosqlite.core import _STOP_RUNNING_SENTINEL  # noqa: PLC0415  # only where aiosqlite is in use

    def close() -> object:
        driver_connection._running = False  # noqa: SLF001
        if driver_connection._connection is not None:  # noqa: SLF001
            driver_connection._connection.close()  # noqa: SLF001
            driver_connection._connection = None  # noqa: SLF001
        return _STOP_RUNNING_SENTINEL

    driver_connection._tx.put_nowait((None, close))  # noqa: SLF001


def _close_socket(transport: Any) -> None:
    sock = getattr(transport, "_sock", None)
    if sock is not None:  # a transport of asyncio; it warns when it is collected with a socket
        sock.close()
        transport._sock = None  # noqa: SLF001
        transport._closing = True  # noqa: SLF001


@atexit.register
def _abandon_at_exit() -> None:
    for pool in list(_loop_pools):
        pool.abandon_closed()
