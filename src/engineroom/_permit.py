"""Permits: which destructive operations somebody allowed, on which database, for whom and until when.

A permit is a visible block with a reason. It holds for the connections that the entering thread or task takes inside
the block, never for those of others, and names the database that these must really reach. This module does not judge
operations: the guard asks the permits of a connection.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol, Self
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from types import TracebackType

    from sqlalchemy import Engine
    from sqlalchemy.engine import Dialect
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["WATCH_KEY", "Grants", "OpenPermits", "Permit", "Watched", "allow_destructive", "permits_of"]

WATCH_KEY = "engineroom.watch"
"""Where a pool's connection record keeps the watch of its connection."""

logger = logging.getLogger("engineroom.permit")


class Watched(Protocol):
    """What a permit needs of the guard's watch over one connection."""

    @property
    def names(self) -> Collection[str]:
        """The names by which the database that is really reached may be called."""
        ...

    def grant(self, permit: Permit) -> None:
        """Let a permit hold for this connection."""
        ...

    def revoke(self, permit: Permit) -> None:
        """Let it hold no longer."""
        ...


class Permit:
    """An open or closed permit; made by :func:`allow_destructive`."""

    def __init__(
        self,
        engine: Engine,
        *,
        database: str,
        reason: str,
        operations: frozenset[str] | None,
        objects: frozenset[str] | None,
    ) -> None:
        """Keep what is permitted; nothing is open until the block is entered."""
        self.database = database
        self.reason = reason
        self._engine = engine
        self._operations = operations
        self._objects = objects
        self._holder: tuple[object, object] | None = None
        self._watches: list[Watched] = []
        self._mutex = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the block is being executed."""
        return self._holder is not None

    @property
    def names_objects(self) -> bool:
        """Whether the permit is narrowed to objects."""
        return self._objects is not None

    def covers(self, operation: str, objects: Sequence[str]) -> bool:
        """Tell whether an operation is permitted, as narrowed by the caller.

        Args:
            operation: The verb and the kind, such as ``drop table``.
            objects: All its objects; none for an operation on a whole database, or on what cannot be named.
        """
        if not self.is_open:
            return False
        if self._operations is not None and not {operation, operation.partition(" ")[0]} & self._operations:
            return False
        return self._objects is None or (bool(objects) and all(name in self._objects for name in objects))

    def tell_use(self, operation: str, objects: Sequence[str]) -> None:
        """Log that the permit let an operation pass; names only, never values."""
        what = f"{operation} {', '.join(objects)}".strip()
        logger.warning("permitted on database %s: %s (reason: %s)", self.database, what, self.reason)

    def hand_to(self, watch: Watched, record: ConnectionPoolEntry) -> None:
        """Let the permit hold for a connection that was just taken from the pool, if its holder took it.

        Raises:
            InvalidSettingError: The connection reaches another database than the one that was named.
        """
        if not _is_held_here(self._holder):
            return
        if self.database not in (names := watch.names):
            raise _wrong_name(self.database, names)
        with self._mutex:
            self._watches.append(watch)
        watch.grant(self)
        # Called when the connection goes back; costs nothing while there is no permit, unlike a listener.
        record.finalize_callback.append(lambda _: watch.revoke(self))  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        """Open the permit for the current thread or task."""
        with self._mutex:
            if self.is_open:
                raise InvalidSettingError(
                    f'The permit for database "{self.database}" is open already.',
                    why="a permit is one visible block, and belongs to the thread or task that entered it.",
                    fix=["call engineroom.allow_destructive(...) anew for each block"],
                )
            self._holder = _current_holder()
        permits_of(self._engine.dialect).open(self, self._engine)
        logger.info("permit opened for database %s (reason: %s)", self.database, self.reason)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the permit, also for connections that are still out."""
        self._holder = None
        permits_of(self._engine.dialect).close(self)
        with self._mutex:
            watches, self._watches = self._watches, []
        for watch in watches:
            watch.revoke(self)
        logger.info("permit closed for database %s (reason: %s)", self.database, self.reason)

    async def __aenter__(self) -> Self:
        """Open the permit for the current task."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the permit."""
        self.__exit__(kind, error, traceback)


class OpenPermits:
    """The permits that are open for one engine and its ``execution_options()`` copies, which share a dialect."""

    def __init__(self) -> None:
        """Start with none."""
        self._mutex = threading.Lock()
        self._open: tuple[Permit, ...] = ()  # exchanged as a whole, so that it can be read without the mutex

    def __bool__(self) -> bool:
        """Whether any permit is open."""
        return bool(self._open)

    def open(self, permit: Permit, engine: Engine) -> None:
        """Add a permit.

        The engine's pool is followed from the first permit on, and for good: SQLAlchemy allows no change of listeners
        while another thread may be calling them, and one that is never opened should cost nothing.
        """
        with self._mutex:
            self._open = (*self._open, permit)
            if self._hand_out not in engine.pool.dispatch.checkout:
                event.listen(engine, "checkout", self._hand_out)

    def close(self, permit: Permit) -> None:
        """Take a permit away."""
        with self._mutex:
            self._open = tuple(each for each in self._open if each is not permit)

    def _hand_out(self, _dbapi_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        watch: Watched | None = record.info.get(WATCH_KEY) if self._open else None
        if watch is None:
            return
        for permit in self._open:
            watch.revoke(permit)  # a pool that gives one connection to several: who takes it last decides
        for permit in self._open:
            permit.hand_to(watch, record)


class Grants:
    """The permits that hold for one connection."""

    def __init__(self) -> None:
        """Start with none."""
        self.permits: OpenPermits | None = None
        self._granted: list[Permit] = []
        self._uses: dict[tuple[Permit, str, tuple[str, ...]], None] = {}

    @property
    def note(self) -> str:
        """What a refusal has to add about permits."""
        if any(permit.is_open for permit in self._granted):
            return "The permit that is open here does not cover this."
        if self.permits:
            return "A permit is open, but not for this connection: it was taken before the block, or by somebody else."
        return ""

    def add(self, permit: Permit) -> None:
        """Let a permit hold."""
        self._granted.append(permit)

    def remove(self, permit: Permit) -> None:
        """Let a permit hold no longer, and tell what it was used for."""
        self._granted = [each for each in self._granted if each is not permit]
        self.tell_uses()

    def find(self, operation: str, objects: Sequence[str]) -> Permit | None:
        """Return the permit that covers an operation, the innermost first."""
        return next((permit for permit in reversed(self._granted) if permit.covers(operation, objects)), None)

    def note_use(self, permit: Permit, operation: str, objects: Sequence[str]) -> None:
        """Remember that a permit lets an operation pass.

        It is told after the statement: this may be called while SQLite prepares it, when a handler of the log must not
        use the connection, and more than once.
        """
        self._uses[permit, operation, tuple(objects)] = None

    def tell_uses(self) -> None:
        """Log what the permits were used for since the last time."""
        uses, self._uses = self._uses, {}
        for permit, operation, objects in uses:
            permit.tell_use(operation, objects)


_permits: WeakKeyDictionary[Dialect, OpenPermits] = WeakKeyDictionary()


def permits_of(dialect: Dialect) -> OpenPermits:
    """Return the permits that are open for the engines of a dialect."""
    return _permits.setdefault(dialect, OpenPermits())


def allow_destructive(
    engine: Engine | AsyncEngine,
    *,
    database: str,
    reason: str,
    operations: str | Iterable[str] | None = None,
    objects: str | Iterable[str] | None = None,
) -> Permit:
    """Permit destructive operations on one database, inside one block, for one reason.

    The permit holds for connections that the entering thread or task takes from the engine inside the block: not for
    one taken earlier, nor for those of other threads and tasks. It never opens the fence of a test run.

    Args:
        engine: An engine of the factory, or one given to :func:`engineroom.guard`.
        database: The name of the database that is really reached; for SQLite the file's name, such as ``shop.db``. The
            permit opens no other one, such as one that the connection attaches.
        reason: Why the loss is wanted; it is logged with every use.
        operations: Narrow the permit to these operations, such as ``"drop table"`` or all of one verb, ``"drop"``.
        objects: Narrow the permit to these objects, such as ``"users"`` or ``"users.email"``.

    Returns:
        A context manager for ``with`` and ``async with``.

    Raises:
        InvalidSettingError: The reason or the name is empty; at the first connection inside the block: it reaches
            another database than the one that was named.

    Example:
        >>> from sqlalchemy import create_engine, text
        >>> import engineroom
        >>> engine = engineroom.guard(create_engine("sqlite://"))
        >>> with engineroom.allow_destructive(engine, database=":memory:", reason="the old cache moved to Redis"):
        ...     with engine.begin() as connection:
        ...         _ = connection.execute(text("DROP TABLE IF EXISTS cache"))
    """
    for name, value in (("database", database), ("reason", reason)):
        if not value.strip():
            raise InvalidSettingError(
                f"The permit has no {name}.",
                why="a permit names the database that is really reached and says why the loss is wanted.",
                fix=['write allow_destructive(engine, database="shop", reason="drop the table of the old importer")'],
            )
    return Permit(
        engine.sync_engine if isinstance(engine, AsyncEngine) else engine,
        database=database,
        reason=reason,
        operations=_as_set(operations, normalize=lambda word: " ".join(word.casefold().split())),
        objects=_as_set(objects, normalize=str),
    )


def _as_set(words: str | Iterable[str] | None, *, normalize: Callable[[str], str]) -> frozenset[str] | None:
    if words is None:
        return None
    return frozenset(normalize(word) for word in ([words] if isinstance(words, str) else words))


def _current_holder() -> tuple[object, Any]:
    """Identify who runs: the thread, and the task where there is one. A thread's number is used again after its end."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.current_thread(), task


def _is_held_here(holder: tuple[object, object] | None) -> bool:
    """Tell whether the holder is who runs now; whatever a thread runs inside its own block belongs to it."""
    if holder is None:
        return False
    thread, task = _current_holder()
    return holder[0] is thread and holder[1] in {None, task}


def _wrong_name(named: str, names: Collection[str]) -> InvalidSettingError:
    reached = " or ".join(f'"{name}"' for name in sorted(names, key=len)) or "a database whose name is not known"
    return InvalidSettingError(
        f'The permit names the database "{named}", but the connection reaches another one.',
        why=f"the connection says that it reaches {reached}; nothing was executed.",
        fix=["name the database that is meant to lose something", "point the engine at the database that was named"],
    )
