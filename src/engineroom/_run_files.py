"""The files that this test run made.

Answers: is this file a database in memory of the run, or did the run make it below a temporary directory? The names
that were there when the run started are written down once, in the run's own directory, where every child process that
inherits ``ENGINEROOM_RUN`` finds them. What is not known to be new was there before. Outside a test run nothing is the
run's. Every path that comes in is resolved first: it is the real file that counts.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ROLE_VARIABLE",
    "RUN_VARIABLE",
    "RunFiles",
    "add_run_directory",
    "find_database",
    "is_below_temporary",
    "is_memory_file",
    "is_run_directory",
    "is_run_owned",
    "note_created",
    "note_database",
    "reset",
    "start_run",
]

RUN_VARIABLE = "ENGINEROOM_RUN"
"""The variable that hands the run's directory to child processes."""

ROLE_VARIABLE = "ENGINEROOM_ROLE"
"""The mark of a test run in the environment. It also tells an xdist worker, which joins the run of its controller, from
a pytest that a test starts."""

DIRECTORY_PREFIX = "engineroom-"
LOCK_NAME = "lock"
MEMORY_PREFIX = "test_"
LOG_NAME = "temporary-entries"
SYSTEM_DIRECTORY = "/tmp"  # noqa: S108  # nothing is made there: suites name it, also where TMPDIR is another
NEW_ONLY = "new names only"
PYTEST_PREFIX = "pytest-of-"  # pytest keeps the directories of its last runs side by side in pytest-of-USER
DATABASES_NAME = "databases"


class RunFiles:
    """What was in the temporary directories before, and what the run added to them.

    It is kept in memory, and in a log that all processes of the run append to: one JSON value a line, either
    ``[directory, [names that were there]]`` or ``[path that the run made, null]``. Where ``NEW_ONLY`` follows the
    names, what is made below an old one is not the run's: somebody may well keep a project there. Whatever changes is
    changed by one atomic operation, so that there is no lock which a fork could leave locked.

    Args:
        log: The file that is shared with the other processes of the run; None keeps everything in this process.

    Example:
        >>> files = RunFiles(None)
        >>> files.is_owned("/tmp/shop.db")
        False
    """

    def __init__(self, log: Path | None) -> None:
        """Start from what the log holds."""
        self._log = log
        self._read_bytes = 0
        self._before: dict[str, frozenset[str]] = {}
        self._new_only: set[str] = set()
        self._made: set[str] = set()
        self._refresh()

    @property
    def is_empty(self) -> bool:
        """Whether no directory has been written down yet."""
        return not self._before

    def is_below(self, real_path: str) -> bool:
        """Tell whether a file lies below one of the temporary directories, given its real path."""
        return any(
            directory not in self._new_only and _first_name_below(directory, real_path)
            for directory in tuple(self._before)
        )

    def is_owned(self, real_path: str) -> bool:
        """Tell whether the run made a file, given its real path."""
        self._refresh()
        return self._is_made(real_path) or any(
            name not in before
            for directory, before in tuple(self._before.items())  # another thread may add one
            if (name := _first_name_below(directory, real_path))
        )

    def remember(self, directories: Iterable[str], *, new_only: bool = False) -> None:
        """Write down what is in these directories now. One that cannot be listed is left out: nothing in it is new.

        Args:
            directories: Their real paths.
            new_only: Whether only what has a new name there is the run's, not what it makes below an old one.
        """
        self._refresh()
        known = self._before.keys() if new_only else self._before.keys() - self._new_only
        mark = [NEW_ONLY] if new_only else []
        self._append(
            [directory, sorted(names), *mark]
            for directory in directories
            if directory not in known and (names := _list(directory)) is not None
        )

    def note_created(self, real_path: str) -> bool:
        """Write down that the run is about to make a file, if it lies below a temporary directory and is new."""
        if self.is_owned(real_path):
            return True
        if not self.is_below(real_path) or os.path.lexists(real_path):
            return False
        self._append([[real_path, None]])
        return True

    def add_directory(self, real_path: str) -> bool:
        """Write down a directory of the run: all below it is new if it is not there yet, or empty."""
        if self.is_owned(real_path):
            return True
        if os.path.lexists(real_path) and _list(real_path) != []:
            self.remember([real_path])
            return False
        self._append([[real_path, None]])
        return True

    def _is_made(self, real_path: str) -> bool:
        return bool(self._made) and any(str(path) in self._made for path in (Path(real_path), *Path(real_path).parents))

    def _append(self, records: Iterable[list[object]]) -> None:
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        if not lines:
            return
        if self._log is not None:
            try:
                descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                self._log = None  # the run's directory is gone: this process goes on with what it knows
            else:
                with os.fdopen(descriptor, "ab", buffering=0) as log:
                    log.write(lines)  # one write, so that lines of two processes do not mix
                self._refresh()
                return
        self._take_in(lines)

    def _refresh(self) -> None:
        """Take in what other processes appended; costs one call of ``stat`` when there is nothing new."""
        try:
            if self._log is None or self._log.stat().st_size <= self._read_bytes:
                return
            content = self._log.read_bytes()
        except OSError:
            return
        whole = content[: content.rfind(b"\n") + 1]  # a line that is still being written waits for the next time
        new, self._read_bytes = whole[self._read_bytes :], len(whole)
        self._take_in(new)

    def _take_in(self, lines: bytes) -> None:
        for line in lines.splitlines():
            match _parse(line):
                case [str(path), None]:
                    self._made.add(path)
                case [str(directory), list(names), *mark] if all(isinstance(name, str) for name in names):
                    if mark and directory not in self._before:
                        self._new_only.add(directory)
                    elif not mark:
                        self._new_only.discard(directory)
                    self._before.setdefault(directory, frozenset(names))
                case _:
                    pass


_current: RunFiles | None = None
_known_directories: set[str] = {os.environ.get(RUN_VARIABLE, "")}  # a test may well clear the whole environment


def start_run(directories: Sequence[Path]) -> None:
    """Write down what is in the temporary directories before the run makes anything there.

    What pytest keeps of its last runs is written down one level deeper. In a run that another process began, its
    record stays, and directories that it did not know are added to it. The system's own ``/tmp`` is
    known as well where it is not one of them; there it takes a new name.

    Args:
        directories: The temporary directory, and any other that this run was told to use for the same purpose.
    """
    global _current  # noqa: PLW0603  # one run a process
    directory = _find_run_directory()
    if _current is None or directory:
        _current = RunFiles(directory / LOG_NAME if directory else None)
    real = [os.path.realpath(path) for path in directories]
    kept = [f"{path}/{name}" for path in real for name in _list(path) or () if name.startswith(PYTEST_PREFIX)]
    _current.remember([*real, *kept])
    _current.remember([os.path.realpath(SYSTEM_DIRECTORY)], new_only=True)


def note_created(path: str | os.PathLike[str]) -> bool:
    """Write down that this run is about to make a file; call it before the file is there.

    Args:
        path: The file. It counts only below a temporary directory of the run, and only if nothing is there yet.

    Returns:
        Whether the file is the run's from now on.
    """
    files = _find_run_files()
    return files is not None and files.note_created(os.path.realpath(path))


def add_run_directory(path: str | os.PathLike[str]) -> bool:
    """Write down a directory that this run made or is about to make, such as pytest's own temporary directory.

    Args:
        path: The directory. If there is something in it already, that is protected, and only what comes later counts.

    Returns:
        Whether everything below it is the run's.
    """
    files = _find_run_files()
    return files is not None and files.add_directory(os.path.realpath(path))


def is_below_temporary(real_path: str) -> bool:
    """Tell whether a file lies below a temporary directory, given its real path, whoever made it."""
    files = _find_run_files()
    return files is not None and files.is_below(real_path)


def is_run_owned(real_path: str) -> bool:
    """Tell whether this run made a file, given its real path."""
    files = _find_run_files()
    return files is not None and files.is_owned(real_path)


def is_memory_file(real_path: str) -> bool:
    """Tell whether a file, given its real path, is one of the run's databases in memory."""
    if not Path(real_path).name.startswith(MEMORY_PREFIX):
        return False
    _known_directories.add(os.environ.get(RUN_VARIABLE, ""))
    return any(
        _first_name_below(os.path.realpath(directory), real_path) and is_run_directory(Path(directory))
        for directory in tuple(_known_directories)
        if directory
    )


def is_run_directory(path: Path) -> bool:
    """Tell whether a path is the directory of a run of this user, and not just what somebody exported."""
    try:
        status = path.lstat()
        return (
            path.is_absolute()
            and path.name.startswith(DIRECTORY_PREFIX)
            and stat.S_ISDIR(status.st_mode)
            and status.st_uid == os.getuid()
            and stat.S_IMODE(status.st_mode) == stat.S_IRWXU
            and stat.S_ISREG((path / LOCK_NAME).lstat().st_mode)
        )
    except (OSError, ValueError):
        return False


def note_database(wanted: str, name: str) -> None:
    """Write down for child processes which database of a server this run got instead of the one that was wanted."""
    directory = _find_run_directory()
    if directory is not None:
        with (directory / DATABASES_NAME).open("a", encoding="ascii") as log:
            log.write(json.dumps([wanted, name]) + "\n")


def find_database(wanted: str) -> str | None:
    """Return the database of a server that the run of this process got instead of the one that was wanted."""
    directory = _find_run_directory()
    try:
        lines = (directory / DATABASES_NAME).read_bytes().splitlines() if directory else []
    except OSError:
        return None
    return next((str(line[1]) for line in map(_parse, lines) if isinstance(line, list) and line[0] == wanted), None)


def reset() -> None:
    """Forget the run; for tests."""
    global _current  # noqa: PLW0603
    _current = None
    _known_directories.clear()


def _find_run_directory() -> Path | None:
    exported = os.environ.get(RUN_VARIABLE, "")
    if not exported or not is_run_directory(Path(exported)):
        return None
    _known_directories.add(exported)
    return Path(exported)


def _find_run_files() -> RunFiles | None:
    """Return what this process wrote down, or what the run that it is a child of did."""
    global _current  # noqa: PLW0603
    if _current is None and (directory := _find_run_directory()):
        inherited = RunFiles(directory / LOG_NAME)
        _current = None if inherited.is_empty else inherited
    return _current


def _first_name_below(directory: str, path: str) -> str:
    """Return the first name on the way from a directory down to a path; empty where the path is not below it."""
    start = directory if directory.endswith("/") else f"{directory}/"
    return path[len(start) :].partition("/")[0] if path.startswith(start) else ""


def _list(directory: str) -> list[str] | None:
    try:
        return os.listdir(directory)  # noqa: PTH208  # names are enough: there may be thousands, and pytest is starting
    except OSError:
        return None


def _parse(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
