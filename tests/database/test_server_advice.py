"""The page on protecting a server, tried: its SQL is run, and every cell of its tables is what a real server does."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import engineroom
from engineroom import DestructiveOperationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "protect-a-server.md").read_text("utf-8")
KINDS = ("postgresql", "mariadb")
BLOCKS = dict(zip(KINDS, re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL), strict=True))
TABLES = dict(zip(KINDS, re.split(r"^On (?:PostgreSQL|MariaDB):$", PAGE, flags=re.MULTILINE)[1:], strict=True))
COLUMNS = ("role without ownership", "read-only session", "guard")
CELLS = [
    pytest.param(kind, row[0], column, cell, id=f"{kind}: {row[0]}, {column}")
    for kind, table in TABLES.items()
    for row in re.findall(r"^\| `(.+?)`.*? \| (\w+) \| (\w+) \| (\w+) \|$", table, flags=re.MULTILINE)
    for column, cell in zip(COLUMNS, row[1:], strict=True)
]
PURGE = """
CREATE FUNCTION purge() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN DROP TABLE users; END $$
"""


class Shop:
    """A database with the roles of the page."""

    def __init__(self, kind: str, maintenance: URL) -> None:
        self.kind = kind
        self.name = f"engineroom_shop_{secrets.token_hex(3)}"
        self.maintenance = maintenance
        self.url = maintenance.set(database=self.name)

    def fill(self, sql: str) -> str:
        return sql.replace("shop", self.name)

    def send(self, url: URL, *statements: str, **options: Any) -> None:
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", **options)
        with engine.connect() as connection:
            for statement in statements:
                connection.execution_options(no_parameters=True).exec_driver_sql(statement)

    def url_of(self, role: str) -> URL:
        secret = "<another secret>" if role == "app" else "<secret>"
        return self.url.set(username=f"{self.name}_{role}", password=secret)

    def build(self) -> None:
        self.send(self.maintenance, f"CREATE DATABASE {self.name}")
        self.send(self.url, *(self.fill(one) for one in BLOCKS[self.kind].split(";\n") if one))
        if self.kind == "mariadb":  # a server may have an anonymous account for localhost, which comes before '%'
            self.send(
                self.url, *(self.fill(one).replace("'%'", "localhost") for one in BLOCKS["mariadb"].split(";\n") if one)
            )
        self.rebuild()

    def rebuild(self) -> None:
        world = ["CREATE TABLE users (id int, email varchar(20))", "INSERT INTO users VALUES (1, 'a@example.org')"]
        if self.kind == "postgresql":
            drop = "DROP SCHEMA public CASCADE"
            schema = self.fill("CREATE SCHEMA public AUTHORIZATION shop_owner")
            grants = [self.fill(one) for one in BLOCKS[self.kind].split(";\n") if "SCHEMA public" in one]
            self.send(self.url, drop, schema, *grants)
            world.append(PURGE)
        else:
            self.send(self.maintenance, f"DROP DATABASE {self.name}", f"CREATE DATABASE {self.name}")
        self.send(self.url_of("owner"), *world)

    def fingerprint(self) -> str:
        engine = create_engine(self.url, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                return repr(connection.exec_driver_sql("SELECT * FROM users").mappings().all())
        except DBAPIError:
            return "gone"

    def remove(self) -> None:
        force = " WITH (FORCE)" if self.kind == "postgresql" else ""
        self.send(self.maintenance, f"DROP DATABASE IF EXISTS {self.name}{force}")
        for role in ("owner", "app"):
            if self.kind == "postgresql":
                self.send(self.maintenance, f"DROP ROLE IF EXISTS {self.name}_{role}")
            else:
                for host in ("'%'", "localhost"):
                    self.send(self.maintenance, f"DROP USER IF EXISTS {self.name}_{role}@{host}")


@pytest.fixture(scope="module")
def shops(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Shop]]:
    """Return a function that gives the shop of a kind of server."""
    made: dict[str, Shop] = {}

    class Made(dict[str, Shop]):
        def __missing__(self, kind: str) -> Shop:
            shop = Shop(kind, request.getfixturevalue(f"{kind}_url"))
            made[kind] = self[kind] = shop
            shop.build()
            return shop

    yield Made()
    for shop in made.values():
        shop.remove()


def attempt(shop: Shop, column: str, statements: list[str]) -> str:
    """Send statements as a column says; return what happened."""
    url = shop.url
    options: dict[str, Any] = {"poolclass": NullPool}
    if column == COLUMNS[0]:
        url = shop.url_of("app")
    elif column == COLUMNS[1] and shop.kind == "postgresql":
        options["execution_options"] = {"postgresql_readonly": True}
    elif column == COLUMNS[1]:
        options["connect_args"] = {"init_command": "SET SESSION TRANSACTION READ ONLY"}
    engine = create_engine(url, **options)
    if column == COLUMNS[2]:
        engineroom.guard(engine)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    except (DBAPIError, DestructiveOperationError):
        return "stopped"
    return "passes"


@pytest.mark.parametrize(("kind", "statement", "column", "cell"), CELLS)
def test_each_cell_of_the_page_is_what_the_server_does(
    kind: str, statement: str, column: str, cell: str, shops: Mapping[str, Shop]
) -> None:
    shop = shops[kind]
    if not (before := shop.fingerprint()).startswith("[{"):
        shop.rebuild()
        before = shop.fingerprint()
    assert attempt(shop, column, shop.fill(statement).split("; ")) == cell
    if cell == "stopped":
        assert shop.fingerprint() == before
    else:
        shop.rebuild()


def test_the_tables_of_the_page_are_read() -> None:
    assert len(CELLS) == 3 * (9 + 8)
    assert {cell.values[3] for cell in CELLS} == {"stopped", "passes"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_owner_migrates_and_the_application_works_with_rows(kind: str, shops: Mapping[str, Shop]) -> None:
    shop = shops[kind]
    shop.rebuild()
    shop.send(shop.url_of("owner"), "CREATE TABLE invoices (id int)", "ALTER TABLE invoices ADD COLUMN note varchar(9)")
    shop.send(shop.url_of("app"), "INSERT INTO invoices VALUES (1, 'a')", "UPDATE invoices SET id = 2", "SELECT 1")
    shop.send(shop.url_of("owner"), "DROP TABLE invoices")


def test_a_role_that_is_read_only_by_default_is_stopped_until_it_says_otherwise(shops: Mapping[str, Shop]) -> None:
    shop = shops["postgresql"]
    shop.rebuild()
    shop.send(shop.url, shop.fill("ALTER ROLE shop_app SET default_transaction_read_only = on"))
    try:
        with pytest.raises(DBAPIError, match="read-only"):
            shop.send(shop.url_of("app"), "DELETE FROM users")
        shop.send(shop.url_of("app"), "SET default_transaction_read_only = off", "DELETE FROM users")
    finally:
        shop.send(shop.url, shop.fill("ALTER ROLE shop_app RESET default_transaction_read_only"))
