"""One connection pool per event loop, behind one pool.

A connection of an asynchronous driver belongs to the event loop that opened it. An engine whose pool is a
:class:`LoopPool` may be used from every loop of the process, one after the other or at once. A loop that shuts down
closes its connections; one that was closed without notice costs them, and they are let go when the next loop comes, or
at exit. This module must not know what a database is.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.pool import NullPool, Pool, PoolProxiedConnection
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from engineroom._loops import moving
from engineroom._loops.let_go import stop_once
from engineroom._loops.pool_of_loop import PoolOfLoop, abandon_closed_loops, running_loop

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["LoopPool", "pool_per_loop"]

MOST_SECONDS_OF_A_TURN = 10.0
SECONDS_BETWEEN_LOOKS = 0.005


def pool_per_loop(engine: Engine, *, is_kept: bool = False) -> None:
    """Give an engine of an asynchronous driver a pool for each event loop.

    Must be called before the engine's first connection. A ``NullPool`` stays: it keeps no connection from one loop to
    another anyway.

    Args:
        engine: The engine.
        is_kept: Whether idle connections wait for the next loop when theirs is over, where the driver's can.
    """
    if not isinstance(engine.pool, (NullPool, LoopPool)):
        driver = engine.dialect.driver
        is_kept = is_kept and driver in moving.DRIVERS
        engine.pool = LoopPool(engine.pool, is_kept=is_kept)
        if is_kept:
            event.listen(engine, "do_connect", lambda *connect: moving.let_move(driver, connect[-1]))
    _let_loops_connect_first(engine)
    event.listen(engine, "engine_disposed", _let_loops_connect_first)  # it has a new pool then
    event.listen(engine, "connect", lambda connection, _: stop_once(connection.driver_connection))


class LoopPool(Pool):
    """A pool that keeps one pool for each running event loop; threads and loops may share it.

    What an application asks of a pool (``checkedout()``, ``size()``, ...) is answered with the sum over the loops.

    Args:
        template: The pool that SQLAlchemy configured; it opens no connection itself, its copies do.
        is_kept: Whether idle connections wait for the next loop when theirs is over.
    """

    def __init__(self, template: Pool, *, is_kept: bool = False) -> None:
        """Share the template's configuration and listeners."""
        super().__init__(
            template._creator,  # noqa: SLF001
            echo=template.echo,
            logging_name=template._orig_logging_name,  # noqa: SLF001
            dialect=template._dialect,  # noqa: SLF001
        )
        # One set of listeners for all: those that an application adds later count for every loop, and SQLAlchemy's
        # own first-connect listener initialises the dialect once, not once a loop.
        self.__dict__["dispatch"] = template.dispatch
        self._template = template
        self._is_kept = is_kept
        self._mutex = threading.Lock()
        self._pools: dict[asyncio.AbstractEventLoop, PoolOfLoop] = {}
        self._waiting: list[PoolOfLoop] = []

    def __getattr__(self, name: str) -> Any:
        """Return what only the template's class has, such as its ``timeout()``."""
        if name == "_template":  # not there yet
            raise AttributeError(name)
        return getattr(self._template, name)

    def connect(self) -> PoolProxiedConnection:
        """Take a connection from the pool of the running loop."""
        loop = running_loop()
        if loop is None:
            return self._template.connect()  # the driver says what is missing, as with a pool of SQLAlchemy's
        pool_of_loop = self._pools.get(loop) or self._open_pool(loop)
        pool_of_loop.await_arrival()
        return pool_of_loop.pool.connect()

    def dispose(self) -> None:
        """Close the idle connections of every loop, each in the loop that it belongs to.

        Those in use are closed when they come back, as when SQLAlchemy disposes of a pool.
        """
        with self._mutex:
            pools, waiting = list(self._pools.values()), list(self._waiting)
            self._pools.clear()
            self._waiting.clear()
        for pool_of_loop in waiting:
            pool_of_loop.throw_away()
        for pool_of_loop in pools:
            pool_of_loop.retire()

    def recreate(self) -> LoopPool:
        """Return a new pool of the same configuration."""
        return LoopPool(self._template.recreate(), is_kept=self._is_kept)

    def abandon_closed(self) -> None:
        """Let go of the connections of loops that were closed without notice, of every engine."""
        abandon_closed_loops()

    def status(self) -> str:
        """Tell the state of each loop's pool."""
        return "; ".join(pool.status() for pool in self._open_pools())

    def size(self) -> int:
        """Count the connections that the pools may keep."""
        return self._count("size")

    def checkedin(self) -> int:
        """Count the idle connections."""
        return self._count("checkedin")

    def checkedout(self) -> int:
        """Count the connections in use."""
        return self._count("checkedout")

    def overflow(self) -> int:
        """Count the connections beyond the size of the pools; negative as long as they are not full."""
        return self._count("overflow")

    def _count(self, what: str) -> int:
        return sum(getattr(pool, what)() for pool in self._open_pools())

    def _open_pools(self) -> list[Pool]:
        """Return the pools of the loops that are not closed; where there is none, one that never connected."""
        with self._mutex:
            pools = [known.pool for loop, known in self._pools.items() if not loop.is_closed()]
        return pools or [self._template]

    def _open_pool(self, loop: asyncio.AbstractEventLoop) -> PoolOfLoop:
        abandon_closed_loops()
        with self._mutex:
            for closed in [known for known in self._pools if known.is_closed()]:
                del self._pools[closed]
            if loop in self._pools:
                return self._pools[loop]  # another task of this loop was faster
            waiting = self._waiting.pop() if self._waiting and in_greenlet() else None
            pool_of_loop = self._pools[loop] = waiting or self._make_pool(loop)
        if waiting is not None:
            waiting.move_to(loop)
        return pool_of_loop

    def _make_pool(self, loop: asyncio.AbstractEventLoop) -> PoolOfLoop:
        pool = self._template.recreate()
        pool.__dict__["dispatch"] = self.dispatch
        return PoolOfLoop(pool, loop, self._leave, is_kept=self._is_kept)

    def _leave(self, pool_of_loop: PoolOfLoop) -> None:
        """Take leave of a loop that is over."""
        with self._mutex:
            if self._pools.get(pool_of_loop.loop) is pool_of_loop:
                del self._pools[pool_of_loop.loop]
            if pool_of_loop.is_waiting:
                self._waiting.append(pool_of_loop)


class _FirstConnectionLock:
    """Keeps the first connections of several loops apart, while SQLAlchemy initialises the dialect.

    It stands in for SQLAlchemy's ``asyncio.Lock``, which belongs to the loop in which somebody first had to wait for
    it; a waiter from a second loop would get an error.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> bool:
        deadline = time.monotonic() + MOST_SECONDS_OF_A_TURN
        while not self._lock.acquire(blocking=False):
            if time.monotonic() > deadline:
                return False  # who holds it does not get on, perhaps since its loop was stopped
            await_only(asyncio.sleep(SECONDS_BETWEEN_LOOKS))
        return True

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):
            self._lock.release()


def _let_loops_connect_first(engine: Engine) -> None:
    dispatch = engine.pool.dispatch
    for name in ("connect", "first_connect"):
        getattr(dispatch, name).for_modify(dispatch)._exec_once_mutex = _FirstConnectionLock()  # noqa: SLF001
