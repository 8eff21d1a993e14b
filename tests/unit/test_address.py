"""What a URL reaches, by the driver's final arguments: tables first, then properties."""

from __future__ import annotations

import inspect
import os
import warnings
from pathlib import Path, PurePosixPath
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import URL, make_url

from engineroom._address import (
    Address,
    address_of,
    address_of_arguments,
    fit_name,
    is_local,
    sqlite_address,
)
from engineroom._address import test_twin as twin_of
from engineroom._address._reading import KNOWN_DRIVERS
from engineroom._address.conninfo import read_asyncpg_dsn, read_conninfo
from engineroom._address.server import server_address
from engineroom.errors import InvalidSettingError

MEMORY = Address("sqlite", "pysqlite", None, in_memory=True)
MEMORY_URI = Address("sqlite", "pysqlite", None, in_memory=True, uri=True)
UNKNOWN_URI = Address("sqlite", "pysqlite", None, uri=True, switched=True)


def file(name: str) -> Address:
    return Address("sqlite", "pysqlite", name)


def uri_file(name: str, *, read_only: bool = False) -> Address:
    return Address("sqlite", "pysqlite", name, uri=True, read_only=read_only)


# --- SQLite -------------------------------------------------------------------------------------------------------

PLAIN_NAMES = {
    ":memory:": MEMORY,
    "": MEMORY,
    "shop.db": file("shop.db"),
    "./sub/../shop.db": file("./sub/../shop.db"),
    "/srv/shop.db": file("/srv/shop.db"),
    ":Memory:": file(":Memory:"),
    " :memory:": file(" :memory:"),
    ":memory:?cache=shared": file(":memory:?cache=shared"),
    "file::memory:": file("file::memory:"),
    "file:shop.db?mode=memory": file("file:shop.db?mode=memory"),
    "shop%20one.db": file("shop%20one.db"),
}

URI_NAMES = {
    # Without the prefix, or with another one, it is the name of a file.
    "shop.db": uri_file("shop.db"),
    "shop.db?mode=memory": uri_file("shop.db?mode=memory"),
    "File:shop.db?mode=memory": uri_file("File:shop.db?mode=memory"),
    " file:shop.db": uri_file(" file:shop.db"),
    ":memory:": MEMORY_URI,
    "": MEMORY_URI,
    # The path, relative or not, with and without an authority.
    "file:shop.db": uri_file("shop.db"),
    "file:./shop.db": uri_file("./shop.db"),
    "file:/srv/shop.db": uri_file("/srv/shop.db"),
    "file:///srv/shop.db": uri_file("/srv/shop.db"),
    "file://localhost/srv/shop.db": uri_file("/srv/shop.db"),
    "file:////srv/shop.db": uri_file("//srv/shop.db"),
    "file://": MEMORY_URI,
    "file://localhost": MEMORY_URI,
    "file:shop%20one.db": uri_file("shop one.db"),
    "file:sh%C3%B6p.db": uri_file("shöp.db"),
    "file:a%3Fmode=memory": uri_file("a?mode=memory"),
    "file:a%23b": uri_file("a#b"),
    "file:100%.db": uri_file("100%.db"),
    "file:shop.db%00test_a.db": uri_file("shop.db"),
    "file:%00test_a.db": MEMORY_URI,
    "file:shop.db#test_a.db": uri_file("shop.db"),
    "file:shop.db#?mode=memory": uri_file("shop.db"),
    "file:shop.db?mode=rwc#&mode=memory": uri_file("shop.db"),
    # An authority that SQLite refuses: nothing is opened.
    "file://server/srv/shop.db": UNKNOWN_URI,
    "file://LOCALHOST/srv/shop.db": UNKNOWN_URI,
    "file://127.0.0.1/srv/shop.db": UNKNOWN_URI,
    # In memory.
    "file::memory:": MEMORY_URI,
    "file::memory:?cache=shared": MEMORY_URI,
    "file:%3Amemory%3A": MEMORY_URI,
    "file:": MEMORY_URI,
    "file:?cache=shared": MEMORY_URI,
    "file:shop.db?mode=memory": MEMORY_URI,
    "file:shop.db?cache=shared&mode=memory": MEMORY_URI,
    "file:shop.db?mode=ro&mode=memory": MEMORY_URI,
    "file:shop.db?m%6Fde=memor%79": MEMORY_URI,
    "file:shop.db?mode=memory%00ro": MEMORY_URI,
    "file:shop.db?&mode=memory": MEMORY_URI,
    "file:shop.db?=x&mode=memory": MEMORY_URI,
    "file:/shop?vfs=memdb": MEMORY_URI,
    "file:shop.db?vfs=unix&vfs=memdb": MEMORY_URI,
    # Not in memory, though it looks like it.
    "file:shop.db?mode=memory&mode=rwc": uri_file("shop.db"),
    "file:shop.db?Mode=memory": uri_file("shop.db"),
    "file:shop.db? mode=memory": uri_file("shop.db"),
    "file:shop.db?x=mode=memory": uri_file("shop.db"),
    "file:shop.db?x=1?mode=memory": uri_file("shop.db"),
    "file:shop.db?cache=memory": uri_file("shop.db"),
    "file:shop.db?vfs=memdb&vfs=unix": uri_file("shop.db"),
    "file:shop.db?VFS=memdb": uri_file("shop.db"),
    "file:shop.db?vfs=unix-none": uri_file("shop.db"),
    # Nobody can tell: SQLite refuses the mode, and a VFS that we do not know may open anything.
    "file:shop.db?mode=MEMORY": UNKNOWN_URI,
    "file:shop.db?mode=": UNKNOWN_URI,
    "file:shop.db?mode=('ro', 'memory')": UNKNOWN_URI,
    "file:test_shop.db?vfs=multiplex": UNKNOWN_URI,
    # For reading only.
    "file:shop.db?mode=ro": uri_file("shop.db", read_only=True),
    "file:shop.db?mode=rw&mode=ro": uri_file("shop.db", read_only=True),
    "file:shop.db?immutable=1": uri_file("shop.db", read_only=True),
    "file:shop.db?immutable=TRUE": uri_file("shop.db", read_only=True),
    "file:shop.db?mode=ro&mode=rw": uri_file("shop.db"),
    "file:shop.db?immutable=0": uri_file("shop.db"),
    "file:shop.db?immutable=0&immutable=1": uri_file("shop.db"),
    "file:shop.db?immutable=1&immutable=0": uri_file("shop.db"),
    "file:shop.db?immutable": uri_file("shop.db"),
    "file:shop.db?mode=rw": uri_file("shop.db"),
}


@pytest.mark.parametrize(("name", "address"), PLAIN_NAMES.items(), ids=PLAIN_NAMES)
def test_a_name_without_uri_is_a_file_or_memory(name: str, address: Address) -> None:
    assert sqlite_address(name, uri=False) == address


@pytest.mark.parametrize(("name", "address"), URI_NAMES.items(), ids=URI_NAMES)
def test_a_name_with_uri_is_read_as_sqlite_reads_it(name: str, address: Address) -> None:
    assert sqlite_address(name, uri=True) == address


@pytest.mark.parametrize("name", [b"shop.db", PurePosixPath("shop.db"), Path("shop.db"), "shop.db"], ids=repr)
def test_a_name_may_be_bytes_or_a_path(name: Any) -> None:
    assert sqlite_address(name, uri=False) == file("shop.db")


def test_bytes_that_are_no_text_survive() -> None:
    name = sqlite_address(b"shop\xff.db", uri=False).database
    assert name is not None
    assert os.fsencode(name) == b"shop\xff.db"
    assert sqlite_address("file:shop%FF.db", uri=True).database == name


SQLITE_URLS = {
    "sqlite://": MEMORY,
    "sqlite:///": MEMORY,
    "sqlite:///:memory:": MEMORY,
    "sqlite:///shop.db?mode=memory": "{cwd}/shop.db",
    "sqlite:///file::memory:?cache=shared": "{cwd}/file::memory:",
    "sqlite:///file:shop.db?mode=memory": "{cwd}/file:shop.db",
    "sqlite:///shop.db": "{cwd}/shop.db",
    "sqlite+pysqlite:///shop.db": "{cwd}/shop.db",
    "sqlite:////srv/shop.db": "/srv/shop.db",
    "sqlite:///shop.db?timeout=5": "{cwd}/shop.db",
    "sqlite:///shop.db?uri=false&mode=memory": "{cwd}/shop.db",
    "sqlite:///shop.db?uri=true": uri_file("shop.db"),
    "sqlite:///shop.db?uri=true&mode=memory": uri_file("shop.db?mode=memory"),
    "sqlite:///file:shop.db?uri=true": uri_file("shop.db"),
    "sqlite:///file:/srv/shop.db?mode=ro&uri=true": uri_file("/srv/shop.db", read_only=True),
    "sqlite:///file:///srv/shop.db?uri=true": uri_file("/srv/shop.db"),
    "sqlite:///file://localhost/srv/shop.db?uri=true": uri_file("/srv/shop.db"),
    "sqlite:///file://server/srv/shop.db?uri=true": UNKNOWN_URI,
    "sqlite:///file:shop.db?mode=memory&cache=shared&uri=true": MEMORY_URI,
    "sqlite:///file::memory:?cache=shared&uri=true": MEMORY_URI,
    "sqlite:///file:/shop?vfs=memdb&uri=true": MEMORY_URI,
    "sqlite:///file:shop.db?MODE=memory&uri=true": uri_file("shop.db"),
    "sqlite:///file:shop.db?mode=memory&uri= TRUE ": MEMORY_URI,
    "sqlite:///file:shop.db?mode=memory&mode=ro&uri=true": UNKNOWN_URI,
    "sqlite:///file:shop.db?mode=memory&uri=true&uri=true": MEMORY_URI,
}


@pytest.mark.parametrize("driver", ["pysqlite", "aiosqlite"])
@pytest.mark.parametrize(("url", "expected"), SQLITE_URLS.items(), ids=SQLITE_URLS)
def test_a_sqlite_url_reaches_what_its_driver_is_told_to_open(url: str, expected: Address | str, driver: str) -> None:
    if driver == "aiosqlite":
        url = url.replace("sqlite+pysqlite:", "sqlite:").replace("sqlite:", "sqlite+aiosqlite:", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # whoever makes the engine may warn, not who only asks
        address = address_of(make_url(url))
    if isinstance(expected, str):
        expected = file(expected.format(cwd=Path.cwd()))
    assert (address.driver, address.backend) == (driver, "sqlite")
    compared = ("database", "in_memory", "uri", "read_only", "switched")
    assert [getattr(address, name) for name in compared] == [getattr(expected, name) for name in compared]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///shop.db?uri=banana",
        "sqlite://?uri=true&mode=memory",
        "sqlite://user:pw@host/test_shop.db",
        "sqlite:///test_shop.db?timeout=soon",
        "sqlite+pysqlcipher://:pw@/test_shop.db",
        "sqlite+libsql://test_shop.example.org",
        "sqlite+nonsense:///test_shop.db",
    ],
)
def test_a_sqlite_url_that_no_driver_or_an_unknown_one_takes_is_unknown(url: str) -> None:
    address = address_of(make_url(url))
    assert address.switched or address.database == f"{Path.cwd()}/test_shop.db"
    assert not address.in_memory


@pytest.mark.parametrize(
    ("connect_args", "database", "in_memory"),
    [
        ({"database": "other.db"}, "other.db", False),
        ({"database": b"other.db"}, "other.db", False),
        ({"database": Path("other.db")}, "other.db", False),
        ({"database": ":memory:"}, None, True),
        ({"database": "file:other.db?mode=memory", "uri": True}, None, True),
        ({"database": "file:other.db", "uri": 1}, "other.db", False),
        ({"uri": True}, "{cwd}/shop.db", False),
        ({"timeout": 3}, "{cwd}/shop.db", False),
        ({}, "{cwd}/shop.db", False),
        (None, "{cwd}/shop.db", False),
    ],
)
def test_connect_args_win_over_a_sqlite_url(
    connect_args: dict[str, Any] | None, database: str | None, in_memory: bool
) -> None:
    address = address_of(make_url("sqlite:///shop.db"), connect_args)
    assert address.database == (database and database.format(cwd=Path.cwd()))
    assert address.in_memory is in_memory
    assert not address.switched


def test_an_unknown_sqlite_file_still_has_its_backend_and_driver() -> None:
    for address in (
        address_of_arguments("sqlite", "aiosqlite", [3], {}),
        address_of_arguments("sqlite", "aiosqlite", ["file:a.db"], {}),
    ):
        assert address == Address("sqlite", "aiosqlite", None, switched=True)


@pytest.mark.parametrize("args", [{"database": 3}, {"database": None}, {"async_creator_fn": print}], ids=str)
def test_connect_args_that_tell_no_file_are_unknown(args: dict[str, Any]) -> None:
    assert address_of(make_url("sqlite+aiosqlite:///test_shop.db"), args).switched


def test_a_uri_that_was_not_asked_for_is_unknown_since_some_builds_of_sqlite_read_it_nevertheless() -> None:
    assert address_of_arguments("sqlite", "pysqlite", ["file:shop.db?x=/test_a.db"], {}).switched
    assert address_of_arguments("sqlite", "aiosqlite", [], {"database": "file:test_a.db"}).switched


def test_the_arguments_of_sqlite3_connect_may_be_positional() -> None:
    arguments = ["file:shop.db?mode=ro", 5.0, 0, "", True, None, 128, True]
    assert address_of_arguments("sqlite", "pysqlite", arguments, {}) == uri_file("shop.db", read_only=True)
    assert address_of_arguments("sqlite", "pysqlite", arguments[:7], {}).switched
    assert address_of_arguments("sqlite", "pysqlite", [], {}).switched


# --- servers ------------------------------------------------------------------------------------------------------

SERVER_URLS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    # PostgreSQL by libpq
    "postgresql+psycopg://app:pw@db.example.org:5432/shop": ("shop", ("db.example.org",)),
    "postgresql+psycopg2://localhost/shop": ("shop", ("localhost",)),
    "postgresql+psycopg_async://localhost/shop": ("shop", ("localhost",)),
    "postgresql+psycopg:///shop": ("shop", ()),
    "postgres://localhost/shop": ("shop", ("localhost",)),
    "postgresql://localhost/shop": ("shop", ("localhost",)),
    "postgresql+psycopg://localhost/test_shop?dbname=shop": ("shop", ("localhost",)),
    "postgresql+psycopg2://localhost/?dbname=shop": ("shop", ("localhost",)),
    "postgresql+psycopg2://localhost/?database=shop": ("shop", ("localhost",)),
    "postgresql+psycopg://localhost/shop?hostaddr=10.0.0.7": ("shop", ("10.0.0.7",)),
    "postgresql+psycopg://localhost/shop?host=db.example.org": ("shop", ("db.example.org",)),
    "postgresql+psycopg:///shop?host=/run/postgresql": ("shop", ("/run/postgresql",)),
    "postgresql+psycopg://%2Frun%2Fpostgresql/shop": ("shop", ("%2Frun%2Fpostgresql",)),
    "postgresql+psycopg:///shop?host=a&host=b": ("shop", ("a", "b")),
    "postgresql+psycopg:///shop?host=a:1&host=b:2": ("shop", ("a", "b")),
    "postgresql+psycopg:///shop?host=a,b&port=1,2": ("shop", ("a", "b")),
    "postgresql+psycopg:///shop?host=a,b&hostaddr=10.0.0.1,10.0.0.2": ("shop", ("10.0.0.1", "10.0.0.2")),
    "postgresql+psycopg:///shop?host=a,b&hostaddr=,10.0.0.2": ("shop", ("a", "10.0.0.2")),
    "postgresql+psycopg://[::1]/shop": ("shop", ("::1",)),
    "postgresql+psycopg://localhost/shop?options=-c%20search_path%3Dtest_a": ("shop", ("localhost",)),
    "postgresql+psycopg://localhost/shop?passfile=/x&sslmode=require": ("shop", ("localhost",)),
    # asyncpg, pg8000
    "postgresql+asyncpg://localhost/test_shop?database=shop": ("shop", ("localhost",)),
    "postgresql+asyncpg:///shop?host=a:1&host=b:2": ("shop", ("a", "b")),
    "postgresql+asyncpg://db/shop?host=/run/postgresql": ("shop", ("/run/postgresql",)),
    "postgresql+pg8000://db/shop": ("shop", ("db",)),
    "postgresql+pg8000://db/shop?unix_sock=/run/.s.PGSQL.5432": ("shop", ("/run/.s.PGSQL.5432",)),
    # MySQL and MariaDB
    "mysql+pymysql://db/shop": ("shop", ("db",)),
    "mysql://db/shop": ("shop", ("db",)),
    "mariadb://db/shop": ("shop", ("db",)),
    "mariadb+pymysql://db/shop": ("shop", ("db",)),
    "mysql+pymysql://db/test_shop?database=shop": ("shop", ("db",)),
    "mysql+pymysql://localhost/shop?host=db.example.org": ("shop", ("db.example.org",)),
    "mysql+pymysql://db/shop?unix_socket=/run/mysqld.sock": ("shop", ("/run/mysqld.sock",)),
    "mysql+aiomysql://db/shop?unix_socket=/run/mysqld.sock": ("shop", ("/run/mysqld.sock",)),
    "mysql+asyncmy://db/shop?unix_socket=/run/mysqld.sock": ("shop", ("/run/mysqld.sock",)),
    "mysql+mysqldb://db/shop?unix_socket=/run/mysqld.sock": ("shop", ("/run/mysqld.sock", "db")),
    "mysql+mysqlconnector://db/shop": ("shop", ("db",)),
    "mariadb+mariadbconnector://db/shop": ("shop", ("db",)),
    "mysql+aiomysql://db/test_shop?db=shop": ("shop", ("db",)),
    "mysql+asyncmy://db/shop": ("shop", ("db",)),
    "mysql+mysqldb://db/test_shop?db=shop": ("shop", ("db",)),
    "mysql+pymysql://db": (None, ("db",)),
    "mysql+pymysql://": (None, ()),
    # A name is as the driver gets it.
    "postgresql+psycopg://localhost/Test_Shop": ("Test_Shop", ("localhost",)),
    "mysql+pymysql://localhost/a b": ("a b", ("localhost",)),
}


@pytest.mark.parametrize(("url", "database", "hosts"), [(url, *rest) for url, rest in SERVER_URLS.items()])
def test_a_server_url_reaches_what_its_driver_is_told(url: str, database: str | None, hosts: tuple[str, ...]) -> None:
    address = address_of(make_url(url))
    assert (address.database, address.hosts, address.switched) == (database, hosts, False)
    backend, _, driver = url.partition(":")[0].removesuffix("_async").partition("+")
    assert address.backend == {"postgres": "postgresql"}.get(backend, backend)
    assert address.driver == driver if driver else address.driver
    assert not address.in_memory
    assert not address.read_only


HARMLESS_COMMANDS = [
    "SET NAMES utf8mb4",
    "set time_zone = '+00:00'",
    "SET SESSION sql_mode='ANSI', autocommit=1;",
    "SET @a = 1; SET @b = 'confuse'",
    " SET\tNAMES utf8 ; ",
]
SWITCHING_COMMANDS = [
    "USE shop",
    "use shop",
    "SET NAMES utf8; USE shop",
    "SET @a=1;use`shop`",
    "/*!USE shop*/",
    "SET @a=1 /*!; USE shop */",
    "SET STATEMENT max_statement_time=1 FOR USE shop",
    "CALL choose()",
    "EXECUTE IMMEDIATE CONCAT('US', 'E shop')",
    "PREPARE s FROM @x; EXECUTE s",
    "SET @a='x'; CREATE DATABASE a",
    "SETX",
    "# SET\nDROP DATABASE shop",
    "SET @a='\\'; DO 1; SET @b=\\'",
    "DROP DATABASE shop",
]


@pytest.mark.parametrize("command", HARMLESS_COMMANDS)
@pytest.mark.parametrize("driver", ["pymysql", "aiomysql", "asyncmy", "mysqldb"])
def test_a_first_command_that_only_sets_variables_switches_nothing(driver: str, command: str) -> None:
    address = address_of(make_url(f"mysql+{driver}://localhost/shop"), {"init_command": command})
    assert (address.database, address.switched) == ("shop", False)


@pytest.mark.parametrize("command", SWITCHING_COMMANDS)
@pytest.mark.parametrize("backend", ["mysql", "mariadb"])
def test_a_first_command_that_may_do_more_leaves_the_database_open(backend: str, command: str) -> None:
    url = URL.create(f"{backend}+pymysql", host="localhost", database="test_a", query={"init_command": command})
    address = address_of(url)
    assert (address.database, address.switched) == (None, True)


SWITCHING_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("mysql+pymysql://localhost", {"read_default_file": "~/.my.cnf"}),
    ("mysql+mysqldb://localhost/test_a", {"read_default_file": "~/.my.cnf"}),
    ("mysql+aiomysql://localhost/test_a", {"read_default_file": "~/.my.cnf"}),
    ("mysql+aiomysql://localhost/test_a?read_default_file=/etc/my.cnf", {}),
    ("mysql+asyncmy://localhost/?read_default_group=client", {}),
    ("mysql+mysqlconnector://localhost/test_a?option_files=/etc/my.cnf", {}),
    ("mysql+mysqlconnector://localhost/test_a", {"failover": ({"host": "db"},)}),
    ("mysql+asyncmy://localhost/test_a", {"sock": 3}),
    ("mysql+pymysql://localhost/test_a", {"init_command": b"SET NAMES utf8"}),
    ("mysql+aiomysql://localhost/test_a?sql_mode=''%3B%20USE%20shop", {}),
    ("mysql+pymysql://localhost/test_a?db=shop", {}),
    ("mysql+mysqldb://localhost/test_a?database=shop", {}),
    ("mysql+aiomysql://localhost/test_a", {"async_creator_fn": print}),
    ("mysql+pyodbc://localhost/test_a?odbc_connect=x", {}),
    ("mysql+pymysql://localhost/test_a", {"database": b"shop"}),
    ("mysql+pymysql://localhost/test_a", {"database": ["shop"]}),
    ("postgresql+asyncpg://localhost/test_a", {"server_settings": {"database": "shop"}}),
    ("postgresql+asyncpg://localhost/test_a", {"server_settings": "database=shop"}),
    ("postgresql+asyncpg://localhost/test_a", {"async_creator_fn": print}),
    ("postgresql+asyncpg://localhost/test_a?dbname=shop", {}),
    ("postgresql+psycopg2://localhost/test_a?database=shop", {}),
    ("postgresql+psycopg://localhost/test_a?dbname=shop&dbname=test_b", {}),
    ("postgresql+psycopg://localhost/dbname%3Dshop", {"dbname": "dbname=shop"}),
    ("postgresql+psycopg://localhost/test_a?dbname=host%3Ddb%20dbname%3Dshop", {}),
    ("postgresql+psycopg://localhost/test_a?dbname=postgresql://db/shop", {}),
    ("postgresql+psycopg://localhost", {}),
    ("postgresql+psycopg://localhost/", {}),
    ("postgresql+psycopg://", {}),
    ("postgresql+asyncpg://app@localhost", {}),
    ("postgresql+psycopg://localhost/?service=shop", {}),
    ("postgresql+psycopg://localhost/test_a", {"dbname": ""}),
    ("postgresql+asyncpg:///test_a?host=a&host=b", {}),
    ("postgresql+psycopg://localhost:1/test_a?host=a&port=x", {}),
    ("postgresql+psycopg2://localhost/test_a", {"dsn": "host=localhost dbname"}),
    ("postgresql+psycopg2://localhost/test_a", {"dsn": 3}),
    ("postgresql+psycopg://localhost/test_a", {"dsn": "dbname=a", "conninfo": "dbname=b"}),
    ("postgresql+pg8000://localhost/test_a", {"dsn": "dbname=a"}),
    ("mysql+pymysql://localhost/test_a", {"dsn": "x"}),
    ("postgresql+pygresql://localhost/test_a", {}),
    ("postgresql+nonsense://localhost/test_a", {}),
    ("oracle+oracledb://localhost/test_a", {}),
    ("mssql+pyodbc://localhost/test_a", {}),
    ("duckdb:///:memory:", {}),
    ("nonsense://localhost/test_a", {}),
]


@pytest.mark.parametrize(("url", "connect_args"), SWITCHING_ARGUMENTS, ids=str)
def test_arguments_that_leave_the_database_open_give_an_unknown_one(url: str, connect_args: dict[str, Any]) -> None:
    address = address_of(make_url(url), connect_args)
    assert (address.database, address.switched) == (None, True)
    assert address.backend == url.partition(":")[0].partition("+")[0]
    assert address.driver in {url.partition(":")[0].partition("+")[2], "psycopg", "psycopg2"}
    assert address.uri is False


def test_what_is_dialled_is_known_though_the_database_is_not() -> None:
    address = address_of(make_url("postgresql+psycopg2://db/test_a?database=shop&service=x"))
    assert (address.hosts, address.service, address.switched) == (("db",), True, True)


def test_connect_args_win_over_a_server_url() -> None:
    url = make_url("postgresql+psycopg://localhost/test_shop")
    address = address_of(url, {"dbname": "shop", "hostaddr": "10.0.0.7"})
    assert (address.database, address.hosts) == ("shop", ("10.0.0.7",))


DSNS = {
    "dbname=shop host=db": ("shop", ("db",)),
    "dbname = 'my shop'  host='a b'": ("my shop", ("a b",)),
    r"dbname=my\ shop": ("my shop", ()),
    r"dbname='it\'s'": ("it's", ()),
    "dbname=test_a dbname=shop": ("shop", ()),
    "postgresql://app:pw@db:5432/shop?connect_timeout=3": ("shop", ("db",)),
    "postgres://db1:1,db2:2/shop": ("shop", ("db1", "db2")),
    "postgresql://%2Frun%2Fpostgresql/shop": ("shop", ("/run/postgresql",)),
    "postgresql://[::1]:5432/shop": ("shop", ("::1",)),
    "postgresql:///test_a?dbname=shop&host=db": ("shop", ("db",)),
    "postgresql://app@/shop": ("shop", ()),
}


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize(("dsn", "database", "hosts"), [(dsn, *rest) for dsn, rest in DSNS.items()])
def test_a_connection_string_is_unfolded(driver: str, dsn: str, database: str, hosts: tuple[str, ...]) -> None:
    address = address_of_arguments("postgresql", driver, [dsn], {})
    assert (address.database, address.hosts) == (database, hosts)
    key = "conninfo" if driver == "psycopg" else "dsn"
    assert address_of_arguments("postgresql", driver, [], {key: dsn}) == address


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_a_connection_string_that_is_none_at_all_is_passed_over(driver: str, nothing: str | None) -> None:
    key = "database" if driver == "asyncpg" else "dbname"
    assert address_of_arguments("postgresql", driver, [nothing], {key: "shop"}).database == "shop"


@pytest.mark.parametrize(
    ("hosts", "dialled"),
    [
        ({"hostaddr": "10.0.0.7,", "host": "db"}, ("10.0.0.7",)),
        ({"hostaddr": ",10.0.0.7"}, ("10.0.0.7",)),
        ({"hostaddr": "10.0.0.7", "host": "a,b"}, ("10.0.0.7", "b")),
    ],
)
def test_a_host_is_dialled_by_its_number_where_there_is_one(hosts: dict[str, str], dialled: tuple[str, ...]) -> None:
    assert address_of_arguments("postgresql", "psycopg", [], {"dbname": "shop", **hosts}).hosts == dialled


def test_an_unknown_driver_is_unknown_to_its_arguments_too() -> None:
    assert address_of_arguments("oracle", "oracledb", ["x"], {}) == Address("oracle", "oracledb", None, switched=True)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_only_the_first_argument_is_a_connection_string(driver: str) -> None:
    assert address_of_arguments("postgresql", driver, ["dbname=shop", object], {}).database == "shop"


def test_the_user_of_a_connection_string_names_the_database_where_nothing_else_does() -> None:
    for driver, dsn in (
        ("psycopg", "postgresql://app:pw@h"),
        ("psycopg", "user=app"),
        ("asyncpg", "postgres://app:p:w@h"),
    ):
        assert address_of_arguments("postgresql", driver, [dsn], {}, {}).database == "app"


def test_an_empty_name_is_not_filled_in_from_the_process_environment() -> None:
    address = address_of_arguments("postgresql", "psycopg", [], {"dbname": "", "user": "app"}, {"PGDATABASE": "test_a"})
    assert address.switched


def test_a_url_without_its_driver_names_the_user_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_url("postgresql+psycopg://app@h")

    def refuse(*_args: object) -> None:
        raise ImportError

    monkeypatch.setattr(url.get_dialect(), "create_connect_args", refuse)
    assert address_of(url, environ={}).database == "app"


def test_keywords_win_over_a_connection_string() -> None:
    address = address_of_arguments(
        "postgresql", "psycopg2", ["dbname=test_a host=a"], {"database": "shop", "host": "b"}
    )
    assert (address.database, address.hosts) == ("shop", ("b",))
    address = address_of_arguments("postgresql", "asyncpg", ["postgres://a/test_a"], {"database": "shop"})
    assert (address.database, address.hosts) == ("shop", ("a",))


ASYNCPG_DSNS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "postgresql://app:pw@db:5432/shop": ("shop", ("db",)),
    "postgres://db/shop?sslmode=require&application_name=x": ("shop", ("db",)),
    "postgresql:///shop?host=/run/postgresql": ("shop", ("/run/postgresql",)),
    "postgresql://a:1,b:2/shop": ("shop", ("a", "b")),
    "postgresql:///?dbname=shop&host=a:1,[::1]:2": ("shop", ("a", "::1")),
    "postgresql://%2Frun%2Fpostgresql/shop": ("shop", ("/run/postgresql",)),
    # asyncpg takes the path, libpq the query: say nothing.
    "postgresql://db/shop?dbname=test_shop": (None, ()),
    "postgresql://db/shop?host=localhost": (None, ()),
    "postgresql://user@name:pw@db/shop": (None, ()),
    "postgresql://[::1]x/shop": (None, ()),
    "postgresql://[::1/shop": (None, ()),
    "postgresql://a,/shop": (None, ()),
    "postgresql://db/shop?novalue": (None, ()),
    "mysql://db/shop": (None, ()),
    "dbname=shop": (None, ()),
}


@pytest.mark.parametrize(("dsn", "database", "hosts"), [(dsn, *rest) for dsn, rest in ASYNCPG_DSNS.items()])
def test_asyncpgs_connection_string_is_unfolded(dsn: str, database: str | None, hosts: tuple[str, ...]) -> None:
    address = address_of_arguments("postgresql", "asyncpg", [dsn], {})
    assert (address.database, address.hosts, address.switched) == (database, hosts, database is None)


@pytest.mark.parametrize("dsn", ["dbname=shop host=[::1]:x", "postgresql://h:p/x", "postgresql://h/%zz", "a", "a='b"])
def test_a_connection_string_that_is_none_is_unknown(dsn: str) -> None:
    address = address_of_arguments("postgresql", "psycopg", [dsn], {})
    assert address.switched is (read_conninfo(dsn) is None or "dbname" not in (read_conninfo(dsn) or {}))


@pytest.mark.parametrize("dsn", ["postgresql:// db/shop", "postgresql://db/%00", "postgresql://db/shop?a=b=c"])
def test_what_versions_of_libpq_read_differently_is_unknown(dsn: str) -> None:
    assert read_conninfo(dsn) is None


def test_an_empty_connection_string_says_nothing() -> None:
    address = address_of_arguments("postgresql", "psycopg2", [""], {"dbname": "shop"})
    assert address.database == "shop"
    assert read_conninfo("  ") == {}
    assert read_asyncpg_dsn("postgresql://") == {}


@pytest.mark.parametrize(
    ("url", "environ", "database"),
    [
        ("postgresql+psycopg://localhost", {"PGDATABASE": "shop"}, "shop"),
        ("postgresql+asyncpg://localhost", {"PGDATABASE": "shop"}, "shop"),
        ("postgresql+psycopg://app@localhost", {"PGDATABASE": "shop"}, "shop"),
        ("postgresql+psycopg://app@localhost", {}, "app"),
        ("postgresql+psycopg://app@localhost", {"PGUSER": "other"}, "app"),
        ("postgresql+psycopg://localhost", {"PGUSER": "app"}, "app"),
        ("postgresql+psycopg://localhost/test_a", {"PGDATABASE": "shop"}, "test_a"),
        ("postgresql+psycopg://localhost/test_a", {"PGSERVICE": "shop"}, "test_a"),
        ("postgresql+psycopg://localhost", {}, None),
        ("postgresql+psycopg://app@localhost", {"PGSERVICE": "shop"}, None),
        ("postgresql+psycopg://app@localhost/?service=shop", {"PGDATABASE": "test_a"}, None),
        ("postgresql+psycopg://localhost", {"PGDATABASE": "host=db dbname=shop"}, None),
        ("mysql+pymysql://localhost", {"PGDATABASE": "shop"}, None),
    ],
)
def test_the_process_environment_fills_in_what_a_postgresql_url_leaves_out(
    url: str, environ: dict[str, str], database: str | None
) -> None:
    address = address_of(make_url(url), environ=environ)
    assert address.database == database
    assert address.switched is (database is None and url.startswith("postgresql"))


@pytest.mark.parametrize("url", ["postgresql+psycopg://app@localhost", "postgresql+psycopg://localhost"])
def test_without_the_process_environment_a_missing_name_is_unknown(url: str) -> None:
    assert address_of(make_url(url)).switched


def test_a_service_has_a_say_in_the_host() -> None:
    assert address_of(make_url("postgresql+psycopg:///shop?service=a")).service
    assert address_of(make_url("postgresql+psycopg:///shop"), environ={"PGSERVICE": "a"}).service
    assert not address_of(make_url("postgresql+psycopg:///shop"), environ={}).service
    assert not address_of(make_url("mysql+pymysql:///shop"), environ={"PGSERVICE": "a"}).service


@pytest.mark.parametrize(
    ("backend", "driver"), [(backend, driver) for backend in KNOWN_DRIVERS for driver in sorted(KNOWN_DRIVERS[backend])]
)
def test_a_url_reads_the_same_where_its_driver_is_missing(
    backend: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = URL.create(f"{backend}+{driver}", database="shop", query={} if backend == "sqlite" else {"host": "db"})
    before = address_of(url)

    def refuse(*_args: object) -> None:
        raise ImportError

    monkeypatch.setattr(url.get_dialect(), "create_connect_args", refuse)
    if backend != "sqlite":  # its drivers are always there
        assert address_of(url) == before
    assert before.database == "shop" or backend == "sqlite"


@pytest.mark.parametrize("driver", ["pymysql", "asyncmy"])
@pytest.mark.parametrize("option", ["read_default_file=~/.my.cnf", "read_default_group=shop"])
def test_an_option_file_that_only_fills_in_has_a_say_in_the_host_alone(driver: str, option: str) -> None:
    address = address_of(make_url(f"mysql+{driver}://localhost/shop?{option}"))
    assert (address.database, address.service, address.switched) == ("shop", True, False)
    assert not is_local(address, {})


# --- here or elsewhere --------------------------------------------------------------------------------------------

LOCAL_HOSTS = ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "::ffff:127.0.0.1"]
LOCAL_HOSTS += ["/run/postgresql", "@abstract", "0:0:0:0:0:0:0:1", "::1%lo"]
OTHER_HOSTS = ["db", "db.example.org", "10.0.0.7", "localhost.example.org", "127.0.0.1.example.org", "0.0.0.0", "::"]  # noqa: S104
OTHER_HOSTS += [
    "localhost:5432",
    "127.1",
    "::ffff:10.0.0.7",
    "xlocalhost",
    "mylocalhost",
    "local host",
    "run/postgresql",
]


@pytest.mark.parametrize("host", LOCAL_HOSTS)
def test_loopback_and_unix_sockets_are_local(host: str) -> None:
    assert is_local(Address("postgresql", "psycopg", "shop", hosts=(host,)), {})


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_any_other_host_is_not_local(host: str) -> None:
    assert not is_local(Address("postgresql", "psycopg", "shop", hosts=(host,)), {})
    assert not is_local(Address("postgresql", "psycopg", "shop", hosts=("localhost", host)), {})


@pytest.mark.parametrize("driver", ["pymysql", "aiomysql", "asyncmy", "mysqldb"])
def test_mysqls_drivers_dial_this_machine_by_default(driver: str) -> None:
    assert is_local(Address("mysql", driver, "shop"), {})
    assert is_local(Address("mysql", driver, "shop"), {"PGHOST": "db", "PGHOSTADDR": "10.0.0.7", "PGSERVICE": "x"})


@pytest.mark.parametrize(
    ("driver", "hosts", "environ", "expected"),
    [
        ("psycopg", (), {}, True),
        ("psycopg", (), {"PGHOST": "/tmp"}, True),  # noqa: S108 - a directory for sockets
        ("psycopg", (), {"PGHOST": ""}, True),
        ("psycopg", (), {"PGHOST": "db"}, False),
        ("psycopg", (), {"PGHOST": "localhost,db"}, False),
        ("psycopg", (), {"PGHOSTADDR": "10.0.0.7"}, False),
        ("psycopg", ("localhost",), {"PGHOST": "db"}, True),
        ("psycopg", ("localhost",), {"PGHOSTADDR": "10.0.0.7"}, False),
        ("psycopg2", ("localhost",), {"PGHOSTADDR": "10.0.0.7"}, False),
        ("psycopg", ("localhost",), {"PGHOSTADDR": "127.0.0.1"}, True),
        ("psycopg", ("localhost",), {"PGSERVICE": "shop"}, False),
        ("asyncpg", ("localhost",), {"PGSERVICE": "shop"}, False),
        ("asyncpg", ("localhost",), {"PGHOSTADDR": "10.0.0.7"}, True),
        ("asyncpg", (), {"PGHOST": "db"}, False),
        ("asyncpg", (), {}, True),
        ("pg8000", (), {"PGHOST": "db"}, True),
    ],
)
def test_the_process_environment_has_a_say_in_what_postgresqls_drivers_dial(
    driver: str, hosts: tuple[str, ...], environ: dict[str, str], expected: bool
) -> None:
    assert is_local(Address("postgresql", driver, "shop", hosts=hosts), environ) is expected


def test_what_cannot_be_told_is_not_local() -> None:
    assert not is_local(Address("postgresql", "psycopg", None, hosts=("localhost",), switched=True), {})
    assert not is_local(Address("postgresql", "psycopg", "shop", hosts=("localhost",), service=True), {})
    assert not is_local(Address("oracle", "oracledb", "shop", hosts=("localhost",)), {})
    assert not is_local(Address("postgresql", "nonsense", "shop", hosts=("localhost",)), {})


def test_a_sqlite_file_is_local() -> None:
    assert is_local(sqlite_address("shop.db", uri=False), {})


# --- the test twin ------------------------------------------------------------------------------------------------

TWINS = {
    "postgresql+psycopg://app:pw@localhost:5432/shop": "postgresql+psycopg://app:pw@localhost:5432/test_shop",
    "postgres://localhost/shop": "postgres://localhost/test_shop",
    "postgresql+asyncpg:///shop?host=/run/x": "postgresql+asyncpg:///test_shop?host=/run/x",
    "postgresql+psycopg:///?dbname=shop": "postgresql+psycopg:///?dbname=test_shop",
    "postgresql+psycopg:///other?dbname=shop": "postgresql+psycopg:///other?dbname=test_shop",
    "postgresql+psycopg:///shop?dbname=shop": "postgresql+psycopg:///shop?dbname=test_shop",
    "postgresql+asyncpg:///other?database=shop": "postgresql+asyncpg:///other?database=test_shop",
    "postgresql+psycopg2:///?dsn=dbname%3Dshop": "postgresql+psycopg2:///test_shop?dsn=dbname%3Dshop",
    "mysql+pymysql://root@localhost/shop?charset=utf8mb4": "mysql+pymysql://root@localhost/test_shop?charset=utf8mb4",
    "mysql+aiomysql://localhost/other?db=shop": "mysql+aiomysql://localhost/other?db=test_shop",
    "mysql+pymysql://localhost/other?database=shop": "mysql+pymysql://localhost/other?database=test_shop",
    "mariadb+aiomysql://localhost/shop": "mariadb+aiomysql://localhost/test_shop",
    "postgresql+psycopg://localhost/test_results": "postgresql+psycopg://localhost/test_test_results",
}


@pytest.mark.parametrize(("url", "twin"), TWINS.items())
def test_the_twin_has_the_prefix_and_nothing_else_changed(url: str, twin: str) -> None:
    assert twin_of(make_url(url)) == make_url(twin)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///shop.db",
        "sqlite://",
        "mysql+pymysql://localhost",
        "postgresql+psycopg://app@localhost",
        "postgresql+psycopg://localhost/?dbname=host%3Ddb",
        "mysql+pymysql://localhost/shop?db=other",
        "mysql+pymysql://localhost/shop?init_command=USE%20other",
        "mysql+aiomysql://localhost/shop?read_default_file=/etc/my.cnf",
        "oracle+oracledb://localhost/shop",
    ],
)
def test_a_url_that_does_not_tell_its_database_has_no_twin(url: str) -> None:
    with pytest.raises(InvalidSettingError, match="has no test twin"):
        twin_of(make_url(url))


def test_the_error_about_a_twin_shows_no_secret_in_its_frames() -> None:
    with pytest.raises(InvalidSettingError) as caught:
        twin_of(make_url("mysql+pymysql://app:geheim@localhost?password=geheim"))
    frames = [entry.frame for entry in caught.traceback[1:]]
    assert frames
    assert "geheim" not in "".join(repr(frame.f_locals) for frame in frames) + str(caught.value)


def test_a_long_name_is_shortened_with_a_hash_in_the_twin() -> None:
    one, two = (make_url(f"postgresql+psycopg://localhost/{'x' * 60}{end}") for end in "ab")
    names = {str(twin_of(url).database) for url in (one, two)}
    assert len(names) == 2
    assert all(len(name) <= 63 and name.startswith("test_xxx") for name in names)


def test_a_connection_string_gives_every_setting_as_it_stands_there() -> None:
    assert read_conninfo("postgresql://X@a:1,b/shop") == {"user": "X", "host": "a,b", "port": "1,", "dbname": "shop"}
    assert read_conninfo("postgresql://a/shop") == {"host": "a", "dbname": "shop"}
    assert read_conninfo("dbname=a\\\nb") == {"dbname": "a\nb"}
    shop = {"database": "shop", "host": "h", "application_name": "a:b"}
    assert read_asyncpg_dsn("postgres://h/shop?application_name=a:b") == shop
    assert read_asyncpg_dsn("postgres:///shop?host=/run/a:b") == {"database": "shop", "host": "/run/a:b"}


def test_an_option_of_a_sqlite_uri_ends_at_its_first_equals_sign() -> None:
    assert sqlite_address("file:shop.db?mode=ro=x", uri=True).switched
    assert not sqlite_address("file:shop.db?a=b=c", uri=True).switched
    assert not sqlite_address("file:shop.db?x=mode=memory", uri=True).in_memory


def test_a_name_is_cut_no_more_than_it_must() -> None:
    assert [len(fit_name("test_" + "x" * length, "postgresql")) for length in (98, 99)] == [63, 63]


def test_the_twin_of_a_mysql_database_may_be_as_long_as_that_server_takes() -> None:
    assert twin_of(make_url(f"mysql+pymysql://localhost/{'x' * 59}")).database == f"test_{'x' * 59}"


@pytest.mark.parametrize(
    ("backend", "length"), [("postgresql", 63), ("postgres", 63), ("mysql", 64), ("mariadb", 64), ("other", 63)]
)
def test_a_name_of_the_length_that_the_server_takes_is_left_alone(backend: str, length: int) -> None:
    assert fit_name("x" * length, backend) == "x" * length
    longer = fit_name("x" * (length + 1), backend)
    assert len(longer) == length
    assert longer[:-12] == "x" * (length - 13) + "_"


def test_letters_count_on_mysql_and_bytes_on_postgresql() -> None:
    assert fit_name("ü" * 64, "mysql") == "ü" * 64
    assert len(fit_name("ü" * 32, "postgresql").encode()) <= 63
    assert fit_name("\udcff" * 99, "postgresql").startswith("\udcff")


def test_the_error_about_a_twin_says_what_to_do() -> None:
    with pytest.raises(InvalidSettingError) as caught:
        twin_of(make_url("mysql+pymysql://localhost"))
    assert str(caught.value).splitlines() == [
        "The database URL has no test twin.",
        "",
        "Why: it does not tell which database of a server it reaches in the end.",
        "Fix: - name the database in the path of the URL, or",
        "     - set TEST_DATABASE_URL to the URL of a test database.",
        "Ref: invalid-setting",
    ]


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=100)
servers = st.sampled_from(["postgresql+psycopg", "postgresql+asyncpg", "mysql+pymysql", "mariadb+aiomysql"])


@settings(deadline=None)
@given(names, st.sampled_from(["postgresql", "mysql", "mariadb"]))
def test_a_fitted_name_fits_and_keeps_its_start(name: str, backend: str) -> None:
    fitted = fit_name(f"test_{name}", backend)
    assert len(fitted.encode()) <= 63 if backend == "postgresql" else len(fitted) <= 64
    assert fitted.startswith("test_")
    assert fit_name(fitted, backend) == fitted


@settings(deadline=None)
@given(names, names, st.sampled_from(["postgresql", "mysql"]))
def test_two_names_never_become_one(one: str, two: str, backend: str) -> None:
    stem = "x" * 60
    assert (fit_name(stem + one, backend) == fit_name(stem + two, backend)) is (one == two)


@settings(deadline=None)
@given(servers, names)
def test_a_twin_reaches_the_prefixed_name_and_never_the_database_itself(drivername: str, name: str) -> None:
    url = URL.create(drivername, host="localhost", database=name)
    if address_of(url).switched:
        return
    twin = twin_of(url)
    reached = address_of(twin).database
    assert reached == fit_name(f"test_{name}", url.get_backend_name())
    assert reached != name
    assert twin.set(database="x") == url.set(database="x")


# --- properties ---------------------------------------------------------------------------------------------------

keys = st.sampled_from(
    [
        "dbname",
        "database",
        "db",
        "host",
        "hostaddr",
        "port",
        "service",
        "init_command",
        "uri",
        "mode",
        "options",
        "dsn",
    ],
)
values = st.sampled_from(["shop", "test_a", "a,b", "1", "true", "memory", "USE x", "dbname=shop", ""]) | st.text(
    max_size=9
)
drivernames = st.sampled_from(
    [f"{backend}+{driver}" for backend, drivers in KNOWN_DRIVERS.items() for driver in sorted(drivers)]
    + ["sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "nonsense+nonsense"],
)


@settings(deadline=None)
@given(drivernames, st.none() | values, st.dictionaries(keys, values), st.dictionaries(keys, values | st.none()))
def test_an_address_is_always_given_and_never_half_known(
    drivername: str, database: str | None, query: dict[str, str], connect_args: dict[str, Any]
) -> None:
    address = address_of(URL.create(drivername, database=database, query=query), connect_args, {})
    assert isinstance(address, Address)
    assert not (address.switched and address.database is not None)
    assert not (address.in_memory and (address.database is not None or address.backend != "sqlite"))
    assert hash(address) == hash(address)


@settings(deadline=None)
@given(
    st.dictionaries(keys, st.integers() | st.binary() | st.lists(st.text()) | st.none() | st.text()), st.lists(values)
)
def test_strange_arguments_are_unknown_never_an_error(kwargs: dict[str, Any], args: list[str]) -> None:
    for backend, drivers in KNOWN_DRIVERS.items():
        for driver in drivers:
            assert isinstance(address_of_arguments(backend, driver, args, kwargs), Address)


def test_a_servers_arguments_need_no_environment() -> None:
    assert server_address("postgresql", "psycopg", [], {"dbname": "shop"}, None).database == "shop"


# --- connection strings, against the drivers themselves -----------------------------------------------------------

PIECES = [
    *(
        "host",
        "dbname",
        "user",
        "port",
        "=",
        "=",
        "'",
        "\\",
        "\\'",
        " ",
        "\n",
        "a",
        "shop",
        "test_",
        "localhost",
        "5432",
    ),
    *(":", "@", "/", "?", "&", "%20", "%3D", "%2F", "%00", "%", "[::1]", ",", "hostaddr=1.2.3.4", "dbname=x", "host=b"),
    *("host=/run/p", "host=a:1,b:2", "database=y", "é", "#", "service=s", "host=a dbname='b c'", "sslmode=require"),
]
pieces = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
schemes = st.sampled_from(["postgresql://", "postgres://"])
COMPARED = ("host", "hostaddr", "dbname", "service", "user", "password")


@settings(deadline=None, max_examples=500)
@given(st.just("") | schemes, pieces)
def test_libpq_reads_a_connection_string_as_we_do_or_we_say_nothing(scheme: str, rest: str) -> None:
    ours = read_conninfo(scheme + rest)
    try:
        theirs = conninfo_to_dict(scheme + rest)
    except (ProgrammingError, UnicodeDecodeError):
        return  # nobody connects with it
    if ours is not None:
        for key in COMPARED:
            assert ours.get(key, "").strip(",") == str(theirs.get(key, "")).strip(",")


@settings(deadline=None, max_examples=500)
@given(schemes, pieces)
def test_asyncpg_reads_a_connection_string_as_we_do_or_we_say_nothing(scheme: str, rest: str) -> None:
    ours = read_asyncpg_dsn(scheme + rest)
    given_arguments = dict.fromkeys(inspect.signature(_parse_connect_dsn_and_args).parameters)
    try:
        addresses, parameters, *_ = _parse_connect_dsn_and_args(
            **{**given_arguments, "dsn": scheme + rest, "password": "x", "ssl": False}
        )
    except (ValueError, LookupError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return  # nobody connects with it
    if ours is not None:
        if ours.get("database"):
            assert parameters.database == ours["database"]
        theirs = [address[0] if isinstance(address, tuple) else address for address in addresses]
        if "host" in ours:
            assert [bare(host) for host in theirs] == [bare(host) for host in ours["host"].split(",")]


def bare(host: str) -> str:
    """Return the directory of a socket without what asyncpg adds to it."""
    return host.partition("/.s.PGSQL.")[0].partition(":")[0].rstrip("/") if host.startswith("/") else host


def test_the_private_function_of_asyncpg_that_the_test_relies_on_takes_a_dsn() -> None:
    assert {"dsn", "password", "ssl"} <= set(inspect.signature(_parse_connect_dsn_and_args).parameters)
