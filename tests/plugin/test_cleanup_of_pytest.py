"""pytest removes the temporary directories of its older runs, whatever a test left in them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from engineroom.testing._allowances import is_cleanup_of_pytest

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
import sqlite3


def test_leaves_a_database_of_any_name(tmp_path):
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.execute("CREATE TABLE users (id)")
    connection.close()
"""


def run_pytest(project: Path, temporary: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(temporary)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_old_runs_with_databases_are_removed_without_a_refusal(tmp_path: Path) -> None:
    project, temporary = tmp_path / "project", tmp_path / "temporary"
    project.mkdir()
    temporary.mkdir()
    (project / "pyproject.toml").write_text("")
    (project / "test_shop.py").write_text(SUITE)
    for _ in range(5):  # pytest keeps three
        run = run_pytest(project, temporary)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "refused" not in run.stdout + run.stderr
    (place,) = temporary.iterdir()
    assert len([entry for entry in place.iterdir() if entry.name.startswith("pytest-") and entry.is_dir()]) <= 4


def test_a_database_of_an_old_run_is_still_not_opened(tmp_path: Path) -> None:
    project, temporary = tmp_path / "project", tmp_path / "temporary"
    old = temporary / "pytest-of-ada" / "pytest-0" / "shop.db"
    project.mkdir()
    old.parent.mkdir(parents=True)
    connection = sqlite3.connect(old)
    connection.execute("CREATE TABLE users (id)")
    connection.close()
    (project / "pyproject.toml").write_text("")
    (project / "test_shop.py").write_text(f"import sqlite3\ndef test_it():\n    sqlite3.connect({str(old)!r})\n")
    run = run_pytest(project, temporary)
    assert run.returncode == 1
    assert "Refused to connect" in run.stdout


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("/srv/shop", "/scratch/pytest-of-ada/garbage-1", id="another directory moved there"),
        pytest.param("/scratch/pytest-of-ada/pytest-1", "/srv/garbage-1", id="the run's directory moved elsewhere"),
        pytest.param(
            "/scratch/pytest-of-eve/pytest-1", "/scratch/pytest-of-ada/garbage-1", id="from one user to another"
        ),
        pytest.param(
            "/scratch/pytest-of-ada/pytest-1/shop.db", "/scratch/pytest-of-ada/garbage-1", id="one file of a run"
        ),
        pytest.param("/scratch/pytest-of-ada/pytest-1", 7, id="no path"),
        pytest.param(
            b"/scratch/pytest-of-ada/pytest-1", "/scratch/pytest-of-ada/garbage-1", id="bytes, which pytest never uses"
        ),
    ],
)
def test_no_other_rename_passes_for_pytests_own(source: object, target: object) -> None:
    assert not is_cleanup_of_pytest(source, target)
