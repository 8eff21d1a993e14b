"""What the fence lets through although it is not disposable: the caches of common tools, and ``fence_allow``.

Answers from names alone; whoever asks has followed every symbolic link. The tools' files are a tuple of patterns, each
with its reason, so that a test can list them and a page can show them.
"""

from __future__ import annotations

import os
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["TOOL_FILES", "Allowances", "ToolFile", "is_cleanup_of_pytest"]

SQLITE_PREFIX = "sqlite:///"


class ToolFile(NamedTuple):
    """Files that a tool keeps for itself and can make again.

    Attributes:
        pattern: Segments that follow each other on the path; the last one ``**`` means everything below.
        reason: Whose they are, and why they are free.
    """

    pattern: tuple[str, ...]
    reason: str


TOOL_FILES: tuple[ToolFile, ...] = (
    ToolFile((".coverage",), "Coverage's data file"),
    ToolFile((".coverage.*",), "Coverage's data file of one process"),
    ToolFile((".testmondata*",), "pytest-testmon's record of what depends on what"),
    ToolFile((".mutmut-cache",), "mutmut's record of what was tested"),
    ToolFile((".pytest_cache", "**"), "pytest's cache"),
    ToolFile(("pytest-of-*", "garbage-*", "**"), "what pytest is removing of its last runs"),
    ToolFile((".hypothesis", "**"), "Hypothesis's example database"),
    ToolFile((".mypy_cache", "**"), "mypy's cache, a SQLite file with --sqlite-cache"),
    ToolFile((".ruff_cache", "**"), "Ruff's cache"),
    ToolFile((".tox", "**"), "tox's environments"),
    ToolFile((".nox", "**"), "nox's environments"),
    ToolFile((".ipython", "**"), "IPython's history"),
    ToolFile(("jupyter", "*.db"), "Jupyter's signatures of notebooks and names of files"),
    ToolFile(("Library", "Jupyter", "*.db"), "the same on macOS"),
    ToolFile((".cache", "**"), "the caches of a user's programs, by the XDG directory specification"),
    ToolFile(("Library", "Caches", "**"), "the caches of a user's programs on macOS"),
    ToolFile(("ms-playwright", "**"), "Playwright's browsers and their profiles"),
)
"""Every file that is free for being a tool's own, under any directory."""


_OLD_RUN = re.compile(r"(?P<place>.*/pytest-of-[^/]+)/pytest-\d+/?")
_GARBAGE = re.compile(r"(?P<place>.*/pytest-of-[^/]+)/garbage-[^/]+/?")


def is_cleanup_of_pytest(source: object, target: object) -> bool:
    """Tell whether a rename is pytest's own: it moves the directory of an old run aside before it removes it.

    pytest keeps the temporary directories of its last runs and removes older ones at its end (``pathlib.py``,
    ``maybe_delete_a_numbered_dir``). What a test left there may be called anything, and is meant to go.

    Example:
        >>> is_cleanup_of_pytest("/tmp/pytest-of-ada/pytest-7", "/tmp/pytest-of-ada/garbage-3f")
        True
        >>> is_cleanup_of_pytest("/srv/shop", "/tmp/pytest-of-ada/garbage-3f")
        False
    """
    if not isinstance(source, str | os.PathLike) or not isinstance(target, str | os.PathLike):
        return False
    old, garbage = _OLD_RUN.fullmatch(os.fsdecode(source)), _GARBAGE.fullmatch(os.fsdecode(target))
    return old is not None and garbage is not None and old["place"] == garbage["place"]


class Allowances(NamedTuple):
    """What is let through in one project.

    Attributes:
        root: The real path of the project's root.
        patterns: Patterns of real paths, split at the slashes; ``**`` stands for any number of directories.
        urls: URLs of databases on servers, without password.

    Example:
        >>> allowances = Allowances.read(["data/*.db"], "/srv/shop")
        >>> allowances.lets_file("/srv/shop/data/cities.db"), allowances.lets_file("/srv/shop/shop.db")
        (True, False)
    """

    root: str
    patterns: tuple[tuple[str, ...], ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def read(cls, entries: Sequence[str], root: str | os.PathLike[str]) -> Allowances:
        """Read the entries of ``fence_allow``; file patterns are relative to the project's root."""
        files = [entry.removeprefix(SQLITE_PREFIX) for entry in entries if _is_file(entry)]
        urls = tuple(entry for entry in entries if not _is_file(entry))
        real_root = os.path.realpath(root)
        return cls(real_root, tuple(_pattern_of(entry, real_root) for entry in files), urls)

    def lets_file(self, real_path: str, links: int = 1) -> bool:
        """Tell whether a file is let through, given its real path and how many names (hard links) it has."""
        parts = _split(real_path)
        return any(_matches(parts, pattern) for pattern in self.patterns) or (
            links <= 1 and self._is_tool_file(real_path)
        )

    def with_temporary(self, directory: str | os.PathLike[str]) -> Allowances:
        """Return the same, and what lies in the subdirectories of a directory that pytest empties before each run."""
        pattern = (*_split(os.path.realpath(directory)), "*", "*", "**")
        return self._replace(patterns=(*self.patterns, pattern))

    def _is_tool_file(self, real_path: str) -> bool:
        # A whole project may stand in a tool's directory (a session of nox, say): what is above its root says nothing.
        below = real_path.removeprefix(f"{self.root.rstrip('/')}/")
        return any(_ends_like(_split(below), tool.pattern) for tool in TOOL_FILES) or _is_coverage_data(real_path)


def _is_file(entry: str) -> bool:
    return "://" not in entry or entry.startswith(SQLITE_PREFIX)


def _pattern_of(entry: str, root: str) -> tuple[str, ...]:
    path = Path(root, entry).expanduser() / ("**" if entry.endswith("/") else "")
    return _split(os.path.realpath(path))  # resolves what exists on the way, and leaves a pattern's own segments


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _ends_like(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tell whether a path ends like a pattern, or passes through one that ends with ``**``."""
    if pattern[-1] != "**":
        return _matches(parts[-len(pattern) :], pattern)
    directories = pattern[:-1]
    starts = range(len(parts) - len(directories))
    return any(_matches(parts[start : start + len(directories)], directories) for start in starts)


def _is_coverage_data(real_path: str) -> bool:
    """Tell whether a file is the data of a measurement that is going on, wherever that was told to keep it."""
    configured = [os.environ.get("COVERAGE_FILE"), *_coverage_files()]
    return any(_is_or_extends(real_path, os.path.realpath(file)) for file in configured if file)


def _coverage_files() -> Iterator[str]:
    """Yield the data file of each measurement; when one is saved it has stopped, and Coverage itself forgot it."""
    coverage = getattr(sys.modules.get("coverage"), "Coverage", None)
    if coverage is None:
        return
    import gc  # noqa: PLC0415  # asked right before a refusal only

    for measurement in gc.get_objects():
        if type(measurement) is coverage:  # isinstance() would ask an application's proxies for their class
            yield str(measurement.get_option("run:data_file"))


def _is_or_extends(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")
