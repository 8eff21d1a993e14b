"""What the documentation says is run: every page from top to bottom, in an empty project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("run_page.py")
PAGES = [
    path.relative_to(ROOT)
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    if "_build" not in path.parts
]


def run_page(page: Path, project: Path) -> subprocess.CompletedProcess[str]:
    """Run a page as a reader does who has just opened a shell: no test run is on, and no setting is exported."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, str(RUNNER), str(page)],
        check=False, cwd=project, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    result = run_page(ROOT / page, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\nassert 1 == 2\n```", "AssertionError"),
        ("```python\n>>> 1 + 1\n3\n```", "the session is another one"),
        ("```console\n$ echo one\ntwo\n```", "where the page says"),
        ("```console\n$ exit 3\n```", "exit 3"),
        ("```python\n# a.py\nx = 1\n```\n\n```diff\n--- a.py\n+++ a.py\n-y = 1\n+y = 2\n```", "stand 0 times"),
        ("```python\nx = 1\n```\n\n```python\nassert x == 2\n```", "AssertionError"),
    ],
    ids=[
        "a wrong assertion",
        "another value in a session",
        "another output of a command",
        "a failing command",
        "a diff of another file",
        "a wrong assertion on an earlier block",
    ],
)
def test_a_page_that_lies_is_caught(text: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    result = run_page(page, tmp_path)
    assert result.returncode != 0
    assert complaint in result.stdout + result.stderr


def test_an_honest_page_passes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\n# app/one.py\nx = 1\n```\n```diff\n--- a/app/one.py\n+++ b/app/one.py\n-x = 1\n+x = 2\n```\n"
        "```python\nfrom app.one import x\n```\n"
        "```python\n>>> x\n2\n```\n```console\n$ echo a; echo b; echo c\na\n...\nc\n```\n"
        "<!-- not run: it fails -->\n```python\n1 / 0\n```\n```text\nonly words\n```\n"
    )
    result = run_page(page, tmp_path)
    assert (result.returncode, result.stdout) == (0, "5 blocks\n"), result.stderr
