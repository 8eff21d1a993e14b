"""``.env.example``: what it says is what the code reads."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from sqlalchemy import make_url

from engineroom._binds import test_variable_of as name_test_variable  # no test, in spite of its name
from engineroom._binds import variable_of
from engineroom._environment import ALIASES, Environment, parse_environment
from engineroom._layers import file_names, read_layers
from engineroom._lifecycle import choose_environment
from engineroom._project import Project
from engineroom._verdict import Facts, judge
from engineroom.settings import Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
TEXT = EXAMPLE.read_text(encoding="utf-8")
UNCOMMENTED = re.sub(r"(?m)^#(?=[A-Z_]+=)", "", TEXT)
VALUES = {name: value or "" for name, value in dotenv_values(stream=io.StringIO(UNCOMMENTED)).items()}
URLS = re.findall(r"(?m)^#([A-Z_]*DATABASE_URL)=(.*)$", TEXT)


def test_a_plain_copy_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(TEXT)
    layers = read_layers(Project(root=tmp_path), Environment.DEVELOPMENT, {})
    assert [dict(layer.values) for layer in layers.layers] == [{}, {}]
    assert str(Settings().origin("database_url")) == "by default"


def test_every_line_is_a_comment_or_an_assignment() -> None:
    assert [line for line in TEXT.splitlines() if line and not line.startswith("#")] == []
    assert max(map(len, TEXT.splitlines())) <= 120


def test_it_names_the_variables_that_the_code_reads() -> None:
    binds = ("default", "analytics")
    expected = {Project(root=Path()).environment_variable, *map(variable_of, binds), *map(name_test_variable, binds)}
    assert set(VALUES) == expected


def test_the_environment_is_the_default_and_every_word_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(UNCOMMENTED)
    choice = choose_environment(Project(root=tmp_path), {})
    assert choice.environment is parse_environment("") is Environment.DEVELOPMENT
    assert str(choice.origin) == "from .env"
    for word in [*Environment, *ALIASES]:
        assert re.search(rf"\b{word}\b", TEXT), word


def test_it_names_the_files_in_their_order() -> None:
    said = TEXT.partition("Files, the lowest first: ")[2].partition(";")[0].replace("\n#", "")
    names = [name.partition(" (")[0] for name in said.split(", ")]
    files = [name.replace("staging", "{environment}") for name in reversed(file_names(Environment.STAGING))]
    assert names == files
    assert ".env.local (not under test)" in said
    assert ".env.local" not in file_names(Environment.TEST)


@pytest.mark.parametrize(("name", "url"), URLS, ids=[f"{name} {url.partition(':')[0]}" for name, url in URLS])
def test_every_url_is_one_and_every_test_database_is_disposable(name: str, url: str) -> None:
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    verdict = judge(Facts(backend=backend, database=parsed.database), Project(root=Path()).test_names)
    assert verdict.disposable is name.startswith("TEST_")


def test_settings_read_what_it_says(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(UNCOMMENTED)
    settings = Settings()
    assert settings.app_env is Environment.DEVELOPMENT
    assert settings.database_url == make_url(VALUES["DATABASE_URL"])
    assert str(settings.origin("database_url")) == "from .env"
