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

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import TracebackType

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["WATCH_KEY", "Permit", "Watched", "allow_destructive"]

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
        self._holder: tuple[int, object] | None = None
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

    def covers(self, operation: str, objects: Iterable[str]) -> bool:
        """Tell whether an operation on some objects is permitted, as narrowed by the caller."""
        if not self.is_open:
            return False
        if self._operations is not None and not {operation, operation.partition(" ")[0]} & self._operations:
            return False
        return self._objects is None or all(name in self._objects for name in objects)

    def note_use(self, operation: str, objects: Iterable[str]) -> None:
        """Log that the permit let an operation pass; names only, never values."""
        what = f"{operation} {', '.join(objects)}".strip()
        logger.warning("permitted on database %s: %s (reason: %s)", self.database, what, self.reason)

    def __enter__(self) -> Self:
        """Open the permit for the current thread or task."""
        if self.is_open:
            raise InvalidSettingError(
                f'The permit for database "{self.database}" is open already.',
                why="a permit is one visible block; it is entered once and belongs to who entered it.",
                fix=["call engineroom.allow_destructive(...) anew for each block"],
            )
        self._holder = _current_holder()
        event.listen(self._engine, "checkout", self._take)
        event.listen(self._engine, "checkin", self._give_back)
        logger.info("permit opened for database %s (reason: %s)", self.database, self.reason)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the permit, also for connections that are still out."""
        self._holder = None
        event.remove(self._engine, "checkout", self._take)
        event.remove(self._engine, "checkin", self._give_back)
        with self._mutex:
            watches, self._watches = self._watches, []
        for watch in watches:
            watch.revoke(self)
        logger.info("permit closed for database %s", self.database)

    async def __aenter__(self) -> Self:
        """Open the permit for the current task."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the permit."""
        self.__exit__(kind, error, traceback)

    def _take(self, _dbapi_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        watch: Watched | None = record.info.get(WATCH_KEY)
        if watch is None or self._holder != _current_holder():
            return
        if self.database not in watch.names:
            raise _wrong_name(self.database, watch.names)
        with self._mutex:
            self._watches.append(watch)
        watch.grant(self)

    def _give_back(self, _dbapi_connection: object, record: ConnectionPoolEntry) -> None:
        watch: Watched | None = record.info.get(WATCH_KEY)
        if watch is None:
            return
        with self._mutex:
            if watch not in self._watches:
                return
            self._watches.remove(watch)
        watch.revoke(self)


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
        database: The name of the database that is really reached; for SQLite the file's name, such as ``shop.db``.
        reason: Why the loss is wanted; it is logged with every use.
        operations: Narrow the permit to these operations, such as ``"drop table"`` or all of one verb, ``"drop"``.
        objects: Narrow the permit to these objects, such as ``"users"``.

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


def _current_holder() -> tuple[int, Any]:
    """Identify who runs: the thread, and the task where there is one."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), task


def _wrong_name(named: str, names: Collection[str]) -> InvalidSettingError:
    reached = " or ".join(f'"{name}"' for name in sorted(names, key=len)) or "a database whose name is not known"
    return InvalidSettingError(
        f'The permit names the database "{named}", but the connection reaches another one.',
        why=f"the connection says that it reaches {reached}; nothing was executed.",
        fix=["name the database that is meant to lose something", "point the engine at the database that was named"],
    )
