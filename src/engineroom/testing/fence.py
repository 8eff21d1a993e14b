"""The fence: while it is up, this process reaches no database that is not disposable, whoever asks.

One audit hook sees every ``sqlite3.connect`` and every operation on files; listeners on SQLAlchemy's classes see every
engine. The hook cannot be removed once it is installed, so it looks into a table of events that is empty while the
fence is down. What to do when a library arrives stands in ``ARRIVALS``; nothing is imported for the sake of the fence.
This module acts. Whether something may be reached is judged elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from engineroom._interpreter import hear_events
from engineroom.testing import _arrivals, _database_files
from engineroom.testing._database_files import Terms
from engineroom.testing.ledger import WORKER_VARIABLE, active_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import ModuleType

    from engineroom._project import Project
    from engineroom.errors import FenceError
    from engineroom.testing._database_files import ProtectedDatabase

__all__ = [
    "ARRIVALS",
    "allow_temporary",
    "await_children",
    "is_raised",
    "lower_fence",
    "raise_fence",
    "resume_fence",
    "tell_children",
    "terms",
    "terms_file",
    "unknown_drivers",
]

TERMS_NAME = "terms"
SILENT_STARTS = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")
"""The modules that start a process without an audit event."""

OPEN_ARGUMENTS = 3  # path, mode and flags; somebody may raise an event of the same name
NEW = os.O_CREAT | os.O_EXCL  # fails where there is something
WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT


def raise_fence(project: Project) -> None:
    """Refuse, from now on, whatever reaches a database that is not disposable.

    Args:
        project: Whose test names and ``fence_allow`` count.
    """
    resume_fence(Terms(project.root, project.test_names, project.fence_allow))


def resume_fence(terms: Terms) -> None:
    """Refuse, from now on, on terms that held before: those of a run that another run was started in."""
    _state.terms = terms
    if _state.hook is None:
        _state.hook = hear_events(_heard, _judge_event)
    _heard.update(_EVENTS)
    _state.is_raising = True
    for module in ARRIVALS.keys() - _arrivals.waited_for():
        _arrivals.when_imported(module, ARRIVALS[module])
    _state.is_raising = False


def lower_fence() -> None:
    """Let everything through again; for tests of the fence. The plugin leaves it up until the process exits."""
    _heard.clear()
    _state.terms = None
    _state.judged.clear()


reset = lower_fence


def is_raised() -> bool:
    """Tell whether the fence is up."""
    return _state.terms is not None


def unknown_drivers() -> list[str]:
    """Return the drivers that arrived and could not be fenced, since they are built in another way than expected."""
    return sorted(_state.unknown_drivers)


def terms() -> Terms | None:
    """Return the terms on which the fence judges; None while it is down."""
    return _state.terms


def allow_temporary(directory: str | os.PathLike[str]) -> None:
    """Let through what lies in the subdirectories of a directory that pytest empties before each run."""
    if _state.terms is not None:
        _state.terms.allow_temporary(directory)


def tell_children(directory: Path, terms: Terms) -> None:
    """Write down for the children of this process where the project is that is tested.

    Args:
        directory: The run's directory.
        terms: On which terms the fence judges here.
    """
    text = json.dumps({"root": terms.root, "temporary": terms.temporary})
    place = terms_file(directory)
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # a child that finds nothing is judged strictly
        unfinished.write_bytes(text.encode())
        unfinished.replace(place)


def terms_file(directory: Path) -> Path:
    """Return the file of a run's directory that tells children of this process on which terms to judge."""
    return directory / f"{TERMS_NAME}-{os.environ.get(WORKER_VARIABLE, '').replace(os.sep, '_')}"


def await_children() -> None:
    """Have the ledger look out for children also where nothing but an import shows that one is started."""
    for module in SILENT_STARTS:
        _arrivals.when_imported(module, lambda _: active_ledger().expect_children())


class _State:
    """Whether the fence is up, and on which terms."""

    def __init__(self) -> None:
        self.terms: Terms | None = None
        self.hook: Callable[[str, tuple[Any, ...]], None] | None = None
        self.is_raising = False
        self.has_fenced_engines = False
        self.unknown_drivers: set[str] = set()
        # Only a connection that was open before the fence is in none of these: its id cannot be used a second time.
        self.judged: set[int] = set()


class _Thread(threading.local):
    """Whether this thread is inside of the fence's own work, whose events are not looked at."""

    is_judging = False


_state = _State()
_thread = _Thread()
_heard: set[str] = set()


def _judge_event(event: str, args: tuple[Any, ...]) -> None:
    """Look at an audit event that has a judge; most files are opened to be read, or are new."""
    if event == "open" and not (len(args) == OPEN_ARGUMENTS and args[2] & WRITING and args[2] & NEW != NEW):
        return
    current = _state.terms
    if current is None or _thread.is_judging or sys.is_finalizing():
        return
    __tracebackhide__ = True
    _thread.is_judging = True
    try:
        _EVENTS[event](current, args)
    finally:
        _thread.is_judging = False


def _on_connect(current: Terms, args: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    protected = _database_files.judge_connect(args[0], current)
    if protected is not None:
        from engineroom.testing._refusals import refuse_sqlite  # noqa: PLC0415  # most runs never do

        raise refuse_sqlite(protected, current)


def _on_open(current: Terms, args: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    _check_file("open for writing", current, args[0])


def _on_truncate(current: Terms, args: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    _check_file("truncate", current, args[0])


def _on_remove(current: Terms, args: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    _check_file("remove", current, args[0], directory=args[1], follow=False)


def _on_rename(current: Terms, args: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    source, target, source_directory, target_directory = args
    if _is_cleanup_of_pytest(source, target):
        return
    _check_file("rename", current, source, directory=source_directory, follow=False)
    _check_file("replace", current, target, directory=target_directory, follow=False)
    _check_tree("rename", current, source, directory=source_directory)


def _is_cleanup_of_pytest(source: object, target: object) -> bool:
    if "garbage-" not in str(target):
        return False
    from engineroom.testing._allowances import is_cleanup_of_pytest  # noqa: PLC0415  # most runs never ask

    return is_cleanup_of_pytest(source, target)


def _on_rmtree(current: Terms, args: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    path, *rest = args
    directory = rest[0] if rest and rest[0] is not None else -1  # the second argument came with Python 3.12
    _check_tree("remove", current, path, directory=directory)


def _on_fork(_: Terms, __: tuple[Any, ...]) -> None:
    active_ledger().expect_children()


def _on_start(event: str) -> Callable[[Terms, tuple[Any, ...]], None]:
    def judge(current: Terms, args: tuple[Any, ...]) -> None:
        __tracebackhide__ = True
        active_ledger().expect_children()
        from engineroom.testing._clients import judge_start  # noqa: PLC0415  # most runs start nothing

        refusal = judge_start(event, args, current)
        if refusal is not None:
            raise refusal

    return judge


def _check_file(verb: str, current: Terms, path: object, *, directory: int = -1, follow: bool = True) -> None:
    __tracebackhide__ = True
    protected = _database_files.find_protected(path, current, directory=directory, follow=follow)
    if protected is not None:
        raise _refuse_file(verb, protected, current, path)


def _check_tree(verb: str, current: Terms, path: object, *, directory: int) -> None:
    __tracebackhide__ = True
    protected = _database_files.find_protected_below(path, current, directory=directory)
    if protected is not None:
        raise _refuse_file(f"{verb} the directory", protected, current, path)


def _refuse_file(verb: str, protected: ProtectedDatabase, current: Terms, path: object) -> FenceError:
    from engineroom.testing._refusals import refuse_file  # noqa: PLC0415  # as above

    return refuse_file(verb, protected, current, path=os.fsdecode(path))  # type: ignore[arg-type]  # it was found by it


def _on_handle(_: Terms, args: tuple[Any, ...]) -> None:
    _state.judged.add(id(args[0]))


def _fence_engines(_: ModuleType) -> None:
    from engineroom.testing import _engine_fence  # noqa: PLC0415  # it imports SQLAlchemy, which has just arrived

    if not _state.has_fenced_engines:
        _state.has_fenced_engines = True
        _engine_fence.listen(terms, _state.judged, had_arrived=_state.is_raising)


def _fence_sqlite(package: ModuleType) -> None:
    from engineroom.testing import _sqlite_fence  # noqa: PLC0415  # it imports sqlite3, which has just arrived

    _sqlite_fence.fence_connections(package, terms)


def _fence_driver(driver: ModuleType) -> None:
    from engineroom.testing import _cursor_fence, _driver_fence  # noqa: PLC0415  # most runs import no such driver

    try:
        for fences in (_cursor_fence.STATEMENTS, _driver_fence.DRIVERS):  # who judges first stands outermost
            if driver.__name__ in fences:
                fences[driver.__name__](driver, terms)
    except (AttributeError, LookupError, StopIteration):
        _state.unknown_drivers.add(driver.__name__)  # it is built in another way than the ones that are known


_EVENTS: Mapping[str, Callable[[Terms, tuple[Any, ...]], None]] = {
    "sqlite3.connect": _on_connect,
    "sqlite3.connect/handle": _on_handle,
    "open": _on_open,
    "os.truncate": _on_truncate,
    "os.remove": _on_remove,
    "os.rename": _on_rename,
    "shutil.rmtree": _on_rmtree,
    **dict.fromkeys(("os.fork", "os.forkpty"), _on_fork),
    **{event: _on_start(event) for event in ("os.exec", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen")},
}
"""The audit events that the fence looks at."""

DRIVERS = ("psycopg", "psycopg_pool", "psycopg2", "asyncpg", "pymysql", "aiomysql", "asyncmy", "mysql.connector")

ARRIVALS: Mapping[str, Callable[[ModuleType], None]] = {
    "sqlite3": _fence_sqlite,
    "sqlalchemy": _fence_engines,
    **dict.fromkeys(DRIVERS, _fence_driver),
}
"""What the fence does when a library has been imported."""
