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
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom._interpreter import call_around_fork
from engineroom._run_files import DIRECTORY_PREFIX, LOCK_NAME, RUN_VARIABLE, is_run_directory

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from sqlalchemy import URL

    from engineroom.errors import InvalidSettingError

__all__ = ["memory_url", "reset", "run_directory", "start_run", "storage_directories", "sweep"]

WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
UNFINISHED_PREFIX = ".engineroom-"
LOCK_TEXT = b"A run of engineroom holds this lock while it needs the directory.\n"
RAM_STORAGE = Path("/dev/shm")  # noqa: S108  # the RAM-backed file system of Linux; the directory made there is private
LEAST_FREE_BYTES = 128 * 1024 * 1024  # containers often give /dev/shm 64 MB: too little for a database and its WAL
UNFINISHED_SECONDS = 3600  # a directory that never got its name in this time belongs to a killed process
KEEPER_SECONDS = 30.0


class _Run:
    """The run that this process belongs to: its directory, the shared lock on it, and the keeper connections."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self.lock = lock
        self.keepers: dict[Path, sqlite3.Connection] = {}


_run: _Run | None = None
_locks_for_child: list[int] = []  # one, between the moments before and after a fork
_mutex = threading.RLock()


def run_directory() -> Path:
    """Return the directory of this run; join the parent's, or make one, at the first call.

    Returns:
        A private directory (mode 0700) on RAM-backed storage, or in the temporary directory where there is none.

    Raises:
        InvalidSettingError: No directory can be made anywhere.
    """
    with _mutex:
        if _run is None:
            inherited = Path(os.environ.get(RUN_VARIABLE, ""))
            return _join(inherited) or _create()
        return _run.directory


def start_run() -> Path:
    """Begin a run of this process's own, whatever it inherited, and return its directory.

    A second call in the same process returns the same directory: engines that the first run made are still alive.

    Raises:
        InvalidSettingError: No directory can be made anywhere.
    """
    with _mutex:
        directory = _create() if _run is None else _run.directory
        os.environ[RUN_VARIABLE] = str(directory)
        return directory


def memory_url(bind: str, number: int = 0) -> URL:
    """Return the URL of the run's database in memory for a bind; the database is made at the first call.

    Each xdist worker has its own. The journal mode is WAL, so that an open read does not lock out a commit.

    Args:
        bind: The name of the bind; case does not matter, as for the bind's variables.
        number: Which one of the bind's databases it is, from 0.

    Raises:
        InvalidSettingError: No directory can be made anywhere.
    """
    from sqlalchemy import URL  # noqa: PLC0415  # the front door is lazy

    # A dash, which no bind's name has: the second database of bind a is not the first one of bind a_2.
    name = f"test_{bind.lower()}-{number + 1}" if number else f"test_{bind.lower()}"
    worker = re.sub(r"\W", "_", os.environ.get(WORKER_VARIABLE, ""))
    path = run_directory() / (f"{name}_{worker}.db" if worker else f"{name}.db")
    with _mutex:
        if _run is not None and path not in _run.keepers:
            _run.keepers[path] = _open_keeper(path)
    return URL.create("sqlite", database=str(path))


def storage_directories() -> tuple[Path, ...]:
    """Return where run directories may stand, best first: RAM-backed storage if it has room, then the temporary one."""
    temporary = Path(tempfile.gettempdir())
    return (RAM_STORAGE, temporary) if RAM_STORAGE.is_dir() else (temporary,)


def sweep() -> list[Path]:
    """Remove the directories of runs that were killed: those whose lock nobody holds any more.

    Returns:
        Those directories, also where something in them could not be removed.
    """
    dead = []
    for directory in _find_runs():
        with contextlib.suppress(OSError):
            lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.pread(lock, len(LOCK_TEXT), 0) == LOCK_TEXT:
                    shutil.rmtree(directory, ignore_errors=True)
                    dead.append(directory)
            finally:
                os.close(lock)
    return dead


def reset() -> None:
    """Leave the run, as at exit; for tests."""
    _leave()


def _find_runs() -> Iterator[Path]:
    for storage in storage_directories():
        with contextlib.suppress(OSError), os.scandir(storage) as entries:
            for entry in entries:
                if entry.name.startswith(DIRECTORY_PREFIX) and is_run_directory(Path(entry.path)):
                    yield Path(entry.path)
                elif entry.name.startswith(UNFINISHED_PREFIX) and _is_left_over(Path(entry.path)):
                    shutil.rmtree(entry.path, ignore_errors=True)


def _is_left_over(unfinished: Path) -> bool:
    """Tell whether a directory was made by a process that was killed before the directory got its name."""
    try:
        status = unfinished.lstat()
        return (
            stat.S_ISDIR(status.st_mode)
            and status.st_uid == os.getuid()
            and stat.S_IMODE(status.st_mode) == stat.S_IRWXU
            and status.st_mtime < time.time() - UNFINISHED_SECONDS
            and {path.name for path in unfinished.iterdir()} <= {LOCK_NAME}
        )
    except OSError:
        return False


def _has_room(storage: Path) -> bool:
    try:
        free = os.statvfs(storage)
    except OSError:
        return False
    return os.access(storage, os.W_OK | os.X_OK) and free.f_bavail * free.f_frsize >= LEAST_FREE_BYTES


def _create() -> Path:
    try:
        places = storage_directories()
    except OSError as error:  # no directory for temporary files at all
        raise _no_place("any temporary directory", error) from None
    sweep()
    failures: list[OSError] = []
    for storage in [*filter(_has_room, places), places[-1]]:
        try:
            return _create_in(storage)
        except OSError as error:
            failures.append(error)
    raise _no_place(str(places[-1]), failures[-1])


def _create_in(storage: Path) -> Path:
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=storage))
    try:
        lock = os.open(unfinished / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
        os.write(lock, LOCK_TEXT)
        fcntl.flock(lock, fcntl.LOCK_SH)
        # It gets its name only now that it is locked, so that no other process can take it for a killed run's.
        directory = storage / f"{DIRECTORY_PREFIX}{unfinished.name.removeprefix(UNFINISHED_PREFIX)}"
        return _enter(unfinished.rename(directory), lock)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _no_place(where: str, error: OSError) -> InvalidSettingError:
    from engineroom.errors import InvalidSettingError  # noqa: PLC0415  # pytest is starting, and nearly always goes on

    return InvalidSettingError(
        "There is no place for a database in memory.",
        why=f"its file stands on {RAM_STORAGE}, or where there is none, or no room, in the temporary directory; "
        f"{where} cannot be used: {error.strerror}.",
        fix=["name a directory that can be written: export TMPDIR=/path/to/directory"],
    )


def _join(directory: Path) -> Path | None:
    """Take part in a run that another process began, unless it is over."""
    lock = _share_lock(directory) if is_run_directory(directory) else None
    return None if lock is None else _enter(directory, lock)


def _share_lock(directory: Path) -> int | None:
    """Return a shared lock of its own on a run's directory, or None if the last one out is removing it."""
    try:
        lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:
            return lock
    os.close(lock)
    return None


def _enter(directory: Path, lock: int) -> Path:
    global _run  # noqa: PLW0603  # one run a process
    _run = _Run(directory, lock)
    os.environ[RUN_VARIABLE] = str(directory)
    _leave_with_multiprocessing(_run)
    return directory


def _open_keeper(path: Path) -> sqlite3.Connection:
    import sqlite3  # noqa: PLC0415  # most runs of pytest that begin a run have no database

    import engineroom._forks  # noqa: F401, PLC0415  # a forked child needs it, and should not have to import it

    # While one connection is open SQLite keeps the WAL; else each last close would copy it back and remove it.
    keeper = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=KEEPER_SECONDS)
    keeper.execute("PRAGMA journal_mode = WAL").close()
    keeper.execute("PRAGMA synchronous = OFF").close()
    keeper.execute("SELECT count(*) FROM sqlite_master").fetchone()  # takes its share of the WAL only with a first read
    return keeper


@atexit.register
def _leave() -> None:
    """Remove the directory if no other process of the run is left."""
    global _run
    run, _run = _run, None
    if run is None:
        return
    if os.environ.get(RUN_VARIABLE) == str(run.directory):
        del os.environ[RUN_VARIABLE]
    try:
        fcntl.flock(run.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # A child still uses it; the last one out removes it. To close a keeper could remove the WAL: a forked child's
        # connections hold no lock of the system against that, as SQLite believes to have the parent's.
        _keep(run)
        os.close(run.lock)
        return
    for keeper in run.keepers.values():
        keeper.close()
    _remove(run.directory)
    os.close(run.lock)


def _remove(directory: Path) -> None:
    """Remove the run's directory, which mostly holds a few files: for them ``rmtree`` takes five times as long."""
    try:
        # The lock goes last: without it the directory is no run's, and the fence would protect the databases in it.
        for name in sorted(os.listdir(directory), key=LOCK_NAME.__eq__):  # noqa: PTH208  # names are enough
            os.unlink(f"{directory}/{name}")  # noqa: PTH108  # as above
        directory.rmdir()
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)


def _keep(run: _Run) -> None:
    """Keep the run's connections from ever being closed by this process."""
    if run.keepers:
        from engineroom._forks import keep_for_ever  # noqa: PLC0415  # loaded with the first of them

        keep_for_ever(run.keepers)


def _leave_with_multiprocessing(run: _Run) -> None:
    """Leave the run at the end of a process of multiprocessing, too: most of them run no exit handlers."""
    util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
    if util is None or process is None:
        return
    if process.parent_process() is not None:
        util.Finalize(None, _leave, exitpriority=-100)
    # A process that is only just starting forgets its finalizers first, and calls this then.
    util.register_after_fork(run, lambda _: util.Finalize(None, _leave, exitpriority=-100))


def _before_fork() -> None:
    """Take a lock for the child: the parent's is shared with it, down to its mode, and the parent may be gone first."""
    _mutex.acquire()
    lock = _share_lock(_run.directory) if _run is not None else None
    _locks_for_child.extend([] if lock is None else [lock])


def _after_fork_in_parent() -> None:
    while _locks_for_child:
        os.close(_locks_for_child.pop())
    _mutex.release()


def _after_fork_in_child() -> None:
    global _run
    run, _run = _run, None
    if run is not None:
        _keep(run)
        os.close(run.lock)
        while _locks_for_child:
            _enter(run.directory, _locks_for_child.pop())
    _mutex.release()


call_around_fork(_before_fork, _after_fork_in_parent, _after_fork_in_child)
