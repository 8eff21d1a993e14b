"""Which files did this test run make? Judged by what was there before, never by what a file looks like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom import _run_files
from engineroom._run_files import RunFiles


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Return a directory that plays the system's temporary directory, with something in it already."""
    directory = tmp_path / "temporary"
    (directory / "old").mkdir(parents=True)
    (directory / "old" / "shop.db").write_bytes(b"precious")
    (directory / "shop.db").write_bytes(b"precious")
    return directory


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory like the one that a run makes for itself, exported as a run does."""
    directory = make_run_directory(tmp_path / "engineroom-abc")
    monkeypatch.setenv(_run_files.RUN_VARIABLE, str(directory))
    return directory


def make_run_directory(directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    (directory / _run_files.LOCK_NAME).touch()
    return directory


def is_owned(path: Path) -> bool:
    return _run_files.is_run_owned(os.path.realpath(path))


# --- Outside of a test run


def test_outside_a_test_run_nothing_is_the_runs(temporary: Path) -> None:
    assert not is_owned(temporary / "shop.db")
    assert not is_owned(temporary / "new.db")
    assert not _run_files.note_created(temporary / "new.db")
    assert not _run_files.add_run_directory(temporary / "new")
    assert not is_owned(temporary / "new.db")


def test_after_reset_nothing_is_the_runs(temporary: Path) -> None:
    _run_files.start_run([temporary])
    assert is_owned(temporary / "new.db")
    _run_files.reset()
    assert not is_owned(temporary / "new.db")


# --- What was there before, and what is new


@pytest.mark.parametrize(
    ("path", "owned"),
    [
        pytest.param("new.db", True, id="a new file is the run's"),
        pytest.param("new/deep/shop.db", True, id="a file in a new directory is the run's"),
        pytest.param("shop.db", False, id="a file that was there is not"),
        pytest.param("old/shop.db", False, id="a file in a directory that was there is not"),
        pytest.param("old/new.db", False, id="a new file in a directory that was there is not, unless noted"),
        pytest.param("new/../shop.db", False, id="a detour through a new directory does not help"),
        pytest.param("new/../../outside.db", False, id="nor a detour out of the temporary directory"),
        pytest.param("../outside.db", False, id="a file beside the temporary directory is not"),
        pytest.param("../temporary-too/new.db", False, id="a directory whose name only begins the same is another one"),
        pytest.param("", False, id="the temporary directory itself is not"),
    ],
)
def test_a_file_is_the_runs_if_its_top_level_entry_was_not_there(temporary: Path, path: str, owned: bool) -> None:
    _run_files.start_run([temporary])
    assert is_owned(temporary / path) is owned


def test_what_is_deleted_and_made_again_under_its_old_name_stays_protected(temporary: Path) -> None:
    _run_files.start_run([temporary])
    (temporary / "shop.db").unlink()
    assert not is_owned(temporary / "shop.db")


def test_a_link_from_the_temporary_directory_to_a_database_outside_is_judged_by_the_database(
    temporary: Path, tmp_path: Path
) -> None:
    (tmp_path / "development.db").write_bytes(b"precious")
    _run_files.start_run([temporary])
    (temporary / "new").mkdir()
    (temporary / "new" / "link.db").symlink_to(tmp_path / "development.db")
    (temporary / "project").symlink_to(tmp_path)
    assert not is_owned(temporary / "new" / "link.db")
    assert not is_owned(temporary / "project" / "development.db")


def test_a_temporary_directory_that_is_a_link_counts_by_its_target(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").symlink_to(temporary)
    _run_files.start_run([tmp_path / "tmp"])
    assert is_owned(tmp_path / "tmp" / "new.db")
    assert is_owned(temporary / "new.db")
    assert not is_owned(tmp_path / "tmp" / "shop.db")


def test_several_temporary_directories_count_and_the_inner_one_does_not_open_the_outer(temporary: Path) -> None:
    _run_files.start_run([temporary, temporary / "old"])
    assert is_owned(temporary / "old" / "new.db")
    assert not is_owned(temporary / "old" / "shop.db")
    assert not is_owned(temporary / "shop.db")


def test_in_the_systems_own_directory_only_what_has_a_new_name_is_the_runs(
    temporary: Path, tmp_path: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "system" / "project"
    project.mkdir(parents=True)
    monkeypatch.setattr(_run_files, "SYSTEM_DIRECTORY", str(project.parent))
    _run_files.start_run([temporary])
    child = RunFiles(run_directory / _run_files.LOG_NAME)
    assert is_owned(project.parent / "new.db")
    assert not _run_files.note_created(project / "new.db")
    assert not child.note_created(os.path.realpath(project / "new.db"))
    _run_files.start_run([project.parent])
    assert _run_files.note_created(project / "new.db")
    assert child.is_owned(os.path.realpath(project / "new.db"))


def test_a_directory_that_is_not_there_or_cannot_be_listed_makes_nothing_the_runs(temporary: Path) -> None:
    _run_files.start_run([temporary / "nowhere", temporary / "shop.db"])
    assert not is_owned(temporary / "nowhere" / "new.db")
    assert not is_owned(temporary / "shop.db" / "new.db")


def test_the_root_directory_may_be_the_temporary_one() -> None:
    _run_files.start_run([Path("/")])
    assert is_owned(Path("/engineroom-no-such-directory/new.db"))
    assert not is_owned(Path("/usr/new.db"))


def test_two_leading_slashes_are_one(temporary: Path) -> None:
    _run_files.start_run([temporary])
    assert _run_files.is_run_owned(os.path.realpath(f"/{temporary}/new.db"))


def test_names_that_are_no_unicode_are_told_apart(temporary: Path) -> None:
    (temporary / os.fsdecode(b"caf\xe9.db")).touch()
    _run_files.start_run([temporary])
    assert not is_owned(temporary / os.fsdecode(b"caf\xe9.db"))
    assert is_owned(temporary / os.fsdecode(b"caf\xe8.db"))


# --- What pytest keeps of its last runs


def test_the_directories_of_earlier_pytest_runs_are_protected_and_this_runs_own_is_not(temporary: Path) -> None:
    earlier = temporary / "pytest-of-me" / "pytest-6"
    earlier.mkdir(parents=True)
    _run_files.start_run([temporary])
    assert not is_owned(earlier / "test_it0" / "shop.db")
    assert is_owned(temporary / "pytest-of-me" / "pytest-7" / "test_it0" / "shop.db")


def test_pytest_directories_of_a_first_run_are_new_altogether(temporary: Path) -> None:
    _run_files.start_run([temporary])
    assert is_owned(temporary / "pytest-of-me" / "pytest-0" / "shop.db")


def test_a_link_that_is_called_like_pytests_directory_gives_nothing_away(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (temporary / "pytest-of-me").symlink_to(tmp_path / "project")
    _run_files.start_run([temporary])
    assert not is_owned(temporary / "pytest-of-me" / "new.db")


# --- note_created


def test_a_noted_file_in_an_old_directory_is_the_runs(temporary: Path) -> None:
    _run_files.start_run([temporary])
    new = temporary / "old" / "new.db"
    assert _run_files.note_created(new)
    new.touch()
    assert is_owned(new)
    assert not is_owned(temporary / "old" / "shop.db")
    assert not is_owned(temporary / "old" / "newer.db")


def test_a_file_that_is_there_already_is_not_noted(temporary: Path) -> None:
    _run_files.start_run([temporary])
    assert not _run_files.note_created(temporary / "old" / "shop.db")
    assert not is_owned(temporary / "old" / "shop.db")


def test_a_file_outside_of_the_temporary_directories_is_not_noted(temporary: Path, tmp_path: Path) -> None:
    _run_files.start_run([temporary])
    assert not _run_files.note_created(tmp_path / "development.db")
    assert not is_owned(tmp_path / "development.db")


def test_a_dangling_link_is_noted_as_its_target_or_not_at_all(temporary: Path, tmp_path: Path) -> None:
    _run_files.start_run([temporary])
    (temporary / "old" / "out.db").symlink_to(tmp_path / "development.db")
    (temporary / "old" / "in.db").symlink_to(temporary / "old" / "target.db")
    assert not _run_files.note_created(temporary / "old" / "out.db")
    assert not is_owned(tmp_path / "development.db")
    assert _run_files.note_created(temporary / "old" / "in.db")
    assert is_owned(temporary / "old" / "target.db")


def test_a_noted_file_that_becomes_a_link_to_a_real_database_is_judged_by_that(temporary: Path) -> None:
    _run_files.start_run([temporary])
    _run_files.note_created(temporary / "old" / "new.db")
    (temporary / "old" / "new.db").symlink_to(temporary / "old" / "shop.db")
    assert not is_owned(temporary / "old" / "new.db")


def test_what_is_the_runs_anyway_is_not_written_down_again(temporary: Path, run_directory: Path) -> None:
    _run_files.start_run([temporary])
    before = (run_directory / _run_files.LOG_NAME).read_bytes()
    assert _run_files.note_created(temporary / "new" / "shop.db")
    assert (run_directory / _run_files.LOG_NAME).read_bytes() == before


# --- add_run_directory


def test_all_below_a_directory_that_is_yet_to_be_made_is_the_runs(temporary: Path, tmp_path: Path) -> None:
    _run_files.start_run([temporary])
    assert _run_files.add_run_directory(tmp_path / "base")
    assert is_owned(tmp_path / "base" / "deep" / "shop.db")
    assert not is_owned(tmp_path / "base.db")


def test_all_below_a_directory_that_pytest_just_emptied_is_the_runs(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    _run_files.start_run([temporary])
    assert _run_files.add_run_directory(tmp_path / "base")
    assert is_owned(tmp_path / "base" / "test_it0" / "shop.db")


def test_what_a_directory_held_when_it_was_added_stays_protected(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "shop.db").touch()
    _run_files.start_run([temporary])
    assert not _run_files.add_run_directory(tmp_path / "base")
    assert not is_owned(tmp_path / "base" / "shop.db")
    assert is_owned(tmp_path / "base" / "new.db")


def test_a_directory_that_pytest_empties_after_it_was_added_may_be_added_again(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "base" / "test_it0").mkdir(parents=True)
    _run_files.start_run([temporary])
    assert not _run_files.add_run_directory(tmp_path / "base")
    (tmp_path / "base" / "test_it0").rmdir()
    assert _run_files.add_run_directory(tmp_path / "base")
    assert is_owned(tmp_path / "base" / "test_it0" / "shop.db")


def test_a_file_is_no_directory_of_the_run(temporary: Path) -> None:
    _run_files.start_run([temporary])
    assert not _run_files.add_run_directory(temporary / "shop.db")
    assert not is_owned(temporary / "shop.db")


def test_a_new_directory_below_the_temporary_one_is_the_runs_without_ado(temporary: Path) -> None:
    _run_files.start_run([temporary])
    (temporary / "new").mkdir()
    (temporary / "new" / "shop.db").touch()
    assert _run_files.add_run_directory(temporary / "new")


# --- Shared with children


def test_a_child_process_finds_what_its_run_wrote_down(temporary: Path, run_directory: Path) -> None:
    _run_files.start_run([temporary])
    program = f"""
import sys
from engineroom import _run_files
owned = [_run_files.is_run_owned(path) for path in sys.argv[1:]]
noted = _run_files.note_created({str(temporary / "old" / "child.db")!r})
assert "sqlalchemy" not in sys.modules, "this module has to be cheap"
print(*owned, noted)
"""
    paths = [str(temporary / name) for name in ("new.db", "shop.db", "old/new.db")]
    told = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "False", "False", "True"]
    assert is_owned(temporary / "old" / "child.db"), "the parent learns what its child made"
    assert run_directory.is_dir()


def test_the_record_of_the_run_that_began_first_stays(temporary: Path, run_directory: Path) -> None:
    _run_files.start_run([temporary])
    (temporary / "made-by-controller").mkdir()
    _run_files.reset()  # from here on this is a worker of the same run
    _run_files.start_run([temporary])
    assert is_owned(temporary / "made-by-controller" / "shop.db")
    assert not is_owned(temporary / "old" / "shop.db")
    assert run_directory.is_dir()


def test_a_second_start_in_the_same_process_keeps_the_first_record(temporary: Path) -> None:
    _run_files.start_run([temporary])
    (temporary / "made-by-run").mkdir()
    _run_files.start_run([temporary])
    assert is_owned(temporary / "made-by-run" / "shop.db")


def test_a_run_of_its_own_begins_anew(
    temporary: Path, run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run_files.start_run([temporary])
    (temporary / "made-by-outer-run").mkdir()
    monkeypatch.setenv(_run_files.RUN_VARIABLE, str(make_run_directory(tmp_path / "engineroom-inner")))
    _run_files.start_run([temporary])
    assert not is_owned(temporary / "made-by-outer-run" / "shop.db")
    assert is_owned(temporary / "made-by-inner-run" / "shop.db")
    assert run_directory.is_dir()


def test_what_a_run_knows_outlives_its_directory_and_its_variable(
    temporary: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run_files.start_run([temporary])
    for file in run_directory.iterdir():
        file.unlink()
    run_directory.rmdir()
    monkeypatch.delenv(_run_files.RUN_VARIABLE)
    assert is_owned(temporary / "new.db")
    assert _run_files.note_created(temporary / "old" / "new.db")
    assert is_owned(temporary / "old" / "new.db")
    assert not is_owned(temporary / "shop.db")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="it is empty"),
        pytest.param(b"not json\n", id="it is no JSON"),
        pytest.param(b"\xff\xfe\n", id="it is no text"),
        pytest.param(b"null\n3\n{}\n[]\n[1, 2]\n[null, null]\n", id="it holds other things"),
        pytest.param(b'["/", "usr"]\n', id="the names are no list"),
        pytest.param(b'["/", [[1], null]]\n', id="the names are no texts"),
        pytest.param(b'["/", []]', id="its only line is not finished"),
        pytest.param(b"[" * 100_000 + b"\n", id="it is nested too deeply"),
    ],
)
def test_a_record_that_cannot_be_read_makes_nothing_the_runs(run_directory: Path, content: bytes) -> None:
    (run_directory / _run_files.LOG_NAME).write_bytes(content)
    assert not is_owned(Path("/engineroom-no-such-directory/new.db"))
    assert not _run_files.note_created("/engineroom-no-such-directory/new.db")


def test_without_a_record_in_the_runs_directory_nothing_is_the_runs(run_directory: Path, temporary: Path) -> None:
    assert not is_owned(temporary / "new.db")
    assert not _run_files.note_created(temporary / "new.db")
    assert not (run_directory / _run_files.LOG_NAME).exists()


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = json.dumps(["/somewhere/new.db", None]) + "\n"
    log.write_text('["/somewhere", []]\n' + whole[:9])
    files = RunFiles(log)
    assert files.is_owned("/somewhere/x.db")
    assert not files.is_owned("/elsewhere/new.db")
    log.write_text('["/somewhere", []]\n' + whole.replace("somewhere", "elsewhere"))
    assert files.is_owned("/elsewhere/new.db")


def test_a_forked_child_shares_the_record(temporary: Path, run_directory: Path) -> None:
    _run_files.start_run([temporary])
    program = """
import os, sys
from engineroom import _run_files
directory = sys.argv[1]
assert _run_files.is_run_owned(directory + "/new.db")
if not os.fork():
    os._exit(0 if _run_files.note_created(directory + "/old/fork.db") else 3)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert _run_files.is_run_owned(directory + "/old/fork.db")
"""
    child = subprocess.run([sys.executable, "-c", program, str(temporary)], check=False)
    assert child.returncode == 0
    assert is_owned(temporary / "old" / "fork.db")
    assert run_directory.is_dir()


def test_threads_lose_nothing_that_they_note(temporary: Path, run_directory: Path) -> None:
    _run_files.start_run([temporary])
    paths = [temporary / "old" / f"{number}.db" for number in range(64)]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(_run_files.note_created, paths))
    assert all(map(is_owned, paths))
    assert len((run_directory / _run_files.LOG_NAME).read_bytes().splitlines()) == 1 + 1 + 64  # /tmp is one


# --- Databases in memory


def is_memory_file(path: Path) -> bool:
    return _run_files.is_memory_file(os.path.realpath(path))


@pytest.mark.parametrize("name", ["test_default.db", "test_default_gw0.db", "test_x.db-wal", "deep/test_default.db"])
def test_the_databases_in_the_runs_directory_are_in_memory(run_directory: Path, name: str) -> None:
    assert is_memory_file(run_directory / name)


@pytest.mark.parametrize("name", ["shop.db", "lock", "Test_default.db", "../test_default.db", "../x/test_default.db"])
def test_another_file_is_not_in_memory(run_directory: Path, name: str) -> None:
    assert not is_memory_file(run_directory / name)


def test_the_memory_directory_is_remembered_when_a_test_clears_the_environment(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run_files.start_run([])
    monkeypatch.delenv(_run_files.RUN_VARIABLE)
    assert is_memory_file(run_directory / "test_default.db")


def test_a_link_in_the_runs_directory_is_judged_by_its_target(run_directory: Path, tmp_path: Path) -> None:
    (run_directory / "test_default.db").symlink_to(tmp_path / "test_development.db")
    assert not is_memory_file(run_directory / "test_default.db")


def test_an_exported_project_directory_makes_no_file_disposable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_run_directory(tmp_path / "project")
    monkeypatch.setenv(_run_files.RUN_VARIABLE, str(project))
    (project / _run_files.LOG_NAME).write_text(json.dumps([str(project), []]) + "\n")
    assert not is_memory_file(project / "test_default.db")
    assert not is_owned(project / "new.db")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.chmod(0o755), id="others may enter it"),
        pytest.param(lambda path: (path / "lock").unlink(), id="it has no lock"),
        pytest.param(lambda path: (path / "lock").unlink() or (path / "lock").mkdir(), id="its lock is no file"),
        pytest.param(lambda path: path.rename(path.with_name("project")), id="it has another name"),
        pytest.param(
            lambda path: path.with_name("engineroom-link").symlink_to(path.rename(path.with_name("engineroom-real"))),
            id="it is gone",
        ),
    ],
)
def test_a_directory_that_lacks_one_sign_is_no_directory_of_a_run(run_directory: Path, spoil: object) -> None:
    assert _run_files.is_run_directory(run_directory)
    spoil(run_directory)  # type: ignore[operator]
    assert not _run_files.is_run_directory(run_directory)
    assert not is_memory_file(run_directory / "test_default.db")


def test_a_link_to_a_directory_of_a_run_is_none(run_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "engineroom-link").symlink_to(run_directory)
    assert not _run_files.is_run_directory(tmp_path / "engineroom-link")


def test_the_directory_of_another_user_is_none(run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: run_directory.stat().st_uid + 1)
    assert not _run_files.is_run_directory(run_directory)


@pytest.mark.parametrize("path", ["", ".", "engineroom-abc", "/engineroom-none", "/\0"])
def test_a_path_that_leads_to_no_absolute_directory_is_none(run_directory: Path, path: str) -> None:
    assert run_directory.name == "engineroom-abc"
    assert not _run_files.is_run_directory(Path(path))


# --- Properties

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in {".", ".."}
)


@given(before=st.lists(names, min_size=1), below=st.lists(names))
def test_nothing_that_was_there_before_is_ever_the_runs(before: list[str], below: list[str]) -> None:
    files = RunFiles(None)
    files._take_in(json.dumps(["/scratch", before]).encode() + b"\n")
    for name in before:
        assert not files.is_owned("/".join(["/scratch", name, *below]))


@given(made=st.lists(names, min_size=1, max_size=4), path=st.lists(names, min_size=1, max_size=4))
def test_only_what_was_made_and_what_is_below_it_is_the_runs(made: list[str], path: list[str]) -> None:
    files = RunFiles(None)
    files._take_in(json.dumps(["/" + "/".join(made), None]).encode() + b"\n")
    assert files.is_owned("/" + "/".join(path)) is (path[: len(made)] == made)
