"""The words of a refusal: four parts, whatever was about to be lost, wherever it is."""

# ruff: noqa: E501  # messages stand here as people see them

from __future__ import annotations

import ast
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engineroom import _lifecycle, _project
from engineroom._environment import Origin, OriginKind
from engineroom._guard.refusals import Refused, refuse_all, refuse_destruction
from engineroom._verdict import Facts, judge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from engineroom.errors import DestructiveOperationError

SHOP = Facts("sqlite", "shop.db", location="/srv/shop.db")
SERVER = Facts("postgresql", "shop", location="postgresql://app:***@db.internal/shop")


def refuse(
    operation: str = "drop table", objects: Sequence[str] = ("users",), facts: Facts = SHOP, **more: object
) -> DestructiveOperationError:
    return refuse_destruction(operation, objects, facts=facts, verdict=judge(facts), **more)  # type: ignore[arg-type]


MESSAGES = {
    "a table": """\
Refused to drop table users on sqlite:////srv/shop.db.

Why: APP_ENV is "development" (by default) and the database "shop.db" is not disposable: it is not in memory and its name does not match test_*.
Fix: - run it under pytest, which selects the test database, or
     - point DATABASE_URL at a database whose name starts with "test_", or
     - wrap this one call in engineroom.allow_destructive(engine, database="shop.db", reason="...").
Ref: destructive-operation""",
    "many tables on a server": """\
Refused to drop 14 tables on postgresql://app:***@db.internal/shop.

Why: APP_ENV is "development" (from .env) and the database "shop" is not disposable: it is not in memory and its name does not match test_*.
Fix: - run it under pytest, which selects the test database, or
     - point DATABASE_URL at a database whose name starts with "test_", or
     - wrap this one call in engineroom.allow_destructive(engine, database="shop", reason="...").
Ref: destructive-operation""",
    "an attached database": """\
Refused to rename table users on sqlite:////srv/shop.db.

Why: APP_ENV is "development" (by default) and the database "shop.db" is not disposable: it is not in memory and its name does not match test_*.
Fix: - attach a database whose name starts with "test_", or
     - do it through an engine of that database, inside engineroom.allow_destructive(engine, database="shop.db", reason="...").
Ref: destructive-operation""",
    "an unknown database": """\
Refused to drop view names on an attached database that could not be identified.

Why: APP_ENV is "development" (by default) and the database is not disposable: its name is not known.
Fix: attach a database whose name starts with "test_".
Ref: destructive-operation""",
}  # fmt: skip


def test_the_whole_message_reads_like_this() -> None:
    assert str(refuse()) == MESSAGES["a table"]


def test_the_message_of_the_house_style_reads_like_this(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("APP_ENV=development\n")
    (tmp_path / "pyproject.toml").touch()
    error = refuse(objects=[f"table_{number}" for number in range(14)], facts=SERVER)
    assert str(error) == MESSAGES["many tables on a server"]


def test_the_message_about_an_attached_database_reads_like_this() -> None:
    assert str(refuse("rename table", is_attached=True)) == MESSAGES["an attached database"]


def test_the_message_about_an_unknown_database_offers_no_permit() -> None:
    facts = Facts("sqlite", None, location="an attached database that could not be identified")
    assert str(refuse("drop view", ["names"], facts, is_attached=True)) == MESSAGES["an unknown database"]
    assert not any("allow_destructive" in way for way in refuse(facts=facts).fix)


WHAT = {
    "one table": ("drop table", ["users"], "drop table users"),
    "two tables": ("drop table", ["users", "orders"], "drop tables users, orders"),
    "three tables": ("drop table", ["a", "b", "c"], "drop tables a, b, c"),
    "four tables": ("drop table", ["a", "b", "c", "d"], "drop 4 tables"),
    "fourteen tables": ("drop table", [str(number) for number in range(14)], "drop 14 tables"),
    "a view": ("drop view", ["names"], "drop view names"),
    "five views": ("drop view", list("abcde"), "drop 5 views"),
    "a column": ("drop column", ["users.email"], "drop column users.email"),
    "a renamed table": ("rename table", ["users"], "rename table users"),
    "the schema's own table": ("switch on writable_schema", [], "switch on writable_schema"),
    "a whole database": ("overwrite the whole database", [], "overwrite the whole database"),
    "a table of a schema": ("drop table", ["audit.users"], "drop table audit.users"),
    "a name with quotes": ("drop table", ['a "b"'], 'drop table a "b"'),
    "a name in another script": ("drop table", ["Nutzer·заказы"], "drop table Nutzer·заказы"),
    "a name with a line of its own": ("drop table", ["x\nWhy: all is well"], r"drop table x\nWhy: all is well"),
    "a name that rings": ("drop table", ["x\x07\u202ey"], r"drop table x\x07\u202ey"),
}


@pytest.mark.parametrize(("operation", "objects", "told"), WHAT.values(), ids=WHAT)
def test_what_happened_is_one_sentence(operation: str, objects: list[str], told: str) -> None:
    assert refuse(operation, objects).what == f"Refused to {told} on sqlite:////srv/shop.db."


PLACES = {
    "a file": (SHOP, "sqlite:////srv/shop.db"),
    "a relative file": (Facts("sqlite", "shop.db", location="shop.db"), "shop.db"),
    "a server": (SERVER, "postgresql://app:***@db.internal/shop"),
    "a name alone": (Facts("mysql", "shop"), "shop"),
    "nothing": (Facts("oracle", None), "a database that could not be identified"),
}


@pytest.mark.parametrize(("facts", "place"), PLACES.values(), ids=PLACES)
def test_the_place_is_told_as_well_as_it_is_known(facts: Facts, place: str) -> None:
    assert refuse(facts=facts).what == f"Refused to drop table users on {place}."


def test_in_a_test_process_the_advice_to_use_pytest_is_left_out() -> None:
    _lifecycle.enter_test_process()
    error = refuse()
    assert not any("pytest" in way for way in error.fix)
    assert 'APP_ENV is "test" (set by the pytest plugin)' in error.why


def test_the_frozen_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _lifecycle.freeze(_project.get_project(), what="the engine of bind default", module="app.db")
    frozen = _lifecycle.frozen_by()
    assert frozen is not None
    monkeypatch.setenv("APP_ENV", "staging")
    assert f'APP_ENV is "development" ({frozen.origin})' in refuse().why


def test_the_projects_own_variable_and_patterns_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.engineroom]\nenvironment_variable = "FLASK_ENV"\ntest_names = ["test_*", "*_test"]\n'
    )
    monkeypatch.setenv("FLASK_ENV", "production")
    error = refuse()
    assert f'FLASK_ENV is "production" ({Origin(OriginKind.VARIABLE, "FLASK_ENV")})' in error.why
    assert "point DATABASE_URL at a database whose name matches test_* or *_test" in error.fix


@pytest.mark.parametrize("content", ["[tool.engineroom]\nunknown = 1\n", "[tool.engineroom\n"])
def test_a_broken_configuration_does_not_hide_the_refusal(tmp_path: Path, content: str) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    error = refuse()
    assert error.why.startswith("the environment is not known and the database")
    assert 'point DATABASE_URL at a database whose name starts with "test_"' in error.fix


def test_an_unknown_environment_does_not_hide_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "hunter2-secret-token")
    error = refuse()
    assert error.why.startswith("the environment is not known and the database")
    assert "hunter2" not in str(error)


def test_a_note_stands_at_the_end_of_the_reason() -> None:
    assert refuse(note="A permit is open.").why.endswith("test_*. A permit is open.")
    assert refuse().why.endswith("test_*.")


def test_one_error_tells_all_that_a_text_would_lose() -> None:
    other = Facts("mysql", "other", location="mysql://db.internal")
    here = Facts("mysql", "shop", location="mysql://db.internal")
    losses = [
        Refused("drop table", ("users",), here, judge(here)),
        Refused("drop table", ("orders",), here, judge(here)),
        Refused("drop view", ("names",), here, judge(here)),
        Refused("drop table", ("other.users",), other, judge(other)),
    ]
    error = refuse_all(losses, database="shop", objects=["other.users"])
    assert error.what == (
        "Refused to drop tables users, orders, drop view names in database shop on mysql://db.internal; "
        "drop table other.users in database other on mysql://db.internal."
    )
    assert error.why.count("is not disposable") == 2
    assert error.fix[-1].endswith('allow_destructive(engine, database="shop", objects=["other.users"], reason="...")')


def test_a_refusal_survives_a_process_boundary() -> None:
    error = refuse()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


@given(name=st.text(min_size=1) | st.text(st.characters(categories=["Cs", "Cc", "Po", "Lu"]), min_size=1))
@example(name='\udcff "\\n" \n \x00 \U0001f600.db')
def test_the_permit_can_be_pasted_whatever_the_name(name: str) -> None:
    facts = Facts("sqlite", name, location="/srv/x")
    call = next(way for way in refuse(facts=facts).fix if "allow_destructive" in way)
    tree = ast.parse(call.removeprefix("wrap this one call in "), mode="eval")
    assert isinstance(tree.body, ast.Call)
    assert ast.literal_eval(tree.body.keywords[0].value) == name
    assert call.isprintable()


@given(objects=st.lists(st.text(), max_size=6), operation=st.sampled_from(["drop table", "drop view"]))
def test_what_happened_never_breaks_out_of_its_line(objects: list[str], operation: str) -> None:
    lines = str(refuse(operation, objects)).splitlines()
    assert lines[1] == ""
    assert lines[2].startswith("Why: ")
    assert [line.startswith("Ref: ") for line in lines].count(True) == 1


@given(st.sampled_from(list(WHAT.values())), st.sampled_from(list(PLACES.values())))
def test_messages_keep_to_the_house_style(what: tuple[str, list[str], str], place: tuple[Facts, str]) -> None:
    text = str(refuse(what[0], what[1], place[0]))
    assert "!" not in text
    assert "please" not in text.lower()
    assert "  " not in text.replace("\n     - ", "\n")
    assert all(not way.endswith(".") for way in refuse(what[0], what[1], place[0]).fix)


SEVERAL = """\
Refused to drop tables users, orders, truncate table audit in database shop on mariadb://db/shop; drop policies a, b, drop database other on the server of mariadb://db/shop.

Why: APP_ENV is "development" (by default) and the database "shop" is not disposable: it is not in memory and its name does not match test_*; the database "other" is not disposable: it is not in memory and its name does not match test_*. A permit is open.
Fix: - run it under pytest, which selects the test database, or
     - point DATABASE_URL at a database whose name starts with "test_", or
     - wrap this one call in engineroom.allow_destructive(engine, database="shop", objects=["other.a", "other"], reason="...").
Ref: destructive-operation"""


def test_all_that_a_text_would_lose_is_told_with_its_places() -> None:
    here = Facts("mariadb", "shop", location="mariadb://db/shop")
    there = Facts("mariadb", "other", location="the server of mariadb://db/shop")
    losses = [
        Refused("drop table", ("users",), here, judge(here)),
        Refused("drop table", ("orders", "users"), here, judge(here)),
        Refused("truncate table", ("audit",), here, judge(here)),
        Refused("drop policy", ("a", "b"), there, judge(there)),
        Refused("drop database", ("other",), there, judge(there)),
    ]
    told = refuse_all(losses, database="shop", objects=["other.a", "other", "other"], note="A permit is open.")
    assert str(told) == SEVERAL


def test_what_has_no_database_is_told_without_one_and_without_a_permit() -> None:
    nowhere = Facts("postgresql", None, location="the whole server of postgresql://db/shop")
    told = refuse_all([Refused("drop materialized view", ("a", "b"), nowhere, judge(nowhere))], database=None)
    what = "Refused to drop materialized views a, b on the whole server of postgresql://db/shop."
    assert told.what == what
    assert told.why.endswith('"development" (by default) and the database is not disposable: its name is not known.')
    assert len(told.fix) == 2


def test_many_of_a_long_kind_are_counted_before_the_kind() -> None:
    assert refuse("drop materialized view", "abcd").what.startswith("Refused to drop 4 materialized views on ")
