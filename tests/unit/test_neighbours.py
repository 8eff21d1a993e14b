"""What `nox -s neighbours` takes for a fault, and what it lets a neighbour's suite see of this project."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from neighbours.run import REFUSALS, WARNINGS, Run, find_differences, mark_root, tell_fault

if TYPE_CHECKING:
    from pathlib import Path

HEADER = 'engineroom: fence: on (a project that does not want it: addopts = "-p no:engineroom")'


def run(code: int = 0, refusals: str = "", warnings: str = "", **outcomes: str) -> Run:
    return Run(outcomes, refusals, warnings, code, 1.0)


def judge(without: Run, installed: Run) -> str:
    return tell_fault(without, installed, find_differences(without.outcomes, installed.outcomes))


@pytest.mark.parametrize(
    ("without", "installed"),
    [
        pytest.param(run(a="passed"), run(a="passed"), id="all is green"),
        pytest.param(run(1, a="failed"), run(1, a="failed"), id="what fails by itself fails in the same way"),
    ],
)
def test_all_is_well(without: Run, installed: Run) -> None:
    assert judge(without, installed) == ""


@pytest.mark.parametrize(
    ("without", "installed", "fault"),
    [
        pytest.param(run(a="passed"), run(1, a="failed"), "a: passed without, failed with it", id="a test fails"),
        pytest.param(run(a="failed"), run(a="passed"), "a: failed without, passed with it", id="a test is mended"),
        pytest.param(run(a="passed", b="passed"), run(a="passed"), "b: passed without, None", id="a test is not run"),
        pytest.param(run(a="passed"), run(3), "1 tests end differently", id="the run with it breaks"),
        pytest.param(run(4), run(4), "does not run at all", id="no run comes to its end"),
        pytest.param(run(a="passed"), run(a="passed", refusals="shop.db"), "refused:\nshop.db", id="a refusal"),
        pytest.param(run(a="passed"), run(a="passed", warnings="hm"), "warned:\nhm", id="a warning"),
        pytest.param(run(a="passed"), run(1, a="passed"), "exit code is 1 instead of 0", id="another exit code"),
    ],
)
def test_what_is_a_fault(without: Run, installed: Run, fault: str) -> None:
    assert fault in judge(without, installed)


def test_a_refusal_is_found_in_what_a_run_said() -> None:
    said = f"{HEADER}\n==== engineroom: the fence refused ====\napp.py:3 in test_a\n    Refused\n==== 1 passed ===="
    assert REFUSALS.findall(said) == ["app.py:3 in test_a\n    Refused"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (HEADER, False),
        ("engineroom: WARNING: the development database changed", True),
        ("  /x/site-packages/engineroom/testing/fence.py:3: DeprecationWarning: old", True),
        ("  /x/site-packages/dataset/table.py:3: DeprecationWarning: old", False),
    ],
)
def test_a_warning_of_ours_is_found_in_what_a_run_said(line: str, found: bool) -> None:
    assert bool(WARNINGS.findall(f"first\n{line}\nlast")) is found


def test_a_neighbour_without_a_configuration_does_not_get_ours(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--no-such-option'\n")
    source = tmp_path / "run" / "source"
    source.mkdir(parents=True)
    (source / "test_a.py").write_text("def test_a(): pass\n")
    mark_root(source, ("tests/*.db",))
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={source}"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (source / "pyproject.toml").read_text().strip() == '[tool.engineroom]\nfence_allow = ["tests/*.db"]'
