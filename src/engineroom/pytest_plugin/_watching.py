"""Which test is running, what its fixtures write, and whether something was refused in it: what is asked in every run.

A trivial test takes half a millisecond, so whatever stands here must not be felt: the hooks that look at each phase are
registered only once there is something to look for, and those that bring a database back, in :mod:`._isolation`, when
the application makes its first engine.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from engineroom.testing.fence import await_children

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from engineroom.pytest_plugin._switch import Run
    from engineroom.testing._record import Refusal
    from engineroom.testing.baseline import Baseline, Mark

__all__ = ["MARKER", "NONE", "Hooks", "end_test", "marker_problem", "watch_tests"]

TESTS = "engineroom-tests"
PHASES = "engineroom-phases"
MARKER = "engineroom"
RESTORE, NONE = "restore", "none"


class Hooks:
    """A plugin that is an object: all that it lists are its hooks, as pytest looks at each name that there is."""

    def __dir__(self) -> list[str]:
        """List the hooks, those of the class and those that were given to the object."""
        return [name for name in (*vars(type(self)), *vars(self)) if name.startswith("pytest_")]


def watch_tests(config: pytest.Config, run: Run) -> None:
    """Watch the tests that this process runs; the controller of xdist workers runs none."""
    if config.pluginmanager.hasplugin("dsession"):
        return
    config.pluginmanager.register(_Tests(run, config.rootpath), TESTS)
    run.ledger.alarm = lambda: _watch_phases(config, run)
    await_children()


def end_test(run: Run) -> None:
    """Note that the last test is over."""
    if run.ledger.test:
        run.proof.check(run.ledger.test)
    run.ledger.end_test()


def _watch_phases(config: pytest.Config, run: Run) -> None:
    if not config.pluginmanager.hasplugin(PHASES):
        config.pluginmanager.register(_Phases(run), PHASES)


class _Tests(Hooks):
    """Tells the ledger and the proof which test is running, and the baselines which fixtures are."""

    def __init__(self, run: Run, root: Path) -> None:
        self._ledger = run.ledger
        self._proof = run.proof
        self._baselines = run.baselines
        self._threads = run.threads
        self._root = root

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Refuse markers that mean nothing before any test runs."""
        report = yield
        # Of thousands of tests few have a marker of their own; to ask each for what it inherits takes longest.
        items = [node for node in report.result or () if node.own_markers and isinstance(node, pytest.Item)]
        nodes: list[pytest.Item | pytest.Collector] = [collector, *items]
        problems = [problem for node in nodes if _is_marked(node) and (problem := marker_problem(node))]
        if problems:  # no usage error: xdist takes one in a worker for a fault of its own
            report.outcome = "failed"
            report.longrepr = "\n".join(problems)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """Note that a test starts, and that the one before it is over: a hook for that would cost as much again."""
        ledger = self._ledger
        if ledger.test:
            self._proof.check(ledger.test)
        ledger.start_test(nodeid, lambda: (str(self._root / location[0]), (location[1] or 0) + 1))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Keep what a fixture of a wider scope than one test writes, as long as the fixture."""
        if request.scope == "function":
            return (yield)
        marks = {place: baseline.mark() for place, baseline in self._baselines.items()}
        try:
            result = yield
        except BaseException:
            for mark in marks.values():
                mark.discard()
            raise
        for place, baseline in self._baselines.items():
            _push(baseline, fixturedef, marks.get(place))
        self._threads.update(threading.enumerate())
        return result


class _Phases(Hooks):
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


def marker_problem(node: pytest.Item | pytest.Collector) -> str | None:
    """Return what is wrong with a marker of ours; None where nothing is, or where there is no marker."""
    marker = node.get_closest_marker(MARKER)
    if marker is None or (not marker.args and marker.kwargs in ({"isolation": RESTORE}, {"isolation": NONE})):
        return None
    written = ", ".join([*map(repr, marker.args), *(f"{name}={each!r}" for name, each in marker.kwargs.items())])
    return (
        f"engineroom: {node.nodeid}: the marker engineroom({written}) is not known; "
        '@pytest.mark.engineroom(isolation="none") leaves what a test commits, isolation="restore" undoes it.'
    )


def _is_marked(node: pytest.Item | pytest.Collector) -> bool:
    return any(marker.name == MARKER for marker in node.own_markers)


def _push(baseline: Baseline, owner: object, mark: Mark | None) -> None:
    if mark is not None:
        baseline.push(owner, mark)
    elif baseline.is_dirty or baseline.is_left_open:
        baseline.adopt(owner)  # the fixture made the first connection


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
