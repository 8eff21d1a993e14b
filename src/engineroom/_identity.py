"""What is true of the database that an address names.

Answers with the facts that the judge needs: for a server the name of the database, for SQLite the real file, once every
symbolic link is followed, the number of its names, and whether the run made it. Asks the file system, never a database,
and decides nothing. Whatever cannot be found out is unknown, never an error.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom import _run_files
from engineroom._address import address_of, sqlite_address
from engineroom._verdict import DEFAULT_TEST_NAMES, Facts, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import URL

    from engineroom._address import Address

__all__ = ["SqliteOpening", "facts_of_sqlite_connect", "facts_of_sqlite_path", "facts_of_url"]

IN_MEMORY = Facts("sqlite", None, in_memory=True, location=":memory:")


class SqliteOpening(NamedTuple):
    """What an opening of a SQLite database reaches.

    Attributes:
        facts: What is true of the database.
        read_only: Whether the connection could not write to it.
    """

    facts: Facts
    read_only: bool


def facts_of_url(
    url: URL, connect_args: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> Facts:
    """Return what is true of the database that an engine of this URL would reach.

    Args:
        url: The database URL.
        connect_args: The engine's ``connect_args``; they win over the URL, as in the driver.
        environ: The process environment, where drivers look for what the URL leaves out.

    Returns:
        The facts. The database is None where the URL does not tell which one it is.
    """
    try:
        address = address_of(url, connect_args, environ)
    except Exception:  # noqa: BLE001  # strange connect_args, or what a dialect raises: unknown, and that means no
        return Facts(url.get_backend_name(), None)
    if address.backend == "sqlite":
        return _facts_of_sqlite_address(address)
    database = None if address.switched or _is_torn(url) else address.database
    hosts = "" if _is_torn(url) else ",".join(address.hosts)
    location = "/".join(filter(None, [hosts, database]))
    return Facts(address.backend, database, location=_show(location))


def facts_of_sqlite_path(path: str | None) -> Facts:
    """Return what is true of a SQLite file, given its path as SQLite itself tells it.

    Args:
        path: The path; None or empty for a database in memory, or a temporary one that SQLite removes itself.
    """
    if not path:
        return IN_MEMORY
    try:
        real = os.path.realpath(path)
        links = _count_links(real)
    except (OSError, ValueError):  # a loop of links, a directory that may not be searched, a name with a null character
        return Facts("sqlite", None, location=_show(path))
    return Facts(
        "sqlite",
        Path(real).name,
        in_memory=links == 1 and _run_files.is_memory_file(real),
        links=links,
        run_owned=_run_files.is_run_owned(real),
        location=_show(real),
    )


def facts_of_sqlite_connect(database: object, test_names: Sequence[str] = DEFAULT_TEST_NAMES) -> SqliteOpening:
    """Return what ``sqlite3.connect(database)`` opens, where it is not known whether ``uri=True`` was passed.

    A text that starts with ``file:`` is a URI with ``uri=True``, and also without it where SQLite was built with
    ``SQLITE_USE_URI``, as Debian does; else it names a file. Where there is such a file, the worse reading counts.

    Args:
        database: The first argument: a text, bytes or a path. Anything else is unknown.
        test_names: The patterns of the names of test databases, to tell which reading could do more harm.
    """
    try:
        name = os.fsdecode(database)  # type: ignore[arg-type]  # what is no path raises, and is unknown
        readings = [_open(name, uri=True)]
        if name.startswith("file:") and os.path.lexists(name):
            readings.append(_open(name, uri=False))
    except (TypeError, ValueError):  # no path, or one that cannot be encoded
        return SqliteOpening(Facts("sqlite", None), read_only=False)
    return min(readings, key=lambda opening: opening.read_only or judge(opening.facts, test_names).disposable)


def _open(name: str, *, uri: bool) -> SqliteOpening:
    address = sqlite_address(name, uri=uri)
    return SqliteOpening(_facts_of_sqlite_address(address), address.read_only)


def _facts_of_sqlite_address(address: Address) -> Facts:
    if address.in_memory:
        return IN_MEMORY
    return facts_of_sqlite_path(address.database) if address.database else Facts("sqlite", None)


def _is_torn(url: URL) -> bool:
    """Tell whether a password that was not percent-encoded seems to have strayed into the host or the name."""
    return url.password is not None and any("@" in (part or "") for part in (url.host, url.database))


def _count_links(real: str) -> int:
    """Return how many names a regular file has; a file that is not there yet will have one."""
    try:
        status = os.lstat(real)
    except FileNotFoundError:
        return 1
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"not a regular file: {real}")
    return max(status.st_nlink, 1)


def _show(place: str) -> str:
    """Return a place for people; what cannot be printed is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in place)
