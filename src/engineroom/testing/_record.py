"""What the ledger holds of one refusal."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Refusal"]


class Refusal(NamedTuple):
    """One thing that the fence refused.

    Attributes:
        id: What tells it from all others of the run.
        test: The node id of the test that was running; empty outside of a test.
        file: The file of the user's code that asked for it; empty where it is not known.
        line: The line in that file; 0 where it is not known.
        target: The database or the file, without secrets.
        rule: The rule that decided.
        what: What was refused, one sentence.
        why: The reason, a clause.
        remedy: The first way out, a clause.
        pid: The process that asked.
        worker: The xdist worker whose process, or whose child, asked; empty without xdist.

    Example:
        >>> sorted(Refusal._fields)
        ['file', 'id', 'line', 'pid', 'remedy', 'rule', 'target', 'test', 'what', 'why', 'worker']
    """

    id: str
    test: str
    file: str
    line: int
    target: str
    rule: str
    what: str
    why: str
    remedy: str
    pid: int
    worker: str = ""
