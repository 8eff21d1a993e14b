"""The layers of settings: which files count, which one wins, and what a file may hold."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values
from dotenv.parser import parse_stream
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engineroom._environment import Environment, Origin, OriginKind
from engineroom._layers import Layer, Layers, Value, file_names, read_file_layer, read_layers, read_process_layer
from engineroom._project import Project
from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SECRET = "correct-horse-battery"
ALL_FILES = [".env", ".env.local", ".env.{0}", ".env.{0}.local"]


def read(root: Path, environment: Environment = Environment.DEVELOPMENT, **environ: str) -> Layers:
    return read_layers(Project(root=root), environment, environ)


def text_of(layers: Layers, name: str) -> str | None:
    value = layers.get(name)
    return None if value is None else value.text


def write(root: Path, **files: str) -> None:
    """Write files: ``env`` is ``.env``, ``env_test_local`` is ``.env.test.local``."""
    for name, text in files.items():
        (root / f".{name.replace('_', '.')}").write_text(text, encoding="utf-8")


# --- Which layer wins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", Environment)
def test_the_files_of_each_environment_are_the_ones_of_the_contract(environment: Environment) -> None:
    expected = [name.format(environment) for name in ALL_FILES]
    if environment is Environment.TEST:
        expected.remove(".env.local")
    assert list(reversed(file_names(environment))) == expected


@pytest.mark.parametrize("environment", Environment)
def test_each_layer_wins_over_all_below_it(environment: Environment, tmp_path: Path) -> None:
    for number, name in enumerate(reversed(file_names(environment))):
        (tmp_path / name).write_text(f"LEVEL={number} {name}\n")
        value = read(tmp_path, environment).get("LEVEL")
        assert value == Value(f"{number} {name}", Origin(OriginKind.FILE, name))
    top = read(tmp_path, environment, LEVEL="exported").get("LEVEL")
    assert top == Value("exported", Origin(OriginKind.VARIABLE, "LEVEL"))


@pytest.mark.parametrize(
    "present", [set(chosen) for size in range(5) for chosen in itertools.combinations(range(4), size)], ids=str
)
def test_any_set_of_files_gives_the_highest_one_that_is_there(present: set[int], tmp_path: Path) -> None:
    names = [name.format("staging") for name in ALL_FILES]
    for number in present:
        (tmp_path / names[number]).write_text(f"A={names[number]}\n")
    assert text_of(read(tmp_path, Environment.STAGING), "A") == (names[max(present)] if present else None)


def test_under_test_the_file_of_one_person_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, env="A=everybody\n", env_local="A=me\nB=me\n")
    assert text_of(read(tmp_path, Environment.TEST), "A") == "everybody"
    assert text_of(read(tmp_path, Environment.TEST), "B") is None
    assert text_of(read(tmp_path, Environment.DEVELOPMENT), "A") == "me"


def test_under_test_a_broken_file_of_one_person_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".env.local").mkdir()
    assert text_of(read(tmp_path, Environment.TEST), "A") is None


def test_the_files_of_other_environments_are_not_even_opened(tmp_path: Path) -> None:
    write(tmp_path, env_production="A=live\n", env_prod="A=live\n")
    (tmp_path / ".env.staging").mkdir()
    assert text_of(read(tmp_path), "A") is None


def test_only_the_full_word_of_an_environment_names_a_file(tmp_path: Path) -> None:
    write(tmp_path, env_prod="A=short\n", env_production="A=full\n")
    assert text_of(read(tmp_path, Environment.PRODUCTION), "A") == "full"


def test_the_root_and_not_the_working_directory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, env="A=root\n")
    write(tmp_path / "sub", env="A=sub\n")
    monkeypatch.chdir(tmp_path / "sub")
    assert text_of(read(tmp_path), "A") == "root"


def test_a_single_file_can_be_asked(tmp_path: Path) -> None:
    write(tmp_path, env="URL=low\n", env_test="URL=test\nEMPTY=\n", env_test_local="URL=mine\n")
    layers = read(tmp_path, Environment.TEST, URL="exported")
    assert layers.get_from_file("URL", ".env.test") == Value("test", Origin(OriginKind.FILE, ".env.test"))
    assert layers.get_from_file("url", ".env.test.local") == Value("mine", Origin(OriginKind.FILE, ".env.test.local"))
    assert layers.get_from_file("EMPTY", ".env.test") is None
    assert layers.get_from_file("URL", ".env.local") is None
    assert layers.get_from_file("OTHER", ".env") is None


def test_asking_for_no_file_is_not_asking_the_process(tmp_path: Path) -> None:
    assert read(tmp_path, URL="exported").get_from_file("URL", ".env") is None


# --- Names and empty values --------------------------------------------------------------------------------------

NAMES = {
    "the same name": ({"KEY": "v"}, "KEY", ("v", "KEY")),
    "lower case in the layer": ({"key": "v"}, "KEY", ("v", "key")),
    "lower case in the question": ({"KEY": "v"}, "key", ("v", "KEY")),
    "both: the very same wins": ({"key": "low", "KEY": "up"}, "key", ("low", "key")),
    "both: capitals win for another spelling": ({"key": "low", "KEY": "up"}, "Key", ("up", "KEY")),
    "an empty value": ({"KEY": ""}, "KEY", None),
    "an empty value beside another spelling": ({"KEY": "", "key": "v"}, "KEY", ("v", "key")),
    "mere space is a value": ({"KEY": " "}, "KEY", (" ", "KEY")),
    "another name": ({"KEYS": "v"}, "KEY", None),
    "nothing at all": ({}, "KEY", None),
}


@pytest.mark.parametrize(("values", "name", "expected"), NAMES.values(), ids=NAMES)
def test_a_name_finds_its_value(values: Mapping[str, str], name: str, expected: tuple[str, str] | None) -> None:
    found = read_process_layer(values).get(name)
    assert (found and (found.text, found.origin.name)) == expected


def test_an_empty_value_lets_the_layer_below_speak(tmp_path: Path) -> None:
    write(tmp_path, env="A=low\n", env_local="A=\n")
    assert read(tmp_path, A="").get("A") == Value("low", Origin(OriginKind.FILE, ".env"))


def test_the_process_environment_is_read_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_LAYERED_NAME", "one")
    layers = read_layers(Project(root=tmp_path), Environment.DEVELOPMENT)
    monkeypatch.setenv("SOME_LAYERED_NAME", "two")
    assert text_of(layers, "SOME_LAYERED_NAME") == "one"


def test_no_text_is_in_a_repr(tmp_path: Path) -> None:
    write(tmp_path, env=f"PASSWORD={SECRET}\n")
    layers = read(tmp_path, TOKEN=SECRET)
    shown = repr([layers, layers.get("PASSWORD"), layers.get("TOKEN"), *layers.layers])
    assert SECRET not in shown
    assert "PASSWORD" not in repr(layers)
    assert ".env" in shown


# --- What a file may hold ----------------------------------------------------------------------------------------

SYNTAX = {
    "plain": ("A=1", "1"),
    "with export": ("export A=1", "1"),
    "with space": ("  A = 1  ", "1"),
    "in double quotes": ('A="a b # c"', "a b # c"),
    "in single quotes": ("A='a \"b\"'", 'a "b"'),
    "over lines": ('A="a\nb"', "a\nb"),
    "with an escape": (r'A="a\nb"', "a\nb"),
    "with a comment": ("A=1 # one", "1"),
    "with a sign in it": ("A=postgresql://u:p@h/d?x=1#y", "postgresql://u:p@h/d?x=1#y"),
    "twice": ("A=1\nA=2", "2"),
    "empty": ("A=", None),
    "in empty quotes": ('A=""', None),
    "without a sign": ("A", None),
    "in a comment": ("#A=1", None),
    "after a mark": ("\ufeffA=1", "1"),
    "with Windows line ends": ("B=0\r\nA=1\r\nC=2\r\n", "1"),
    "with old Mac line ends": ("B=0\rA=1\rC=2\r", "1"),
    "without a line end": ("B=0\nA=1", "1"),
    "with umlauts": ("A=grüße", "grüße"),
    "of what stands above": ("B=b\nA=${B}c", "bc"),
    "of what stands below": ("A=${B}c\nB=b", "c"),
    "of the process": ("A=${FROM_PROCESS}", "exported"),
    "of the file before the process": ("FROM_PROCESS=file\nA=${FROM_PROCESS}", "file"),
    "of a default": ("A=${NOT_THERE:-fallback}", "fallback"),
    "taken back": ("A=1\nA", None),
    "of a dollar": ("A=$B$", "$B$"),
}


@pytest.mark.parametrize(("line", "expected"), SYNTAX.values(), ids=SYNTAX)
def test_a_value_is_read_from_a_line(line: str, expected: str | None, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(line.encode())
    assert text_of(read(tmp_path, FROM_PROCESS="exported"), "A") == expected


def test_a_value_may_use_what_a_lower_file_says(tmp_path: Path) -> None:
    write(tmp_path, env="HOST=low\nNAME=shop\n", env_local="HOST=mine\n")
    write(tmp_path, env_development="URL=sqlite://${HOST}/${NAME}/${TOP}\n", env_development_local="TOP=never\n")
    assert text_of(read(tmp_path), "URL") == "sqlite://mine/shop/"


def test_the_process_wins_over_lower_files_in_a_reference(tmp_path: Path) -> None:
    write(tmp_path, env="HOST=low\n", env_test="URL=${HOST}\n")
    assert text_of(read(tmp_path, Environment.TEST, HOST="exported"), "URL") == "exported"


LINES = st.lists(
    st.one_of(
        st.from_regex(r"[A-C]=[a-z ]{0,5}", fullmatch=True),
        st.from_regex(r"(export )?[A-C] ?= ?(\"[a-z$#\\n]{0,5}\"|'[a-z$# ]{0,5}')( # x)?", fullmatch=True),
        st.from_regex(r"[A-C]=\$\{[A-D](:-[a-z]{0,3})?\}", fullmatch=True),
        st.sampled_from(["", "# A=1", "A", "  "]),
    ),
    max_size=6,
)


@given(lines=LINES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_readable_file_is_read_as_python_dotenv_reads_it(
    lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D", "exported")
    text = "\n".join(lines)
    (tmp_path / ".env").write_text(text)
    assume(not any(binding.error for binding in parse_stream(io.StringIO(text))))
    layer = read_file_layer(Project(root=tmp_path), ".env", {"D": "exported"})
    expected = dotenv_values(stream=io.StringIO(text))
    assert layer is not None
    for name in "ABC":
        assert (layer.values.get(name) or None) == (expected.get(name) or None)


BROKEN = {
    "a word that is no name": ("A=1\nsource other.env\n", 2),
    "an open quote": ('A=1\n\n\nURL="postgresql://x\n', 4),
    "text behind a quote": ("A='1' 2\n", 1),
    "a sign alone": ("=1\n", 1),
    "a line of a shell script": ("# x\n\n  if [ -f x ]; then\n", 3),
    "a YAML line": ("\n\nA: 1\n", 3),
    "behind Windows line ends": ("A=1\r\n\r\nB b\r\n", 3),
}


@pytest.mark.parametrize(("text", "line"), BROKEN.values(), ids=BROKEN)
def test_a_line_that_cannot_be_read_is_an_error_and_not_skipped(text: str, line: int, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(text.encode())
    with pytest.raises(InvalidSettingError, match=r"^\.env cannot be read\.") as caught:
        read(tmp_path)
    assert f"line {line} of {tmp_path / '.env'} does not have the form NAME=value" in str(caught.value)


@pytest.mark.parametrize("name", [name.format("development") for name in ALL_FILES])
def test_an_unreadable_layer_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InvalidSettingError, match="cannot be read") as caught:
        read(tmp_path)
    assert f"{tmp_path / name} is a directory" in str(caught.value)


def test_a_broken_file_shows_none_of_its_values(tmp_path: Path, shown_by: Callable[[BaseException], str]) -> None:
    write(tmp_path, env=f"PASSWORD={SECRET}\n", env_local=f'TOKEN={SECRET}\nURL="{SECRET}\n')
    with pytest.raises(InvalidSettingError) as caught:
        read(tmp_path, KEY=SECRET)
    assert SECRET not in shown_by(caught.value)


def test_the_files_are_not_parsed_where_there_are_none(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from engineroom._environment import Environment
from engineroom._layers import read_layers
from engineroom._project import Project
read_layers(Project(root=Path.cwd()), Environment.TEST)
print("dotenv" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "False"


def test_a_layer_says_where_a_value_stands() -> None:
    assert str(Layer(OriginKind.FILE, ".env.test").origin_of("A")) == "from .env.test"
    assert str(Layer(OriginKind.VARIABLE).origin_of("A")) == "from the variable A"
