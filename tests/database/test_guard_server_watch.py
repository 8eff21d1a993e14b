"""The watch over one connection to a server, asked directly: what it allows, what it refuses, and what it remembers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine
from sqlalchemy.pool import NullPool

from engineroom import DestructiveOperationError, allow_destructive
from engineroom._guard.server_watch import ServerWatch
from engineroom._permit import OpenPermits
from engineroom._statements import Destruction, ObjectName
from engineroom._verdict import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Databases = Callable[[str, str], Any]
    Watching = Callable[..., "Watched"]

SCHEMES = {"postgresql": "postgresql+psycopg2", "mariadb": "mariadb+pymysql"}


class Counting:
    """A connection of a driver that keeps what it is asked."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.questions: list[str] = []

    @property
    def info(self) -> object:
        return self.inner.info

    def rollback(self) -> None:
        self.inner.rollback()

    def cursor(self) -> Any:
        cursor, questions = self.inner.cursor(), self.questions

        class Cursor:
            def execute(self, question: str) -> None:
                questions.append(question)
                cursor.execute(question)

            fetchall, close = cursor.fetchall, cursor.close

        return Cursor()


class Watched:
    """A connection without a guard, and a watch over it that nobody calls but the test."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.name = database.name
        self.engine = create_engine(database.url.set(drivername=SCHEMES[database.kind]), poolclass=NullPool)
        self.pooled = self.engine.raw_connection()
        self.driver = Counting(self.pooled.dbapi_connection)
        self.permits = OpenPermits()
        self.watch = ServerWatch(self.driver, database.kind, "a place", self.permits)

    def send(self, *statements: str) -> None:
        """Send statements over the connection."""
        cursor = self.pooled.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()

    def create(self, name: str) -> None:
        """Create a table, and tell the watch."""
        is_own = self.watch.is_free_for_own((name,))
        self.send(f"CREATE TABLE {name} (id int)")
        if is_own:
            self.watch.note_creation((name,))

    def refusal(self, *losses: Destruction) -> DestructiveOperationError:
        """Have losses refused."""
        with pytest.raises(DestructiveOperationError) as caught:
            self.watch.check(losses)
        return caught.value

    def permit(self, **narrow: Any) -> Any:
        """Make a permit for the database of the connection."""
        return allow_destructive(self.engine, **{"database": self.name, "reason": "the shop closes", **narrow})

    def close(self) -> None:
        """Close the connection; on PostgreSQL nothing was committed."""
        self.pooled.close()
        self.engine.dispose()


@pytest.fixture(scope="module")
def rebuilt() -> set[Any]:
    """Return the databases that were rebuilt for this module."""
    return set()


@pytest.fixture
def watching(databases: Databases, rebuilt: set[Any]) -> Iterator[Watching]:
    """Return a function that watches a new connection to a database of a kind of server."""
    open_ones: list[Watched] = []

    def make(kind: str, role: str = "kept") -> Watched:
        database = databases(kind, role)
        if database not in rebuilt:
            database.rebuild()
            rebuilt.add(database)
        open_ones.append(Watched(database))
        return open_ones[-1]

    yield make
    for one in open_ones:
        if one.database.kind == "mariadb":
            one.send(f"DROP TABLE IF EXISTS {one.name}.mine, {one.name}.mine_too")
        one.close()


@pytest.fixture(params=SCHEMES)
def kept(request: pytest.FixtureRequest, watching: Watching) -> Watched:
    """Return a watch over a connection to a database that is not disposable, on each server in turn."""
    return watching(request.param)


@pytest.fixture
def on_mariadb(watching: Watching) -> Watched:
    """Return the same on MariaDB."""
    return watching("mariadb")


def drop(*names: str, ask: tuple[str, ...] | None = None, **more: Any) -> Destruction:
    """Return the loss of tables; they are asked about, unless others are, or none."""
    asked = tuple(ObjectName("table", tuple(name.split(".")), name) for name in (names if ask is None else ask))
    return Destruction("drop table", "drop", names, ask=asked, **more)


def test_the_connection_tells_its_database(kept: Watched) -> None:
    assert kept.watch.identify() == Facts(kept.database.kind, kept.name, location="a place")
    assert kept.watch.names == {kept.name}


def test_a_connection_in_no_database_tells_none(on_mariadb: Watched) -> None:
    engine = create_engine(on_mariadb.engine.url.set(database=""), poolclass=NullPool)
    pooled = engine.raw_connection()
    watch = ServerWatch(pooled.dbapi_connection, "mariadb", "a place", OpenPermits())
    assert watch.identify() == Facts("mariadb", None, location="a place")
    assert watch.names == ()
    pooled.close()
    engine.dispose()


def test_the_question_for_the_name_leaves_no_transaction_and_ends_none(watching: Watching) -> None:
    one = watching("postgresql")
    assert one.watch.names == {one.name}
    assert one.driver.inner.info.transaction_status == 0
    one.send("CREATE TABLE mine (id int)")
    assert one.watch.names == {one.name}
    one.send("SELECT * FROM mine")


def test_of_an_unknown_kind_of_server_nothing_is_asked_and_nothing_allowed() -> None:
    watch = ServerWatch(object(), "mssql", "a place", OpenPermits())
    assert watch.identify() == Facts("mssql", None, location="a place")
    assert watch.names == ()
    assert not watch.is_free_for_own(("mine",))
    watch.note_creation(("mine",))
    with pytest.raises(DestructiveOperationError, match=r"^Refused to drop table mine on a place\."):
        watch.check([drop("mine")])


def test_nothing_is_asked_where_nothing_is_lost() -> None:
    ServerWatch(object(), "postgresql", "a place", OpenPermits()).check([])


def test_what_is_there_is_refused_and_what_is_not_there_is_not(kept: Watched) -> None:
    error = kept.refusal(drop("users"), drop("never_was"), drop("orders"))
    assert error.what == f"Refused to drop tables users, orders in database {kept.name} on a place."
    assert f'the database "{kept.name}" is not disposable' in error.why
    assert error.fix[-1].endswith(f'allow_destructive(engine, database="{kept.name}", reason="...")')
    kept.watch.check([drop("never_was")])
    kept.watch.check([drop("a", "b", ask=("never_was", "never_was_either"))])
    kept.refusal(drop("a", "b", ask=("never_was", "users")))
    kept.refusal(drop("a", "b", ask=("users", "never_was")))
    kept.refusal(drop("never_was", ask=()))


def test_in_a_test_database_everything_may_go_but_what_is_the_servers(watching: Watching, kept: Watched) -> None:
    test = watching(kept.database.kind, "test")
    test.watch.check([drop("users"), drop("anything", ask=())])
    error = test.refusal(Destruction("drop role", "drop", ("somebody",), server_wide=True))
    assert error.what == "Refused to drop role somebody on the whole server of a place."
    assert "what belongs to the whole server is not disposable" in error.why
    assert error.fix[-1].endswith(f'(engine, database="{test.name}", objects=["somebody"], reason="...")')


def test_what_is_elsewhere_is_judged_by_where_it_is(on_mariadb: Watched) -> None:
    here = on_mariadb.name
    for loss, told, named in (
        (drop("shop.users", database="shop", ask=()), "drop table shop.users in database shop", "shop.users"),
        (drop("`shop`.users", database="shop", ask=()), "drop table `shop`.users in database shop", "`shop`.users"),
        (drop("users", database="shop", ask=()), "drop table users in database shop", "shop.users"),
        (Destruction("drop database", "drop", ("shop",), database="shop"), "drop database shop", "shop"),
    ):
        error = on_mariadb.refusal(loss)
        assert error.what == f"Refused to {told} on the server of a place."
        assert 'the database "shop" is not disposable' in error.why
        assert error.fix[-1].endswith(f'(engine, database="{here}", objects=["{named}"], reason="...")')
        on_mariadb.watch.check([drop("test_shop.users", database="test_shop", ask=())])
    error = on_mariadb.refusal(drop("users", database=here), drop("shop.a", database="shop", ask=()))
    assert error.what.startswith(f"Refused to drop table users in database {here} on a place; drop table shop.a in ")
    assert 'objects=["shop.a"]' in error.fix[-1]


def test_from_a_test_database_nothing_goes_elsewhere(watching: Watching) -> None:
    test = watching("mariadb", "test")
    test.refusal(drop("shop.users", database="shop", ask=()))
    test.watch.check([drop("users", database=test.name, ask=())])


def test_drop_all_is_weighed_as_a_whole(kept: Watched, caplog: pytest.LogCaptureFixture) -> None:
    metadata = MetaData()
    tables = [Table(name, metadata) for name in ("users", "orders", "never_was")]
    with pytest.raises(DestructiveOperationError) as caught:
        kept.watch.check_drop_all(tables)
    assert caught.value.what == f"Refused to drop tables users, orders in database {kept.name} on a place."
    kept.watch.check_drop_all([])
    kept.watch.check_drop_all(tables[2:])
    with kept.permit(operations="drop table", objects=["users", "orders"]) as permit:
        kept.watch.grant(permit)
        kept.watch.check_drop_all(tables)
        kept.watch.grants.tell_uses()
    assert "permitted" not in caplog.text


def test_a_schema_of_postgresql_is_no_database_in_drop_all(watching: Watching) -> None:
    one = watching("postgresql")
    one.watch.check_drop_all([Table("users", MetaData(), schema="stock")])
    with pytest.raises(DestructiveOperationError) as caught:
        one.watch.check_drop_all([Table("users", MetaData(), schema="public")])
    assert caught.value.what == f"Refused to drop table public.users in database {one.name} on a place."


def test_a_schema_of_mariadb_is_a_database_in_drop_all(watching: Watching, on_mariadb: Watched) -> None:
    on_mariadb.watch.check_drop_all([Table("never_was", MetaData(), schema=on_mariadb.name)])
    test = watching("mariadb", "test")
    with pytest.raises(DestructiveOperationError) as caught:
        test.watch.check_drop_all([Table("users", MetaData(), schema=on_mariadb.name)])
    told = f"Refused to drop table {on_mariadb.name}.users in database {on_mariadb.name} on the server of a place."
    assert caught.value.what == told


def test_a_table_that_only_says_it_is_temporary_is_refused_in_drop_all(kept: Watched) -> None:
    table = Table("users", MetaData(), prefixes=["TEMPORARY"])
    with pytest.raises(DestructiveOperationError, match="drop table users"):
        kept.watch.check_drop_all([table])
    kept.send("CREATE TEMPORARY TABLE users (id int)")
    kept.watch.check_drop_all([table])


def test_a_view_of_the_metadata_is_a_view_in_drop_all(kept: Watched) -> None:
    metadata = MetaData()
    users = Table("users", metadata, Column("id", Integer))
    if not hasattr(users, "is_view"):
        pytest.skip("SQLAlchemy 2.1 brought views")
    from sqlalchemy import CreateView, select  # noqa: PLC0415  # SQLAlchemy 2.1

    everybody = CreateView(select(users), "everybody", metadata=metadata).table
    with pytest.raises(DestructiveOperationError, match=r"^Refused to drop view everybody in "):
        kept.watch.check_drop_all([everybody])
    with pytest.raises(DestructiveOperationError, match=r"^Refused to drop view everybody, drop table users in "):
        kept.watch.check_drop_all([everybody, users])
    with kept.permit(operations="drop view") as permit:
        kept.watch.grant(permit)
        kept.watch.check_drop_all([everybody])
    if kept.database.kind == "mariadb":
        kept.send("CREATE TEMPORARY TABLE everybody (id int)")
        with pytest.raises(DestructiveOperationError, match="drop view everybody"):
            kept.watch.check_drop_all([everybody])


def test_the_projects_own_names_of_test_databases_count(watching: Watching) -> None:
    Path("pyproject.toml").write_text('[tool.engineroom]\ntest_names = ["my_test_*"]\n')
    test = watching("mariadb", "test")
    test.refusal(drop("users"))
    assert test.watch.is_free_for_own(("mine",))


def test_a_table_of_ones_own_may_go_until_it_is_forgotten(kept: Watched) -> None:
    called: list[None] = []
    kept.watch.when_created = lambda: called.append(None)
    assert not kept.watch.is_free_for_own(("users",))
    assert called == []
    kept.create("mine")
    kept.create("mine_too")
    assert len(called) == 1
    kept.watch.check([drop("mine"), drop("mine_too")])
    kept.watch.forget_creations()
    kept.refusal(drop("mine"))
    kept.watch.note_creation(("mine",))
    assert len(called) == 2
    kept.watch.check([drop("mine")])


def test_a_table_of_ones_own_needs_nobody_who_hears_of_it(kept: Watched) -> None:
    kept.create("mine")
    kept.watch.check([drop("mine")])


def test_whether_it_matters_what_is_created_is_asked_once(watching: Watching, kept: Watched) -> None:
    test = watching(kept.database.kind, "test")
    assert not test.watch.is_free_for_own(("mine",))
    assert not test.watch.is_free_for_own(("mine_too",))
    assert len(test.driver.questions) == 1
    assert kept.watch.is_free_for_own(("mine",))
    assert kept.watch.is_free_for_own(("mine_too",))
    assert len(kept.driver.questions) == 3


@pytest.mark.parametrize("operation", ["drop table", "rename table", "convert table"])
@pytest.mark.parametrize("name", ["mine", "MINE"])
def test_a_name_that_is_gone_on_mariadb_is_not_ones_own_any_more(
    operation: str, name: str, on_mariadb: Watched
) -> None:
    on_mariadb.create("mine")
    on_mariadb.create("mine_too")
    asked = (ObjectName("table", (on_mariadb.name, name), name),)
    on_mariadb.watch.settle([Destruction("truncate table", "truncate", (name,), ask=asked)])
    on_mariadb.watch.check([drop("mine")])
    on_mariadb.watch.settle([Destruction(operation, "drop", (name,), ask=asked)])
    on_mariadb.refusal(drop("mine"))
    on_mariadb.watch.check([drop("mine_too")])


def test_a_name_in_other_letters_is_not_ones_own_any_more_either(on_mariadb: Watched) -> None:
    on_mariadb.create("`Mine`")
    on_mariadb.watch.note_creation(("Mine",))
    on_mariadb.watch.check([drop("Mine")])
    on_mariadb.watch.settle([drop("mine")])
    on_mariadb.refusal(drop("Mine"))
    on_mariadb.send("DROP TABLE `Mine`")


def test_a_number_stays_ones_own_on_postgresql(watching: Watching) -> None:
    one = watching("postgresql")
    one.create("mine")
    one.watch.settle([drop("mine")])
    one.watch.check([drop("mine")])


def test_a_permit_is_told_of_once_the_statement_ran(kept: Watched, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    loss = drop("users", "orders")
    with kept.permit() as permit:
        kept.watch.grant(permit)
        kept.watch.check([drop("never_was"), loss, Destruction("computed statement", "unreadable")])
        assert caplog.messages == []
        kept.watch.settle([loss])
        told = f"permitted on database {kept.name}: {{}} (reason: the shop closes)"
        assert caplog.messages == [told.format(what) for what in ("drop table users, orders", "computed statement")]
        kept.watch.revoke(permit)
        kept.refusal(loss)


PERMITS: dict[str, tuple[dict[str, Any], Destruction, bool]] = {
    "its operation": ({"operations": "drop table"}, drop("users"), True),
    "its kind": ({"operations": "discard"}, Destruction("let go of a table", "discard", ("users",)), True),
    "its kind without a name": ({"operations": "unreadable"}, Destruction("computed statement", "unreadable"), True),
    "its operation without a name": (
        {"operations": "computed statement"},
        Destruction("computed statement", "x"),
        True,
    ),
    "another operation": ({"operations": "truncate"}, drop("users"), False),
    "its objects": ({"objects": ["users", "orders"]}, drop("users", "orders"), True),
    "the first of its objects": ({"objects": "users"}, drop("users", "orders"), False),
    "the last of its objects": ({"objects": "orders"}, drop("users", "orders"), False),
    "an object of what has no name": ({"objects": "users"}, Destruction("computed statement", "unreadable"), False),
    "the table of a column": ({"objects": "users"}, drop("users.email", ask=("users",)), True),
    "the table of another column": ({"objects": "users"}, drop("users2.email", ask=("users",)), False),
    "the column of a table": ({"objects": "users.email"}, drop("users"), False),
    "another database": ({"database": "shop"}, drop("users"), False),
}


@pytest.mark.parametrize(("narrow", "loss", "is_covered"), PERMITS.values(), ids=PERMITS)
def test_a_permit_covers(narrow: dict[str, Any], loss: Destruction, is_covered: bool, kept: Watched) -> None:
    with kept.permit(**narrow) as permit:
        kept.watch.grant(permit)
        if is_covered:
            kept.watch.check([loss])
        else:
            assert kept.refusal(loss).why.endswith("The permit that is open here does not cover this.")


ELSEWHERE: dict[str, tuple[dict[str, Any], Destruction, bool]] = {
    "no object": ({}, drop("shop.users", database="shop", ask=()), False),
    "its object": ({"objects": "shop.users"}, drop("shop.users", database="shop", ask=()), True),
    "its object, as it is written": ({"objects": "`shop`.users"}, drop("`shop`.users", database="shop", ask=()), True),
    "its object behind a USE": ({"objects": "shop.users"}, drop("users", database="shop", ask=()), True),
    "the same name behind a USE": ({"objects": "users"}, drop("users", database="shop", ask=()), False),
    "the database": ({"objects": "shop"}, Destruction("drop database", "drop", ("shop",), database="shop"), True),
    "a USE of where it is": ({"objects": "users"}, drop("users", database="here"), True),
    "what is the server's": ({}, Destruction("drop role", "drop", ("somebody",), server_wide=True), False),
    "its name": ({"objects": "somebody"}, Destruction("drop role", "drop", ("somebody",), server_wide=True), True),
}


@pytest.mark.parametrize(("narrow", "loss", "is_covered"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_permit_covers_what_is_elsewhere_only_by_its_name(
    narrow: dict[str, Any], loss: Destruction, is_covered: bool, on_mariadb: Watched
) -> None:
    with on_mariadb.permit(**narrow) as permit:
        loss = replace(loss, database=loss.database and loss.database.replace("here", on_mariadb.name))
        on_mariadb.watch.grant(permit)
        if is_covered:
            on_mariadb.watch.check([loss])
        else:
            on_mariadb.refusal(loss)


def test_a_permit_that_is_open_for_others_is_told_of(kept: Watched) -> None:
    assert "permit is open" not in kept.refusal(drop("users")).why
    with kept.permit() as permit:
        kept.permits.open(permit, kept.engine)
        assert "A permit is open, but not for this connection" in kept.refusal(drop("users")).why
