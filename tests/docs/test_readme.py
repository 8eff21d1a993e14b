"""The README's promises that no page runner sees: the two commands, and what the project's files say of each other."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
FROM_A_CLONE = "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s "


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, f"README.md has no section {title}"
    return found[1]


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```(?:shell|bash|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_quick_start_begins_with_the_demonstration_and_the_tests() -> None:
    assert shell_blocks(section("Quick start"))[:2] == [f"{FROM_A_CLONE}demo\n", f"{FROM_A_CLONE}tests\n"]


def test_continuous_integration_runs_the_second_command_as_the_readme_has_it() -> None:
    printed = subprocess.run(
        ["bash", ".ci/run", "--print-command"], check=True, cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert printed == shell_blocks(section("Quick start"))[1]


def test_continuous_integration_stops_where_the_readme_has_no_second_command(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text((ROOT / ".ci" / "run").read_text())
    (tmp_path / "README.md").write_text("## Quick start\n\n```shell\ntrue\n```\n\n## Other\n\n```shell\nfalse\n```\n")
    result = subprocess.run(["bash", ".ci/run"], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert "no second shell block" in result.stderr


def test_the_accident_is_told_in_three_sentences() -> None:
    story = README.split("\n\n")[1]
    assert len(re.findall(r"[.!?](?=\s|$)", story)) == 3


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", README))
def test_a_relative_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_ruff_is_the_same_everywhere() -> None:
    (pinned,) = PYPROJECT["dependency-groups"]["lint"]
    version = pinned.removeprefix("ruff==")
    assert f"rev: v{version}\n" in (ROOT / ".pre-commit-config.yaml").read_text()


def test_ruff_ignores_little_and_says_why() -> None:
    assert PYPROJECT["tool"]["ruff"]["lint"]["select"] == ["ALL"]
    assert len(PYPROJECT["tool"]["ruff"]["lint"]["ignore"]) <= 20
    text = (ROOT / "pyproject.toml").read_text()
    ignored = text[text.index("[tool.ruff.lint]") : text.index("[tool.towncrier]")]
    unexplained = [line for line in ignored.splitlines() if re.match(r'  "[A-Z]+\d*"', line) and "#" not in line]
    # A line without a reason shares the reason of the line above it.
    assert len(unexplained) <= 2


def test_the_package_needs_no_pytest() -> None:
    needed = " ".join(PYPROJECT["project"]["dependencies"])
    assert "pytest" not in needed
    assert re.findall(r"[A-Za-z][\w-]*", needed.replace("[asyncio]", "")) == [
        "SQLAlchemy",
        "pydantic-settings",
        "aiosqlite",
    ]


def test_every_nox_session_says_what_it_does_and_every_default_one_exists() -> None:
    noxfile = (ROOT / "noxfile.py").read_text()
    sessions = dict(re.findall(r'^def (\w+)\(session: nox\.Session.*\n    """(.*)"""$', noxfile, re.MULTILINE))
    assert {"tests", "tests_versions", "demo", "lint", "typing", "docs"} <= sessions.keys()
    default = re.search(r"nox\.options\.sessions = \[(.*)\]", noxfile)
    assert default
    assert {"lint", "typing", "tests"} == set(re.findall(r'"(\w+)"', default[1]))
