"""The guard on servers: every way in, what a refusal says, and what is never refused, for each driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg.sql
import psycopg2.sql  # type: ignore[import-untyped]
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    DDL,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import DropTable

import engineroom
from engineroom import DestructiveOperationError

if TYPE_CHECKING:
    from collections.abc import Callable

    Body = Callable[[Connection], object]

POSTGRESQL = ["psycopg", "psycopg2", "psycopg_async", "asyncpg"]
MARIADB = ["pymysql", "aiomysql", "asyncmy"]
SYNC = ["psycopg", "psycopg2", "pymysql"]
ASYNC = ["psycopg_async", "asyncpg", "aiomysql", "asyncmy"]

metadata = MetaData()
users = Table("users", metadata, Column("id", Integer, primary_key=True), Column("email", String(50)))
orders = Table("orders", metadata, Column("id", Integer))
audit = Table("audit", metadata, Column("id", Integer))


def in_a_session(connection: Connection) -> None:
    with Session(connection) as session:
        session.execute(text("DROP TABLE users"))


def in_a_savepoint(connection: Connection) -> None:
    with connection.begin_nested():
        connection.execute(text("DROP TABLE users"))


def in_a_savepoint_of_a_session(connection: Connection) -> None:
    with Session(connection, join_transaction_mode="create_savepoint") as session, session.begin_nested():
        session.connection().execute(text("DROP TABLE users"))


def after_a_rollback(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
    connection.rollback()
    connection.execute(text("DROP TABLE users"))


def after_the_same_text_was_allowed_elsewhere(connection: Connection) -> None:
    connection.execute(text("CREATE TEMPORARY TABLE users (id int)"))
    connection.execute(text("DROP TABLE users"))  # the temporary one
    connection.execute(text("DROP TABLE users"))


WAYS: dict[str, Body] = {
    "text": lambda connection: connection.execute(text("DROP TABLE users")),
    "text in small letters with a comment": lambda c: c.execute(text("/* bye */ drop\n-- all\ntable users")),
    "text with a parameter": lambda c: c.execute(text("DROP TABLE users /* :x */"), {"x": 1}),
    "DDL": lambda connection: connection.execute(DDL("DROP TABLE users")),  # type: ignore[no-untyped-call]
    "a construct": lambda connection: connection.execute(DropTable(users)),
    "a table": users.drop,
    "a table without a look first": lambda connection: users.drop(connection, checkfirst=False),
    "metadata": lambda connection: metadata.drop_all(connection, tables=[users]),
    "the driver's SQL": lambda connection: connection.exec_driver_sql("DROP TABLE users"),
    "the driver's SQL without parameters": lambda c: c.execution_options(no_parameters=True).exec_driver_sql(
        "DROP TABLE users"
    ),
    "the driver's SQL for several sets": lambda c: c.exec_driver_sql("DROP TABLE users", [(), ()]),
    "a streamed result": lambda c: c.execution_options(stream_results=True).execute(text("DROP TABLE users")),
    "a scalar": lambda connection: connection.scalar(text("DROP TABLE users")),
    "a session": in_a_session,
    "a savepoint": in_a_savepoint,
    "a savepoint of a session": in_a_savepoint_of_a_session,
    "a transaction after a rollback": after_a_rollback,
    "a second time": after_the_same_text_was_allowed_elsewhere,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_to_send_a_drop_is_refused_before_it_is_sent(way: Body, kept: Any) -> None:
    with pytest.raises(DestructiveOperationError) as caught:
        kept.do(way)
    url = kept.url.render_as_string(hide_password=True)
    assert caught.value.what == f"Refused to drop table users in database {kept.name} on {url}."
    assert f'the database "{kept.name}" is not disposable' in caught.value.why
    assert f'allow_destructive(engine, database="{kept.name}", reason="...")' in caught.value.fix[-1]
    assert kept.database.relations() == {"users", "orders", "audit", "everybody"}


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_no_isolation_level_lets_a_drop_pass(level: str, kept: Any) -> None:
    assert kept.refusal("SELECT 1", "DROP TABLE users", isolation_level=level).startswith("Refused to drop table users")
    assert "users" in kept.database.relations()


def test_a_copy_of_the_engine_is_guarded_like_the_engine(kept: Any) -> None:
    copy = kept.outer.execution_options(isolation_level="AUTOCOMMIT")
    kept.outer, before = copy, kept.outer
    assert "drop table users" in kept.refusal("DROP TABLE users")
    kept.outer = before


def test_drop_all_is_refused_as_a_whole_and_counts_the_tables(kept: Any) -> None:
    with pytest.raises(DestructiveOperationError, match=r"^Refused to drop tables [a-z, ]+ in database "):
        kept.do(metadata.drop_all)
    extra = MetaData()
    tables = [Table(f"t{number}", extra, Column("id", Integer)) for number in range(4)]
    kept.database.send(*(f"CREATE TABLE {table.name} (id int)" for table in tables))
    with pytest.raises(DestructiveOperationError, match=f"^Refused to drop 4 tables in database {kept.name} on "):
        kept.do(extra.drop_all)
    assert {"users", "orders", "t0", "t3"} <= kept.database.relations()


def test_a_statement_that_a_listener_rewrites_is_judged_as_it_is_sent(kept: Any) -> None:
    @event.listens_for(kept.engine, "before_cursor_execute", retval=True)
    def rewrite(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        return statement.replace("harmless", "users"), parameters

    assert "drop table users" in kept.refusal("DROP TABLE harmless")


@pytest.mark.parametrize("name", ASYNC)
def test_an_async_session_is_guarded(name: str, reach: Callable[..., Any]) -> None:
    async def use(kept: Any) -> None:
        maker = async_sessionmaker(kept.outer, expire_on_commit=False)
        async with maker() as session:
            with pytest.raises(DestructiveOperationError, match="drop table users"):
                await session.execute(text("DROP TABLE users"))
            await session.rollback()
            async with session.begin_nested():
                with pytest.raises(DestructiveOperationError, match="truncate table orders"):
                    await session.execute(text("TRUNCATE TABLE orders"))
        async with AsyncSession(kept.outer) as session, session.begin():
            assert (await session.execute(text("SELECT count(*) FROM users"))).scalar_one() == 1
        async with kept.outer.connect() as connection:
            with pytest.raises(DestructiveOperationError, match="drop table users"):
                await connection.stream(text("DROP TABLE users"))

    reach(name).run(use)


def test_a_session_goes_on_after_a_refusal(kept: Any) -> None:
    def body(connection: Connection) -> object:
        with Session(connection) as session:
            session.execute(text("INSERT INTO orders VALUES (7)"))
            with pytest.raises(DestructiveOperationError):
                session.execute(text("DROP TABLE users"))
            session.commit()
        return connection.execute(text("SELECT id FROM orders")).scalars().all()

    # A statement that was never sent breaks no transaction.
    assert kept.do(body) == [7]


SEVERAL = {
    "two of a kind": ("DROP TABLE users; DROP TABLE orders", "drop tables users, orders"),
    "two kinds": ("DROP TABLE users; TRUNCATE TABLE orders", "drop table users, truncate table orders"),
    "harmless ones between": (
        "SELECT 1; DROP VIEW everybody; INSERT INTO orders VALUES (1); ALTER TABLE users DROP COLUMN email",
        "drop view everybody, drop column users.email",
    ),
    "the same twice": ("TRUNCATE TABLE users; TRUNCATE TABLE users", "truncate table users"),
    "a long list": ("DROP TABLE users, orders, audit, a, b", "drop 5 tables"),
    "a long list in pieces": (
        "DROP TABLE users; DROP TABLE orders, audit; DROP TABLE users2; TRUNCATE TABLE audit",
        None,
    ),
}


@pytest.mark.parametrize(("statements", "phrase"), SEVERAL.values(), ids=SEVERAL)
@pytest.mark.parametrize("name", ["psycopg2", "pymysql", "aiomysql"])
def test_a_text_of_several_statements_is_refused_whole_and_every_loss_is_told(
    name: str, statements: str, phrase: str | None, reach: Callable[..., Any]
) -> None:
    options = {} if name == "psycopg2" else {"connect_args": {"client_flag": 1 << 16}}  # MULTI_STATEMENTS
    kept = reach(name, **options)
    told = kept.refusal(statements)
    if phrase is None:
        assert "drop table" in told
        assert told.endswith(f"truncate table audit in database {kept.name} on {kept.url.render_as_string()}.")
    else:
        assert told.startswith(f"Refused to {phrase} in database {kept.name} on ")
    assert {"users", "orders", "audit", "everybody"} <= kept.database.relations()
    assert kept.send("SELECT count(*) FROM orders") == [(0,)]


def test_losses_in_several_databases_are_told_with_their_places(databases: Any, reach: Callable[..., Any]) -> None:
    other = databases("mariadb", "other")
    other.rebuild()
    kept = reach("pymysql", connect_args={"client_flag": 1 << 16})
    told = kept.refusal(f"DROP TABLE users; DROP TABLE {other.name}.orders; DROP DATABASE {other.name}")
    place = kept.url.render_as_string()
    assert told == (
        f"Refused to drop table users in database {kept.name} on {place}; "
        f"drop table {other.name}.orders, drop database {other.name} on the server of {place}."
    )
    assert kept.refusal("DROP ROLE somebody").endswith(f"drop role somebody on the whole server of {place}.")


def test_what_cannot_be_read_is_refused_in_words_that_say_so(reach: Callable[..., Any]) -> None:
    kept = reach("psycopg")
    told = kept.refusal("DO $$ BEGIN EXECUTE 'DR' || 'OP TABLE users'; END $$")
    assert told.startswith("Refused to run a computed statement, which cannot be read, in database ")
    told = reach("pymysql").refusal("EXECUTE IMMEDIATE CONCAT('DR', 'OP TABLE users')")
    assert told.startswith("Refused to run a computed statement, which cannot be read, in database ")


@pytest.mark.parametrize("name", ["psycopg", "pymysql"])
@pytest.mark.parametrize("query", [{}, {"password": "geheim"}], ids=["in its place", "in the query"])
def test_no_password_is_ever_told(name: str, query: dict[str, str], reach: Callable[..., Any]) -> None:
    # The servers of the tests ask no password, so that any will do; PyMySQL takes only one that is right.
    plain = reach(name).url
    url = plain.update_query_dict(query) if query else plain.set(password="geheim")
    _, arguments = create_engine(plain).dialect.create_connect_args(plain)
    engine = engineroom.guard(create_engine(url, creator=lambda: create_engine(plain).dialect.connect(**arguments)))
    with engine.connect() as connection, pytest.raises(DestructiveOperationError) as caught:
        connection.execute(text("DROP TABLE users"))
    assert "geheim" not in str(caught.value) + repr(caught.value)
    assert "***" in str(caught.value)
    engine.dispose()


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    word: Mapped[str] = mapped_column(String(20))


def test_the_orm_works_on_a_protected_database(kept: Any) -> None:
    def body(connection: Connection) -> object:
        Base.metadata.create_all(connection)
        with Session(connection) as session:
            session.add_all([Note(id=number, word=f"drop {number}") for number in range(3)])
            session.flush()
            session.execute(insert(Note), [{"id": 10, "word": "truncate"}, {"id": 11, "word": "alter"}])
            session.delete(session.get_one(Note, 0))
            session.commit()
            return list(session.scalars(select(Note.word).order_by(Note.id)))

    assert kept.do(body) == ["drop 1", "drop 2", "truncate", "alter"]


def test_reflection_and_inspection_work_on_a_protected_database(kept: Any) -> None:
    def body(connection: Connection) -> object:
        reflected = MetaData()
        reflected.reflect(connection)
        inspector = inspect(connection)
        return set(reflected.tables), set(inspector.get_view_names()), inspector.has_table("users")

    assert kept.do(body) == ({"users", "orders", "audit"}, {"everybody"}, True)


HARMLESS_ANYWHERE = """
CREATE TABLE IF NOT EXISTS users (id int)
CREATE TABLE archive (id int, dropped_at timestamp NULL, "drop" int)
CREATE INDEX ix_email ON users (email)
ALTER TABLE users ADD CONSTRAINT uq_email UNIQUE (email)
ALTER TABLE users DROP CONSTRAINT uq_email
CREATE OR REPLACE VIEW everybody AS SELECT id FROM users
UPDATE users SET email = 'drop table users; truncate orders'
DELETE FROM orders WHERE id IN (SELECT id FROM audit)
SELECT email AS dropped, 'TRUNCATE' AS verb FROM users -- drop table users
INSERT INTO orders SELECT id FROM users
WITH dropped AS (SELECT id FROM users) SELECT count(*) FROM dropped
SAVEPOINT before_drop
ROLLBACK TO SAVEPOINT before_drop
RELEASE SAVEPOINT before_drop
DROP TABLE IF EXISTS never_was
DROP VIEW IF EXISTS never_was
"""
HARMLESS = {
    "postgresql": """
INSERT INTO users VALUES (1, 'b') ON CONFLICT (id) DO UPDATE SET email = excluded.email
INSERT INTO users VALUES (1, 'b') ON CONFLICT DO NOTHING
LOCK TABLE users IN ACCESS EXCLUSIVE MODE
ALTER TABLE users ADD COLUMN nick varchar(20)
ANALYZE users
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM users
REFRESH MATERIALIZED VIEW totals
LISTEN dropped
NOTIFY dropped, 'drop table users'
SET search_path TO public
SET LOCAL statement_timeout = '30s'
PREPARE fetch_one AS SELECT * FROM users WHERE id = $1
EXECUTE fetch_one(1)
DEALLOCATE fetch_one
ALTER TABLE users ALTER COLUMN email SET DEFAULT 'drop', ALTER COLUMN email DROP DEFAULT
ALTER TABLE users ALTER COLUMN email SET NOT NULL, ALTER COLUMN email DROP NOT NULL
DROP INDEX ix_email
DO $$ BEGIN IF NOT EXISTS (TABLE pg_enum) THEN CREATE TYPE mood AS ENUM ('a'); END IF; END $$
CREATE OR REPLACE FUNCTION clear_out() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN DROP TABLE users; END $f$
CREATE OR REPLACE PROCEDURE tidy() LANGUAGE sql AS 'SELECT 1'
CALL tidy()
GRANT TRUNCATE ON users TO PUBLIC
COMMENT ON TABLE users IS 'never drop this table'
DECLARE dropped CURSOR FOR SELECT * FROM users
CLOSE dropped
EXPLAIN SELECT * FROM users
DISCARD PLANS
CREATE TEMPORARY TABLE scratch (id int) ON COMMIT DROP
DROP TABLE scratch
""",
    "mariadb": """
INSERT INTO users VALUES (1, 'b') ON DUPLICATE KEY UPDATE email = VALUES(email)
REPLACE INTO users VALUES (1, 'c')
SELECT REPLACE(email, 'a', 'b'), TRUNCATE(1.5, 1) FROM users
INSERT IGNORE INTO users VALUES (1, 'x')
ALTER TABLE users ALTER COLUMN email SET DEFAULT 'drop'
ALTER TABLE users ALTER COLUMN email DROP DEFAULT
ALTER TABLE users MODIFY email varchar(80) COMMENT 'do not drop'
DROP INDEX ix_email ON users
ALTER TABLE users ADD INDEX ix_again (email), ADD COLUMN extra int
ALTER TABLE users DROP INDEX ix_again
ALTER TABLE users ADD COLUMN nick varchar(20)
ANALYZE TABLE users
OPTIMIZE TABLE users
SET SESSION sql_mode = 'ANSI_QUOTES'
SET SESSION sql_mode = ''
SHOW CREATE TABLE users
LOCK TABLES users WRITE
UNLOCK TABLES
PREPARE fetch_one FROM 'SELECT 1'
EXECUTE fetch_one
DEALLOCATE PREPARE fetch_one
CREATE OR REPLACE PROCEDURE clear_out() DROP TABLE users
CREATE OR REPLACE PROCEDURE tidy() SELECT 1
/*!40101 SET NAMES utf8mb4 */
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */
CREATE TEMPORARY TABLE scratch (id int)
DROP TABLE scratch
CREATE TEMPORARY TABLE scratch (id int)
DROP TEMPORARY TABLE scratch
""",
}
QUOTE = {"postgresql": '"', "mariadb": "`"}


def test_what_a_production_system_does_all_day_is_never_refused(kept: Any) -> None:
    kind = kept.database.kind
    common = HARMLESS_ANYWHERE.replace('"', QUOTE[kind])
    statements = [line for line in (common + HARMLESS[kind]).splitlines() if line]
    if "asyncpg" in kept.url.drivername:
        statements = [line for line in statements if "fetch_one" not in line]

    def body(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    kept.do(body)
    assert {"users", "orders", "audit", "everybody", "archive"} <= kept.database.relations()


@pytest.mark.parametrize("name", POSTGRESQL)
def test_what_runs_outside_of_transactions_is_never_refused(name: str, reach: Callable[..., Any]) -> None:
    kept = reach(name)
    for statement in (
        "VACUUM users",
        "VACUUM (ANALYZE) users",
        "CREATE INDEX CONCURRENTLY ix_users ON users (email)",
        "REINDEX TABLE users",
        "DROP INDEX CONCURRENTLY ix_users",
    ):
        kept.send(statement, isolation_level="AUTOCOMMIT")


DUMP = {
    "psycopg2": """
        SET statement_timeout = 0; SET standard_conforming_strings = on;
        CREATE TABLE public.restored (id integer NOT NULL, note text DEFAULT 'drop;table'::text);
        ALTER TABLE public.restored OWNER TO CURRENT_USER;
        CREATE SEQUENCE public.restored_id_seq START WITH 1 INCREMENT BY 1 NO MINVALUE NO MAXVALUE CACHE 1;
        ALTER SEQUENCE public.restored_id_seq OWNED BY public.restored.id;
        ALTER TABLE ONLY public.restored ALTER COLUMN id SET DEFAULT nextval('public.restored_id_seq'::regclass);
        INSERT INTO public.restored VALUES (1, 'TRUNCATE users; -- ');
        SELECT pg_catalog.setval('public.restored_id_seq', 1, true);
        ALTER TABLE ONLY public.restored ADD CONSTRAINT restored_pkey PRIMARY KEY (id);
        COMMENT ON TABLE public.restored IS 'it''s; drop table users';
    """,
    "pymysql": r"""
        DROP TABLE IF EXISTS `restored`;
        /*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */; /*!40103 SET TIME_ZONE='+00:00' */;
        CREATE TABLE `restored` (`id` int NOT NULL, `drop` text DEFAULT 'it\'s; drop table users', PRIMARY KEY (`id`));
        LOCK TABLES `restored` WRITE;
        /*!40000 ALTER TABLE `restored` DISABLE KEYS */;
        INSERT INTO `restored` VALUES (1,'a'),(2,'DROP TABLE users;');
        /*!40000 ALTER TABLE `restored` ENABLE KEYS */;
        UNLOCK TABLES;
    """,
}


@pytest.mark.parametrize(("name", "script"), DUMP.items(), ids=DUMP)
def test_a_dump_is_restored_into_a_protected_database(name: str, script: str, reach: Callable[..., Any]) -> None:
    options = {} if name == "psycopg2" else {"connect_args": {"client_flag": 1 << 16}}
    kept = reach(name, **options)
    kept.do(lambda connection: connection.execution_options(no_parameters=True).exec_driver_sql(script) and None)
    assert "restored" in kept.database.relations()


@pytest.mark.parametrize("name", POSTGRESQL)
def test_in_an_aborted_transaction_the_driver_says_what_it_says_without_the_guard(
    name: str, reach: Callable[..., Any]
) -> None:
    kept = reach(name)

    def body(connection: Connection) -> None:
        with pytest.raises(DBAPIError, match="no_such_table"):
            connection.execute(text("SELECT * FROM no_such_table"))
        connection.execute(text("DROP TABLE users"))

    with pytest.raises(DBAPIError, match=r"(?s)transaction is aborted.*SQL: DROP TABLE users"):
        kept.do(body)
    assert "users" in kept.database.relations()


def test_on_a_dead_connection_the_driver_says_so_and_the_pool_recovers(kept: Any) -> None:
    number = "SELECT pg_backend_pid()" if kept.is_postgresql else "SELECT CONNECTION_ID()"
    kill = "SELECT pg_terminate_backend({})" if kept.is_postgresql else "KILL {}"

    def body(connection: Connection) -> None:
        kept.database.send(kill.format(connection.exec_driver_sql(number).scalar_one()))
        connection.execute(text("DROP TABLE users"))

    with pytest.raises(DBAPIError) as caught:
        kept.do(body)
    assert caught.value.connection_invalidated
    assert "users" in kept.database.relations()
    assert "drop table users" in kept.refusal("DROP TABLE users")


def test_a_connection_that_was_open_before_the_guard_came_is_guarded(kept: Any) -> None:
    creator: Callable[..., Any] = create_async_engine if kept.is_async else create_engine
    foreign = creator(kept.url)
    inner = foreign.sync_engine if kept.is_async else foreign

    def body(connection: Connection) -> None:
        with connection.begin_nested():
            connection.execute(text("CREATE TEMPORARY TABLE before_the_guard (id int)"))
        assert engineroom.guard(foreign) is engineroom.guard(foreign)
        connection.execute(text("CREATE TABLE mine (id int)"))
        connection.execute(text("DROP TABLE mine"))
        connection.execute(text("DROP TABLE before_the_guard"))
        connection.execute(text("DROP TABLE users"))

    kept.outer, kept.engine, (outer, engine) = foreign, inner, (kept.outer, kept.engine)
    with pytest.raises(DestructiveOperationError, match=f"drop table users in database {kept.name} on "):
        kept.do(body)
    assert "drop table users" in kept.refusal("DROP TABLE users")  # and from the pool
    kept.close()
    kept.outer, kept.engine = outer, engine
    if kept.is_async:
        kept._runner = type(kept._runner)()


def test_two_guards_are_as_one(kept: Any) -> None:
    executor = kept.engine.dialect.do_execute
    assert engineroom.guard(kept.outer) is kept.outer
    assert engineroom.guard(kept.engine.execution_options(a=1)).dialect.do_execute is executor


@pytest.mark.parametrize("name", SYNC)
def test_a_statement_in_bytes_is_judged_like_a_text(name: str, reach: Callable[..., Any]) -> None:
    kept = reach(name)

    def send(statement: bytes) -> None:
        kept.do(lambda connection: connection.exec_driver_sql(statement) and None)

    with pytest.raises(DestructiveOperationError, match="drop table users"):
        send(b"DROP TABLE users")
    with pytest.raises(DestructiveOperationError, match="cannot be read"):
        send(b"DROP TABLE users\xff")


@pytest.mark.parametrize(("name", "module"), [("psycopg", psycopg.sql), ("psycopg2", psycopg2.sql)])
def test_a_composed_statement_is_judged_like_the_text_that_it_makes(
    name: str, module: Any, reach: Callable[..., Any]
) -> None:
    kept = reach(name)

    def send(statement: Any) -> Any:
        return kept.do(lambda connection: connection.exec_driver_sql(statement).scalars().all())

    query = module.SQL("SELECT {} FROM {}").format(module.Literal("drop table"), module.Identifier("users"))
    assert [send(query) for _ in range(2)] == [["drop table"], ["drop table"]]
    with pytest.raises(DestructiveOperationError, match="drop table users"):
        send(module.SQL("DROP TABLE {}").format(module.Identifier("users")))
    with pytest.raises(DestructiveOperationError, match="drop table users"):
        send(module.SQL("DROP TABLE users"))


@pytest.mark.parametrize("name", SYNC)
def test_a_raw_cursor_passes_the_guard_by(name: str, reach: Callable[..., Any]) -> None:
    # The limit that docs/explanation/threat-model.md tells of.
    kept = reach(name)
    raw = kept.engine.raw_connection()
    cursor = raw.cursor()
    cursor.execute("DROP TABLE orders")
    raw.commit()
    cursor.close()
    raw.close()
    assert "orders" not in kept.database.relations()


@pytest.mark.parametrize("name", ASYNC)
def test_the_drivers_own_connection_passes_the_guard_by(name: str, reach: Callable[..., Any]) -> None:
    async def use(kept: Any) -> None:
        async with kept.outer.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            if name in {"aiomysql", "asyncmy"}:
                async with driver.cursor() as cursor:
                    await cursor.execute("DROP TABLE orders")
            else:
                await driver.execute("DROP TABLE orders")
                if name == "psycopg_async":
                    await driver.commit()

    kept = reach(name)
    kept.run(use)
    assert "orders" not in kept.database.relations()


class Counted:
    """How many statements an engine sends, the guard's questions included."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from engineroom._guard import catalogue, server_watch  # noqa: PLC0415

        self.questions: list[str] = []
        for module in (catalogue, server_watch):
            original = module.fetch

            def fetch(connection: Any, question: str, original: Any = original) -> Any:
                self.questions.append(" ".join(question.split()))
                return original(connection, question)

            monkeypatch.setattr(module, "fetch", fetch)


def test_a_disposable_database_is_asked_once_a_connection_about_new_tables(
    driver: str, reach: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counted(monkeypatch)
    test = reach(driver, "test", pool_size=1, max_overflow=0)
    test.send(*(f"CREATE TABLE t{number} (id int)" for number in range(5)))
    test.send("CREATE TABLE another (id int)", "SELECT 1", "INSERT INTO orders VALUES (1)")
    assert len(asked.questions) == 1
    test.send("DROP TABLE t0")
    assert len(asked.questions) == 2


def test_harmless_statements_ask_a_protected_database_nothing(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Counted(monkeypatch)
    kept.send("SELECT 1", "INSERT INTO orders VALUES (1)", "ALTER TABLE users ADD COLUMN n int", "DELETE FROM orders")
    assert asked.questions == []
    kept.send("CREATE TABLE fresh (id int)")
    assert len(asked.questions) == 3  # where am I, is there one already, which is it
    kept.send("CREATE TABLE fresher (id int)")
    assert len(asked.questions) == 5


def test_a_view_is_told_from_a_table(kept: Any) -> None:
    assert "drop view everybody" in kept.refusal("DROP VIEW everybody")


class Upgrade:
    """The revisions of a migration that only adds, and one that takes away."""

    @staticmethod
    def add(operations: Operations) -> None:
        operations.create_table("invoices", Column("id", Integer, primary_key=True), Column("user_id", Integer))
        operations.add_column("users", Column("nick", String(20), server_default="nobody"))
        operations.create_index("ix_nick", "users", ["nick"])
        operations.create_unique_constraint("uq_user", "invoices", ["user_id"])
        operations.alter_column("users", "email", existing_type=String(50), type_=String(80), nullable=True)
        operations.bulk_insert(Table("orders", MetaData(), Column("id", Integer)), [{"id": 1}, {"id": 2}])
        operations.drop_index("ix_nick", "users")

    @staticmethod
    def take_away(operations: Operations) -> None:
        operations.drop_column("users", "nick")


def test_a_migration_that_only_adds_is_run_and_one_that_takes_away_is_refused(kept: Any) -> None:
    kept.do(lambda connection: Upgrade.add(Operations(MigrationContext.configure(connection))))
    assert "invoices" in kept.database.relations()
    with pytest.raises(DestructiveOperationError, match=r"drop column users\.nick"):
        kept.do(lambda connection: Upgrade.take_away(Operations(MigrationContext.configure(connection))))
