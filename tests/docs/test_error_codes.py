"""Every error has a stable code, and a section of that name in the reference."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from engineroom import errors
from engineroom.errors import EngineroomError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "errors.md"
KINDS: list[type[EngineroomError]] = [getattr(errors, name) for name in errors.__all__]
CODES = {kind: kind.code for kind in KINDS}
SECTIONS: dict[str, str] = {
    section["code"]: section["body"]
    for section in re.finditer(
        r"^\((?P<label>[\w-]+)\)=\n##+ (?P<code>[\w-]+)\n(?P<body>.*?)(?=^\([\w-]+\)=|\Z)",
        PAGE.read_text(),
        re.DOTALL | re.MULTILINE,
    )
    if section["label"] == section["code"]
}
STABLE = {
    "BootstrapTooLateError": "bootstrap-too-late",
    "ConfigurationError": "configuration",
    "DestructiveOperationError": "destructive-operation",
    "EngineroomError": "engineroom",
    "EnvironmentChangedError": "environment-changed",
    "FenceError": "fence",
    "InvalidSettingError": "invalid-setting",
    "LifecycleError": "lifecycle",
    "MissingDependencyError": "missing-dependency",
    "MissingSettingError": "missing-setting",
    "RefusalError": "refusal",
    "UnknownEnvironmentError": "unknown-environment",
    "UnsafeTestDatabaseError": "unsafe-test-database",
}


def test_the_codes_are_those_that_people_searched_for_yesterday() -> None:
    assert {kind.__name__: code for kind, code in CODES.items()} == STABLE


def test_each_code_is_its_own() -> None:
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_code_has_a_section_that_names_its_class(kind: type[EngineroomError]) -> None:
    assert kind.code in SECTIONS
    assert f"`{kind.__name__}`" in SECTIONS[kind.code]


def test_no_section_outlives_its_code() -> None:
    assert set(SECTIONS) == set(CODES.values())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_ours_and_none_that_code_retries_or_ignores(kind: type[EngineroomError]) -> None:
    assert issubclass(kind, EngineroomError)
    assert not issubclass(kind, OSError | ValueError | LookupError | RuntimeError | AssertionError)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_crosses_a_process_whole(kind: type[EngineroomError]) -> None:
    error = kind("It happened.", why="it was so.", fix=["do this", "do that"])
    error.add_note("and a note")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), str(copy), copy.fix, copy.__notes__) == (kind, str(error), error.fix, ["and a note"])
    assert str(copy).endswith(f"Ref: {kind.code}")
