"""The project that uses engineroom: its root directory and its ``[tool.engineroom]`` table.

Answers: where are the project's files searched, and what does its ``pyproject.toml`` ask for? A mistake in the table is
an error, never ignored: what decides about safety stands here. Runs when pytest starts, so it imports nothing but the
standard library.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom._project.files import read_text_file
from engineroom._project.model import Project

if TYPE_CHECKING:
    from engineroom.errors import InvalidSettingError

__all__ = ["Project", "get_project", "read_project", "read_text_file", "reset", "set_root"]

NAME = "engineroom"

_chosen: dict[str, Project] = {}


def get_project() -> Project:
    """Return the project of this process.

    It is found once: from the directory that :func:`set_root` named, else from the working directory at the first call.

    Raises:
        InvalidSettingError: Its ``pyproject.toml`` cannot be used, or the working directory is gone.
    """
    # setdefault() is atomic: two threads that come first read the same file, and agree on one object.
    return _chosen.get("project") or _chosen.setdefault("project", read_project(_working_directory()))


def set_root(root: Path) -> None:
    """Search the project from a directory, whatever the working directory is.

    Raises:
        InvalidSettingError: The ``pyproject.toml`` found from there cannot be used.
    """
    _chosen["project"] = read_project(root)


def reset() -> None:
    """Forget the project, so that the next call searches again."""
    _chosen.clear()


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:
        pass
    from engineroom.errors import InvalidSettingError  # noqa: PLC0415  # pytest is starting, and nearly always goes on

    raise InvalidSettingError(
        "The project cannot be found.",
        why="it is searched from the working directory, which does not exist any more.",
        fix=["change to a directory that exists"],
    )


def read_project(start: Path) -> Project:
    """Read the project that a directory belongs to.

    Args:
        start: Where to begin; the nearest ``pyproject.toml`` upwards marks the root. Without any, this is the root.

    Raises:
        InvalidSettingError: The file cannot be read, is not TOML, or its table holds something unknown or unusable.
    """
    project = _try_to_read_project(Path(os.path.abspath(start)))  # noqa: PTH100 - resolve() fails on circular links
    if isinstance(project, Project):
        return project
    # Raised anew, and here: the frames below hold the text of the file.
    raise project.without_traceback()


def _try_to_read_project(start: Path) -> Project | InvalidSettingError:
    try:
        for directory in (start, *start.parents):
            if not os.access(directory, os.X_OK):
                continue  # a service may live below a directory that it must not look into
            file = directory / "pyproject.toml"
            text = read_text_file(file)
            if text is not None:
                return _read(file, text)
    except Exception as problem:
        from engineroom.errors import InvalidSettingError  # noqa: PLC0415  # as above

        if isinstance(problem, InvalidSettingError):
            return problem
        raise
    return Project(root=start)


def _read(file: Path, text: str) -> Project:
    """Read the project from its file; one that does not name us has nothing to say, and is not parsed."""
    if NAME not in text and "\\u" not in text.casefold():  # TOML lets a quoted key be written by escapes
        return Project(root=file.parent, file=file)
    from engineroom._project.table import read_table  # noqa: PLC0415  # most runs of pytest do not need the parser

    return read_table(file, text)
