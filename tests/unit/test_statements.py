"""The judge of statements: the tables of texts without a server, and all that a finding tells besides."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engineroom._statements import KINDS, Destruction, ObjectName, judge_text
from engineroom._statements.destruction import Findings

if TYPE_CHECKING:
    from engineroom._statements import Dialect

FILES: dict[Dialect, str] = {
    "postgresql": "postgresql.toml",
    "mysql": "mariadb.toml",
    "mariadb": "mariadb.toml",
    "sqlite": "sqlite.toml",
}
ROWS = Path(__file__).parents[1] / "statement_rows"
TABLES: dict[Dialect, list[dict[str, Any]]] = {
    dialect: tomllib.loads((ROWS / file).read_text("utf-8"))["rows"] for dialect, file in FILES.items()
}


@pytest.mark.parametrize(
    ("dialect", "row"),
    [pytest.param(dialect, row, id=f"{dialect}: {row['is']}") for dialect, rows in TABLES.items() for row in rows],
)
def test_a_text_destroys_what_the_table_says(dialect: Dialect, row: dict[str, Any]) -> None:
    judged = judge_text(row["sql"], dialect)
    assert [str(loss) for loss in judged] == row.get("destroys", [])
    assert {loss.kind for loss in judged} <= set(KINDS)


@pytest.mark.parametrize("dialect", TABLES)
def test_the_rows_of_a_table_have_names_of_their_own(dialect: Dialect) -> None:
    names = [row["is"] for row in TABLES[dialect]]
    assert len(names) == len(set(names))


def one(sql: str, dialect: Dialect = "postgresql") -> Destruction:
    (loss,) = judge_text(sql, dialect)
    return loss


@pytest.mark.parametrize(
    ("sql", "dialect", "kind"),
    [
        ("DROP TABLE a", "postgresql", "drop"),
        ("TRUNCATE a", "postgresql", "truncate"),
        ("ALTER TABLE a RENAME TO b", "postgresql", "rename"),
        ("ALTER TABLE a SET SCHEMA b", "postgresql", "move"),
        ("ALTER TABLE a DETACH PARTITION b FINALIZE", "postgresql", "detach"),
        ("REASSIGN OWNED BY a TO b", "postgresql", "reassign"),
        ("DO $$ BEGIN EXECUTE a; END $$", "postgresql", "unreadable"),
        ("CREATE OR REPLACE TABLE a (i int)", "mariadb", "replace"),
        ("ALTER TABLE a CONVERT PARTITION p TO TABLE b", "mariadb", "convert"),
        ("ALTER TABLE a DISCARD TABLESPACE", "mysql", "discard"),
        ("ALTER TABLE a TRUNCATE PARTITION p", "mysql", "truncate"),
        ("PRAGMA writable_schema = 1", "sqlite", "writable-schema"),
    ],
)
def test_a_finding_has_a_stable_kind(sql: str, dialect: Dialect, kind: str) -> None:
    assert one(sql, dialect).kind == kind


def test_every_kind_is_found_by_some_row() -> None:
    found = {loss.kind for dialect, rows in TABLES.items() for row in rows for loss in judge_text(row["sql"], dialect)}
    assert found == set(KINDS)


@pytest.mark.parametrize(
    ("sql", "dialect", "database"),
    [
        ("DROP TABLE a", "postgresql", None),
        ("DROP TABLE other.a", "postgresql", None),
        ("DROP DATABASE a", "postgresql", "a"),
        ('DROP DATABASE "A"', "postgresql", "A"),
        ("DROP DATABASE A", "postgresql", "a"),
        ("ALTER DATABASE a RENAME TO b", "postgresql", "a"),
        ("DROP DATABASE A", "mariadb", "A"),
        ("DROP TABLE a", "mariadb", None),
        ("DROP TABLE other.a", "mariadb", "other"),
        ("ALTER TABLE other.a DROP b", "mysql", "other"),
        ("USE first; USE other; TRUNCATE a", "mysql", "other"),
        ("BEGIN NOT ATOMIC DROP TABLE other.a; END", "mariadb", "other"),
        ("DROP TABLE other.a", "sqlite", "other"),
        ("DROP TABLE MAIN.a", "sqlite", None),
    ],
)
def test_a_finding_names_the_database_that_is_reached(sql: str, dialect: Dialect, database: str | None) -> None:
    assert one(sql, dialect).database == database


def test_an_exchange_of_partitions_takes_from_both_tables() -> None:
    losses = judge_text("ALTER TABLE a EXCHANGE PARTITION p WITH TABLE other.b", "mariadb")
    assert [(loss.database, loss.objects) for loss in losses] == [(None, ("a.p",)), ("other", ("other.b",))]


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        ("DROP ROLE a", "postgresql"),
        ("DROP USER a", "postgresql"),
        ("DROP GROUP IF EXISTS a", "postgresql"),
        ("DROP TABLESPACE a", "postgresql"),
        ("DROP OWNED BY a", "postgresql"),
        ("REASSIGN OWNED BY a TO b", "postgresql"),
        ("DROP DATABASE %s", "postgresql"),
        ("DROP USER a@b", "mysql"),
        ("DROP ROLE a", "mariadb"),
        ("DROP SERVER a", "mariadb"),
        ("DROP TABLESPACE a", "mysql"),
        ("DROP UNDO TABLESPACE a", "mysql"),
        ("DROP LOGFILE GROUP a", "mysql"),
        ("DROP RESOURCE GROUP a", "mysql"),
        ("DROP SPATIAL REFERENCE SYSTEM 1", "mysql"),
        ("ALTER TABLESPACE a DROP DATAFILE 'b'", "mysql"),
        ("CREATE OR REPLACE USER a", "mariadb"),
        ("CREATE OR REPLACE SERVER a FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'b')", "mariadb"),
        ("DROP DATABASE %s", "mariadb"),
    ],
)
def test_what_belongs_to_no_database_is_told_apart(sql: str, dialect: Dialect) -> None:
    loss = one(sql, dialect)
    assert loss.server_wide
    assert loss.database is None
    assert loss.ask == ()


@pytest.mark.parametrize(
    ("sql", "accounts"),
    [
        ("DROP USER a", ("a",)),
        ("DROP USER a, b@c, 'd'@'%'", ("a", "b@c", "'d'@'%'")),
        ("DROP USER IF EXISTS `a b`@`c`, d", ("`a b`@`c`", "d")),
        ("DROP USER a /* of all */ @b, c @ `d`", ("a@b", "c@`d`")),
        ("DROP USER a@", ("a@",)),
        ("DROP ROLE a, b", ("a", "b")),
        ("DROP USER", ()),
    ],
)
def test_accounts_are_shown_as_they_are_written(sql: str, accounts: tuple[str, ...]) -> None:
    assert one(sql, "mysql").objects == accounts


def test_an_account_is_shown_without_its_password() -> None:
    loss = one("CREATE OR REPLACE USER 'app'@'%' IDENTIFIED BY 'secret'", "mariadb")
    assert loss.objects == ("'app'@'%'",)
    assert "secret" not in repr(loss)


@pytest.mark.parametrize(
    ("sql", "cascade"),
    [
        ("DROP TABLE a CASCADE", True),
        ("DROP TABLE a RESTRICT", False),
        ("DROP TABLE a", False),
        ("TRUNCATE a RESTART IDENTITY CASCADE", True),
        ("ALTER TABLE a DROP b CASCADE", True),
        ("ALTER TABLE a DROP CONSTRAINT b CASCADE", True),
        ("DROP SCHEMA a CASCADE", True),
    ],
)
def test_a_cascade_is_told(sql: str, cascade: bool) -> None:
    assert one(sql).cascade is cascade


def asked(sql: str, dialect: Dialect = "postgresql") -> list[tuple[str, ...]]:
    return [(name.kind, *name.parts) for loss in judge_text(sql, dialect) for name in loss.ask]


@pytest.mark.parametrize(
    ("sql", "dialect", "expected"),
    [
        ("DROP TABLE a, b.C", "postgresql", [("table", "a"), ("table", "b", "c")]),
        ('DROP TABLE "A"', "postgresql", [("table", "A")]),
        ("DROP FOREIGN TABLE a", "postgresql", [("table", "a")]),
        ("DROP VIEW a", "postgresql", [("view", "a")]),
        ("DROP SEQUENCE a", "postgresql", [("sequence", "a")]),
        ("DROP TYPE a", "postgresql", [("type", "a")]),
        ("DROP DOMAIN a", "postgresql", [("type", "a")]),
        ("DROP TABLE a, pg_temp.b", "postgresql", [("table", "a")]),
        ("TRUNCATE a", "postgresql", [("table", "a")]),
        ("ALTER TABLE a DROP b", "postgresql", [("column", "a", "b")]),
        ("ALTER TABLE a.b DROP COLUMN IF EXISTS c CASCADE", "postgresql", [("column", "a", "b", "c")]),
        ("ALTER TABLE a DROP b, DROP c", "postgresql", [("column", "a", "b"), ("column", "a", "c")]),
        ("DROP FUNCTION a(int), b.c", "postgresql", [("function", "a"), ("function", "b", "c")]),
        ("DROP PROCEDURE IF EXISTS a()", "postgresql", [("function", "a")]),
        ("DROP ROUTINE a", "postgresql", [("function", "a")]),
        ("DROP AGGREGATE a(*)", "postgresql", [("function", "a")]),
        ("DROP SCHEMA IF EXISTS a CASCADE", "postgresql", [("schema", "a")]),
        ("DROP EXTENSION a", "postgresql", [("extension", "a")]),
        ("DROP DATABASE IF EXISTS a", "postgresql", [("database", "a")]),
        ("TRUNCATE a CONTINUE IDENTITY", "postgresql", [("table", "a")]),
        ("ALTER FOREIGN TABLE a RENAME TO b", "postgresql", [("table", "a")]),
        ("ALTER MATERIALIZED VIEW a RENAME TO b", "postgresql", [("view", "a")]),
        ("ALTER DOMAIN a RENAME TO b", "postgresql", [("type", "a")]),
        ("DROP POLICY a ON b", "postgresql", [("policy", "b", "a")]),
        ("DROP RULE a ON b", "postgresql", [("rule", "b", "a")]),
        ("ALTER TABLE a NO INHERIT b.c", "postgresql", [("table", "a")]),
        ("ALTER FUNCTION a(int) OWNER TO b; DROP TABLE c", "postgresql", [("table", "c")]),
        ("ALTER TABLE a RENAME TO b", "postgresql", [("table", "a")]),
        ("ALTER TABLE a RENAME b TO c", "postgresql", [("table", "a")]),
        ("ALTER TABLE a SET SCHEMA b", "postgresql", [("table", "a")]),
        ("ALTER TYPE a DROP ATTRIBUTE b", "postgresql", [("type", "a")]),
        ("ALTER INDEX a RENAME TO b", "postgresql", [("index", "a")]),
        ("ALTER TABLE a DETACH PARTITION b", "postgresql", [("table", "b")]),
        ("DROP TRIGGER a ON b.c", "postgresql", [("trigger", "b", "c", "a")]),
        ("ALTER TABLE a.b DROP CONSTRAINT c CASCADE", "postgresql", [("constraint", "a", "b", "c")]),
        ("DROP TABLE a; DROP TABLE b", "postgresql", [("table", "a"), ("table", "b")]),
        ("CREATE TABLE a (i int); INSERT INTO a VALUES (1); DROP TABLE a", "postgresql", [("table", "a")]),
        ("ALTER TABLE a DROP b; ALTER TABLE a DROP c", "postgresql", [("column", "a", "b"), ("column", "a", "c")]),
        ("DROP TABLE a, b.c", "mariadb", [("table", "a"), ("table", "b", "c")]),
        ("DROP TABLE A WAIT 5 RESTRICT", "mariadb", [("table", "A")]),
        ("DROP SEQUENCE a", "mariadb", [("sequence", "a")]),
        ("CREATE OR REPLACE SEQUENCE a", "mariadb", [("sequence", "a")]),
        ("ALTER TABLE a RENAME COLUMN b TO c", "mariadb", [("table", "a")]),
        ("ALTER TABLE a DROP b; ALTER TABLE a DROP c", "mariadb", [("column", "a", "b"), ("column", "a", "c")]),
        ("DROP VIEW IF EXISTS a", "mariadb", [("view", "a")]),
        ("BEGIN; DROP TABLE a", "mariadb", [("table", "a")]),
        ("BEGIN WORK; DROP TABLE a", "mariadb", [("table", "a")]),
        ("DROP TABLE a CASCADE", "mysql", [("table", "a")]),
        ("DROP TABLE a CASCADE NOWAIT", "mariadb", [("table", "a")]),
        ("DROP TABLE a RESTRICT WAIT 5", "mariadb", [("table", "a")]),
        ("DROP TABLE a WAIT 5 CASCADE", "mariadb", [("table", "a")]),
        ("ALTER TABLE a DROP b CASCADE", "mysql", [("column", "a", "b")]),
        ("ALTER TABLE a DROP b RESTRICT", "mysql", [("column", "a", "b")]),
        ("USE x; ALTER TABLE a DROP IF EXISTS b", "mariadb", [("column", "x", "a", "b")]),
        ("DROP TRIGGER a", "mariadb", [("trigger", "a")]),
        ("DROP FUNCTION a.b", "mariadb", [("function", "a", "b")]),
        ("DROP PROCEDURE IF EXISTS a", "mariadb", [("procedure", "a")]),
        ("DROP EVENT a", "mariadb", [("event", "a")]),
        ("DROP DATABASE a", "mariadb", [("database", "a")]),
        ("DROP TABLE a RESTRICT", "postgresql", [("table", "a")]),
        ("ALTER TABLE a DETACH PARTITION b CONCURRENTLY", "postgresql", [("table", "b")]),
        ("ALTER TABLE a DETACH PARTITION b FINALIZE", "postgresql", [("table", "b")]),
        ("ALTER TABLE a DROP CONSTRAINT IF EXISTS b CASCADE", "postgresql", [("constraint", "a", "b")]),
        ("ALTER FOREIGN TABLE a DROP CONSTRAINT b CASCADE", "postgresql", [("constraint", "a", "b")]),
        ("DROP TABLE 'a''b'", "sqlite", [("table", "a'b")]),
        ('DROP TABLE "a""b"', "sqlite", [("table", 'a"b')]),
        ('DROP TABLE "a""b"', "mysql", [("table", 'a"b')]),
        ("DROP TABLE `a``b`", "mysql", [("table", "a`b")]),
        ("TRUNCATE TABLE a", "mysql", [("table", "a")]),
        ("ALTER TABLE a DROP b", "mysql", [("column", "a", "b")]),
        ("ALTER TABLE a RENAME b", "mysql", [("table", "a")]),
        ("RENAME TABLE a TO b", "mysql", [("base table", "a")]),
        ("CREATE OR REPLACE TABLE a (i int)", "mariadb", [("base table", "a")]),
        ("ALTER TABLE a CONVERT TABLE b TO PARTITION p", "mariadb", [("base table", "b")]),
        ("USE shop; DROP TABLE a", "mariadb", [("table", "shop", "a")]),
        ("USE shop; DROP TABLE b.a", "mariadb", [("table", "b", "a")]),
        ("EXECUTE IMMEDIATE 'DROP TABLE a'", "mariadb", [("table", "a")]),
        ("DROP TABLE a", "sqlite", [("table", "a")]),
        ("ALTER TABLE a.b DROP c", "sqlite", [("table", "a", "b")]),
    ],
)
def test_what_only_the_catalogue_knows_is_to_be_asked(
    sql: str, dialect: Dialect, expected: list[tuple[str, ...]]
) -> None:
    assert asked(sql, dialect) == expected


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        # What belongs to the server, and what only a name that is free could spare.
        ("DROP ROLE a", "postgresql"),
        ("DROP LANGUAGE a", "postgresql"),
        ("ALTER SCHEMA a RENAME TO b", "postgresql"),
        ("ALTER DATABASE a RENAME TO b", "postgresql"),
        ("ALTER EXTENSION a SET SCHEMA b", "postgresql"),
        ("CREATE OR REPLACE DATABASE a", "mariadb"),
        ("DROP PACKAGE a", "mariadb"),
        # The name was free when it was asked about, and is taken by then.
        ("ALTER FUNCTION a() RENAME TO b; DROP FUNCTION b()", "postgresql"),
        ("ALTER FUNCTION a.b() SET SCHEMA c; DROP FUNCTION c.b()", "postgresql"),
        ("ALTER TRIGGER a ON b RENAME TO c; DROP TRIGGER c ON b", "postgresql"),
        ("ALTER EVENT a RENAME TO b; DROP EVENT b", "mariadb"),
        ("ALTER TABLE a DROP PARTITION p", "mariadb"),
        ("ALTER TABLE a TRUNCATE PARTITION p", "mariadb"),
        ("ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b", "mariadb"),
        # What stands behind the name is not understood.
        ("DROP TABLE a b", "postgresql"),
        ("DROP TABLE pg_temp.a b", "postgresql"),
        ("TRUNCATE a SOMEHOW", "postgresql"),
        ("ALTER TABLE a DROP b SOMEHOW", "postgresql"),
        ("DROP TABLE a b", "mariadb"),
        ("TRUNCATE a SOMEHOW", "mariadb"),
        ("ALTER TABLE a DROP b SOMEHOW", "mariadb"),
        # The name cannot be read.
        ("DROP TABLE %s", "postgresql"),
        ("DROP TABLE %(name)s", "mysql"),
        ("DROP TABLE", "sqlite"),
        # The name may mean something else by then.
        ("SET search_path = b; DROP TABLE a", "postgresql"),
        ("SELECT set_config('search_path', 'b', false); DROP TABLE a", "postgresql"),
        ("INSERT INTO b SELECT set_config('search_path', 'b', false); DROP TABLE a", "postgresql"),
        ("SELECT f(); DROP TABLE a", "postgresql"),
        ("ROLLBACK; DROP TABLE a", "postgresql"),
        ("CALL f(); DROP TABLE a", "mariadb"),
        ("SELECT 1; DROP TABLE a", "sqlite"),
        # In a block it may run again.
        ("DO $$ BEGIN DROP TABLE a; END $$", "postgresql"),
        ("BEGIN NOT ATOMIC DROP TABLE a; END", "mariadb"),
        ("WHILE 1 DO DROP TABLE a; END WHILE", "mariadb"),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DROP TABLE a", "mariadb"),
    ],
)
def test_no_question_is_asked_whose_answer_would_not_hold(sql: str, dialect: Dialect) -> None:
    losses = judge_text(sql, dialect)
    assert losses
    assert asked(sql, dialect) == []


@pytest.mark.parametrize(
    ("sql", "dialect", "last"),
    [
        ("DROP TABLE a; DROP TABLE a", "postgresql", "drop table a"),
        ("DROP TABLE pg_temp.a; DROP TABLE a", "postgresql", "drop table a"),
        ("DROP TABLE b.a; DROP TABLE a", "postgresql", "drop table a"),
        ("ALTER TABLE pg_temp.a RENAME TO b; DROP TABLE a", "postgresql", "drop table a"),
        ("ALTER TABLE a RENAME TO b; DROP TABLE b", "postgresql", "drop table b"),
        ("ALTER TABLE a SET SCHEMA b; DROP TABLE a", "postgresql", "drop table a"),
        ("DROP TEMPORARY TABLE a; DROP TABLE A", "mariadb", "drop table A"),
        ("RENAME TABLE a TO b; DROP TABLE b", "mysql", "drop table b"),
        ("ALTER TABLE a RENAME b; DROP TABLE b", "mysql", "drop table b"),
        ("ALTER TABLE a RENAME TO b; DROP TABLE b", "mysql", "drop table b"),
        ("ALTER TABLE a RENAME AS b; DROP TABLE b", "mysql", "drop table b"),
        ("ALTER TABLE a RENAME = b; DROP TABLE b", "mysql", "drop table b"),
        ("ALTER TABLE x.a RENAME b; DROP TABLE a", "mysql", "drop table a"),
        ("ALTER TABLE a RENAME b TO c; ALTER TABLE a DROP c", "postgresql", "drop column a.c"),
        ("DROP TABLE a; ALTER TABLE a DROP b", "postgresql", "drop column a.b"),
        (
            "DROP TABLE a; ALTER TABLE a DROP CONSTRAINT k CASCADE",
            "postgresql",
            "drop constraint with all that depends on it a.k",
        ),
        ("ALTER TABLE a RENAME COLUMN b TO c; ALTER TABLE a DROP c", "mariadb", "drop column a.c"),
        ("ALTER TABLE a CHANGE b c int; ALTER TABLE a DROP c", "mariadb", "drop column a.c"),
        ("ALTER TABLE a CHANGE b c int, DROP c", "mariadb", "drop column a.c"),
        ("DROP TABLE temp.a; DROP TABLE a", "sqlite", "drop table a"),
        ("ALTER TABLE a RENAME TO b; DROP TABLE b", "sqlite", "drop table b"),
    ],
)
def test_a_name_that_the_text_took_before_is_not_asked_about(sql: str, dialect: Dialect, last: str) -> None:
    loss = judge_text(sql, dialect)[-1]
    assert str(loss) == last
    assert loss.ask == ()


@pytest.mark.parametrize(
    ("sql", "dialect", "expected"),
    [
        ("DROP TABLE", "postgresql", "drop table"),
        ("DROP", "postgresql", "unreadable text"),
        ("TRUNCATE", "postgresql", "truncate table"),
        ("DROP OWNED", "postgresql", "drop owned"),
        ("DROP TRIGGER a", "postgresql", "drop trigger"),
        ("DROP MYSTERY a", "postgresql", "drop mystery a"),
        ("ALTER TABLE a RENAME b", "postgresql", "rename column a.b"),
        ("ALTER TABLE %s DROP b", "postgresql", "unreadable text"),
        ("ALTER TABLE %s SET SCHEMA b", "postgresql", "unreadable text"),
        ("ALTER MYSTERY a DROP b", "postgresql", "unreadable text"),
        ("ALTER TABLE a MYSTERY DROP b", "postgresql", "unreadable text"),
        ("MYSTERY DROP a", "postgresql", "unreadable text"),
        ("RENAME TABLE a TO b", "postgresql", "unreadable text"),
        ("SELECT 1; MYSTERY TRUNCATE a", "postgresql", "unreadable text"),
        ("SELECT 1; MYSTERY RENAME a", "postgresql", "unreadable text"),
        ("SELECT 'drop'; MYSTERY DETACH a", "postgresql", "unreadable text"),
        ("SELECT 1; MYSTERY REASSIGN a", "postgresql", "unreadable text"),
        ("ALTER DOMAIN a DROP MYSTERY", "postgresql", "drop column a.mystery"),
        ("DO $$ BEGIN EXECUTE 'DROP ' 'TABLE a'; END $$", "postgresql", "computed statement"),
        ("DO $$ BEGIN EXECUTE 'DROP ' || 'TABLE a'; END $$", "postgresql", "computed statement"),
        ("DO LANGUAGE plpython3u $$ $$", "postgresql", "computed statement"),
        ("DROP 'a", "postgresql", "unreadable text"),
        ("DO", "postgresql", "computed statement"),
        ("DO $$ BEGIN END $$ $$ BEGIN END $$", "postgresql", "computed statement"),
        ("DO U&'BEGIN END' UESCAPE '!'", "postgresql", "computed statement"),
        ("DO $$ BEGIN MYSTERY DROP a; END $$", "postgresql", "unreadable text"),
        ("DO $$ BEGIN 'never ends $$", "postgresql", "computed statement"),
        ("DO $a$ BEGIN EXECUTE 'DROP ''never ends'; END $a$", "postgresql", "computed statement"),
        ("DROP", "mysql", "unreadable text"),
        ("ALTER TABLE %s DROP b", "mysql", "unreadable text"),
        ("ALTER TABLE %s CHANGE b c int", "mysql", "unreadable text"),
        ("ALTER TABLE %s EXCHANGE PARTITION p WITH TABLE b", "mysql", "unreadable text"),
        ("ALTER TABLE %s CONVERT PARTITION p TO TABLE b", "mysql", "unreadable text"),
        ("ALTER TABLE %s DISCARD TABLESPACE", "mysql", "unreadable text"),
        ("SELECT 1; MYSTERY TRUNCATE a", "mysql", "unreadable text"),
        ("SELECT 1; MYSTERY RENAME a", "mysql", "unreadable text"),
        ("ALTER MYSTERY a DROP b", "mysql", "unreadable text"),
        ("ALTER TABLE a MYSTERY DROP b", "mysql", "unreadable text"),
        ("ALTER TABLE a CONVERT MYSTERY b", "mysql", "unreadable text"),
        ("ALTER TABLE a CHANGE b", "mysql", "rename column a.b"),
        ("ALTER TABLE a EXCHANGE PARTITION p", "mysql", "exchange partition a.p"),
        ("RENAME MYSTERY a TO b", "mysql", "unreadable text"),
        ("RENAME TABLE a b", "mysql", "unreadable text"),
        ("DELIMITER // DROP TABLE a", "mysql", "unreadable text"),
        ("CREATE PROCEDURE p() BEGIN DROP TABLE a;", "mysql", "unreadable text"),
        ("CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN DROP TABLE a;", "mysql", "unreadable text"),
        ("BEGIN NOT ATOMIC EXECUTE IMMEDIATE 'USE b'; END", "mysql", "unreadable text"),
        ("EXECUTE IMMEDIATE", "mysql", "computed statement"),
        ("EXECUTE IMMEDIATE 'DROP TABLE ''a'", "mysql", "computed statement"),
        ("PREPARE s FROM ?", "mysql", "computed statement"),
        ("DROP TABLE 'a", "mysql", "unreadable text"),
        ("SELECT (1; DROP TABLE a", "mysql", "unreadable text"),
        ("MYSTERY DROP a", "sqlite", "unreadable text"),
        ("SELECT 'drop'; MYSTERY RENAME a", "sqlite", "unreadable text"),
        ("ALTER TABLE ? DROP b", "sqlite", "unreadable text"),
        ("ALTER TABLE a MYSTERY DROP b", "sqlite", "unreadable text"),
        ("DROP 'a", "sqlite", "unreadable text"),
    ],
)
def test_what_cannot_be_read_is_not_let_through(sql: str, dialect: Dialect, expected: str) -> None:
    assert str(judge_text(sql, dialect)[0]) == expected


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        ("ALTER TABLE %s ADD b int", "postgresql"),
        ("ALTER MYSTERY a ADD b", "postgresql"),
        ("ALTER TABLE a MYSTERY b", "postgresql"),
        ("MYSTERY a ALTER b", "postgresql"),
        ("DO $$ BEGIN MYSTERY a; END $$", "postgresql"),
        ("ALTER DOMAIN a SET DEFAULT 1", "postgresql"),
        ("ALTER TABLE %s ADD b int", "mysql"),
        ("ALTER MYSTERY a ADD b", "mysql"),
        ("ALTER TABLE a MYSTERY b", "mysql"),
        ("CREATE PROCEDURE p() BEGIN ALTER TABLE a ADD b int;", "mysql"),
        ("ALTER TABLESPACE a ADD DATAFILE 'b'", "mysql"),
        ("PREPARE s", "mysql"),
        ("ALTER TABLE a MYSTERY b", "sqlite"),
        ("ALTER TABLE a DROP CONSTRAINT b", "sqlite"),
        ("ALTER TABLE a DROP NOT NULL", "sqlite"),
        ("PRAGMA writable_schema = 'off'", "sqlite"),
        ("PRAGMA writable_schema = [no]", "sqlite"),
        ("PRAGMA writable_schema = FALSE", "sqlite"),
        ("PRAGMA writable_schema(RESET)", "sqlite"),
        ("PRAGMA writable_schema + 1", "sqlite"),
        ("PRAGMA", "sqlite"),
        ("PRAGMA other = 'writable_schema '", "sqlite"),
        ("DO $$ BEGIN EXECUTE 'SELECT 1' INTO a; EXECUTE 'SELECT 2' USING b; END $$", "postgresql"),
        ("DO $$ BEGIN FOR a IN EXECUTE 'SELECT 3' LOOP END LOOP; END $$", "postgresql"),
        ("DO $$ BEGIN PERFORM a.execute(1); END $$", "postgresql"),
        ("ALTER TABLE a ALTER b DROP NOT NULL", "sqlite"),
        ("SET STATEMENT drop = 1", "mysql"),
        ("SET STATEMENT a = (SELECT 1 FOR UPDATE", "mysql"),
    ],
)
def test_what_nobody_thought_of_passes_where_nothing_destructive_is_said(sql: str, dialect: Dialect) -> None:
    assert judge_text(sql, dialect) == ()


VERBS: dict[Dialect, str] = {
    "postgresql": """( ABORT ANALYZE ANALYSE BEGIN CALL CHECKPOINT CLOSE CLUSTER COMMENT COMMIT COPY CREATE DEALLOCATE
        DECLARE DELETE DISCARD END EXECUTE EXPLAIN FETCH GRANT IMPORT INSERT LISTEN LOAD LOCK MERGE MOVE NOTIFY PREPARE
        REFRESH REINDEX RELEASE RESET REVOKE ROLLBACK SAVEPOINT SECURITY SELECT SET SHOW START TABLE UNLISTEN UPDATE
        VACUUM VALUES WITH""",
    "mysql": """( ANALYZE BACKUP BINLOG CACHE CALL CHANGE CHECK CHECKSUM COMMIT CREATE DEALLOCATE DELETE DESC DESCRIBE
        DO EXECUTE EXPLAIN FLUSH GET GRANT HANDLER HELP IMPORT INSERT INSTALL KILL LOAD LOCK OPTIMIZE PURGE RELEASE
        REPAIR REPLACE RESET RESIGNAL REVOKE ROLLBACK SAVEPOINT SELECT SET SHOW SHUTDOWN SIGNAL START STOP TABLE
        UNINSTALL UNLOCK UPDATE USE VALUES WITH XA""",
    "sqlite": """( ANALYZE ATTACH BEGIN COMMIT CREATE DELETE DETACH END EXPLAIN INSERT PRAGMA REINDEX RELEASE REPLACE
        ROLLBACK SAVEPOINT SELECT UPDATE VACUUM VALUES WITH""",
}


@pytest.mark.parametrize(
    ("dialect", "verb"), [(dialect, verb) for dialect, verbs in VERBS.items() for verb in verbs.split()]
)
def test_a_verb_that_cannot_destroy_may_hold_any_word(dialect: Dialect, verb: str) -> None:
    end = ")" if verb == "(" else ""
    assert judge_text(f"{verb} a.b drop, rename{end}; SELECT 1", dialect) == ()


ALTERED: dict[Dialect, str] = {
    "postgresql": """ACCESS METHOD,AGGREGATE,COLLATION,CONSTRAINT,CONVERSION,DEFAULT PRIVILEGES,EVENT TRIGGER,
        FOREIGN DATA WRAPPER,FUNCTION,GROUP,LANGUAGE,LARGE OBJECT,OPERATOR,OPERATOR CLASS,OPERATOR FAMILY,POLICY,
        PROCEDURAL LANGUAGE,PROCEDURE,PUBLICATION,ROLE,ROUTINE,RULE,SERVER,STATISTICS,SUBSCRIPTION,SYSTEM,TABLESPACE,
        TEXT SEARCH CONFIGURATION,TEXT SEARCH DICTIONARY,TEXT SEARCH PARSER,TEXT SEARCH TEMPLATE,TRIGGER,USER,
        USER MAPPING""",
    "mysql": """ALGORITHM,DATABASE,DEFINER,EVENT,FUNCTION,INSTANCE,LIBRARY,LOGFILE GROUP,PACKAGE,PROCEDURE,
        RESOURCE GROUP,SCHEMA,SEQUENCE,SERVER,SQL,USER,VIEW""",
}


@pytest.mark.parametrize(
    ("dialect", "kind"), [(dialect, kind.strip()) for dialect, kinds in ALTERED.items() for kind in kinds.split(",")]
)
def test_what_holds_no_data_may_be_altered_in_any_way(dialect: Dialect, kind: str) -> None:
    assert judge_text(f"ALTER {kind} a DROP b", dialect) == ()
    assert judge_text(f"ALTER {kind} a RENAME TO b", dialect) == ()


ACTIONS = """ADD ALTER ATTACH CLUSTER DEPENDS DISABLE ENABLE FORCE INHERIT NO NOT OF OPTIONS OWNER REPLICA RESET SET
UPDATE VALIDATE"""


@pytest.mark.parametrize("action", ACTIONS.split())
def test_an_action_that_cannot_destroy_may_hold_any_word(action: str) -> None:
    assert judge_text(f"ALTER TABLE a {action} drop, ADD rename int", "postgresql") == ()


DROPPED = """ACCESS METHOD,AGGREGATE,COLLATION,CONVERSION,DOMAIN,EVENT TRIGGER,EXTENSION,FOREIGN DATA WRAPPER,
FOREIGN TABLE,FUNCTION,GROUP,LANGUAGE,MATERIALIZED VIEW,PROCEDURAL LANGUAGE,PROCEDURE,PUBLICATION,ROLE,ROUTINE,SCHEMA,
SEQUENCE,SERVER,STATISTICS,SUBSCRIPTION,TABLE,TABLESPACE,TEXT SEARCH CONFIGURATION,TEXT SEARCH DICTIONARY,
TEXT SEARCH PARSER,TEXT SEARCH TEMPLATE,TYPE,USER,VIEW"""


@pytest.mark.parametrize("kind", [kind.strip() for kind in DROPPED.split(",")])
def test_everything_that_persists_is_dropped_by_its_kind(kind: str) -> None:
    assert str(one(f"DROP {kind} IF EXISTS a")) == f"drop {kind.lower()} a"


@pytest.mark.parametrize("kind", ["CAST", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "TRANSFORM", "USER MAPPING"])
def test_what_has_no_plain_name_is_dropped_by_its_kind(kind: str) -> None:
    assert str(one(f"DROP {kind} FOR a LANGUAGE b")) == f"drop {kind.lower()}"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("TABLES", "table"),
        ("SCHEMA", "database"),
        ("PACKAGE BODY", "package body"),
        ("LOGFILE GROUP", "logfile group"),
        ("LIBRARY", "library"),
        ("CATALOG", "catalog"),
    ],
)
def test_the_kinds_of_mysql_go_by_one_name_each(words: str, kind: str) -> None:
    assert str(one(f"DROP {words} a", "mysql")) == f"drop {kind} a"


@pytest.mark.parametrize("kept", ["CHECK", "CONSTRAINT", "FOREIGN KEY", "INDEX", "KEY", "PRIMARY KEY"])
def test_what_mysql_may_drop_of_a_table(kept: str) -> None:
    assert judge_text(f"ALTER TABLE a DROP {kept} b", "mysql") == ()


NEUTRAL: dict[Dialect, str] = {
    "postgresql": "ALTER BEGIN COMMENT CREATE INSERT START",
    "mysql": "ALTER BEGIN CREATE INSERT START",
    "sqlite": "ALTER BEGIN CREATE INSERT",
}


@pytest.mark.parametrize(
    ("dialect", "verb"), [(dialect, verb) for dialect, verbs in NEUTRAL.items() for verb in verbs.split()]
)
def test_a_name_means_the_same_behind_a_verb_that_switches_nothing(dialect: Dialect, verb: str) -> None:
    assert asked(f"{verb}; DROP TABLE a; DROP TABLE b", dialect) == [("table", "a"), ("table", "b")]
    assert asked("TRUNCATE b; TRUNCATE a", "postgresql") == [("table", "b"), ("table", "a")]
    assert asked("TRUNCATE b; RENAME TABLE c TO d; USE e; TRUNCATE a", "mysql")[-1] == ("table", "e", "a")


IN_BODY = """ALTER CALL CLOSE CREATE DECLARE DELETE DROP EXECUTE FETCH GET GRANT INSERT OPEN PREPARE RENAME REPLACE
RESIGNAL RETURN REVOKE SELECT SET SIGNAL TRUNCATE UPDATE VALUES WITH"""


@pytest.mark.parametrize("verb", IN_BODY.split())
def test_a_body_of_one_statement_ends_with_it(verb: str) -> None:
    # IF is a function there, and BEGIN a name: neither opens a block that would hide what follows.
    sql = f"CREATE PROCEDURE p() {verb} IF(1, 2, 3), begin; DROP TABLE a; SELECT 1 END"
    assert str(one(sql, "mysql")) == "drop table a"


@pytest.mark.parametrize(
    "body",
    [
        "BEGIN DROP TABLE b; END",
        "l: BEGIN DROP TABLE b; END l",
        "IF 1 THEN DROP TABLE b; ELSE DROP TABLE c; END IF",
        "CASE 1 WHEN 1 THEN DROP TABLE b; ELSE BEGIN DROP TABLE c; END; END CASE",
        "l: LOOP DROP TABLE b; LEAVE l; END LOOP",
        "REPEAT DROP TABLE b; UNTIL 1 END REPEAT",
        "WHILE 1 DO IF 1 THEN DROP TABLE b; END IF; END WHILE",
        "FOR i IN 1..2 DO BEGIN DROP TABLE b; END; END FOR",
        "BEGIN SELECT CASE WHEN 1 THEN IF(1, 2, 3) ELSE REPEAT('a', 2) END; DROP TABLE b; END",
        "BEGIN SELECT (CASE WHEN 1 THEN 2 END); DROP TABLE b; END",
        "BEGIN SELECT a.end, a.`end`, a.begin; DROP TABLE b; END",
        "BEGIN DECLARE EXIT HANDLER FOR SQLSTATE '45000', 1051 BEGIN DROP TABLE b; END; DROP TABLE c; END",
        "BEGIN DECLARE EXIT HANDLER FOR NOT FOUND IF 1 THEN DROP TABLE b; END IF; DROP TABLE c; END",
        "BEGIN DECLARE c CURSOR FOR SELECT 1; FETCH c INTO d; DROP TABLE b; END",
        "BEGIN IF 1 THEN LOOP IF 2 THEN BEGIN DROP TABLE b; END; END IF; END LOOP; END IF; END",
    ],
)
@pytest.mark.parametrize(
    "header",
    [
        "CREATE PROCEDURE p()",
        "CREATE OR REPLACE PROCEDURE IF NOT EXISTS a.p(IN b int, OUT c decimal(1, 2))",
        "CREATE DEFINER=root@localhost PROCEDURE p() COMMENT 'x' MODIFIES SQL DATA SQL SECURITY INVOKER",
        "CREATE DEFINER = 'root'@'%' PROCEDURE p()",
        "CREATE DEFINER = root @`%` PROCEDURE p()",
        "CREATE DEFINER=CURRENT_USER() PROCEDURE p()",
        "CREATE DEFINER=r PROCEDURE p()",
        "CREATE FUNCTION f() RETURNS varchar(9) CHARACTER SET latin1 NOT DETERMINISTIC",
        "CREATE AGGREGATE FUNCTION f(a int) RETURNS SET('a', 'b')",
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW",
        "CREATE TRIGGER IF NOT EXISTS t AFTER UPDATE ON a.b FOR EACH ROW PRECEDES s",
        "CREATE FUNCTION f(a INT) RETURN VARCHAR(9) AS b INT; c INT;",
    ],
)
def test_a_definition_ends_where_its_body_does(header: str, body: str) -> None:
    if " AS b INT" in header and not body.startswith("BEGIN"):
        body = f"BEGIN {body}; END"
    assert judge_text(f"{header} {body}", "mysql") == ()
    assert str(one(f"{header} {body}; DROP TABLE a", "mysql")) == "drop table a"


def test_a_package_ends_where_its_body_does() -> None:
    procedures = "PROCEDURE p AS a INT; BEGIN DROP TABLE b; END; PROCEDURE q IS BEGIN DROP TABLE c; END;"
    sql = f"CREATE PACKAGE BODY pack AS {procedures} FUNCTION f RETURN INT AS BEGIN RETURN 1; END; END"
    assert judge_text(sql, "mariadb") == ()
    assert str(one(f"{sql}; DROP TABLE a", "mariadb")) == "drop table a"


@pytest.mark.parametrize(
    "block",
    [
        "BEGIN NOT ATOMIC {}; END",
        "IF 1 THEN {}; END IF",
        "CASE 1 WHEN 1 THEN {}; END CASE",
        "LOOP {}; END LOOP",
        "REPEAT {}; UNTIL 1 END REPEAT",
        "WHILE 1 DO {}; END WHILE",
        "FOR i IN 1..2 DO {}; END FOR",
        "DECLARE a INT; BEGIN {}; END",
        "l: LOOP {}; END LOOP",
        "<<l>> LOOP {}; END LOOP",
        "SET STATEMENT a = (1), b = 2 FOR BEGIN NOT ATOMIC {}; END",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN {}; END",
        "ALTER DEFINER = a@b EVENT e DO {}",
    ],
)
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DROP TABLE a", "drop table a"),
        ("TRUNCATE a", "truncate table a"),
        ("RENAME TABLE a TO b", "rename table a"),
        ("ALTER TABLE a DROP b", "drop column a.b"),
        ("CREATE OR REPLACE TABLE a (i int)", "replace table a"),
        ("EXECUTE IMMEDIATE a", "computed statement"),
        ("PREPARE a FROM b", "computed statement"),
        ("CREATE PROCEDURE p() DROP TABLE a", "drop table a"),
    ],
)
def test_a_statement_is_found_in_any_block(block: str, statement: str, expected: str) -> None:
    assert str(one(block.format(statement), "mysql")) == expected


@pytest.mark.parametrize(
    "block",
    [
        "BEGIN {}; END",
        "BEGIN IF a THEN {}; END IF; END",
        "BEGIN IF a THEN NULL; ELSE {}; END IF; END",
        "BEGIN IF a THEN NULL; ELSIF b THEN {}; END IF; END",
        "BEGIN LOOP {}; END LOOP; END",
        "BEGIN <<l>> {}; END",
        "DECLARE a int := 1; BEGIN {}; END",
        "BEGIN NULL; EXCEPTION WHEN OTHERS THEN {}; END",
        "<<l>> BEGIN BEGIN {}; END; END",
    ],
)
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DROP TABLE a", "drop table a"),
        ("TRUNCATE a", "truncate table a"),
        ("ALTER TABLE a DROP b", "drop column a.b"),
        ("REASSIGN OWNED BY a TO b", "reassign owned a"),
        ("EXECUTE a", "computed statement"),
        ("RETURN QUERY EXECUTE a", "computed statement"),
        ("OPEN c FOR EXECUTE a", "computed statement"),
        ("EXECUTE 'DROP TABLE a' USING b", "drop table a"),
        ("EXECUTE 'DROP TABLE a' INTO b", "drop table a"),
        ("DO 'BEGIN DROP TABLE a; END'", "drop table a"),
    ],
)
def test_a_statement_is_found_anywhere_in_a_do_block(block: str, statement: str, expected: str) -> None:
    assert str(one(f"DO $x$ {block.format(statement)} $x$")) == expected


@pytest.mark.parametrize(
    ("sql", "dialect", "expected"),
    [
        ("ALTER TABLE a * DROP b", "postgresql", ["drop column a.b"]),
        ("ALTER TABLE a RENAME TO", "postgresql", ["rename table a"]),
        ("DROP TRIGGER a", "postgresql", ["drop trigger"]),
        ("DROP TRIGGER a b", "postgresql", ["drop trigger"]),
        ("ALTER TABLE a RENAME COLUMN IF EXISTS b TO c", "mariadb", ["rename column a.b"]),
        ("ALTER TABLE a RENAME COLUMN b TO", "mariadb", ["rename column a.b"]),
        ("ALTER TABLE a RENAME COLUMN b c", "mariadb", ["rename column a.b"]),
        ("ALTER TABLE a RENAME", "mariadb", ["rename table a"]),
        ("ALTER TABLE a CONVERT TABLE", "mariadb", ["convert table"]),
        ("USE shop; DROP TABLE", "mariadb", ["drop table in database shop"]),
        ("RENAME TABLE a", "mariadb", ["unreadable text"]),
        ("RENAME TABLE a TO b c", "mariadb", ["unreadable text"]),
        ("RENAME TABLE , a TO b", "mariadb", ["unreadable text", "rename table a"]),
        ("CREATE OR REPLACE TABLE", "mariadb", ["replace table"]),
        ("ALTER OFFLINE TABLE a DROP b", "mysql", ["drop column a.b"]),
        ("ALTER TABLESPACE t DROP DATAFILE 'f'", "mysql", ["drop data file"]),
        ("ALTER UNDO TABLESPACE t DROP DATAFILE 'f'", "mysql", ["drop data file"]),
        ("ALTER TABLE a FROBNICATE RENAME b", "mariadb", ["unreadable text"]),
        ("ALTER TABLE a DROP system", "mariadb", ["drop column a.system"]),
        ("ALTER TABLE a EXCHANGE PARTITION p b", "mariadb", ["exchange partition a.p", "exchange table"]),
    ],
)
def test_a_loss_is_told_as_far_as_it_can_be_read(sql: str, dialect: Dialect, expected: list[str]) -> None:
    assert [str(loss) for loss in judge_text(sql, dialect)] == expected


def test_a_database_that_is_replaced_is_the_one_that_loses() -> None:
    assert one("CREATE OR REPLACE DATABASE a", "mariadb").database == "a"
    assert one("ALTER TABLESPACE t DROP DATAFILE 'f'", "mysql").kind == "drop"


def test_a_member_goes_by_the_name_of_its_table_too() -> None:
    for sql in ("ALTER TABLE a.b DROP c", "DROP TRIGGER c ON a.b"):
        assert [name.written for name in one(sql).ask] == ["a.b"]
    assert [name.written for name in one("ALTER TABLE a.b DROP c", "mariadb").ask] == ["a.b"]
    assert [name.written for name in one("USE shop; DROP TABLE a", "mariadb").ask] == ["a"]


def test_what_is_temporary_in_a_database_that_is_named_is_temporary() -> None:
    assert judge_text("DROP TABLE shop.pg_temp.a", "postgresql") == ()


def nest(levels: int) -> str:
    """Return a DO block whose DROP stands in so many texts inside each other."""
    text = "DROP TABLE t"
    for level in range(levels):
        text = (
            f"EXECUTE $l{level}$ {text} $l{level}$;" if level % 2 == 0 else f"DO $l{level}$ BEGIN {text} END $l{level}$"
        )
    return text


@pytest.mark.parametrize("before", ["", "DO $$ BEGIN EXECUTE 'SELECT 1'; EXECUTE 'SELECT 2'; END $$; "])
def test_texts_are_read_to_the_fourth_inside_each_other(before: str) -> None:
    assert [str(loss) for loss in judge_text(before + nest(4), "postgresql")] == ["drop table t"]
    assert [str(loss) for loss in judge_text(before + nest(6), "postgresql")] == ["computed statement"]
    assert "computed statement" in [
        str(loss) for loss in judge_text(f"{before}DO $x$ BEGIN {nest(4)}; END $x$", "postgresql")
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("BEGIN EXECUTE 'SELECT 1'; DROP TABLE t; END", ["drop table t"]),
        ("BEGIN EXECUTE 'SELECT 1';" * 7 + " EXECUTE 'DROP TABLE t'; END", ["drop table t"]),
        ("EXECUTE 'DROP TABLE t'", ["drop table t"]),
        ("DROP TABLE t", ["drop table t"]),
    ],
)
def test_every_statement_of_a_block_is_read_by_itself(block: str, expected: list[str]) -> None:
    assert [str(loss) for loss in judge_text(f"DO $$ {block} $$", "postgresql")] == expected


@pytest.mark.parametrize(
    ("version", "lost"), [(50699, []), (50700, ["drop table a"]), (99999, ["drop table a"]), (100000, [])]
)
def test_mariadb_passes_over_the_comments_of_a_later_mysql(version: int, lost: list[str]) -> None:
    sql = f"/*!100100 DROP */ /*!{version} TEMPORARY */ TABLE a"
    assert [str(loss) for loss in judge_text(sql, "mariadb")] == lost


def test_mariadb_passes_over_two_kinds_of_comments_at_once() -> None:
    sql = "/*!100100 DROP */ /*!50700 TEMPORARY */ /*!101100 TEMPORARY */ TABLE a"
    assert [str(loss) for loss in judge_text(sql, "mariadb")] == ["drop table a"]


def test_a_table_of_sqlite_that_is_called_temp_is_none_of_the_temporary_ones() -> None:
    assert [str(loss) for loss in judge_text("DROP TABLE temp", "sqlite")] == ["drop table temp"]
    assert [str(loss) for loss in judge_text("ALTER TABLE", "sqlite")] == []
    assert [str(loss) for loss in judge_text("ALTER TABLE a RENAME TO", "sqlite")] == ["rename table a"]
    assert asked("DROP TABLE a b", "sqlite") == []


def test_what_stands_between_two_comments_is_read() -> None:
    for dialect in ("postgresql", "mariadb", "sqlite"):
        assert str(one("/* a */ DROP TABLE a /* b */", dialect)) == "drop table a"


def test_a_name_is_what_its_quotes_make_it() -> None:
    assert asked(r'DROP TABLE U&"a""\0062"') == [("table", 'a"b')]
    assert str(one("DROP TABLE 'a'", "mysql")) == "drop table"


def prepare(text: str, levels: int) -> str:
    """Return a text prepared inside a text that is prepared, and so on."""
    for _ in range(levels):
        text = "EXECUTE IMMEDIATE '" + text.replace("'", "''") + "'"
    return text


@pytest.mark.parametrize("before", ["", f"{prepare('DO 1', 1)}; {prepare('DO 1', 2)}; "])
def test_prepared_texts_are_read_to_the_fourth_inside_each_other(before: str) -> None:
    assert [str(loss) for loss in judge_text(before + prepare("DROP TABLE t", 4), "mariadb")] == ["drop table t"]
    assert [str(loss) for loss in judge_text(before + prepare("DROP TABLE t", 5), "mariadb")] == ["computed statement"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("EXECUTE IMMEDIATE 'DROP TABLE a' USING 1", ["drop table a"]),
        ("EXECUTE IMMEDIATE '' 'DROP TABLE a'", ["drop table a"]),
        ("SET STATEMENT a=(SELECT 1 FROM t FOR UPDATE) FOR DROP TABLE a", ["drop table a"]),
        ("SET STATEMENT a=1 FOR SET STATEMENT b=2 FOR DROP TABLE a", ["drop table a"]),
        ("BEGIN NOT ATOMIC SELECT t.drop, t.`drop`, 'drop' FROM t; END", []),
        ("CREATE EVENT x.e ON SCHEDULE EVERY 1 DAY DO SELECT 1; DROP TABLE a", ["drop table a"]),
        (
            "USE shop; CREATE EVENT x.e ON SCHEDULE EVERY 1 DAY DO SELECT 1; DROP TABLE a",
            ["drop table a in database shop"],
        ),
        ("BEGIN NOT ATOMIC EXECUTE IMMEDIATE 'USE x'; DROP TABLE a; END", ["unreadable text", "drop table a"]),
    ],
)
def test_what_a_text_of_mariadb_runs_is_read_where_it_runs(sql: str, expected: list[str]) -> None:
    assert [str(loss) for loss in judge_text(sql, "mariadb")] == expected


def test_what_stands_before_a_block_is_read_once() -> None:
    assert asked("DROP TABLE a; BEGIN NOT ATOMIC SELECT 1; END", "mariadb") == [("table", "a")]


@pytest.mark.parametrize(
    "body",
    [
        "BEGIN INSERT INTO t (begin, end) VALUES (1, 2); TRUNCATE b; END",
        "BEGIN SELECT f(1); INSERT INTO t (begin, end) VALUES (1, 2); TRUNCATE b; END",
        "BEGIN SELECT (1), f((2), (end)); TRUNCATE b; END",
        "BEGIN DO IF(1, 2, 3); TRUNCATE b; END",
        "BEGIN DO REPEAT('a', 3); END",
        "IF 1 THEN IF 2 THEN SET @a = 1; END IF; TRUNCATE b; END IF",
        "BEGIN CASE 1 WHEN 1 THEN IF 1 THEN SET @a = 1; END IF; TRUNCATE b; ELSE TRUNCATE b; END CASE; END",
        "BEGIN DECLARE CONTINUE HANDLER FOR 1062 DO 1; DO IF(1, 2, 3); END",
        "x: LOOP IF 1 THEN LEAVE x; END IF; TRUNCATE b; END LOOP",
        "REPEAT IF 1 THEN SET @a = 1; END IF; TRUNCATE b; UNTIL 1 END REPEAT",
        "WHILE 1 DO IF 1 THEN SET @a = 1; END IF; TRUNCATE b; END WHILE",
        "BEGIN WHILE 1 DO IF 1 THEN SET @a = 1; END IF; TRUNCATE b; END WHILE; TRUNCATE c; END",
        "BEGIN SELECT 1 AS begin FROM t; TRUNCATE b; END",
        "FOR i IN 1..2 DO IF 1 THEN SET @a = 1; END IF; TRUNCATE b; END FOR",
    ],
)
def test_a_body_ends_where_the_server_ends_it(body: str) -> None:
    assert [str(loss) for loss in judge_text(f"CREATE PROCEDURE p() {body}; DROP TABLE a", "mariadb")] == [
        "drop table a"
    ]


@pytest.mark.parametrize(
    ("definition", "lost"),
    [
        ("CREATE EVENT IF NOT EXISTS x.e ON SCHEDULE EVERY 1 DAY DO DROP TABLE b", ["drop table b in database x"]),
        ("ALTER EVENT IF EXISTS x.e DO DROP TABLE b", ["drop table b in database x"]),
        ("CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW FOLLOWS begin SET @a = 1", []),
        ("CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW PRECEDES begin SET @a = 1", []),
        ("CREATE PROCEDURE p IS x INT; BEGIN TRUNCATE b; END", []),
        ("CREATE PROCEDURE p AS x INT; BEGIN TRUNCATE b; END", []),
        ("CREATE FUNCTION f() RETURNS int RETURN CASE WHEN 1 THEN IF(1, 2, 3) END", []),
        (
            (
                "CREATE PACKAGE BODY x AS FUNCTION f RETURN INT AS BEGIN RETURN 1; END; "
                "PROCEDURE p AS BEGIN TRUNCATE b; END; END"
            ),
            [],
        ),
        (
            (
                "CREATE PACKAGE BODY x IS FUNCTION f RETURN INT IS BEGIN RETURN 1; END; "
                "PROCEDURE p IS BEGIN TRUNCATE b; END; END"
            ),
            [],
        ),
    ],
)
def test_a_definition_of_any_kind_ends_where_the_server_ends_it(definition: str, lost: list[str]) -> None:
    assert [str(loss) for loss in judge_text(f"{definition}; DROP TABLE a", "mariadb")] == [*lost, "drop table a"]


def test_a_body_that_never_ends_is_unreadable() -> None:
    assert [str(loss) for loss in judge_text("CREATE PROCEDURE p() BEGIN DROP TABLE a", "mariadb")] == [
        "unreadable text"
    ]


def test_a_line_break_behind_a_backslash_is_a_line_break() -> None:
    losses = judge_text("EXECUTE IMMEDIATE 'DROP \\\nTABLE a'", "mariadb", backslash_escapes=True)
    assert [str(loss) for loss in losses] == ["drop table a"]


def test_the_last_letter_of_unicode_is_one_and_the_next_is_none() -> None:
    assert asked(r'DROP TABLE U&"\+10FFFF"') == [("table", "\U0010ffff")]
    assert asked(r'DROP TABLE U&"\+110000"') == [("table", "\ufffd")]


def test_a_block_is_read_with_the_strings_of_its_connection() -> None:
    sql = r"DO $$ BEGIN PERFORM 'a\'; DROP TABLE t; --'; END $$"
    assert judge_text(sql, "postgresql", backslash_escapes=True) == ()
    assert judge_text(sql, "postgresql", backslash_escapes=False)


def test_computed_text_inside_computed_text_ends_somewhere() -> None:
    sql = "DROP TABLE a"
    for _ in range(9):
        sql = "EXECUTE IMMEDIATE '" + sql.replace("'", "''") + "'"
    assert str(one(sql, "mariadb")) == "computed statement"
    body = "DROP TABLE a;"
    for number in range(9):
        body = f"DO $a{number}$ BEGIN {body} END $a{number}$;"
    assert str(one(body)) == "computed statement"


def test_a_text_with_too_many_ways_to_be_read_is_unreadable() -> None:
    sql = "".join(f"/*!{version} DROP */" for version in range(50001, 50099))
    assert [str(loss) for loss in judge_text(sql, "mysql")] == ["unreadable text"]


def test_what_is_known_of_the_server_narrows_the_readings() -> None:
    unescaped = r"SELECT '\'; DROP TABLE a; -- '"
    assert judge_text(unescaped, "mysql")
    assert judge_text(unescaped, "mysql", backslash_escapes=True) == ()
    assert judge_text(unescaped, "mysql", backslash_escapes=False)
    quoted = r'SELECT "\"; DROP TABLE a; -- "'
    assert judge_text(quoted, "mysql", backslash_escapes=True, ansi_quotes=True)
    assert judge_text(quoted, "mysql", backslash_escapes=True, ansi_quotes=False) == ()
    escaped = r"SELECT '\'; DROP TABLE a; -- '"
    assert judge_text(escaped, "postgresql")
    assert judge_text(escaped, "postgresql", backslash_escapes=False)
    assert judge_text(escaped, "postgresql", backslash_escapes=True) == ()


def test_a_loss_that_two_readings_share_is_told_once() -> None:
    assert judge_text("/*!50001 DROP TABLE a */; /*!50002 SELECT '\\' */", "mysql") == (
        Destruction("drop table", "drop", ("a",), ask=(ObjectName("table", ("a",), "a"),)),
    )


def test_a_loss_that_two_readings_ask_about_in_two_ways_is_not_asked_about() -> None:
    # For a newer server the temporary table is gone by then.
    (loss,) = judge_text("/*!999999 DROP TEMPORARY TABLE a; */ DROP TABLE a", "mariadb")
    assert loss.ask == ()


def test_findings_keep_one_note_of_what_cannot_be_read() -> None:
    findings = Findings()
    findings.unreadable()
    findings.unreadable()
    findings.unreadable("computed statement")
    assert [loss.operation for loss in findings.found] == ["unreadable text", "computed statement"]
