"""The project: its root, its table in pyproject.toml, and the small text files that are read from it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom import _project
from engineroom._environment import Environment
from engineroom._project import Project, get_project, read_project, read_text_file, set_root
from engineroom._project.bind import BindConfiguration
from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "correct-horse-battery"


def write(directory: Path, table: str) -> Path:
    file = directory / "pyproject.toml"
    file.write_text(table, encoding="utf-8")
    return file


def refusal_of(directory: Path) -> str:
    with pytest.raises(InvalidSettingError) as caught:
        read_project(directory)
    return str(caught.value)


# --- Where the project is ----------------------------------------------------------------------------------------


def test_the_nearest_file_upwards_marks_the_root(tmp_path: Path) -> None:
    write(tmp_path, "")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert read_project(inner).root == tmp_path
    nearer = write(tmp_path / "a", "")
    assert read_project(inner) == Project(root=tmp_path / "a", file=nearer)


def test_a_directory_that_must_not_be_looked_into_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed" / "open").mkdir(parents=True)
    (tmp_path / "closed" / "pyproject.toml").mkdir()
    file = write(tmp_path, "")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))
    assert read_project(tmp_path / "closed" / "open").file == file


def test_without_a_file_the_start_is_the_root(tmp_path: Path) -> None:
    # No directory above a temporary one has a pyproject.toml, else this machine would be odd indeed.
    assert read_project(tmp_path) == Project(root=tmp_path, file=None)


def test_a_relative_start_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_project(Path("sub/../sub")).root == tmp_path / "sub"


def test_a_project_without_a_table_has_the_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, '[project]\nname = "shop"\n[tool.ruff]\nline-length = 100\n')
    project = read_project(tmp_path)
    assert project == Project(root=tmp_path, file=file)
    assert project.test_names == ("test_*",)
    assert project.environment_variable == "APP_ENV"
    assert (project.schema, project.seed, project.fence_allow) == (None, None, ())
    assert (dict(project.environments), dict(project.binds)) == ({}, {})


def test_every_key_of_the_table_is_read(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [tool.engineroom]
        schema = "app.models:Base.metadata"
        seed = "app.seeds:fill"
        test_names = ["test_*", "*_test", "shop-testing-?"]
        environment_variable = "FLASK_ENV"
        environments = { ci = "test", QA = "stage", " live " = "Production" }
        fence_allow = ["var/geo.db", "postgresql://app@localhost/reports"]

        [tool.engineroom.binds.analytics]
        schema = "alembic"

        [tool.engineroom.binds.audit_2]
        seed = "app.audit:fill"
        """,
    )
    assert read_project(tmp_path) == Project(
        root=tmp_path,
        file=file,
        schema="app.models:Base.metadata",
        seed="app.seeds:fill",
        test_names=("test_*", "*_test", "shop-testing-?"),
        environment_variable="FLASK_ENV",
        environments={"ci": Environment.TEST, "qa": Environment.STAGING, "live": Environment.PRODUCTION},
        fence_allow=("var/geo.db", "postgresql://app@localhost/reports"),
        binds={"analytics": BindConfiguration(schema="alembic"), "audit_2": BindConfiguration(seed="app.audit:fill")},
    )


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b'\xef\xbb\xbf[tool.engineroom]\r\nschema = "alembic"\r\n')
    assert read_project(tmp_path).schema == "alembic"


# --- What is wrong with it ---------------------------------------------------------------------------------------

UNUSABLE = {
    "a schema that is a number": ("schema = 3", "schema is a number, a text is expected"),
    "a schema that is empty": ('schema = ""', "schema is empty, a text is expected"),
    "a schema that is space": ('schema = "  "', "a text is expected"),
    "a schema that names no attribute": ('schema = "app.models"', 'neither the form "module:attribute"'),
    "a schema with a path": ('schema = "app/models.py:Base"', 'neither the form "module:attribute"'),
    "a schema with an empty module": ('schema = ":Base"', 'neither the form "module:attribute"'),
    "a seed that is alembic": ('seed = "alembic"', 'has not the form "module:callable"'),
    "a seed that is a list": ('seed = ["app:fill"]', "seed is a list, a text is expected"),
    "test_names that are one text": ('test_names = "test_*"', "test_names is a text, a list of texts is expected"),
    "test_names that are empty": ("test_names = []", "test_names is an empty list"),
    "test_names with a number": ('test_names = ["test_*", 1]', "entry 2 of test_names is not a text"),
    "test_names with an empty entry": ('test_names = [""]', "entry 1 of test_names is not a text, or an empty one"),
    "test_names that match all": ('test_names = ["*"]', 'entry 1 of test_names does not hold the word "test"'),
    "test_names of a contest": ('test_names = ["test_*", "contest_*"]', "entry 2 of test_names does not hold the word"),
    "test_names of the latest": ('test_names = ["latest*"]', 'does not hold the word "test"'),
    "test_names of letters": ('test_names = ["[test]*"]', 'does not hold the word "test"'),
    "test_names of an open class": ('test_names = ["[!test]?*"]', 'does not hold the word "test"'),
    "a variable that is true": ("environment_variable = true", "environment_variable is true or false"),
    "a variable with a hyphen": ('environment_variable = "APP-ENV"', "not a name that a variable can have"),
    "a variable with an assignment": ('environment_variable = "A=B"', "not a name that a variable can have"),
    "environments in a list": ('environments = ["ci"]', "environments is a list, not a table"),
    "an unknown environment": ('environments = { ci = "qa" }', '"ci" is mapped to no known environment'),
    "an environment without a name": ('environments = { "" = "test" }', "an empty word"),
    "an environment twice": ('environments = { ci = "test", CI = "test" }', "one word twice"),
    "an environment that is a number": ("environments = { ci = 1 }", "ci is a number, a text is expected"),
    "an environment that is empty": ('environments = { ci = "" }', "ci is empty, a text is expected"),
    "production that is test": ('environments = { production = "test" }', "cannot mean another one"),
    "test that is production": ('environments = { Test = "production" }', "cannot mean another one"),
    "fence_allow that is one text": ('fence_allow = "a.db"', "fence_allow is a text, a list of texts is expected"),
    "fence_allow of everything": ('fence_allow = ["**/*"]', "would allow every one"),
    "fence_allow of the root": ('fence_allow = ["/"]', "would allow every one"),
    "fence_allow with a date": ("fence_allow = 2026-01-01", "fence_allow is a date or a time"),
    "binds that are a text": ('binds = "analytics"', "binds is a text, not a table"),
    "a bind that is a text": ('binds = { analytics = "x" }', "analytics is a text, not a table"),
    "a bind with a hyphen": ("binds = { big-data = {} }", "letters, digits and underscores"),
    "a bind twice": ("binds = { a = {}, A = {} }", 'the bind "A" is there twice'),
    "a default bind": ("binds = { default = {} }", "the default bind is configured by"),
    "a bind called test": ("binds = { test = {} }", "would be the test variable of another"),
    "a bind called test_shop": ("binds = { TEST_shop = {} }", "would be the test variable of another"),
    "a bind with a wrong schema": ("binds = { a = { schema = 1 } }", "schema is a number, a text is expected"),
}


@pytest.mark.parametrize(("line", "problem"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_mistake_in_the_table_is_an_error(line: str, problem: str, tmp_path: Path) -> None:
    file = write(tmp_path, f"[tool.engineroom]\n{line}\n")
    message = refusal_of(tmp_path)
    assert problem in message
    assert str(file) in message
    assert line.split(maxsplit=1)[0] in message
    assert "Fix: write" in message


@pytest.mark.parametrize("line", [line for line, _ in UNUSABLE.values()], ids=UNUSABLE)
def test_the_example_in_an_error_is_itself_usable(line: str, tmp_path: Path) -> None:
    write(tmp_path, f"[tool.engineroom]\n{line}\n")
    advice = refusal_of(tmp_path).partition("Fix: ")[2].partition(".\nRef:")[0]
    if advice.startswith("write it as a table"):
        return
    header, _, example = advice.removeprefix("write below ").partition(": ")
    example = example.partition(" with ")[0] + "\n" + example.partition(" with ")[2]
    write(tmp_path, f"{header}\n{example}\n")
    tomllib.loads(f"{header}\n{example}\n")
    assert read_project(tmp_path) != Project(root=tmp_path)


UNKNOWN = {
    "a misspelt key": ("[tool.engineroom]\ntest_nmes = ['test_*']", 'Did you mean "test_names"?'),
    "a hyphen for an underscore": ("[tool.engineroom]\nfence-allow = []", 'Did you mean "fence_allow"?'),
    "capitals": ("[tool.engineroom]\nSchema = 'alembic'", 'Did you mean "schema"?'),
    "a misspelt key of a bind": ("[tool.engineroom.binds.a]\nsede = 'a:b'", 'Did you mean "seed"?'),
    "a key of the default bind only": ("[tool.engineroom.binds.a]\ntest_names = ['test_*']", "has no key"),
    "something far away": ("[tool.engineroom]\ncolour = 'blue'", '[tool.engineroom] has no key "colour".\n'),
    "a table below": ("[tool.engineroom.guard]\noff = true", 'has no key "guard"'),
}


@pytest.mark.parametrize(("text", "sentence"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_key_is_an_error_that_knows_what_was_meant(text: str, sentence: str, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    message = refusal_of(tmp_path)
    assert sentence in message
    assert f"{file} sets it; the keys are" in message


MALFORMED = {
    "a line without a value": ("[tool.engineroom]\n\nschema =\n", "at line 3"),
    "a key twice": ("a = 1\na = 2\n", "at line 2"),
    "an open string": ('a = "secret\n', "at line 1"),
    "an open list": ("a = [1,", "at end of document"),
    "a table that nests too deeply": ("a = " + "[" * 100_000, "nests too deeply"),
}


@pytest.mark.parametrize(("text", "where"), MALFORMED.values(), ids=MALFORMED)
def test_a_file_that_is_not_toml_is_an_error_with_its_line(text: str, where: str, tmp_path: Path) -> None:
    file = write(tmp_path, f"{text}\n# engineroom")
    message = refusal_of(tmp_path)
    assert message.startswith("pyproject.toml is not valid TOML.")
    assert str(file) in message
    assert where in message


@pytest.mark.parametrize(
    "text",
    ["tool = 1 # engineroom", "[tool]\nengineroom = 1", '[tool]\n"engine\\u0072oom" = 1', "tool = [] # engineroom"],
    ids=["tool", "the table", "the table in other letters", "a list of tools"],
)
def test_what_should_be_a_table_has_to_be_one(text: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    assert "not a table" in refusal_of(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}@localhost/reports",
        f"postgresql://localhost/reports?password={SECRET}",
        f"postgresql://localhost/reports?user=a&sslpassword={SECRET}",
        f"mysql://localhost/reports?PASSWD={SECRET}",
        f"postgresql://app:{SECRET}@[broken/reports",
    ],
)
def test_a_password_in_the_file_is_refused_and_not_repeated(
    url: str, tmp_path: Path, shown_by: Callable[[BaseException], str]
) -> None:
    write(tmp_path, f'[tool.engineroom]\nfence_allow = ["{url}"]\n')
    with pytest.raises(InvalidSettingError, match="entry 1 of fence_allow holds a password") as caught:
        read_project(tmp_path)
    assert SECRET not in shown_by(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        "var/*.db",
        "/srv/geo.db",
        "postgresql://app@localhost/reports",
        "mysql://h/d?passfile=/run/pw",
        "sqlite:///geo.db",
    ],
)
def test_what_names_no_password_is_no_password(entry: str, tmp_path: Path) -> None:
    write(tmp_path, f'[tool.engineroom]\nfence_allow = ["{entry}"]\n')
    assert read_project(tmp_path).fence_allow == (entry,)


@pytest.mark.parametrize("text", ["this is not TOML", "tool = 1"])
def test_a_file_that_does_not_name_engineroom_is_not_parsed(text: str, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    assert read_project(tmp_path) == Project(root=tmp_path, file=file)


def test_a_syntax_error_repeats_nothing_of_the_file(tmp_path: Path, shown_by: Callable[[BaseException], str]) -> None:
    write(tmp_path, f'[tool.engineroom]\n[deploy]\ntoken = "{SECRET}"\n{SECRET} {SECRET}\n')
    with pytest.raises(InvalidSettingError) as caught:
        read_project(tmp_path)
    assert SECRET not in shown_by(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_whatever_test_names_hold_the_word_test_is_among_it(value: object) -> None:
    from engineroom._project.table import _Key, _test_names  # noqa: PLC0415

    try:
        patterns = _test_names(_Key(Path("pyproject.toml"), "tool.engineroom", "test_names"), value)
    except InvalidSettingError:
        return
    assert patterns
    assert all("test" in pattern.casefold() for pattern in patterns)


# --- The project of the process ----------------------------------------------------------------------------------


def test_the_project_of_the_process_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, '[tool.engineroom]\nschema = "alembic"\n')
    first = get_project()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write(tmp_path, "this is not TOML")
    assert get_project() is first
    assert first.schema == "alembic"


def test_a_root_that_was_set_wins_over_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    write(tmp_path / "inner", "")
    assert get_project().root == tmp_path
    set_root(tmp_path / "inner" / "deep")
    assert get_project().root == tmp_path / "inner"
    _project.reset()
    assert get_project().root == tmp_path


def test_a_root_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    before = get_project()
    (tmp_path / "broken").mkdir()
    write(tmp_path / "broken", "= # engineroom")
    with pytest.raises(InvalidSettingError):
        set_root(tmp_path / "broken")
    assert get_project() is before


def test_every_thread_gets_the_same_project() -> None:
    found: list[Project] = []
    barrier = threading.Barrier(8)

    def find() -> None:
        barrier.wait()
        found.append(get_project())

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(project) for project in found}) == 1


def test_a_working_directory_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InvalidSettingError, match="does not exist any more"):
        get_project()
    monkeypatch.chdir(tmp_path)


def test_finding_the_project_loads_no_third_party() -> None:
    code = """
import sys
before = set(sys.modules)
from engineroom import _lifecycle
_lifecycle.choose_environment(_lifecycle.get_project(), {})
_lifecycle.enter_test_process()
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(loaded - sys.stdlib_module_names - {"engineroom"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# --- Small text files --------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert read_text_file(tmp_path / ".env") is None
    assert read_text_file(tmp_path / "no" / "such" / "directory" / ".env") is None


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("A=ä\n", encoding="utf-8")
    (tmp_path / ".env").symlink_to("real")
    assert read_text_file(tmp_path / ".env") == "A=ä\n"


def test_the_null_device_hides_a_file(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(os.devnull)
    assert read_text_file(tmp_path / ".env") == ""


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def bind_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))  # a socket's path may have 107 bytes only


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a directory": (Path.mkdir, "is a directory, not a regular file"),
    "a named pipe": (os.mkfifo, "is a named pipe, not a regular file"),
    "a socket": (bind_socket, "is a socket, not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "is a device, not a regular file"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "is a symbolic link to a file that does not exist"),
    "a link to itself": (make_loop, "cannot be opened: "),
    "Latin-1": (lambda path: path.write_bytes(b"A=gr\xfc\xdfe"), "is not encoded in UTF-8 (byte 4)"),
    "UTF-16 with a mark": (lambda path: path.write_text("A=1", encoding="utf-16"), "is not encoded in UTF-8 (byte 0)"),
    "UTF-16 without a mark": (lambda path: path.write_text("A=1", encoding="utf-16-le"), "holds a NUL character"),
}


@pytest.mark.parametrize(("make", "problem"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_an_error_that_names_it(
    make: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / ".env"
    make(path)
    with pytest.raises(InvalidSettingError, match=r"^\.env cannot be read\.") as caught:
        read_text_file(path)
    assert f"{path} {problem}" in str(caught.value)


def test_a_file_that_may_not_be_opened_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("A=1")

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything, so the refusal is played
    with pytest.raises(InvalidSettingError, match="cannot be opened: Permission denied"):
        read_text_file(tmp_path / ".env")


def test_the_bytes_of_a_file_in_another_encoding_are_not_shown(
    tmp_path: Path, shown_by: Callable[[BaseException], str]
) -> None:
    (tmp_path / ".env").write_bytes(f"PASSWORD={SECRET}\xfc".encode("latin-1"))
    with pytest.raises(InvalidSettingError) as caught:
        read_text_file(tmp_path / ".env")
    assert SECRET not in shown_by(caught.value)


def test_a_directory_in_the_place_of_the_file_does_not_let_the_search_go_on(tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "inner" / "pyproject.toml").mkdir(parents=True)
    assert "is a directory" in refusal_of(tmp_path / "inner")
