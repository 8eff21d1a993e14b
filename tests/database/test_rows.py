"""What is restored row by row, and what is left to the whole image; whoever wrote, the log tells."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engineroom.testing._image import copy_of
from engineroom.testing._pages import Pages
from engineroom.testing._wal import Position, WriteAheadLog
from engineroom.testing.sqlite import SQLiteBaseline

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
    CREATE TABLE keyless (a TEXT);
    CREATE TABLE log (what TEXT);
    CREATE TABLE "odd ""name" ("select" TEXT);
    CREATE TABLE big (id INTEGER PRIMARY KEY, filling TEXT);
    CREATE TABLE long (id INTEGER PRIMARY KEY, filling TEXT);
    CREATE TABLE empty (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
    CREATE INDEX posts_by_user ON posts (user_id) WHERE user_id IS NOT NULL;
    CREATE TRIGGER tell AFTER INSERT ON posts BEGIN INSERT INTO log VALUES (new.title); END;
    INSERT INTO users (name) VALUES ('ada'), ('bob'), ('cid');
    DELETE FROM users WHERE name = 'cid';
    INSERT INTO posts VALUES (1, 1, 'first'), (2, 2, 'second');
    INSERT INTO codes (language, code) VALUES ('en', 'yes');
    INSERT INTO plain VALUES ('x', x'00ff', 1.5);
    INSERT INTO keyless VALUES ('one'), ('two'), ('three');
    DELETE FROM keyless WHERE a = 'two';
    INSERT INTO "odd ""name" VALUES ('odd');
    INSERT INTO big SELECT value, hex(randomblob(100)) FROM (
        WITH RECURSIVE numbers(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers LIMIT 200)
        SELECT value FROM numbers
    );
    INSERT INTO long VALUES (1, hex(randomblob(6000)));
"""
MANY = (
    "INSERT INTO {0} (name) SELECT hex(randomblob(50)) FROM (WITH RECURSIVE n(v) AS "
    "(SELECT 1 UNION ALL SELECT v + 1 FROM n LIMIT 300) SELECT v FROM n)"
)
BY_ROWS = {
    "an insert": ["INSERT INTO users (name) VALUES ('eve')"],
    "an update": ["UPDATE users SET name = 'eve', id = 9 WHERE id = 1"],
    "all rows deleted": ["DELETE FROM log", "DELETE FROM users"],
    "a sequence": ["INSERT INTO users (name) VALUES ('eve')", "DELETE FROM users WHERE name = 'eve'"],
    "a sequence of a table that was empty": ["INSERT INTO empty (name) VALUES ('eve')", "DELETE FROM empty"],
    "sequences set by hand": ["UPDATE sqlite_sequence SET seq = 100"],
    "sequences forgotten": ["DELETE FROM sqlite_sequence"],
    "without rowid": ["UPDATE codes SET code = 'no'", "INSERT INTO codes (language, code) VALUES ('de', 'ja')"],
    "a rowid that a column hides": ["DELETE FROM plain", "INSERT INTO plain VALUES ('y', NULL, 2)"],
    "rows that only their rowid tells apart": [
        "DELETE FROM keyless WHERE a = 'one'",
        "INSERT INTO keyless VALUES ('four')",
    ],
    "an odd name": ['DELETE FROM "odd ""name"'],
    "so many rows that pages are added": [MANY.format("empty"), MANY.format("users")],
    "rows that came and went": [MANY.format("users"), "DELETE FROM users WHERE id > 2"],
    "several transactions": ["INSERT INTO log VALUES ('a')", "INSERT INTO empty (name) VALUES ('b')"],
}
BY_IMAGE = {
    "a table with a trigger": ["INSERT INTO posts (title) VALUES ('third')"],
    "a table of several pages": ["UPDATE big SET filling = 'short' WHERE id = 7"],
    "a row that overflows": ["UPDATE long SET filling = hex(randomblob(6000))"],
    "a new table": ["CREATE TABLE extra (id INT)", "INSERT INTO extra VALUES (1)"],
    "a table that came and went": ["CREATE TABLE extra (id INT)", "DROP TABLE extra"],
    "a dropped table": ["DROP TABLE codes"],
    "an added column": ["ALTER TABLE users ADD COLUMN age INT"],
    "another table of the same name": ["DROP TABLE keyless", "CREATE TABLE keyless (b TEXT, c TEXT)"],
    "the user version": ["PRAGMA user_version = 42"],
    "vacuum": ["DELETE FROM big", "VACUUM"],
    "statistics": ["ANALYZE"],
}


class Database:
    """A database in a file, a baseline of it, and what it holds."""

    def __init__(self, path: Path, schema: str = SCHEMA) -> None:
        self.path = path
        self.keeper = self.connect()
        self.keeper.execute("PRAGMA journal_mode = WAL")
        self.keeper.executescript(schema)
        self.baseline = SQLiteBaseline(path)
        self.before = self.state()

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=5)
        connection.create_function("shout", 1, str.upper, deterministic=True)
        connection.execute("PRAGMA recursive_triggers = ON")
        return connection

    def run(self, *statements: str) -> None:
        with closing(self.connect()) as connection:
            for statement in statements:
                connection.execute(statement)

    def state(self) -> object:
        """Everything that can be seen, rowids and sequences too, where no column hides them."""
        with closing(self.connect()) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            objects = sorted(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"), key=repr)
            rows = {}
            for name in [name for kind, name, *_ in objects if kind == "table"]:
                quoted = '"' + name.replace('"', '""') + '"'
                for columns in ("_rowid_, *", "*"):
                    with contextlib.suppress(sqlite3.OperationalError):
                        rows[name] = sorted(connection.execute(f"SELECT {columns} FROM {quoted}"), key=repr)  # noqa: S608
                        break
            return objects, rows, connection.execute("PRAGMA user_version").fetchone()

    def warm_up(self) -> None:
        """Restore the whole image once, so that the next restore may be of rows."""
        self.run("CREATE TABLE warm_up (id INT)")
        self.baseline.restore()

    def frames_of_restore(self) -> int:
        """Restore, and return how many pages that wrote, or a large number where the log began anew."""
        log = WriteAheadLog(self.path)
        start = log.position()
        self.baseline.restore()
        written = log.pages_since(start)
        log.close()
        return 10_000 if written is None else len(written)

    def close(self) -> None:
        self.baseline.close()
        self.keeper.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "test_shop.db")
    yield database
    database.close()


@pytest.mark.parametrize("case", BY_ROWS)
def test_only_the_rows_of_the_tables_that_were_written_to_are_restored(database: Database, case: str) -> None:
    database.warm_up()
    for _ in range(3):
        database.run(*BY_ROWS[case])
        assert database.state() != database.before
        assert database.baseline.is_dirty
        assert database.frames_of_restore() < 12, "the image has more than forty pages"
        assert not database.baseline.is_dirty
        assert database.state() == database.before


@pytest.mark.parametrize("case", BY_IMAGE)
def test_what_is_out_of_the_ordinary_is_left_to_the_whole_image(database: Database, case: str) -> None:
    database.warm_up()
    for _ in range(2):
        database.run(*BY_IMAGE[case])
        database.run("INSERT INTO users (name) VALUES ('eve')")
        assert database.frames_of_restore() > 12
        assert not database.baseline.is_dirty
        assert database.state() == database.before
    database.run("INSERT INTO users (name) VALUES ('eve')")
    assert database.frames_of_restore() < 12, "rows are enough again"
    assert database.state() == database.before


SPECIAL = {
    "a virtual table": (
        "CREATE VIRTUAL TABLE search USING fts5(words); INSERT INTO search VALUES ('found');",
        "INSERT INTO search VALUES ('more')",
    ),
    "an index with a function of the application": (
        "CREATE TABLE names (name TEXT); CREATE INDEX shouted ON names (shout(name)); INSERT INTO names VALUES ('a');",
        "INSERT INTO names VALUES ('b')",
    ),
    "pages that SQLite moves": (
        "PRAGMA auto_vacuum = FULL; VACUUM; CREATE TABLE names (name TEXT); INSERT INTO names VALUES ('a');",
        "INSERT INTO names VALUES ('b')",
    ),
    "large pages": (
        "PRAGMA page_size = 65536; VACUUM; CREATE TABLE names (name TEXT); INSERT INTO names VALUES ('a');",
        "INSERT INTO names VALUES ('b')",
    ),
    "free pages": (
        "CREATE TABLE gone (a); INSERT INTO gone VALUES (zeroblob(90000)); DELETE FROM gone; CREATE TABLE names (a);",
        "INSERT INTO names VALUES (zeroblob(50000))",
    ),
}


@pytest.mark.parametrize("case", SPECIAL)
def test_databases_of_other_kinds_come_back_too(tmp_path: Path, case: str) -> None:
    schema, write = SPECIAL[case]
    with closing(sqlite3.connect(tmp_path / "test_shop.db")) as connection:
        connection.create_function("shout", 1, str.upper, deterministic=True)
        connection.executescript(schema)
    with closing(Database(tmp_path / "test_shop.db", "")) as database:
        for _ in range(4):
            database.run(write)
            assert database.baseline.is_dirty
            database.baseline.restore()
            assert database.state() == database.before


def test_what_another_process_wrote_is_restored(database: Database) -> None:
    database.warm_up()
    write = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM users'); c.commit()"
    subprocess.run([sys.executable, "-c", write, str(database.path)], check=True)
    assert database.baseline.is_dirty
    assert database.frames_of_restore() < 12
    assert database.state() == database.before


@pytest.mark.parametrize("mode", ["PASSIVE", "RESTART", "TRUNCATE"])
def test_a_log_that_somebody_began_anew_costs_the_whole_image_and_no_row(database: Database, mode: str) -> None:
    database.warm_up()
    for _ in range(3):
        database.run("DELETE FROM keyless", f"PRAGMA wal_checkpoint({mode})", "INSERT INTO users (name) VALUES ('eve')")
        assert database.baseline.is_dirty
        database.baseline.restore()
        assert database.state() == database.before
        database.run(f"PRAGMA wal_checkpoint({mode})")
    for _ in range(2):
        database.run("INSERT INTO users (name) VALUES ('eve')")
        database.baseline.restore()
    assert database.state() == database.before


def test_a_test_that_writes_very_much_costs_the_next_ones_nothing(database: Database) -> None:
    database.warm_up()
    database.run("INSERT INTO log SELECT hex(randomblob(2000)) FROM big, users, codes, plain, log, keyless")
    database.run("INSERT INTO log SELECT hex(randomblob(2000)) FROM big")
    for _ in range(3):
        database.baseline.restore()
        assert database.state() == database.before
        database.run("INSERT INTO users (name) VALUES ('eve')")
    assert database.frames_of_restore() < 12


def test_an_open_read_keeps_its_snapshot_while_rows_are_restored(database: Database) -> None:
    database.warm_up()
    database.run("INSERT INTO users (name) VALUES ('eve')")
    with closing(database.connect()) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (3,)
        assert database.frames_of_restore() < 12
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (3,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (2,)


def test_what_was_rolled_back_or_only_read_is_not_dirty(database: Database) -> None:
    database.warm_up()
    with closing(database.connect()) as connection:
        connection.execute("PRAGMA cache_size = 1")  # it writes to the log before the end
        connection.execute("BEGIN")
        connection.execute(MANY.format("users"))
        assert not database.baseline.is_dirty
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (2,)
    assert not database.baseline.is_dirty
    database.run("UPDATE keyless SET a = 'other'")
    assert database.frames_of_restore() < 100
    assert database.state() == database.before


def test_a_test_that_only_read_costs_no_statement(database: Database) -> None:
    database.warm_up()
    seen: list[str] = []
    database.baseline._keeper.set_trace_callback(seen.append)
    with closing(database.connect()) as connection:
        connection.execute("SELECT * FROM users").fetchall()
    assert not database.baseline.is_dirty
    assert seen == []


STATEMENTS = st.sampled_from(
    [
        *(statement for case in BY_ROWS.values() for statement in case),
        "INSERT INTO posts (title, user_id) VALUES ('{0}', 1)",
        "DELETE FROM users",
        "UPDATE big SET filling = 'short {0}' WHERE id % 7 = 0",
        "DELETE FROM big WHERE id > 20",
        "INSERT INTO big (filling) SELECT filling FROM big",
        "UPDATE long SET filling = filling || '{0}'",
        "UPDATE long SET filling = 'short'",
        "CREATE TABLE IF NOT EXISTS extra (a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT)",
        "INSERT INTO extra (b) VALUES ('{0}')",
        "DROP TABLE IF EXISTS keyless",
        "DROP TABLE IF EXISTS extra",
        "ALTER TABLE codes ADD COLUMN c{0} TEXT",
        "CREATE INDEX IF NOT EXISTS more ON plain (b)",
        "CREATE TRIGGER IF NOT EXISTS t AFTER DELETE ON log BEGIN DELETE FROM plain; END",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA foreign_keys = ON",
    ]
)
TESTS = st.lists(st.lists(st.tuples(STATEMENTS, st.integers(0, 9)), max_size=8), min_size=2, max_size=8)


@given(tests=TESTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_random_tests_do_every_one_starts_from_the_baseline(
    database: Database, tests: list[list[tuple[str, int]]]
) -> None:
    for statements in tests:
        with closing(database.connect()) as connection:
            for statement, number in statements:
                with contextlib.suppress(sqlite3.Error):  # some contradict what is there
                    connection.execute(statement.format(number))
        if database.baseline.is_dirty:
            database.baseline.restore()
        assert database.state() == database.before


def test_the_pages_of_an_image_are_known_as_sqlite_knows_them(database: Database) -> None:
    with closing(copy_of(database.keeper)) as image:
        roots = image.execute("SELECT rootpage, tbl_name FROM sqlite_master WHERE rootpage > 0").fetchall()
        pages = Pages(image.serialize(), roots)
        try:
            known = image.execute("SELECT pageno, name FROM dbstat WHERE pagetype <> 'overflow'").fetchall()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
        tables = dict(image.execute("SELECT name, tbl_name FROM sqlite_master"))
        several = {tables[name] for _, name in known if [each for _, each in known].count(name) > 1 and name in tables}
        for page, name in known:
            if name in tables:
                assert pages.owners([page]) == {(tables[name], tables[name] not in several)}
        assert several == {"big"}
        count = database.path.stat().st_size // 4096
        assert pages.owners([count + 1000]) == set(), "a page that was added"


def test_a_position_goes_on_with_commits_alone(database: Database) -> None:
    log = WriteAheadLog(database.path)
    start = log.position()
    assert log.position() == start
    assert log.next_commit(start) is None
    database.run("INSERT INTO log VALUES ('a')", "INSERT INTO log VALUES ('b')")
    commit = log.next_commit(start)
    assert commit is not None
    assert start < commit.end < log.position()
    assert log.page(1, commit) is None, "it is not part of that commit"
    assert log.pages_since(Position(b"otherlog", 32)) is None
    log.close()


def test_a_log_that_was_read_from_its_beginning_and_one_that_was_followed_say_the_same(database: Database) -> None:
    followed = WriteAheadLog(database.path)
    for turn in range(3):
        start = followed.position()
        database.run("INSERT INTO log VALUES ('a')", "INSERT INTO users (name) SELECT count(*) FROM log")
        if turn == 1:
            database.run("PRAGMA wal_checkpoint(RESTART)", "INSERT INTO log VALUES ('c')")
        fresh = WriteAheadLog(database.path)
        for log in (followed, fresh):
            assert log.position() == fresh.position()
            assert log.pages_since(start) == fresh.pages_since(start)
            assert log.next_commit(start) == fresh.next_commit(start)
        assert (followed.pages_since(start) is None) == (turn == 1)
        fresh.close()
    followed.close()


def test_pages_of_a_transaction_that_is_not_finished_are_not_written(database: Database) -> None:
    log = WriteAheadLog(database.path)
    start = log.position()
    with closing(sqlite3.connect(database.path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO log SELECT hex(randomblob(20000)) FROM big")
        assert database.path.with_name(f"{database.path.name}-wal").stat().st_size > 4096, "pages of it are there"
        assert log.position() == start
        assert log.pages_since(start) == {}
        writer.execute("ROLLBACK")
    database.run("INSERT INTO log VALUES ('a')")
    assert len(log.pages_since(start) or {}) == 1, "it stands where those of the other one stood"
    log.close()
