"""What the catalogue answers to the guard, asked directly over one driver of each server."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from engineroom._guard import catalogue
from engineroom._guard.catalogue import Catalogue, fetch, is_idle
from engineroom._statements import ObjectName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Databases = Callable[[str, str], Any]

POSTGRESQL = "postgresql+psycopg2"
MARIADB = "mariadb+pymysql"


class Asked:
    """A connection to a database of its own server, without a guard, and the catalogue as it sees it."""

    def __init__(self, database: Any, scheme: str, **options: Any) -> None:
        self.database = database
        self.engine = create_engine(database.url.set(drivername=scheme), isolation_level="AUTOCOMMIT", **options)
        self.pooled = self.engine.raw_connection()
        self.created: set[object] = set()
        self.catalogue = Catalogue(self.pooled.dbapi_connection, database.kind, self.created)

    def send(self, *statements: str) -> None:
        """Send statements over the connection that asks."""
        cursor = self.pooled.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()

    def is_harmless(self, kind: str, *parts: str) -> bool:
        """Ask the catalogue about a name."""
        return self.catalogue.is_harmless(ObjectName(kind, parts, ".".join(parts)))

    def close(self) -> None:
        """Close the connection."""
        self.pooled.close()
        self.engine.dispose()


OBJECTS = (
    "CREATE VIEW grouped AS SELECT id, email FROM users GROUP BY id",
    "CREATE TABLE referred (id int CONSTRAINT referred_key PRIMARY KEY)",
    "CREATE TABLE referring (id int REFERENCES referred)",
    "CREATE TABLE parted (id int) PARTITION BY RANGE (id)",
    "CREATE INDEX parted_index ON parted (id)",
    "CREATE SEQUENCE numbers",
    "CREATE TYPE mood AS ENUM ('a')",
    "CREATE SCHEMA stock",
    "CREATE TABLE stock.goods (id int)",
    "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2'",
    'CREATE FUNCTION "it\'s a \\ ""b"""() RETURNS int LANGUAGE sql AS \'SELECT 2\'',
    'CREATE TABLE "it\'s a \\ ""b""" (id int)',
    "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER touched AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION touched()",
    "CREATE POLICY own ON users",
    "CREATE RULE kept AS ON DELETE TO users DO INSTEAD NOTHING",
    'CREATE TABLE "ä" (id int)',
    'CREATE TABLE "Ü" (id int)',
    'CREATE TABLE "a%b" (id int)',
    'CREATE TABLE "c%%d" (id int)',
    "CREATE TEMPORARY TABLE scratch (id int)",
    "CREATE TEMPORARY TABLE orders (id int)",
)
LOSSES = """
table users; table public users; view everybody; sequence numbers; base table audit; table stock goods; table ä; table Ä
table Ü; table a%b; table a%%b; table c%%d; table public orders; table public Ä; index users; index numbers
type mood; type public mood; constraint users users_pkey; constraint public users users_pkey
function twice; function TWICE; function public twice; schema stock; extension plpgsql; database postgres
column users email; column public users email; column users EMAIL; column referred id; column stock goods id
trigger users touched; policy users own; rule users kept; rule everybody _RETURN
table a public users; view a b c; type a b c; function a b c; column a b c d; constraint a b c d; schema a stock2 x
novelty never_was; novelty scratch; novelty mine
"""
HARMLESS = """
table never_was; table public never_was; table USERS; table stock users; view never_was; sequence never_was
base table never_was; index never_was; table Ö; table never%%was; table scratch; table orders; base table scratch
index users_pkey; index public users_pkey; index parted_index; type never_was; type stock mood; type public never_was
constraint users never_was; constraint referred referred_key; constraint public referred referred_key
constraint never_was users_pkey; function never_was; function stock twice; schema never_was; extension never_was
database never_was_anywhere; column users never_was; column public users never_was; column never_was email
column scratch id; column orders id; column stock users email; trigger users never_was; trigger never_was touched
trigger orders touched; policy users never_was; rule public users never_was; rule orders kept
"""
KINDS = ("base table",)


def split(rows: str) -> list[tuple[str, ...]]:
    """Return the kind and the parts of each name."""
    found = []
    for row in rows.replace("\n", ";").split(";"):
        kind = next((kind for kind in KINDS if row.strip().startswith(kind)), "")
        found.append((kind, *row.replace(kind, "", 1).split()) if kind else tuple(row.split()))
    return [row for row in found if row]


@pytest.fixture(scope="module")
def postgresql(databases: Databases) -> Iterator[Asked]:
    """Return a connection to a database of PostgreSQL that holds one of each kind."""
    database = databases("postgresql", "kept")
    database.rebuild()
    asked = Asked(database, POSTGRESQL)
    asked.send(*OBJECTS)
    yield asked
    asked.send("DROP SCHEMA stock CASCADE")  # the rebuilding leaves other schemas alone
    asked.close()


@pytest.mark.parametrize("name", split(LOSSES), ids=" ".join)
def test_a_name_that_means_something_on_postgresql(name: tuple[str, ...], postgresql: Asked) -> None:
    assert not postgresql.is_harmless(*name)


@pytest.mark.parametrize("name", split(HARMLESS), ids=" ".join)
def test_a_name_that_means_nothing_that_persists_on_postgresql(name: tuple[str, ...], postgresql: Asked) -> None:
    assert postgresql.is_harmless(*name)


AWKWARD = 'it\'s a \\ "b"'


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_name_of_any_letters_is_quoted_for_postgresql(setting: str, postgresql: Asked) -> None:
    postgresql.send(f"SET standard_conforming_strings = {setting}")
    for kind in ("table", "function", "type"):
        assert not postgresql.is_harmless(kind, AWKWARD)
        assert postgresql.is_harmless(kind, f"{AWKWARD}x")
    assert postgresql.is_harmless("schema", AWKWARD)
    assert postgresql.is_harmless("constraint", AWKWARD, AWKWARD)
    postgresql.send("RESET standard_conforming_strings")


def test_a_table_is_known_by_its_number_on_postgresql(postgresql: Asked) -> None:
    (users,) = postgresql.catalogue.find_tables(("users",))
    assert isinstance(users, int)
    assert postgresql.catalogue.find_tables(("public", "users")) == {users}
    for absent in (("scratch",), ("never_was",), ("stock", "users"), ("a", "public", "users")):
        assert postgresql.catalogue.find_tables(absent) == frozenset()
        assert postgresql.catalogue.find_made(absent) == frozenset()
    assert postgresql.catalogue.find_made(("stock", "goods")) == postgresql.catalogue.find_tables(("stock", "goods"))


def test_what_was_made_with_a_table_is_known_on_postgresql(postgresql: Asked) -> None:
    postgresql.send("CREATE TABLE mine (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, number serial)")
    made = postgresql.catalogue.find_made(("mine",))
    assert len(made) == 3
    assert not postgresql.is_harmless("table", "mine")
    postgresql.created.update(made)
    for kind in ("table", "base table", "view"):
        assert postgresql.is_harmless(kind, "mine")
    assert not postgresql.is_harmless("table", "audit")
    postgresql.send("CREATE VIEW over_mine AS SELECT number FROM mine")
    assert not postgresql.is_harmless("table", "mine")
    postgresql.created.clear()
    postgresql.send("DROP TABLE mine CASCADE")


def test_what_came_after_the_snapshot_may_be_there(postgresql: Asked) -> None:
    postgresql.pooled.dbapi_connection.set_session(autocommit=False, isolation_level="REPEATABLE READ")  # type: ignore[union-attr]
    postgresql.send("SELECT * FROM users")
    postgresql.database.send("CREATE TABLE late (id int)")
    assert len(postgresql.catalogue.find_tables(("late",))) == len(postgresql.catalogue.find_made(("late",))) == 1
    assert not postgresql.is_harmless("table", "late")
    assert not postgresql.is_harmless("function", "never_was")
    assert not postgresql.is_harmless("column", "users", "never_was")
    assert postgresql.is_harmless("table", "never_was")
    assert postgresql.is_harmless("column", "scratch", "id")
    postgresql.pooled.rollback()
    postgresql.pooled.dbapi_connection.set_session(autocommit=True, isolation_level="DEFAULT")  # type: ignore[union-attr]


OBJECTS_OF_MARIADB = (
    "CREATE FUNCTION f() RETURNS int RETURN 1",
    "CREATE PROCEDURE p() SELECT 1",
    "CREATE TRIGGER touched AFTER INSERT ON users FOR EACH ROW SET @touched = 1",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    "CREATE SEQUENCE numbers",
    "CREATE TABLE `a%b` (id int)",
    "CREATE TABLE `c%%d` (id int)",
    "CREATE TABLE `it's a \\ ``b``` (id int)",
    "CREATE TEMPORARY TABLE scratch (id int)",
    "CREATE TEMPORARY TABLE orders (id int)",
    "CREATE TEMPORARY TABLE everybody (id int)",
)
LOSSES_ON_MARIADB = """
table users; table HERE users; view everybody; sequence numbers; base table audit; base table orders; view orders
table a%b; table a%%b; table c%%d; table sys sys_config; function f; function F; function HERE f; procedure p
procedure sys diagnostics; trigger touched; trigger HERE touched; event e; event HERE e; database HERE; database sys
column users email; column users EMAIL; column HERE users email
table a HERE users; function a HERE f; column a HERE users email; database a HERE
novelty never_was; novelty scratch; index never_was; type never_was
"""
HARMLESS_ON_MARIADB = """
table never_was; table HERE never_was; table sys users; view never_was; sequence never_was; base table never_was
base table scratch; table scratch; table orders; table HERE orders; table everybody; table never%%was
function never_was; function sys f; procedure never_was; procedure sys p
trigger never_was; trigger sys touched; event never_was; event sys e; database never_was_anywhere
column users never_was; column HERE users never_was; column never_was email; column sys users email
column scratch id; column orders id; column HERE orders id
"""


@pytest.fixture(scope="module")
def mariadb(databases: Databases) -> Iterator[Asked]:
    """Return a connection to a database of MariaDB that holds one of each kind."""
    database = databases("mariadb", "kept")
    database.rebuild()
    asked = Asked(database, MARIADB)
    asked.send(*OBJECTS_OF_MARIADB)
    yield asked
    asked.send("DROP TRIGGER touched", "DROP EVENT e")  # the rebuilding sees them not
    asked.close()


def in_this_database(name: tuple[str, ...], asked: Asked) -> list[str]:
    """Return the parts with the name of the database in its place."""
    return [asked.database.name if part == "HERE" else part for part in name]


@pytest.mark.parametrize("name", split(LOSSES_ON_MARIADB), ids=" ".join)
def test_a_name_that_means_something_on_mariadb(name: tuple[str, ...], mariadb: Asked) -> None:
    assert not mariadb.is_harmless(*in_this_database(name, mariadb))


@pytest.mark.parametrize("name", split(HARMLESS_ON_MARIADB), ids=" ".join)
def test_a_name_that_means_nothing_that_persists_on_mariadb(name: tuple[str, ...], mariadb: Asked) -> None:
    assert mariadb.is_harmless(*in_this_database(name, mariadb))


def test_a_name_of_any_letters_is_quoted_for_mariadb(mariadb: Asked) -> None:
    name = "it's a \\ `b`"
    assert not mariadb.is_harmless("table", name)
    mariadb.send("CREATE TEMPORARY TABLE `it's a \\ ``b``` (id int)")
    assert mariadb.is_harmless("table", name)
    assert mariadb.is_harmless("column", name, name)
    assert mariadb.is_harmless("table", "")
    assert mariadb.is_harmless("function", "")


def test_a_table_is_known_by_its_database_and_name_on_mariadb(mariadb: Asked) -> None:
    here = mariadb.database.name
    assert mariadb.catalogue.find_tables(("users",)) == {(here, "users")}
    for find in (mariadb.catalogue.find_tables, mariadb.catalogue.find_made):
        assert find((here, "audit")) == {(here, "audit")}
        assert find(("sys", "audit")) == find(("scratch",)) == find(("a", here, "users")) == frozenset()


def test_a_table_of_ones_own_is_harmless_on_mariadb(mariadb: Asked) -> None:
    mariadb.created.update(mariadb.catalogue.find_made(("audit",)))
    for kind in ("table", "base table"):
        assert mariadb.is_harmless(kind, "audit")
        assert not mariadb.is_harmless(kind, "users")
    assert mariadb.is_harmless("column", "audit", "id")
    mariadb.created.clear()


@pytest.fixture
def restricted(databases: Databases) -> Iterator[Asked]:
    """Return a connection to MariaDB by an account that may drop tables and see nothing of them."""
    database = databases("mariadb", "kept")
    name = f"er_{secrets.token_hex(4)}"
    accounts = [f"{name}@{host}" for host in ("'%%'", "localhost")]
    for account in accounts:
        database.send_to_server(f"CREATE USER {account} IDENTIFIED BY 'pw'")
        database.send_to_server(f"GRANT DROP ON {database.name}.* TO {account}")
    asked = Asked(database, MARIADB, connect_args={"user": name, "password": "pw"})
    yield asked
    asked.close()
    for account in accounts:
        database.send_to_server(f"DROP USER {account}")


def test_an_account_that_sees_little_learns_of_little_that_is_harmless(mariadb: Asked, restricted: Asked) -> None:
    assert mariadb.database is restricted.database
    assert not restricted.is_harmless("table", "users")
    assert not restricted.is_harmless("function", "never_was")
    assert restricted.is_harmless("procedure", "never_was")


def test_a_definition_that_may_not_be_seen_makes_no_table_temporary(mariadb: Asked) -> None:
    driver: Any = mariadb.pooled.dbapi_connection

    class Cursor(type(driver.cursor())):  # type: ignore[misc]
        """A cursor of an account that sees tables and not their definitions; servers differ in whether there is one."""

        def execute(self, question: str) -> Any:
            if question.startswith("SHOW CREATE"):
                raise PermissionError(question)
            return super().execute(question)

    class Restricted:
        def cursor(self) -> Any:
            return Cursor(driver)

    mariadb.send("CREATE TEMPORARY TABLE users (id int)")
    assert mariadb.is_harmless("table", "users")
    sees_little = Catalogue(Restricted(), "mariadb", frozenset())
    assert not sees_little.is_harmless(ObjectName("table", ("users",), "users"))
    mariadb.send("DROP TEMPORARY TABLE users")


class Recorded:
    """A connection of some driver: what is asked of its cursor, and whether that was closed."""

    def __init__(self, answer: Exception | list[object]) -> None:
        self.answer = answer
        self.calls: list[str] = []

    def cursor(self) -> Recorded:
        return self

    def execute(self, question: str) -> None:
        self.calls.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer

    def fetchall(self) -> object:
        return self.answer

    def close(self) -> None:
        self.calls.append("close")


def test_a_cursor_is_closed_behind_each_question() -> None:
    answering, failing = Recorded([(1,)]), Recorded(OSError("gone"))
    assert fetch(answering, "SELECT 1") == [(1,)]
    with pytest.raises(OSError, match="gone"):
        fetch(failing, "SELECT 1")
    assert answering.calls == failing.calls == ["SELECT 1", "close"]


def test_the_letter_that_some_drivers_give_as_bytes_is_read() -> None:
    assert [catalogue._text(letter) for letter in ("t", b"t", None)] == ["t", "t", ""]


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql+psycopg2"])
def test_a_connection_is_idle_until_it_is_asked(scheme: str, databases: Databases) -> None:
    engine = create_engine(databases("postgresql", "kept").url.set(drivername=scheme))
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert is_idle(driver)
        fetch(driver, "SELECT 1")
        assert not is_idle(driver)
    engine.dispose()


def test_a_connection_of_asyncpg_is_idle_until_it_is_asked(databases: Databases) -> None:
    async def ask() -> list[bool]:
        engine = create_async_engine(databases("postgresql", "kept").url.set(drivername="postgresql+asyncpg"))
        async with engine.connect() as connection:
            pooled = (await connection.get_raw_connection()).dbapi_connection
            before = await connection.run_sync(lambda _: is_idle(pooled))
            await connection.exec_driver_sql("SELECT 1")
            after = await connection.run_sync(lambda _: is_idle(pooled))
        await engine.dispose()
        return [before, after]

    assert asyncio.run(ask()) == [True, False]


def test_of_a_connection_to_mariadb_it_is_not_known_whether_it_is_idle(mariadb: Asked) -> None:
    assert not is_idle(mariadb.pooled.dbapi_connection)
