"""The book of refusals: nothing that was refused gets lost, and nothing is told twice."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.errors import DestructiveOperationError, FenceError
from engineroom.testing import expect_refusal, ledger
from engineroom.testing._record import Refusal
from engineroom.testing.ledger import Ledger, active_ledger, close_ledger, open_ledger

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ledger.FILE_NAME


@pytest.fixture(autouse=True)
def _no_worker_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the outer run says of itself."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


def make_error(what: str = "Refused to connect to sqlite:////srv/shop.db while pytest runs.") -> FenceError:
    return FenceError(what, why="it is not disposable.", fix=["use tmp_path", "rename it"])


def record(book: Ledger, target: str = "sqlite:////srv/shop.db", **place: object) -> Refusal:
    return book.record(make_error(), target=target, rule="none", **place)  # type: ignore[arg-type]


def refuse(target: str = "sqlite:////srv/shop.db") -> None:
    """Do what the fence does: write it down, then raise."""
    error = make_error()
    active_ledger().record(error, target=target, rule="none")
    raise error


def in_another_process(path: Path, *lines: str, **environ: str) -> None:
    """Let a child write into the same ledger."""
    program = f"""
        from pathlib import Path
        from engineroom.errors import FenceError
        from engineroom.testing.ledger import Ledger
        book = Ledger(Path({str(path)!r}))
        def record(target="child"):
            error = FenceError("Refused.", why="so.", fix=[])
            return book.record(error, target=target, rule="none")
    """
    source = textwrap.dedent(program) + "\n".join(lines)
    subprocess.run([sys.executable, "-c", source], check=True, env={**os.environ, **environ})


# --- One page


def test_a_new_page_is_empty(path: Path) -> None:
    book = Ledger(path)
    assert book.refusals() == []
    assert book.unexpected() == []
    assert book.take("") == []


def test_a_refusal_keeps_the_parts_of_the_error(path: Path) -> None:
    refusal = record(Ledger(path), file="/srv/tests/test_a.py", line=7)
    assert refusal.what == "Refused to connect to sqlite:////srv/shop.db while pytest runs."
    assert refusal.why == "it is not disposable."
    assert refusal.remedy == "use tmp_path"
    assert (refusal.target, refusal.rule) == ("sqlite:////srv/shop.db", "none")
    assert (refusal.file, refusal.line) == ("/srv/tests/test_a.py", 7)
    assert refusal.pid == os.getpid()


def test_an_error_without_a_way_out_has_no_remedy() -> None:
    error = FenceError("Refused.", why="so.")
    assert Ledger(None).record(error, target="x", rule="none").remedy == ""


def test_a_refusal_belongs_to_the_test_that_is_running(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    book = Ledger(path)
    before = record(book)
    book.start_test("test_a.py::test_a")
    during = record(book)
    book.end_test()
    after = record(book)
    assert [refusal.test for refusal in (before, during, after)] == ["", "test_a.py::test_a", ""]


@pytest.mark.parametrize(
    ("told", "test"),
    [
        ("test_a.py::test_a (call)", "test_a.py::test_a"),
        ("test_a.py::test_a[b (call)] (setup)", "test_a.py::test_a[b (call)]"),
        ("test_a.py::test_a (teardown)", "test_a.py::test_a"),
        ("test_a.py::test_a", "test_a.py::test_a"),
        ("", ""),
    ],
)
def test_a_child_knows_the_test_from_what_pytest_exports(monkeypatch: pytest.MonkeyPatch, told: str, test: str) -> None:
    monkeypatch.setenv("PYTEST_CURRENT_TEST", told)
    assert record(Ledger(None)).test == test


def test_the_line_of_the_test_stands_in_where_no_other_is_known(path: Path) -> None:
    book = Ledger(path)
    book.start_test("test_a.py::test_a", lambda: ("/srv/test_a.py", 3))
    refusals = [record(book), record(book, file="/srv/app.py", line=9)]
    book.end_test()
    refusals.append(record(book))
    assert [(refusal.file, refusal.line) for refusal in refusals] == [
        ("/srv/test_a.py", 3),
        ("/srv/app.py", 9),
        ("", 0),
    ]


def test_every_refusal_has_a_name_of_its_own(path: Path) -> None:
    book = Ledger(path)
    assert len({record(book).id for _ in range(100)}) == 100


def test_refusals_of_many_threads_are_all_kept(path: Path) -> None:
    book = Ledger(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: record(book, target=str(number)), range(200)))
    assert {refusal.target for refusal in book.refusals()} == {str(number) for number in range(200)}
    assert len(path.read_text().splitlines()) == 200


def test_the_alarm_rings_when_something_is_refused(path: Path) -> None:
    book = Ledger(path)
    rung: list[int] = []
    book.alarm = lambda: rung.append(1)
    record(book)
    assert rung == [1]


# --- What was refused in a test


def test_the_refusals_of_a_test_are_taken_once(path: Path) -> None:
    book = Ledger(path)
    book.start_test("a")
    first = record(book)
    assert book.take("a") == [first]
    assert book.take("a") == []
    second = record(book)
    assert book.take("a") == [second]
    assert book.unexpected() == [first, second]


def test_the_refusals_of_another_test_are_left(path: Path) -> None:
    book = Ledger(path)
    book.start_test("a")
    first = record(book)
    assert book.take("b") == []
    assert book.take("a") == [first]


def test_an_expected_refusal_is_not_taken(path: Path) -> None:
    book = Ledger(path)
    book.start_test("a")
    book.mark_expected([record(book)])
    assert book.take("a") == []
    assert book.unexpected() == []
    assert len(book.refusals()) == 1


# --- The file


def test_a_refusal_is_one_line_of_json(path: Path) -> None:
    refusal = record(Ledger(path), target="a\nb\u2028c\udc80")
    (line,) = path.read_text().splitlines()
    assert Refusal(**json.loads(line)) == refusal


@given(
    st.lists(st.text(st.characters(codec="utf-8") | st.sampled_from("\n\r\0\u2028")), max_size=5),
)
def test_whatever_a_target_holds_another_process_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, targets: list[str]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "refusals"
    writer, reader = Ledger(path), Ledger(path)
    for target in targets:
        line = record(writer, target=target)._replace(pid=0)
        path.write_text(path.read_text().replace(f'"pid": {os.getpid()}', '"pid": 0'))
        assert line.target == target
    assert [refusal.target for refusal in reader.refusals()] == targets


def test_what_a_child_was_refused_counts(path: Path) -> None:
    book = Ledger(path)
    own = record(book)
    in_another_process(path, "record()", PYTEST_CURRENT_TEST="test_a.py::test_a (call)")
    assert [refusal.target for refusal in book.refusals()] == [own.target, "child"]
    assert [refusal.target for refusal in book.take("test_a.py::test_a")] == ["child"]
    assert book.take("test_a.py::test_a") == []


def test_what_a_child_expected_is_expected(path: Path) -> None:
    book = Ledger(path)
    in_another_process(path, "record('first')", "book.mark_expected([record('second')])")
    assert [refusal.target for refusal in book.unexpected()] == ["first"]


def test_what_a_fork_was_refused_counts_once(path: Path) -> None:
    book = Ledger(path)
    book.start_test("a")
    record(book, target="before")
    pid = os.fork()
    if not pid:
        try:
            record(book, target="in the fork")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert [refusal.target for refusal in book.refusals()] == ["before", "in the fork"]
    assert [refusal.target for refusal in book.take("a")] == ["before", "in the fork"]


def test_each_worker_takes_its_own_and_the_controller_sees_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Ledger(path)
    for worker in ("gw0", "gw1"):
        in_another_process(path, "book.start_test('a')", "record()", PYTEST_XDIST_WORKER=worker)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    late_worker = Ledger(None)
    assert late_worker.worker == "gw0"
    assert [refusal.worker for refusal in controller.unexpected()] == ["gw0", "gw1"]
    assert controller.take("a") == []


def test_a_line_that_is_still_being_written_waits(path: Path) -> None:
    book, other = Ledger(path), Ledger(None)
    line = json.dumps(record(other)._replace(pid=1)._asdict())
    path.write_text(line[:20])
    assert book.refusals() == []
    path.write_text(line + "\n" + line[:5])
    assert len(book.refusals()) == 1


def test_what_an_earlier_run_left_in_the_file_is_not_told_again(path: Path) -> None:
    in_another_process(path, "record('earlier')")
    book = Ledger(path)
    in_another_process(path, "record('now')")
    assert [refusal.target for refusal in book.refusals()] == ["now"]


def test_a_run_inside_of_a_run_keeps_its_refusals(path: Path) -> None:
    outer = open_ledger(path)
    inner = open_ledger(path)
    refusal = record(active_ledger())
    assert inner.refusals() == [refusal]
    close_ledger(inner)
    assert active_ledger() is outer
    assert outer.refusals() == []


def test_the_last_page_stays_open_for_what_comes_at_exit(path: Path) -> None:
    book = open_ledger(path)
    close_ledger(book)
    assert active_ledger() is book
    close_ledger(book)
    assert active_ledger() is book


def test_without_a_run_there_is_a_page_too() -> None:
    assert active_ledger().path is None
    assert active_ledger() is active_ledger()


@pytest.mark.parametrize("spoil", ["remove", "directory"])
def test_a_refusal_is_kept_even_where_it_cannot_be_written(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "run" / ledger.FILE_NAME
    if spoil == "directory":
        path.mkdir(parents=True)
    book = Ledger(path)
    refusal = record(book)
    assert book.unexpected() == [refusal]


def test_nobody_else_can_read_the_file(path: Path) -> None:
    record(Ledger(path))
    assert path.stat().st_mode & 0o077 == 0


# --- expect_refusal


def test_an_expected_refusal_does_not_leave_the_block(path: Path) -> None:
    book = open_ledger(path)
    with expect_refusal() as refusals:
        refuse()
    assert [refusal.target for refusal in refusals] == ["sqlite:////srv/shop.db"]
    assert book.unexpected() == []


def test_the_list_is_filled_when_the_block_is_over(path: Path) -> None:
    open_ledger(path)
    with expect_refusal() as refusals:
        with pytest.raises(FenceError):
            refuse("first")
        assert refusals == []
        refuse("second")
    assert [refusal.target for refusal in refusals] == ["first", "second"]


def test_a_block_without_a_refusal_fails() -> None:
    with pytest.raises(AssertionError, match="Nothing was refused in this block"), expect_refusal():
        pass


def test_a_refusal_before_the_block_is_not_its_own(path: Path) -> None:
    book = open_ledger(path)
    before = record(book)
    with pytest.raises(AssertionError, match="Nothing was refused"), expect_refusal():
        pass
    assert book.unexpected() == [before]


def test_a_refusal_after_the_block_is_not_expected(path: Path) -> None:
    book = open_ledger(path)
    with expect_refusal():
        refuse()
    after = record(book)
    assert book.unexpected() == [after]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("another one"),
        DestructiveOperationError("Refused to drop.", why="so."),
        KeyboardInterrupt(),
        ExceptionGroup("mixed", [make_error(), ValueError("and this")]),
    ],
    ids=["an ordinary error", "a refusal of the guard", "an interrupt", "a group with something else in it"],
)
def test_other_errors_leave_the_block(path: Path, error: BaseException) -> None:
    open_ledger(path)
    with pytest.raises(type(error)) as caught, expect_refusal():  # noqa: PT012  # two things happen in the block
        record(active_ledger())
        raise error
    assert caught.value is error


@pytest.mark.parametrize("depth", [1, 2])
def test_a_group_of_nothing_but_refusals_stays_in_the_block(path: Path, depth: int) -> None:
    open_ledger(path)
    error: Exception = make_error()
    for _ in range(depth):
        error = ExceptionGroup("tasks", [error, make_error()])
    with expect_refusal() as refusals:
        record(active_ledger())
        raise error
    assert len(refusals) == 1


def test_a_refusal_counts_as_expected_while_the_block_is_still_open(path: Path) -> None:
    # A fixture may hold the block open over the test; the test must not fail meanwhile.
    book = open_ledger(path)
    book.start_test("a")
    with expect_refusal():
        record(book)
        assert book.take("a") == []
        assert book.unexpected() == []


def test_blocks_may_stand_in_each_other(path: Path) -> None:
    book = open_ledger(path)
    with expect_refusal() as outer:
        with expect_refusal() as inner:
            refuse("first")
        refuse("second")
    assert [refusal.target for refusal in inner] == ["first"]
    assert [refusal.target for refusal in outer] == ["first", "second"]
    assert book.expecting == 0
    assert book.unexpected() == []


def test_a_refusal_in_a_thread_is_expected_too(path: Path) -> None:
    book = open_ledger(path)

    def swallow() -> None:
        with pytest.raises(FenceError):
            refuse("in a thread")

    with expect_refusal() as refusals:
        thread = threading.Thread(target=swallow)
        thread.start()
        thread.join()
    assert [refusal.target for refusal in refusals] == ["in a thread"]
    assert book.unexpected() == []


def test_a_refusal_in_a_child_is_expected_too(path: Path) -> None:
    book = open_ledger(path)
    with expect_refusal() as refusals:
        in_another_process(path, "record()")
    assert [refusal.target for refusal in refusals] == ["child"]
    assert book.unexpected() == []


def test_a_refusal_in_another_worker_is_none_of_the_blocks(path: Path) -> None:
    book = open_ledger(path)
    with pytest.raises(AssertionError, match="Nothing was refused"), expect_refusal():
        in_another_process(path, "record()", PYTEST_XDIST_WORKER="gw7")
    assert len(book.unexpected()) == 1


async def test_the_block_works_around_tasks(path: Path) -> None:
    book = open_ledger(path)

    async def ask(target: str) -> None:
        await asyncio.sleep(0)
        refuse(target)

    with expect_refusal() as refusals:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask("first"))
            group.create_task(ask("second"))
    assert {refusal.target for refusal in refusals} == {"first", "second"}
    assert book.unexpected() == []


def test_an_expectation_is_written_down_once(path: Path) -> None:
    open_ledger(path)
    with expect_refusal():
        refuse()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [sorted(line)[:1] for line in lines] == [["file"], ["expected"]]


def test_a_refusal_can_be_pickled() -> None:
    refusal = record(Ledger(None))
    assert pickle.loads(pickle.dumps(refusal)) == refusal  # noqa: S301  # our own bytes
