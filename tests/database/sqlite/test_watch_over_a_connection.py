"""The watch over one connection, called by hand as the guarded classes call it."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

from engineroom import DestructiveOperationError, _run_files, allow_destructive, guard
from engineroom._guard.answers import WRITE_SCHEMA
from engineroom._guard.sqlite_connection import GuardedConnection
from engineroom._guard.watch import Watch
from engineroom._permit import OpenPermits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engineroom._permit import Permit

DENIED = sqlite3.DatabaseError("not authorized")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
def connection(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection of the plain class, to a protected database."""
    with closing(sqlite3.connect(folder / "shop.db", isolation_level=None)) as opened:
        opened.execute("CREATE TABLE users (a)")
        opened.execute("CREATE VIEW names AS SELECT 1")
        yield opened


def permit(folder: Path) -> Permit:
    engine = guard(create_engine(f"sqlite:///{folder / 'shop.db'}"))
    return allow_destructive(engine, database="shop.db", reason="a test", operations="drop table")


def fail(connection: sqlite3.Connection, sql: str) -> sqlite3.DatabaseError:
    with pytest.raises(sqlite3.DatabaseError) as caught:
        connection.execute(sql)
    return caught.value


def test_a_watch_from_outside_is_awake_and_oversees_nothing_at_first(
    connection: sqlite3.Connection, folder: Path
) -> None:
    watch = Watch(connection, is_inside=False)
    assert watch.is_inside is False
    assert watch.is_overseen is False
    assert watch.is_asleep is False
    assert watch.names == {"shop.db", str(folder / "shop.db")}
    error = fail(connection, "DROP TABLE users")
    refusal = watch.take_refusal(error)
    assert "Refused to drop table users on" in str(refusal)
    assert "attach a database" not in str(refusal)
    assert watch.take_refusal(error) is None


def test_a_watch_from_inside_oversees_each_statement(connection: sqlite3.Connection) -> None:
    watch = Watch(connection)
    assert watch.is_inside is True
    assert watch.is_overseen is True
    assert watch.is_asleep is False
    watch.attend(connection, "SELECT 1")
    assert watch.is_overseen is True
    watch.settle(connection, "SELECT 1")
    assert watch.is_overseen is True


def test_a_watch_from_outside_oversees_between_attend_and_settle(connection: sqlite3.Connection) -> None:
    watch = Watch(connection, is_inside=False)
    watch.attend(connection, "SELECT 1")
    assert watch.is_overseen is True
    watch.settle(connection, "SELECT 1")
    assert watch.is_overseen is False


def test_a_watch_over_memory_from_outside_never_sleeps() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        watch = Watch(connection, in_memory=True, is_inside=False)
        assert watch.is_asleep is False
        assert watch.names == {":memory:"}


def test_a_watch_over_memory_sleeps_until_something_is_attached(folder: Path) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        watch = Watch(connection)
        assert watch.is_asleep is True
        connection.execute("PRAGMA writable_schema = ON")
        watch.wake_up(connection, "SELECT 'an at tach'")
        assert watch.is_asleep is True
        assert watch._is_schema_writable is False
        watch.wake_up(connection, "ATTACH 'a' AS b")
        assert watch.is_asleep is False
        assert watch._is_schema_writable is True
        error = fail(connection, f"ATTACH '{folder / 'shop.db'}' AS shop")
        assert "switch on writable_schema" in str(watch.take_refusal(error))
        connection.execute("PRAGMA writable_schema = OFF")
        connection.execute(f"ATTACH '{folder / 'shop.db'}' AS shop")
        watch.attend(connection, "DROP TABLE shop.users")
        connection.execute("CREATE TABLE mine (a)")
        connection.execute("DROP TABLE mine")
        watch.is_overseen = False
        connection.execute("CREATE TABLE shop.users (a)")
        refusal = str(watch.take_refusal(fail(connection, "DROP TABLE shop.users")))
        assert "Refused to drop table users on" in refusal
        assert "attach a database" in refusal


def test_a_watch_over_a_named_database_in_memory_sleeps_if_it_is_told_to(connection: sqlite3.Connection) -> None:
    assert Watch(connection, in_memory=True).is_asleep is True
    assert Watch(connection, in_memory=False).is_asleep is False


def test_an_authorizer_of_the_application_is_asked_after_the_watch(connection: sqlite3.Connection) -> None:
    watch = Watch(connection, is_inside=False)
    heard: list[int] = []

    def decide(action: int, *_: object) -> int:
        heard.append(action)
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_INSERT else sqlite3.SQLITE_OK

    watch.chain(connection, decide)
    error = fail(connection, "INSERT INTO users VALUES (1)")
    assert watch.take_refusal(error) is None
    heard.clear()
    watch.end_turn()
    watch.attend(connection, "SELECT 1")
    watch.attend_script(connection, "CREATE TABLE a (b); COMMIT")
    watch.settle(connection, "SELECT 1")
    assert heard == []
    assert watch.chained is decide
    fail(connection, "DROP TABLE users")
    assert watch.take_refusal(DENIED) is not None
    heard.clear()
    watch.chain(connection, None)
    connection.execute("INSERT INTO users VALUES (1)")
    assert heard == []
    fail(connection, "DROP TABLE users")


def test_an_authorizer_is_asked_by_a_watch_that_sleeps() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        watch = Watch(connection)
        heard: list[int] = []

        def hear(action: int, *_: object) -> int:
            heard.append(action)
            return sqlite3.SQLITE_OK

        watch.chain(connection, hear)
        connection.execute("SELECT 1")
        assert heard
        heard.clear()
        watch.wake_up(connection)
        assert heard == []
        connection.execute("SELECT 2")
        assert heard


def test_a_permit_holds_from_the_next_statement_until_it_is_revoked(
    connection: sqlite3.Connection, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(connection)
    fail(connection, "DROP TABLE users")
    with permit(folder) as granted, caplog.at_level(logging.INFO):
        watch.grant(granted)
        assert watch.needs_attention is True
        watch.attend(connection, "DROP TABLE users")
        assert watch.needs_attention is False
        connection.execute("DROP TABLE users")
        assert watch.needs_attention is True
        assert not caplog.records
        watch.settle(connection, "DROP TABLE users")
        assert len(caplog.records) == 1
        fail(connection, "DROP VIEW names")
        assert "does not cover this" in str(watch.take_refusal(DENIED))
        watch.needs_attention = False
        watch.revoke(granted)
        assert watch.needs_attention is True
        fail(connection, "DROP VIEW names")
        assert "does not cover this" not in str(watch.take_refusal(DENIED))


def test_a_refusal_tells_about_the_permits_of_the_engine(connection: sqlite3.Connection, folder: Path) -> None:
    watch = Watch(connection)
    engine = guard(create_engine(f"sqlite:///{folder / 'shop.db'}"))
    permits = OpenPermits()
    permits.open(permit(folder), engine)
    watch.follow(permits)
    assert watch.grants.permits is permits
    fail(connection, "DROP TABLE users")
    assert "A permit is open, but not for this connection" in str(watch.take_refusal(DENIED))


@pytest.mark.parametrize("words", ["not authorized", "authorization denied"])
def test_only_a_denial_becomes_a_refusal(connection: sqlite3.Connection, words: str) -> None:
    watch = Watch(connection)
    fail(connection, "DROP TABLE users")
    assert watch.take_refusal(sqlite3.DatabaseError("database is locked")) is None
    assert watch.take_refusal(DENIED) is None
    fail(connection, "DROP TABLE users")
    assert watch.take_refusal(sqlite3.DatabaseError(f"x: {words}: y")) is not None
    fail(connection, "DROP TABLE users")
    assert watch.take_refusal() is not None


def test_what_was_created_goes_with_the_turn_and_not_before(connection: sqlite3.Connection) -> None:
    watch = Watch(connection)
    connection.execute("CREATE TABLE made (a)")
    assert watch.needs_attention is True
    watch.settle(connection, "CREATE TABLE made (a)")
    assert watch.would_lose("drop table", "made") is None
    watch.attend(connection, "DROP TABLE made")
    assert watch.needs_attention is True
    connection.execute("DROP TABLE made")
    watch.settle(connection, "DROP TABLE made")
    assert watch.would_lose("drop table", "made") is watch.main
    connection.execute("CREATE TABLE made (a)")
    watch.settle(connection, "CREATE TABLE made (a)")
    watch.needs_attention = False
    watch.end_turn(connection)
    assert watch.needs_attention is True
    assert watch.would_lose("drop table", "made") is watch.main


def test_what_failed_was_not_lost(connection: sqlite3.Connection) -> None:
    watch = Watch(connection)
    connection.execute("CREATE TABLE made (a)")
    watch.settle(connection, "CREATE TABLE made (a)")
    connection.execute("EXPLAIN DROP TABLE made")
    assert watch.settle_failure(connection, "DROP TABLE made", sqlite3.DatabaseError("database is locked")) is None
    assert watch.would_lose("drop table", "made") is None
    fail(connection, "DROP TABLE users")
    watch.needs_attention = False
    assert watch.settle_failure(connection, "DROP TABLE users", DENIED) is not None


def test_what_a_script_finds_is_not_created_by_it(connection: sqlite3.Connection) -> None:
    watch = Watch(connection)
    script = "CREATE TABLE IF NOT EXISTS users (a); CREATE TABLE made (a);"
    watch.attend_script(connection, script)
    connection.executescript(script)
    connection.execute("UPDATE users SET a = 1")
    watch.settle(connection, script)
    assert watch.would_lose("drop table", "users") is watch.main
    assert watch.would_lose("drop table", "made") is None


def test_a_script_wakes_the_watch(folder: Path) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        watch = Watch(connection)
        watch.attend_script(connection, "SELECT 1")
        assert watch.is_asleep is True
        watch.attend_script(connection, f"attach '{folder / 'shop.db'}' AS shop")
        assert watch.is_asleep is False


def test_schema_tables_are_shut_when_a_watch_comes_and_when_a_permit_goes(
    connection: sqlite3.Connection, folder: Path
) -> None:
    connection.execute("PRAGMA writable_schema = ON")
    watch = Watch(connection, is_inside=False)
    assert connection.execute("PRAGMA writable_schema").fetchone() == (0,)
    assert watch._is_schema_writable is False
    engine = guard(create_engine(f"sqlite:///{folder / 'shop.db'}"))
    with allow_destructive(engine, database="shop.db", reason="a test") as granted:
        watch.grant(granted)
        connection.execute("PRAGMA writable_schema = ON")
        watch.attend(connection, "SELECT 1")
        assert connection.execute("PRAGMA writable_schema").fetchone() == (1,)
        watch.revoke(granted)
    watch.attend(connection, "SELECT 1")
    assert connection.execute("PRAGMA writable_schema").fetchone() == (0,)


def test_an_exchanged_database_is_in_memory_from_the_next_statement(connection: sqlite3.Connection) -> None:
    watch = Watch(connection)
    assert not watch.main.is_disposable
    watch.note_exchange("main")
    assert watch.needs_attention is True
    watch.attend(connection, "SELECT 1")
    assert watch.main.is_disposable


def test_the_authorizer_of_a_guarded_connection_is_set_below_it(folder: Path) -> None:
    with closing(GuardedConnection(folder / "shop.db")) as connection:
        connection.watch._set_authorizer(connection)
        assert connection.watch.chained is None


def test_what_a_script_finds_and_alters_is_not_created_by_it(connection: sqlite3.Connection) -> None:
    watch = Watch(connection)
    script = "CREATE TABLE IF NOT EXISTS users (a); ALTER TABLE users ADD COLUMN b"
    watch.attend_script(connection, script)
    connection.executescript(script)
    watch.settle(connection, script)
    assert watch.would_lose("drop table", "users") is watch.main


def test_a_script_may_drop_what_the_connection_created(connection: sqlite3.Connection) -> None:
    watch = Watch(connection)
    connection.execute("CREATE TABLE made (a)")
    watch.settle(connection, "CREATE TABLE made (a)")
    watch.attend_script(connection, "DROP TABLE made")
    connection.executescript("DROP TABLE made")


def test_a_statement_that_was_prepared_under_a_permit_is_asked_about_again(folder: Path) -> None:
    with (
        closing(sqlite3.connect(folder / "shop.db", isolation_level=None)) as other,
        closing(sqlite3.connect(folder / "shop.db", isolation_level=None, timeout=0)) as connection,
    ):
        other.execute("CREATE TABLE users (a)")
        watch = Watch(connection)
        with permit(folder) as granted:
            watch.grant(granted)
            watch.attend(connection, "DROP TABLE users")
            other.execute("BEGIN IMMEDIATE")
            assert "locked" in str(fail(connection, "DROP TABLE users"))  # sqlite3 keeps it, prepared
            other.execute("ROLLBACK")
            watch.revoke(granted)
        watch.attend(connection, "SELECT 1")
        assert "not authorized" in str(fail(connection, "DROP TABLE users"))


def test_schema_tables_stay_open_under_a_permit_for_just_that(connection: sqlite3.Connection, folder: Path) -> None:
    watch = Watch(connection)
    engine = guard(create_engine(f"sqlite:///{folder / 'shop.db'}"))
    with allow_destructive(engine, database="shop.db", reason="a test", operations=WRITE_SCHEMA) as granted:
        watch.grant(granted)
        watch.attend(connection, "PRAGMA writable_schema = ON")
        connection.execute("PRAGMA writable_schema = ON")
        watch.attend(connection, "SELECT 1")
        assert connection.execute("PRAGMA writable_schema").fetchone() == (1,)


def test_a_connection_of_another_library_is_watched_too(connection: sqlite3.Connection) -> None:
    class Other:
        """A connection with all that sqlite3's has, of a class of its own."""

        def __getattr__(self, name: str) -> object:
            return getattr(connection, name)

    watch = Watch(Other(), is_inside=False)
    assert watch.take_refusal(fail(connection, "DROP TABLE users")) is not None


def test_a_file_that_stands_for_memory_is_watched_awake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It may get a second name, and be somebody's database from then on.
    run = folder / f"{_run_files.DIRECTORY_PREFIX}run"
    run.mkdir(mode=0o700)
    (run / _run_files.LOCK_NAME).touch()
    monkeypatch.setenv(_run_files.RUN_VARIABLE, str(run))
    path = run / "test_shop.db"
    with closing(GuardedConnection(path, isolation_level=None)) as connection:
        assert connection.watch.main.facts.in_memory
        assert connection.watch.is_asleep is False
        connection.execute("CREATE TABLE users (a)")
        connection.watch.end_turn()
        os.link(path, folder / "shop.db")
        with pytest.raises(DestructiveOperationError):
            connection.execute("DROP TABLE users")
