"""The exchange of drivers and the reading of addresses, held against what real servers answer."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from engineroom._address import address_of, address_of_arguments, is_local
from engineroom._address import test_twin as twin_of
from engineroom._drivers import DriverChoice, async_twin, sync_twin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sqlalchemy.engine import URL

    MakeDatabase = Callable[[str], URL]

SYNC_POSTGRESQL = ["psycopg", "psycopg2"]
ASYNC_POSTGRESQL = ["psycopg", "asyncpg"]
ASYNC_MARIADB = ["aiomysql", "asyncmy"]
SETTINGS = "SELECT current_database(), current_setting('application_name'), current_setting('search_path')"


def ask(choice: DriverChoice, question: str, connect_args: Mapping[str, Any] | None = None) -> tuple[object, ...]:
    engine = create_engine(choice.url, poolclass=NullPool, connect_args=choice.merge(connect_args))
    with engine.connect() as connection:
        return tuple(connection.execute(text(question)).one())


def ask_async(choice: DriverChoice, question: str, connect_args: Mapping[str, Any] | None = None) -> tuple[object, ...]:
    async def run() -> tuple[object, ...]:
        engine = create_async_engine(choice.url, poolclass=NullPool, connect_args=choice.merge(connect_args))
        async with engine.connect() as connection:
            return tuple((await connection.execute(text(question))).one())

    return asyncio.run(run())


def only(*modules: str) -> Callable[[str], bool]:
    return frozenset(modules).__contains__


POSTGRESQL_QUERIES = {
    "no option": {},
    "a name and options": {"application_name": "till", "options": "-csearch_path=app -cjit=off"},
    "options with an escaped blank": {"application_name": "the till", "options": r"-c search_path=a,\ b"},
    "no TLS": {"sslmode": "disable"},
    "TLS if there is any": {"sslmode": "prefer", "sslnegotiation": "postgres"},
    "a time limit": {"connect_timeout": "7"},
    "no time limit": {"connect_timeout": "0"},
    "a primary": {"target_session_attrs": "read-write", "client_encoding": "utf8"},
    "a certificate that no TLS needs": {"sslmode": "disable", "sslrootcert": "/nowhere/ca.pem"},
    "several hosts": {"host": "127.0.0.1,localhost"},
    "a numeric address": {"host": "db.invalid", "hostaddr": "127.0.0.1"},
}


@pytest.mark.parametrize("query", POSTGRESQL_QUERIES.values(), ids=POSTGRESQL_QUERIES)
@pytest.mark.parametrize("sync_driver", SYNC_POSTGRESQL)
@pytest.mark.parametrize("async_driver", ASYNC_POSTGRESQL)
def test_sync_and_async_engines_of_postgresql_reach_the_same_database_in_the_same_way(
    sync_driver: str, async_driver: str, query: dict[str, str], postgresql_url: URL
) -> None:
    if "host" in query and postgresql_url.host not in {"127.0.0.1", "localhost"}:
        pytest.skip("the server is elsewhere")
    url = postgresql_url.set(drivername="postgresql").update_query_dict(query)
    sync_choice = sync_twin(url, is_installed=only(sync_driver))
    async_choice = async_twin(url, is_installed=only(async_driver))
    answer = ask(sync_choice, SETTINGS)
    assert ask_async(async_choice, SETTINGS) == answer
    assert answer[0] == address_of(sync_choice.url, sync_choice.connect_args).database
    assert answer[0] == address_of(async_choice.url, async_choice.connect_args).database


ASYNCPG_QUERIES = {
    "no cache": {"prepared_statement_cache_size": "0", "statement_cache_size": "0"},
    "a cache": {"prepared_statement_cache_size": "9"},
    "a time limit": {"timeout": "6.5"},
    "no TLS": {"ssl": "disable"},
    "a primary": {"target_session_attrs": "primary"},
}


@pytest.mark.parametrize("query", ASYNCPG_QUERIES.values(), ids=ASYNCPG_QUERIES)
@pytest.mark.parametrize("sync_driver", SYNC_POSTGRESQL)
def test_a_url_for_asyncpg_serves_a_sync_engine_too(
    sync_driver: str, query: dict[str, str], postgresql_url: URL
) -> None:
    url = postgresql_url.set(drivername="postgresql+asyncpg").update_query_dict(query)
    answer = ask_async(async_twin(url, is_installed=only("asyncpg")), SETTINGS)
    assert ask(sync_twin(url, is_installed=only(sync_driver)), SETTINGS) == answer


def test_a_database_that_the_query_names_is_reached_by_every_driver(
    server_database: MakeDatabase, postgresql_url: URL
) -> None:
    name = server_database("postgresql").database
    assert name is not None
    url = postgresql_url.set(drivername="postgresql+psycopg2").update_query_dict({"dbname": name})
    assert ask(sync_twin(url, is_installed=only("psycopg2")), SETTINGS)[0] == name
    assert ask_async(async_twin(url, is_installed=only("asyncpg")), SETTINGS)[0] == name
    assert address_of(url).database == name


def test_the_users_server_settings_join_those_of_the_url(postgresql_url: URL) -> None:
    url = postgresql_url.set(drivername="postgresql+psycopg2").update_query_dict({"application_name": "till"})
    choice = async_twin(url, is_installed=only("asyncpg"))
    answer = ask_async(choice, SETTINGS, {"server_settings": {"search_path": "app"}})
    assert answer[1:] == ("till", "app")


def test_the_twin_of_a_postgresql_database_is_another_one(server_database: MakeDatabase) -> None:
    url = server_database("postgresql")
    assert ask(DriverChoice(url), SETTINGS)[0] == url.database
    assert twin_of(url).database == f"test_{url.database}"


# --- what an address says, against what the server says -----------------------------------------------------------


def test_server_settings_of_asyncpg_do_switch_the_database(server_database: MakeDatabase, postgresql_url: URL) -> None:
    name = server_database("postgresql").database
    url = postgresql_url.set(drivername="postgresql+asyncpg")
    connect_args = {"server_settings": {"database": name}}
    assert ask_async(DriverChoice(url), SETTINGS, connect_args)[0] == name
    assert address_of(url, connect_args).switched


@pytest.mark.parametrize("driver", SYNC_POSTGRESQL)
@pytest.mark.parametrize("form", ["keywords", "string", "uri", "both", "environment"])
def test_the_name_that_libpq_reads_is_the_name_that_we_read(
    driver: str, form: str, server_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server_database("postgresql")
    keywords: dict[str, Any] = {"host": url.host, "user": url.username, "dbname": url.database}
    if url.password is not None:
        keywords["password"] = url.password
    args: list[str] = []
    environ = {"PGDATABASE": str(url.database)} if form == "environment" else {}
    if form == "string":
        args, keywords = [" ".join(f"{key} = '{value}'" for key, value in keywords.items())], {}
    elif form == "uri":
        name = keywords.pop("dbname")
        args = [f"postgresql:///postgres?dbname={name}"]
    elif form == "both":
        args = ["dbname=postgres host=db.invalid"]
    elif form == "environment":
        del keywords["dbname"]
        monkeypatch.setenv("PGDATABASE", str(url.database))
    if url.port is not None:
        monkeypatch.setenv("PGPORT", str(url.port))
    connection = import_module(driver).connect(*args, **keywords)
    cursor = connection.cursor()
    cursor.execute("SELECT current_database()")
    reached = cursor.fetchone()[0]
    connection.close()
    assert address_of_arguments("postgresql", driver, args, keywords, environ).database == reached == url.database


@pytest.mark.parametrize("driver", SYNC_POSTGRESQL)
def test_libpq_dials_pghostaddr_though_the_url_names_a_host(
    driver: str, postgresql_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql_url.set(drivername=f"postgresql+{driver}", host="db.invalid")
    if postgresql_url.host not in {"127.0.0.1", "localhost"}:
        pytest.skip("the server is elsewhere")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    assert ask(DriverChoice(url), SETTINGS)[0] == url.database
    # So the other way round, a local host in the URL does not make an address local.
    assert not is_local(address_of(url.set(host="localhost")), {"PGHOSTADDR": "10.0.0.7"})


def test_sync_and_async_engines_of_mariadb_reach_the_same_database(server_database: MakeDatabase) -> None:
    url = server_database("mariadb").set(drivername="mariadb+pymysql").update_query_dict({"charset": "utf8mb4"})
    question = "SELECT DATABASE(), @@character_set_client"
    answer = ask(sync_twin(url, is_installed=only("pymysql")), question)
    assert answer == (url.database, "utf8mb4")
    for driver in ASYNC_MARIADB:
        choice = async_twin(url, is_installed=only(driver))
        assert ask_async(choice, question) == answer
        assert ask(sync_twin(choice.url, is_installed=only("pymysql")), question) == answer


@pytest.mark.parametrize("driver", ["pymysql", *ASYNC_MARIADB])
def test_a_database_that_the_query_of_a_mysql_url_names_is_reached(driver: str, server_database: MakeDatabase) -> None:
    url = server_database("mariadb")
    by_query = url.set(drivername="mariadb+pymysql", database="information_schema")
    by_query = by_query.update_query_dict({"database": str(url.database)})
    twin = sync_twin if driver == "pymysql" else async_twin
    choice = twin(by_query, is_installed=only(driver))
    answer = (ask if driver == "pymysql" else ask_async)(choice, "SELECT DATABASE()")
    assert answer == (url.database,)
    assert address_of(choice.url).database == url.database


@pytest.mark.parametrize("driver", ASYNC_MARIADB)
def test_a_first_command_of_mysqls_drivers_switches_the_database(driver: str, server_database: MakeDatabase) -> None:
    url = server_database("mariadb").set(drivername=f"mariadb+{driver}")
    for command in ("USE information_schema", "SET @a = 1; USE information_schema", "/*!USE information_schema*/"):
        switched = url.update_query_dict({"init_command": command})
        assert address_of(switched).switched
        if ";" not in command:
            assert ask_async(DriverChoice(switched), "SELECT DATABASE()") == ("information_schema",)
    harmless = url.update_query_dict({"init_command": "SET NAMES utf8mb4"})
    assert ask_async(DriverChoice(harmless), "SELECT DATABASE()") == (address_of(harmless).database,)


@pytest.mark.parametrize("driver", ["pymysql", *ASYNC_MARIADB])
def test_for_aiomysql_alone_a_file_of_options_wins_over_the_url(
    driver: str, server_database: MakeDatabase, tmp_path: Path
) -> None:
    url = server_database("mariadb")
    file = tmp_path / "my.cnf"
    file.write_text("[client]\ndatabase = information_schema\ninit-command = USE mysql\n")
    by_file = url.set(drivername=f"mariadb+{driver}").update_query_dict({"read_default_file": str(file)})
    answer = (ask if driver == "pymysql" else ask_async)(DriverChoice(by_file), "SELECT DATABASE()")
    assert answer == ("information_schema" if driver == "aiomysql" else url.database,)
    assert address_of(by_file).switched is (driver == "aiomysql")


@pytest.mark.parametrize("driver", ["pymysql", *ASYNC_MARIADB])
def test_without_a_name_no_database_is_selected(driver: str, mariadb_url: URL) -> None:
    url = mariadb_url.set(drivername=f"mariadb+{driver}", database="")
    answer = (ask if driver == "pymysql" else ask_async)(DriverChoice(url), "SELECT DATABASE()")
    address = address_of(url)
    assert answer == (None,) == (address.database,)
    assert not address.switched


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_both_engines_insist_on_the_certificate_that_the_url_names(mode: str, postgresql_url: URL) -> None:
    query = {"sslmode": mode, "sslrootcert": "/nowhere/ca.pem"}
    url = postgresql_url.set(drivername="postgresql").update_query_dict(query)
    with pytest.raises(DBAPIError, match=r"SSL|/nowhere/ca\.pem"):
        ask(sync_twin(url, is_installed=only("psycopg")), SETTINGS)
    choice = async_twin(url, is_installed=only("asyncpg"))
    with pytest.raises(FileNotFoundError):
        ask_async(choice, SETTINGS)
