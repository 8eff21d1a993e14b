"""Which test is running, and whether something was refused in it: what is asked for every test.

A trivial test takes half a millisecond, so whatever stands here must not be felt: the hooks that look at each phase are
registered only once there is something to look for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engineroom.testing._children import await_children

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from engineroom.pytest_plugin._isolation import Isolation
    from engineroom.pytest_plugin._switch import Run
    from engineroom.testing._record import Refusal

__all__ = ["watch_tests"]

TESTS = "engineroom-tests"
PHASES = "engineroom-phases"


def watch_tests(config: pytest.Config, run: Run, isolation: Isolation) -> None:
    """Watch the tests that this process runs; the controller of xdist workers runs none."""
    if config.pluginmanager.hasplugin("dsession"):
        return
    config.pluginmanager.register(_Tests(run, config.rootpath, isolation), TESTS)
    run.ledger.alarm = lambda: _watch_phases(config, run)
    await_children()


def _watch_phases(config: pytest.Config, run: Run) -> None:
    if not config.pluginmanager.hasplugin(PHASES):
        config.pluginmanager.register(_Phases(run), PHASES)


class _Tests:
    """Tells the ledger and the proof which test is running, and isolation what else it wants to know.

    It is one plugin for both: pytest looks at each attribute of every plugin, in search of fixtures.
    """

    def __init__(self, run: Run, root: Path, isolation: Isolation) -> None:
        self._ledger = run.ledger
        self._proof = run.proof
        self._root = root
        self._ran = ""
        self.pytest_make_collect_report = isolation.pytest_make_collect_report
        self.pytest_fixture_setup = isolation.pytest_fixture_setup
        self.pytest_fixture_post_finalizer = isolation.pytest_fixture_post_finalizer

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Note that a test starts, and that the one before it is over: a hook for that would cost as much again."""
        if self._ran:
            self._proof.check(self._ran)
        self._ran = nodeid
        self._ledger.start_test(nodeid, lambda: (str(self._root / location[0]), (location[1] or 0) + 1))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Note that the last test is over."""
        self._ledger.end_test()
        if self._ran:
            self._proof.check(self._ran)


class _Phases:
    """Turns a phase of a test red in which something was refused and the refusal was swallowed."""

    def __init__(self, run: Run) -> None:
        self._ledger = run.ledger

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Look at the refusals of a phase that is over."""
        report = yield
        refusals = self._ledger.take(item.nodeid)
        if refusals:
            _show_refusals(report, call, refusals, item.config.rootpath)
        return report


def _show_refusals(report: pytest.TestReport, call: pytest.CallInfo[None], refusals: list[Refusal], root: Path) -> None:
    from engineroom.errors import FenceError  # noqa: PLC0415  # only in a red run
    from engineroom.pytest_plugin._report import refusal_lines, test_failure  # noqa: PLC0415  # as above

    if not report.failed:
        report.outcome = "failed"
        report.longrepr = test_failure(refusals, root)
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    elif call.excinfo is None or not isinstance(call.excinfo.value, FenceError):
        report.sections.append(("engineroom: the fence refused", "\n".join(refusal_lines(refusals, root))))
