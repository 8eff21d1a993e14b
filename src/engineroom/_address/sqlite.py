"""What SQLite opens for a name: a file, nothing but memory, or something that nobody can tell.

Follows https://www.sqlite.org/uri.html and SQLite's own parser (``sqlite3ParseUri``): a name is a URI where the
connection asks for it and the name starts with ``file:``. A SQLite that was built with ``SQLITE_USE_URI``, as Debian's,
takes it for a URI unasked; who does not know which one is at work, looks at both readings.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from engineroom._address._model import Address, unknown_address

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sqlite_address"]

MODES = {"ro", "rw", "rwc", "memory"}
FILE_VFS = {"", "unix", "unix-dotfile", "unix-excl", "unix-none", "unix-namedsem", "unix-flock", "unix-posix"}
FILE_VFS |= {"unix-afp", "unix-nfs", "unix-proxy", "win32", "win32-longpath", "win32-none", "win32-longpath-none"}
AUTHORITY = re.compile(r"//([^/]*)(?=/|$)")
TRUE_WORDS = {"1", "on", "yes", "true"}


def sqlite_address(database: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, uri: bool) -> Address:
    """Return what ``sqlite3.connect(database, uri=uri)`` opens.

    Args:
        database: The name, as the driver gets it.
        uri: Whether the connection lets SQLite read the name as a URI.

    Returns:
        The address. Its database is the path as it is written, relative or not, or None without a file.

    Example:
        >>> sqlite_address("file:shop.db?mode=ro", uri=True).database
        'shop.db'
        >>> sqlite_address("file:shop.db?mode=memory", uri=True).in_memory
        True
        >>> sqlite_address("file:shop.db?mode=memory", uri=False).database
        'file:shop.db?mode=memory'
    """
    name = os.fsdecode(database)
    if uri and name.startswith("file:"):
        return _uri_address(name.removeprefix("file:"))
    return _file_address(name, uri=uri)


def _file_address(name: str, *, uri: bool, read_only: bool = False) -> Address:
    if name in {"", ":memory:"}:
        return Address("sqlite", "pysqlite", None, in_memory=True, uri=uri)
    return Address("sqlite", "pysqlite", name, uri=uri, read_only=read_only)


def _uri_address(text: str) -> Address:
    rest, _, query = text.partition("#")[0].partition("?")
    authority = AUTHORITY.match(rest)
    if rest.startswith("//") and (authority is None or authority[1] not in {"", "localhost"}):
        return unknown_address("sqlite", "pysqlite", uri=True)
    path = _decode(rest[authority.end() :] if authority else rest)
    options: dict[str, list[str]] = {}
    for key, value in _read_options(query):
        options.setdefault(key, []).append(value)
    modes, vfs = options.get("mode", []), options.get("vfs", [""])
    if not MODES.issuperset(modes) or not (FILE_VFS | {"memdb"}).issuperset(vfs):
        return unknown_address("sqlite", "pysqlite", uri=True)
    # Of several values the last one holds, for a mode as for a VFS.
    if vfs[-1] == "memdb" or modes[-1:] == ["memory"]:
        return Address("sqlite", "pysqlite", None, in_memory=True, uri=True)
    return _file_address(path, uri=True, read_only=modes[-1:] == ["ro"] or _is_immutable(options))


def _is_immutable(options: dict[str, list[str]]) -> bool:
    values = options.get("immutable", [])
    return bool(values) and all(value.lower() in TRUE_WORDS for value in values)


def _read_options(query: str) -> Iterator[tuple[str, str]]:
    for option in query.split("&"):
        key, _, value = option.partition("=")
        if decoded := _decode(key):
            yield decoded, _decode(value)


def _decode(text: str) -> str:
    """Undo the percent-encoding of one part; SQLite ignores what follows a ``%00``."""
    return os.fsdecode(unquote_to_bytes(os.fsencode(text.partition("%00")[0])))
