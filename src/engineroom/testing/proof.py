"""Whether the development database is the same after the run as before it.

Answers for SQLite files, from what ``stat`` says and the change counter in the header; which tests ran when one of them
changed is noted as it happens. A change is told, not judged: the writer may be a development server. Knows the files
from the settings as they were before the test environment was selected, without importing SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engineroom._project import Project
    from engineroom.testing.server_proof import ServerProof

__all__ = ["Proof", "Verification", "find_development_databases", "find_development_urls"]

READINGS_FILE = "server-counters.jsonl"
DEFAULT_FILE = "development.db"
WATCHED_FILE = "development-databases.json"
CHANGES_FILE = "development-changes.jsonl"
OWN_FILES = frozenset({READINGS_FILE, WATCHED_FILE, CHANGES_FILE})
SQLITE_URL = r"sqlite(?:\+\w+)?:///(?:file:)?(?P<path>[^?#]+)"
COUNTER = slice(24, 28)  # https://www.sqlite.org/fileformat.html: the file change counter
HEADER_BYTES = 100
TEST_WORD = "test"  # each pattern of test_names holds it: [tool.engineroom] takes no other
MOST_TESTS = 3
LEAST_SECONDS = 0.01


Stat = tuple[int, int, int]
Status = tuple[Stat | None, Stat | None]
"""What ``stat`` says of a database and of its write-ahead log; None where there is no such file."""


class Verification:
    """What can be said of one development database.

    Args:
        path: The file, as it is shown.
        is_unchanged: Whether it is the same as before the run.
        tests: The tests that ran when it changed, as far as they are known.
    """

    def __init__(self, path: str, *, is_unchanged: bool, tests: tuple[str, ...] = ()) -> None:
        """Keep what was found."""
        self.path = path
        self.is_unchanged = is_unchanged
        self.tests = tests

    def __str__(self) -> str:
        """Return the line of the summary."""
        if self.is_unchanged:
            return f"the development database {self.path} is unchanged."
        if len(self.tests) > MOST_TESTS:
            ran = f"while one of {len(self.tests)} tests ran, from {self.tests[0]} to {self.tests[-1]}"
        else:
            ran = f"while {' or '.join(self.tests)} ran" if self.tests else "during the run, outside of any test"
        return f"the development database {self.path} changed {ran}. Is a development server writing to it?"


class Proof:
    """Watches the development databases of one run.

    Args:
        directory: The run's directory, which workers share; None keeps everything in this process.
    """

    def __init__(self, directory: Path | None) -> None:
        """Watch nothing yet."""
        self._directory = directory
        self._before: dict[str, tuple[Status, bytes]] = {}
        self._seen: dict[str, Status] = {}
        self._changes: dict[str, list[str]] = {}
        self._ran: list[str] = []
        self._looked = time.monotonic()

    def watch(self, paths: list[str]) -> None:
        """Remember how these files are now; a file that is watched already stays as it was remembered."""
        for path in map(os.path.abspath, paths):
            if path not in self._before:
                status = _status_of(path)
                self._before[path] = (status, _read_counter(path))
                self._seen[path] = status

    def share(self) -> None:
        """Let the workers of this run watch the same files."""
        if self._directory is not None:
            # They are there only where a run before this one was in the same process.
            for name in OWN_FILES.intersection(os.listdir(self._directory)):  # noqa: PTH208  # names are enough
                (self._directory / name).unlink()
            if self._before:
                (self._directory / WATCHED_FILE).write_bytes(json.dumps(list(self._before)).encode())

    def join(self) -> None:
        """Watch the files that the process which began the run watches."""
        if self._directory is not None:
            with contextlib.suppress(OSError, ValueError):
                self.watch(json.loads((self._directory / WATCHED_FILE).read_text()))

    def check(self, test: str) -> None:
        """Note the test that has just run if a file changed meanwhile, with those that ran since the last look.

        Looking takes as long as a trivial test's hundredth part, so between short tests it is left out.
        """
        if not self._seen:
            return
        self._ran.append(test)
        if time.monotonic() - self._looked >= LEAST_SECONDS:
            self.look()

    def look(self) -> None:
        """Look now, whenever the last time was."""
        for path, seen in self._seen.items():
            status = _status_of(path)
            if status != seen:
                self._seen[path] = status
                self._note(path)
        self._ran.clear()
        self._looked = time.monotonic()

    def verify(self, root: str | os.PathLike[str]) -> list[Verification]:
        """Return what can be said of each file that was there, or is there now.

        Args:
            root: Where shown paths start from.
        """
        self.look()
        self._read_notes()
        verifications = []
        for path, before in self._before.items():
            now = (_status_of(path), _read_counter(path))
            if not _is_there(before) and not _is_there(now):
                continue
            is_unchanged = now == before and path not in self._changes
            tests = tuple(dict.fromkeys(self._changes.get(path, ())))
            verifications.append(Verification(_shorten(path, root), is_unchanged=is_unchanged, tests=tests))
        return verifications

    @cached_property
    def servers(self) -> ServerProof:
        """What servers count; most runs never ask."""
        from engineroom.testing.server_proof import ServerProof  # noqa: PLC0415

        return ServerProof(self._directory and self._directory / READINGS_FILE)

    def has_servers(self) -> bool:
        """Tell whether a process of this run read what servers count."""
        if "servers" in vars(self):
            return True
        return self._directory is not None and (self._directory / READINGS_FILE).exists()

    def _note(self, path: str) -> None:
        self._changes.setdefault(path, []).extend(self._ran)
        if self._directory is not None:
            with contextlib.suppress(OSError), (self._directory / CHANGES_FILE).open("a") as file:
                file.write(json.dumps([path, self._ran]) + "\n")

    def _read_notes(self) -> None:
        """Take in what the workers noted."""
        if self._directory is None:
            return
        with contextlib.suppress(OSError, ValueError):
            for line in (self._directory / CHANGES_FILE).read_text().splitlines():
                path, tests = json.loads(line)
                if path in self._before:
                    self._changes.setdefault(path, []).extend(tests)


def find_development_databases(project: Project, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the SQLite files that the application would use outside of a test run, whether they exist or not.

    Args:
        project: The project.
        environ: The process environment as it is before the test environment is selected.
    """
    paths = [str(project.root / DEFAULT_FILE)]
    for url in find_development_urls(project, environ):
        paths += _paths_of(url)
    return [path for path in dict.fromkeys(paths) if not _is_test_name(os.path.basename(path), project.test_names)]  # noqa: PTH119  # texts


def find_development_urls(project: Project, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield the database URLs that the application would use outside of a test run; they may hold secrets.

    Args:
        project: The project.
        environ: The process environment.
    """
    for values in _values_outside_test(project, environ):
        for name in values:  # those of the process environment are decoded one by one, so only what is asked for
            if name.upper().endswith("DATABASE_URL") and not name.upper().startswith("TEST_"):
                yield values[name]


def _is_test_name(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a name is a test database's; each pattern holds the word, so mostly none has to be compiled."""
    return TEST_WORD in name.casefold() and any(fnmatchcase(name, pattern) for pattern in patterns)


def _values_outside_test(project: Project, environ: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield what the process environment and each file of settings say, as far as they can be read."""
    if not _has_files(project):
        yield environ
        return
    from engineroom import _lifecycle  # noqa: PLC0415  # a project without such files does not pay for it
    from engineroom._environment import Environment  # noqa: PLC0415
    from engineroom._layers import read_layers  # noqa: PLC0415
    from engineroom.errors import EngineroomError  # noqa: PLC0415

    # What is wrong with the settings is told by whoever needs them.
    environments = {Environment.DEVELOPMENT}
    with contextlib.suppress(EngineroomError):
        environments.add(_lifecycle.choose_environment(project, environ).environment)
    for environment in sorted(environments - {Environment.TEST}):
        with contextlib.suppress(EngineroomError):
            yield from (layer.values for layer in read_layers(project, environment, environ).layers)


def _has_files(project: Project) -> bool:
    try:
        return any(name.startswith(".env") for name in os.listdir(project.root))  # noqa: PTH208  # names are enough
    except OSError:
        return True


def _paths_of(url: str) -> list[str]:
    """Return the file that a URL of SQLite names; both readings of a percent sign, since SQLAlchemy 2.0 keeps it."""
    if not url.lstrip().startswith("sqlite"):
        return []
    match = re.match(SQLITE_URL, url.strip())
    if match is None or match["path"] == ":memory:":
        return []
    from urllib.parse import unquote  # noqa: PLC0415  # most runs find no such URL

    return [os.path.abspath(path) for path in dict.fromkeys([match["path"], unquote(match["path"])])]  # noqa: PTH100  # links stay


def _status_of(path: str) -> Status:
    file = _stat(path)
    return file, None if file is None else _stat(f"{path}-wal")


def _is_there(seen: tuple[Status, bytes]) -> bool:
    (file, _), _ = seen
    return file is not None


def _stat(path: str) -> Stat | None:
    try:
        if not os.access(path, os.F_OK):  # to raise and catch an error takes ten times as long
            return None
        status = os.stat(path)  # noqa: PTH116  # asked after each test
    except (OSError, ValueError):
        return None
    is_empty_log = not status.st_size and path.endswith("-wal")  # a mere reader makes one, and removes it
    return None if is_empty_log else (status.st_size, status.st_mtime_ns, status.st_ino)


def _read_counter(path: str) -> bytes:
    # Closing a descriptor drops this process's own locks on the file. It is read before the run opens anything, and
    # after its end.
    with contextlib.suppress(OSError, ValueError), Path(path).open("rb") as file:
        return file.read(HEADER_BYTES)[COUNTER]
    return b""


def _shorten(path: str, root: str | os.PathLike[str]) -> str:
    with contextlib.suppress(ValueError):
        return str(Path(path).relative_to(root))
    return path
