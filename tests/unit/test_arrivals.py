"""What to do when a module arrives: once, after its import, and without a trace."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import runpy
import subprocess
import sys
import textwrap
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

import pytest

from engineroom.testing import _arrivals
from engineroom.testing._arrivals import waited_for, when_imported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType

NAME = "engineroom_arriving"


class Visits:
    """Remembers each module that it was called with, and what the module held then."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, module: ModuleType) -> None:
        self.seen.append({"name": module.__name__, **{key: vars(module).get(key) for key in ("first", "last")}})


@pytest.fixture(autouse=True)
def _clean_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let modules be imported from the test's directory, and forget them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    finders = list(sys.meta_path)
    yield
    _arrivals.reset()
    assert [finder for finder in sys.meta_path if finder not in finders] == []
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith(NAME):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def visits() -> Visits:
    return Visits()


def write_module(tmp_path: Path, text: str = "first = 1\nlast = 2\n", name: str = NAME) -> None:
    path = tmp_path / f"{name.replace('.', '/')}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    importlib.invalidate_caches()


def is_installed() -> bool:
    return any(type(finder).__name__ == "Finder" for finder in sys.meta_path)


def test_a_module_that_is_there_is_visited_at_once(visits: Visits) -> None:
    when_imported("sys", visits)
    assert [visit["name"] for visit in visits.seen] == ["sys"]
    assert not is_installed()


def test_a_module_that_comes_later_is_visited_when_its_import_is_finished(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    when_imported(NAME, visits)
    assert visits.seen == []
    importlib.import_module(NAME)
    assert visits.seen == [{"name": NAME, "first": 1, "last": 2}]


def test_everybody_who_waits_is_called_in_order(tmp_path: Path) -> None:
    write_module(tmp_path)
    order: list[int] = []
    for number in range(3):
        when_imported(NAME, lambda _, number=number: order.append(number))  # type: ignore[misc]
    importlib.import_module(NAME)
    assert order == [0, 1, 2]


def test_nothing_is_left_in_the_import_system_once_the_module_is_there(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    finders = list(sys.meta_path)
    when_imported(NAME, visits)
    assert waited_for() == {NAME}
    assert is_installed()
    importlib.import_module(NAME)
    assert sys.meta_path == finders
    assert waited_for() == frozenset()


def test_the_finder_stays_for_those_who_are_still_waited_for(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    when_imported(NAME, visits)
    when_imported(f"{NAME}_other", visits)
    importlib.import_module(NAME)
    assert waited_for() == {f"{NAME}_other"}
    assert is_installed()


def test_the_finder_is_installed_once(visits: Visits) -> None:
    when_imported(NAME, visits)
    when_imported(f"{NAME}_other", visits)
    assert sum(type(finder).__name__ == "Finder" for finder in sys.meta_path) == 1


def test_a_module_keeps_the_loader_and_the_spec_that_it_would_have_had(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    write_module(tmp_path, name=f"{NAME}_plain")
    when_imported(NAME, visits)
    module, plain = importlib.import_module(NAME), importlib.import_module(f"{NAME}_plain")
    assert type(module.__loader__) is type(plain.__loader__)
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    assert module.__spec__.origin == str(tmp_path / f"{NAME}.py")
    assert inspect.getsource(module) == inspect.getsource(plain)


def test_a_module_can_be_reloaded_and_is_not_visited_again(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    when_imported(NAME, visits)
    module = importlib.import_module(NAME)
    write_module(tmp_path, "first = 10\nlast = 20\nsomething_longer = True\n")
    assert importlib.reload(module) is module
    assert vars(module)["first"] == 10
    assert len(visits.seen) == 1


def test_to_look_for_a_module_is_not_to_import_it(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    when_imported(NAME, visits)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.origin == str(tmp_path / f"{NAME}.py")
    assert spec.loader is not None
    assert spec.loader.get_source(NAME) == "first = 1\nlast = 2\n"  # type: ignore[attr-defined]
    assert visits.seen == []
    assert waited_for() == {NAME}


def test_a_spec_that_was_looked_for_can_be_used_to_load_the_module(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    when_imported(NAME, visits)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(visits.seen) == 1


def test_a_lazy_loader_arrives_when_the_module_is_used(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    when_imported(NAME, visits)
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    assert visits.seen == []
    assert module.first == 1
    assert len(visits.seen) == 1


def test_a_module_that_is_nowhere_is_still_missing(visits: Visits) -> None:
    when_imported(NAME, visits)
    with pytest.raises(ModuleNotFoundError, match=NAME):
        importlib.import_module(NAME)
    assert importlib.util.find_spec(NAME) is None
    assert waited_for() == {NAME}


def test_an_import_that_fails_is_no_arrival_and_the_next_one_is(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path, "raise RuntimeError('not today')\n")
    when_imported(NAME, visits)
    with pytest.raises(RuntimeError, match="not today"):
        importlib.import_module(NAME)
    assert visits.seen == []
    write_module(tmp_path, "first = 1\nlast = 2\nit_works = 'now'\n")
    importlib.import_module(NAME)
    assert len(visits.seen) == 1


def test_what_the_callback_raises_ends_the_import(tmp_path: Path) -> None:
    write_module(tmp_path)

    def refuse(_: ModuleType) -> None:
        raise LookupError("no room")

    when_imported(NAME, refuse)
    with pytest.raises(LookupError, match="no room"):
        importlib.import_module(NAME)
    assert NAME not in sys.modules


def test_a_package_arrives_before_its_submodules(tmp_path: Path) -> None:
    write_module(tmp_path, "", name=f"{NAME}.__init__")
    write_module(tmp_path, name=f"{NAME}.inner")
    order: list[str] = []
    for name in (f"{NAME}.inner", NAME):
        when_imported(name, lambda module: order.append(module.__name__))
    importlib.import_module(f"{NAME}.inner")
    assert order == [NAME, f"{NAME}.inner"]


def test_a_package_that_imports_its_submodules_arrives_after_them(tmp_path: Path) -> None:
    write_module(tmp_path, f"from {NAME} import inner\n", name=f"{NAME}.__init__")
    write_module(tmp_path, name=f"{NAME}.inner")
    order: list[str] = []
    for name in (NAME, f"{NAME}.inner"):
        when_imported(name, lambda module: order.append(module.__name__))
    importlib.import_module(NAME)
    assert order == [f"{NAME}.inner", NAME]


def test_a_callback_may_import_what_others_wait_for(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    write_module(tmp_path, name=f"{NAME}_other")
    when_imported(NAME, lambda _: importlib.import_module(f"{NAME}_other"))
    when_imported(f"{NAME}_other", visits)
    importlib.import_module(NAME)
    assert [visit["name"] for visit in visits.seen] == [f"{NAME}_other"]


def test_a_callback_may_wait_for_the_next_module(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    write_module(tmp_path, name=f"{NAME}_other")
    when_imported(NAME, lambda _: when_imported(f"{NAME}_other", visits))
    importlib.import_module(NAME)
    importlib.import_module(f"{NAME}_other")
    assert [visit["name"] for visit in visits.seen] == [f"{NAME}_other"]


def test_who_asks_while_the_module_is_being_imported_waits_for_its_end(tmp_path: Path, visits: Visits) -> None:
    write_module(
        tmp_path,
        f"first = 1\nfrom engineroom.testing import _arrivals\n_arrivals.when_imported('{NAME}', print)\nlast = 2\n",
    )
    when_imported(NAME, visits)
    importlib.import_module(NAME)
    assert visits.seen == [{"name": NAME, "first": 1, "last": 2}]
    assert waited_for() == frozenset()


def test_a_module_from_a_zip_file_arrives_too(tmp_path: Path, visits: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "modules.zip", "w") as archive:
        archive.writestr(f"{NAME}.py", "first = 1\nlast = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path / "modules.zip"))
    when_imported(NAME, visits)
    module = importlib.import_module(NAME)
    assert type(module.__loader__).__name__ == "zipimporter"
    assert len(visits.seen) == 1


def test_a_namespace_package_has_nothing_to_execute_and_is_left_alone(tmp_path: Path, visits: Visits) -> None:
    (tmp_path / NAME).mkdir()
    write_module(tmp_path, name=f"{NAME}.inner")
    when_imported(NAME, visits)
    assert importlib.import_module(f"{NAME}.inner").first == 1


def test_a_module_can_be_run_as_a_program(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path, "name = __name__\n")
    when_imported(NAME, visits)
    assert runpy.run_module(NAME, run_name="__main__")["name"] == "__main__"


def test_a_finder_that_asks_all_finders_does_not_ask_in_a_circle(tmp_path: Path, visits: Visits) -> None:
    class Curious(MetaPathFinder):
        def find_spec(
            self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> ModuleSpec | None:
            for finder in sys.meta_path:
                if finder is not self and fullname == NAME:
                    spec = finder.find_spec(fullname, path, target)
                    if spec is not None:
                        return spec
            return None

    write_module(tmp_path)
    curious = Curious()
    sys.meta_path.insert(0, curious)
    try:
        when_imported(NAME, visits)
        importlib.import_module(NAME)
    finally:
        sys.meta_path.remove(curious)
    assert len(visits.seen) == 1


def test_two_threads_that_import_at_once_make_one_arrival(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path, "import time\ntime.sleep(0.05)\nfirst = 1\nlast = 2\n")
    when_imported(NAME, visits)
    barrier = threading.Barrier(4)

    def bring_in() -> int:
        barrier.wait()
        return int(importlib.import_module(NAME).last)

    with ThreadPoolExecutor(4) as pool:
        assert [done.result() for done in [pool.submit(bring_in) for _ in range(4)]] == [2, 2, 2, 2]
    assert len(visits.seen) == 1


def test_after_reset_nothing_is_waited_for(tmp_path: Path, visits: Visits) -> None:
    write_module(tmp_path)
    when_imported(NAME, visits)
    _arrivals.reset()
    assert not is_installed()
    importlib.import_module(NAME)
    assert visits.seen == []


@pytest.mark.parametrize(
    "name",
    ["engineroom.testing", "engineroom.testing.fence", "engineroom.testing.proof", "engineroom.pytest_plugin"],
)
def test_what_starts_with_pytest_loads_nothing_that_takes_long(name: str) -> None:
    program = textwrap.dedent(
        f"""
        import sys, {name}
        slow = {{"sqlalchemy", "pydantic", "pydantic_settings", "dotenv", "aiosqlite", "asyncio"}}
        print(sorted(slow & sys.modules.keys()))
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_whoever_came_in_front_meanwhile_does_not_hide_an_arrival(tmp_path: Path) -> None:
    class FirstFinder(MetaPathFinder):
        """Finds the module by itself, as pytest's finder does for the modules of plugins."""

        def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
            return (
                importlib.util.spec_from_file_location(fullname, tmp_path / f"{NAME}.py") if fullname == NAME else None
            )

    (tmp_path / f"{NAME}.py").write_text("first = 1")
    visits, first = Visits(), FirstFinder()
    when_imported("engineroom_never", visits)
    sys.meta_path.insert(0, first)
    try:
        when_imported(NAME, visits)
        importlib.import_module(NAME)
    finally:
        sys.meta_path.remove(first)
        _arrivals.reset()
    assert [visit["name"] for visit in visits.seen] == [NAME]
