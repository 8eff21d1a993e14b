"""The connection pool of one event loop: it ends with the loop, or is kept for the next one.

A loop that shuts down closes its connections; one that was closed without notice costs them, and they are let go when
the next loop comes, or at exit. Where connections are kept, those that can move wait for the next loop instead.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from engineroom._forks import keep_for_ever, take_connection
from engineroom._interpreter import call_in_child
from engineroom._loops import moving
from engineroom._loops.let_go import end, is_cancelling, let_go, worker_of

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncGenerator, Callable

    from sqlalchemy.pool import ConnectionPoolEntry, Pool

__all__ = ["PoolOfLoop", "abandon_closed_loops", "running_loop"]

LOOP_ENDED = "it ended with its event loop, which was shut down or closed"
SECONDS_BETWEEN_LOOKS = 0.005
MOST_SECONDS_FOR_RETURNS = 5.0


class PoolOfLoop:
    """The pool of one event loop, and the connections that it opened.

    Args:
        pool: The pool.
        loop: The running loop.
        leave: Called with this object when the loop is over.
        is_kept: Whether those that can move shall wait.
    """

    def __init__(
        self,
        pool: Pool,
        loop: asyncio.AbstractEventLoop,
        leave: Callable[[PoolOfLoop], None],
        *,
        is_kept: bool,
    ) -> None:
        """Begin without a connection."""
        self.pool = pool
        self.loop = loop
        self._leave = leave
        self._is_kept = is_kept and isinstance(pool, AsyncAdaptedQueuePool)
        self._waiting: list[ConnectionPoolEntry] = []
        self._arrival: asyncio.Event | None = None
        self._records: WeakSet[ConnectionPoolEntry] = WeakSet()
        self._workers: WeakSet[threading.Thread] = WeakSet()
        self._closer: AsyncGenerator[None, None] | None = None
        self._is_ending = bool(getattr(loop, "_asyncgens_shutdown_called", False))  # asyncio warns of a late generator
        self._tasks: set[asyncio.Task[None]] = set()
        self._create = pool._invoke_creator  # noqa: SLF001  # the one place that each connection of a pool comes from
        pool._invoke_creator = self._create_and_remember  # noqa: SLF001

    @property
    def is_waiting(self) -> bool:
        """Whether connections wait for another loop."""
        return bool(self._waiting)

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put the connections that waited into the running loop; one that was ended meanwhile is opened anew."""
        self.loop = loop
        self._closer, self._is_ending = None, bool(getattr(loop, "_asyncgens_shutdown_called", False))
        _waiting.discard(self)
        records, self._waiting = self._waiting, []
        self._arrival = asyncio.Event()
        there: set[ConnectionPoolEntry] = set()
        try:
            for record in records:
                if await_only(moving.put_in(record.dbapi_connection)):
                    there.add(record)
        finally:
            for record in records:
                if record not in there:
                    _take_and(end, record)
                self._queue.put_nowait(record)
            self._live_with_loop()
            self._arrival.set()
            self._arrival = None

    def await_arrival(self) -> None:
        """Let another task of the loop finish the move, instead of opening more connections meanwhile."""
        if self._arrival is not None:
            await_only(self._arrival.wait())

    def retire(self) -> None:
        """Close the idle connections, in their loop, and each of the others when it comes back."""
        self._is_kept = False
        give_back = self.pool._do_return_conn  # noqa: SLF001

        def close_and_give_back(record: ConnectionPoolEntry) -> None:
            record.close()
            give_back(record)  # somebody may be waiting for it, and opens it anew
            self._finish_if_empty()

        self.pool._do_return_conn = close_and_give_back  # type: ignore[method-assign]  # noqa: SLF001
        if self.loop is running_loop() and in_greenlet():
            self._close_idle()
        else:
            self._close_idle_soon()

    def abandon(self) -> None:
        """Do without the loop, which is closed: let go of all connections that cannot wait for another one."""
        self._wait_for_loop()
        for record in self._find_stayers():
            _take_and(let_go, record)
        self._leave(self)

    def throw_away(self) -> None:
        """Let go of the connections that wait for another loop."""
        _waiting.discard(self)
        records, self._waiting = self._waiting, []
        for record in records:
            _take_and(end, record)

    def _create_and_remember(self, rec: ConnectionPoolEntry) -> Any:
        """Open a connection; from the first one on, the loop is asked to close them when it shuts down."""
        connection = self._create(rec)
        self._records.add(rec)
        worker = worker_of(connection.driver_connection)
        if worker is not None:
            self._workers.add(worker)
        self._live_with_loop()
        return connection

    def _live_with_loop(self) -> None:
        """Have the loop tell when it shuts down."""
        _in_use.add(self)
        if self._closer is None and not self._is_ending:
            self._closer = self._close_with_loop()
            # Advancing the generator registers it with the running loop, which finalises it when it shuts down.
            with contextlib.suppress(StopIteration):
                self._closer.__anext__().send(None)

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if self._closer is not None:
                self._is_ending = True
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._wait_for_returns()
                if self._wait_for_loop():
                    await greenlet_spawn(self._close_stayers)
                    self._leave(self)
                else:
                    self._leave(self)
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

    def _wait_for_loop(self) -> bool:
        """Take the idle connections out of the loop; return whether any of them waits for another one.

        While one is in use none waits: the pool is at its end, and who uses it is told so.
        """
        if not self._is_kept or any(record.in_use for record in self._open_records()):
            return False
        for record in self._empty_queue():
            if record.dbapi_connection is not None and moving.take_out(record.driver_connection):
                self._waiting.append(record)
            else:
                self._queue.put_nowait(record)
        if self._waiting:
            _waiting.add(self)
        return bool(self._waiting)

    def _find_stayers(self) -> list[ConnectionPoolEntry]:
        """Return the records whose connections are open, and do not wait for another loop."""
        return [record for record in self._open_records() if record not in self._waiting]

    def _empty_queue(self) -> list[ConnectionPoolEntry]:
        """Return the idle records, and begin a new queue, as the old one belongs to the loop."""
        queue = self._queue
        self.pool._pool = self.pool.recreate()._pool  # type: ignore[attr-defined]  # noqa: SLF001
        records = []
        while not queue.empty():
            records.append(queue.get_nowait())
        return records

    @property
    def _queue(self) -> Any:
        """The idle records of the pool, those without a connection included."""
        return self.pool._pool  # type: ignore[attr-defined]  # noqa: SLF001

    async def _wait_for_workers(self) -> None:
        """Let the threads of a driver make their last report, which cannot be made to a closed loop."""
        deadline = time.monotonic() + MOST_SECONDS_FOR_RETURNS
        for worker in list(self._workers):
            while worker.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110  # a thread sets no event at its end
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def _close_stayers(self) -> None:
        for record in self._find_stayers():
            record.close()

    def _close_all(self) -> None:
        """Close all connections, those included that somebody forgot to give back."""
        for record in self._open_records():
            if is_cancelling(record.driver_connection):
                _take_and(end, record)  # to close it would wait until the server has finished
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
            abandon_closed_loops()

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


_in_use: set[PoolOfLoop] = set()  # those with connections; single operations on a set are atomic
_waiting: set[PoolOfLoop] = set()  # those whose connections wait for a loop
_closing: WeakSet[asyncio.Task[Any]] = WeakSet()  # the tasks in which loops that shut down close our connections


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


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def abandon_closed_loops() -> None:
    """Do without the loops that were closed without notice."""
    for pool_of_loop in tuple(_in_use):
        if pool_of_loop.loop.is_closed():
            try:
                _in_use.remove(pool_of_loop)
            except KeyError:
                continue  # another thread does it
            pool_of_loop.abandon()


def _take_and(do: Callable[[Any], None], record: ConnectionPoolEntry) -> None:
    """Take the connection out of a record, and do something to the driver's."""
    driver_connection = record.driver_connection
    take_connection(record, LOOP_ENDED)
    if driver_connection is not None:
        do(driver_connection)


@atexit.register
def _end() -> None:
    abandon_closed_loops()
    for pool_of_loop in tuple(_waiting):
        pool_of_loop.throw_away()


def _after_fork_in_child() -> None:
    keep_for_ever([*_in_use, *_waiting])
    _in_use.clear()
    _waiting.clear()


call_in_child(_after_fork_in_child)
