"""Which databases a text writes to: the table, and what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom._statements.writes import written_databases

REACHING_ON_MYSQL = {
    "a use": "USE shop",
    "a quoted use": "use `shop`",
    "a use behind a comment": "/* x */ USE shop",
    "a use in an executable comment": "/*! USE shop */",
    "a use in an executable comment of MariaDB": "/*M! USE shop */",
    "a second statement": "SELECT 1; USE shop",
    "an insert": "INSERT INTO shop.users VALUES (1)",
    "an insert without INTO": "INSERT shop.users VALUES (1)",
    "an insert that ignores": "insert low_priority ignore into `shop`.`users` (id) values (1)",
    "an insert of what is read": "INSERT INTO shop.users SELECT * FROM users",
    "an insert with a space": "INSERT INTO shop . users VALUES (1)",
    "a replace": "REPLACE INTO shop.users VALUES (1)",
    "a replace that is delayed": "REPLACE DELAYED shop.users VALUES (1)",
    "a delete": "DELETE FROM shop.users",
    "a delete with a condition": "DELETE QUICK FROM shop.users WHERE id = 1",
    "a delete of two": "DELETE users, shop.orders FROM users JOIN shop.orders",
    "a delete by alias": "DELETE o FROM users u JOIN shop.orders AS o ON o.id = u.id",
    "a delete with USING": "DELETE FROM o USING users INNER JOIN shop.orders o",
    "a delete with stars": "DELETE users.*, shop.orders.* FROM users, shop.orders",
    "an update": "UPDATE shop.users SET name = 'x'",
    "an update by alias": "UPDATE users u JOIN shop.orders o ON o.id = u.id SET o.paid = 1",
    "an update by the table's name": "UPDATE users, shop.orders SET orders.paid = 1",
    "an update by the whole name": "UPDATE users JOIN shop.orders SET shop.orders.paid = 1",
    "an update of a column of either": "UPDATE users JOIN shop.orders SET paid = 1",
    "an update of the second column": "UPDATE users u LEFT JOIN shop.orders o USING (id) SET u.a = 1, o.b = 2",
    "an update in parentheses": "UPDATE (users u CROSS JOIN shop.orders o) SET o.b = 2",
    "an update behind a subquery": "UPDATE (SELECT 1 AS a) AS d, shop.orders o SET o.b = d.a",
    "a CTE": "WITH x AS (SELECT 1) DELETE FROM shop.users WHERE id IN (SELECT * FROM x)",
    "an analysed delete": "ANALYZE FORMAT=JSON DELETE FROM shop.users",
    "an explained and analysed delete": "EXPLAIN ANALYZE DELETE o FROM shop.orders o",
    "rows from a file": "LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE shop.users",
    "rows from XML": "LOAD XML INFILE 'x' INTO TABLE shop.users",
    "a truncate": "TRUNCATE shop.users",
    "a truncate of a table": "TRUNCATE TABLE `shop`.users",
    "a drop": "DROP TABLE IF EXISTS users, shop.users",
    "a drop of a view": "DROP VIEW shop.everybody",
    "a drop of an index": "DROP INDEX i ON shop.users",
    "a drop of a procedure": "DROP PROCEDURE shop.p",
    "a drop of the database": "DROP DATABASE shop",
    "a drop of the schema": "DROP SCHEMA IF EXISTS `shop`",
    "a create": "CREATE TABLE shop.x (id int)",
    "a create that replaces": "CREATE OR REPLACE TABLE shop.users AS SELECT 1",
    "a view": "CREATE ALGORITHM = MERGE DEFINER = root@localhost SQL SECURITY INVOKER VIEW shop.v AS SELECT 1",
    "an index": "CREATE UNIQUE INDEX i ON shop.users (id)",
    "a procedure": "CREATE PROCEDURE shop.p() BEGIN DELETE FROM users; END",
    "a trigger": "CREATE TRIGGER t BEFORE INSERT ON shop.users FOR EACH ROW SET @a = 1",
    "an event that deletes": "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.users",
    "a database that is replaced": "CREATE OR REPLACE DATABASE shop",
    "an alter": "ALTER TABLE shop.users ADD COLUMN x int",
    "an alter that moves": "ALTER TABLE users RENAME TO shop.users",
    "an alter that exchanges": "ALTER TABLE users EXCHANGE PARTITION p WITH TABLE shop.users",
    "an alter of the database": "ALTER DATABASE shop CHARACTER SET latin1",
    "a rename": "RENAME TABLE shop.users TO users",
    "a rename into it": "RENAME TABLE users TO shop.users",
    "a prepared statement": "PREPARE s FROM 'DELETE FROM shop.users'",
    "an immediate statement": "EXECUTE IMMEDIATE 'DELETE FROM shop.users'",
    "an immediate statement in parts": "EXECUTE IMMEDIATE 'DELETE ' 'FROM shop.users'",
    "a setting for one statement": "SET STATEMENT max_statement_time = 1 FOR DELETE FROM shop.users",
    "a block": "BEGIN NOT ATOMIC IF 1 THEN DELETE FROM shop.users; END IF; END",
    "a later part of a block": "BEGIN NOT ATOMIC SELECT 1; UPDATE shop.users SET id = 1; END",
    "behind an unfinished string": "DELETE FROM shop.users; SELECT 'x",
}
SECOND_STATEMENTS = [
    "USE shop", "-- x\nUSE shop", "# x\nUSE shop", "x: BEGIN NOT ATOMIC DELETE FROM shop.users; END",
    "BEGIN NOT ATOMIC DELETE FROM shop.users; END", "with x as (select 1) delete from shop.users",
    "set  statement max_statement_time = 1 for delete from shop.users", "IF 1 THEN DELETE FROM shop.users; END IF",
    "execute immediate 'USE shop'", "explain analyze delete o from shop.orders o", "/*!50000 USE shop */",
]  # fmt: skip
STAYING_ON_MYSQL = {
    "a select": "SELECT * FROM shop.users",
    "a select into": "SELECT id INTO @a FROM shop.users",
    "a union": "(SELECT 1) UNION (SELECT id FROM shop.users)",
    "an insert of what is read": "INSERT INTO users SELECT * FROM shop.users",
    "an insert of words": "INSERT INTO users VALUES ('USE shop; DELETE FROM shop.users')",
    "an insert with a qualified column": "INSERT INTO users (users.id) VALUES (1) ON DUPLICATE KEY UPDATE users.id = 2",
    "an update by what is read": "UPDATE users u JOIN shop.orders o ON o.id = u.id SET u.paid = o.paid",
    "an update by a subquery": "UPDATE users SET paid = (SELECT max(paid) FROM shop.orders)",
    "a qualified column": "UPDATE users SET users.name = 'x' WHERE users.id = 1",
    "a delete by what is read": "DELETE u FROM users u JOIN shop.orders o ON o.id = u.id",
    "a delete by a subquery": "DELETE FROM users WHERE id IN (SELECT id FROM shop.orders)",
    "a delete with a qualified column": "DELETE FROM users WHERE users.id = 1",
    "a CTE that is read": "WITH x AS (SELECT * FROM shop.users) SELECT * FROM x",
    "a plan": "EXPLAIN DELETE FROM shop.users",
    "show": "SHOW TABLES FROM shop",
    "a comment": "-- USE shop\nSELECT 1",
    "a name": "SELECT use.shop FROM `use shop`",
    "a new database": "CREATE DATABASE IF NOT EXISTS shop",
    "a temporary table": "CREATE TEMPORARY TABLE shop.x (id int)",
    "a drop of a temporary table": "DROP TEMPORARY TABLE shop.x",
    "a copy of what is read": "CREATE TABLE users LIKE shop.users",
    "a copy of rows": "CREATE TABLE copy AS SELECT * FROM shop.users",
    "a procedure of its own": "CREATE PROCEDURE p() BEGIN DELETE FROM shop.users; END",
    "an account": "DROP USER 'shop.users'@'%'",
    "a grant": "GRANT ALL ON shop.* TO app",
    "an index hint": "SELECT * FROM users USE INDEX (i)",
    "a join with an index hint": "UPDATE users USE INDEX (i) JOIN shop.orders o ON 1 SET users.a = o.b",
    "statistics": "ANALYZE TABLE shop.users",
    "a transaction": "BEGIN",
    "an assignment": "SET @a = 'shop.users'",
    "an event that is switched": "ALTER EVENT e ENABLE",
    "a checked table": "CHECK TABLE shop.users",
}


@pytest.mark.parametrize("dialect", ["mysql", "mariadb"])
@pytest.mark.parametrize("sql", REACHING_ON_MYSQL.values(), ids=list(REACHING_ON_MYSQL))
def test_a_text_that_writes_to_another_database(sql: str, dialect: str) -> None:
    assert "shop" in {write.database for write in written_databases(sql, dialect)}  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["SELECT 1", "INSERT INTO users VALUES ('a;b')", "UPDATE users SET id = 1"])
@pytest.mark.parametrize("second", SECOND_STATEMENTS)
def test_a_second_statement_that_does(first: str, second: str) -> None:
    for between in (";", " ; ", ";\n\t"):
        assert "shop" in {write.database for write in written_databases(f"{first}{between}{second}", "mariadb")}


@pytest.mark.parametrize("sql", STAYING_ON_MYSQL.values(), ids=list(STAYING_ON_MYSQL))
def test_a_text_that_does_not(sql: str) -> None:
    assert written_databases(sql, "mariadb") == ()


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
}
NO_DATABASE_ON_POSTGRESQL = {
    "a create": "CREATE DATABASE shop TEMPLATE crm",
    "a word": "SELECT 'DROP DATABASE shop'",
    "a name": 'DROP TABLE "database shop"',
    "a grant": "GRANT ALL ON DATABASE shop TO app",
    "an unfinished string": "DROP DATABASE shop; SELECT 'x",
}
WRITING_ON_POSTGRESQL = [
    "INSERT INTO users VALUES (1)", "DELETE FROM users", "UPDATE users SET id = 1", "TRUNCATE users",
    "DROP TABLE users", "DROP SCHEMA public CASCADE", "DROP OWNED BY app", "ALTER TABLE users ADD x int",
    "CREATE TABLE users (id int)", "CREATE UNLOGGED TABLE users (id int)", "COPY users FROM STDIN",
    "WITH x AS (DELETE FROM users RETURNING id) SELECT * FROM x", "SELECT 1 AS a INTO users",
    "MERGE INTO users USING x ON true WHEN MATCHED THEN DELETE", "DO $$ BEGIN DELETE FROM users; END $$",
    "CALL p()", "EXPLAIN ANALYZE DELETE FROM users", "PREPARE x AS DELETE FROM users",
    "CREATE OR REPLACE VIEW v AS SELECT 1", "REFRESH MATERIALIZED VIEW v",
]  # fmt: skip
READING_ON_POSTGRESQL = [
    "SELECT * FROM users", "BEGIN", "COMMIT", "SET x = 1", "SHOW server_version", "CREATE DATABASE test_shop",
    "CREATE ROLE app", "ALTER ROLE app LOGIN", "DROP ROLE app", "CREATE EXTENSION IF NOT EXISTS hstore",
    "CREATE TEMPORARY TABLE x (id int)", "COPY users TO STDOUT", "COPY (SELECT * FROM users) TO STDOUT",
    "ALTER SYSTEM SET x = 1", "DROP TABLESPACE x", "EXPLAIN DELETE FROM users", "VALUES (1)", "VACUUM",
    "SELECT pg_terminate_backend(1)", "GRANT ALL ON SCHEMA public TO app", "WITH x AS (SELECT 1) SELECT * FROM x", "",
]  # fmt: skip


@pytest.mark.parametrize("sql", DATABASES_ON_POSTGRESQL.values(), ids=list(DATABASES_ON_POSTGRESQL))
def test_a_text_that_changes_another_database_on_postgresql(sql: str) -> None:
    assert [write.database for write in written_databases(sql, "postgresql")] == ["shop"]


@pytest.mark.parametrize("sql", NO_DATABASE_ON_POSTGRESQL.values(), ids=list(NO_DATABASE_ON_POSTGRESQL))
def test_a_text_that_does_not_on_postgresql(sql: str) -> None:
    assert written_databases(sql, "postgresql") == ()


@pytest.mark.parametrize("sql", WRITING_ON_POSTGRESQL)
def test_a_text_that_writes_to_its_own_database_on_postgresql(sql: str) -> None:
    assert [write.database for write in written_databases(sql, "postgresql", own=True)] == [None]
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
