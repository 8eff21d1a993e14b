"""The Python children of a test run: what they are told of it, and how they take part.

A file of the wheel, ``engineroom-children.pth``, has Python look for the variable ``ENGINEROOM_ROLE`` whenever it
starts, and call ``join_run`` where it is set. The environment only says that there is a run, and names its directory;
on which terms the fence judges stands in ``pyproject.toml``, whose place the run wrote down in that directory. What
cannot be read means the strictest terms. Nothing here decides what is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom import _project, _run_files, _test_process
from engineroom.testing import _arrivals, fence
from engineroom.testing._database_files import Terms
from engineroom.testing.ledger import (
    FILE_NAME,
    WORKER_VARIABLE,
    active_ledger,
    close_child_ledger,
    open_child_ledger,
)

if TYPE_CHECKING:
    from engineroom._project import Project

__all__ = ["ROLE_VARIABLE", "await_children", "join_run", "leave_run", "tell_children"]

ROLE_VARIABLE = "ENGINEROOM_ROLE"
"""The mark of a test run in the environment. It also tells an xdist worker, which joins the run of its controller, from
a pytest that a test starts."""

TERMS_NAME = "terms"
SILENT_STARTS = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")
"""The modules that start a process without an audit event."""


def tell_children(directory: Path, terms: Terms) -> None:
    """Write down for the children of this process where the project is that is tested.

    Args:
        directory: The run's directory.
        terms: On which terms the fence judges here.
    """
    text = json.dumps({"root": terms.root, "temporary": terms.temporary})
    place = _terms_file(directory)
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # a child that finds nothing is judged strictly
        unfinished.write_bytes(text.encode())
        unfinished.replace(place)


def await_children() -> None:
    """Have the ledger look out for children also where nothing but an import shows that one is started."""
    for module in SILENT_STARTS:
        _arrivals.when_imported(module, lambda _: active_ledger().expect_children())


def join_run() -> None:
    """Raise the fence in a process that a test run started, on the terms of the run, and share its ledger.

    This is called when Python starts. Whatever goes wrong afterwards, the fence is up first.
    """
    if fence.is_raised():
        return
    fence.resume_fence(Terms(os.sep))
    _test_process.enter_test_process(is_child=True)
    directory = Path(os.environ.get(_run_files.RUN_VARIABLE, ""))
    is_going_on = _run_files.is_run_directory(directory)
    open_child_ledger(directory / FILE_NAME if is_going_on else None)
    root, temporary = _read_terms(directory) if is_going_on else ("", [])
    project = _find_project(root)
    terms = Terms(project.root, project.test_names, project.fence_allow)
    for place in temporary:
        terms.allow_temporary(place)
    fence.resume_fence(terms)
    os.environ[project.environment_variable] = "test"


def leave_run() -> bool:
    """Go from being a child to a run of one's own; return whether this process was a child.

    A pytest that a test starts, and an xdist worker, are children until their plugin is loaded.
    """
    return close_child_ledger()


def _terms_file(directory: Path) -> Path:
    return directory / f"{TERMS_NAME}-{os.environ.get(WORKER_VARIABLE, '').replace(os.sep, '_')}"


def _read_terms(directory: Path) -> tuple[str, list[str]]:
    try:
        told = json.loads(_terms_file(directory).read_bytes())
        return str(told["root"]), [str(place) for place in told["temporary"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []


def _find_project(root: str) -> Project:
    """Return the project that is tested; one without any allowance where it is not known, or cannot be read."""
    from engineroom.errors import EngineroomError  # noqa: PLC0415  # the process that runs the tests never asks

    try:
        return _project.read_project(Path(root)) if root else _project.Project(Path(os.sep))
    except EngineroomError:
        return _project.Project(Path(os.sep))
