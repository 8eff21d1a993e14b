"""The baseline of a test database: the state that every test starts from, and how it is restored.

A baseline is a stack of images. The lowest is the schema with its seed; each fixture of a wider scope than one test
that wrote puts an image on top, which goes when the fixture goes. Commits are real: any connection of any process may
have made them. This module serves the databases in memory of a run and knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple

from engineroom.errors import LifecycleError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Baseline"]

SECONDS_FOR_LEFT_OVERS = 2.0
SECONDS_BETWEEN_TRIES = 0.005


class _Layer(NamedTuple):
    """An image of the whole database, and the fixture whose state it holds; None for the schema and the seed."""

    owner: object
    image: sqlite3.Connection


class Baseline:
    """The images of one database in memory, and the one connection that watches and restores it.

    SQLite tells a connection by its ``data_version`` whether any other one committed, so that a test which only read
    costs one question. A restore copies the whole image, whatever was written, DDL included.

    Args:
        path: The file of the database.
    """

    def __init__(self, path: Path) -> None:
        """Take the present state as the lowest image."""
        self._keeper = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._keeper.execute("PRAGMA synchronous = OFF").close()
        self._layers: list[_Layer] = []
        self._version = self._read_version()
        self.push(None)

    @property
    def is_dirty(self) -> bool:
        """Whether anybody committed since the baseline was taken or restored last."""
        return self._read_version() != self._version

    def push(self, owner: object) -> None:
        """Take the present state as the baseline from now on, until its owner is popped."""
        image = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._version = self._read_version()
        self._keeper.backup(image)
        self._layers.append(_Layer(owner, image))

    def pop(self, owner: object) -> None:
        """Forget the image of an owner, and those that were taken after it; the next restore goes below them."""
        positions = [index for index, layer in enumerate(self._layers) if layer.owner is owner and index]
        for layer in self._layers[min(positions, default=len(self._layers)) :]:
            layer.image.close()
        if positions:
            del self._layers[min(positions) :]
            self._version = -1

    def restore(self) -> None:
        """Bring the baseline back.

        Raises:
            LifecycleError: A connection holds a transaction open that writes, and does not end it.
        """
        version = self._read_version()
        deadline = time.monotonic() + SECONDS_FOR_LEFT_OVERS

        def give_up_in_time(status: int, _remaining: int, _total: int) -> None:
            if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > deadline:
                raise _StillWritingError

        try:
            self._layers[-1].image.backup(self._keeper, progress=give_up_in_time, sleep=SECONDS_BETWEEN_TRIES)
        except _StillWritingError:
            raise _left_over() from None
        self._version = version

    def close(self) -> None:
        """Close all connections."""
        for layer in self._layers:
            layer.image.close()
        with contextlib.suppress(sqlite3.Error):
            self._keeper.close()

    def _read_version(self) -> int:
        cursor = self._keeper.execute("PRAGMA data_version")
        version: int = cursor.fetchone()[0]
        cursor.close()
        return version


class _StillWritingError(Exception):
    """The database stayed locked."""


def _left_over() -> LifecycleError:
    return LifecycleError(
        "A transaction that writes was still open when the test ended.",
        why=(
            f"the baseline could not be restored within {SECONDS_FOR_LEFT_OVERS:g} seconds, since a connection that "
            "this test or one of its fixtures took has neither committed, nor rolled back, nor been closed."
        ),
        fix=[
            "close the session in the test or the fixture: with session_maker() as session: ...",
            "wait for the task or the thread that still writes before the test ends",
        ],
    )
