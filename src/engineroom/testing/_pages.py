"""Whose is each page of a SQLite database? Read from an image of it, as bytes.

Answers for tables that fit into one page, indexes apart: after a restore of their rows they stand in the same pages, so
that what is known of an image stays true of the database. Everything else is known to be in pages that must not be
touched. The format is https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Page", "Pages", "has_same_schema"]

PAGE_SIZE = slice(16, 18)
FIRST_FREE = slice(32, 36)
LARGEST_ROOT = slice(52, 56)  # not zero where SQLite moves pages by itself: auto_vacuum
HEADER_BYTES = 100
FACTS_OF_SCHEMA = slice(40, 92)
"""In the header, what counts neither pages nor changes: the schema's cookie, ``user_version`` and the like."""

LEAVES = (0x0A, 0x0D)
FIRST_CELL_OF_BRANCH = 12
RIGHTMOST = slice(8, 12)
COUNT_OF_CELLS = slice(3, 5)


class Page(NamedTuple):
    """What a page belongs to.

    Attributes:
        table: The table, also of an index.
        is_alone: Whether that table, and each of its indexes, has one page.
    """

    table: str
    is_alone: bool


class Pages:
    """The pages of an image.

    Args:
        image: The content of the database.
        roots: The first page of each table and index, with the name of the table.
    """

    def __init__(self, image: bytes, roots: Iterable[tuple[int, str]]) -> None:
        """Follow all trees down to their leaves; what overflows from those is nobody's."""
        self._image = image
        self._size = int.from_bytes(image[PAGE_SIZE], "big")
        if self._size == 1:  # it has no room for 65536
            self._size = 1 << 16
        self._count = len(image) // self._size
        self._moves = image[LARGEST_ROOT] != b"\0\0\0\0"
        self._owners: dict[int, Page] = {}
        trees = [(table, self._tree(root)) for root, table in roots]
        spread = {table for table, pages in trees if len(pages) > 1}
        for table, pages in trees:
            self._owners.update(dict.fromkeys(pages, Page(table, table not in spread)))
        self._free = set(self._free_pages())
        self._image = b""  # it may be large

    def owners(self, pages: Iterable[int]) -> set[Page] | None:
        """Return what pages belong to; None where that is not known of one of them.

        A page that was added since, or was free, counts for nothing: who uses it now has changed a page of its own too.
        """
        if self._moves:
            return None
        found: set[Page] = set()
        for page in pages:
            owner = self._owners.get(page)
            if owner is not None:
                found.add(owner)
            elif page <= self._count and page not in self._free:
                return None
        return found

    def _content(self, page: int) -> bytes:
        return self._image[(page - 1) * self._size : page * self._size]

    def _tree(self, root: int) -> list[int]:
        found, to_read = [], [root]
        while to_read:
            page = to_read.pop()
            found.append(page)
            content, start = self._content(page), HEADER_BYTES if page == 1 else 0
            if content[start] in LEAVES:
                continue
            to_read.append(_number(content[start:][RIGHTMOST]))
            cells = start + FIRST_CELL_OF_BRANCH
            for place in range(cells, cells + 2 * _number(content[start:][COUNT_OF_CELLS]), 2):
                cell = _number(content[place : place + 2])
                to_read.append(_number(content[cell : cell + 4]))
        return found

    def _free_pages(self) -> Iterable[int]:
        trunk = _number(self._image[FIRST_FREE])
        while trunk:
            yield trunk
            content = self._content(trunk)
            for place in range(8, 8 + 4 * _number(content[4:8]), 4):
                yield _number(content[place : place + 4])
            trunk = _number(content[:4])


def has_same_schema(page: bytes, other: bytes) -> bool:
    """Tell from two contents of the first page whether the schema and the facts in the header are the same."""
    return page[HEADER_BYTES:] == other[HEADER_BYTES:] and page[FACTS_OF_SCHEMA] == other[FACTS_OF_SCHEMA]


def _number(content: bytes) -> int:
    return int.from_bytes(content, "big")
