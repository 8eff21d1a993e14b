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
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.pool import NullPool, Pool, PoolProxiedConnection
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from engineroom._forks import keep_for_ever, take_connection
from engineroom._interpreter import call_in_child
from engineroom._loops.let_go import let_go, stop_once, worker_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["LoopPool", "pool_per_loop"]

MOST_SECONDS_OF_A_TURN = 10.0
LOOP_ENDED = "it ended with its event loop, which was shut down or closed"
SECONDS_BETWEEN_LOOKS = 0.005
MOST_SECONDS_FOR_RETURNS = 5.0


def pool_per_loop(engine: Engine) -> None:
    """Give an engine of an asynchronous driver a pool for each event loop.

    Must be called before the engine's first connection. A ``NullPool`` stays: it keeps no connection from one loop to
    another anyway.
    """
    if not isinstance(engine.pool, (NullPool, LoopPool)):
        engine.pool = LoopPool(engine.pool)
    _let_loops_connect_first(engine)
    event.listen(engine, "engine_disposed", _let_loops_connect_first)  # it has a new pool then
    event.listen(engine, "connect", lambda connection, _: stop_once(connection.driver_connection))


class LoopPool(Pool):
    """A pool that keeps one pool for each running event loop; threads and loops may share it.

    What an application asks of a pool (``checkedout()``, ``size()``, ...) is answered with the sum over the loops.

    Args:
        template: The pool that SQLAlchemy configured; it opens no connection itself, its copies do.
    """

    def __init__(self, template: Pool) -> None:
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
        self._mutex = threading.Lock()
        self._pools: dict[asyncio.AbstractEventLoop, _PoolOfLoop] = {}

    def __getattr__(self, name: str) -> Any:
        """Return what only the template's class has, such as its ``timeout()``."""
        if name == "_template":  # not there yet
            raise AttributeError(name)
        return getattr(self._template, name)

    def connect(self) -> PoolProxiedConnection:
        """Take a connection from the pool of the running loop."""
        loop = _get_running_loop()
        if loop is None:
            return self._template.connect()  # the driver says what is missing, as with a pool of SQLAlchemy's
        known = self._pools.get(loop)
        return (known or self._open_pool(loop)).pool.connect()

    def dispose(self) -> None:
        """Close the idle connections of every loop, each in the loop that it belongs to.

        Those in use are closed when they come back, as when SQLAlchemy disposes of a pool.
        """
        with self._mutex:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool_of_loop in pools:
            pool_of_loop.retire()

    def recreate(self) -> LoopPool:
        """Return a new pool of the same configuration."""
        return LoopPool(self._template.recreate())

    def abandon_closed(self) -> None:
        """Let go of the connections of loops that were closed without notice, of every engine."""
        _abandon_closed_loops()

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

    def _open_pool(self, loop: asyncio.AbstractEventLoop) -> _PoolOfLoop:
        _abandon_closed_loops()
        pool = self._template.recreate()
        pool.__dict__["dispatch"] = self.dispatch
        with self._mutex:
            for closed in [known for known in self._pools if known.is_closed()]:
                del self._pools[closed]
            return self._pools.setdefault(loop, _PoolOfLoop(pool, loop, self._pools))


class _PoolOfLoop:
    """The pool of one event loop, and the connections that it opened."""

    def __init__(
        self, pool: Pool, loop: asyncio.AbstractEventLoop, siblings: dict[asyncio.AbstractEventLoop, _PoolOfLoop]
    ) -> None:
        self.pool = pool
        self.loop = loop
        self._siblings = siblings
        self._records: WeakSet[ConnectionPoolEntry] = WeakSet()
        self._workers: WeakSet[threading.Thread] = WeakSet()
        self._closer: AsyncGenerator[None, None] | None = None
        self._is_ending = bool(getattr(loop, "_asyncgens_shutdown_called", False))  # asyncio warns of a late generator
        self._tasks: set[asyncio.Task[None]] = set()
        self._create = pool._invoke_creator  # noqa: SLF001  # the one place that each connection of a pool comes from
        pool._invoke_creator = self._create_and_remember  # noqa: SLF001

    def retire(self) -> None:
        """Close the idle connections, in their loop, and each of the others when it comes back."""
        give_back = self.pool._do_return_conn  # noqa: SLF001

        def close_and_give_back(record: ConnectionPoolEntry) -> None:
            record.close()
            give_back(record)  # somebody may be waiting for it, and opens it anew
            self._finish_if_empty()

        self.pool._do_return_conn = close_and_give_back  # type: ignore[method-assign]  # noqa: SLF001
        if self.loop is _get_running_loop() and in_greenlet():
            self._close_idle()
        else:
            self._close_idle_soon()

    def abandon(self) -> None:
        """Let go of all connections without their loop, which is closed."""
        for record in list(self._records):
            driver_connection = record.driver_connection
            take_connection(record, LOOP_ENDED)
            if driver_connection is not None:
                let_go(driver_connection)

    def _create_and_remember(self, rec: ConnectionPoolEntry) -> Any:
        """Open a connection; from the first one on, the loop is asked to close them when it shuts down."""
        connection = self._create(rec)
        self._records.add(rec)
        worker = worker_of(connection.driver_connection)
        if worker is not None:
            self._workers.add(worker)
        _in_use.add(self)
        if self._closer is None and not self._is_ending:
            self._closer = self._close_with_loop()
            # Advancing the generator registers it with the running loop, which finalises it when it shuts down.
            with contextlib.suppress(StopIteration):
                self._closer.__anext__().send(None)
        return connection

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if self._closer is not None:
                self._is_ending = True
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._wait_for_returns()
                self._siblings.pop(self.loop, None)
                await greenlet_spawn(self._close_all)
                await self._wait_for_workers()
                _in_use.discard(self)

    async def _wait_for_returns(self) -> None:
        """Let other generators, which the loop closes at the same time, give back the connections that they use."""
        deadline = time.monotonic() + MOST_SECONDS_FOR_RETURNS
        task = asyncio.current_task()
        _closing.update({task} if task else ())
        while any(record.in_use for record in self._open_records()) and time.monotonic() < deadline:
            if not any(_closes_a_generator(each) for each in asyncio.all_tasks() - set(_closing)):
                break
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    async def _wait_for_workers(self) -> None:
        """Let the threads of a driver make their last report, which cannot be made to a closed loop."""
        deadline = time.monotonic() + MOST_SECONDS_FOR_RETURNS
        for worker in list(self._workers):
            while worker.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110  # a thread sets no event at its end
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def _close_all(self) -> None:
        """Close all connections, those included that somebody forgot to give back."""
        self.pool.dispose()
        for record in self._open_records():
            if not hasattr(record, "finalize_callback"):
                record.finalize_callback = deque()  # type: ignore[attr-defined]  # as in 2.0 if a listener failed
            record.invalidate()
            take_connection(record, LOOP_ENDED)

    def _close_idle(self) -> None:
        self.pool.dispose()
        self._finish_if_empty()

    def _close_idle_soon(self) -> None:
        """Have the loop close the idle connections when it runs next; if it is closed, let go of all."""

        def start() -> None:
            task = _TaskToTheEnd(_spawn(self._close_idle), loop=self.loop)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            self.loop.call_soon_threadsafe(start)
        except RuntimeError:
            _abandon_closed_loops()

    def _finish_if_empty(self) -> None:
        """Take leave of the loop when no connection is open any more."""
        if self._closer is None or self._is_ending or self._open_records():
            return
        closer, self._closer = self._closer, None
        _in_use.discard(self)
        with contextlib.suppress(StopIteration):
            closer.aclose().send(None)

    def _open_records(self) -> list[ConnectionPoolEntry]:
        return [record for record in list(self._records) if record.dbapi_connection is not None]


_in_use: set[_PoolOfLoop] = set()  # those with connections; single operations on a set are atomic
_closing: WeakSet[asyncio.Task[Any]] = WeakSet()  # the tasks in which loops that shut down close our connections


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


def _closes_a_generator(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task is one of those that ``loop.shutdown_asyncgens()`` gathers; it does not name them."""
    return type(task.get_coro()).__name__ == "async_generator_athrow"


class _TaskToTheEnd(asyncio.Task[None]):
    """A task that a loop cannot cancel when it shuts down, but waits for: half a close is none."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002  # the signature is asyncio's
        """Go on."""
        return False


async def _spawn(function: Any) -> None:
    await greenlet_spawn(function)


def _get_running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@atexit.register
def _abandon_closed_loops() -> None:
    """Let go of the connections of loops that were closed without notice."""
    for pool_of_loop in tuple(_in_use):
        if pool_of_loop.loop.is_closed():
            try:
                _in_use.remove(pool_of_loop)
            except KeyError:
                continue  # another thread does it
            pool_of_loop.abandon()


def _after_fork_in_child() -> None:
    keep_for_ever(list(_in_use))
    _in_use.clear()


call_in_child(_after_fork_in_child)
