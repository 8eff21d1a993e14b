"""The baseline of a test database: the state that every test starts from, and what it takes to bring it back.

A baseline is a stack of layers. The lowest is the schema with its seed; each fixture of a wider scope than one test
that wrote puts a layer on top, which goes when the fixture goes, also from under others. Commits are real: any
connection of any process may have made them. Here stands what all database systems share; each has a module of its own
that is a :class:`Baseline`, and none of them knows of pytest.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from engineroom.errors import LifecycleError

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

__all__ = ["SECONDS_FOR_LEFT_OVERS", "Baseline", "Mark", "let_go_of_garbage", "wait_for_quiet"]

SECONDS_FOR_LEFT_OVERS = 2.0
SECONDS_OF_QUIET = 0.05
SECONDS_OF_QUIET_AFTER_A_WRITE = 0.2


class Mark(Protocol):
    """A point in time at which a layer begins."""

    def discard(self) -> None:
        """Let go of it, where no layer comes of it."""


class Baseline(Protocol):
    """The layers of one test database, and what watches and restores it."""

    @property
    def is_on_server(self) -> bool:
        """Whether a server has to be asked for what was written."""

    @property
    def is_dirty(self) -> bool:
        """Whether anybody wrote since the baseline was taken or restored last."""

    @property
    def is_known_dirty(self) -> bool:
        """Whether it is known that anybody wrote; it may be that nobody can tell, and the baseline counts as dirty."""

    @property
    def is_left_open(self) -> bool:
        """Whether a transaction that writes is open, other than one of a fixture of a wider scope."""

    def mark(self) -> Mark:
        """Note where a layer begins."""

    def push(self, owner: object, since: Any) -> None:
        """Take what was written since a mark into the baseline, until its owner is popped.

        Args:
            owner: Whose state it is.
            since: What was written before the mark stays out of the layer.
        """

    def adopt(self, owner: object) -> None:
        """Take the present state into the baseline, until its owner is popped."""

    def pop(self, owner: object) -> None:
        """Let go of what an owner wrote; the layers above it stay."""

    def undo(self) -> None:
        """Restore, if anybody wrote or holds a transaction open that writes. Called after each test.

        Raises:
            LifecycleError: As :meth:`restore`.
        """

    def restore(self, *, seconds: float = SECONDS_FOR_LEFT_OVERS) -> None:
        """Bring the baseline back.

        Args:
            seconds: How long a transaction that writes may take to end.

        Raises:
            LifecycleError: A connection holds a transaction open that writes, and does not end it.
        """

    def close(self) -> None:
        """Let go of the database at the end of the run."""


def wait_for_quiet(baseline: Baseline, threads: Sequence[threading.Thread]) -> None:
    """Restore as long as somebody goes on writing.

    Args:
        baseline: What is restored.
        threads: Who may be writing; where none of them lives any more, nobody does.

    Raises:
        LifecycleError: It does not end.
    """
    __tracebackhide__ = True
    deadline = time.monotonic() + SECONDS_FOR_LEFT_OVERS
    seconds = SECONDS_OF_QUIET
    while True:
        live = _outlive(threads, seconds)
        if not baseline.is_known_dirty:
            return
        if time.monotonic() > deadline:
            raise _still_writing(live)
        baseline.restore()
        seconds = SECONDS_OF_QUIET_AFTER_A_WRITE if live else 0


def let_go_of_garbage() -> None:
    """Free sessions that nobody can reach any more: they end their transaction when they are collected.

    A session is part of a circle, so it lives until Python looks for those. That of a failed test is kept alive by the
    traceback that pytest leaves in ``sys`` for debuggers until the next test runs.
    """
    for name in ("last_exc", "last_value", "last_traceback", "last_type"):
        if hasattr(sys, name):
            delattr(sys, name)
    engines = sys.modules.get("engineroom._engines")
    for record in () if engines is None else engines.made_engines():
        abandon = getattr(record.engine.pool, "abandon_closed", None)
        if abandon is not None:
            # Connections of event loops that were closed without notice, before SQLAlchemy meets them as garbage: it
            # cannot end their transaction without the loop.
            abandon()
    gc.collect()


def _outlive(threads: Sequence[threading.Thread], seconds: float) -> list[threading.Thread]:
    """Wait for threads to end, and return those that did not."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return [thread for thread in threads if thread.is_alive()]


def _still_writing(threads: Sequence[threading.Thread]) -> LifecycleError:
    names = ", ".join(sorted(thread.name for thread in threads)) or "none"
    return LifecycleError(
        "Something went on writing to the test database after the test ended.",
        why=(
            f"the baseline was restored again and again for {SECONDS_FOR_LEFT_OVERS:g} seconds, and each time somebody "
            f"committed soon after; threads that the test left behind: {names}."
        ),
        fix=["wait for the task or the thread before the test ends: thread.join()"],
    )
