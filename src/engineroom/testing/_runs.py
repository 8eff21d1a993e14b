"""A test run without pytest: ``unittest`` and scripts select the test environment and isolate their tests here.

Answers: which run is this process, and what does one test of it need before and after? It is the pytest plugin's work
in small: the switch, the fence, the build, and the baseline around each test. Under pytest the plugin has done it all,
and here is nothing left to do.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engineroom import _lifecycle, _memory, _project, _run_files
from engineroom._run_files import ROLE_VARIABLE
from engineroom.errors import FenceError
from engineroom.testing import fence
from engineroom.testing._arrivals import when_imported
from engineroom.testing.ledger import FILE_NAME, Ledger, active_ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engineroom._schema import Build
    from engineroom.testing.baseline import Baseline
    from engineroom.testing.databases import Databases

__all__ = ["Run", "current_run", "isolate", "start_test_run"]

OWN_THREADS = "_connection_worker_thread"
"""In the name of the thread that aiosqlite has for each connection."""


class Run:
    """The run of this process: the baselines of its databases, and who wrote what is in them.

    Attributes:
        ledger: What the fence refused.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Start without a database; each one is watched from the moment that it is built."""
        self.ledger = ledger
        self._baselines: dict[object, Baseline] = {}
        self._owner: object = None
        self._threads: set[threading.Thread] = set()
        self._databases: Databases | None = None
        when_imported("engineroom._schema", self._watch)

    @property
    def has_failed_to_build(self) -> bool:
        """Whether a database could not be built: every other test would fail for the same reason."""
        return any(build.failure is not None for build in _builds())

    def begin(self, test: str, owner: object = None) -> None:
        """Let a test start from the baseline.

        Args:
            test: Its name.
            owner: Whose tests these are. What was written since the last test, by ``setUpClass`` or ``setUpModule``,
                stays for all tests of this owner.

        Raises:
            LifecycleError: A transaction that writes was left open.
            Exception: What the schema or the seed raised.
        """
        self.ledger.start_test(test)
        for build in _builds():
            if build.is_configured:
                build.ensure()
        for baseline in self._baselines.values():
            if owner is not None and owner is not self._owner and baseline.is_dirty:
                baseline.adopt(owner)
            if self._owner is not None and owner is not self._owner:
                baseline.pop(self._owner)
            if baseline.is_dirty:
                baseline.restore()
        self._owner = owner
        self._threads = set(threading.enumerate())

    def finish(self, test: str) -> None:
        """Undo what a test wrote.

        Args:
            test: Its name.

        Raises:
            LifecycleError: The test left a transaction open that writes, or a thread that goes on writing.
            FenceError: Something was refused meanwhile, and the error was swallowed.
        """
        for baseline in self._baselines.values():
            baseline.undo()
            threads = [thread for thread in threading.enumerate() if thread not in self._threads]
            threads = [thread for thread in threads if thread.is_alive() and OWN_THREADS not in thread.name]
            if threads:
                from engineroom.testing.baseline import wait_for_quiet  # noqa: PLC0415  # as in _take()

                wait_for_quiet(baseline, threads)
        refused = self.ledger.take(test)
        self.ledger.end_test()
        if refused:
            raise FenceError(refused[0].what, why=refused[0].why, fix=[refused[0].remedy] if refused[0].remedy else [])

    def forget_refusals(self, test: str) -> None:
        """Count the refusals of a test for told: its own error is one of them."""
        self.ledger.take(test)

    def close(self) -> None:
        """Let go of all databases."""
        for baseline in self._baselines.values():
            with contextlib.suppress(Exception):  # it is the end of the process
                baseline.close()
        self._baselines.clear()
        if self._databases is not None:
            self._databases.close(is_kept=False)

    def _watch(self, schema: Any) -> None:
        from engineroom.testing.databases import Databases  # noqa: PLC0415  # it is not loaded before it is needed

        self._databases = Databases()
        schema.prepare_with(self._databases.prepare)
        schema.when_built(self._take)

    def _take(self, build: Build) -> None:
        if self._databases is not None and build.is_configured:
            self._baselines[build.place.key] = self._databases.open_baseline(build)


_runs: list[Run] = []


def start_test_run(root: str | os.PathLike[str] | None = None) -> None:
    """Make this process a test run: select the test environment, and keep it away from all other databases.

    Call it before anything of the application is imported, for example at the top of ``tests/__init__.py``. It stays so
    until the process exits; a second call does nothing, nor does one under pytest, whose plugin has done it.

    Args:
        root: Where the project is searched from; by default the working directory.

    Raises:
        BootstrapTooLateError: Something was made from another environment already.
        InvalidSettingError: ``[tool.engineroom]`` in ``pyproject.toml`` cannot be used.

    Example:
        >>> start_test_run()
        >>> from engineroom import current_environment
        >>> str(current_environment())
        'test'
    """
    if _runs or _lifecycle.is_test_process():
        return
    _project.set_root(Path.cwd() if root is None else Path(root))
    project = _project.get_project()
    _lifecycle.enter_test_process()
    os.environ[project.environment_variable] = "test"
    os.environ[ROLE_VARIABLE] = "controller"
    directory = _memory.start_run()
    _run_files.start_run([Path(tempfile.gettempdir())])
    ledger = open_ledger(directory / FILE_NAME)
    fence.raise_fence(project)
    terms = fence.terms()
    if terms is not None:
        fence.tell_children(directory, terms)
    _runs.append(Run(ledger))
    atexit.register(_runs[-1].close)


def current_run() -> Run | None:
    """Return the run that was started here; None where there is none, or where pytest's plugin isolates the tests."""
    return _runs[-1] if _runs else None


@contextmanager
def isolate(name: str = "") -> Iterator[None]:
    """Start from the baseline, and undo afterwards what was written in this block, by whatever connection.

    Args:
        name: What it is called in messages.

    Raises:
        LifecycleError: A transaction that writes was left open.
        FenceError: Something was refused in the block, and the error was swallowed.

    Example:
        >>> start_test_run()
        >>> with isolate("an experiment"):
        ...     pass
    """
    start_test_run()
    run = current_run()
    if run is None:
        yield
        return
    run.begin(name)
    try:
        yield
    except FenceError:
        run.forget_refusals(name)
        run.finish(name)
        raise
    except BaseException:
        run.finish(name)
        raise
    run.finish(name)


def reset() -> None:
    """Forget the run; for tests."""
    while _runs:
        run = _runs.pop()
        atexit.unregister(run.close)
        run.close()
        active_ledger().end_test()


def _builds() -> tuple[Any, ...]:
    schema = sys.modules.get("engineroom._schema")
    return () if schema is None else schema.known_builds()
