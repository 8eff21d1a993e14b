"""How a Python child of a test run learns of it, and what it does when it learns nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engineroom import _lifecycle, _memory
from engineroom.errors import FenceError
from engineroom.testing import _children, fence
from engineroom.testing._database_files import Terms
from engineroom.testing.ledger import FILE_NAME, Ledger, active_ledger, close_child_ledger, close_ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

START_FILE = Path(__file__).parents[2] / "src" / "engineroom-children.pth"


@pytest.fixture(autouse=True)
def _lowered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("ENGINEROOM_ROLE", "ENGINEROOM_RUN", "PYTEST_XDIST_WORKER", "APP_ENV"):
        monkeypatch.delenv(name, raising=False)
    yield
    fence.lower_fence()


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a run that this process could be a child of."""
    directory = _memory.start_run()
    monkeypatch.setenv("ENGINEROOM_RUN", str(directory))
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a project that allows its reference data, and calls the environment its own name."""
    root = tmp_path / "shop"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[tool.engineroom]\nfence_allow = ["reference.db"]\ntest_names = ["*_test.db"]\n'
        'environment_variable = "FLASK_ENV"\n'
    )
    return root


def make_database(path: Path) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE articles (name TEXT)")
    connection.close()
    return path


def test_a_child_judges_on_the_terms_of_the_project(
    directory: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLASK_ENV", raising=False)
    fence.tell_children(directory, Terms(root))
    _children.join_run()
    current = fence.terms()
    assert current is not None
    assert (current.root, current.test_names) == (str(root), ("*_test.db",))
    assert current.allowances.lets_file(str(root / "reference.db"))
    assert os.environ.pop("FLASK_ENV") == "test"
    assert _lifecycle.is_test_process()


def test_a_child_lets_through_what_pytest_empties(directory: Path, root: Path) -> None:
    terms = Terms(root)
    terms.allow_temporary(root / "scratch")
    fence.tell_children(directory, terms)
    _children.join_run()
    current = fence.terms()
    assert current is not None
    assert current.allowances.lets_file(str(root / "scratch" / "test_a0" / "shop.db"))
    assert not current.allowances.lets_file(str(root / "shop.db"))
    os.environ.pop("FLASK_ENV")


@pytest.mark.parametrize("told", ["", "no sense", '{"root": 1}', '{"temporary": []}', "[]"])
def test_a_child_that_is_told_nonsense_is_judged_strictly(directory: Path, root: Path, told: str) -> None:
    make_database(root / "reference.db")
    (directory / "terms-").write_text(told)
    _children.join_run()
    current = fence.terms()
    assert current is not None
    assert current.test_names == ("test_*",)
    with pytest.raises(FenceError):
        sqlite3.connect(root / "reference.db")


def test_a_child_of_a_run_that_is_over_is_judged_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEROOM_RUN", "/nowhere/engineroom-1")
    make_database(Path("shop.db"))
    _children.join_run()
    with pytest.raises(FenceError):
        sqlite3.connect("shop.db")
    assert os.environ["APP_ENV"] == "test"


def test_a_table_that_cannot_be_used_means_the_strictest_terms(directory: Path, root: Path) -> None:
    (root / "pyproject.toml").write_text("[tool.engineroom]\nfence_allow = 1\n")
    fence.tell_children(directory, Terms(root))
    _children.join_run()
    current = fence.terms()
    assert current is not None
    assert current.test_names == ("test_*",)


def test_the_environment_cannot_name_the_terms(directory: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fence.tell_children(directory, Terms(root))
    lax = root.parent / "lax"
    lax.mkdir(mode=0o755)
    (lax / "terms-").write_text('{"root": "/", "temporary": ["/"]}')
    monkeypatch.setenv("ENGINEROOM_RUN", str(lax))  # no directory of a run: not private, without its lock
    _children.join_run()
    current = fence.terms()
    assert current is not None
    assert current.temporary == []


def test_a_process_that_has_the_fence_stays_on_its_terms(directory: Path, root: Path) -> None:
    fence.resume_fence(Terms("/"))
    fence.tell_children(directory, Terms(root))
    _children.join_run()
    current = fence.terms()
    assert current is not None
    assert current.root == "/"


def test_each_worker_tells_its_own_children(directory: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    fence.tell_children(directory, Terms(root))
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    fence.tell_children(directory, Terms(root.parent))
    _children.join_run()
    current = fence.terms()
    assert current is not None
    assert current.root == str(root.parent)


def test_a_pytest_that_a_test_starts_leaves_the_run(directory: Path) -> None:
    assert not close_child_ledger()
    _children.join_run()
    assert active_ledger().path == directory / FILE_NAME
    assert close_child_ledger()
    assert not close_child_ledger()
    assert active_ledger().path is None


def test_a_refusal_in_a_child_names_the_test_that_is_running_now(directory: Path) -> None:
    parent, child = Ledger(directory / FILE_NAME), Ledger(directory / FILE_NAME, is_child=True)
    error = FenceError("Refused.", why="because.", fix=["work on a copy"])
    parent.start_test("test_a.py::test_with_a_rather_long_name")
    parent.expect_children()
    assert child.record(error, target="shop.db", rule="none").test == "test_a.py::test_with_a_rather_long_name"
    parent.start_test("test_a.py::test_b")
    assert child.record(error, target="shop.db", rule="none").test == "test_a.py::test_b"
    child.expect_children()
    assert (
        Ledger(directory / FILE_NAME, is_child=True).record(error, target="a", rule="none").test == "test_a.py::test_b"
    )
    parent.end_test()
    assert child.record(error, target="shop.db", rule="none").test == ""


def test_a_fork_of_an_earlier_test_does_not_tell_its_own_children_that_test(directory: Path) -> None:
    ledger = Ledger(directory / FILE_NAME)
    ledger.start_test("test_a.py::test_a")
    ledger.expect_children()
    pid = os.fork()
    if not pid:
        ledger.test = "test_a.py::test_earlier"
        ledger.expect_children()
        os._exit(0)
    os.waitpid(pid, 0)
    error = FenceError("Refused.", why="because.", fix=["work on a copy"])
    child = Ledger(directory / FILE_NAME, is_child=True)
    assert child.record(error, target="shop.db", rule="none").test == "test_a.py::test_a"


def test_the_run_inside_another_one_does_not_keep_its_test(directory: Path) -> None:
    outer = open_ledger(directory / FILE_NAME)
    outer.start_test("test_outer.py::test_outer")
    outer.expect_children()
    inner = open_ledger(directory / FILE_NAME)
    inner.start_test("test_inner.py::test_inner")
    inner.expect_children()
    inner.end_test()
    close_ledger(inner)
    child = Ledger(directory / FILE_NAME, is_child=True)
    error = FenceError("Refused.", why="because.", fix=["work on a copy"])
    assert child.record(error, target="shop.db", rule="none").test == "test_outer.py::test_outer"


# --- The start file

LOADED = "import sys; print(*[name for name in sys.modules if name.startswith('engineroom')])"


def test_the_start_file_is_one_line_that_python_executes() -> None:
    (line,) = START_FILE.read_text().splitlines()
    assert line.startswith("import os; ")


def test_the_installation_has_the_start_file() -> None:
    places = [Path(path) / START_FILE.name for path in sys.path if (Path(path) / START_FILE.name).exists()]
    installed = [place for place in places if place != START_FILE]
    assert installed, "the package was installed before it had a start file: install it again"
    assert installed[0].read_text() == START_FILE.read_text()


@pytest.mark.parametrize(("marked", "expected"), [(False, False), (True, True)], ids=["outside of a run", "in a run"])
def test_python_starts_with_the_fence_in_a_run_only(marked: bool, expected: bool) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={**environ, **({"ENGINEROOM_ROLE": "controller"} if marked else {})},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert ("engineroom.testing.fence" in done.stdout.split()) is expected
    assert bool(done.stdout.split()) is expected
    assert done.stderr == ""


def test_a_child_does_not_load_sqlalchemy_or_pydantic() -> None:
    code = "import sys; assert not {'sqlalchemy', 'pydantic', 'pytest', 'asyncio'} & sys.modules.keys()"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    subprocess.run([sys.executable, "-c", code], env={**environ, "ENGINEROOM_ROLE": "controller"}, check=True)


@pytest.mark.parametrize("option", ["-Werror", "-Xdev", "-I", "-E"])
def test_a_child_starts_without_a_word(option: str, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, option, "-c", "pass"],
        env={**environ, "ENGINEROOM_ROLE": "controller"},
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")


def test_a_child_starts_where_its_directory_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    leave = "import os, subprocess, sys; os.chdir('gone'); os.rmdir('../gone')"
    code = f"{leave}; subprocess.run([sys.executable, '-c', {LOADED!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environ, "ENGINEROOM_ROLE": "controller"},
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "engineroom.testing.fence" in done.stdout.split()
    assert done.stderr == ""
