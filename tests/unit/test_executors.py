"""The executors of a guarded dialect: which texts are judged, which are remembered, and dialects nobody taught us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg.sql
import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, inspect, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import engineroom
from engineroom import DestructiveOperationError, InvalidSettingError
from engineroom._guard import server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engineroom._statements import Dialect


class ForeignDialect(SQLiteDialect_pysqlite):
    """A third-party dialect; its driver happens to be the one that every Python has."""

    name = "unheardof"
    supports_statement_cache = True


registry.register("unheardof", __name__, "ForeignDialect")
registry.impls["unheardof"] = lambda: ForeignDialect


@pytest.fixture
def foreign() -> Iterator[Engine]:
    """Return a guarded engine of a dialect that engineroom does not know."""
    engine = engineroom.guard(create_engine("unheardof://"))
    yield engine
    engine.dispose()


metadata = MetaData()
users = Table("users", metadata, Column("id", Integer, primary_key=True))


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)


def test_an_unknown_dialect_works_as_long_as_nothing_is_destroyed(foreign: Engine) -> None:
    with foreign.begin() as connection:
        Base.metadata.create_all(connection)
        metadata.create_all(connection)
        with Session(connection) as session:
            session.add_all([Note(), Note()])
            session.flush()
            assert session.query(Note).count() == 2
        connection.execute(text("CREATE INDEX ix ON users (id)"))
        connection.execute(text("ALTER TABLE users ADD COLUMN dropped int"))
        connection.execute(text("SELECT id AS truncated, 'drop table users' FROM users"))
        connection.execute(text("DELETE FROM users"))
        assert inspect(connection).get_table_names() == ["notes", "users"]


LOSSES = [
    "DROP TABLE users",
    "DROP TABLE IF EXISTS never_was",
    "TRUNCATE TABLE users",
    "ALTER TABLE users DROP COLUMN id",
    "ALTER TABLE users RENAME TO people",
    "RENAME TABLE users TO people",
    "CREATE OR REPLACE TABLE users (id int)",
    "EXECUTE IMMEDIATE 'DROP TABLE users'",
    "DROP DATABASE test_shop",
    "SELECT 1; DROP TABLE users",
    "DROP [weird thing",
]


@pytest.mark.parametrize("statement", LOSSES)
def test_whatever_either_dialect_would_lose_is_refused_on_an_unknown_one(statement: str, foreign: Engine) -> None:
    with foreign.connect() as connection, pytest.raises(DestructiveOperationError) as caught:
        connection.exec_driver_sql(statement)
    assert "not disposable" in caught.value.why


def test_drop_all_is_refused_on_an_unknown_dialect(foreign: Engine) -> None:
    with foreign.connect() as connection:
        metadata.create_all(connection)
        with pytest.raises(DestructiveOperationError, match=r"drop table users on unheardof:"):
            metadata.drop_all(connection)
        with pytest.raises(DestructiveOperationError, match=r"drop table users on unheardof:"):
            users.drop(connection)


def test_a_table_of_ones_own_cannot_be_told_on_an_unknown_dialect(foreign: Engine) -> None:
    with foreign.connect() as connection:
        connection.execute(text("CREATE TABLE mine (id int)"))
        with pytest.raises(DestructiveOperationError, match="drop table mine"):
            connection.execute(text("DROP TABLE mine"))


def test_no_permit_names_the_database_of_an_unknown_dialect(foreign: Engine) -> None:
    permit = engineroom.allow_destructive(foreign, database=":memory:", reason="it cannot be told")
    with permit, pytest.raises(InvalidSettingError, match="name is not known"):
        foreign.connect()


def test_the_verdict_of_an_unknown_dialect_is_no(foreign: Engine) -> None:
    assert not engineroom.verdict(foreign)
    assert not engineroom.verdict("unheardof:///test_shop")


@pytest.fixture
def texts() -> Any:
    """Return a fresh memory of texts, of the engine of no server."""
    return server._HarmlessTexts(("postgresql",))


def test_a_text_is_judged_once(texts: Any) -> None:
    assert texts.judge("SELECT 1") == ((), ())
    assert list(texts.known) == ["SELECT 1"]


@pytest.mark.parametrize("statement", ["DROP TABLE users", "CREATE TABLE mine (id int)", "DO $$ x"])
def test_a_text_that_does_something_is_judged_each_time(statement: str, texts: Any) -> None:
    assert any(texts.judge(statement))
    assert not texts.known


def test_the_memory_is_bounded(texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_TEXTS", 10)
    known = texts.known
    for number in range(25):
        texts.judge(f"SELECT {number}")
    assert list(known) == [f"SELECT {number}" for number in range(20, 25)]
    assert texts.known is known  # the executors hold on to it
    texts.judge("SELECT " + "1" * server.LONGEST_TEXT)
    assert len(known) == 5


def test_the_memory_is_bounded_for_long_texts_too(texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_LETTERS", 5_000)
    for number in range(20):
        texts.judge(f"SELECT {number:01000}")
        assert sum(map(len, texts.known)) <= 5_000 + 2 * 1_007
    assert 1 <= len(texts.known) < 7


def test_a_text_that_is_just_not_too_long_is_remembered(texts: Any) -> None:
    texts.judge("SELECT 1".ljust(server.LONGEST_TEXT))
    assert len(texts.known) == 1


@pytest.mark.parametrize(("dialect", "name"), [("postgresql", "mine"), ("mariadb", "Mine")])
def test_a_table_is_told_as_its_own_server_folds_its_name(dialect: Dialect, name: str) -> None:
    texts = server._HarmlessTexts((dialect,))
    assert texts.judge("CREATE TABLE Mine (id int)") == ((), (name,))


@pytest.mark.parametrize("statement", [b"SELECT 1", bytearray(b"SELECT 1")])
def test_bytes_are_judged_as_the_text_that_they_spell(statement: bytes, texts: Any) -> None:
    assert texts.judge(statement) == ((), ())


class Composed:
    """A statement that somebody puts together."""

    __hash__ = None  # type: ignore[assignment]

    def as_string(self, context: object) -> str:
        return f"SELECT 1 /* {context} */"


def test_a_composed_statement_is_judged_by_what_its_cursor_makes_of_it(texts: Any) -> None:
    assert texts.judge(Composed(), "cursor") == ((), ())
    assert not texts.known
    execute, recorder = server._judge_first(_named(recorded := Recorder()), texts), recorded
    execute("cursor", Composed())
    assert len(recorder.sent) == 1


@pytest.mark.parametrize("statement", [b"\xff", None, 3, object(), [], psycopg.sql.SQL])
def test_what_is_no_text_is_unreadable(statement: object, texts: Any) -> None:
    (loss,), created = texts.judge(statement)
    assert (loss.kind, created) == ("unreadable", ())


class Recorder:
    """An executor of no driver, which remembers what it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[object, ...]] = []

    def __call__(self, *arguments: object) -> None:
        self.sent.append(arguments)


@pytest.fixture
def judged(texts: Any) -> tuple[Callable[..., None], Recorder]:
    """Return an executor that judges first, and the one behind it."""
    recorder = Recorder()
    return server._judge_first(_named(recorder), texts), recorder


def _named(recorder: Recorder) -> Callable[..., None]:
    def do_execute(*arguments: object) -> None:
        recorder(*arguments)

    return do_execute


def test_the_arguments_pass_through_unchanged(judged: tuple[Callable[..., None], Recorder]) -> None:
    execute, recorder = judged
    for _ in range(2):
        execute("cursor", "SELECT 1", ("parameter",), "context")
        execute("cursor", "SELECT 2", "context")
        execute("cursor", "SELECT 3")
    assert recorder.sent[3:] == recorder.sent[:3]
    assert recorder.sent[0] == ("cursor", "SELECT 1", ("parameter",), "context")
    assert execute.__name__ == "do_execute"


def test_what_is_known_is_not_judged_again(texts: Any, judged: tuple[Callable[..., None], Recorder]) -> None:
    execute, recorder = judged
    texts.known["DROP TABLE users"] = None
    execute("cursor", "DROP TABLE users")
    assert recorder.sent == [("cursor", "DROP TABLE users")]


@pytest.mark.parametrize("arguments", [(), ((), None), ((), "no context")])
def test_without_a_context_what_destroys_is_refused_and_the_rest_is_not(
    arguments: tuple[object, ...], judged: tuple[Callable[..., None], Recorder]
) -> None:
    execute, recorder = judged
    execute("cursor", "CREATE TABLE mine (id int)", *arguments)
    with pytest.raises(DestructiveOperationError, match="drop table users on a database that could not be identified"):
        execute("cursor", "DROP TABLE users", *arguments)
    assert len(recorder.sent) == 1
