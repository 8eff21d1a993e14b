"""Whatever a guarded connection is told, in whatever order: nothing is lost that somebody else made."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from engineroom import guard
from engineroom.errors import DestructiveOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RAM = Path("/dev/shm")  # noqa: S108
ERRORS = (sqlite3.Error, sqlite3.Warning, DBAPIError, DestructiveOperationError)

NAMES = st.sampled_from(["a", "b", "A"])
PLACES = st.sampled_from(["", "main.", "x.", "temp."])
KINDS = st.sampled_from(["TABLE", "TABLE", "TABLE IF EXISTS", "VIEW", "TRIGGER"])
FILES = st.sampled_from(["shop.db", "test_other.db", "second.db", ":memory:"])

STATEMENTS = st.one_of(
    st.builds("CREATE TABLE {}{} (z)".format, PLACES, NAMES),
    st.builds("CREATE TABLE IF NOT EXISTS {}{} (z TEXT PRIMARY KEY)".format, PLACES, NAMES),
    st.builds("CREATE TABLE {} AS SELECT 1 AS z".format, NAMES),
    st.builds("CREATE TEMP TABLE {} (z)".format, NAMES),
    st.builds("CREATE VIEW {} AS SELECT 1 AS z".format, NAMES),
    st.builds("CREATE TRIGGER IF NOT EXISTS {} AFTER DELETE ON {} BEGIN SELECT 1; END".format, NAMES, NAMES),
    st.builds("CREATE VIRTUAL TABLE IF NOT EXISTS {} USING fts5(z)".format, NAMES),
    st.builds("DROP {} {}{}".format, KINDS, PLACES, NAMES),
    st.builds("ALTER TABLE {}{} RENAME TO {}".format, PLACES, NAMES, NAMES),
    st.builds("ALTER TABLE {}{} ADD COLUMN y".format, PLACES, NAMES),
    st.builds("ALTER TABLE {} DROP COLUMN kept".format, NAMES),
    st.builds("ATTACH '{{folder}}/{}' AS x".format, FILES),
    st.builds("EXPLAIN CREATE TABLE {} (z)".format, NAMES),
    st.builds("SELECT * FROM pragma_table_info('{}')".format, NAMES),
    st.builds("DELETE FROM {}sqlite_master WHERE name = '{}'".format, st.sampled_from(["", "x."]), NAMES),
    st.sampled_from(
        [
            "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s", "DETACH x", "DETACH 'x' || ''",
            "PRAGMA writable_schema = ON", "PRAGMA writable_schema = OFF", "VACUUM", "ANALYZE", "SELECT 1",
            "INSERT OR ROLLBACK INTO unique_ones VALUES (1)",
        ]
    ),
)  # fmt: skip
ACTIONS = st.one_of(
    STATEMENTS.map(lambda sql: ("run", sql)),
    STATEMENTS.map(lambda sql: ("run", sql)),
    st.lists(STATEMENTS, min_size=2, max_size=4).map(lambda parts: ("script", "; ".join(parts))),
    NAMES.map(lambda name: ("other creates", name)),
    NAMES.map(lambda name: ("other drops", name)),
    st.sampled_from([("commit", ""), ("rollback", ""), ("turn", "")]),
)


class World:
    """Two files that are not disposable, and somebody else who makes and drops tables in one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks: dict[str, set[str]] = {"shop.db": set(), "second.db": set()}
        self.number = 0
        for file in self.marks:
            with self.connect(file) as connection:
                connection.execute("CREATE TABLE unique_ones (z UNIQUE)")
                connection.execute("INSERT INTO unique_ones VALUES (1)")
            self.create(file, "a")
        with self.connect("test_other.db") as connection:
            connection.execute("CREATE TABLE a (z)")

    @contextlib.contextmanager
    def connect(self, file: str) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.folder / file, timeout=0, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    def create(self, file: str, name: str) -> None:
        self.number += 1
        mark = f"mark_{self.number}"
        with self.connect(file) as connection:
            connection.execute(f"CREATE TABLE {name} (kept, {mark})")
            connection.execute(f"INSERT INTO {name} VALUES (1, 2)")  # noqa: S608  # a name of ours
        self.marks[file].add(f"{name.lower()}: {mark}")

    def drop(self, file: str, name: str) -> None:
        with self.connect(file) as connection:
            connection.execute(f"DROP TABLE {name}")
        self.marks[file] = {mark for mark in self.marks[file] if not mark.startswith(f"{name.lower()}:")}

    def lost(self) -> set[str]:
        """Return what is not there any more, or has lost a row or a column, unless its owner dropped it."""
        missing: set[str] = set()
        for file, marks in self.marks.items():
            with self.connect(file) as connection:
                for mark in marks:
                    name, _, column = mark.partition(": ")
                    try:
                        rows = connection.execute(f"SELECT kept, {column} FROM {name}").fetchall()  # noqa: S608
                    except sqlite3.Error:
                        rows = []
                    missing |= set() if rows == [(1, 2)] else {f"{file} {mark}"}
        return missing


class Sync:
    """A guarded engine's connection, used by SQLAlchemy or past it."""

    def __init__(self, folder: Path, *, is_foreign: bool, is_raw: bool) -> None:
        self.is_raw = is_raw
        options: dict[str, Any] = {"timeout": 0, "isolation_level": None}
        if is_foreign:
            creator: Callable[[], Any] = lambda: sqlite3.connect(folder / "shop.db", **options)  # noqa: E731
            self.engine = guard(create_engine("sqlite:///test_x.db", creator=creator, pool_size=1))
        else:
            self.engine = guard(create_engine(f"sqlite:///{folder}/shop.db", connect_args=options, pool_size=1))
        self.connection = self.engine.connect()

    def act(self, verb: str, sql: str) -> None:
        driver: Any = self.connection.connection.driver_connection
        match verb:
            case "run" if self.is_raw:
                driver.execute(sql).fetchall()
            case "run":
                self.connection.exec_driver_sql(sql)
            case "script":
                driver.executescript(sql)
            case "commit" | "rollback":
                getattr(self.connection, verb)()
            case _:
                self.connection.close()
                self.connection = self.engine.connect()

    def close(self) -> None:
        with contextlib.suppress(*ERRORS):
            self.connection.commit()
        with contextlib.suppress(*ERRORS):
            self.connection.connection.driver_connection.execute("COMMIT")  # type: ignore[union-attr]
        self.connection.close()
        self.engine.dispose()


@pytest.mark.parametrize(
    ("is_foreign", "is_raw"),
    [(False, False), (False, True), (True, False), (True, True)],
    ids=["SQLAlchemy", "raw cursors", "SQLAlchemy and a foreign connection", "raw cursors of a foreign connection"],
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, min_size=1, max_size=20))
@example(
    actions=[
        ("run", "CREATE TABLE IF NOT EXISTS a (z)"),
        ("run", "ALTER TABLE a ADD COLUMN y"),
        ("run", "DROP TABLE a"),
    ]
)
@example(actions=[("run", "CREATE TABLE b (z)"), ("other drops", "b"), ("other creates", "b"), ("run", "DROP TABLE b")])
@example(
    actions=[
        ("run", "BEGIN"),
        ("run", "CREATE TABLE b (z)"),
        ("rollback", ""),
        ("other creates", "b"),
        ("run", "DROP TABLE b"),
    ]
)
def test_nothing_is_lost_that_somebody_else_made(
    is_foreign: bool, is_raw: bool, actions: list[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None) as name:
        world = World(Path(name))
        session = Sync(Path(name), is_foreign=is_foreign, is_raw=is_raw)
        for verb, sql in actions:
            with contextlib.suppress(*ERRORS):
                if verb == "other creates":
                    world.create("shop.db", sql)
                elif verb == "other drops":
                    world.drop("shop.db", sql)
                else:
                    session.act(verb, sql.replace("{folder}/:memory:", ":memory:").replace("{folder}", name))
        session.close()
        assert world.lost() == set()
