"""The target decides, not the connection: what a text would destroy elsewhere, and what a connection may drop here."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import DropSchema

from engineroom import DestructiveOperationError
from engineroom._guard import catalogue
from engineroom._statements import ObjectName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Reach = Callable[..., Any]
    Databases = Callable[[str, str], Any]

POSTGRESQL = ["psycopg", "psycopg2", "psycopg_async", "asyncpg"]
MARIADB = ["pymysql", "aiomysql", "asyncmy"]

FROM_A_TEST_DATABASE = {
    "postgresql": {
        "DROP DATABASE {other}": "drop database {other} on the server of ",
        "DROP DATABASE IF EXISTS {other} WITH (FORCE)": "drop database {other} on the server of ",
        "ALTER DATABASE {other} RENAME TO test_taken": "rename database {other} on the server of ",
        "DROP OWNED BY CURRENT_USER": "drop owned ",
        "REASSIGN OWNED BY postgres TO CURRENT_USER": "reassign owned ",
        "DROP ROLE no_such_role": "drop role no_such_role on the whole server of ",
        "DROP USER IF EXISTS no_such_role": "drop user no_such_role on the whole server of ",
        "DROP TABLESPACE no_such_space": "drop tablespace no_such_space on the whole server of ",
    },
    "mariadb": {
        "DROP DATABASE {other}": "drop database {other} on the server of ",
        "DROP SCHEMA IF EXISTS {other}": "drop ",
        "DROP TABLE {other}.users": "drop table {other}.users in database {other} on the server of ",
        "DROP TABLE `{other}`.`users`": "drop table {other}.users in database {other} on the server of ",
        "DROP TABLE orders, {other}.users": "drop table {other}.users in database {other} on the server of ",
        "TRUNCATE {other}.users": "truncate table {other}.users in database {other} on the server of ",
        "RENAME TABLE {other}.users TO {here}.stolen": "rename table {other}.users in database {other} on ",
        "ALTER TABLE {other}.users RENAME {here}.stolen": "rename table {other}.users in database {other} on ",
        "ALTER TABLE {other}.users DROP COLUMN email": "drop column {other}.users.email in database {other} on ",
        "CREATE OR REPLACE TABLE {other}.users (id int)": "replace table {other}.users in database {other} on ",
        "CREATE OR REPLACE DATABASE {other}": "replace database {other} on the server of ",
        "DROP VIEW {other}.everybody": "drop view {other}.everybody in database {other} on ",
        "/*!50000 DROP TABLE {other}.users */": "drop table {other}.users in database {other} on ",
        "SET STATEMENT max_statement_time=1 FOR DROP TABLE {other}.users": "drop table {other}.users in database ",
        "EXECUTE IMMEDIATE 'DROP TABLE {other}.users'": "drop table {other}.users in database {other} on ",
        "DROP USER IF EXISTS 'nobody'@'localhost'": "drop user ",
        "DROP ROLE IF EXISTS nobody": "drop role nobody on the whole server of ",
    },
}
ELSEWHERE = [
    pytest.param(name, statement, told, id=f"{name}: {statement}")
    for names, kind in (("psycopg asyncpg", "postgresql"), ("pymysql asyncmy", "mariadb"))
    for name in names.split()
    for statement, told in FROM_A_TEST_DATABASE[kind].items()
]


@pytest.mark.parametrize(("name", "statement", "told"), ELSEWHERE)
def test_from_a_test_database_nothing_elsewhere_is_destroyed(
    name: str, statement: str, told: str, reach: Reach, databases: Databases
) -> None:
    test = reach(name, "test")
    other = databases(test.database.kind, "other")
    other.rebuild()
    names = {"other": other.name, "here": test.name}
    refusal = test.refusal(statement.format(**names), isolation_level="AUTOCOMMIT")
    assert refusal.startswith(f"Refused to {told.format(**names)}")
    assert other.relations() == {"users", "orders", "audit", "everybody"}


def test_in_a_test_database_everything_may_be_destroyed(driver: str, reach: Reach) -> None:
    test = reach(driver, "test")
    test.send("DROP VIEW everybody", "TRUNCATE TABLE users", "ALTER TABLE users DROP COLUMN email", "DROP TABLE users")
    metadata = MetaData()
    Table("orders", metadata, Column("id", Integer))
    test.do(metadata.drop_all)
    assert test.database.relations() == {"audit"}


def test_a_test_database_is_dropped_from_wherever(driver: str, reach: Reach) -> None:
    kept = reach(driver)
    name = f"test_engineroom_{secrets.token_hex(4)}"
    kept.database.send_to_server(f"CREATE DATABASE {name}")
    try:
        kept.send(f"DROP DATABASE {name}", isolation_level="AUTOCOMMIT")
    finally:
        kept.database.send_to_server(f"DROP DATABASE IF EXISTS {name}")


@pytest.mark.parametrize("name", MARIADB)
def test_a_connection_in_no_database_destroys_in_a_test_database_alone(
    name: str, reach: Reach, databases: Databases
) -> None:
    kept = reach(name)
    nowhere = reach(name, url=kept.url.set(database=""))
    test = databases("mariadb", "test")
    test.rebuild()
    assert nowhere.refusal(f"DROP TABLE {kept.name}.users").startswith(f"Refused to drop table {kept.name}.users in ")
    nowhere.send(f"DROP TABLE {test.name}.orders")
    assert "orders" not in test.relations()
    with pytest.raises((DestructiveOperationError, DBAPIError)):
        nowhere.send("TRUNCATE users")
    with pytest.raises((DestructiveOperationError, DBAPIError)):
        nowhere.send("DROP TABLE users")


@pytest.mark.parametrize("name", MARIADB)
def test_a_schema_of_mariadb_is_a_database(name: str, reach: Reach, databases: Databases) -> None:
    other = databases("mariadb", "other")
    other.rebuild()
    test = reach(name, "test")
    elsewhere = MetaData(schema=other.name)
    table = Table("users", elsewhere, Column("id", Integer))
    told = f"drop table {other.name}.users in database {other.name} on "
    for body in (elsewhere.drop_all, table.drop):
        with pytest.raises(DestructiveOperationError, match=told):
            test.do(body)
    plain = MetaData()
    Table("users", plain, Column("id", Integer))
    with pytest.raises(DestructiveOperationError, match=told):
        test.do(plain.drop_all, schema_translate_map={None: other.name})
    with pytest.raises(DestructiveOperationError, match=f"drop schema {other.name}|drop database {other.name}"):
        test.do(lambda connection: connection.execute(DropSchema(other.name)) and None)
    assert "users" in other.relations()


# --- what a connection may drop in a database that is not disposable


def test_a_temporary_table_is_dropped_also_where_it_hides_a_real_one(kept: Any) -> None:
    drop = "DROP TEMPORARY TABLE users" if kept.database.kind == "mariadb" else "DROP TABLE pg_temp.users"
    kept.send("CREATE TEMPORARY TABLE scratch (id int)", "DROP TABLE scratch")
    kept.send("CREATE TEMPORARY TABLE users (id int)", "TRUNCATE TABLE users", "DROP TABLE users")
    kept.send("CREATE TEMPORARY TABLE users (id int)", drop)
    refusal = kept.refusal("CREATE TEMPORARY TABLE users (id int)", "DROP TABLE users", "DROP TABLE users")
    assert refusal.startswith("Refused to drop table users in ")
    assert "drop tables users, orders" in kept.refusal(
        "CREATE TEMPORARY TABLE users (id int)", "DROP TABLE users, orders"
    )
    assert "users" in kept.database.relations()


@pytest.mark.parametrize("name", MARIADB)
def test_a_temporary_table_of_mariadb_hides_nothing_from_rename_and_replace(name: str, reach: Reach) -> None:
    kept = reach(name)
    shadow = "CREATE TEMPORARY TABLE users (id int)"
    assert "replace table users" in kept.refusal(shadow, "CREATE OR REPLACE TABLE users (id int)")
    kept.send("DROP TEMPORARY TABLE IF EXISTS users")
    assert "drop view everybody" in kept.refusal("CREATE TEMPORARY TABLE everybody (id int)", "DROP VIEW everybody")


def test_a_temporary_table_of_the_metadata_is_dropped(kept: Any) -> None:
    metadata = MetaData()
    scratch = Table("scratch", metadata, Column("id", Integer), prefixes=["TEMPORARY"])

    def body(connection: Connection) -> None:
        scratch.create(connection, checkfirst=False)
        metadata.drop_all(connection, checkfirst=False)

    kept.do(body)


CREATIONS = {
    "plainly": "CREATE TABLE mine (id int)",
    "if it is not there": "create table if not exists mine (id int)",
    "with a comment before": "/* by the importer */ CREATE TABLE mine (id int)",
    "from a query": "CREATE TABLE mine AS SELECT id FROM users",
    "like another": {"postgresql": "CREATE TABLE mine (LIKE users)", "mariadb": "CREATE TABLE mine LIKE users"},
    "by a quoted name": {"postgresql": 'CREATE TABLE "mine" (id int)', "mariadb": "CREATE TABLE `mine` (id int)"},
    "in a schema": {"postgresql": "CREATE TABLE public.mine (id int)", "mariadb": "CREATE TABLE {name}.mine (id int)"},
}


@pytest.mark.parametrize("creation", CREATIONS.values(), ids=CREATIONS)
def test_a_table_that_the_connection_itself_created_is_dropped(creation: str | dict[str, str], kept: Any) -> None:
    statement = creation if isinstance(creation, str) else creation[kept.database.kind].format(name=kept.name)
    kept.send(statement, "TRUNCATE TABLE mine", "INSERT INTO mine (id) VALUES (1)", "DROP TABLE mine")
    assert "mine" not in kept.database.relations()


def test_a_table_of_ones_own_is_dropped_after_the_commit_and_by_metadata_too(kept: Any) -> None:
    metadata = MetaData()
    Table("mine", metadata, Column("id", Integer))
    Table("mine_too", metadata, Column("id", Integer))

    def body(connection: Connection) -> None:
        metadata.create_all(connection)
        connection.commit()
        metadata.drop_all(connection)
        connection.commit()
        metadata.create_all(connection)
        connection.commit()
        connection.execute(text("ALTER TABLE mine DROP COLUMN id, ADD COLUMN a int"))
        connection.execute(text("ALTER TABLE mine RENAME TO renamed"))

    kept.do(body)
    assert "drop table renamed" in kept.refusal("DROP TABLE renamed")


def test_after_the_return_to_the_pool_it_is_like_any_other_table(driver: str, reach: Reach) -> None:
    kept = reach(driver, pool_size=1, max_overflow=0)
    kept.send("CREATE TABLE mine (id int)")
    assert "drop table mine" in kept.refusal("DROP TABLE mine")


def test_another_connection_of_the_same_engine_does_not_drop_it(kept: Any) -> None:
    def outer(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE mine (id int)"))
        connection.commit()
        with connection.engine.connect() as another, pytest.raises(DestructiveOperationError, match="drop table mine"):
            another.execute(text("DROP TABLE mine"))
        connection.execute(text("DROP TABLE mine"))

    kept.do(outer)


def test_a_creation_that_met_a_table_makes_it_nobodys_own(kept: Any) -> None:
    assert "drop table users" in kept.refusal("CREATE TABLE IF NOT EXISTS users (id int)", "DROP TABLE users")
    assert "drop table users" in kept.refusal("CREATE TABLE if not exists Users (id int)", "DROP TABLE users")


def test_a_table_that_somebody_else_made_under_the_name_of_ones_own_is_not_dropped(kept: Any) -> None:
    def body(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE mine (id int)"))
        connection.execute(text("DROP TABLE mine"))
        connection.commit()
        kept.database.send("CREATE TABLE mine (id int)")
        connection.execute(text("DROP TABLE mine"))

    with pytest.raises(DestructiveOperationError, match="drop table mine"):
        kept.do(body)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_table_that_came_after_the_snapshot_of_the_transaction_is_there(level: str, kept: Any) -> None:
    def body(connection: Connection) -> None:
        connection.execute(text("SELECT * FROM orders"))  # on PostgreSQL the snapshot is taken here
        connection.execute(text("CREATE TEMPORARY TABLE scratch (id int)"))
        connection.execute(text("CREATE TABLE mine (id int)"))
        connection.execute(text("DROP TABLE scratch"))
        connection.execute(text("DROP TABLE mine"))
        kept.database.send("CREATE TABLE theirs (id int)")
        with pytest.raises(DestructiveOperationError, match="drop table theirs"):
            connection.execute(text("DROP TABLE IF EXISTS theirs"))
        connection.execute(text("CREATE TABLE IF NOT EXISTS theirs (id int)"))
        connection.execute(text("DROP TABLE theirs"))

    with pytest.raises(DestructiveOperationError, match="drop table theirs"):
        kept.do(body, isolation_level=level)
    assert "theirs" in kept.database.relations()


def test_a_creation_that_failed_or_was_rolled_back_leaves_nothing_behind(kept: Any) -> None:
    def body(connection: Connection) -> None:
        with pytest.raises(DBAPIError):
            connection.execute(text("CREATE TABLE mine (id no_such_type)"))
        connection.rollback()
        if kept.is_postgresql:
            connection.execute(text("CREATE TABLE mine (id int)"))
            connection.rollback()
        kept.database.send("CREATE TABLE mine (id int)")
        connection.execute(text("DROP TABLE mine"))

    with pytest.raises(DestructiveOperationError, match="drop table mine"):
        kept.do(body)


@pytest.mark.parametrize("name", MARIADB)
def test_on_mariadb_a_name_that_differs_in_letter_case_is_another_table(name: str, reach: Reach) -> None:
    kept = reach(name)
    if kept.send("SELECT @@lower_case_table_names") != [(0,)]:
        pytest.skip("this server folds the names of tables")

    def body(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE Mine (id int)"))
        kept.database.send("CREATE TABLE mine (id int)")
        connection.execute(text("DROP TABLE mine"))

    with pytest.raises(DestructiveOperationError, match="drop table mine"):
        kept.do(body)


WITH_A_TABLE_OF_ONES_OWN = {
    "its partitions": (
        "CREATE TABLE mine (id int) PARTITION BY RANGE (id)",
        "ALTER TABLE mine ATTACH PARTITION orders FOR VALUES FROM (0) TO (10)",
        "DROP TABLE mine",
    ),
    "its heirs": ("CREATE TABLE mine (id int)", "ALTER TABLE orders INHERIT mine", "DROP TABLE mine CASCADE"),
    "the rows of its heirs": ("CREATE TABLE mine (id int)", "ALTER TABLE orders INHERIT mine", "TRUNCATE mine"),
    "the rows that refer to it": (
        "CREATE TABLE mine (id int PRIMARY KEY)",
        "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES mine",
        "TRUNCATE mine CASCADE",
    ),
    "its views": ("CREATE TABLE mine (id int)", "CREATE VIEW over_mine AS TABLE mine", "DROP TABLE mine CASCADE"),
    "a sequence that it was given": (
        "CREATE SEQUENCE numbers",
        "CREATE TABLE mine (id int)",
        "ALTER SEQUENCE numbers OWNED BY mine.id",
        "DROP TABLE mine",
    ),
    "what refers to what refers to it": (
        "CREATE TABLE mine (id int PRIMARY KEY)",
        "CREATE TABLE mine_too (id int PRIMARY KEY REFERENCES mine)",
        "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES mine_too",
        "TRUNCATE mine CASCADE",
    ),
}


@pytest.mark.parametrize("statements", WITH_A_TABLE_OF_ONES_OWN.values(), ids=WITH_A_TABLE_OF_ONES_OWN)
@pytest.mark.parametrize("name", ["psycopg", "asyncpg"])
def test_nothing_of_others_goes_with_a_table_of_ones_own(name: str, statements: tuple[str, ...], reach: Reach) -> None:
    kept = reach(name)
    kept.refusal(*statements)
    assert "orders" in kept.database.relations()


def test_a_tree_of_ones_own_tables_is_dropped(reach: Reach) -> None:
    kept = reach("psycopg")
    kept.send(
        "CREATE TABLE mine (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, number serial)",
        "ALTER TABLE mine ADD COLUMN later bigserial",
        "CREATE TABLE mine_too (id int REFERENCES mine)",
        "TRUNCATE mine CASCADE",
        "DROP TABLE mine CASCADE",
        "DROP TABLE mine_too",
    )


@pytest.mark.parametrize("name", ["psycopg", "psycopg2", "pymysql"])
def test_a_percent_sign_that_the_driver_folds_hides_no_table(name: str, reach: Reach) -> None:
    kept = reach(name)
    quote = '"' if kept.is_postgresql else "`"
    table = f"{quote}a%b{quote}"
    kept.database.send(f"CREATE TABLE {table.replace('%', '%%')} (id int)")  # the driver folds here too, or not
    tables = {relation for relation in kept.database.relations() if relation.startswith("a")} - {"audit"}
    assert len(tables) == 1
    for written in (table, table.replace("%", "%%")):
        for options in ({}, {"no_parameters": True}):
            try:
                kept.send(f"DROP TABLE IF EXISTS {written}", **options)
            except (DestructiveOperationError, DBAPIError, TypeError, ValueError):
                continue
    assert tables <= kept.database.relations()
    metadata = MetaData()
    Table("a%b", metadata, Column("id", Integer))
    with pytest.raises(DestructiveOperationError):
        kept.do(lambda connection: metadata.drop_all(connection, checkfirst=False))
    assert tables <= kept.database.relations()


@pytest.fixture
def restricted(databases: Databases) -> Iterator[tuple[Any, str]]:
    """Return a MariaDB database, and an account that may drop its tables and see little else."""
    database = databases("mariadb", "kept")
    database.rebuild()
    account = f"er_{secrets.token_hex(4)}"
    database.send_to_server(f"CREATE USER {account}@'%%' IDENTIFIED BY 'pw'")
    database.send_to_server(f"CREATE USER {account}@localhost IDENTIFIED BY 'pw'")
    for host in ("'%%'", "localhost"):
        database.send_to_server(f"GRANT DROP, CREATE TEMPORARY TABLES ON {database.name}.* TO {account}@{host}")
    yield database, account
    for host in ("'%%'", "localhost"):
        database.send_to_server(f"DROP USER {account}@{host}")


def test_an_account_that_sees_little_is_refused_what_it_might_destroy(
    restricted: tuple[Any, str], reach: Reach
) -> None:
    database, account = restricted
    kept = reach("pymysql", url=database.url.set(username=account, password="pw"))
    told = kept.refusal("DROP TABLE users")
    assert "drop table users" in told
    assert "***" in told
    kept.send("CREATE TEMPORARY TABLE users (id int)", "DROP TABLE users")
    assert "users" in database.relations()


NAMES_OF_THREE_PARTS = ["DROP TABLE {name}.public.users", "DROP TABLE elsewhere.public.users"]


@pytest.mark.parametrize("statement", NAMES_OF_THREE_PARTS)
def test_a_name_of_three_parts_is_refused(statement: str, reach: Reach) -> None:
    kept = reach("psycopg")
    assert "drop table" in kept.refusal(statement.format(name=kept.name))


GROUPED = "CREATE VIEW grouped AS SELECT id, email FROM users GROUP BY id"
TWICE = "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2'"
TOUCHED = "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
TRIGGER = "CREATE TRIGGER touched AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION touched()"
TRIGGER_OF_MARIADB = "CREATE TRIGGER touched AFTER INSERT ON users FOR EACH ROW SET @touched = 1"
RULE = "CREATE RULE kept AS ON DELETE TO users DO INSTEAD NOTHING"
ASKED = {
    "a key on which nothing depends": ((), "ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE", ""),
    "a key that a view needs": ((GROUPED,), "ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE", "drop constraint"),
    "a key of a name that is too long": ((), "ALTER TABLE a.b.c.users DROP CONSTRAINT k CASCADE", "drop constraint"),
    "a type that is not there": ((), "DROP TYPE IF EXISTS never_was", ""),
    "a type that is there": (("CREATE TYPE mood AS ENUM ('a')",), "DROP TYPE mood", "drop type mood"),
    "a table that is not there in any letter case": ((), "DROP TABLE IF EXISTS Ä", ""),
    "an index by a new name": ((), "ALTER INDEX users_pkey RENAME TO users_key", ""),
    "a table that is called an index": ((), "ALTER INDEX users RENAME TO people", "rename index users"),
    "a creation of a name of three parts": (
        ("CREATE TABLE {name}.public.mine (id int)",),
        "DROP TABLE mine",
        "drop table",
    ),
    "a function that is not there": ((), "DROP FUNCTION IF EXISTS never_was(int)", ""),
    "a function that is not there in its schema": ((TWICE,), "DROP FUNCTION IF EXISTS pg_catalog.twice(int)", ""),
    "a function of other arguments": ((TWICE,), "DROP FUNCTION IF EXISTS twice(text)", "drop function twice"),
    "a function that is there": ((TWICE,), "DROP FUNCTION twice", "drop function twice"),
    "a function in its schema": ((TWICE,), "DROP ROUTINE public.twice(int)", "drop routine public.twice"),
    "a function in two letter cases": ((TWICE,), 'DROP FUNCTION IF EXISTS "Twice"(int)', "drop function "),
    "a function with braces in its name": ((), 'DROP FUNCTION IF EXISTS "a{{0}}{{b}}"(int)', ""),
    "a function of a name of three parts": ((), "DROP FUNCTION IF EXISTS {name}.public.f()", "drop function"),
    "a schema that is not there": ((), "DROP SCHEMA IF EXISTS never_was CASCADE", ""),
    "a schema that is there": (("CREATE SCHEMA stock",), "DROP SCHEMA stock", "drop schema stock"),
    "an extension that is not there": ((), "DROP EXTENSION IF EXISTS never_was", ""),
    "an extension that is there": ((), "DROP EXTENSION plpgsql", "drop extension plpgsql"),
    "a database that is there": ((), "DROP DATABASE IF EXISTS template1", "drop database template1"),
    "a column that is not there": ((), "ALTER TABLE users DROP COLUMN IF EXISTS never_was", ""),
    "a column that is not there in a schema": ((), "ALTER TABLE public.users DROP COLUMN IF EXISTS never_was", ""),
    "a column of no table": ((), "ALTER TABLE IF EXISTS never_was DROP COLUMN email", ""),
    "a column that is there": ((), "ALTER TABLE users DROP COLUMN IF EXISTS email", "drop column users.email"),
    "a column of a name of four parts": ((), "ALTER TABLE a.b.c DROP COLUMN IF EXISTS d", "drop column a.b.c.d"),
    "a trigger that is not there": ((), "DROP TRIGGER IF EXISTS never_was ON users", ""),
    "a trigger of no table": ((), "DROP TRIGGER IF EXISTS touched ON never_was", ""),
    "a trigger that is there": ((TOUCHED, TRIGGER), "DROP TRIGGER touched ON users", "drop trigger users.touched"),
    "a policy that is not there": ((), "DROP POLICY IF EXISTS never_was ON users", ""),
    "a policy that is there": (("CREATE POLICY own ON users",), "DROP POLICY own ON users", "drop policy users.own"),
    "a rule that is not there": ((), "DROP RULE IF EXISTS never_was ON public.users", ""),
    "a rule that is there": ((RULE,), "DROP RULE kept ON users", "drop rule users.kept"),
    "the rule of a view": ((), 'DROP RULE "_RETURN" ON everybody', "drop rule everybody"),
    "a table of others that leaves its parent": (
        ("CREATE TABLE mine ()", "ALTER TABLE orders INHERIT mine"),
        "ALTER TABLE orders NO INHERIT mine",
        "detach table orders",
    ),
    "a table of ones own that leaves its parent": (
        ("CREATE TABLE mine () INHERITS (orders)",),
        "ALTER TABLE mine NO INHERIT orders",
        "",
    ),
    "a sequence that is not there": ((), "DROP SEQUENCE IF EXISTS never_was", ""),
    "a sequence that is there": (("CREATE SEQUENCE numbers",), "DROP SEQUENCE numbers", "drop sequence numbers"),
}


@pytest.mark.parametrize(("before", "statement", "told"), ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("name", ["psycopg2", "asyncpg"])
def test_what_the_catalogue_answers_decides(
    name: str, before: tuple[str, ...], statement: str, told: str, reach: Reach
) -> None:
    kept = reach(name)
    *statements, statement = [one.format(name=kept.name) for one in (*before, statement)]
    if told:
        assert kept.refusal(*statements, statement).startswith(f"Refused to {told}")
    else:
        kept.send(*statements, statement)


@pytest.mark.parametrize("name", POSTGRESQL)
def test_a_name_that_some_servers_fold_is_looked_up_in_both_letter_cases(name: str, reach: Reach) -> None:
    # In a database of an encoding with one byte for each letter, this drops ä.
    kept = reach(name)
    kept.database.send('CREATE TABLE "ä" (id int)')
    assert "drop table Ä" in kept.refusal("DROP TABLE IF EXISTS Ä")
    assert "ä" in kept.database.relations()


@pytest.mark.parametrize("name", POSTGRESQL)
def test_a_database_that_is_not_there_is_dropped(name: str, reach: Reach) -> None:
    reach(name).send(f"DROP DATABASE IF EXISTS never_was_{secrets.token_hex(4)}", isolation_level="AUTOCOMMIT")


@pytest.mark.parametrize("statement", ["DROP FUNCTION IF EXISTS f()", "ALTER TABLE users DROP COLUMN IF EXISTS c"])
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_what_an_old_snapshot_does_not_show_may_be_there(level: str, statement: str, reach: Reach) -> None:
    kept = reach("psycopg")

    def body(connection: Connection) -> None:
        connection.execute(text("SELECT * FROM orders"))
        kept.database.send("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "ALTER TABLE users ADD c int")
        connection.exec_driver_sql(statement)

    with pytest.raises(DestructiveOperationError):
        kept.do(body, isolation_level=level)


ASKED_ON_MARIADB = {
    "a function that is not there": ((), "DROP FUNCTION IF EXISTS never_was", ""),
    "a function that is there": (("CREATE FUNCTION f() RETURNS int RETURN 1",), "DROP FUNCTION f", "drop function f"),
    "a function in two letter cases": (("CREATE FUNCTION f() RETURNS int RETURN 1",), "DROP FUNCTION F", "drop fun"),
    "a procedure that is not there": ((), "DROP PROCEDURE IF EXISTS never_was", ""),
    "a procedure that is there": (("CREATE PROCEDURE p() SELECT 1",), "DROP PROCEDURE p", "drop procedure p"),
    "a procedure of another database": ((), "DROP PROCEDURE IF EXISTS sys.diagnostics", "drop procedure sys.diag"),
    "a trigger that is not there": ((), "DROP TRIGGER IF EXISTS never_was", ""),
    "a trigger that is there": ((TRIGGER_OF_MARIADB,), "DROP TRIGGER IF EXISTS touched", "drop trigger touched"),
    "an event that is not there": ((), "DROP EVENT IF EXISTS never_was", ""),
    "an event that is there": (
        ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",),
        "DROP EVENT {name}.e",
        "drop event {name}.e in database {name}",
    ),
    "a database that is not there": ((), "DROP DATABASE IF EXISTS never_was_anywhere", ""),
    "a database that is there": ((), "DROP SCHEMA IF EXISTS sys", "drop database sys"),
    "a column that is not there": ((), "ALTER TABLE users DROP COLUMN IF EXISTS never_was", ""),
    "a column that is not there in a database": ((), "ALTER TABLE {name}.users DROP IF EXISTS never_was", ""),
    "a column that is there": ((), "ALTER TABLE users DROP COLUMN IF EXISTS EMAIL", "drop column users.EMAIL"),
    "a name of three parts": ((), "ALTER TABLE a.b.c DROP COLUMN IF EXISTS d", "drop column a.b.c.d"),
}


@pytest.mark.parametrize(("before", "statement", "told"), ASKED_ON_MARIADB.values(), ids=ASKED_ON_MARIADB)
@pytest.mark.parametrize("name", ["pymysql", "asyncmy"])
def test_what_the_catalogue_of_mariadb_answers_decides(
    name: str, before: tuple[str, ...], statement: str, told: str, reach: Reach
) -> None:
    kept = reach(name)
    *statements, statement, told = [one.format(name=kept.name) for one in (*before, statement, told)]
    try:
        if told:
            assert kept.refusal(*statements, statement).startswith(f"Refused to {told}")
        else:
            kept.send(*statements, statement)
    finally:
        kept.database.send("DROP TRIGGER IF EXISTS touched", "DROP EVENT IF EXISTS e")  # the rebuilding sees them not


def test_an_account_that_may_not_see_loadable_functions_is_refused(restricted: tuple[Any, str], reach: Reach) -> None:
    database, account = restricted
    kept = reach("pymysql", url=database.url.set(username=account, password="pw"))
    assert "drop function" in kept.refusal("DROP FUNCTION IF EXISTS never_was")


@pytest.mark.parametrize("backend", ["postgresql", "mariadb"])
def test_a_kind_that_the_catalogue_does_not_know_is_never_harmless(backend: str) -> None:
    asks_nothing: Any = None
    known = catalogue.Catalogue(asks_nothing, backend, frozenset())
    assert not known.is_harmless(ObjectName("novelty", ("a",), "a"))


def test_a_definition_that_may_not_be_seen_makes_no_table_temporary(
    reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = reach("pymysql")
    # An account that may drop a table and not see its definition: servers differ in whether there is one.
    original = catalogue.fetch

    def fetch(connection: Any, question: str) -> Any:
        return original(connection, question.replace("SHOW CREATE TABLE", "SHOW CREATE NOTHING"))

    monkeypatch.setattr(catalogue, "fetch", fetch)
    assert "drop table users" in kept.refusal("DROP TABLE users")
