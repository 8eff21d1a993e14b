"""The baseline: what is brought back, what stays as long as its owner, and what is done about left-overs."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engineroom import LifecycleError
from engineroom.testing import baseline as baseline_module
from engineroom.testing._image import copy_of, rebase
from engineroom.testing.baseline import wait_for_quiet
from engineroom.testing.sqlite import SQLiteBaseline as Baseline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = """
    CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
    CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INT REFERENCES users ON DELETE CASCADE, title TEXT);
    CREATE TABLE codes (
        language TEXT, code TEXT, letters INT GENERATED ALWAYS AS (length(code)), PRIMARY KEY (language, code)
    ) WITHOUT ROWID;
    CREATE TABLE plain ("rowid" TEXT, a BLOB, b REAL);
    CREATE TABLE log (what TEXT);
    CREATE INDEX posts_by_user ON posts (user_id);
    CREATE VIEW titles AS SELECT title FROM posts;
    CREATE TRIGGER tell AFTER INSERT ON users BEGIN INSERT INTO log VALUES (new.name); END;
    INSERT INTO users (name) VALUES ('ada'), ('bob');
    INSERT INTO posts VALUES (1, 1, 'first'), (2, 2, 'second');
    INSERT INTO codes (language, code) VALUES ('en', 'yes');
    INSERT INTO plain VALUES ('x', x'00ff', 1.5);
"""


class Database:
    """A file like those in memory of a run, and what it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keeper = sqlite3.connect(path)
        self.keeper.execute("PRAGMA journal_mode = WAL")
        self.keeper.executescript(SCHEMA)

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def run(self, *statements: str) -> None:
        with closing(self.connect()) as connection:
            for statement in statements:
                connection.execute(statement)

    def state(self) -> object:
        with closing(self.connect()) as connection:
            return state_of(connection)

    def names(self) -> list[str]:
        with closing(self.connect()) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM users ORDER BY id")]


def state_of(connection: sqlite3.Connection) -> object:
    """Return everything that a database holds, in an order of its own."""
    objects = sorted(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall(), key=repr)
    rows = {
        name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)  # noqa: S608  # it is ours
        for kind, name, *_ in objects
        if kind == "table"
    }
    return objects, rows, connection.execute("PRAGMA user_version").fetchone()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "test_shop.db")
    yield database
    database.keeper.close()


@pytest.fixture
def baseline(database: Database) -> Iterator[Baseline]:
    baseline = Baseline(database.path)
    yield baseline
    baseline.close()


WRITES = {
    "rows": ["DELETE FROM users WHERE id = 1", "UPDATE posts SET title = 'other'"],
    "all rows": ["DELETE FROM users", "DELETE FROM log", "DELETE FROM plain"],
    "a sequence": ["INSERT INTO users (name) VALUES ('eve')", "DELETE FROM users WHERE name = 'eve'"],
    "a new table": ["CREATE TABLE extra (id INT)", "INSERT INTO extra VALUES (1)"],
    "a dropped table": ["DROP TABLE codes"],
    "every table dropped": ["DROP VIEW titles", "DROP TABLE posts", "DROP TABLE users", "DROP TABLE log"],
    "an added column": ["ALTER TABLE users ADD COLUMN age INT"],
    "a dropped column": ["DROP VIEW titles", "ALTER TABLE posts DROP COLUMN title"],
    "a renamed table": ["DROP TRIGGER tell", "ALTER TABLE log RENAME TO journal"],
    "an index": ["DROP INDEX posts_by_user", "CREATE UNIQUE INDEX more ON posts (title)"],
    "a view and a trigger": ["DROP VIEW titles", "DROP TRIGGER tell"],
    "the user version": ["PRAGMA user_version = 42"],
    "vacuum": ["DELETE FROM users", "VACUUM"],
    "many pages": ["CREATE TABLE big (a)", "INSERT INTO big SELECT randomblob(4000) FROM (VALUES (1),(2),(3)), users"],
    "statistics": ["ANALYZE"],
}


@pytest.mark.parametrize("case", WRITES)
def test_a_restore_brings_everything_back(database: Database, baseline: Baseline, case: str) -> None:
    before = database.state()
    for _ in range(2):
        assert not baseline.is_dirty
        database.run(*WRITES[case])
        assert baseline.is_dirty
        assert database.state() != before
        baseline.restore()
        assert not baseline.is_dirty
        assert database.state() == before
    with closing(database.connect()) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    "statement", ["SELECT * FROM users", "PRAGMA user_version", "BEGIN IMMEDIATE; COMMIT", "BEGIN; "]
)
def test_who_only_reads_leaves_nothing_to_restore(database: Database, baseline: Baseline, statement: str) -> None:
    with closing(database.connect()) as connection:
        for part in statement.split("; "):
            connection.execute(part).fetchall() if part else None
    assert not baseline.is_dirty
    assert not baseline.is_left_open


def test_what_was_rolled_back_leaves_nothing_to_restore(database: Database, baseline: Baseline) -> None:
    with closing(database.connect()) as connection:
        connection.execute("BEGIN")
        connection.execute("DELETE FROM users")
        assert baseline.is_left_open
        connection.execute("ROLLBACK")
    assert not baseline.is_dirty
    assert not baseline.is_left_open


def test_an_open_read_keeps_its_snapshot_and_locks_nobody_out(database: Database, baseline: Baseline) -> None:
    with closing(database.connect()) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (2,)
        database.run("DELETE FROM users")
        started = time.monotonic()
        baseline.restore()
        assert time.monotonic() - started < 1
        assert database.names() == ["ada", "bob"]
        database.run("DELETE FROM users WHERE id = 1")
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (2,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (1,)


def test_a_connection_that_stays_open_sees_the_baseline_again(database: Database, baseline: Baseline) -> None:
    with closing(database.connect()) as connection:
        for _ in range(3):
            connection.execute("ALTER TABLE users ADD COLUMN age INT")
            connection.execute("INSERT INTO users (name, age) VALUES ('eve', 7)")
            baseline.restore()
            assert connection.execute("SELECT * FROM users").fetchall() == [(1, "ada"), (2, "bob")]


@pytest.mark.parametrize("recreate", [True, False], ids=["and made anew", "for good"])
def test_a_file_that_was_removed_comes_back(database: Database, baseline: Baseline, recreate: bool) -> None:
    before = database.state()
    for _ in range(2):
        database.path.unlink()
        if recreate:
            database.run("CREATE TABLE other (id INT)")
        assert baseline.is_dirty
        baseline.restore()
        assert not baseline.is_dirty
        assert database.state() == before
        database.run("DELETE FROM users")
        baseline.restore()
        assert database.state() == before


class TestLayers:
    """What an owner writes stays as long as the owner."""

    @staticmethod
    def layer(database: Database, baseline: Baseline, name: str) -> None:
        mark = baseline.mark()
        database.run(f"INSERT INTO users (name) VALUES ('{name}')")  # noqa: S608  # the names are ours
        baseline.push(name, mark)

    def test_layers_go_from_the_top(self, database: Database, baseline: Baseline) -> None:
        self.layer(database, baseline, "session")
        self.layer(database, baseline, "class")
        assert not baseline.is_dirty
        database.run("DELETE FROM users")
        baseline.restore()
        assert database.names() == ["ada", "bob", "session", "class"]
        baseline.pop("class")
        assert baseline.is_dirty
        baseline.restore()
        assert database.names() == ["ada", "bob", "session"]
        baseline.pop("session")
        baseline.restore()
        assert database.names() == ["ada", "bob"]

    def test_a_layer_goes_from_under_others(self, database: Database, baseline: Baseline) -> None:
        for name in ("module", "session", "package"):
            self.layer(database, baseline, name)
        baseline.pop("module")
        baseline.restore()
        assert database.names() == ["ada", "bob", "session", "package"]
        baseline.pop("session")
        baseline.restore()
        assert database.names() == ["ada", "bob", "package"]

    def test_what_a_test_wrote_before_stays_out(self, database: Database, baseline: Baseline) -> None:
        database.run("INSERT INTO users (name) VALUES ('test')")
        self.layer(database, baseline, "session")
        assert database.names() == ["ada", "bob", "test", "session"]
        assert baseline.is_dirty
        baseline.restore()
        assert database.names() == ["ada", "bob", "session"]

    def test_an_owner_that_only_read_has_no_layer(self, database: Database, baseline: Baseline) -> None:
        database.run("INSERT INTO users (name) VALUES ('test')")
        baseline.push("reader", baseline.mark())
        assert baseline.is_dirty
        baseline.restore()
        assert database.names() == ["ada", "bob"]

    def test_an_owner_inside_of_another(self, database: Database, baseline: Baseline) -> None:
        outer = baseline.mark()
        database.run("INSERT INTO users (name) VALUES ('outer, first')")
        self.layer(database, baseline, "inner")
        database.run("INSERT INTO users (name) VALUES ('outer, last')")
        baseline.push("outer", outer)
        baseline.restore()
        assert database.names() == ["ada", "bob", "outer, first", "inner", "outer, last"]
        baseline.pop("outer")
        baseline.restore()
        assert database.names() == ["ada", "bob", "inner"]

    def test_an_owner_that_begins_again_meets_nothing_that_it_left(
        self, database: Database, baseline: Baseline
    ) -> None:
        for _ in range(3):
            self.layer(database, baseline, "parameter")
            baseline.pop("parameter")
        baseline.restore()
        assert database.names() == ["ada", "bob"]

    def test_what_was_there_before_the_first_test_is_adopted(self, database: Database, baseline: Baseline) -> None:
        database.run("INSERT INTO users (name) VALUES ('early')")
        baseline.adopt("session")
        assert not baseline.is_dirty
        database.run("DELETE FROM users")
        baseline.restore()
        assert database.names() == ["ada", "bob", "early"]

    def test_nobody_else_is_popped(self, database: Database, baseline: Baseline) -> None:
        self.layer(database, baseline, "session")
        baseline.pop("stranger")
        assert not baseline.is_dirty

    def test_closing_leaves_the_lowest(self, database: Database) -> None:
        baseline = Baseline(database.path)
        before = database.state()
        self.layer(database, baseline, "session")
        database.run("CREATE TABLE extra (id INT)")
        baseline.close()
        assert database.state() == before


def test_a_transaction_that_does_not_end_is_told_in_time(
    database: Database, baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline_module, "SECONDS_FOR_LEFT_OVERS", 0.2)
    database.run("INSERT INTO users (name) VALUES ('committed')")
    with closing(database.connect()) as writer:
        writer.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(LifecycleError, match=r"(?s)still open when the test ended.*within 0\.2 seconds"):
            baseline.restore(seconds=0.2)
        assert time.monotonic() - started < 15  # a pass of the garbage collector takes its time on a busy machine
        assert baseline.is_dirty, "it is not forgotten"
        writer.execute("ROLLBACK")
    baseline.restore()
    assert database.names() == ["ada", "bob"]


def test_a_transaction_that_soon_ends_is_waited_for(database: Database, baseline: Baseline) -> None:
    writer = database.connect()
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM users")
    timer = threading.Timer(0.2, writer.execute, ["COMMIT"])
    timer.start()
    baseline.restore()
    timer.join()
    assert database.names() == ["ada", "bob"]
    writer.close()


class Circle:
    """Keeps itself alive until Python looks for circles, as a session does; its connection is given back then."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.itself = self

    def __del__(self) -> None:
        self.connection.close()


@pytest.mark.parametrize("keeper", ["nothing", "the traceback of a failed test"])
def test_what_nobody_can_reach_any_more_is_freed(database: Database, baseline: Baseline, keeper: str) -> None:
    gc.disable()
    try:
        connection = database.connect()
        connection.execute("BEGIN IMMEDIATE")
        circle = Circle(connection)
        if keeper != "nothing":
            sys.last_value = ValueError(circle)
        del circle
        started = time.monotonic()
        baseline.restore(seconds=60)
        assert time.monotonic() - started < 30
        assert not hasattr(sys, "last_value")
    finally:
        gc.enable()


def test_a_transaction_that_an_owner_holds_open_is_its_own_business(database: Database, baseline: Baseline) -> None:
    with closing(database.connect()) as writer:
        mark = baseline.mark()
        writer.execute("BEGIN IMMEDIATE")
        baseline.push("module", mark)
        assert not baseline.is_left_open
        baseline.pop("module")
        assert baseline.is_left_open
    assert not baseline.is_left_open


class TestWritersThatGoOn:
    """A thread that outlives its test, and writes."""

    @staticmethod
    def start(database: Database, seconds: float, end: threading.Event | None = None) -> threading.Thread:
        def write() -> None:
            last = time.monotonic() + seconds
            while time.monotonic() < last and not (end and end.is_set()):
                database.run("INSERT INTO log VALUES ('again')")
                time.sleep(0.002)

        thread = threading.Thread(target=write, name="importer")
        thread.start()
        return thread

    def test_one_that_soon_ends_is_waited_for(self, database: Database, baseline: Baseline) -> None:
        before = database.state()
        thread = self.start(database, 0.4)
        wait_for_quiet(baseline, [thread])
        assert not thread.is_alive()
        assert database.state() == before

    def test_one_that_does_not_is_named(
        self, database: Database, baseline: Baseline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(baseline_module, "SECONDS_FOR_LEFT_OVERS", 0.3)
        end = threading.Event()
        thread = self.start(database, 60, end)
        with pytest.raises(LifecycleError, match=r"(?s)went on writing.*threads that the test left behind: importer\."):
            wait_for_quiet(baseline, [thread])
        end.set()
        thread.join()

    def test_one_that_is_idle_costs_little(self, baseline: Baseline) -> None:
        end = threading.Event()
        thread = threading.Thread(target=end.wait, args=(10,))
        thread.start()
        started = time.monotonic()
        wait_for_quiet(baseline, [thread])
        assert time.monotonic() - started < 0.5
        end.set()
        thread.join()


STATEMENTS = st.sampled_from(
    [
        "INSERT INTO users (name) VALUES ('{0}')",
        "INSERT INTO users (id, name) VALUES ({1} + 50, 'at {0}')",
        "UPDATE users SET name = 'changed {0}' WHERE id = {1}",
        "DELETE FROM users WHERE id = {1}",
        "INSERT OR IGNORE INTO posts VALUES ({1} + 10, NULL, '{0}')",
        "UPDATE posts SET title = '{0}', id = id + 100 WHERE id = {1}",
        "INSERT OR REPLACE INTO codes (language, code) VALUES ('l{1}', '{0}')",
        "DELETE FROM codes",
        "INSERT INTO plain VALUES (NULL, x'{1}{1}', {1}.5)",
        "UPDATE plain SET b = {1}",
        "DELETE FROM log",
        "CREATE TABLE IF NOT EXISTS own_{2} (a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT)",
        "CREATE INDEX IF NOT EXISTS index_{2} ON plain (b)",
        "CREATE VIEW IF NOT EXISTS view_{2} AS SELECT name FROM users",
        "CREATE TRIGGER IF NOT EXISTS trigger_{2} AFTER DELETE ON log BEGIN DELETE FROM plain; END",
        "ALTER TABLE plain ADD COLUMN column_{2} TEXT DEFAULT 'd'",
        "DROP VIEW IF EXISTS titles",
    ]
)
CHANGES = st.lists(st.tuples(STATEMENTS, st.integers(1, 4)), max_size=6)


def change(connection: sqlite3.Connection, changes: list[tuple[str, int]], owner: str) -> None:
    for number, (statement, key) in enumerate(changes):
        with contextlib.suppress(sqlite3.Error):  # some contradict what is there
            connection.execute(statement.format(f"{owner}-{number}", key, owner))


def fresh() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    return connection


@given(changes=CHANGES)
@settings(max_examples=60, deadline=None)
def test_changes_rebased_onto_where_they_began_are_the_changes(changes: list[tuple[str, int]]) -> None:
    with closing(fresh()) as old, closing(fresh()) as new:
        change(new, changes, "s")
        with closing(rebase(old, old, new)) as image:
            assert state_of(image) == state_of(new)


@given(changes=CHANGES)
@settings(max_examples=60, deadline=None)
def test_no_changes_rebased_leave_what_they_come_onto(changes: list[tuple[str, int]]) -> None:
    with closing(fresh()) as onto, closing(fresh()) as old:
        change(onto, changes, "m")
        with closing(rebase(onto, old, old)) as image:
            assert state_of(image) == state_of(onto)


@given(first=CHANGES, second=CHANGES)
@settings(max_examples=60, deadline=None)
def test_a_rebased_image_is_whole(first: list[tuple[str, int]], second: list[tuple[str, int]]) -> None:
    with closing(fresh()) as onto, closing(fresh()) as old:
        change(old, first, "m")
        with closing(copy_of(old)) as new:
            change(new, second, "s")
            with closing(rebase(onto, old, new)) as image:
                assert image.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_changes_to_a_virtual_table_are_taken_whole() -> None:
    with closing(fresh()) as old, closing(fresh()) as onto:
        old.execute("CREATE VIRTUAL TABLE search USING fts5(words)")
        with closing(copy_of(old)) as new:
            new.execute("INSERT INTO search VALUES ('found')")
            with closing(rebase(onto, old, new)) as image:
                assert image.execute("SELECT * FROM search('found')").fetchall() == [("found",)]


@given(tests=st.lists(CHANGES, min_size=1, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_tests_do_the_baseline_comes_back(
    database: Database, baseline: Baseline, tests: list[list[tuple[str, int]]]
) -> None:
    before = database.state()
    for changes in tests:
        with closing(database.connect()) as connection:
            change(connection, changes, "t")
        if baseline.is_dirty:
            baseline.restore()
        assert database.state() == before
