"""Which databases a text writes to: the table, and what is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom._statements import writes
from engineroom._statements.writes import Write, written_databases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from engineroom._statements import Dialect


@pytest.fixture(autouse=True)
def _remember_nothing() -> Iterator[None]:
    """Read every text anew: what another test read stands for nothing here."""
    writes._read_and_remember.cache_clear()
    yield
    writes._read_and_remember.cache_clear()


REACHING_ON_MYSQL = {
    "a use": ("USE shop", "use shop"),
    "a quoted use": ("use `shop`", "use shop"),
    "a use behind a comment": ("/* x */ USE shop", "use shop"),
    "a use in an executable comment": ("/*! USE shop */", "use shop"),
    "a use in an executable comment of MariaDB": ("/*M! USE shop */", "use shop"),
    "a second statement": ("SELECT 1; USE shop", "use shop"),
    "an insert": ("INSERT INTO shop.users VALUES (1)", "insert into shop.users"),
    "an insert without INTO": ("INSERT shop.users VALUES (1)", "insert into shop.users"),
    "an insert that ignores": (
        "insert low_priority ignore into `shop`.`users` (id) values (1)",
        "insert into shop.users",
    ),
    "an insert of what is read": ("INSERT INTO shop.users SELECT * FROM users", "insert into shop.users"),
    "an insert with a space": ("INSERT INTO shop . users VALUES (1)", "insert into shop.users"),
    "a replace": ("REPLACE INTO shop.users VALUES (1)", "replace into shop.users"),
    "a replace that is delayed": ("REPLACE DELAYED shop.users VALUES (1)", "replace into shop.users"),
    "a delete": ("DELETE FROM shop.users", "delete from shop.users"),
    "a delete with a condition": ("DELETE QUICK FROM shop.users WHERE id = 1", "delete from shop.users"),
    "a delete of two": (
        "DELETE users, shop.orders FROM users JOIN shop.orders",
        "delete from users; delete from shop.orders",
    ),
    "a delete by alias": ("DELETE o FROM users u JOIN shop.orders AS o ON o.id = u.id", "delete from shop.orders"),
    "a delete with USING": ("DELETE FROM o USING users INNER JOIN shop.orders o", "delete from shop.orders"),
    "a delete with stars": (
        "DELETE users.*, shop.orders.* FROM users, shop.orders",
        "delete from users; delete from shop.orders",
    ),
    "an update": ("UPDATE shop.users SET name = 'x'", "update shop.users"),
    "an update by alias": ("UPDATE users u JOIN shop.orders o ON o.id = u.id SET o.paid = 1", "update shop.orders"),
    "an update by the table's name": ("UPDATE users, shop.orders SET orders.paid = 1", "update shop.orders"),
    "an update by the whole name": ("UPDATE users JOIN shop.orders SET shop.orders.paid = 1", "update shop.orders"),
    "an update of a column of either": (
        "UPDATE users JOIN shop.orders SET paid = 1",
        "update users; update shop.orders",
    ),
    "an update of the second column": (
        "UPDATE users u LEFT JOIN shop.orders o USING (id) SET u.a = 1, o.b = 2",
        "update users; update shop.orders",
    ),
    "an update in parentheses": ("UPDATE (users u CROSS JOIN shop.orders o) SET o.b = 2", "update shop.orders"),
    "an update behind a subquery": ("UPDATE (SELECT 1 AS a) AS d, shop.orders o SET o.b = d.a", "update shop.orders"),
    "a CTE": ("WITH x AS (SELECT 1) DELETE FROM shop.users WHERE id IN (SELECT * FROM x)", "delete from shop.users"),
    "an analysed delete": ("ANALYZE FORMAT=JSON DELETE FROM shop.users", "delete from shop.users"),
    "an explained and analysed delete": ("EXPLAIN ANALYZE DELETE o FROM shop.orders o", "delete from shop.orders"),
    "rows from a file": ("LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE shop.users", "load data into shop.users"),
    "rows from XML": ("LOAD XML INFILE 'x' INTO TABLE shop.users", "load data into shop.users"),
    "a truncate": ("TRUNCATE shop.users", "truncate table shop.users"),
    "a truncate of a table": ("TRUNCATE TABLE `shop`.users", "truncate table shop.users"),
    "a drop": ("DROP TABLE IF EXISTS users, shop.users", "drop table users; drop table shop.users"),
    "a drop of a view": ("DROP VIEW shop.everybody", "drop view shop.everybody"),
    "a drop of an index": ("DROP INDEX i ON shop.users", "drop index shop.users"),
    "a drop of a procedure": ("DROP PROCEDURE shop.p", "drop procedure shop.p"),
    "a drop of the database": ("DROP DATABASE shop", "drop database shop"),
    "a drop of the schema": ("DROP SCHEMA IF EXISTS `shop`", "drop database shop"),
    "a create": ("CREATE TABLE shop.x (id int)", "create table shop.x"),
    "a create that replaces": ("CREATE OR REPLACE TABLE shop.users AS SELECT 1", "replace table shop.users"),
    "a view": (
        "CREATE ALGORITHM = MERGE DEFINER = root@localhost SQL SECURITY INVOKER VIEW shop.v AS SELECT 1",
        "create view shop.v",
    ),
    "an index": ("CREATE UNIQUE INDEX i ON shop.users (id)", "create index shop.users"),
    "a procedure": ("CREATE PROCEDURE shop.p() BEGIN DELETE FROM users; END", "create procedure shop.p"),
    "a trigger": (
        "CREATE TRIGGER t BEFORE INSERT ON shop.users FOR EACH ROW SET @a = 1",
        "create trigger t; create trigger shop.users",
    ),
    "an event that deletes": (
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.users",
        "delete from shop.users; create event e",
    ),
    "an event that is to delete from now on": (
        "ALTER EVENT e DO BEGIN SELECT 1; DELETE FROM shop.users; END",
        "delete from shop.users; alter event e",
    ),
    "a procedure that does not end": ("CREATE PROCEDURE shop.p() BEGIN SELECT 1;", "create procedure shop.p"),
    "a database that is replaced": ("CREATE OR REPLACE DATABASE shop", "replace database shop"),
    "an alter": ("ALTER TABLE shop.users ADD COLUMN x int", "alter table shop.users"),
    "an alter that moves": ("ALTER TABLE users RENAME TO shop.users", "alter table users; alter table shop.users"),
    "an alter that exchanges": (
        "ALTER TABLE users EXCHANGE PARTITION p WITH TABLE shop.users",
        "alter table users; alter table shop.users",
    ),
    "an alter of the database": ("ALTER DATABASE shop CHARACTER SET latin1", "alter database shop"),
    "a rename": ("RENAME TABLE shop.users TO users", "rename table shop.users; rename table users"),
    "a rename into it": ("RENAME TABLE users TO shop.users", "rename table users; rename table shop.users"),
    "a prepared statement": ("PREPARE s FROM 'DELETE FROM shop.users'", "delete from shop.users"),
    "an immediate statement": ("EXECUTE IMMEDIATE 'DELETE FROM shop.users'", "delete from shop.users"),
    "an immediate statement in parts": ("EXECUTE IMMEDIATE 'DELETE ' 'FROM shop.users'", "delete from shop.users"),
    "a setting for one statement": (
        "SET STATEMENT max_statement_time = 1 FOR DELETE FROM shop.users",
        "delete from shop.users",
    ),
    "a block": ("BEGIN NOT ATOMIC IF 1 THEN DELETE FROM shop.users; END IF; END", "delete from shop.users"),
    "a later part of a block": ("BEGIN NOT ATOMIC SELECT 1; UPDATE shop.users SET id = 1; END", "update shop.users"),
    "rows of two files": (
        "LOAD DATA INFILE 'x' REPLACE INTO TABLE shop.users; LOAD DATA INFILE 'y' INTO TABLE users",
        "load data into shop.users; load data into users",
    ),
    "a create of what may be there": ("CREATE TABLE IF NOT EXISTS shop.x (id int)", "create table shop.x"),
    "a view with a hint": (
        "CREATE ALGORITHM = MERGE VIEW shop.v AS SELECT * FROM users FORCE INDEX (i)",
        "create view shop.v",
    ),
    "a body of a package": ("CREATE OR REPLACE PACKAGE BODY shop.p AS END", "replace package shop.p"),
    "an alter that moves as": ("ALTER TABLE users RENAME AS shop.users", "alter table users; alter table shop.users"),
    "an alter that moves with a sign": (
        "ALTER TABLE users RENAME = shop.users",
        "alter table users; alter table shop.users",
    ),
    "an alter that just moves": ("ALTER TABLE users RENAME shop.users", "alter table users; alter table shop.users"),
    "an alter that makes a table of a partition": (
        "ALTER TABLE users CONVERT PARTITION p TO TABLE shop.users",
        "alter table users; alter table shop.users",
    ),
    "a rename of several": (
        "RENAME TABLES users TO people, shop.users TO shop.people",
        "rename table users; rename table people; rename table shop.users; rename table shop.people",
    ),
    "a rename of what may be there": (
        "RENAME TABLE IF EXISTS shop.users TO users",
        "rename table shop.users; rename table users",
    ),
    "a setting in an executable comment": (
        "SET /*! STATEMENT max_statement_time = 1 FOR DELETE FROM shop.users */",
        "delete from shop.users",
    ),
    "an update with a colon": ("UPDATE shop.users SET id := 1", "update shop.users"),
    "a CTE behind other statements": (
        "SELECT 1; DELETE FROM users; WITH x AS (SELECT 1) DELETE FROM shop.users",
        "delete from users; delete from shop.users",
    ),
    "an analysed delete behind other statements": (
        "SELECT 1; DELETE FROM users; EXPLAIN ANALYZE DELETE o FROM shop.orders o",
        "delete from users; delete from shop.orders",
    ),
    "a statement that is prepared later": ("SELECT 1; PREPARE s FROM 'USE shop'", "use shop"),
    "an update of a join of ODBC": (
        "UPDATE { OJ shop.orders o LEFT JOIN users u ON o.id = u.id } SET o.paid = 1",
        "update shop.orders",
    ),
    "an update with an alias like a word of ODBC": (
        "UPDATE users oj JOIN shop.orders o ON o.id = oj.id SET o.paid = 1",
        "update shop.orders",
    ),
    "an update of a column of either, with such an alias": (
        "UPDATE users oj JOIN shop.orders o USING (id) SET paid = 1",
        "update users; update shop.orders",
    ),
    "a loop": ("LOOP DELETE FROM shop.users; END LOOP", "delete from shop.users"),
    "a drop of several": ("DROP TABLES users, shop.users", "drop table users; drop table shop.users"),
    "a drop of a body": ("DROP PACKAGE BODY IF EXISTS shop.p", "drop package shop.p"),
    "an alter of a view": (
        "ALTER ALGORITHM = MERGE SQL SECURITY INVOKER VIEW shop.v AS SELECT * FROM users FORCE INDEX (i)",
        "alter view shop.v",
    ),
    "an alter of what may be there": ("ALTER TABLE IF EXISTS shop.users ADD x int", "alter table shop.users"),
    "an alter that waits for nobody": ("ALTER ONLINE TABLE shop.users ADD x int", "alter table shop.users"),
    "an event that moves": (
        "ALTER EVENT e ON SCHEDULE EVERY 1 DAY RENAME TO shop.e DISABLE",
        "alter event e; alter event shop.e",
    ),
    "an immediate statement in double quotes": ('EXECUTE IMMEDIATE "USE shop"', "use shop"),
    "an immediate statement with a string": (
        r"EXECUTE IMMEDIATE 'DELETE FROM users WHERE a = \'\'; USE shop'",
        "delete from users; use shop",
    ),
    "an immediate statement with nothing before it": ("EXECUTE IMMEDIATE '' 'USE shop'", "use shop"),
    "an immediate statement in an immediate block": (
        "EXECUTE IMMEDIATE 'BEGIN NOT ATOMIC EXECUTE IMMEDIATE ''USE shop''; END'",
        "use shop",
    ),
    "behind an unfinished string": ("DELETE FROM shop.users; SELECT 'x", "delete from shop.users"),
}
SECOND_STATEMENTS = [
    "USE shop", "-- x\nUSE shop", "# x\nUSE shop", "x: BEGIN NOT ATOMIC DELETE FROM shop.users; END",
    "BEGIN NOT ATOMIC DELETE FROM shop.users; END", "with x as (select 1) delete from shop.users",
    "set  statement max_statement_time = 1 for delete from shop.users", "IF 1 THEN DELETE FROM shop.users; END IF",
    "execute immediate 'USE shop'", "explain analyze delete o from shop.orders o", "/*!50000 USE shop */",
]  # fmt: skip
STAYING_ON_MYSQL = {
    "a select": ("SELECT * FROM shop.users", ""),
    "a select into": ("SELECT id INTO @a FROM shop.users", ""),
    "a union": ("(SELECT 1) UNION (SELECT id FROM shop.users)", ""),
    "an insert of what is read": ("INSERT INTO users SELECT * FROM shop.users", ""),
    "an insert of words": ("INSERT INTO users VALUES ('USE shop; DELETE FROM shop.users')", "insert into users"),
    "an insert with a qualified column": (
        "INSERT INTO users (users.id) VALUES (1) ON DUPLICATE KEY UPDATE users.id = 2",
        "",
    ),
    "an update by what is read": (
        "UPDATE users u JOIN shop.orders o ON o.id = u.id SET u.paid = o.paid",
        "update users",
    ),
    "an update by a subquery": ("UPDATE users SET paid = (SELECT max(paid) FROM shop.orders)", ""),
    "a qualified column": ("UPDATE users SET users.name = 'x' WHERE users.id = 1", ""),
    "a delete by what is read": ("DELETE u FROM users u JOIN shop.orders o ON o.id = u.id", "delete from users"),
    "a delete by a subquery": ("DELETE FROM users WHERE id IN (SELECT id FROM shop.orders)", ""),
    "a delete with a qualified column": ("DELETE FROM users WHERE users.id = 1", ""),
    "a quick delete with a qualified column": ("DELETE QUICK FROM users WHERE users.id = 1", "delete from users"),
    "a CTE that is read": ("WITH x AS (SELECT * FROM shop.users) SELECT * FROM x", ""),
    "a plan": ("EXPLAIN DELETE FROM shop.users", ""),
    "show": ("SHOW TABLES FROM shop", ""),
    "a comment": ("-- USE shop\nSELECT 1", ""),
    "a name": ("SELECT use.shop FROM `use shop`", ""),
    "a new database": ("CREATE DATABASE IF NOT EXISTS shop", ""),
    "a temporary table": ("CREATE TEMPORARY TABLE shop.x (id int)", ""),
    "a drop of a temporary table": ("DROP TEMPORARY TABLE shop.x", ""),
    "a copy of what is read": ("CREATE TABLE users LIKE shop.users", "create table users"),
    "a copy of rows": ("CREATE TABLE copy AS SELECT * FROM shop.users", "create table copy"),
    "a procedure of its own": ("CREATE PROCEDURE p() BEGIN DELETE FROM shop.users; END", "create procedure p"),
    "a procedure of its own with several statements": (
        "CREATE PROCEDURE p() BEGIN SELECT 1; DELETE FROM shop.users; END",
        "create procedure p",
    ),
    "an account": ("DROP USER 'shop.users'@'%'", ""),
    "a grant": ("GRANT ALL ON shop.* TO app", ""),
    "an index hint": ("SELECT * FROM users USE INDEX (i)", ""),
    "a join with an index hint": (
        "UPDATE users USE INDEX (i) JOIN shop.orders o ON 1 SET users.a = o.b",
        "update users",
    ),
    "statistics": ("ANALYZE TABLE shop.users", ""),
    "a transaction": ("BEGIN", ""),
    "an assignment": ("SET @a = 'shop.users'", ""),
    "an event that is switched": ("ALTER EVENT e ENABLE", "alter event e"),
    "a checked table": ("CHECK TABLE shop.users", ""),
    "a delete from a table called limit": ("DELETE QUICK FROM `limit` LIMIT 1", "delete from limit"),
    "an event that grants": ("ALTER EVENT e DO GRANT SELECT ON users TO shop", "alter event e"),
    "an update next to a query": (
        "UPDATE (SELECT id, shop.x.b FROM shop.x) AS d, users SET paid = 1",
        "update users",
    ),
    "an update next to a CTE": (
        "UPDATE (WITH y AS (SELECT 1 AS id) SELECT y.id, shop.x.b FROM shop.x, y) AS d, users SET paid = 1",
        "update users",
    ),
    "an update next to values": ("UPDATE (VALUES (1, 2)) AS d (a, b), users SET paid = 1", "update users"),
    "an update next to a lateral query": (
        "UPDATE users, LATERAL (SELECT id, shop.x.b FROM shop.x) AS d SET paid = 1",
        "update users",
    ),
    "a name in a block": ("IF (SELECT shop.use FROM shop.x) THEN SELECT 1; END IF", ""),
    "a comparison behind an update": (
        "IF 1 THEN UPDATE users SET a = 1; SELECT 1, shop.orders.paid = 2 FROM shop.orders; END IF",
        "update users",
    ),
    "an alter of its own view": (
        "ALTER VIEW v AS SELECT a, CONVERT(b, CHAR) IN (TABLE shop.users) FROM users",
        "alter view v",
    ),
    "an alter of its own database": ("ALTER DATABASE CHARACTER SET utf8mb4", ""),
    "an alter of its own database by default": ("ALTER SCHEMA DEFAULT CHARACTER SET = utf8mb4", ""),
    "an alter of its own database in order": ("ALTER DATABASE COLLATE utf8mb4_bin", ""),
    "an alter of its own database to be read": ("ALTER DATABASE READ ONLY = 1", ""),
    "an alter of its own database with a comment": ("ALTER DATABASE COMMENT = 'shop'", ""),
    "a renamed column": ("ALTER TABLE users RENAME COLUMN a TO b", "alter table users"),
    "a renamed index": ("ALTER TABLE users RENAME INDEX a TO b, RENAME KEY c TO d", "alter table users"),
    "another character set": ("ALTER TABLE users CONVERT TO CHARACTER SET utf8mb4", "alter table users"),
}


def tell(writes: Iterable[Write]) -> str:
    return "; ".join(f"{write.operation} {write.target or write.database}" for write in writes)


@pytest.mark.parametrize("dialect", ["mysql", "mariadb"])
@pytest.mark.parametrize(("sql", "told"), REACHING_ON_MYSQL.values(), ids=list(REACHING_ON_MYSQL))
def test_a_text_that_writes_to_another_database(sql: str, told: str, dialect: Dialect) -> None:
    every = written_databases(sql, dialect, own=True)
    assert tell(every) == told
    assert {write.database for write in every} <= {"shop", None}
    assert written_databases(sql, dialect) == tuple(write for write in every if write.database == "shop") != ()


@pytest.mark.parametrize("first", ["SELECT 1", "INSERT INTO users VALUES ('a;b')", "UPDATE users SET id = 1"])
@pytest.mark.parametrize("second", SECOND_STATEMENTS)
def test_a_second_statement_that_does(first: str, second: str) -> None:
    for between in (";", " ; ", ";\n\t"):
        assert "shop" in {write.database for write in written_databases(f"{first}{between}{second}", "mariadb")}


@pytest.mark.parametrize(("sql", "told"), STAYING_ON_MYSQL.values(), ids=list(STAYING_ON_MYSQL))
def test_a_text_that_does_not(sql: str, told: str) -> None:
    assert tell(written_databases(sql, "mariadb", own=True)) == told
    assert written_databases(sql, "mariadb") == ()


@pytest.mark.parametrize(("length", "is_remembered"), [(2000, True), (2001, False)])
def test_a_text_that_is_not_too_long_is_remembered(length: int, is_remembered: bool) -> None:
    writes._read_and_remember.cache_clear()
    sql = "USE shop".ljust(length)
    assert tell(written_databases(sql, "mariadb")) == "use shop"
    assert writes._read_and_remember.cache_info().currsize == is_remembered


def test_what_is_told_of_a_write() -> None:
    sql = "DELETE FROM shop.users; DROP DATABASE `crm`"
    assert [tuple(write) for write in written_databases(sql, "mysql")] == [
        ("delete from", "shop", "shop.users"), ("drop database", "crm", ""),
    ]  # fmt: skip


DATABASES_ON_POSTGRESQL = {
    "a drop": "DROP DATABASE shop",
    "a drop of one that may exist": "drop database if exists shop with (force)",
    "a quoted name": 'DROP DATABASE "shop"',
    "a folded name": "DROP DATABASE Shop",
    "a rename": "ALTER DATABASE shop RENAME TO test_shop",
    "an owner": "ALTER DATABASE shop OWNER TO app",
    "a second statement": "COMMIT; DROP DATABASE shop",
    "a comment between": "DROP /* x */ DATABASE -- y\n shop",
    "behind a string that a backslash ends": r"SELECT '\'; DROP DATABASE shop; --'",
    "behind a string in which a backslash escapes": r"SELECT '\''; DROP DATABASE shop; --'",
}
NO_DATABASE_ON_POSTGRESQL = {
    "a create": "CREATE DATABASE shop TEMPLATE crm",
    "a word": "SELECT 'DROP DATABASE shop'",
    "a name": 'DROP TABLE "database shop"',
    "a grant": "GRANT ALL ON DATABASE shop TO app",
    "an unfinished string": "DROP DATABASE shop; SELECT 'x",
    "no name": "DROP DATABASE",
    "a string": "ALTER DATABASE 'shop'",
}
WRITING_ON_POSTGRESQL = {
    "INSERT INTO users VALUES (1)": "insert",
    "DELETE FROM users": "delete",
    "UPDATE users SET id = 1": "update",
    "TRUNCATE users": "truncate",
    "DROP TABLE users": "drop table",
    "DROP SCHEMA public CASCADE": "drop schema",
    "DROP OWNED BY app": "drop owned",
    "ALTER TABLE users ADD x int": "alter table",
    "CREATE TABLE users (id int)": "create table",
    "CREATE UNLOGGED TABLE users (id int)": "create unlogged",
    "COPY users FROM STDIN": "copy",
    "WITH x AS (DELETE FROM users RETURNING id) SELECT * FROM x": "with",
    "SELECT 1 AS a INTO users": "select",
    "WITH x AS (SELECT 1 AS a) SELECT a INTO users FROM x": "with",
    "MERGE INTO users USING x ON true WHEN MATCHED THEN DELETE": "merge",
    "DO $$ BEGIN DELETE FROM users; END $$": "do",
    "CALL p()": "call",
    "EXPLAIN ANALYZE DELETE FROM users": "explain",
    "EXPLAIN ANALYSE UPDATE users SET id = 1": "explain",
    "PREPARE x AS DELETE FROM users": "prepare",
    "CREATE OR REPLACE VIEW v AS SELECT 1": "create view",
    "REFRESH MATERIALIZED VIEW v": "refresh",
}
READING_ON_POSTGRESQL = [
    "SELECT * FROM users FOR UPDATE",
    "SELECT * FROM users", "BEGIN", "COMMIT", "SET x = 1", "SHOW server_version", "CREATE DATABASE test_shop",
    "CREATE ROLE app", "ALTER ROLE app LOGIN", "DROP ROLE app", "CREATE EXTENSION IF NOT EXISTS hstore",
    "CREATE TEMPORARY TABLE x (id int)", "COPY users TO STDOUT", "COPY (SELECT * FROM users) TO STDOUT",
    "ALTER SYSTEM SET x = 1", "DROP TABLESPACE x", "EXPLAIN DELETE FROM users", "VALUES (1)", "VACUUM",
    "SELECT pg_terminate_backend(1)", "GRANT ALL ON SCHEMA public TO app", "WITH x AS (SELECT 1) SELECT * FROM x", "",
]  # fmt: skip


@pytest.mark.parametrize("sql", DATABASES_ON_POSTGRESQL.values(), ids=list(DATABASES_ON_POSTGRESQL))
def test_a_text_that_changes_another_database_on_postgresql(sql: str) -> None:
    (write,) = written_databases(sql, "postgresql")
    assert write == written_databases(sql, "postgresql", own=True)[-1]
    assert (write.operation.split()[1], write.database, write.target) == ("database", "shop", "")
    assert write.operation.split()[0] in sql.lower()


@pytest.mark.parametrize("sql", NO_DATABASE_ON_POSTGRESQL.values(), ids=list(NO_DATABASE_ON_POSTGRESQL))
def test_a_text_that_does_not_on_postgresql(sql: str) -> None:
    assert written_databases(sql, "postgresql") == ()


@pytest.mark.parametrize(("sql", "operation"), WRITING_ON_POSTGRESQL.items())
def test_a_text_that_writes_to_its_own_database_on_postgresql(sql: str, operation: str) -> None:
    assert written_databases(sql, "postgresql", own=True) == (Write(operation, None),)
    assert written_databases(sql, "postgresql") == ()


@pytest.mark.parametrize("sql", READING_ON_POSTGRESQL)
def test_a_text_that_only_reads_on_postgresql(sql: str) -> None:
    assert written_databases(sql, "postgresql", own=True) == ()


WORDS = """DELETE FROM UPDATE SET USE shop . users ` ' " /*! */ ; ( ) , = WITH PREPARE CREATE TABLE EVENT DO BEGIN NOT
    ATOMIC EXECUTE IMMEDIATE LOAD INTO RENAME TO ALTER DROP"""
TEXTS = st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join)


@given(TEXTS)
def test_no_text_is_too_much(sql: str) -> None:
    for dialect in ("mysql", "postgresql"):
        written_databases(sql, dialect, own=True)
