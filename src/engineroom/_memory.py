"""The databases in memory of this run, and the directory that holds them.

A database in memory is an SQLite file in WAL mode on RAM-backed storage, not ``:memory:``: the latter is one database
for each connection, or one connection for all, and either breaks concurrent sessions (rows of one transaction seen and
rolled back by another). The directory belongs to one run: its process and the children that inherit ``ENGINEROOM_RUN``.
Each of them holds a shared lock; the last one out removes the directory, and what a killed run left is swept by the
next. This module must not decide which database anybody gets, and imports SQLAlchemy only to make a URL.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom._run_files import DIRECTORY_PREFIX, LOCK_NAME, RUN_VARIABLE, is_run_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

__all__ = ["memory_url", "run_directory", "start_run", "storage_directories", "sweep"]

WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
UNFINISHED_PREFIX = ".engineroom-"
RAM_STORAGE = Path("/dev/shm")  # noqa: S108  # the RAM-backed file system of Linux; the directory made there is private
LEAST_FREE_BYTES = 128 * 1024 * 1024  # containers often give /dev/shm 64 MB: too little for a database and its WAL
UNFINISHED_SECONDS = 3600  # a directory that never got its name in this time belongs to a killed process


class _Run:
    """The run that this process belongs to: its directory, the shared lock on it, and the keeper connections."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self.lock = lock
        self.keepers: dict[Path, sqlite3.Connection] = {}


_run: _Run | None = None
_inherited_keepers: list[sqlite3.Connection] = []  # a forked child must neither use nor close its parent's connections
_mutex = threading.RLock()


def run_directory() -> Path:
    """Return the directory of this run; join the parent's, or make one, at the first call.

    Returns:
        A private directory (mode 0700) on RAM-backed storage, or in the temporary directory where there is none.
    """
    with _mutex:
        if _run is None:
            inherited = Path(os.environ.get(RUN_VARIABLE, ""))
            return _join(inherited) or _create()
        return _run.directory


def start_run() -> Path:
    """Begin a run of this process's own, whatever it inherited, and return its directory.

    A second call in the same process returns the same directory: engines that the first run made are still alive.
    """
    with _mutex:
        directory = _create() if _run is None else _run.directory
        os.environ[RUN_VARIABLE] = str(directory)
        return directory


def memory_url(bind: str) -> URL:
    """Return the URL of the run's database in memory for a bind; the database is made at the first call.

    Each xdist worker has its own. The journal mode is WAL, so that an open read does not lock out a commit.
    """
    from sqlalchemy import URL  # noqa: PLC0415  # the front door is lazy

    worker = os.environ.get(WORKER_VARIABLE, "")
    path = run_directory() / (f"test_{bind}_{worker}.db" if worker else f"test_{bind}.db")
    with _mutex:
        if _run is not None and path not in _run.keepers:
            _run.keepers[path] = _open_keeper(path)
    return URL.create("sqlite", database=str(path))


def storage_directories() -> tuple[Path, ...]:
    """Return where run directories may stand, best first: RAM-backed storage if it has room, then the temporary one."""
    temporary = Path(tempfile.gettempdir())
    return (RAM_STORAGE, temporary) if RAM_STORAGE.is_dir() else (temporary,)


def sweep() -> None:
    """Remove the directories of runs that were killed: those whose lock nobody holds any more."""
    for directory in _find_runs():
        with contextlib.suppress(OSError):
            lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)


def _find_runs() -> Iterator[Path]:
    for storage in storage_directories():
        with contextlib.suppress(OSError), os.scandir(storage) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith(DIRECTORY_PREFIX) and is_run_directory(path):
                    yield path
                elif entry.name.startswith(UNFINISHED_PREFIX) and _is_left_over(entry.stat()):
                    shutil.rmtree(path, ignore_errors=True)


def _is_left_over(unfinished: os.stat_result) -> bool:
    return unfinished.st_uid == os.getuid() and unfinished.st_mtime < time.time() - UNFINISHED_SECONDS


def _has_room(storage: Path) -> bool:
    try:
        free = os.statvfs(storage)
    except OSError:
        return False
    return os.access(storage, os.W_OK | os.X_OK) and free.f_bavail * free.f_frsize >= LEAST_FREE_BYTES


def _create() -> Path:
    sweep()
    storage = next((place for place in storage_directories() if _has_room(place)), Path(tempfile.gettempdir()))
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=storage))
    lock = os.open(unfinished / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
    fcntl.flock(lock, fcntl.LOCK_SH)
    # It gets its name only now that it is locked, so that no other process can take it for a killed run's.
    directory = storage / f"{DIRECTORY_PREFIX}{unfinished.name.removeprefix(UNFINISHED_PREFIX)}"
    return _enter(unfinished.rename(directory), lock)


def _join(directory: Path) -> Path | None:
    """Take part in a run that another process began, unless it is over."""
    if not is_run_directory(directory):
        return None
    with contextlib.suppress(OSError):
        lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)  # the last one out is removing it
            return None
        return _enter(directory, lock)
    return None


def _enter(directory: Path, lock: int) -> Path:
    global _run  # noqa: PLW0603  # one run a process
    _run = _Run(directory, lock)
    os.environ[RUN_VARIABLE] = str(directory)
    return directory


def _open_keeper(path: Path) -> sqlite3.Connection:
    # While one connection is open SQLite keeps the WAL; else each last close would copy it back and remove it.
    keeper = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    keeper.execute("PRAGMA journal_mode = WAL").close()
    keeper.execute("PRAGMA synchronous = OFF").close()
    return keeper


@atexit.register
def _leave() -> None:
    """Close the keepers, and remove the directory if no other process of the run is left."""
    global _run
    run, _run = _run, None
    if run is None:
        return
    for keeper in run.keepers.values():
        keeper.close()
    try:
        fcntl.flock(run.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # a child still uses it; the last one out removes it
    finally:
        if os.environ.get(RUN_VARIABLE) == str(run.directory):
            del os.environ[RUN_VARIABLE]
    shutil.rmtree(run.directory, ignore_errors=True)
    os.close(run.lock)


def _after_fork_in_child() -> None:
    """Take a lock of the child's own: the inherited one is shared with the parent, down to its mode."""
    global _run, _mutex  # noqa: PLW0603
    _mutex = threading.RLock()
    run, _run = _run, None
    if run is None:
        return
    _inherited_keepers.extend(run.keepers.values())
    directory, inherited_lock = run.directory, run.lock
    _join(directory)
    os.close(inherited_lock)


os.register_at_fork(after_in_child=_after_fork_in_child)
