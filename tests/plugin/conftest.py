"""Small real projects, and pytest run on them in a process of its own."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DROPPED = ("APP_ENV", "FLASK_ENV", "PYTEST_", "ENGINEROOM_", "TEST_", "COVERAGE_FILE")
FEW_PLUGINS = " ".join(
    f"-p no:{name}" for name in ("anyio", "asyncio", "hypothesispytest", "platformdirs", "pytest_cov", "randomly")
)
MODES: dict[str, tuple[str, ...]] = {"in one process": (), "with two workers": ("-n2",)}
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|warnings?)")


@dataclass(frozen=True)
class Outcome:
    """What one run of pytest said."""

    code: int
    out: str
    err: str

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of the last line: ``{"passed": 2}``."""
        last = [line for line in self.out.splitlines() if COUNT.search(line)][-1:]
        return {word.removesuffix("s"): int(number) for line in last for number, word in COUNT.findall(line)}

    @property
    def failed(self) -> set[str]:
        """The names of the tests in the short summary that failed, or whose setup or teardown did."""
        return set(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", self.out, re.MULTILINE))

    @property
    def refusals(self) -> list[str]:
        """The section of the summary that lists what was refused: its lines."""
        lines = self.out.splitlines()
        starts = [number for number, line in enumerate(lines) if "= engineroom: the fence refused =" in line]
        if not starts:
            return []
        rest = lines[starts[-1] + 1 :]
        return rest[: next((number for number, line in enumerate(rest) if line.startswith(("=", "engineroom:"))), None)]

    @property
    def own_lines(self) -> list[str]:
        """The lines that engineroom wrote into the header and the summary."""
        return [line for line in self.out.splitlines() if line.startswith("engineroom: ")]


@dataclass
class SmallProject:
    """A project with a development database, and tests."""

    root: Path
    temporary: Path
    arguments: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        """The development database."""
        return self.root / "shop.db"

    def write(self, **files: str) -> SmallProject:
        """Write files; the name of a Python file goes without its ending, and ``__`` in it is a slash."""
        for name, text in files.items():
            path = self.root / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return self

    def write_text(self, name: str, text: str) -> SmallProject:
        """Write any other file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return self

    def pytest(self, *arguments: str, **environ: str) -> Outcome:
        """Run pytest in the project, as a person in a shell would."""
        return self.python("-m", "pytest", *self.arguments, *arguments, **environ)

    def python(self, *arguments: str, **environ: str) -> Outcome:
        """Run Python in the project."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**kept, "TMPDIR": str(self.temporary), **self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def digest(self) -> str:
        """Return the digest of the development database."""
        return hashlib.sha256(self.database.read_bytes()).hexdigest()


def make_database(path: Path, *, journal_mode: str = "delete") -> Path:
    """Make a database with one table and three rows."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    connection.executescript("CREATE TABLE articles (name TEXT); INSERT INTO articles VALUES ('a'), ('b'), ('c');")
    connection.close()
    return path


def make_project(directory: Path, arguments: tuple[str, ...] = ()) -> SmallProject:
    """Make a project with a development database, and a temporary directory of its own beside it."""
    root, temporary = directory / "shop", directory / "temporary"
    root.mkdir()
    temporary.mkdir()
    project = SmallProject(root, temporary, arguments)
    project.write_text("pyproject.toml", f"[tool.pytest.ini_options]\naddopts = {FEW_PLUGINS!r}\n")
    make_database(project.database)
    return project


@pytest.fixture
def lone_project(tmp_path: Path) -> SmallProject:
    """Return a project whose tests run in one process."""
    return make_project(tmp_path)


@pytest.fixture(params=list(MODES.values()), ids=list(MODES))
def project(request: pytest.FixtureRequest, tmp_path: Path) -> SmallProject:
    """Return a project, once for one process and once for two xdist workers."""
    return make_project(tmp_path, request.param)
