"""Whether this process is a test process: one that pytest, with the plugin, runs its tests in.

It is a mark that stays until the process exits. What it means stands in ``_lifecycle``; the mark has a module of its
own since the plugin sets it whenever pytest starts, mostly in processes that never ask for anything else.
"""

from __future__ import annotations

import sys

__all__ = ["enter_test_process", "is_child_process", "is_test_process", "mark_test_process", "reset"]

_marks: set[str] = set()


def enter_test_process(*, is_child: bool = False) -> None:
    """Set the mark, then look whether something was made already; what is made from now on sees the mark.

    Args:
        is_child: Whether a test process started this one, and has built the databases.

    Raises:
        BootstrapTooLateError: Something was made from another environment already.
    """
    mark_test_process()
    (_marks.add if is_child else _marks.discard)("child")
    lifecycle = sys.modules.get("engineroom._lifecycle")  # where it is not loaded, nothing was made
    if lifecycle is not None:
        lifecycle.enter_test_process()


def mark_test_process() -> None:
    """Make this process a test process, until it exits."""
    _marks.add("test process")


def is_test_process() -> bool:
    """Tell whether the pytest plugin made this process a test process."""
    return "test process" in _marks


def is_child_process() -> bool:
    """Tell whether a test process started this one, which runs no tests itself."""
    return "child" in _marks


def reset() -> None:
    """Take the mark back; for tests."""
    _marks.clear()
