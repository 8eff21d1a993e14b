"""The errors: their tree, their four parts, and what may not be in them."""

from __future__ import annotations

import copy
import pickle
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engineroom
from engineroom import errors
from engineroom.errors import EngineroomError, FenceError

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = [getattr(errors, name) for name in errors.__all__]
TREE = {
    "ConfigurationError": ["UnknownEnvironmentError", "MissingSettingError", "InvalidSettingError"],
    "RefusalError": ["DestructiveOperationError", "UnsafeTestDatabaseError", "FenceError"],
    "LifecycleError": ["EnvironmentChangedError", "BootstrapTooLateError"],
    "MissingDependencyError": [],
}


def make(kind: type[EngineroomError]) -> EngineroomError:
    return kind("It happened.", why="it had to.", fix=["do this", "do that"])


def pickle_and_back(error: EngineroomError) -> EngineroomError:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert isinstance(again, EngineroomError)
    return again


# --- The tree ----------------------------------------------------------------------------------------------------


def test_the_tree_is_the_one_of_the_contract() -> None:
    names = {kind.__name__ for kind in KINDS}
    assert names == {"EngineroomError", *TREE, *(leaf for leaves in TREE.values() for leaf in leaves)}
    for parent, leaves in TREE.items():
        assert getattr(errors, parent).__bases__ == (EngineroomError,)
        for leaf in leaves:
            assert getattr(errors, leaf).__bases__ == (getattr(errors, parent),)


def test_the_drawing_at_the_top_of_the_module_is_the_tree() -> None:
    drawn = re.findall(
        r"(\w+Error)", (errors.__doc__ or "").partition("\n\n    A message")[0].partition("A message")[0]
    )
    assert drawn[1:] == [name for parent, leaves in TREE.items() for name in (parent, *leaves)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_is_one_that_other_code_retries_or_ignores(kind: type[EngineroomError]) -> None:
    # SQLAlchemy wraps DBAPI errors, PyMySQL turns an OSError into "can't connect", rmtree() may ignore one.
    assert not issubclass(kind, OSError | ValueError | KeyError | AttributeError | RuntimeError | AssertionError)
    assert [base.__module__ for base in kind.__mro__ if base.__module__ not in {"builtins", "engineroom.errors"}] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_of_its_own_in_kebab_case(kind: type[EngineroomError]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)
    assert "code" in vars(kind)
    assert [other for other in KINDS if other.code == kind.code] == [kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_is_the_name_of_the_class(kind: type[EngineroomError]) -> None:
    words = re.findall("[A-Z][a-z]+", kind.__name__.removesuffix("Error"))
    assert kind.code == "-".join(words).lower()


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_stands_at_the_front_door(kind: type[EngineroomError]) -> None:
    assert getattr(engineroom, kind.__name__) is kind
    assert kind.__doc__


# --- The message -------------------------------------------------------------------------------------------------

MESSAGES = {
    "no way out": ([], "It happened.\n\nWhy: it had to.\nRef: engineroom"),
    "one way out": (["do this"], "It happened.\n\nWhy: it had to.\nFix: do this.\nRef: engineroom"),
    "two": (["this", "that"], "It happened.\n\nWhy: it had to.\nFix: - this, or\n     - that.\nRef: engineroom"),
    "three": (
        ["one", "two", "three"],
        "It happened.\n\nWhy: it had to.\nFix: - one, or\n     - two, or\n     - three.\nRef: engineroom",
    ),
}


@pytest.mark.parametrize(("fix", "message"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_has_its_parts_in_order(fix: list[str], message: str) -> None:
    assert str(EngineroomError("It happened.", why="it had to.", fix=fix)) == message


def test_a_message_offers_three_ways_at_most() -> None:
    with pytest.raises(ValueError, match="at most 3 ways out, not 4"):
        EngineroomError("It happened.", why="it had to.", fix=["a", "b", "c", "d"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_is_the_code(kind: type[EngineroomError]) -> None:
    assert str(make(kind)).endswith(f"\nRef: {kind.code}")


def test_the_message_of_the_style_guide_comes_out_letter_by_letter() -> None:
    error = errors.DestructiveOperationError(
        "Refused to drop 14 tables on postgresql://app:***@db.internal/shop.",
        why=(
            'APP_ENV is "development" (from .env) and the database "shop" is not disposable: '
            "it is not in memory and its name does not match test_*."
        ),
        fix=[
            "run it under pytest, which selects the test database",
            'point DATABASE_URL at a database whose name starts with "test_"',
            'wrap this one call in engineroom.allow_destructive(engine, database="shop", reason="...")',
        ],
    )
    assert (
        str(error)
        == """\
Refused to drop 14 tables on postgresql://app:***@db.internal/shop.

Why: APP_ENV is "development" (from .env) and the database "shop" is not disposable: it is not in memory and its name \
does not match test_*.
Fix: - run it under pytest, which selects the test database, or
     - point DATABASE_URL at a database whose name starts with "test_", or
     - wrap this one call in engineroom.allow_destructive(engine, database="shop", reason="...").
Ref: destructive-operation"""
    )


# --- Crossing a boundary -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "cross",
    [pickle_and_back, copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_an_error_crosses_a_process_boundary_whole(
    kind: type[EngineroomError], cross: Callable[[EngineroomError], EngineroomError]
) -> None:
    error = make(kind)
    error.add_note("a note")
    error.extra = "attached later"  # type: ignore[attr-defined]
    again = cross(error)
    assert type(again) is kind
    assert (str(again), again.what, again.why, again.fix) == (str(error), error.what, error.why, error.fix)
    assert again.args == error.args
    assert again.__notes__ == ["a note"]
    assert vars(again)["extra"] == "attached later"


@given(what=st.text(), why=st.text(), fix=st.lists(st.text(), max_size=3))
def test_any_text_survives_the_boundary(what: str, why: str, fix: list[str]) -> None:
    error = FenceError(what, why=why, fix=fix)
    assert str(pickle_and_back(error)) == str(error)
    assert all(part in str(error) for part in (what, why, *fix))


def test_the_ways_out_cannot_be_changed_from_outside() -> None:
    fix = ["do this"]
    error = EngineroomError("It happened.", why="it had to.", fix=fix)
    fix.append("do that")
    assert error.fix == ("do this",)


# --- Nothing around it -------------------------------------------------------------------------------------------


def test_an_error_can_be_freed_from_the_frames_and_the_errors_behind_it() -> None:
    def raise_it(secret: str) -> None:
        try:
            int(secret)
        except ValueError as problem:
            raise EngineroomError("It happened.", why="it had to.") from problem

    try:
        raise_it("correct-horse-battery")
    except EngineroomError as error:
        caught = error
    freed = caught.without_traceback()
    assert freed is caught
    assert (freed.__traceback__, freed.__cause__, freed.__context__) == (None, None, None)
