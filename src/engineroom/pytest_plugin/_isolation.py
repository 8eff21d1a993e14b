"""Isolation between tests: keeps the baselines of the binds in step with pytest's tests and fixtures.

Knows when a test begins and ends and whose state a fixture holds; how a state is kept and brought back stands in
:mod:`engineroom.testing.baseline`. Nothing is loaded before the application has made an engine.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from engineroom.testing._arrivals import when_imported

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom._schema import Build
    from engineroom.errors import LifecycleError
    from engineroom.testing.baseline import Baseline, Mark
    from engineroom.testing.databases import Databases

__all__ = ["Isolation", "isolate_tests"]

Place = tuple[object, ...]
"""What tells one test database from another."""

MARKER = "engineroom"
RESTORE, NONE = "restore", "none"
SECONDS_FOR_KNOWN_LEFT_OVERS = 0.1
"""How long the tests after the guilty one wait for what it left open; it had its time."""

DRIVERS_THREAD = "_connection_worker_thread"
"""In the name of the thread that aiosqlite has for each connection."""


def isolate_tests(config: pytest.Config) -> Isolation:
    """Restore the baseline of each database that has a schema after each test that wrote to it.

    Returns:
        What wants to be told of collections and fixtures, once there are some.
    """
    isolation = Isolation(config)
    config.add_cleanup(lambda: isolation.close(is_kept=bool(config.getoption("engineroom_keep", default=False))))
    when_imported("engineroom._schema", isolation.watch)
    return isolation


class Isolation:
    """The baselines of a run, and the hooks around its fixtures, which :mod:`._watching` registers.

    The hooks around tests come when the application makes its first engine: a test that touches no database does not
    pay for them.
    """

    def __init__(self, config: pytest.Config) -> None:
        """Start without a database."""
        self._config = config
        self._databases: Databases | None = None
        self._baselines: dict[Place, Baseline] = {}
        self._culprits: dict[Place, str] = {}
        self._has_run_a_test = False
        self._is_undone = False  # no connection left its pool since the end of the last test
        self._is_closed = False
        self._threads: set[threading.Thread] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Refuse markers that mean nothing before any test runs."""
        report = yield
        # Of thousands of tests few have a marker of their own; to ask each for what it inherits takes longest.
        items = [node for node in report.result or () if node.own_markers and isinstance(node, pytest.Item)]
        nodes: list[pytest.Item | pytest.Collector] = [collector, *items]
        problems = [problem for node in nodes if _is_marked(node) and (problem := _marker_problem(node))]
        if problems:  # no usage error: xdist takes one in a worker for a fault of its own
            report.outcome = "failed"
            report.longrepr = "\n".join(problems)
        return report

    def start_test(self, item: pytest.Item) -> None:
        """Let the test start from the baseline; what was written before the first test belongs to it."""
        __tracebackhide__ = True
        self._threads = set(threading.enumerate())
        self._build(item)
        problem = _marker_problem(item)
        if problem:  # it was added while the tests were collected
            pytest.fail(problem, pytrace=False)
        is_undone, self._is_undone = self._is_undone, False
        if _is_isolated(item):
            for place, baseline in self._baselines.items():
                if not (is_undone and baseline.is_on_server):  # to ask a server takes longer than many a test
                    self._start_from(baseline, place, item)
        self._has_run_a_test = True

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
            self._push(baseline, fixturedef, marks.get(place))
        self._threads.update(threading.enumerate())
        return result

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Let go of what a fixture wrote when it goes."""
        for baseline in self._baselines.values():
            baseline.pop(fixturedef)

    def end_test(self, item: pytest.Item) -> None:
        """Undo what the test committed."""
        __tracebackhide__ = True
        self._has_run_a_test = True  # the one that made the first engine was not seen to start
        self._stop_if_not_built(item.session)
        if _is_isolated(item):
            for place, baseline in self._baselines.items():
                self._undo(baseline, place, item)
            self._is_undone = not self._culprits

    def watch(self, schema: Any) -> None:
        """Take the baseline of each database that is built from now on."""
        if self._is_closed:
            return
        from engineroom.testing._left_overs import note_caller  # noqa: PLC0415  # it is not loaded before it is needed
        from engineroom.testing.databases import Databases  # noqa: PLC0415  # as above

        self._note_caller = note_caller
        self._threads = set(threading.enumerate())
        self._config.pluginmanager.register(_Tests(self), "engineroom-isolated-tests")
        self._databases = Databases(self._note_checkout)
        schema.prepare_with(self._databases.prepare)
        schema.when_built(self.take)
        # The first conftest may connect while pytest still reads the command line.
        options = getattr(self._config, "known_args_namespace", self._config.option)
        if getattr(options, "engineroom_rebuild", False):
            schema.ignore_kept_images()

    def _note_checkout(self, record: ConnectionPoolEntry) -> None:
        self._is_undone = False
        self._note_caller(record)

    def take(self, build: Build) -> None:
        """Take the baseline of a database that was just built."""
        if self._databases is not None and build.is_configured:
            self._baselines[build.place.key] = self._databases.open_baseline(build)

    def close(self, *, is_kept: bool = False) -> None:
        """Bring all databases back to what was built, and close the connections of the baselines.

        Args:
            is_kept: Whether databases on servers stay.
        """
        self._is_closed = True
        schema = sys.modules.get("engineroom._schema")
        if schema is not None:
            schema.forget_listener(self.take)
            if self._databases is not None:
                schema.forget_listener(self._databases.prepare)
        for baseline in self._baselines.values():
            baseline.close()
        self._baselines.clear()
        if self._databases is not None:
            self._databases.close(is_kept=is_kept)

    def _build(self, item: pytest.Item) -> None:
        """Build what has a schema and an engine, if nobody connected yet; the first failure ends the run."""
        __tracebackhide__ = True
        schema = sys.modules.get("engineroom._schema")
        for build in () if schema is None else schema.known_builds():
            if build.is_unreachable or not build.is_configured:
                continue  # a test that connects is told; the others may well do without
            try:
                build.ensure()
            except BaseException:
                if not build.is_unreachable:
                    self._stop_if_not_built(item.session)
                    raise

    def _stop_if_not_built(self, session: pytest.Session) -> None:
        """Stop the run after this test: the others would fail for the same reason."""
        schema = sys.modules.get("engineroom._schema")
        for build in () if schema is None else schema.known_builds():
            if build.failure is not None and not session.shouldstop:
                session.shouldstop = f"engineroom: the test database of bind {build.bind} could not be built"

    def _start_from(self, baseline: Baseline, place: Place, item: pytest.Item) -> None:
        from engineroom.errors import LifecycleError  # noqa: PLC0415  # as in watch()

        __tracebackhide__ = True
        culprit = self._culprits.get(place)
        if culprit is not None:
            try:
                baseline.restore(seconds=SECONDS_FOR_KNOWN_LEFT_OVERS)
            except LifecycleError:
                problem = str(_tell_culprit(culprit))
            else:
                del self._culprits[place]
                return
            pytest.fail(problem, pytrace=False)
        elif baseline.is_dirty:  # which a server has to be asked for
            baseline.restore() if self._has_run_a_test else baseline.adopt(item.session)

    def _push(self, baseline: Baseline, owner: object, mark: Mark | None) -> None:
        if mark is not None:
            baseline.push(owner, mark)
        elif baseline.is_dirty or baseline.is_left_open:
            baseline.adopt(owner)  # the fixture made the first connection

    def _undo(self, baseline: Baseline, place: Place, item: pytest.Item) -> None:
        from engineroom.errors import LifecycleError  # noqa: PLC0415  # as in watch()

        __tracebackhide__ = True
        threads = self._left_threads()
        if place in self._culprits:
            return  # the test could not start, and its error names who is to blame
        try:
            baseline.undo()
            if threads:
                from engineroom.testing.baseline import wait_for_quiet  # noqa: PLC0415  # as in take()

                wait_for_quiet(baseline, threads)
        except LifecycleError as error:
            self._culprits[place] = item.nodeid
            problem = str(error)
        else:
            return
        pytest.fail(problem, pytrace=False)

    def _left_threads(self) -> list[threading.Thread]:
        """Return the threads that this test left behind, apart from those that do what a connection is told."""
        if threading.active_count() == 1:
            return []
        new = [thread for thread in threading.enumerate() if thread not in self._threads]
        return [thread for thread in new if thread.is_alive() and DRIVERS_THREAD not in thread.name]


class _Tests:
    """The hooks around the tests of a run that has made an engine."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let the test start from the baseline."""
        __tracebackhide__ = True
        self._isolation.start_test(item)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Undo what the test committed, once its fixtures are gone."""
        __tracebackhide__ = True
        try:
            return (yield)
        finally:
            self._isolation.end_test(item)


def _is_isolated(item: pytest.Item) -> bool:
    marker = item.get_closest_marker(MARKER)
    return marker is None or marker.kwargs.get("isolation") != NONE


def _is_marked(node: pytest.Item | pytest.Collector) -> bool:
    return any(marker.name == MARKER for marker in node.own_markers)


def _marker_problem(node: pytest.Item | pytest.Collector) -> str | None:
    marker = node.get_closest_marker(MARKER)
    if marker is None or (not marker.args and marker.kwargs in ({"isolation": RESTORE}, {"isolation": NONE})):
        return None
    written = ", ".join([*map(repr, marker.args), *(f"{name}={each!r}" for name, each in marker.kwargs.items())])
    return (
        f"engineroom: {node.nodeid}: the marker engineroom({written}) is not known; "
        '@pytest.mark.engineroom(isolation="none") leaves what a test commits, isolation="restore" undoes it.'
    )


def _tell_culprit(culprit: str) -> LifecycleError:
    from engineroom.errors import LifecycleError  # noqa: PLC0415  # as in watch()

    return LifecycleError(
        "This test cannot start from the baseline: an earlier one left a transaction open that writes.",
        why=f"{culprit} took a connection that has neither committed, nor rolled back, nor been closed.",
        fix=["close the session in that test or its fixture: with session_maker() as session: ..."],
    )
