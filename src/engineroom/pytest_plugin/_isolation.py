"""Isolation between tests: keeps the baselines of the binds in step with pytest's tests and fixtures.

Knows when a test begins and ends and whose state a fixture holds; how a state is kept and brought back stands in
:mod:`engineroom.testing.baseline`. It is loaded when the application makes its first engine; the hooks that are there
before stand in :mod:`._watching`.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from engineroom.errors import LifecycleError
from engineroom.pytest_plugin._report import application_files, bind_lines
from engineroom.pytest_plugin._watching import MARKER, NONE, Hooks, marker_problem
from engineroom.testing._left_overs import note_caller
from engineroom.testing.databases import Databases

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom._schema import Build
    from engineroom.pytest_plugin._switch import Place, Run
    from engineroom.testing.baseline import Baseline

__all__ = ["isolate_tests"]

SECONDS_FOR_KNOWN_LEFT_OVERS = 0.1
"""How long the tests after the guilty one wait for what it left open; it had its time."""

DRIVERS_THREAD = "_connection_worker_thread"
"""In the name of the thread that aiosqlite has for each connection."""


def isolate_tests(config: pytest.Config, run: Run, schema: Any) -> None:
    """Restore the baseline of each database that has a schema after each test that wrote to it.

    Args:
        config: Pytest's configuration.
        run: The run, which is told of each baseline.
        schema: The module that builds them, which has just been imported.
    """
    isolation = Isolation(config, run)
    config.add_cleanup(lambda: isolation.close(is_kept=bool(config.getoption("engineroom_keep", default=False))))
    config.pluginmanager.register(_Tests(run, isolation), "engineroom-isolated-tests")
    isolation.watch(schema)


class Isolation:
    """The baselines of a run.

    Args:
        config: Pytest's configuration.
        run: The run, whose fixtures :mod:`._watching` looks after.
    """

    def __init__(self, config: pytest.Config, run: Run) -> None:
        """Start without a database."""
        self._config = config
        self._baselines = run.baselines
        self._threads = run.threads
        self._databases = Databases(self._note_checkout)
        self._culprits: dict[Place, str] = {}
        self._has_run_a_test = False
        self._is_undone = False  # no connection left its pool since the end of the last test
        self._note_threads()

    def start_test(self, item: pytest.Item) -> None:
        """Let the test start from the baseline; what was written before the first test belongs to it."""
        __tracebackhide__ = True
        self._note_threads()
        self._build(item)
        problem = marker_problem(item)
        if problem:  # it was added while the tests were collected
            pytest.fail(problem, pytrace=False)
        is_undone, self._is_undone = self._is_undone, False
        if _is_isolated(item):
            for place, baseline in self._baselines.items():
                if not (is_undone and baseline.is_on_server):  # to ask a server takes longer than many a test
                    self._start_from(baseline, place, item)
        self._has_run_a_test = True

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
        schema.prepare_with(self._databases.prepare)
        schema.when_built(self.take)
        # The first conftest may connect while pytest still reads the command line.
        options = getattr(self._config, "known_args_namespace", self._config.option)
        if getattr(options, "engineroom_rebuild", False):
            schema.ignore_kept_images()

    def _note_checkout(self, record: ConnectionPoolEntry) -> None:
        self._is_undone = False
        note_caller(record)

    def take(self, build: Build) -> None:
        """Take the baseline of a database that was just built."""
        if build.is_configured:
            self._baselines[build.place.key] = self._databases.open_baseline(build)

    def close(self, *, is_kept: bool = False) -> None:
        """Bring all databases back to what was built, and close the connections of the baselines.

        Args:
            is_kept: Whether databases on servers stay.
        """
        schema = sys.modules.get("engineroom._schema")
        if schema is not None:
            schema.forget_listener(self.take)
            schema.forget_listener(self._databases.prepare)
        for baseline in self._baselines.values():
            baseline.close()
        self._baselines.clear()
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

    def _undo(self, baseline: Baseline, place: Place, item: pytest.Item) -> None:
        __tracebackhide__ = True
        threads = self._left_threads()
        if place in self._culprits:
            return  # the test could not start, and its error names who is to blame
        try:
            baseline.undo()
            if threads:
                from engineroom.testing.baseline import wait_for_quiet  # noqa: PLC0415  # loaded with the first schema

                wait_for_quiet(baseline, threads)
        except LifecycleError as error:
            self._culprits[place] = item.nodeid
            problem = str(error)
        else:
            return
        pytest.fail(problem, pytrace=False)

    def _note_threads(self) -> None:
        self._threads.clear()
        self._threads.update(threading.enumerate())

    def _left_threads(self) -> list[threading.Thread]:
        """Return the threads that this test left behind, apart from those that do what a connection is told."""
        if threading.active_count() == 1:
            return []
        new = [thread for thread in threading.enumerate() if thread not in self._threads]
        return [thread for thread in new if thread.is_alive() and DRIVERS_THREAD not in thread.name]


class _Tests(Hooks):
    """The hooks of a run that has made an engine."""

    def __init__(self, run: Run, isolation: Isolation) -> None:
        self._run = run
        self._isolation = isolation

    def pytest_report_collectionfinish(self, config: pytest.Config) -> list[str]:
        """Tell the binds that came up while the tests were collected."""
        self._run.proof.watch(application_files())
        return bind_lines(self._run.header) if config.get_verbosity() >= 0 else []

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

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Let go of what a fixture wrote when it goes."""
        for baseline in self._run.baselines.values():
            baseline.pop(fixturedef)


def _is_isolated(item: pytest.Item) -> bool:
    marker = item.get_closest_marker(MARKER)
    return marker is None or marker.kwargs.get("isolation") != NONE


def _tell_culprit(culprit: str) -> LifecycleError:
    return LifecycleError(
        "This test cannot start from the baseline: an earlier one left a transaction open that writes.",
        why=f"{culprit} took a connection that has neither committed, nor rolled back, nor been closed.",
        fix=["close the session in that test or its fixture: with session_maker() as session: ..."],
    )
