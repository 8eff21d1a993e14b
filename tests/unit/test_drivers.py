"""Which driver serves a sync or an async engine, and how the options of the URL are called there."""

from __future__ import annotations

import inspect
import pickle
import string
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import Connection, pq
from sqlalchemy.engine import URL, make_url

from engineroom._address import address_of
from engineroom._drivers import ASYNC_TWINS, DISTRIBUTIONS, SYNC_TWINS, DriverChoice, async_twin, sync_twin
from engineroom._drivers.options import (
    DRIVER_OPTIONS,
    LIBPQ_KEYS,
    MYSQL_KEYS,
    SSL_MODES,
    Option,
    Untranslatable,
    translate,
)
from engineroom.errors import InvalidSettingError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Twin: TypeAlias = Callable[..., DriverChoice]

ALL = frozenset(
    {
        "sqlite3",
        "aiosqlite",
        "psycopg",
        "psycopg2",
        "asyncpg",
        "pymysql",
        "MySQLdb",
        "aiomysql",
        "asyncmy",
        "pg8000",
        "psycopg2cffi",
    },
)


def choose(twin: Twin, url: str, installed: frozenset[str] = ALL) -> DriverChoice:
    return twin(make_url(url), is_installed=installed.__contains__)


# --- which driver -------------------------------------------------------------------------------------------------

SYNC = {
    "sqlite://": "sqlite://",
    "sqlite:///shop.db": "sqlite:///shop.db",
    "sqlite+pysqlite:///shop.db": "sqlite+pysqlite:///shop.db",
    "sqlite+aiosqlite:///shop.db": "sqlite:///shop.db",
    "sqlite+aiosqlite:///file:shop.db?mode=ro&uri=true": "sqlite:///file:shop.db?mode=ro&uri=true",
    "postgresql://h/shop": "postgresql+psycopg://h/shop",
    "postgres://h/shop": "postgresql+psycopg://h/shop",
    "postgresql+psycopg://h/shop": "postgresql+psycopg://h/shop",
    "postgresql+psycopg_async://h/shop": "postgresql+psycopg://h/shop",
    "postgresql+psycopg2://h/shop": "postgresql+psycopg2://h/shop",
    "postgresql+asyncpg://h/shop": "postgresql+psycopg://h/shop",
    "mysql://h/shop": "mysql+mysqldb://h/shop",
    "mysql+pymysql://h/shop": "mysql+pymysql://h/shop",
    "mysql+mysqldb://h/shop": "mysql+mysqldb://h/shop",
    "mysql+aiomysql://h/shop": "mysql+pymysql://h/shop",
    "mysql+asyncmy://h/shop": "mysql+pymysql://h/shop",
    "mariadb://h/shop": "mariadb+mysqldb://h/shop",
    "mariadb+aiomysql://h/shop": "mariadb+pymysql://h/shop",
}
ASYNC = {
    "sqlite://": "sqlite+aiosqlite://",
    "sqlite:///shop.db": "sqlite+aiosqlite:///shop.db",
    "sqlite+pysqlite:///shop.db?timeout=5": "sqlite+aiosqlite:///shop.db?timeout=5",
    "sqlite+aiosqlite:///shop.db": "sqlite+aiosqlite:///shop.db",
    "postgresql://h/shop": "postgresql+psycopg://h/shop",
    "postgres://h/shop": "postgresql+psycopg://h/shop",
    "postgresql+psycopg://h/shop": "postgresql+psycopg://h/shop",
    "postgresql+psycopg_async://h/shop": "postgresql+psycopg_async://h/shop",
    "postgresql+psycopg2://h/shop": "postgresql+asyncpg://h/shop",
    "postgresql+asyncpg://h/shop": "postgresql+asyncpg://h/shop",
    "mysql://h/shop": "mysql+aiomysql://h/shop",
    "mysql+pymysql://h/shop": "mysql+aiomysql://h/shop",
    "mysql+mysqldb://h/shop": "mysql+aiomysql://h/shop",
    "mysql+aiomysql://h/shop": "mysql+aiomysql://h/shop",
    "mysql+asyncmy://h/shop": "mysql+asyncmy://h/shop",
    "mariadb://h/shop": "mariadb+aiomysql://h/shop",
    "mariadb+pymysql://h/shop": "mariadb+aiomysql://h/shop",
}
UNKNOWN = [
    "oracle+oracledb://h/shop",
    "mssql+aioodbc://h/shop",
    "sqlite+pysqlcipher://:pw@/shop.db",
    "postgresql+pg8000://h/shop",
    "postgresql+psycopg2cffi://h/shop",
    "postgresql+pygresql://h/shop",
    "mysql+mysqlconnector://h/shop",
    "nonsense://h/shop",
]


@pytest.mark.parametrize(("url", "expected"), SYNC.items())
def test_a_sync_engine_gets_a_sync_driver(url: str, expected: str) -> None:
    assert choose(sync_twin, url) == DriverChoice(make_url(expected))


@pytest.mark.parametrize(("url", "expected"), ASYNC.items())
def test_an_async_engine_gets_an_async_driver(url: str, expected: str) -> None:
    assert choose(async_twin, url) == DriverChoice(make_url(expected))


@pytest.mark.parametrize("url", UNKNOWN)
@pytest.mark.parametrize("twin", [sync_twin, async_twin])
def test_a_url_that_we_do_not_know_stays_as_it_is(twin: Twin, url: str) -> None:
    assert choose(twin, url, frozenset()) == DriverChoice(make_url(url))


@pytest.mark.parametrize(
    ("twin", "url", "installed", "drivername"),
    [
        (sync_twin, "postgresql://h/shop", {"psycopg2"}, "postgresql+psycopg2"),
        (sync_twin, "postgresql+asyncpg://h/shop", {"psycopg2", "asyncpg"}, "postgresql+psycopg2"),
        (async_twin, "postgresql://h/shop", {"psycopg2", "asyncpg"}, "postgresql+asyncpg"),
        (async_twin, "postgresql+psycopg2://h/shop", {"psycopg2", "psycopg"}, "postgresql+psycopg"),
        (sync_twin, "mysql://h/shop", {"pymysql"}, "mysql+pymysql"),
        (async_twin, "mysql://h/shop", {"asyncmy"}, "mysql+asyncmy"),
        (async_twin, "mariadb+pymysql://h/shop", {"pymysql", "asyncmy"}, "mariadb+asyncmy"),
    ],
)
def test_the_best_driver_that_is_installed_is_taken(twin: Twin, url: str, installed: set[str], drivername: str) -> None:
    assert choose(twin, url, frozenset(installed)).url.drivername == drivername


@pytest.mark.parametrize(
    ("twin", "url", "what", "lines"),
    [
        (
            async_twin,
            "sqlite:///shop.db",
            "The driver aiosqlite is not installed.",
            ["pip install aiosqlite"],
        ),
        (
            async_twin,
            "postgresql+psycopg2://h/shop",
            "The driver asyncpg or psycopg is not installed.",
            ['pip install "engineroom[asyncpg]"', 'pip install "engineroom[psycopg]"'],
        ),
        (
            sync_twin,
            "postgresql://h/shop",
            "The driver psycopg or psycopg2 is not installed.",
            ['pip install "engineroom[psycopg]"', 'pip install "engineroom[psycopg2]"'],
        ),
        (
            sync_twin,
            "postgresql+psycopg2://h/shop",
            "The driver psycopg2 is not installed.",
            ['pip install "engineroom[psycopg2]"'],
        ),
        (sync_twin, "mysql+mysqldb://h/shop", "The driver mysqldb is not installed.", ["pip install mysqlclient"]),
        (
            async_twin,
            "postgresql+psycopg_async://h/shop",
            "The driver psycopg is not installed.",
            ['pip install "engineroom[psycopg]"'],
        ),
    ],
)
def test_a_missing_driver_is_an_error_with_the_line_to_paste(twin: Twin, url: str, what: str, lines: list[str]) -> None:
    with pytest.raises(MissingDependencyError) as caught:
        choose(twin, url, frozenset({"pymysql"}))
    assert caught.value.what == what
    assert caught.value.fix == tuple(f"install it: {line}" for line in lines)


def test_every_driver_that_may_be_missing_has_an_extra_or_a_line_of_its_own() -> None:
    extras = set(tomllib.loads(pyproject())["project"]["optional-dependencies"])
    drivers = {
        driver
        for twins in (SYNC_TWINS, ASYNC_TWINS)
        for choices in twins.values()
        for d in choices.values()
        for driver in d
    }
    drivers = {driver.removesuffix("_async") for driver in drivers}
    assert drivers - DISTRIBUTIONS.keys() - {"pysqlite"} == extras


def pyproject() -> str:
    return (Path(__file__).parents[2] / "pyproject.toml").read_text()


# --- the options of PostgreSQL ------------------------------------------------------------------------------------

SSL = "postgresql://?sslrootcert=%2Fca.pem"
TO_ASYNCPG: dict[str, tuple[str, dict[str, Any]]] = {
    "sslmode=require": ("ssl=require", {}),
    "sslmode=verify-full": ("ssl=verify-full", {}),
    "dbname=shop": ("database=shop", {}),
    "host=/run/postgresql": ("host=/run/postgresql", {}),
    "host=a&host=b:1": ("host=a:5432&host=b:1", {}),
    "host=a,b": ("host=a,b&port=5432,5432", {}),
    "host=a,b&port=1,2": ("host=a,b&port=1,2", {}),
    "hostaddr=10.0.0.7": ("host=10.0.0.7", {}),
    "host=db&hostaddr=10.0.0.7&sslmode=require": ("host=10.0.0.7&ssl=require", {}),
    "user=app&password=pw&passfile=/p": ("user=app&password=pw&passfile=/p", {}),
    "krbsrvname=x&gsslib=y": ("krbsrvname=x&gsslib=y", {}),
    "target_session_attrs=read-write": ("target_session_attrs=read-write", {}),
    "connect_timeout=5": ("", {"timeout": 5.0}),
    "connect_timeout=0": ("", {"timeout": None}),
    "connect_timeout=-1": ("", {"timeout": None}),
    "application_name=till": ("", {"server_settings": {"application_name": "till"}}),
    "fallback_application_name=till": ("", {"server_settings": {"application_name": "till"}}),
    "fallback_application_name=x&application_name=till": ("", {"server_settings": {"application_name": "till"}}),
    "options=-csearch_path%3Dapp": ("", {"server_settings": {"options": "-csearch_path=app"}}),
    "options=-cjit%3Doff&application_name=till": (
        "",
        {"server_settings": {"options": "-cjit=off", "application_name": "till"}},
    ),
    "sslrootcert=/ca.pem": ("", {"dsn": SSL}),
    "sslmode=verify-full&sslrootcert=/ca.pem": ("ssl=verify-full", {"dsn": SSL}),
    "sslcert=/c.pem&sslkey=/k.pem&sslpassword=p%26w": (
        "",
        {"dsn": "postgresql://?sslcert=%2Fc.pem&sslkey=%2Fk.pem&sslpassword=p%26w"},
    ),
    "sslcrl=/r&ssl_min_protocol_version=TLSv1.3": (
        "",
        {"dsn": "postgresql://?sslcrl=%2Fr&ssl_min_protocol_version=TLSv1.3"},
    ),
    "sslmode=verify-full&sslrootcert=system": ("", {"ssl": True}),
    "ssl=require&sslrootcert=system": ("", {"ssl": True}),
    "host=a,b&port=1&port=2": ("host=a,b&port=1&port=2", {}),
    "connect_timeout=1": ("", {"timeout": 1.0}),
    "sslnegotiation=direct&sslmode=require": ("ssl=require", {"direct_tls": True}),
    "sslnegotiation=postgres": ("", {"direct_tls": False}),
    "client_encoding=UTF8": ("", {}),
    "channel_binding=prefer&gssencmode=disable&load_balance_hosts=disable": ("", {}),
    "keepalives=0&tcp_user_timeout=0&sslcompression=0&sslsni=1&sslcertmode=allow&replication=false": ("", {}),
}
FROM_ASYNCPG: dict[str, tuple[str, dict[str, Any]]] = {
    "ssl=require": ("sslmode=require", {}),
    "database=shop": ("dbname=shop", {}),
    "host=a:1&host=b:2": ("host=a:1&host=b:2", {}),
    "timeout=5": ("connect_timeout=5", {}),
    "timeout=4.2": ("connect_timeout=5", {}),
    "target_session_attrs=read-write": ("target_session_attrs=read-write", {}),
    "prepared_statement_cache_size=0": ("", {"prepare_threshold": None}),
    "statement_cache_size=0&prepared_statement_cache_size=0": ("", {"prepare_threshold": None}),
    "prepared_statement_cache_size=500": ("", {}),
    "statement_cache_size=10&max_cached_statement_lifetime=5&max_cacheable_statement_size=9": ("", {}),
    "direct_tls=true": ("sslmode=require&sslnegotiation=direct", {}),
    "direct_tls=true&ssl=verify-full": ("sslnegotiation=direct&sslmode=verify-full", {}),
    "direct_tls=true&sslmode=verify-ca": ("sslnegotiation=direct&sslmode=verify-ca", {}),
    "timeout=0.5": ("connect_timeout=1", {}),
    "direct_tls=false": ("sslnegotiation=postgres", {}),
}
OWN_ASYNCPG: dict[str, tuple[str, dict[str, Any]]] = {
    "ssl=require": ("ssl=require", {}),
    "sslmode=require": ("ssl=require", {}),
    "prepared_statement_cache_size=0": ("prepared_statement_cache_size=0", {}),
    "statement_cache_size=0": ("", {"statement_cache_size": 0}),
    "command_timeout=30": ("", {"command_timeout": 30.0}),
    "timeout=2.5": ("", {"timeout": 2.5}),
    "max_cached_statement_lifetime=5&max_cacheable_statement_size=9": (
        "",
        {"max_cached_statement_lifetime": 5, "max_cacheable_statement_size": 9},
    ),
    "direct_tls=yes": ("", {"direct_tls": True}),
    "something_new=1": ("something_new=1", {}),
    "plugin=a&plugin=b": ("plugin=a&plugin=b", {}),
}


def check(twin: Twin, source: str, query: str, expected: str, connect_args: Mapping[str, Any]) -> None:
    choice = choose(twin, f"{source}://h/shop?{query}")
    assert choice.connect_args == connect_args
    assert choice.url == make_url(f"{choice.url.drivername}://h/shop?{expected}")


@pytest.mark.parametrize(("query", "expected"), TO_ASYNCPG.items())
def test_asyncpg_gets_the_options_of_libpq(query: str, expected: tuple[str, dict[str, Any]]) -> None:
    check(async_twin, "postgresql+psycopg2", query, *expected)


@pytest.mark.parametrize(("query", "expected"), TO_ASYNCPG.items())
def test_asyncpg_gets_them_also_where_the_url_names_asyncpg_already(
    query: str, expected: tuple[str, dict[str, Any]]
) -> None:
    check(async_twin, "postgresql+asyncpg", query, *expected)


@pytest.mark.parametrize(("query", "expected"), FROM_ASYNCPG.items())
def test_psycopg_gets_the_options_of_asyncpg(query: str, expected: tuple[str, dict[str, Any]]) -> None:
    check(sync_twin, "postgresql+asyncpg", query, *expected)


@pytest.mark.parametrize(("query", "expected"), FROM_ASYNCPG.items())
def test_psycopg2_gets_the_options_of_asyncpg_and_has_nothing_to_prepare(
    query: str, expected: tuple[str, dict[str, Any]]
) -> None:
    url = make_url(f"postgresql+asyncpg://h/shop?{query}")
    choice = sync_twin(url, is_installed=frozenset({"psycopg2"}).__contains__)
    assert choice == DriverChoice(make_url(f"postgresql+psycopg2://h/shop?{expected[0]}"))


@pytest.mark.parametrize(("query", "expected"), OWN_ASYNCPG.items())
def test_asyncpgs_own_options_get_the_type_that_it_expects(query: str, expected: tuple[str, dict[str, Any]]) -> None:
    check(async_twin, "postgresql+asyncpg", query, *expected)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_every_option_of_libpq_stays_with_libpq(driver: str) -> None:
    query = "&".join(f"{key}=1" for key in LIBPQ_KEYS)
    check(sync_twin, f"postgresql+{driver}", query, query, {})


def test_psycopg_has_the_same_options_sync_and_async() -> None:
    check(sync_twin, "postgresql+psycopg_async", "new=1&database=shop", "new=1&dbname=shop", {})
    check(async_twin, "postgresql+psycopg_async", "new=1&database=shop", "new=1&dbname=shop", {})
    check(async_twin, "postgresql+psycopg", "new=1&database=shop", "new=1&dbname=shop", {})


def test_the_url_decides_nothing_where_it_names_no_driver() -> None:
    check(sync_twin, "postgresql", "sslmode=require&new_option=1", "sslmode=require&new_option=1", {})
    check(sync_twin, "postgresql", "ssl=require", "sslmode=require", {})


NOT_FOR_ASYNCPG = {
    "channel_binding=require": "channel_binding",
    "gssencmode=require": "gssencmode",
    "keepalives_idle=30": "keepalives_idle",
    "keepalives=1": "keepalives",
    "load_balance_hosts=random": "load_balance_hosts",
    "client_encoding=latin1": "client_encoding",
    "service=shop": "service",
    "require_auth=scram-sha-256": "require_auth",
    "requirepeer=postgres": "requirepeer",
    "replication=database": "replication",
    "sslcrldir=/x": "sslcrldir",
    "oauth_client_secret=geheim": "oauth_client_secret",
    "sslmode=geheim": "sslmode",
    "connect_timeout=geheim": "connect_timeout",
    "hostaddr=10.0.0.7&sslmode=verify-full": "hostaddr",
    "hostaddr=10.0.0.7&ssl=verify-full": "hostaddr",
    "sslmode=require&sslmode=disable": "sslmode",
    "sslmode=require&ssl=disable": "ssl",
    "dbname=a&database=b": "database",
    "prepare_threshold=5": "prepare_threshold",
    "unknown=geheim": "unknown",
    "gehe%20im=1": "of an odd name",
}
NOT_FOR_PSYCOPG = {
    "command_timeout=geheim": "command_timeout",
    "ssl=true": "ssl",
    "timeout=0": "timeout",
    "timeout=geheim": "timeout",
    "timeout=nan": "timeout",
    "timeout=inf": "timeout",
    "ssl=require&sslmode=disable": "sslmode",
    "unknown=geheim": "unknown",
}


@pytest.mark.parametrize(("query", "key"), NOT_FOR_ASYNCPG.items())
def test_what_asyncpg_cannot_take_is_an_error_that_names_it(query: str, key: str) -> None:
    url = make_url(f"postgresql+psycopg2://app:geheim@h/shop?{query}")
    with pytest.raises(InvalidSettingError) as caught:
        async_twin(url, is_installed={"psycopg2", "asyncpg"}.__contains__)
    assert caught.value.what == f"The option {key} of the database URL cannot be used with asyncpg."
    assert "geheim" not in str(caught.value)
    assert caught.value.fix[0] == f"take {key} out of the database URL"
    assert "psycopg" in caught.value.fix[1]


@pytest.mark.parametrize(("query", "key"), NOT_FOR_PSYCOPG.items())
def test_what_psycopg_cannot_take_is_an_error_that_names_it(query: str, key: str) -> None:
    with pytest.raises(InvalidSettingError) as caught:
        choose(sync_twin, f"postgresql+asyncpg://app:geheim@h/shop?{query}")
    assert caught.value.what == f"The option {key} of the database URL cannot be used with psycopg."
    assert "geheim" not in str(caught.value)


def test_where_one_driver_cannot_take_an_option_another_that_is_installed_can() -> None:
    choice = choose(async_twin, "postgresql+psycopg2://h/shop?channel_binding=require")
    assert str(choice.url) == "postgresql+psycopg://h/shop?channel_binding=require"
    choice = choose(async_twin, "mysql+pymysql://h/shop?ssl_ca=/ca.pem")
    assert str(choice.url).startswith("mysql+asyncmy://h/shop?ssl_ca=")


# --- the options of MySQL and MariaDB -----------------------------------------------------------------------------

MYSQL: dict[tuple[str, str, str], tuple[str, str]] = {
    ("pymysql", "aiomysql", "charset=utf8mb4"): ("charset=utf8mb4", ""),
    ("pymysql", "aiomysql", "unix_socket=/run/my.sock"): ("unix_socket=/run/my.sock", ""),
    ("pymysql", "aiomysql", "database=shop"): ("db=shop", ""),
    ("pymysql", "aiomysql", "max_allowed_packet=1&ssl_disabled=1"): ("", ""),
    ("pymysql", "asyncmy", "database=shop&read_timeout=3"): ("db=shop&read_timeout=3", ""),
    ("pymysql", "asyncmy", "ssl_ca=/ca&ssl_cert=/c&ssl_key=/k"): ("ssl_ca=/ca&ssl_cert=/c&ssl_key=/k", ""),
    ("aiomysql", "pymysql", "db=shop&echo=1"): ("database=shop", ""),
    ("asyncmy", "pymysql", "db=shop&stmt_cache_size=9"): ("database=shop", ""),
    ("pymysql", "pymysql", "write_timeout=3&new=1&db=x"): ("write_timeout=3&new=1&db=x", ""),
    ("aiomysql", "aiomysql", "auth_plugin=x&new=1"): ("auth_plugin=x&new=1", ""),
    ("", "pymysql", "charset=utf8mb4&new=1"): ("charset=utf8mb4&new=1", ""),
    ("", "aiomysql", "charset=utf8mb4"): ("charset=utf8mb4", ""),
    ("mysqldb", "aiomysql", "charset=utf8mb4"): ("charset=utf8mb4", ""),
    # What cannot be said to the other driver.
    ("pymysql", "aiomysql", "ssl_ca=/ca"): ("", "ssl_ca"),
    ("pymysql", "aiomysql", "read_timeout=3"): ("", "read_timeout"),
    ("pymysql", "aiomysql", "write_timeout=3"): ("", "write_timeout"),
    ("pymysql", "aiomysql", "collation=x"): ("", "collation"),
    ("pymysql", "aiomysql", "read_default_file=/x"): ("", "read_default_file"),
    ("pymysql", "aiomysql", "read_default_group=x"): ("", "read_default_group"),
    ("aiomysql", "pymysql", "read_default_file=/x"): ("", "read_default_file"),
    ("aiomysql", "pymysql", "auth_plugin=x"): ("", "auth_plugin"),
    ("pymysql", "asyncmy", "write_timeout=3"): ("", "write_timeout"),
    ("pymysql", "aiomysql", "db=shop"): ("", "db"),
    ("aiomysql", "pymysql", "database=shop"): ("", "database"),
    ("", "aiomysql", "database=shop"): ("", "database"),
    ("", "aiomysql", "read_default_file=/x"): ("", "read_default_file"),
    ("mysqldb", "aiomysql", "passwd=geheim"): ("", "passwd"),
    ("", "aiomysql", "passwd=geheim"): ("", "passwd"),
    ("mysqldb", "aiomysql", "ssl_mode=REQUIRED"): ("", "ssl_mode"),
}


@pytest.mark.parametrize(("case", "expected"), MYSQL.items(), ids=str)
def test_the_drivers_of_mysql_take_over_each_others_options(
    case: tuple[str, str, str], expected: tuple[str, str]
) -> None:
    source, target, query = case
    url = make_url(f"mysql{source and '+'}{source}://h/shop?{query}")
    twin = async_twin if target in {"aiomysql", "asyncmy"} else sync_twin
    if not expected[1]:
        choice = twin(url, is_installed={target}.__contains__)
        assert choice == DriverChoice(make_url(f"mysql+{target}://h/shop?{expected[0]}"))
        return
    with pytest.raises(InvalidSettingError, match=f"The option {expected[1]} of") as caught:
        twin(url, is_installed={target}.__contains__)
    assert "geheim" not in str(caught.value)


def test_a_file_of_options_stays_where_it_means_the_same() -> None:
    url = make_url("mysql+pymysql://h/shop?read_default_file=/x")
    assert async_twin(url, is_installed={"asyncmy"}.__contains__).url == url.set(drivername="mysql+asyncmy")


@pytest.mark.parametrize("drivername", ["mysql", "mysql+mysqldb"])
def test_a_socket_beside_a_host_means_another_server_to_mysqldb(drivername: str) -> None:
    url = make_url(f"{drivername}://db.example.org/shop?unix_socket=/run/my.sock")
    with pytest.raises(InvalidSettingError, match="The option unix_socket of"):
        async_twin(url, is_installed={"aiomysql"}.__contains__)
    by_query = url.update_query_dict({"host": "localhost"})
    assert async_twin(by_query, is_installed={"aiomysql"}.__contains__).url.query == by_query.query
    for host in ("localhost", ""):
        choice = async_twin(url.set(host=host), is_installed={"aiomysql"}.__contains__)
        assert choice.url == url.set(host=host, drivername="mysql+aiomysql")


# --- against the drivers as they are ------------------------------------------------------------------------------


def parameters_of(driver: str) -> set[str]:
    return set(inspect.signature(import_module(driver).connect).parameters)


HANDLED_BY_SQLALCHEMY = {"prepared_statement_cache_size", "plugin"} | {
    f"ssl_{name}" for name in ("ca", "cert", "key", "capath", "cipher", "check_hostname")
}


@pytest.mark.parametrize("driver", ["asyncpg", "pymysql", "aiomysql", "asyncmy"])
def test_a_driver_has_every_option_that_we_give_it(driver: str) -> None:
    given_names = {
        option.name or key for key, option in DRIVER_OPTIONS[driver].items() if option.place in {"query", "argument"}
    }
    assert given_names - HANDLED_BY_SQLALCHEMY <= parameters_of(driver)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_libpqs_drivers_have_every_option_that_we_give_them(driver: str) -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"servicefile", "plugin"}
    known |= set(inspect.signature(Connection.connect).parameters)
    given_names = {
        option.name or key for key, option in DRIVER_OPTIONS[driver].items() if option.place in {"query", "argument"}
    }
    assert given_names <= known


def test_no_option_of_libpq_is_missing_from_the_table() -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert known <= set(LIBPQ_KEYS)
    assert set(LIBPQ_KEYS) - DRIVER_OPTIONS["asyncpg"].keys() == {"hostaddr"} - DRIVER_OPTIONS["asyncpg"].keys()


def test_the_options_that_mysqls_drivers_share_are_named_alike() -> None:
    for driver in ("pymysql", "aiomysql", "asyncmy"):
        assert all(DRIVER_OPTIONS[driver][key] == Option() for key in MYSQL_KEYS)


# --- messages -----------------------------------------------------------------------------------------------------

MESSAGES = {
    "a driver is missing": (
        async_twin,
        "sqlite:///shop.db",
        frozenset[str](),
        [
            "The driver aiosqlite is not installed.",
            "",
            "Why: an async engine of sqlite:///shop.db needs aiosqlite, and it cannot be imported.",
            "Fix: install it: pip install aiosqlite.",
            "Ref: missing-dependency",
        ],
    ),
    "two drivers are missing": (
        sync_twin,
        "postgresql+asyncpg://app:pw@db/shop?password=pw",
        frozenset({"asyncpg"}),
        [
            "The driver psycopg or psycopg2 is not installed.",
            "",
            (
                "Why: a sync engine of postgresql+asyncpg://app:***@db/shop needs psycopg or psycopg2, "
                "and none of them can be imported."
            ),
            'Fix: - install it: pip install "engineroom[psycopg]", or',
            '     - install it: pip install "engineroom[psycopg2]".',
            "Ref: missing-dependency",
        ],
    ),
    "an option for libpq alone": (
        async_twin,
        "postgresql+psycopg2://app:pw@db/shop?channel_binding=require",
        frozenset({"asyncpg"}),
        [
            "The option channel_binding of the database URL cannot be used with asyncpg.",
            "",
            (
                "Why: an async engine of postgresql+psycopg2://app:***@db/shop uses asyncpg, "
                "and it cannot bind the login to the TLS channel."
            ),
            "Fix: - take channel_binding out of the database URL, or",
            '     - use one driver for both kinds of engine: pip install "engineroom[psycopg]", and postgresql+psycopg://.',
            "Ref: invalid-setting",
        ],
    ),
    "an option for pymysql alone": (
        async_twin,
        "mysql+pymysql://db/shop?ssl_ca=/ca.pem",
        frozenset({"aiomysql"}),
        [
            "The option ssl_ca of the database URL cannot be used with aiomysql.",
            "",
            (
                "Why: an async engine of mysql+pymysql://db/shop uses aiomysql, "
                "and it takes only an ssl.SSLContext, which cannot stand in a URL."
            ),
            "Fix: take ssl_ca out of the database URL.",
            "Ref: invalid-setting",
        ],
    ),
}


@pytest.mark.parametrize(("twin", "url", "installed", "lines"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_tells_what_happened_why_and_what_to_do(
    twin: Twin, url: str, installed: frozenset[str], lines: list[str]
) -> None:
    with pytest.raises((MissingDependencyError, InvalidSettingError)) as caught:
        choose(twin, url, installed)
    assert str(caught.value).splitlines() == lines


@pytest.mark.parametrize(
    ("source", "target", "query", "reason"),
    [
        ("psycopg2", "asyncpg", "unknown=1", "engineroom does not know what it calls this option"),
        ("psycopg2", "asyncpg", "sslmode=require&ssl=disable", "another option of the URL says something else"),
        ("psycopg2", "asyncpg", "sslmode=require&sslmode=disable", "it is given more than once"),
        ("psycopg2", "asyncpg", "sslmode=x", f"it takes one of {', '.join(SSL_MODES)}"),
        ("psycopg2", "asyncpg", "connect_timeout=x", "it takes a number"),
        ("psycopg2", "asyncpg", "requirepeer=x", "it has no such option"),
        (
            "psycopg2",
            "asyncpg",
            "hostaddr=10.0.0.7&sslmode=verify-full",
            "it would compare the server's certificate with the numeric address",
        ),
        ("pymysql", "aiomysql", "read_default_file=/x", "for aiomysql alone the file wins over the URL"),
        (
            "pymysql",
            "aiomysql",
            "db=x",
            "the drivers differ in what they make of it; the path of the URL is clear to all",
        ),
        ("mysqldb", "aiomysql", "unix_socket=/x", "it would dial the socket, while mysqldb dials the host"),
    ],
)
def test_the_reason_tells_what_is_in_the_way(source: str, target: str, query: str, reason: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        translate(make_url(f"x://h/?{query}").query, source, target, host="h")
    assert (caught.value.reason, str(caught.value)) == (reason, reason)


# --- secrets ------------------------------------------------------------------------------------------------------


def test_a_choice_shows_no_secret() -> None:
    choice = choose(async_twin, "postgresql+psycopg2://app:geheim@h/shop?sslpassword=geheim&password=geheim")
    assert "geheim" not in repr(choice)
    assert repr(choice) == "DriverChoice('postgresql+asyncpg://app:***@h/shop?password=***')"
    assert "geheim" in str(choice.connect_args)


@pytest.mark.parametrize(
    ("url", "installed"),
    [
        ("postgresql+psycopg2://app:geheim@h/shop?password=geheim", frozenset[str]()),
        ("postgresql+psycopg2://app:geheim@h/shop?password=geheim&service=x", frozenset({"asyncpg"})),
    ],
)
def test_the_frames_of_an_error_hold_no_secret(url: str, installed: frozenset[str]) -> None:
    with pytest.raises((MissingDependencyError, InvalidSettingError)) as caught:
        choose(async_twin, url, installed)
    frames = [entry.frame for entry in caught.traceback if entry.path != Path(__file__)]
    assert frames
    assert "geheim" not in "".join(repr(frame.f_locals) for frame in frames)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "geheim" not in str(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301 - our own pickle


# --- merging ------------------------------------------------------------------------------------------------------


def test_the_users_connect_args_win() -> None:
    choice = DriverChoice(make_url("postgresql+asyncpg://"), {"timeout": 5.0, "dsn": "x"})
    assert choice.merge({"timeout": 1}) == {"timeout": 1, "dsn": "x"}
    assert choice.merge(None) == choice.merge({}) == {"timeout": 5.0, "dsn": "x"}


def test_server_settings_are_merged_one_by_one_and_nothing_is_changed_in_place() -> None:
    ours = {"server_settings": {"jit": "off", "application_name": "a"}}
    theirs = {"server_settings": {"application_name": "b"}}
    choice = DriverChoice(make_url("postgresql+asyncpg://"), ours)
    assert choice.merge(theirs) == {"server_settings": {"jit": "off", "application_name": "b"}}
    assert ours == {"server_settings": {"jit": "off", "application_name": "a"}}
    assert theirs == {"server_settings": {"application_name": "b"}}


def test_server_settings_that_are_no_mapping_are_left_to_the_driver() -> None:
    choice = DriverChoice(make_url("postgresql+asyncpg://"), {"server_settings": {"jit": "off"}})
    assert choice.merge({"server_settings": None}) == {"server_settings": None}


# --- properties ---------------------------------------------------------------------------------------------------

postgresql = st.sampled_from(
    ["postgresql", "postgres", *(f"postgresql+{name}" for name in SYNC_TWINS["postgresql"] if name)]
)
mysql = st.sampled_from(
    [
        f"{backend}{name and '+'}{name}"
        for backend in ("mysql", "mariadb")
        for name in ("", "pymysql", "aiomysql", "asyncmy")
    ]
)
words = st.sampled_from(
    ["shop", "test_a", "localhost", "a,b", "/run/x", "require", "disable", "5", "0", "10.0.0.7", "true"]
)
keys = st.sampled_from(
    [*LIBPQ_KEYS, *MYSQL_KEYS, "ssl", "database", "db", "timeout", "direct_tls", "statement_cache_size", "ssl_ca"],
)
queries = st.dictionaries(keys, words, max_size=4)
hosts = st.sampled_from([None, "localhost", "db.example.org", "10.0.0.7"])


def address_facts(url: URL, connect_args: Mapping[str, Any]) -> tuple[object, ...]:
    address = address_of(url, connect_args, {})
    return address.backend, address.database, address.hosts, address.switched, address.service


@settings(deadline=None, max_examples=300)
@given(postgresql | mysql, hosts, st.sampled_from([None, "shop", "test_a"]), queries, st.booleans())
def test_both_engines_reach_the_same_database(
    drivername: str, host: str | None, database: str | None, query: dict[str, str], has_psycopg: bool
) -> None:
    url = URL.create(drivername, host=host, database=database, query=query)
    installed = ALL - {"MySQLdb"} - (frozenset() if has_psycopg else {"psycopg"})
    try:
        sync_choice = sync_twin(url, is_installed=installed.__contains__)
        async_choice = async_twin(url, is_installed=installed.__contains__)
    except (InvalidSettingError, MissingDependencyError):
        return
    sync_facts = address_facts(sync_choice.url, sync_choice.connect_args)
    async_facts = address_facts(async_choice.url, async_choice.connect_args)
    if not sync_facts[3]:
        assert async_facts == sync_facts


@settings(deadline=None)
@given(
    postgresql | mysql | st.sampled_from(["sqlite", "sqlite+aiosqlite"]),
    queries,
    st.sampled_from([sync_twin, async_twin]),
)
def test_choosing_again_changes_nothing(drivername: str, query: dict[str, str], twin: Twin) -> None:
    try:
        first = twin(URL.create(drivername, database="shop", query=query), is_installed=ALL.__contains__)
        again = twin(first.url, is_installed=ALL.__contains__)
    except InvalidSettingError:
        return
    assert again.url == first.url


@settings(deadline=None)
@given(
    postgresql | mysql,
    st.text(string.ascii_letters + string.digits, min_size=8, max_size=12),
    queries,
    st.sampled_from([sync_twin, async_twin]),
)
def test_no_error_shows_a_secret(drivername: str, secret: str, query: dict[str, str], twin: Twin) -> None:
    secret = f"Zq{secret}"
    url = URL.create(drivername, username="app", password=secret, host="h", query={**query, "password": secret})
    shown: object = None
    try:
        shown = twin(url, is_installed={"asyncpg", "aiomysql", "psycopg2", "pymysql"}.__contains__)
    except (InvalidSettingError, MissingDependencyError) as error:
        shown = f"{error}{error!r}"
    assert secret not in repr(shown)


@pytest.mark.parametrize(
    "driver", sorted({d for twins in (SYNC_TWINS, ASYNC_TWINS) for t in twins.values() for c in t.values() for d in c})
)
def test_every_choice_is_a_driver_that_sqlalchemy_knows(driver: str) -> None:
    backends = {
        backend
        for twins in (SYNC_TWINS, ASYNC_TWINS)
        for backend, t in twins.items()
        if any(driver in c for c in t.values())
    }
    for backend in backends:
        dialect = URL.create(f"{backend}+{driver}").get_dialect()
        assert dialect.driver == driver.removesuffix("_async")


@pytest.mark.parametrize(("twins", "is_async"), [(SYNC_TWINS, False), (ASYNC_TWINS, True)])
def test_a_sync_choice_is_sync_and_an_async_one_async(
    twins: Mapping[str, Mapping[str, tuple[str, ...]]], is_async: bool
) -> None:
    for backend, choices in twins.items():
        for driver in {driver for candidates in choices.values() for driver in candidates}:
            url = URL.create(f"{backend}+{driver}")
            dialect = url.get_dialect(_is_async=True).get_async_dialect_cls(url) if is_async else url.get_dialect()
            assert dialect.is_async is is_async


def test_the_modules_that_are_asked_for_are_those_that_can_be_imported() -> None:
    asked: set[str] = set()

    def is_installed(module: str) -> bool:
        asked.add(module)
        return True

    for backend in ("sqlite", "postgresql", "mysql"):
        for twin in (sync_twin, async_twin):
            twin(URL.create(backend), is_installed=is_installed)
    assert {module for module in asked if find_spec(module) is None} <= {"MySQLdb"}
