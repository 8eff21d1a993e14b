"""The project that uses engineroom: its root directory and its ``[tool.engineroom]`` table.

Answers: where are the project's files searched, what does its ``pyproject.toml`` ask for, and how is such a file read?
A mistake in the table is an error, never ignored: what decides about safety stands here. Runs when pytest starts, so it
is one module, of the standard library's modules it imports what pytest has imported, and its class is of the kind that
takes least time to make.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engineroom._environment import Environment
    from engineroom._project.bind import BindConfiguration
    from engineroom.errors import InvalidSettingError

__all__ = ["Project", "get_project", "read_project", "read_text_file", "reset", "set_root"]

NAME = "engineroom"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # Python's codec that removes it would be loaded for that alone
KINDS_OF_FILE = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


class Project(SimpleNamespace):
    """A project: its root and what its ``[tool.engineroom]`` table says.

    Args:
        root: The directory where the project's files are searched.
        file: Its ``pyproject.toml``, if there is one.
        schema: What builds the test database of the default bind.
        seed: What fills it.
        test_names: The patterns of database names that are disposable.
        environment_variable: The variable that selects the environment.
        environments: The project's own words for environments.
        fence_allow: File patterns and URLs that the fence lets through.
        binds: What is configured for the other binds.
    """

    def __init__(  # noqa: PLR0913  # a named tuple would take ten times as long to define
        self,
        root: Path,
        *,
        file: Path | None = None,
        schema: str | None = None,
        seed: str | None = None,
        test_names: tuple[str, ...] = ("test_*",),
        environment_variable: str = "APP_ENV",
        environments: Mapping[str, Environment] = MappingProxyType({}),
        fence_allow: tuple[str, ...] = (),
        binds: Mapping[str, BindConfiguration] = MappingProxyType({}),
    ) -> None:
        """Keep the values."""
        super().__init__()
        self.root = root
        self.file = file
        self.schema = schema
        self.seed = seed
        self.test_names = test_names
        self.environment_variable = environment_variable
        self.environments = environments
        self.fence_allow = fence_allow
        self.binds = binds


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
            if _is_absent(f"{directory}/pyproject.toml"):
                continue
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


def _is_absent(file: str) -> bool:
    """Tell whether there is nothing of that name; what cannot be told is for whoever reads it to complain about."""
    try:
        os.lstat(file)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _read(file: Path, text: str) -> Project:
    """Read the project from its file; one that does not name us has nothing to say, and is not parsed."""
    if NAME not in text and "\\u" not in text.casefold():  # TOML lets a quoted key be written by escapes
        return Project(root=file.parent, file=file)
    from engineroom._project.table import read_table  # noqa: PLC0415  # most runs of pytest do not need the parser

    return Project(root=file.parent, file=file, **read_table(file, text))


def read_text_file(path: Path) -> str | None:
    """Return the text of a settings file in UTF-8, a byte order mark or not; ``None`` if there is no such file.

    Only a regular file is read. A directory, a named pipe or a socket is an error: a pipe could block for ever, and two
    processes that read one get half of it each. The null device counts as empty: mounting it over a file hides it.

    Raises:
        InvalidSettingError: Something of that name is there and cannot be read.
    """
    text, problem = _try_to_read(path)
    if not problem:
        return text
    from engineroom.errors import InvalidSettingError  # noqa: PLC0415  # pytest is starting, and nearly always goes on

    raise InvalidSettingError(
        f"{path.name} cannot be read.",
        why=f"{path} {problem}.",
        fix=[f"make {path.name} a readable text file in UTF-8", "move it out of the way"],
    )


def _try_to_read(path: Path) -> tuple[str | None, str]:
    """Return the text, or what is wrong. It raises nothing: a traceback would hold the raw text in its frames."""
    try:
        mode = path.stat().st_mode
        if path.samefile(os.devnull):
            return "", ""
        if not stat.S_ISREG(mode):
            return None, f"is {KINDS_OF_FILE.get(stat.S_IFMT(mode), 'a device')}, not a regular file"
        text = path.read_bytes().removeprefix(BYTE_ORDER_MARK).decode()
    except FileNotFoundError:
        return None, "is a symbolic link to a file that does not exist" if path.is_symlink() else ""
    except OSError as problem:
        return None, f"cannot be opened: {problem.strerror}"
    except UnicodeDecodeError as problem:
        return None, f"is not encoded in UTF-8 (byte {problem.start})"
    return (None, "holds a NUL character: is it UTF-16?") if "\0" in text else (text, "")
