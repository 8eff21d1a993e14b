"""The baseline of a SQLite database, kept as images of the whole database.

SQLite's write-ahead log tells whether anybody committed. A restore brings back the rows of the tables that were written
to where that is enough, and else the whole image, whatever was written, DDL included.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom.errors import LifecycleError
from engineroom.testing._image import copy_of, rebase
from engineroom.testing._left_overs import describe_taken
from engineroom.testing._rows import RowRestore
from engineroom.testing._wal import Commit, Position, WriteAheadLog
from engineroom.testing.baseline import SECONDS_FOR_LEFT_OVERS, let_go_of_garbage

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from weakref import ref

    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["SQLiteBaseline", "SQLiteMark"]

SECONDS_BETWEEN_TRIES = 0.005
NEVER = Position(b"", -1)
"""A position that no log has."""


class SQLiteMark(NamedTuple):
    """A point in time at which a layer begins.

    Attributes:
        version: How far commits had come.
        image: The state, where it was not the baseline: a test had written already.
    """

    version: Position
    image: sqlite3.Connection | None

    def discard(self) -> None:
        """Close the image, where no layer comes of it."""
        if self.image is not None:
            self.image.close()


class _Layer(NamedTuple):
    """An image of the whole database, and the fixture whose state it holds; None for the schema and the seed."""

    owner: object
    image: sqlite3.Connection


class SQLiteBaseline:
    """The layers of one database in memory, and the one connection that watches and restores it.

    Args:
        path: The file of the database.
        connections: The connections that engines of this process have opened to it.
    """

    def __init__(self, path: Path, connections: Collection[ConnectionPoolEntry] = ()) -> None:
        """Take the present state as the lowest layer."""
        self._path = path
        self._file = str(path)
        self._connections = connections
        self._open()
        self._writers: list[object] = []  # fixtures of a wider scope that hold a transaction open which writes
        self._kept: set[ref[Any]] = set()  # what such fixtures have taken from a pool
        self._has_lost_a_layer = False
        self._version = self._read_version()
        self._layers = [_Layer(None, copy_of(self._keeper))]
        self._rows: RowRestore | None = None
        self._copied: Commit | None = None  # which made the database a copy of the topmost image, page by page

    @property
    def is_on_server(self) -> bool:
        """No: a file is looked at in no time."""
        return False

    @property
    def is_dirty(self) -> bool:
        """Whether anybody committed since the baseline was taken or restored last."""
        return self._has_lost_a_layer or self._version != self._read_version() or self._is_replaced()

    @property
    def is_known_dirty(self) -> bool:
        """The same: a file tells of every commit."""
        return self.is_dirty

    @property
    def is_left_open(self) -> bool:
        """Whether a transaction that writes is open, other than one of a fixture of a wider scope."""
        return not self._writers and self._is_locked() and not self._is_kept_in_transaction()

    def mark(self) -> SQLiteMark:
        """Note where a layer begins."""
        if self._has_lost_a_layer:
            self.restore()  # a fixture that is set up again, with another parameter, must not meet what it left
        version = self._read_version()
        return SQLiteMark(version, None if version == self._version else copy_of(self._keeper))

    def push(self, owner: object, since: SQLiteMark) -> None:
        """Take what was written since a mark into the baseline, until its owner is popped.

        Args:
            owner: Whose state it is.
            since: What was written before the mark stays out of the layer.
        """
        if self._is_locked():
            self._writers.append(owner)
        self._kept = {record.fairy_ref for record in self._taken()}
        version = self._read_version()
        if version != since.version:
            if since.image is None:
                self._layers.append(_Layer(owner, copy_of(self._keeper)))
                self._version = version
                self._forget_copy()
            else:
                now = copy_of(self._keeper)
                self._layers.append(_Layer(owner, rebase(self._layers[-1].image, since.image, now)))
                self._forget_copy()
                now.close()
        since.discard()

    def adopt(self, owner: object) -> None:
        """Take the present state into the baseline, until its owner is popped."""
        self.push(owner, SQLiteMark(NEVER, None))

    def pop(self, owner: object) -> None:
        """Let go of what an owner wrote; the layers above it stay."""
        if not self._writers and len(self._layers) == 1:
            return
        self._writers = [writer for writer in self._writers if writer is not owner]
        for index in range(len(self._layers) - 1, 0, -1):
            if self._layers[index].owner is owner:
                self._remove(index)

    def restore(self, *, seconds: float = SECONDS_FOR_LEFT_OVERS) -> None:
        """Bring the baseline back.

        Args:
            seconds: How long a transaction that writes may take to end.

        Raises:
            LifecycleError: A connection holds a transaction open that writes, and does not end it.
        """
        __tracebackhide__ = True
        if self._is_replaced():
            self._keeper.close()
            self._log.close()
            self._open()
            self._forget_copy()
        if not self._bring_back(time.monotonic()):
            let_go_of_garbage()
            if not self._bring_back(time.monotonic() + seconds):
                self._version = NEVER
                raise _left_over(seconds, describe_taken(self._taken()))
        self._has_lost_a_layer = False

    def undo(self) -> None:
        """Restore, if anybody wrote or holds a transaction open that writes."""
        __tracebackhide__ = True
        if self.is_dirty or self.is_left_open:
            self.restore()

    def close(self) -> None:
        """Bring the schema and the seed back, as far as nobody holds on to the database, and close all connections."""
        lowest, *above = self._layers
        with contextlib.suppress(sqlite3.Error):
            if self.is_dirty or above:
                self._layers = [lowest]
                self._copy_image(time.monotonic())
        for layer in (lowest, *above):
            layer.image.close()
        with contextlib.suppress(sqlite3.Error):
            self._keeper.close()
        self._log.close()

    def _open(self) -> None:
        # Waiting is done here, where a deadline can be kept: SQLite's own would be counted anew at each try.
        self._keeper = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)
        self._keeper.execute("PRAGMA journal_mode = WAL").close()
        self._keeper.execute("PRAGMA synchronous = OFF").close()
        self._keeper.execute("PRAGMA wal_autocheckpoint = 0").close()  # the log is read, and only others begin it anew
        self._keeper.execute("SELECT count(*) FROM sqlite_master").close()  # it has a log from the first read on
        self._log = WriteAheadLog(self._path)
        self._inode = self._path.stat().st_ino

    def _is_replaced(self) -> bool:
        """Tell whether the file was removed, as tools that drop a database do, and perhaps made anew."""
        try:
            return os.stat(self._file).st_ino != self._inode  # noqa: PTH116  # asked several times a test
        except FileNotFoundError:
            return True

    def _is_locked(self) -> bool:
        try:
            self._keeper.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError:
            return True
        self._keeper.execute("ROLLBACK").close()
        return False

    def _taken(self) -> list[Any]:
        """Return the connections that are out of their pool; each time that one is taken it gets a new reference."""
        return [record for record in list(self._connections) if record.in_use]

    def _is_kept_in_transaction(self) -> bool:
        taken = [record for record in self._taken() if record.fairy_ref in self._kept]
        with contextlib.suppress(ValueError):  # aiosqlite's word for a connection that was closed
            return any(getattr(record.driver_connection, "in_transaction", False) for record in taken)
        return False

    def _read_version(self) -> Position:
        return self._log.position()

    def _forget_copy(self) -> None:
        """Forget what is known of the topmost image's place in the database."""
        if self._rows is not None:
            self._rows.close()
        self._rows = self._copied = None

    def _remove(self, index: int) -> None:
        """Take a layer out, and make those above it anew without its changes."""
        self._forget_copy()
        removed, above = self._layers[index], self._layers[index + 1 :]
        del self._layers[index:]
        old = removed.image
        for layer in above:
            self._layers.append(_Layer(layer.owner, rebase(self._layers[-1].image, old, layer.image)))
            old.close()
            old = layer.image
        old.close()
        self._has_lost_a_layer = True

    def _bring_back(self, deadline: float) -> bool:
        """Bring the topmost image back; False if the database was locked until the deadline."""
        while (rows := self._rows or self._prepare_rows()) is not None:
            restored = rows.restore(self._version)
            if restored.position is not None:
                self._version = restored.position
                return True
            if not restored.is_locked:
                break
            if time.monotonic() >= deadline:
                return False
            time.sleep(SECONDS_BETWEEN_TRIES)
        return self._copy_image(deadline)

    def _prepare_rows(self) -> RowRestore | None:
        """Find out how the rows of the topmost image are brought back; None where they cannot be."""
        page = None if self._copied is None else self._log.page(1, self._copied)
        if page is not None and hasattr(sqlite3.Connection, "serialize"):  # SQLite may be built without
            self._rows = RowRestore(self._layers[-1].image, self._path, self._log, page)
        return self._rows

    def _copy_image(self, deadline: float) -> bool:
        """Copy the topmost image over the database; False if it was locked until the deadline."""

        def give_up_in_time(status: int, _remaining: int, _total: int) -> None:
            if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() >= deadline:
                raise _LockedError

        before = self._version = self._read_version()
        has_other_schema = _schema_of(self._keeper) != _schema_of(self._layers[-1].image)
        try:
            self._layers[-1].image.backup(self._keeper, progress=give_up_in_time, sleep=SECONDS_BETWEEN_TRIES)
        except _LockedError:
            return False
        self._copied = self._log.next_commit(before)
        if self._copied is not None:
            self._version = self._copied.end
        if has_other_schema:
            self._renew_connections()
        return True

    def _renew_connections(self) -> None:
        """Have the pools open their connections anew: they know the schema that is gone.

        SQLite looks at the schema again before it calls a table or a column missing, but not before it finds that an
        INSERT without names has the wrong number of values.
        """
        for record in list(self._connections):
            record.invalidate(soft=True)


def _schema_of(database: sqlite3.Connection) -> list[tuple[str, ...]] | None:
    """Return what tells one schema from another; None where it cannot be read now."""
    try:
        with contextlib.closing(database.execute("SELECT name, sql FROM sqlite_master")) as cursor:
            return cursor.fetchall()
    except sqlite3.Error:
        return None


class _LockedError(Exception):
    """The database stayed locked."""


def _left_over(seconds: float, taken: str) -> LifecycleError:
    return LifecycleError(
        "A transaction that writes was still open when the test ended.",
        why=(
            f"the baseline could not be restored within {seconds:g} seconds, since a connection that the test or one "
            "of its fixtures took has neither committed, nor rolled back, nor been closed"
            f"{f'; it was taken at {taken}' if taken else ''}."
        ),
        fix=[
            "close the session in the test or the fixture: with session_maker() as session: ...",
            "wait for the task or the thread that still writes before the test ends",
        ],
    )
