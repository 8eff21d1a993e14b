"""What a watch answers when SQLite asks, question by question, with the codes and texts of SQLite's authorizer."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

from engineroom import allow_destructive, guard
from engineroom._guard.answers import Answers, Refusal, answer_quickly
from engineroom._guard.schemas import UNKNOWN, Schemas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engineroom._permit import Permit

DENY, OK = sqlite3.SQLITE_DENY, sqlite3.SQLITE_OK


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
def schemas(folder: Path) -> Iterator[Schemas]:
    """A protected database, a disposable one as ``tests``, and another protected one as ``stock``."""
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.execute("ATTACH ? AS tests", (str(folder / "test_shop.db"),))
        connection.execute("ATTACH ? AS stock", (str(folder / "stock.db"),))
        found = Schemas(in_memory=False)
        found.identify(connection)
        yield found


@pytest.fixture
def answers(schemas: Schemas) -> Answers:
    return Answers(schemas)


def permit(folder: Path, operations: str | None = None, objects: str | None = None) -> Permit:
    engine = guard(create_engine(f"sqlite:///{folder / 'shop.db'}"))
    return allow_destructive(engine, database="shop.db", reason="a test", operations=operations, objects=objects)


def ask(answers: Answers, action: int, first: str | None, second: str | None = None, third: str | None = None) -> int:
    return answers.authorize(action, first, second, third, None)


def test_nothing_is_known_at_first(answers: Answers, schemas: Schemas) -> None:
    assert answers.needs_attention is False
    assert answers.is_overseen is False
    assert answers.chained is None
    assert answers.refusal is None
    assert answers.main is schemas.main
    answers.when_created()
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", None, "") == DENY


def test_only_the_main_database_is_the_main_one(answers: Answers, schemas: Schemas) -> None:
    assert answers.is_main(schemas.main)
    assert answers.is_main(schemas.main._replace())
    assert not answers.is_main(schemas.databases[1])
    assert not answers.is_main(schemas.main._replace(path="/other"))
    assert not answers.is_main(schemas.main._replace(facts=UNKNOWN))


@pytest.mark.parametrize(
    ("action", "operation"),
    [
        (sqlite3.SQLITE_DROP_TABLE, "drop table"),
        (sqlite3.SQLITE_DROP_VTABLE, "drop table"),
        (sqlite3.SQLITE_DROP_VIEW, "drop view"),
        (sqlite3.SQLITE_DROP_TRIGGER, "drop trigger"),
    ],
)
def test_a_drop_is_denied_where_something_is_lost(
    answers: Answers, schemas: Schemas, action: int, operation: str
) -> None:
    assert ask(answers, action, "users", "fts5", "tests") == OK
    assert ask(answers, action, "users", "fts5", "temp") == OK
    assert answers.refusal is None
    assert ask(answers, action, "users", "fts5", "main") == DENY
    assert answers.refusal == Refusal(operation, ("users",), schemas.main)
    assert ask(answers, action, "users", "fts5", "STOCK") == DENY
    assert answers.refusal == Refusal(operation, ("users",), schemas.databases[2])
    assert ask(answers, action, None, None, None) == DENY
    assert answers.refusal == Refusal(operation, ("",), schemas.main)


def test_the_triggers_of_a_table_go_with_it(answers: Answers) -> None:
    own(answers, "users")
    assert ask(answers, sqlite3.SQLITE_DROP_TABLE, "users", None, "main") == OK
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", "USERS", "MAIN") == OK
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", "orders", "main") == DENY
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", "users", "stock") == DENY
    assert ask(answers, sqlite3.SQLITE_DROP_TABLE, "orders", None, "main") == DENY
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", "orders", "main") == DENY
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", "users", "main") == DENY
    assert ask(answers, sqlite3.SQLITE_DROP_TABLE, "users", None, "main") == OK
    ask(answers, sqlite3.SQLITE_DETACH, "tests")
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", "users", "main") == DENY


def test_a_table_and_its_triggers_are_those_of_one_schema(answers: Answers) -> None:
    own(answers, "users", "stock")
    assert ask(answers, sqlite3.SQLITE_DROP_TABLE, "users", None, "main") == DENY
    assert ask(answers, sqlite3.SQLITE_DROP_TABLE, "users", None, "stock") == OK
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", "users", "main") == DENY
    assert ask(answers, sqlite3.SQLITE_DROP_TRIGGER, "log", "users", "stock") == OK


def own(answers: Answers, name: str, schema: str = "main") -> None:
    answers.is_overseen = True
    assert ask(answers, sqlite3.SQLITE_CREATE_TABLE, name, None, schema) == OK
    assert ask(answers, sqlite3.SQLITE_UPDATE, "sqlite_master", "type", schema) == OK


def test_what_is_created_may_go_once_the_schema_table_is_written(answers: Answers) -> None:
    calls: list[bool] = []
    answers.when_created = lambda: calls.append(True)
    ask(answers, sqlite3.SQLITE_CREATE_TABLE, "made", None, "main")
    ask(answers, sqlite3.SQLITE_UPDATE, "sqlite_master", None, "main")
    assert not answers.needs_attention
    assert answers.would_lose("drop table", "made") is answers.main
    answers.is_overseen = True
    ask(answers, sqlite3.SQLITE_CREATE_TABLE, "made", None, "tests")
    assert not answers.needs_attention
    assert not calls
    ask(answers, sqlite3.SQLITE_CREATE_TABLE, "made", None, "main")
    assert answers.needs_attention is True
    assert calls == [True]
    ask(answers, sqlite3.SQLITE_UPDATE, "users", None, "main")
    assert answers.would_lose("drop table", "made") is answers.main
    ask(answers, sqlite3.SQLITE_UPDATE, "sqlite_master", None, "main")
    assert answers.would_lose("drop table", "MADE") is None
    assert answers.would_lose("drop trigger", "made") is answers.main
    own(answers, "other")
    assert calls == [True]
    assert ask(answers, sqlite3.SQLITE_DROP_TABLE, "made", None, "main") == OK
    assert answers.refusal is None


@pytest.mark.parametrize(
    ("action", "is_told"),
    [
        (sqlite3.SQLITE_CREATE_VTABLE, False),
        (sqlite3.SQLITE_CREATE_VIEW, False),
        (sqlite3.SQLITE_CREATE_TRIGGER, True),
    ],
)
def test_a_trigger_is_created_at_once_and_all_else_later(answers: Answers, action: int, *, is_told: bool) -> None:
    operation = "drop trigger" if is_told else "drop table"
    answers.is_overseen = True
    ask(answers, action, "made", "users", "STOCK")
    assert (answers.would_lose(operation, "made", "stock") is None) is is_told
    ask(answers, sqlite3.SQLITE_UPDATE, "sqlite_master", None, "stock")
    assert answers.would_lose(operation, "made", "stock") is None
    assert answers.would_lose(operation, "made") is answers.main


def test_a_rollback_takes_what_was_created(answers: Answers) -> None:
    own(answers, "made")
    assert ask(answers, sqlite3.SQLITE_TRANSACTION, "BEGIN") == OK
    assert ask(answers, sqlite3.SQLITE_SAVEPOINT, "ROLLBACK", "a") == OK
    assert answers.would_lose("drop table", "made") is None
    assert ask(answers, sqlite3.SQLITE_TRANSACTION, "ROLLBACK") == OK
    assert answers.would_lose("drop table", "made") is answers.main


def test_a_column_is_asked_about_by_its_own_name(answers: Answers, schemas: Schemas, folder: Path) -> None:
    assert ask(answers, sqlite3.SQLITE_ALTER_TABLE, "main", "users") == OK
    assert ask(answers, sqlite3.SQLITE_ALTER_TABLE, "tests", "users", "name") == OK
    assert ask(answers, sqlite3.SQLITE_ALTER_TABLE, "main", "users", "name") == DENY
    assert answers.refusal == Refusal("drop column", ("users.name",), schemas.main)
    assert ask(answers, sqlite3.SQLITE_ALTER_TABLE, "main", None, "name") == DENY
    assert answers.refusal == Refusal("drop column", (".name",), schemas.main)
    for objects in ("users.name", "users"):
        with permit(folder, objects=objects) as granted:
            answers.grants.add(granted)
            assert ask(answers, sqlite3.SQLITE_ALTER_TABLE, "main", "users", "name") == OK
            assert ask(answers, sqlite3.SQLITE_ALTER_TABLE, "main", "orders", "name") == DENY
    own(answers, "made")
    assert ask(answers, sqlite3.SQLITE_ALTER_TABLE, "main", "made", "name") == OK


def test_a_rename_is_of_what_is_being_altered(answers: Answers, schemas: Schemas) -> None:
    assert ask(answers, sqlite3.SQLITE_FUNCTION, None, "sqlite_rename_table") == DENY
    assert answers.refusal == Refusal("rename table", ("",), schemas.main)
    ask(answers, sqlite3.SQLITE_ALTER_TABLE, "stock", "users")
    assert ask(answers, sqlite3.SQLITE_FUNCTION, None, "lower") == OK
    assert ask(answers, sqlite3.SQLITE_FUNCTION, None, None) == OK
    assert ask(answers, sqlite3.SQLITE_FUNCTION, None, "sqlite_rename_column") == DENY
    assert answers.refusal == Refusal("rename column", ("users",), schemas.databases[2])
    ask(answers, sqlite3.SQLITE_ALTER_TABLE, "main", None)
    assert ask(answers, sqlite3.SQLITE_FUNCTION, None, "sqlite_rename_table") == DENY
    assert answers.refusal == Refusal("rename table", ("",), schemas.main)
    ask(answers, sqlite3.SQLITE_ALTER_TABLE, "tests", "users")
    assert ask(answers, sqlite3.SQLITE_FUNCTION, None, "sqlite_rename_table") == OK


def test_what_is_attached_and_detached_is_looked_at_before_the_next_statement(
    answers: Answers, schemas: Schemas, folder: Path
) -> None:
    assert ask(answers, sqlite3.SQLITE_ATTACH, str(folder / "test_other.db")) == OK
    assert answers.needs_attention is True
    assert schemas.is_stale
    assert len(schemas.databases) == 4
    answers.needs_attention = False
    own(answers, "made", "stock")
    own(answers, "made", "main")
    answers.needs_attention = False
    assert ask(answers, sqlite3.SQLITE_DETACH, "STOCK") == OK
    assert answers.would_lose("drop table", "made", "main") is None
    schemas.attach(str(folder / "stock.db"))
    assert answers.would_lose("drop table", "made", "stock") is schemas.databases[-1]
    assert answers.needs_attention is True
    assert len(schemas.databases) == 4


@pytest.mark.parametrize("value", ["1", "ON", "yes", "2"])
def test_schema_tables_are_not_opened(answers: Answers, schemas: Schemas, folder: Path, value: str) -> None:
    assert ask(answers, sqlite3.SQLITE_PRAGMA, "writable_schema", None) == OK
    assert ask(answers, sqlite3.SQLITE_PRAGMA, "user_version", value) == OK
    assert ask(answers, sqlite3.SQLITE_PRAGMA, None, value) == OK
    assert answers.needs_attention is False
    assert ask(answers, sqlite3.SQLITE_PRAGMA, "Writable_Schema", value) == DENY
    assert answers.refusal == Refusal("switch on writable_schema", (), schemas.main)
    assert answers.needs_attention is True
    assert answers._is_schema_writable is False
    with permit(folder) as granted:
        answers.grants.add(granted)
        schemas.detach("stock")
        answers.needs_attention = False
        assert ask(answers, sqlite3.SQLITE_PRAGMA, "writable_schema", value) == OK
        assert answers._is_schema_writable is True
        assert ask(answers, sqlite3.SQLITE_ATTACH, str(folder / "stock.db")) == DENY
        assert ask(answers, sqlite3.SQLITE_ATTACH, str(folder / "test_other.db")) == OK
    for off in ("0", "OFF", "no", "False", "reset"):
        answers._is_schema_writable = True
        assert ask(answers, sqlite3.SQLITE_PRAGMA, "writable_schema", off) == OK
        assert answers._is_schema_writable is False


def test_a_permit_opens_the_main_database_and_no_other(answers: Answers, schemas: Schemas, folder: Path) -> None:
    assert answers.find_forbidden("vacuum") is schemas.main
    assert not answers.allows_on_main("reset the whole database")
    assert answers.refusal == Refusal("reset the whole database", (), schemas.main)
    with permit(folder, operations="drop table") as granted:
        answers.grants.add(granted)
        assert ask(answers, sqlite3.SQLITE_DROP_TABLE, "users", None, "main") == OK
        assert answers.needs_attention is True
        assert granted in {used for used, *_ in answers.grants._uses}
        assert {(operation, objects) for _, operation, objects in answers.grants._uses} == {("drop table", ("users",))}
        assert ask(answers, sqlite3.SQLITE_DROP_TABLE, "users", None, "stock") == DENY
        assert ask(answers, sqlite3.SQLITE_DROP_VIEW, "users", None, "main") == DENY
        assert answers.would_lose("drop table", "users") is None
        assert answers.would_lose("drop view", "users") is answers.main
        assert answers.would_lose("drop table", "users", "stock") is schemas.databases[2]
        assert answers.would_lose("drop table", "users", "tests") is None
        assert answers.would_lose("drop table", "users", "temp") is None
        assert answers.find_forbidden("drop table") is schemas.databases[2]
        schemas.detach("stock")
        assert answers.find_forbidden("drop table") is None
        assert answers.allows_on_main("drop table")


def test_the_application_is_asked_after_the_guard(answers: Answers) -> None:
    heard: list[tuple[object, ...]] = []

    def decide(*question: object) -> int:
        heard.append(question)
        return sqlite3.SQLITE_IGNORE

    answers.chained = decide
    assert answers.authorize(sqlite3.SQLITE_DROP_TABLE, "a", "b", "main", "d") == DENY
    assert answers.refusal is not None
    assert heard == []
    assert answers.authorize(sqlite3.SQLITE_READ, "a", "b", "c", "d") == sqlite3.SQLITE_IGNORE
    assert answers.refusal is None
    assert heard == [(sqlite3.SQLITE_READ, "a", "b", "c", "d")]


def test_what_is_no_question_passes_at_once() -> None:
    heard: list[tuple[object, ...]] = []

    def decide(*question: object) -> int:
        heard.append(question)
        return DENY

    answer = answer_quickly(decide)
    assert answer(sqlite3.SQLITE_READ, "a", "b", "c", "d") == OK
    assert answer(sqlite3.SQLITE_DROP_VIEW, "a", "b", "c", "d") == DENY
    assert heard == [(sqlite3.SQLITE_DROP_VIEW, "a", "b", "c", "d")]
