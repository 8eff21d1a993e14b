"""SQLite's write-ahead log, read as a file: which pages were committed since, whoever wrote them.

It asks no connection and sends no statement. The log holds no lock of SQLite's, so that opening and closing it beside
SQLite is harmless; the same would be wrong for the database file, whose locks a process loses when it closes any
descriptor of it. The format is https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        end: Where the next frame will stand.
    """

    salts: bytes
    end: int


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

    Args:
        database: The file of the database, to which a connection is open as long as this is used.
    """

    def __init__(self, database: Path) -> None:
        """Open it; a connection has read or written the database already."""
        self._descriptor = os.open(f"{database}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._known = Position(b"", HEADER_BYTES)

    def position(self) -> Position:
        """Return how far commits have come; it goes on from the last answer."""
        header = os.pread(self._descriptor, HEADER_BYTES, 0)
        known = self._known
        if header[SALTS] != known.salts:
            known = Position(header[SALTS], HEADER_BYTES)
        for _, end, is_commit in self._frames(header, known.end):
            if is_commit:
                known = Position(known.salts, end)
        self._known = known
        return known

    def pages_since(self, start: Position) -> dict[int, int] | None:
        """Return the pages that may have been written since, each with the place of its last content.

        Args:
            start: How far the log had come.

        Returns:
            None where that is not known: the log began anew. Pages of what was rolled back may be among them.
        """
        header = os.pread(self._descriptor, HEADER_BYTES, 0)
        if header[SALTS] != start.salts or not start.salts:
            return None
        size = _page_size(header)
        return {page: end - size for page, end, _ in self._frames(header, start.end)}

    def next_commit(self, start: Position) -> Commit | None:
        """Return the first commit after a position, or None where there is none.

        Where the log began anew since, that is its first commit.
        """
        header = os.pread(self._descriptor, HEADER_BYTES, 0)
        begin = start.end if header[SALTS] == start.salts else HEADER_BYTES
        for _, end, is_commit in self._frames(header, begin):
            if is_commit:
                return Commit(start, Position(header[SALTS], end))
        return None

    def page(self, number: int, commit: Commit) -> bytes | None:
        """Return a page as a commit left it, or None where it is not part of that, or no longer there."""
        header = os.pread(self._descriptor, HEADER_BYTES, 0)
        size = _page_size(header)
        if header[SALTS] != commit.end.salts:
            return None
        begin = commit.start.end if commit.start.salts == commit.end.salts else HEADER_BYTES
        for page, end, _ in self._frames(header, begin):
            if end > commit.end.end:
                break
            if page == number:
                return self.read(end - size, size)
        return None

    def read(self, place: int, size: int) -> bytes:
        """Return content of the log."""
        return os.pread(self._descriptor, size, place)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _frames(self, header: bytes, start: int) -> Iterator[tuple[int, int, bool]]:
        """Yield the page, the end and whether it ends a commit, of each frame from a place on."""
        salts, size = header[SALTS], _page_size(header)
        while True:
            frame = os.pread(self._descriptor, FRAME_HEADER_BYTES, start)
            if len(frame) < FRAME_HEADER_BYTES or frame[SALTS_OF_FRAME] != salts:
                return
            start += FRAME_HEADER_BYTES + size
            yield int.from_bytes(frame[:4], "big"), start, frame[4:8] != b"\0\0\0\0"


def _page_size(header: bytes) -> int:
    return int.from_bytes(header[PAGE_SIZE], "big")
