"""Refusals that come after the summary: at the end of the session, in threads that outlive it, at exit.

They are told on the standard error stream, and the process does not exit with success.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engineroom.pytest_plugin._switch import Run
    from engineroom.testing._record import Refusal

__all__ = ["exit_with", "know", "tell"]

_known: set[str] = set()


def know(refusals: Iterable[Refusal]) -> None:
    """Remember what has been told."""
    _known.update(refusal.id for refusal in refusals)


def tell(run: Run) -> bool:
    """Tell what was refused and has not been told.

    Returns:
        Whether there was anything.
    """
    late = [refusal for refusal in run.ledger.unexpected() if refusal.id not in _known]
    know(late)
    if late:
        from engineroom.pytest_plugin._report import refusal_lines  # noqa: PLC0415  # most runs have nothing to tell

        lines = refusal_lines(late, run.project.root)
        sys.stderr.write("\n".join(["", "engineroom: the fence refused, after the summary:", *lines, ""]))
    return bool(late)


def exit_with(run: Run) -> None:
    """Tell what was refused and has not been told, and make the process exit with status 120 for it.

    That is what Python does where the standard output cannot be flushed at exit
    (https://docs.python.org/3/c-api/sys.html#c.Py_Exit). Unlike ``os._exit`` it lets the functions run that were
    registered before, such as those that save what Coverage measured.
    """
    if not tell(run):
        return
    sys.stdout.flush()
    sys.unraisablehook = lambda _: None
    sys.stdout = _Unflushable()


class _Unflushable:
    closed = False

    def write(self, text: str) -> int:
        return sys.__stdout__.write(text) if sys.__stdout__ is not None else 0

    def flush(self) -> None:
        raise OSError("something was refused after the summary")
