"""Images of built schemas, kept on disk between runs, for test databases of SQLite.

Answers: is there an image under this key, and is it whole? A file is written beside its place and renamed, so that runs
and workers never see half of one; it carries a checksum. It is no SQLite file by its first bytes, and nothing ever
connects to it. A disk that cannot be written, or a home that is not there, costs the time of a build and no error.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom._schema.keys import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engineroom._schema.sources import Source

__all__ = ["build_schema", "ignore_kept_images", "is_ignoring_kept", "kept_images"]

MAGIC = b"engineroom image 1\n"
PREFIX, SUFFIX = "schema-", ".image"
MOST_IMAGES = 20
SECONDS_TO_KEEP = 30 * 86_400.0
CHECKSUM_BYTES = 4
JOURNAL_VERSIONS = slice(18, 20)

_state = {"is_ignored": False}


def ignore_kept_images() -> None:
    """Build anew in this process, and replace what was kept: ``--engineroom-rebuild``."""
    _state["is_ignored"] = True


def is_ignoring_kept() -> bool:
    """Tell whether this process builds anew, whatever was kept."""
    return _state["is_ignored"]


def build_schema(source: Source) -> None:
    """Build a schema, or take the image that an earlier run kept of it.

    Raises:
        InvalidSettingError: The reference cannot be found, or is nothing that builds.
        Exception: What the application's code raised.
    """
    __tracebackhide__ = True
    directory = _directory()
    database = Path(source.place.name)
    key = key_of(source) if directory is not None and _is_empty(database) else None
    if directory is None or key is None:
        source.apply()
        return
    path = directory / f"{PREFIX}{key}{SUFFIX}"
    if not _state["is_ignored"] and _load(path, database):
        return
    source.apply()
    with contextlib.suppress(OSError, sqlite3.Error):
        _save(path, database)
        _remove_old(directory)


def reset() -> None:
    """Use kept images again; for tests."""
    _state["is_ignored"] = False


def kept_images() -> list[Path]:
    """Return the files of all images that are kept for this user."""
    directory = _directory()
    return [] if directory is None else sorted(_images_in(directory))


def _directory() -> Path | None:
    """Return the directory of the images, or None where there is no place for it."""
    try:
        if not hasattr(sqlite3.Connection, "deserialize"):
            return None
        home = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
        path = Path(os.environ.get("XDG_CACHE_HOME") or home) / "engineroom"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except (OSError, RuntimeError):
        return None
    # Whoever can write there can say what the tests find: nobody else may.
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return path if is_ours else None


def _images_in(directory: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (path for path in directory.glob(f"{PREFIX}*") if path.is_file() and not path.is_symlink())


def _is_empty(database: Path) -> bool:
    with _connected(database) as connection:
        cursor = connection.execute("SELECT count(*) FROM sqlite_master")
        count: int = cursor.fetchone()[0]
        cursor.close()
        return count == 0


def _load(path: Path, database: Path) -> bool:
    try:
        content = path.read_bytes()
        start = len(MAGIC) + CHECKSUM_BYTES
        checksum = int.from_bytes(content[len(MAGIC) : start], "big")
        image = memoryview(content)[start:]
        if not content.startswith(MAGIC) or zlib.crc32(image) != checksum:
            return False
        with contextlib.closing(sqlite3.connect(":memory:")) as source, _connected(database) as target:
            source.deserialize(image)
            source.backup(target)
        os.utime(path)  # it is in use: the oldest are removed first
    except (OSError, sqlite3.Error):
        return False
    return True


def _save(path: Path, database: Path) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as image, _connected(database) as source:
        source.backup(image)
        content = bytearray(image.serialize())
    content[JOURNAL_VERSIONS] = b"\1\1"  # a database in memory has no log
    checksum = zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "big")
    descriptor, name = tempfile.mkstemp(prefix=f"{PREFIX}unfinished-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((MAGIC, checksum, content))
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _remove_old(directory: Path) -> None:
    def age(path: Path) -> float:
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime
        return 0.0

    images = sorted(_images_in(directory), key=age)
    for number, path in enumerate(images):
        if number >= MOST_IMAGES or age(path) > SECONDS_TO_KEEP:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()
