"""SQLite's write-ahead log, read as a file: which pages were committed since, whoever wrote them.

It asks no connection and sends no statement. The log holds no lock of SQLite's, so that opening and closing it beside
SQLite is harmless; the same would be wrong for the database file, whose locks a process loses when it closes any
descriptor of it. The format is https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Commit", "Position", "WriteAheadLog"]

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
SALTS = slice(16, 24)  # of the header; they change whenever the log begins anew
SALTS_OF_FRAME = slice(8, 16)
PAGE_SIZE = slice(8, 12)


class Position(NamedTuple):
    """How far a log has come.

    Attributes:
        salts: What tells this log from those before it; empty where there is none.
        frames: How many pages stand in it up to there.
    """

    salts: bytes
    frames: int


class Commit(NamedTuple):
    """One commit: what stands between two positions.

    Attributes:
        start: Where the log was before it; perhaps in one that has ended since.
        end: Where it ends.
    """

    start: Position
    end: Position


class WriteAheadLog:
    """The log of one database.

    It is asked several times a test. What was read once is remembered, a number for each page that was committed.

    Args:
        database: The file of the database, to which a connection is open as long as this is used.
    """

    def __init__(self, database: Path) -> None:
        """Open it; a connection has read or written the database already."""
        self._descriptor = os.open(f"{database}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._begin(b"")

    def position(self) -> Position:
        """Return how far commits have come."""
        self._read_on()
        return Position(self._salts, len(self._pages))

    def pages_since(self, start: Position) -> dict[int, int] | None:
        """Return the pages that were written since, each with the place of its last content.

        Args:
            start: How far the log had come.

        Returns:
            None where that is not known: the log began anew.
        """
        self._read_on()
        if not start.salts or start.salts != self._salts:
            return None
        return {self._pages[index]: self._place(index) for index in range(start.frames, len(self._pages))}

    def next_commit(self, start: Position) -> Commit | None:
        """Return the first commit after a position, or None where there is none.

        Where the log began anew since, that is its first commit.
        """
        self._read_on()
        index = bisect_right(self._commits, start.frames) if start.salts == self._salts else 0
        if index == len(self._commits):
            return None
        return Commit(start, Position(self._salts, self._commits[index]))

    def page(self, number: int, commit: Commit) -> bytes | None:
        """Return a page as a commit left it, or None where it is not part of that, or no longer there."""
        self._read_on()
        start, end = commit
        if end.salts != self._salts:
            return None
        for index in range(start.frames if start.salts == end.salts else 0, end.frames):
            if self._pages[index] == number:
                return self.read(self._place(index), self._frame_size - FRAME_HEADER_BYTES)
        return None

    def read(self, place: int, size: int) -> bytes:
        """Return content of the log."""
        return os.pread(self._descriptor, size, place)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _begin(self, header: bytes) -> None:
        self._salts = header[SALTS]
        self._frame_size = FRAME_HEADER_BYTES + int.from_bytes(header[PAGE_SIZE], "big")
        self._pages: list[int] = []  # of each frame of a commit, in order
        self._commits: list[int] = []  # how many frames there were at the end of each

    def _read_on(self) -> None:
        """Take in what was committed since the last time."""
        header = os.pread(self._descriptor, HEADER_BYTES, 0)
        if header[SALTS] != self._salts:
            self._begin(header)
        descriptor, salts, size, pages = self._descriptor, self._salts, self._frame_size, self._pages
        place, written = HEADER_BYTES + len(pages) * size, []
        while True:
            frame = os.pread(descriptor, FRAME_HEADER_BYTES, place)
            if frame[SALTS_OF_FRAME] != salts or len(frame) < FRAME_HEADER_BYTES:
                return  # what stands before is no commit: it was rolled back, or is not finished
            place += size
            written.append(int.from_bytes(frame[:4], "big"))
            if frame[4:8] != b"\0\0\0\0":
                pages += written
                self._commits.append(len(pages))
                written = []

    def _place(self, index: int) -> int:
        """Return where the content of a frame stands."""
        return HEADER_BYTES + index * self._frame_size + FRAME_HEADER_BYTES
