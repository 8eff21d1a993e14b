"""The book of refusals: what the fence refused, in which test, at which line, and whether a test expected it.

An exception can be swallowed, by ``except Exception`` or by the thread that it is raised in; what stands in the ledger
cannot. Each refusal is kept in memory and, as one JSON line, in a file of the run's directory, so that forks, xdist
workers and child processes count too. This module decides nothing and prints nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engineroom.errors import FenceError
    from engineroom.testing._record import Refusal

__all__ = [
    "FILE_NAME",
    "Ledger",
    "active_ledger",
    "close_child_ledger",
    "close_ledger",
    "expect_refusal",
    "open_child_ledger",
    "open_ledger",
]

FILE_NAME = "refusals.jsonl"
TEST_NAME = "test"
WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
TEST_VARIABLE = "PYTEST_CURRENT_TEST"


class Ledger:
    """The refusals of one run, as this process knows them.

    Args:
        path: The file that is shared with the other processes of the run; None keeps everything in this process.
        is_child: Whether this process was started by one that runs tests, and runs none itself.

    Attributes:
        test: The node id of the test that is running.
        expecting: How many blocks are open that expect refusals.
        has_children: Whether this process started others, which want to know the test that is running.
        worker: The xdist worker that this process is, or is a child of.
        alarm: Called when something is refused, and when another process is started that may be refused something.
    """

    def __init__(self, path: Path | None, *, is_child: bool = False) -> None:
        """Start with an empty page; what other processes write from now on is read when it is asked for."""
        self.path = path
        self.is_child = is_child
        self.has_children: bool = False
        self._pid = os.getpid()
        self.test: str = ""
        self.alarm: Callable[[], object] = _nothing
        self._find_place: Callable[[], tuple[str, int]] = _nowhere
        self.expecting = 0
        self.worker: str = os.environ.get(WORKER_VARIABLE, "")
        self._refusals: dict[str, Refusal] = {}
        self._expected: set[str] = set()
        self._taken: set[str] = set()
        self._read_bytes = _size_of(path)
        self._numbers = itertools.count()

    def start_test(self, test: str, find_place: Callable[[], tuple[str, int]] | None = None) -> None:
        """Write what is refused from now on under a test.

        Args:
            test: Its node id.
            find_place: Finds its file and line, which stand in where no better ones are known.
        """
        self.test = test
        self._find_place = find_place or _nowhere
        if self.has_children:
            self._tell_test()

    def end_test(self) -> None:
        """Write what is refused from now on under no test."""
        self.start_test("")

    def expect_children(self) -> None:
        """Be told that another process is started: it may be refused something, in this test or in a later one."""
        self.alarm()
        if not self.is_child and os.getpid() == self._pid:  # a fork, and a child, may know an earlier test
            self.has_children = True
            self._tell_test()

    def record(self, error: FenceError, *, target: str, rule: str, file: str = "", line: int = 0) -> Refusal:
        """Write down a refusal that is about to be raised."""
        from engineroom.testing._record import Refusal  # noqa: PLC0415  # most runs have none

        if not file:
            file, line = self._find_place()
        refusal = Refusal(
            id=f"{os.getpid()}-{next(self._numbers)}-{time.monotonic_ns()}",
            test=self.test or self._find_test(),
            file=file,
            line=line,
            target=target,
            rule=rule,
            what=error.what,
            why=error.why,
            remedy=error.fix[0] if error.fix else "",
            pid=os.getpid(),
            worker=self.worker,
        )
        self.alarm()
        self._enter(refusal)
        self._write(refusal._asdict())
        if self.expecting:
            self.mark_expected([refusal])
        return refusal

    def refusals(self) -> list[Refusal]:
        """Return every refusal of the run so far, whoever recorded it."""
        self._read()
        return list(self._refusals.values())

    def unexpected(self) -> list[Refusal]:
        """Return the refusals that no test expected."""
        return [refusal for refusal in self.refusals() if refusal.id not in self._expected]

    def take(self, test: str) -> list[Refusal]:
        """Return the refusals of one test that nobody expected and nobody has taken yet."""
        taken = [
            refusal
            for refusal in self.unexpected()
            if (refusal.test, refusal.worker) == (test, self.worker) and refusal.id not in self._taken
        ]
        self._taken.update(refusal.id for refusal in taken)
        return taken

    def mark_expected(self, refusals: list[Refusal]) -> None:
        """Write down that a test meant these to be refused."""
        new = [refusal.id for refusal in refusals if refusal.id not in self._expected]
        if new:
            self._expected.update(new)
            self._write({"expected": new})

    def _enter(self, refusal: Refusal) -> None:
        self._refusals.setdefault(refusal.id, refusal)

    def _write(self, record: dict[str, Any]) -> None:
        if self.path is None:
            return
        # A refusal must be raised even where it cannot be written down: the run's directory may be gone at exit.
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, json.dumps(record).encode("ascii") + b"\n")  # one write: lines do not mix
            finally:
                os.close(descriptor)

    def _test_file(self) -> Path | None:
        return self.path and self.path.with_name(f"{TEST_NAME}-{self.worker}")

    def _tell_test(self) -> None:
        """Write down for children which test is running: what they inherited was the one that started them."""
        file = self._test_file()
        if file is not None:
            with contextlib.suppress(OSError, ValueError):
                descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.write(descriptor, self.test.encode(errors="replace") + b"\n")  # a longer one before it may stay
                finally:
                    os.close(descriptor)

    def _find_test(self) -> str:
        """Return the test that the process which started this one is running now."""
        file = self._test_file() if self.is_child else None
        try:
            return file.read_bytes().partition(b"\n")[0].decode() if file is not None else _test_of_environment()
        except (OSError, ValueError):
            return _test_of_environment()

    def _has_news(self) -> bool:
        """Tell whether the file has grown; costs one call of ``stat``."""
        return _size_of(self.path) > self._read_bytes

    def _read(self) -> None:
        """Take in what other processes appended."""
        if self.path is None or not self._has_news():
            return
        with contextlib.suppress(OSError), Path(self.path).open("rb") as file:
            file.seek(self._read_bytes)
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]  # a line that is still being written waits for the next time
            self._read_bytes += len(whole)
            for line in whole.splitlines():
                self._take_in(json.loads(line))

    def _take_in(self, record: dict[str, Any]) -> None:
        from engineroom.testing._record import Refusal  # noqa: PLC0415  # most runs have none

        if "expected" in record:
            self._expected.update(record["expected"])
        elif record["pid"] != os.getpid():  # its own ones a process knows; others of its id belong to a run inside it
            self._enter(Refusal(**record))


def open_ledger(path: Path | None) -> Ledger:
    """Begin a new page: a run that starts inside another one has its own."""
    _ledgers.append(Ledger(path))
    return _ledgers[-1]


def close_ledger(ledger: Ledger) -> None:
    """Go back to the page before, unless it is the last one: what comes after the end of a run belongs to it."""
    if len(_ledgers) > 1 and ledger in _ledgers:
        _ledgers.remove(ledger)
        if _ledgers[-1].has_children:
            _ledgers[-1].expect_children()


def open_child_ledger(path: Path | None) -> Ledger:
    """Begin the page of a process that a test run started, and that runs no tests itself."""
    _ledgers.append(Ledger(path, is_child=True))
    return _ledgers[-1]


def close_child_ledger() -> bool:
    """Forget the page of a child, since this process begins a run of its own; return whether there was one."""
    was_child = bool(_ledgers) and _ledgers[-1].is_child
    if was_child:
        _ledgers.pop()
    return was_child


def active_ledger() -> Ledger:
    """Return the page of the run that is going on."""
    return _ledgers[-1] if _ledgers else _without_run


def reset() -> None:
    """Forget every page; for tests."""
    global _without_run  # noqa: PLW0603
    _ledgers.clear()
    _without_run = Ledger(None)


@contextlib.contextmanager
def expect_refusal() -> Iterator[list[Refusal]]:
    """Expect that the fence refuses something in this block: for tests of refusals.

    The ``FenceError`` that leaves the block is swallowed, and what was refused meanwhile, in whatever thread, task or
    child process, does not fail the run.

    Yields:
        A list that holds the refusals once the block is over.

    Raises:
        AssertionError: Nothing was refused in the block.

    Example:
        >>> import sqlite3
        >>> from engineroom.testing import expect_refusal
        >>> def test_the_report_cannot_reach_the_shop():
        ...     with expect_refusal() as refusals:
        ...         sqlite3.connect("shop.db")
        ...     assert refusals[0].target.endswith("shop.db")
    """
    ledger = active_ledger()
    before = {refusal.id for refusal in ledger.refusals()}
    refusals: list[Refusal] = []
    ledger.expecting += 1
    try:
        yield refusals
    except BaseException as error:
        if not _is_refusal(error):
            raise
    finally:
        ledger.expecting -= 1
        refusals += [
            refusal for refusal in ledger.refusals() if refusal.id not in before and refusal.worker == ledger.worker
        ]
        ledger.mark_expected(refusals)
    if not refusals:
        raise AssertionError("Nothing was refused in this block.")


def _is_refusal(error: BaseException) -> bool:
    """Tell whether an error is a refusal, or a group of tasks that all ended with one."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_refusal(inner) for inner in error.exceptions)
    from engineroom.errors import FenceError  # noqa: PLC0415  # most runs have none

    return isinstance(error, FenceError)


def _nothing() -> None:
    """Do nothing: nobody wants to know."""


def _nowhere() -> tuple[str, int]:
    return "", 0


def _size_of(path: Path | None) -> int:
    try:
        return os.stat(path).st_size if path is not None else 0  # noqa: PTH116  # asked in every phase of every test
    except OSError:
        return 0


def _test_of_environment() -> str:
    """Return the test that pytest says is running: what a child process knows of it."""
    return re.sub(r" \((setup|call|teardown)\)$", "", os.environ.get(TEST_VARIABLE, ""))


_ledgers: list[Ledger] = []
_without_run = Ledger(None)
