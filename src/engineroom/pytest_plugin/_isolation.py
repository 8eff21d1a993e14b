"""Isolation between tests: keeps the baselines of the binds in step with pytest's tests and fixtures.

Knows when a test begins and ends and whose state a fixture holds; how a state is kept and brought back stands in
:mod:`engineroom.testing.baseline`. Nothing is loaded before the application has made an engine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engineroom.testing._arrivals import when_imported

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from engineroom._schema import Build
    from engineroom.testing.baseline import Baseline

__all__ = ["Isolation", "isolate_tests"]

MARKER_VALUES = ("restore", "none")


def isolate_tests(config: pytest.Config) -> None:
    """Restore the baseline of each database that has a schema after each test that wrote to it."""
    isolation = Isolation()
    config.pluginmanager.register(isolation, "engineroom-isolation")
    config.add_cleanup(isolation.close)
    when_imported("engineroom._schema", lambda schema: schema.when_built(isolation.take))


class Isolation:
    """The hooks that restore the baseline; registered beside the plugin's own."""

    def __init__(self) -> None:
        """Start without a database."""
        self._baselines: dict[str, Baseline] = {}
        self._has_run_a_test = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let the test start from the baseline; what was written before the first test belongs to it."""
        _read_marker(item)
        for build in self._ready_builds():
            baseline = self._baselines[str(build.url.database)]
            if baseline.is_dirty and self._has_run_a_test:
                baseline.restore()
            elif baseline.is_dirty:
                baseline.push(item.session)
        self._has_run_a_test = True

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Keep what a fixture of a wider scope than one test writes, as long as the fixture."""
        result = yield
        if request.scope != "function":
            for baseline in self._baselines.values():
                if baseline.is_dirty:
                    baseline.push(fixturedef)
        return result

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Let go of what a fixture wrote when it goes."""
        for baseline in self._baselines.values():
            baseline.pop(fixturedef)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Undo what the test committed, once its fixtures are gone."""
        try:
            return (yield)
        finally:
            if _read_marker(item) != "none":
                for baseline in self._baselines.values():
                    if baseline.is_dirty:
                        baseline.restore()

    def take(self, build: Build) -> None:
        """Take the baseline of a database that was just built."""
        from engineroom.testing.baseline import Baseline  # noqa: PLC0415  # it is not loaded before it is needed

        self._baselines[str(build.url.database)] = Baseline(Path(str(build.url.database)))

    def close(self) -> None:
        """Close the connections of the baselines."""
        for baseline in self._baselines.values():
            baseline.close()
        self._baselines.clear()

    def _ready_builds(self) -> Iterable[Build]:
        """Yield the databases that have a schema, built now if nobody connected yet."""
        schema = sys.modules.get("engineroom._schema")
        for build in () if schema is None else schema.known_builds():
            build.ensure()
            yield build


def _read_marker(item: pytest.Item) -> str:
    marker = item.get_closest_marker("engineroom")
    value: str = marker.kwargs.get("isolation", "restore") if marker else "restore"
    if value not in MARKER_VALUES:
        raise pytest.UsageError(
            f'{item.nodeid}: pytest.mark.engineroom(isolation={value!r}) is not known; write isolation="none".'
        )
    return value
