"""What a connection created itself: kept until it is lost, rolled back, or changed by somebody else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from engineroom._guard.creations import Creations, Key, is_notable, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MADE: Key = ("main", "made", False)
OTHER: Key = ("main", "other", False)
ATTACHED: Key = ("att", "made", False)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.execute("ATTACH ':memory:' AS att")
        yield opened


def created(*keys: Key) -> Creations:
    creations = Creations()
    for key in keys:
        creations.begin(key)
        creations.confirm(key[0])
    return creations


def commit(creations: Creations, connection: sqlite3.Connection) -> None:
    """End a statement outside of a transaction."""
    creations.after(connection, "CREATE TABLE made (a)", failed=False)


def test_a_key_takes_names_as_sqlite_does() -> None:
    assert key_of("Att", "MADE É", "drop table") == ("att", "made É", False)
    assert key_of(None, None, "drop trigger") == ("main", "", True)


@pytest.mark.parametrize(("sql", "is_so"), [("SELECT 1", False), ("x; Commit", True), ("create", True)])
def test_a_text_that_could_change_a_schema_is_told(sql: str, is_so: bool) -> None:
    assert is_notable(sql) is is_so


def test_nothing_is_created_at_first() -> None:
    creations = created()
    assert not creations
    creations.confirm("main")
    assert not creations


def test_a_create_counts_once_it_writes_the_schema_that_it_names() -> None:
    creations = Creations()
    creations.begin(MADE)
    assert MADE not in creations
    creations.confirm("att")
    creations.confirm("main")
    assert MADE not in creations
    creations.begin(MADE)
    creations.confirm(None)
    creations.begin(ATTACHED)
    creations.confirm("ATT")
    assert creations
    assert MADE in creations
    assert ATTACHED in creations
    assert OTHER not in creations


@pytest.mark.parametrize("is_committed", [False, True])
def test_what_is_lost_is_gone_unless_the_statement_fails(connection: sqlite3.Connection, *, is_committed: bool) -> None:
    creations = created(MADE)
    if is_committed:
        commit(creations, connection)
    connection.execute("BEGIN")
    creations.lose(MADE)
    creations.after(connection, "DROP TABLE made", failed=True)
    assert MADE in creations
    creations.after(connection, "SELECT 1", failed=False)
    assert MADE in creations
    creations.lose(MADE)
    creations.after(connection, "DROP TABLE made", failed=False)
    assert MADE not in creations
    assert not creations


def test_a_rollback_takes_what_was_not_committed(connection: sqlite3.Connection) -> None:
    creations = created(MADE)
    commit(creations, connection)
    connection.execute("BEGIN")
    creations.begin(OTHER)
    creations.confirm("main")
    connection.execute("CREATE TABLE other (a)")
    creations.after(connection, "CREATE TABLE other (a)", failed=False)
    creations.before(connection, "SELECT 1")
    creations.roll_back(to_savepoint=False)
    connection.execute("ROLLBACK")
    assert OTHER not in creations
    creations.before(connection, "DROP TABLE made")
    assert MADE in creations


def test_a_rollback_to_a_savepoint_takes_what_is_not_there_any_more(connection: sqlite3.Connection) -> None:
    creations = created(MADE, OTHER, ATTACHED)
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE Made (a)")
    connection.execute("CREATE TABLE att.made (a)")
    connection.execute("CREATE TABLE att.theirs (a)")
    creations.roll_back(to_savepoint=True)
    assert OTHER in creations
    creations.after(connection, "ROLLBACK TO a", failed=False)
    assert OTHER not in creations
    assert MADE in creations
    assert ATTACHED in creations
    assert ("att", "theirs", False) not in creations
    connection.execute("DROP TABLE made")
    creations.after(connection, "SELECT 1", failed=False)
    assert MADE in creations  # not looked at again


def test_a_failure_that_ended_the_transaction_took_what_was_not_committed(connection: sqlite3.Connection) -> None:
    creations = created(MADE)
    commit(creations, connection)
    creations.begin(OTHER)
    creations.confirm("main")
    connection.execute("BEGIN")
    creations.after(connection, "INSERT OR ROLLBACK", failed=True)
    assert OTHER in creations
    connection.execute("ROLLBACK")
    creations.after(connection, "INSERT OR ROLLBACK", failed=True)
    assert OTHER not in creations
    assert MADE in creations


def test_one_schema_is_forgotten_or_all(connection: sqlite3.Connection) -> None:
    creations = created(MADE, ATTACHED)
    commit(creations, connection)
    creations.begin(OTHER)
    creations.confirm("main")
    creations.begin(OTHER)
    creations.forget("ATT")
    assert ATTACHED not in creations
    assert MADE in creations
    assert OTHER in creations
    creations.forget()
    assert not creations
    creations.confirm("main")
    assert not creations


def test_a_create_is_asked_about_in_one_statement(connection: sqlite3.Connection) -> None:
    creations = Creations()
    creations.begin(MADE)
    creations.before(connection, "SELECT 1")
    creations.confirm("main")
    creations.begin(MADE)
    creations.after(connection, "SELECT 1", failed=False)
    creations.confirm("main")
    assert not creations


def test_what_was_there_before_a_script_is_not_created_by_it(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE made (a)")
    connection.execute("CREATE TABLE att.made (a)")
    creations = Creations()
    creations.start_script(connection, ["main", "att"])
    for key in (MADE, ATTACHED, OTHER):
        creations.begin(key)
        creations.confirm(key[0])
    assert MADE not in creations
    assert ATTACHED not in creations
    assert OTHER in creations
    creations.after(connection, "a script", failed=False)
    creations.begin(MADE)
    creations.confirm("main")
    assert MADE in creations


def test_a_schema_that_somebody_else_changed_is_nobodys_own(connection: sqlite3.Connection) -> None:
    creations = created(MADE, ATTACHED)
    commit(creations, connection)
    creations.before(connection, "DROP TABLE made")
    assert MADE in creations
    connection.execute("CREATE TABLE att.other (a)")
    creations.before(connection, "SELECT 1")
    assert MADE in creations
    creations.before(connection, "DROP TABLE made")
    assert not creations


def test_a_harmless_statement_does_not_hide_what_somebody_else_changed(
    connection: sqlite3.Connection,
) -> None:
    creations = created(MADE)
    commit(creations, connection)
    connection.execute("CREATE TABLE other (a)")
    creations.after(connection, "SELECT 1", failed=False)
    creations.before(connection, "DROP TABLE made")
    assert not creations


def test_each_change_by_a_statement_of_ones_own_is_known_afterwards(connection: sqlite3.Connection) -> None:
    creations = created(MADE)
    commit(creations, connection)
    connection.execute("CREATE TABLE other (a)")
    creations.after(connection, "CREATE TABLE other (a)", failed=False)
    creations.before(connection, "DROP TABLE made")
    assert MADE in creations


def test_what_is_not_committed_is_so_once_the_transaction_is_over(connection: sqlite3.Connection) -> None:
    creations = Creations()
    connection.execute("BEGIN")
    creations.begin(MADE)
    creations.confirm("main")
    connection.execute("CREATE TABLE made (a)")
    creations.after(connection, "CREATE TABLE made (a)", failed=False)
    creations.before(connection, "SELECT 1")
    connection.execute("COMMIT")  # where it is not seen
    creations.before(connection, "SELECT 1")
    creations.roll_back(to_savepoint=False)
    assert MADE in creations
    creations.before(connection, "DROP TABLE made")
    assert MADE in creations


def test_where_nothing_can_be_read_nothing_is_ones_own(connection: sqlite3.Connection) -> None:
    creations = created(('a"b', "made", False))
    connection.execute('ATTACH \':memory:\' AS "a""b"')
    connection.execute('CREATE TABLE "a""b".made (a)')
    connection.execute("BEGIN")
    creations.roll_back(to_savepoint=True)
    creations.after(connection, "ROLLBACK TO a", failed=False)
    assert creations
    connection.execute("COMMIT")
    connection.execute('DETACH "a""b"')
    connection.execute("BEGIN")
    creations.before(connection, "DROP TABLE x")
    assert not creations
    creations.begin(("gone", "made", False))
    creations.confirm("gone")
    creations.roll_back(to_savepoint=True)
    creations.after(connection, "ROLLBACK TO a", failed=False)
    assert not creations
