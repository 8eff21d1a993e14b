"""The Python children of a test run: how they take part in it.

A file of the wheel, ``engineroom-children.pth``, has Python look for the variable ``ENGINEROOM_ROLE`` whenever it
starts, and call ``join_run`` where it is set. The environment only says that there is a run, and names its directory;
on which terms the fence judges stands in ``pyproject.toml``, whose place the run wrote down in that directory
(``fence.tell_children``). What cannot be read means the strictest terms. Nothing here decides what is refused, and the
process that runs the tests does not load it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom import _project, _run_files, _test_process
from engineroom.testing import fence
from engineroom.testing._database_files import Terms
from engineroom.testing.ledger import FILE_NAME, open_child_ledger

if TYPE_CHECKING:
    from engineroom._project import Project

__all__ = ["join_run"]


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


def _read_terms(directory: Path) -> tuple[str, list[str]]:
    try:
        told = json.loads(fence.terms_file(directory).read_bytes())
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
