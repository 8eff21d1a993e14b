"""Which SQLite file does an operation reach, and may a test run reach it?

Answers for ``sqlite3.connect`` and for operations on files, from the facts of ``_identity`` and the verdict of the
judge. A file is a database by its content, not by its name: a regular file that starts with SQLite's header, or what
belongs to one (``-wal``, ``-shm``, ``-journal``). It runs inside of an audit hook, for every file that is written, so
the cheapest question comes first, and it opens a file only if that is not disposable: closing a second descriptor of a
database that this process has open would drop the locks that SQLite holds on it. What is let through nevertheless is
asked last, since that takes longest.
"""

from __future__ import annotations

import os
import stat
from functools import cached_property
from typing import TYPE_CHECKING

from engineroom import _run_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engineroom._verdict import Facts, Verdict
    from engineroom.testing._allowances import Allowances

__all__ = ["ProtectedDatabase", "Terms", "find_protected", "find_protected_below", "judge_connect", "judge_facts"]

HEADER = b"SQLite format 3\0"
LEAST_PAGE_BYTES = 512  # https://www.sqlite.org/fileformat.html: a database is a whole number of pages
SIDE_FILES = ("-wal", "-shm", "-journal")
MOST_ENTRIES = 20_000  # of a directory that is renamed as a whole; looking at more would take longer than a refusal may

# A test may replace these functions by mocks. The fence keeps the real ones.
_stat, _lstat, _scandir, _open, _read, _close = os.stat, os.lstat, os.scandir, os.open, os.read, os.close
_readlink = os.readlink


class Terms:
    """On which terms the fence judges: what the project configured.

    Args:
        root: The project's root.
        test_names: The patterns of the names of test databases.
        fence_allow: What is let through although it is not disposable.
    """

    def __init__(
        self, root: str | os.PathLike[str], test_names: Sequence[str] = ("test_*",), fence_allow: Sequence[str] = ()
    ) -> None:
        """Keep what was configured; it is read when something is judged."""
        self.root: str = os.path.realpath(root)
        self.test_names: tuple[str, ...] = tuple(test_names)
        self._fence_allow = fence_allow
        self.temporary: list[str] = []

    @cached_property
    def allowances(self) -> Allowances:
        """What is let through."""
        from engineroom.testing._allowances import Allowances  # noqa: PLC0415  # most runs never ask

        allowances = Allowances.read(self._fence_allow, self.root)
        for directory in self.temporary:
            allowances = allowances.with_temporary(directory)
        return allowances

    def allow_temporary(self, directory: str | os.PathLike[str]) -> None:
        """Let through what lies in the subdirectories of a directory that pytest empties before each run."""
        self.temporary.append(os.path.abspath(directory))  # noqa: PTH100  # links are followed when it is asked for
        self.__dict__.pop("allowances", None)


class ProtectedDatabase:
    """A database that a test run may not reach.

    Args:
        path: Its file; empty where it is not known.
        verdict: Why it is not disposable.
    """

    def __init__(self, path: str, verdict: Verdict) -> None:
        """Keep both."""
        self.path = path
        self.verdict = verdict


def judge_connect(database: object, terms: Terms) -> ProtectedDatabase | None:
    """Return the database that ``sqlite3.connect(database)`` may not open; None where it may.

    A file that does not exist yet below a temporary directory belongs to the run from now on.
    """
    if not isinstance(database, str | bytes | os.PathLike) or database in (":memory:", "", b""):
        return None  # sqlite3 itself refuses what is no path
    from engineroom import _identity  # noqa: PLC0415  # a suite that opens no database does not pay for it

    opening = _identity.facts_of_sqlite_connect(database, terms.test_names)
    return None if opening.read_only else judge_facts(opening.facts, terms)


def judge_facts(facts: Facts, terms: Terms, *, is_file: bool = False) -> ProtectedDatabase | None:
    """Return a SQLite database that may not be reached, given its facts; None where it may.

    Args:
        facts: What is known of it.
        terms: On which terms to judge.
        is_file: Whether it may turn out to be no database at all, but any file.
    """
    from engineroom._verdict import judge  # noqa: PLC0415  # as above

    verdict = judge(facts, terms.test_names)
    path = facts.location.removeprefix("sqlite:///")
    if verdict.disposable or _cannot_be_opened(path) or (is_file and not _has_header(path)):
        return None
    if facts.database and (terms.allowances.lets_file(path, facts.links) or _run_files.note_created(path)):
        return None
    return ProtectedDatabase(path, verdict)


def _cannot_be_opened(path: str) -> bool:
    """Tell whether SQLite itself will fail, since there is a directory of that name, or none to hold the file."""
    try:
        return bool(path) and (os.path.isdir(path) or not os.path.lexists(os.path.dirname(path)))  # noqa: PTH112, PTH120
    except ValueError:
        return True


def find_protected(path: object, terms: Terms, *, directory: int = -1, follow: bool = True) -> ProtectedDatabase | None:
    """Return the protected database that a file is, or belongs to; None where it is none.

    Args:
        path: What was passed to the operation: a text, bytes or a path. A descriptor is no path: whoever has one was
            judged when the file was opened.
        terms: On which terms to judge.
        directory: The descriptor of the directory that a relative path starts from; -1 for the working directory.
        follow: Whether the operation follows a symbolic link; one that does not leaves the database alone.
    """
    name = _name_of(path, directory)
    if name is None or not (follow or _is_no_link(name)):
        return None
    main = next((name.removesuffix(side) for side in SIDE_FILES if name.endswith(side)), name)
    return _find_database(main, terms)


def find_protected_below(path: object, terms: Terms, *, directory: int = -1) -> ProtectedDatabase | None:
    """Return a protected database in a directory that is removed or renamed as a whole; None where there is none."""
    name = _name_of(path, directory)
    if name is None:
        return None
    for count, file in enumerate(_files_below(name)):
        protected = _find_database(file, terms) if count < MOST_ENTRIES else None
        if protected is not None or count >= MOST_ENTRIES:
            return protected
    return None


def _find_database(name: str, terms: Terms) -> ProtectedDatabase | None:
    try:
        status = _stat(name)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size < LEAST_PAGE_BYTES or status.st_size % LEAST_PAGE_BYTES:
        return None
    from engineroom import _identity  # noqa: PLC0415  # as above

    return judge_facts(_identity.facts_of_sqlite_path(name), terms, is_file=True)


def _name_of(path: object, directory: int) -> str | None:
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    name = os.fsdecode(path)
    if directory < 0 or name.startswith("/"):
        return name
    try:
        return f"{_readlink(f'/proc/self/fd/{directory}')}/{name}"
    except OSError:
        return _name_of_directory(directory, name)


def _name_of_directory(directory: int, name: str) -> str | None:
    """Ask macOS, which has no ``/proc``, for the path behind a descriptor."""
    import fcntl  # noqa: PLC0415  # only here

    command = getattr(fcntl, "F_GETPATH", None)
    if command is None:
        return None
    try:
        return f"{os.fsdecode(fcntl.fcntl(directory, command, bytes(1024)).rstrip(bytes(1)))}/{name}"
    except OSError:
        return None


def _is_no_link(name: str) -> bool:
    try:
        return not stat.S_ISLNK(_lstat(name).st_mode)
    except (OSError, ValueError):
        return True


def _has_header(name: str) -> bool:
    try:
        descriptor = _open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return True  # it cannot be read, so it is not known to be something else
    try:
        return _read(descriptor, len(HEADER)) == HEADER
    except OSError:
        return True
    finally:
        _close(descriptor)


def _files_below(name: str) -> Iterator[str]:
    """Yield every file below a directory that is no symbolic link; nothing for a file."""
    try:
        if not stat.S_ISDIR(_lstat(name).st_mode):
            return
        entries = list(_scandir(name))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        else:
            yield entry.path
