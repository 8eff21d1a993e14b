"""A pytest plugin that writes down how each test ended: ``pytest -p outcomes``, told by ``OUTCOMES_FILE`` where to.

It says the worst that happened to a test, over its setup, its body and its teardown, by its node id.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

WORST_FIRST = ("error", "failed", "xpassed", "xfailed", "skipped", "passed")

_outcomes: dict[str, str] = {}
_process = os.getpid()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a phase of a test."""
    word: str = report.outcome
    if hasattr(report, "wasxfail"):
        word = "xpassed" if report.passed else "xfailed"
    elif report.failed and report.when != "call":
        word = "error"
    known = _outcomes.get(report.nodeid, "passed")
    _outcomes[report.nodeid] = min(word, known, key=WORST_FIRST.index)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a file that could not be collected."""
    if not report.passed:
        _outcomes[report.nodeid] = "error" if report.failed else "skipped"


def pytest_sessionfinish() -> None:
    """Write the file; a pytest that a test starts in this process or in another one writes none of its own."""
    file = os.environ.get("OUTCOMES_FILE")
    if file and os.getpid() == _process:
        Path(file).write_text(json.dumps(_outcomes))
