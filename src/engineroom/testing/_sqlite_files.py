"""Test databases of SQLite in files: held for one run, marked as ours, and emptied before they are built.

Answers: may this run have this file? Only if it holds nothing or carries the mark, and no other run holds it. The mark
is the ``application_id`` in the file's header, which no inspection of a schema shows.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import tempfile
import time
from pathlib import Path

from engineroom.errors import UnsafeTestDatabaseError

__all__ = ["HeldFile"]

MARK = int.from_bytes(b"engn", "big")
SECONDS_TO_EMPTY = 5.0
SECONDS_BETWEEN_TRIES = 0.01


class HeldFile:
    """A test database in a file that this run holds; the lock goes with the process.

    Args:
        path: The file, whether it exists or not.

    Raises:
        UnsafeTestDatabaseError: Another run holds it, or it holds something that engineroom did not make.
    """

    def __init__(self, path: Path) -> None:
        """Hold it, and empty it."""
        self._path = path
        self._lock = _lock(path)
        try:
            _empty(path)
            self.mark()
        except BaseException:
            self.close()
            raise

    def mark(self) -> None:
        """Put the mark on the file."""
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id = {MARK}").close()

    def close(self) -> None:
        """Let go of the file; it stays, and carries the mark."""
        os.close(self._lock)


def _lock(path: Path) -> int:
    # Not beside the file, where it would be seen, nor on the file, whose locks are SQLite's.
    name = hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"engineroom-{os.getuid()}-{name}.lock"
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise _refuse(path, "another run of tests uses it now", "wait until the other run has ended") from None
    return descriptor


def _empty(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=SECONDS_TO_EMPTY)) as connection:
        try:
            (identity,) = connection.execute("PRAGMA application_id").fetchone()
            (count,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()
        except sqlite3.DatabaseError as error:
            raise _refuse(path, f"it cannot be read: {error}", "remove the file") from None
        if count and identity != MARK:
            why = f"it holds {count} table{'s' * (count != 1)} that engineroom did not make"
            raise _refuse(path, why, "remove the file, if nobody needs what is in it")
        if count:
            _clear(connection, path)


def _clear(connection: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_EMPTY

    def give_up_in_time(status: int, _remaining: int, _total: int) -> None:
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() >= deadline:
            raise _refuse(path, "another program holds it locked", "end the program that has it open")

    with contextlib.closing(sqlite3.connect(":memory:")) as nothing:
        nothing.backup(connection, progress=give_up_in_time, sleep=SECONDS_BETWEEN_TRIES)


def _refuse(path: Path, why: str, fix: str) -> UnsafeTestDatabaseError:
    return UnsafeTestDatabaseError(
        f"Refused to build the test database in {path}.",
        why=f"{why}; a file is emptied for a run only if it holds nothing, or engineroom made what is in it.",
        fix=[fix, "name another file: TEST_DATABASE_URL=sqlite:///test_other.db"],
    )
