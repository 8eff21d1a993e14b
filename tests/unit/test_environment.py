"""The words for environments, and how the origin of a value is told."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom._environment import ALIASES, Environment, Origin, OriginKind, parse_environment
from engineroom.errors import ConfigurationError, UnknownEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN = {
    "development": Environment.DEVELOPMENT,
    "dev": Environment.DEVELOPMENT,
    "test": Environment.TEST,
    "testing": Environment.TEST,
    "staging": Environment.STAGING,
    "stage": Environment.STAGING,
    "production": Environment.PRODUCTION,
    "prod": Environment.PRODUCTION,
}


@pytest.mark.parametrize(("word", "environment"), KNOWN.items())
@pytest.mark.parametrize(
    "spell",
    [str, str.upper, str.title, " {} ".format, "\t{}\n".format],
    ids=["as is", "upper", "title", "space", "tab"],
)
def test_a_known_word_names_its_environment(word: str, environment: Environment, spell: type[str]) -> None:
    assert parse_environment(spell(word)) is environment


def test_the_words_of_the_contract_are_all_there_are() -> None:
    assert {**{str(environment): environment for environment in Environment}, **ALIASES} == KNOWN


@pytest.mark.parametrize("word", ["", " ", "\t\r\n", "\u00a0"])
def test_an_empty_word_is_development(word: str) -> None:
    assert parse_environment(word) is Environment.DEVELOPMENT


def test_an_environment_is_its_word() -> None:
    assert f"{Environment.TEST} {Environment.TEST!s}" == "test test"
    assert pickle.loads(pickle.dumps(Environment.TEST)) is Environment.TEST  # noqa: S301 - our own


UNKNOWN: Mapping[str, tuple[str, str]] = {
    "a typing mistake": ("prodution", "Did you mean production?"),
    "a plural": ("Tests", "Did you mean test?"),
    "a word of the house": ("qa", '"qa"'),
    "two words": ("pre-prod", '"pre-prod"'),
    "an environment and more": ("production2", "Did you mean production?"),
    "a number": ("1", "not a known word"),
    "something long": ("x" * 17, "not a known word"),
    "a secret": ("sk_live_4eC39HqL", "not a known word"),
    "a path": ("/srv/app", "not a known word"),
    "an inner space": ("pro duction", "not a known word"),
}


@pytest.mark.parametrize(("word", "part"), UNKNOWN.values(), ids=UNKNOWN)
def test_another_word_is_an_error_that_lists_the_known_ones(word: str, part: str) -> None:
    with pytest.raises(UnknownEnvironmentError, match=r"^APP_ENV does not name an environment") as caught:
        parse_environment(word)
    message = str(caught.value)
    assert part in message
    assert "the known words are development, test, staging, production, dev, testing, stage, prod." in message
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize("word", ["pre-prod", "proof", "nonprod", "live", "preproduction-eu"])
def test_no_advice_leads_to_production_by_a_vague_likeness(word: str) -> None:
    with pytest.raises(UnknownEnvironmentError) as caught:
        parse_environment(word)
    assert "=prod" not in str(caught.value)


def test_the_error_says_which_variable_and_where() -> None:
    with pytest.raises(UnknownEnvironmentError) as caught:
        parse_environment("qa", variable="FLASK_ENV", origin=Origin(OriginKind.FILE, ".env"))
    assert str(caught.value) == (
        "FLASK_ENV does not name an environment.\n\n"
        'Why: FLASK_ENV is "qa" (from .env); the known words are '
        "development, test, staging, production, dev, testing, stage, prod.\n"
        "Fix: - set FLASK_ENV to one of them: export FLASK_ENV=development, or\n"
        '     - map it in [tool.engineroom] of pyproject.toml: environments = { qa = "test" }.\n'
        "Ref: unknown-environment"
    )


def test_a_project_has_its_own_words_and_they_win() -> None:
    names = {" QA ": Environment.STAGING, "prod": Environment.TEST}
    assert parse_environment("qa", names=names) is Environment.STAGING
    assert parse_environment("Prod", names=names) is Environment.TEST
    assert parse_environment("staging", names=names) is Environment.STAGING
    with pytest.raises(UnknownEnvironmentError, match=r"prod, qa\."):
        parse_environment("other", names=names)


@given(st.text())
def test_a_word_names_an_environment_or_is_an_error(word: str) -> None:
    folded = word.strip().casefold()
    if folded in {*KNOWN, ""}:
        assert parse_environment(word) is KNOWN.get(folded, Environment.DEVELOPMENT)
    else:
        with pytest.raises(UnknownEnvironmentError) as caught:
            parse_environment(word)
        assert (folded in str(caught.value)) <= (folded.isascii() and len(folded) <= 16)


@given(st.from_regex(r"[A-Za-z0-9+/]{17,60}", fullmatch=True))
def test_what_could_be_a_secret_is_never_repeated(secret: str) -> None:
    with pytest.raises(UnknownEnvironmentError) as caught:
        parse_environment(secret)
    assert secret not in str(caught.value)
    assert secret.casefold() not in str(caught.value)


ORIGINS = {
    "from .env.test": Origin(OriginKind.FILE, ".env.test"),
    "from the variable DATABASE_URL": Origin(OriginKind.VARIABLE, "DATABASE_URL"),
    "passed to get_engine": Origin(OriginKind.ARGUMENT, "get_engine"),
    "passed as an argument": Origin(OriginKind.ARGUMENT),
    "by default (development.db)": Origin(OriginKind.DEFAULT, "development.db"),
    "by default": Origin(OriginKind.DEFAULT),
    "set by the pytest plugin": Origin(OriginKind.PLUGIN),
}


@pytest.mark.parametrize(("phrase", "origin"), ORIGINS.items())
def test_an_origin_is_told_as_a_phrase(phrase: str, origin: Origin) -> None:
    assert str(origin) == phrase


@pytest.mark.parametrize("kind", OriginKind)
@pytest.mark.parametrize("name", ["", "x"])
def test_every_kind_of_origin_has_a_phrase(kind: OriginKind, name: str) -> None:
    assert str(Origin(kind, name))


def test_the_words_load_nothing_that_costs() -> None:
    code = "import sys; before = {*sys.modules}; import engineroom._environment; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"pydantic", "pydantic_settings", "sqlalchemy", "pytest", "dotenv", "difflib", "tomllib"}
