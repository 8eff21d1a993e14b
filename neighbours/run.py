"""Run the suites of well-known packages with engineroom installed and without it, and compare test by test.

Each neighbour in ``neighbours.toml`` gets an environment of its own, made from its sdist on PyPI. Its suite runs
without engineroom, then with it; tests that ended differently are run again both ways, since some are flaky. A
difference that stays, a refusal or a warning is a fault, and the exit code says so.
Usage: ``nox -s neighbours [-- NAME ...]``, or ``python -m neighbours.run --wheel WHEEL [NAME ...]``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from neighbours.page import read_table, write_results

HERE = Path(__file__).parent
DROPPED = ("APP_ENV", "PYTEST_", "ENGINEROOM_", "COVERAGE_", "NOX_", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
SECONDS_TO_INSTALL = 900
MOST_TO_REPEAT = 50
REFUSALS = re.compile(r"=+ engineroom: the fence refused =+\n(.*?)(?=\n=|\nengineroom: |\Z)", re.DOTALL)
LATE = re.compile(r"engineroom: the fence refused, after the summary:\n(.*)", re.DOTALL)
WARNINGS = re.compile(r"^engineroom: WARNING.*|^.*/site-packages/engineroom/\S+:\d+: \w*Warning.*", re.MULTILINE)


@dataclass(frozen=True)
class Neighbour:
    """One package, and how its suite is run.

    Attributes:
        name: Its name on PyPI.
        version: The version whose sdist holds the tests.
        why: What its suite does that the fence looks at.
        requirements: What the tests need besides the package.
        arguments: What pytest is told.
        environ: Variables that the suite wants, or what builds the package.
        fence_allow: What a user of engineroom would allow in this project.
        seconds: How long the suite may take.
    """

    name: str
    version: str
    why: str
    requirements: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environ: tuple[tuple[str, str], ...] = ()
    fence_allow: tuple[str, ...] = ()
    seconds: int = 600


class Run(NamedTuple):
    """One run of a suite.

    Attributes:
        outcomes: How each test ended, by node id; empty if pytest did not come to its end.
        refusals: What the fence refused, as the summary tells it.
        warnings: What engineroom, or somebody about engineroom, warned of.
        code: The exit code.
        seconds: How long it took.
    """

    outcomes: dict[str, str]
    refusals: str
    warnings: str
    code: int
    seconds: float


class Result(NamedTuple):
    """What the comparison of one neighbour gave; ``fault`` is empty where all is well."""

    neighbour: Neighbour
    without: Run | None
    installed: Run | None
    fault: str


class Street:
    """Where the neighbours live: a directory with the sdists, the environments and what the runs said.

    Args:
        home: The directory; what is there already is used again.
        wheel: The wheel of engineroom.
    """

    def __init__(self, home: Path, wheel: Path) -> None:
        """Keep the places. The plugin stands alone: a suite may well have a module called ``run`` of its own."""
        self.home = home
        self.wheel = wheel
        self.plugin = home / "plugin"
        self.plugin.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "outcomes.py", self.plugin)

    def compare(self, neighbour: Neighbour) -> Result:
        """Run a suite both ways, and say what is different."""
        try:
            source = self._unpack(neighbour)
            self._furnish(neighbour, source)
            self._move(neighbour, "uninstall", "--yes", "engineroom")
            without = self._run(neighbour, source, "without")
            self._move(neighbour, "install", "--no-deps", str(self.wheel))
            installed = self._run(neighbour, source, "with")
        except (subprocess.SubprocessError, OSError) as problem:
            return Result(neighbour, None, None, f"it cannot be run: {problem}")
        different = find_differences(without.outcomes, installed.outcomes)
        if different:
            different = self._look_again(neighbour, source, different)
        return Result(neighbour, without, installed, tell_fault(without, installed, different))

    def _look_again(self, neighbour: Neighbour, source: Path, tests: list[str]) -> list[str]:
        """Return those tests that end differently each time: one that comes to the same end both ways is flaky."""
        whole = [test for test in tests if "::" in test]
        if len(whole) < len(tests) or len(tests) > MOST_TO_REPEAT:
            return tests  # a file could not be collected, or the whole run broke
        for _ in range(2):
            installed = self._run(neighbour, source, "with-again", whole)
            self._move(neighbour, "uninstall", "--yes", "engineroom")
            without = self._run(neighbour, source, "without-again", whole)
            self._move(neighbour, "install", "--no-deps", str(self.wheel))
            whole = [test for test in whole if without.outcomes.get(test, "not run") != installed.outcomes.get(test)]
            if not whole:
                break
        return whole

    def _unpack(self, neighbour: Neighbour) -> Path:
        """Return the directory of the sources, downloaded by pip."""
        place = self.home / "sources" / f"{neighbour.name}-{neighbour.version}"
        if not place.is_dir():
            sdists = self.home / "sdists" / neighbour.name
            requirement = f"{neighbour.name}=={neighbour.version}"
            self._pip(
                neighbour, "download", "--no-deps", f"--no-binary={neighbour.name}", "-d", str(sdists), requirement
            )
            with tarfile.open(next(sdists.glob("*.tar.gz"))) as archive:
                archive.extractall(place, filter="data")
        return next(path for path in place.iterdir() if path.is_dir())

    def _furnish(self, neighbour: Neighbour, source: Path) -> None:
        """Make the environment: the package, its requirements, and those of engineroom."""
        python = self._python(neighbour)
        done = self.home / "environments" / neighbour.name / "furnished.json"
        wanted = json.dumps([neighbour.version, neighbour.requirements])
        if done.exists() and done.read_text() == wanted:
            return
        venv.create(python.parents[1], clear=True)
        packages = ("pytest", str(self.wheel), str(source), *neighbour.requirements)
        self._move(neighbour, "install", "--no-compile", *packages)
        done.write_text(wanted)

    def _run(self, neighbour: Neighbour, source: Path, word: str, tests: list[str] | None = None) -> Run:
        """Run the suite in a fresh copy with a fresh home and temporary directory, and keep what it says in a file."""
        directory = self.home / "runs" / neighbour.name
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(source, directory / "source", symlinks=True)
        for name in ("temporary", "user"):
            (directory / name).mkdir()
        mark_root(directory / "source", neighbour.fence_allow)
        said = self.home / "said" / f"{neighbour.name}-{word}.txt"
        said.parent.mkdir(parents=True, exist_ok=True)
        outcomes = said.with_suffix(".json")
        outcomes.unlink(missing_ok=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        environ |= {
            "PYTHONPATH": str(self.plugin),
            "OUTCOMES_FILE": str(outcomes),
            "TMPDIR": str(directory / "temporary"),
        }
        python = self._python(neighbour)
        environ |= {"PATH": f"{python.parent}{os.pathsep}{environ.get('PATH', '')}", "HOME": str(directory / "user")}
        environ |= dict(neighbour.environ)
        arguments = [word for word in neighbour.arguments if not tests or not (source / word).exists()]
        root = f"--rootdir={directory / 'source'}"
        command = [str(python), "-m", "pytest", "-p", "outcomes", root, *arguments, *(tests or [])]
        started = time.monotonic()
        with said.open("w") as file:
            done = subprocess.run(  # noqa: S603
                command, cwd=directory / "source", env=environ, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, timeout=neighbour.seconds, check=False,
            )  # fmt: skip
        text = said.read_text(errors="replace")
        known = json.loads(outcomes.read_text()) if outcomes.exists() else {}
        refusals = "\n".join([*REFUSALS.findall(text), *LATE.findall(text)])
        warnings = "\n".join(WARNINGS.findall(text))
        return Run(known, refusals, warnings, done.returncode, time.monotonic() - started)

    def _move(self, neighbour: Neighbour, *arguments: str) -> None:
        """Change the neighbour's environment by the pip of this one; a pip of its own would take long to install."""
        self._pip(neighbour, "--python", str(self._python(neighbour)), *arguments)

    def _python(self, neighbour: Neighbour) -> Path:
        return self.home / "environments" / neighbour.name / "bin" / "python"

    def _pip(self, neighbour: Neighbour, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
        environ = os.environ | dict(neighbour.environ)
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL, check=False, env=environ
        )
        if done.returncode:
            raise OSError(f"pip failed at {' '.join(arguments)}:\n{done.stderr[-2000:]}")


def mark_root(source: Path, entries: tuple[str, ...]) -> None:
    """Let the neighbour's project end at its own directory, and write what a user of engineroom would write there.

    Both pytest and engineroom look for their configuration upwards, and would find this project's own.
    """
    (source.parent / "pytest.ini").touch()
    file = source / "pyproject.toml"
    text = file.read_text() if file.exists() else ""
    if entries:
        text = f"{text}\n[tool.engineroom]\nfence_allow = {json.dumps(entries)}\n"
    file.write_text(text)


def find_differences(without: dict[str, str], installed: dict[str, str]) -> list[str]:
    """Return the tests that did not end the same way."""
    return sorted(test for test in without.keys() | installed.keys() if without.get(test) != installed.get(test))


def tell_fault(without: Run, installed: Run, different: list[str]) -> str:
    """Return what is wrong; nothing where all is well."""
    if not without.outcomes:
        return f"the suite does not run at all (exit code {without.code})"
    faults = []
    if different:
        shown = "".join(
            f"\n    {test}: {without.outcomes.get(test)} without, {installed.outcomes.get(test)} with it"
            for test in different[:20]
        )
        faults.append(f"{len(different)} tests end differently:{shown}")
    if installed.refusals:
        faults.append(f"refused:\n{installed.refusals}")
    if installed.warnings:
        faults.append(f"warned:\n{installed.warnings}")
    if not faults and without.code != installed.code:
        faults.append(f"the exit code is {installed.code} instead of {without.code}")
    return "\n".join(faults)


def read_neighbours() -> list[Neighbour]:
    """Read the table."""
    neighbours = []
    for name, row in read_table().items():
        fields: dict[str, Any] = {
            key: tuple(value) if key in ("requirements", "arguments", "fence_allow") else value
            for key, value in row.items()
        }
        neighbours.append(Neighbour(name, **(fields | {"environ": tuple(row.get("environ", {}).items())})))
    return neighbours


def sum_up(result: Result) -> dict[str, Any]:
    """Return what the documentation tells of a neighbour."""
    outcomes = list(result.without.outcomes.values()) if result.without else []
    return {
        "version": result.neighbour.version,
        "tests": len(outcomes),
        "passed": outcomes.count("passed"),
        "failed": sum(outcomes.count(word) for word in ("failed", "error")),
        "result": "DIFFERENT" if result.fault else "same",
    }


def tell(results: list[Result]) -> None:
    """Print the table, and below it what is wrong."""
    print(f"\n{'package':34} {'tests':>6} {'passed':>6} {'failed':>6} {'without, s':>10} {'with, s':>8}  result")
    for result in results:
        row = sum_up(result)
        counts = " ".join(f"{row[key]:6}" for key in ("tests", "passed", "failed"))
        seconds = [run.seconds if run else 0 for run in (result.without, result.installed)]
        name = f"{result.neighbour.name} {result.neighbour.version}"
        print(f"{name:34} {counts} {seconds[0]:10.0f} {seconds[1]:8.0f}  {row['result']}")
    for result in results:
        if result.fault:
            print(f"\n{result.neighbour.name}: {result.fault}")


def main() -> int:
    """Compare the neighbours that were named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="which neighbours; all of them without a name")
    parser.add_argument("--wheel", type=Path, required=True, help="the wheel of engineroom")
    parser.add_argument("--home", type=Path, default=Path("neighbours-home"), help="where to work")
    options = parser.parse_args()
    known = {neighbour.name: neighbour for neighbour in read_neighbours()}
    unknown = set(options.names) - known.keys()
    if unknown:
        parser.error(f"no neighbour is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    street = Street(options.home.resolve(), options.wheel.resolve())
    results = []
    for name in options.names or known:
        print(f"{name} ...", flush=True)
        results.append(street.compare(known[name]))
    tell(results)
    write_results({result.neighbour.name: sum_up(result) for result in results})
    return int(any(result.fault for result in results))


if __name__ == "__main__":
    sys.exit(main())
