"""The baseline on servers: what is brought back, what stays as long as its owner, and what is done about left-overs.

The same bodies for PostgreSQL and MariaDB, with the keeper's connection by a sync and by an async driver.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import MetaData, create_engine, event, inspect
from sqlalchemy.pool import NullPool

from engineroom import LifecycleError
from engineroom._schema.place import Place
from engineroom.testing import databases as databases_module
from engineroom.testing._keeper import Keeper
from engineroom.testing._left_overs import note_caller
from engineroom.testing._mysql_objects import companion_of
from engineroom.testing.mysql import MySQLRows
from engineroom.testing.postgresql import PostgreSQLRows
from engineroom.testing.server import ServerBaseline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL

KEEPERS = {
    # The keeper's driver: the server, and the URL's scheme where it is async; connect_args keep it from its sync twin.
    "psycopg": ("postgresql", "", {}),
    "asyncpg": ("postgresql", "postgresql+asyncpg", {"timeout": 30}),
    "pymysql": ("mariadb", "", {}),
    "aiomysql": ("mariadb", "mysql+aiomysql", {"connect_timeout": 30}),
}
SCHEMA = {
    "postgresql": (
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "CREATE TABLE users (id serial PRIMARY KEY, name varchar(50) UNIQUE, mood mood, boss int REFERENCES users)",
        (
            "CREATE TABLE posts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int REFERENCES users"
            " ON DELETE CASCADE, twice int GENERATED ALWAYS AS (user_id * 2) STORED)"
        ),
        "CREATE TABLE log (what varchar(50))",
        "CREATE TABLE empty (id serial PRIMARY KEY, at_number int)",
        "CREATE TABLE parts (k int, what varchar(50)) PARTITION BY RANGE (k)",
        "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "CREATE SEQUENCE numbers",
        "CREATE VIEW names AS SELECT name FROM users WHERE name <> 'a text of more than sixty letters'",
        (
            "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO log VALUES (new.name); RETURN new; END $$"
        ),
        "CREATE TRIGGER tell AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION tell()",
        "INSERT INTO users (name, mood) VALUES ('ada', 'glad'), ('bob', 'sad')",
        "INSERT INTO posts (user_id) VALUES (1), (2)",
        "INSERT INTO parts VALUES (1, 'low')",
    ),
    "mariadb": (
        (
            "CREATE TABLE users (id int AUTO_INCREMENT PRIMARY KEY, name varchar(50) UNIQUE, mood ENUM('glad', 'sad'),"
            " boss int, FOREIGN KEY (boss) REFERENCES users (id))"
        ),
        (
            "CREATE TABLE posts (id int AUTO_INCREMENT PRIMARY KEY, user_id int, twice int AS (user_id * 2) STORED,"
            " FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE)"
        ),
        "CREATE TABLE log (what varchar(50))",
        "CREATE TABLE empty (id int AUTO_INCREMENT PRIMARY KEY, at_number int)",
        "CREATE TABLE parts (k int, what varchar(50))",
        "CREATE SEQUENCE numbers",
        "CREATE VIEW names AS SELECT name FROM users WHERE name <> 'a text of more than sixty letters'",
        "CREATE TRIGGER tell AFTER INSERT ON users FOR EACH ROW INSERT INTO log VALUES (new.name)",
        "INSERT INTO users (name, mood) VALUES ('ada', 'glad'), ('bob', 'sad')",
        "INSERT INTO posts (user_id) VALUES (1), (2)",
        "INSERT INTO parts VALUES (1, 'low')",
    ),
}
STATE = {
    "postgresql": (
        "SELECT * FROM users ORDER BY id",
        "SELECT * FROM posts ORDER BY id",
        "SELECT * FROM log ORDER BY what",
        "SELECT * FROM empty ORDER BY id",
        "SELECT * FROM parts ORDER BY k",
        "SELECT last_value, is_called FROM users_id_seq",
        "SELECT last_value, is_called FROM posts_id_seq",
        "SELECT last_value, is_called FROM empty_id_seq",
        "SELECT last_value, is_called FROM numbers",
        "SELECT relname, relkind, relchecks FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
        (
            "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " JOIN pg_class c ON c.oid = attrelid"
            " WHERE relnamespace = 'public'::regnamespace AND attnum > 0 ORDER BY 1, 2"
        ),
        "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text, 1",
        "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    ),
    "mariadb": (
        "SELECT * FROM users ORDER BY id",
        "SELECT * FROM posts ORDER BY id",
        "SELECT * FROM log ORDER BY what",
        "SELECT * FROM empty ORDER BY id",
        "SELECT * FROM parts ORDER BY k",
        "SELECT next_not_cached_value FROM numbers",
        (
            "SELECT name, autoinc FROM information_schema.innodb_sys_tablestats"
            " WHERE SUBSTRING_INDEX(name, '/', 1) = DATABASE() ORDER BY 1"
        ),
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1",
        (
            "SELECT table_name, column_name, column_type, column_default FROM information_schema.columns"
            " WHERE table_schema = DATABASE() ORDER BY 1, 2"
        ),
        "SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = DATABASE()",
        (
            "SELECT trigger_name, action_statement FROM information_schema.triggers"
            " WHERE trigger_schema = DATABASE() ORDER BY 1"
        ),
    ),
}


def differences(case: str, before: list[object], after: list[object]) -> list[str]:
    return [f"{case}: {old} became {new}" for old, new in zip(before, after, strict=True) if old != new]


class Database:
    """A database on a server, its keeper's baseline, and connections that nobody watches."""

    def __init__(self, kind: str, url: URL, place: Place) -> None:
        self.kind = kind
        self.url = url
        self.place = place
        self.connections: set[Any] = set()
        self.builds = 0
        self.engine = create_engine(url, poolclass=NullPool)
        self.build()
        self.keeper = Keeper(place)
        self.rows: Any = PostgreSQLRows(self.keeper) if kind == "postgresql" else MySQLRows(self.keeper)
        self.baseline = ServerBaseline(self.rows, self.build, self.connections)

    def build(self) -> None:
        self.builds += 1
        self.run(*SCHEMA[self.kind])

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def read(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def state(self) -> list[object]:
        with self.engine.connect() as connection:
            return [[tuple(row) for row in connection.exec_driver_sql(each)] for each in STATE[self.kind]]

    def names(self) -> list[str]:
        return [name for (name,) in self.read("SELECT name FROM users ORDER BY id")]

    def close(self) -> None:
        self.keeper.close()
        self.engine.dispose()
        if self.kind == "mariadb":
            engine = create_engine(self.url.set(database=""), poolclass=NullPool)
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {companion_of(str(self.url.database))}")


@pytest.fixture(params=KEEPERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(driver: str, server_database: Callable[[str], URL]) -> Iterator[Database]:
    kind, scheme, args = KEEPERS[driver]
    url = server_database(kind)
    place = Place(url.set(drivername=scheme), dict(args), is_async=True) if scheme else Place(url)
    made = Database(kind, url, place)
    yield made
    made.close()


WRITES: dict[str, tuple[str, ...]] = {
    "rows": ("INSERT INTO users (name) VALUES ('eve')", "UPDATE users SET mood = 'sad' WHERE id = 1"),
    "a change alone": ("UPDATE users SET mood = 'sad' WHERE id = 1",),
    "a removal alone": ("DELETE FROM posts WHERE id = 1",),
    "a cascade": ("DELETE FROM users WHERE id = 1",),
    "all rows": ("DELETE FROM posts", "DELETE FROM users", "DELETE FROM log", "DELETE FROM parts"),
    "an empty table": ("INSERT INTO empty (at_number) VALUES (1)",),
    "a reference to itself": ("UPDATE users SET boss = 2 WHERE id = 1", "UPDATE users SET boss = 1 WHERE id = 2"),
    "partitions": ("INSERT INTO parts VALUES (5, 'more')",),
    "a truncation": ("TRUNCATE TABLE posts",),
    "swapped unique values": (
        "UPDATE users SET name = 'x' WHERE id = 1",
        "UPDATE users SET name = 'ada' WHERE id = 2",
    ),
    "a new table": ("CREATE TABLE extra (id int PRIMARY KEY)", "INSERT INTO extra VALUES (1)"),
    "a new view": ("CREATE VIEW more AS SELECT id FROM posts",),
    "a new index": ("CREATE INDEX more ON log (what)",),
    "a dropped table": ("DROP TABLE posts",),
    "a dropped sequence": ("DROP SEQUENCE numbers",),
    "a dropped view": ("DROP VIEW names",),
    "an added column": ("ALTER TABLE log ADD COLUMN age int",),
    "a column behind others": ("ALTER TABLE users ADD COLUMN age int",),
    "the end of a long view": (
        "CREATE OR REPLACE VIEW names AS SELECT name FROM users WHERE name <> 'a text of more than sixty letter.'",
    ),
    "a changed default": ("ALTER TABLE log ALTER COLUMN what SET DEFAULT 'x'",),
    "every table dropped": ("DROP VIEW names", "DROP TABLE posts", "DROP TABLE users", "DROP TABLE log"),
}
WRITES_OF: dict[str, dict[str, tuple[str, ...]]] = {
    "postgresql": {
        "a sequence alone": ("SELECT nextval('numbers')",),
        "a sequence of a table": ("SELECT setval('users_id_seq', 99)",),
        "a sequence that begins anew": ("ALTER SEQUENCE numbers RESTART WITH 3",),
        "a table and its sequence": ("INSERT INTO posts (user_id) VALUES (1)", "SELECT nextval('users_id_seq')"),
        "a table with partitions": (
            "CREATE TABLE wide (k int PRIMARY KEY) PARTITION BY RANGE (k)",
            "CREATE TABLE wide_low PARTITION OF wide FOR VALUES FROM (0) TO (10)",
            "CREATE INDEX more ON parts (what)",
        ),
        "a constraint of a table with partitions": ("ALTER TABLE parts ADD CONSTRAINT more CHECK (k > 0)",),
        "a partition": ("INSERT INTO parts_low VALUES (5, 'more')",),
        "in the role of a replica": (
            "SET session_replication_role = replica",
            "INSERT INTO users (name) VALUES ('eve')",
        ),
        "with its triggers off": (
            "ALTER TABLE posts DISABLE TRIGGER ALL",
            "DELETE FROM posts",
            "ALTER TABLE posts ENABLE TRIGGER ALL",
        ),
        "copy": ("COPY users (name) FROM PROGRAM 'echo eve'",),
        "a block": ("DO $$ BEGIN EXECUTE 'DELETE FROM ' || 'posts'; END $$",),
        "truncate with a cascade": ("TRUNCATE users RESTART IDENTITY CASCADE",),
        "everything at once": ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"),
        "a schema": ("CREATE SCHEMA more", "CREATE TABLE more.extra (id serial)"),
        "a type": ("DROP VIEW names", "DROP TABLE posts", "DROP TABLE users", "DROP TYPE mood"),
        "a function": (
            "CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
        ),
    },
    "mariadb": {
        "a sequence alone": ("SELECT NEXTVAL(numbers)",),
        "replaced": ("REPLACE INTO users (id, name) VALUES (1, 'eve')",),
        "a dropped trigger": ("DROP TRIGGER tell",),
        "a routine": ("CREATE PROCEDURE more() SELECT 1",),
        "a wider enum": ("ALTER TABLE users MODIFY mood ENUM('glad', 'sad', 'angry')",),
    },
}


class TestRestore:
    @pytest.mark.parametrize("driver", ["psycopg", "pymysql"], indirect=True)
    def test_everything_is_brought_back_whatever_was_written(self, database: Database) -> None:
        before = database.state()
        assert not database.baseline.is_dirty
        wrong = []
        for case, statements in (WRITES | WRITES_OF[database.kind]).items():
            database.run(*statements)
            if not database.baseline.is_dirty:
                wrong.append(f"{case}: not noticed")
            database.baseline.undo()
            wrong += differences(case, before, database.state())
            if database.baseline.is_dirty:
                wrong.append(f"{case}: dirty afterwards")
        assert not wrong

    def test_rows_are_brought_back_by_any_driver_and_a_clean_test_costs_no_build(self, database: Database) -> None:
        before = database.state()
        for _ in range(2):
            database.run("INSERT INTO users (name) VALUES ('eve')", "DELETE FROM posts")
            database.baseline.undo()
            assert database.state() == before
            database.baseline.undo()
        assert database.builds == 1

    @pytest.mark.parametrize("driver", ["psycopg", "pymysql"], indirect=True)
    def test_a_transaction_that_was_rolled_back_leaves_no_gap_in_the_numbers(self, database: Database) -> None:
        before = database.state()
        with database.engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO users (name) VALUES ('eve')")
            connection.rollback()
        database.baseline.undo()
        assert database.state() == before

    @pytest.mark.parametrize("driver", ["psycopg", "pymysql"], indirect=True)
    def test_only_what_was_changed_costs_a_build(self, database: Database) -> None:
        database.run("CREATE TABLE extra (id int)")
        database.baseline.undo()
        assert database.builds == 1, "what is new is dropped"
        database.run("DROP TABLE posts")
        database.baseline.undo()
        assert database.builds == 2

    @pytest.mark.parametrize("driver", ["psycopg", "pymysql"], indirect=True)
    def test_nothing_of_ours_shows(self, database: Database) -> None:
        database.run("INSERT INTO users (name) VALUES ('eve')")
        database.baseline.undo()
        found = inspect(database.engine)
        names = {"users", "posts", "log", "empty", "parts", "parts_low"}
        assert set(found.get_table_names()) <= names
        metadata = MetaData()
        metadata.reflect(database.engine)
        assert set(metadata.tables) <= names
        if database.kind == "postgresql":
            assert found.get_table_names("engineroom") == []
            assert set(found.get_sequence_names()) <= {"numbers", "users_id_seq", "posts_id_seq", "empty_id_seq"}
        else:
            assert database.read("SHOW TRIGGERS")[0][0] == "tell"
            assert len(database.read("SHOW TRIGGERS")) == 1


@pytest.mark.parametrize("driver", ["psycopg", "pymysql"], indirect=True)
class TestLayers:
    def push(self, database: Database, owner: object, *statements: str) -> list[object]:
        mark = database.baseline.mark()
        database.run(*statements)
        database.baseline.push(owner, mark)
        return database.state()

    def test_what_an_owner_wrote_stays_until_it_goes(self, database: Database) -> None:
        lowest = database.state()
        layer = self.push(database, "module", "INSERT INTO users (name) VALUES ('module')")
        database.run("DELETE FROM posts", "DELETE FROM users")
        database.baseline.undo()
        assert database.state() == layer
        database.baseline.pop("module")
        database.baseline.undo()
        assert database.state() == lowest

    def test_one_that_is_set_up_again_does_not_meet_what_it_left(self, database: Database) -> None:
        for _ in range(2):
            self.push(database, "module", "INSERT INTO users (name) VALUES ('module')")
            assert database.names() == ["ada", "bob", "module"]
            database.baseline.pop("module")
        database.baseline.undo()
        assert database.names() == ["ada", "bob"]

    def test_one_may_go_from_under_another(self, database: Database) -> None:
        lowest = database.state()
        self.push(database, "session", "INSERT INTO users (name) VALUES ('under')", "DELETE FROM posts WHERE id = 2")
        self.push(
            database, "class", "INSERT INTO users (name) VALUES ('over')", "UPDATE users SET mood = 'sad' WHERE id = 1"
        )
        database.baseline.pop("session")
        database.baseline.undo()
        assert database.names() == ["ada", "bob", "over"]
        assert database.read("SELECT mood FROM users ORDER BY id") == [("sad",), ("sad",), (None,)]
        assert len(database.read("SELECT 1 FROM posts")) == 2
        database.baseline.pop("class")
        database.baseline.undo()
        assert database.state() == lowest

    def test_what_a_test_wrote_before_stays_out_of_it(self, database: Database) -> None:
        database.run("INSERT INTO users (name) VALUES ('test')")
        self.push(database, "session", "INSERT INTO users (name) VALUES ('fixture')")
        assert database.names() == ["ada", "bob", "test", "fixture"]
        database.baseline.undo()
        assert database.names() == ["ada", "bob", "fixture"]

    def test_one_survives_that_a_test_drops_a_table(self, database: Database) -> None:
        layer = self.push(database, "module", "INSERT INTO users (name) VALUES ('module')")
        database.run("DROP TABLE posts")
        database.baseline.undo()
        assert database.names() == ["ada", "bob", "module"]
        assert database.state()[0] == layer[0]

    def test_columns_that_an_owner_added_stay_and_go_with_it(self, database: Database) -> None:
        lowest = database.state()
        layer = self.push(database, "module", "ALTER TABLE users ADD COLUMN age int DEFAULT 3")
        database.run("INSERT INTO users (name) VALUES ('new')")
        database.baseline.undo()
        assert database.state() == layer
        assert len(database.read("SELECT age FROM users WHERE age = 3")) == 2
        database.baseline.pop("module")
        database.baseline.undo()
        assert database.state() == lowest
        database.run("INSERT INTO users (name) VALUES ('new')")
        database.baseline.undo()
        assert database.state() == lowest

    def test_tables_that_an_owner_made_stay_and_go_with_it(self, database: Database) -> None:
        lowest = database.state()
        serial = "serial" if database.kind == "postgresql" else "int AUTO_INCREMENT"
        sequence = "CREATE SEQUENCE more_numbers"
        table = f"CREATE TABLE extra (id {serial} PRIMARY KEY)"
        self.push(database, "session", "CREATE TABLE of_the_session (id int)", "INSERT INTO of_the_session VALUES (1)")
        database.baseline.pop("session")
        database.baseline.undo()
        assert database.state() == lowest
        self.push(database, "module", table, sequence, "INSERT INTO extra VALUES (1)")
        database.run("INSERT INTO extra VALUES (2)", "CREATE TABLE more (id int)")
        database.baseline.undo()
        assert database.read("SELECT id FROM extra") == [(1,)]
        database.run("DROP TABLE posts")
        with pytest.raises(LifecycleError, match="cannot be brought back"):
            database.baseline.undo()
        database.baseline.pop("module")
        database.baseline.undo()
        assert database.state() == lowest


class TestLeftOvers:
    def test_a_transaction_that_does_not_end_is_told_and_ended(self, database: Database) -> None:
        before = database.state()
        engine = create_engine(database.url)
        event.listen(engine, "connect", lambda _, record: database.connections.add(record))
        event.listen(engine, "checkout", lambda _, record, __: note_caller(record))
        connection = engine.connect()
        connection.exec_driver_sql("INSERT INTO users (name) VALUES ('open')")
        started = time.monotonic()
        with pytest.raises(
            LifecycleError, match=r"(?s)still open when the test ended.*test_baseline_on_servers\.py:\d+"
        ):
            database.baseline.restore(seconds=0.2)
        assert time.monotonic() - started < 20
        assert database.state() == before
        database.baseline.undo()
        connection.invalidate()
        connection.close()
        with engine.connect() as again:
            assert again.exec_driver_sql("SELECT count(*) FROM users").scalar() == 2
        engine.dispose()

    def test_one_that_ends_meanwhile_is_noticed(self, database: Database) -> None:
        before = database.state()
        database.run("CREATE TABLE extra (id int)")
        with database.engine.connect() as connection:  # which stays, as those in a pool do
            connection.exec_driver_sql("SELECT * FROM users FOR UPDATE")
            timer = threading.Timer(0.4, connection.commit)
            timer.start()
            database.baseline.restore()
            timer.join()
        assert database.state() == before

    def test_who_writes_is_known_at_every_moment(self, database: Database) -> None:
        rows = database.baseline._rows
        ask = "SELECT pg_backend_pid()" if database.kind == "postgresql" else "SELECT connection_id()"
        with database.engine.connect() as connection:
            session = connection.exec_driver_sql(ask).scalar()
            for _ in range(3):
                connection.exec_driver_sql("INSERT INTO log VALUES ('open')")
                time.sleep(0.15)  # InnoDB tells of a transaction at the latest then, unless somebody looks all the time
                assert [session] == [*rows.writers()]
                connection.commit()
                assert [rows.writers() for _ in range(10)] == [{}] * 10

    @pytest.mark.parametrize("driver", ["psycopg", "pymysql"], indirect=True)
    def test_one_that_only_reads_is_ended_where_its_table_must_be_dropped(self, database: Database) -> None:
        before = database.state()
        connection = database.engine.connect()
        connection.exec_driver_sql("SELECT count(*) FROM users")
        database.run("DROP TABLE log")
        try:
            with pytest.raises(LifecycleError, match=r"still open when the test ended"):
                database.baseline.restore(seconds=0.2)
        finally:
            connection.invalidate()
            connection.close()
        assert database.state() == before

    @pytest.mark.parametrize("driver", ["psycopg", "pymysql"], indirect=True)
    def test_one_of_a_wider_fixture_is_left_alone(self, database: Database) -> None:
        with database.engine.connect() as connection:
            mark = database.baseline.mark()
            connection.exec_driver_sql("INSERT INTO log VALUES ('of the class')")
            database.baseline.push("class", mark)
            database.run("INSERT INTO posts (user_id) VALUES (1)")
            database.baseline.undo()
            assert len(database.read("SELECT 1 FROM posts")) == 2
            assert connection.exec_driver_sql("SELECT count(*) FROM log").scalar() == 3
            connection.rollback()
        database.baseline.pop("class")
        database.baseline.undo()
        assert not database.baseline.is_left_open


@pytest.mark.parametrize("driver", ["pymysql"], indirect=True)
@pytest.mark.parametrize("how", ["ENGINE=MyISAM", "PARTITION BY HASH (k) PARTITIONS 2"])
def test_tables_that_innodb_does_not_count_are_brought_back_each_time(database: Database, how: str) -> None:
    mark = database.baseline.mark()
    database.run(f"CREATE TABLE uncounted (k int) {how}", "INSERT INTO uncounted VALUES (1)")
    database.baseline.push("session", mark)
    database.run("DELETE FROM uncounted", "INSERT INTO uncounted VALUES (2)")
    database.baseline.undo()
    assert database.read("SELECT k FROM uncounted") == [(1,)]
    assert database.baseline.is_dirty, "nobody can tell"
    assert not database.baseline.is_known_dirty


class TestWithoutRights:
    """On PostgreSQL, as the owner of the database, who may switch off neither foreign keys nor watch DDL."""

    @pytest.fixture
    def owned(self, postgresql_url: URL) -> Iterator[Database]:
        name = f"test_engineroom_{secrets.token_hex(4)}"
        server = create_engine(postgresql_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
            connection.exec_driver_sql(f"CREATE DATABASE {name} OWNER {name}")
        url = postgresql_url.set(database=name, username=name)
        made = Database("postgresql", url, Place(url))
        yield made
        made.close()
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
            connection.exec_driver_sql(f"DROP ROLE {name}")

    def test_everything_is_brought_back(self, owned: Database) -> None:
        before = owned.state()
        wrong = []
        cases = WRITES | WRITES_OF["postgresql"]
        for case, statements in [*cases.items(), *cases.items()]:  # a table that was filled before is treated otherwise
            if case not in {"in the role of a replica", "with its triggers off", "copy"}:
                owned.run(*statements)
                owned.baseline.undo()
                wrong += differences(case, before, owned.state())
        assert not wrong


def test_the_names_of_what_is_offered_to_the_command_line() -> None:
    assert {"drop_database", "list_left_over_databases"} <= set(databases_module.__all__)
