"""What the pytest plugin costs: CPU time of whole runs of pytest, as a ratio to pytest without the package.

Two environments are the same but for engineroom. Each round runs each suite five ways, in a random order and right
after each other: twice without the package (the second is the noise), with the package but ``-p no:engineroom``, with
the plugin, and without the package but with the least that such a plugin can be (``least_plugin.py``). A figure is the
median over all rounds of the ratio to the first. The time is that of the child process, user and system. Usage:
``nox -s bench_plugin [-- --rounds N]``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"
DROPPED = ("APP_ENV", "PYTEST_", "ENGINEROOM_", "COVERAGE_", "PYTHONDONTWRITEBYTECODE")
FILES, TESTS = 10, 100
LEAST = "least_plugin"
BODIES = {
    "1,000 trivial tests": "(): pass",
    "1,000 tests that write 10 files each": """(tmp_path):
    for name in range(10):
        (tmp_path / str(name)).write_bytes(b"text")""",
    "1,000 tests that open sqlite3 in memory and in a file": """(tmp_path):
    sqlite3.connect(":memory:").close()
    sqlite3.connect(tmp_path / "shop.db").close()""",
}
ONE_TEST = "a run of one empty test"
IMPORT = "import engineroom"
LIMITS = {ONE_TEST: 5.0, "1,000 trivial tests": 2.0}
"""How many percent the plugin may cost."""


class Figure(NamedTuple):
    """What was measured of one suite: seconds of CPU without the package, and ratios to them."""

    suite: str
    seconds: float
    noise: float
    off: float
    on: float
    least: float
    spread: float


def measure(name: str, commands: dict[str, list[str]], directory: Path, rounds: int) -> Figure:
    """Run the commands round by round, and compare each with the first."""
    spent: dict[str, list[float]] = {word: [] for word in commands}
    for command in commands.values():
        time_of(command, directory)  # writes what Python and pytest keep of the sources
    for _ in range(rounds):
        for word in random.sample(list(commands), len(commands)):
            spent[word].append(time_of(commands[word], directory))
    ratios = {word: [b / a for a, b in zip(spent["without"], spent[word], strict=True)] for word in commands}
    quartiles = statistics.quantiles(ratios["again"], n=4)
    middle = {word: statistics.median(ratios[word]) for word in commands}
    return Figure(
        name,
        statistics.median(spent["without"]),
        middle["again"],
        middle["off"],
        middle["on"],
        middle["least"],
        quartiles[2] - quartiles[0],
    )


def time_of(command: list[str], directory: Path) -> float:
    """Return the CPU time of one command."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the least plugin is
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=directory, env=environ, stdout=subprocess.PIPE, check=False)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout.decode())
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_suite(directory: Path, body: str, files: int, tests: int) -> Path:
    """Write a project of trivial tests."""
    directory.mkdir()
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "shop"\n[tool.pytest.ini_options]\ntestpaths = ["."]\n'
    )
    for file in range(files):
        text = "\n".join(f"def test_{test}{body}" for test in range(tests))
        imports = "import sqlite3\n" if "sqlite3" in body else ""
        (directory / f"test_{file}.py").write_text(f"{imports}{text}\n")
    return directory


def run(without: str, rounds: int) -> list[Figure]:
    """Measure every suite."""
    figures = []
    with tempfile.TemporaryDirectory() as place:
        suites = {ONE_TEST: write_suite(Path(place, "one"), "(): pass", 1, 1)}
        suites |= {name: write_suite(Path(place, name), body, FILES, TESTS) for name, body in BODIES.items()}
        for name, directory in suites.items():
            options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={place}/temporary"]
            bare, on = [without, *options], [sys.executable, *options]
            commands = {"without": bare, "again": bare, "off": [*on, "-p", "no:engineroom"], "on": on}
            commands["least"] = [*bare, "-p", LEAST]
            figures.append(measure(name, commands, directory, rounds))
        python = [sys.executable, "-c", "pass"]
        commands = {
            "without": python,
            "again": python,
            "off": python,
            "least": python,
            "on": [sys.executable, "-c", IMPORT],
        }
        figures.append(measure(f"python -c '{IMPORT}', to 'pass'", commands, Path(place), rounds))
    return figures


def tell(figures: list[Figure]) -> None:
    """Print the table."""
    print("| suite | without, CPU s | plugin | `-p no:engineroom` | least plugin | noise | its quartiles apart |")
    print("|---|---|---|---|---|---|---|")
    for it in figures:
        ratios = " | ".join(f"{ratio - 1:+.1%}" for ratio in (it.on, it.off, it.least, it.noise))
        print(f"| {it.suite} | {it.seconds:.2f} | {ratios} | {it.spread:.1%} |")


def main() -> int:
    """Measure, tell and write; the exit code says whether the plugin costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--without", required=True, help="the Python of an environment without engineroom")
    parser.add_argument("--rounds", type=int, default=15, help="how often each suite is run each way")
    parser.add_argument("--check", action="store_true", help="fail where the plugin costs more than it may")
    options = parser.parse_args()
    figures = run(os.path.abspath(options.without), options.rounds)  # noqa: PTH100  # a venv is known by its link
    tell(figures)
    RESULTS.mkdir(exist_ok=True)
    content = {
        "python": platform.python_version(),
        "rounds": options.rounds,
        "figures": [it._asdict() for it in figures],
    }
    (RESULTS / "plugin.json").write_text(json.dumps(content, indent=2))
    over = [it.suite for it in figures if (it.on - 1) * 100 > LIMITS.get(it.suite, 1000)]
    print("\n".join(f"{suite}: above {LIMITS[suite]} percent" for suite in over))
    return int(options.check and bool(over))


if __name__ == "__main__":
    sys.exit(main())
