"""Which database and which hosts a server's driver takes from its arguments, and what may change that afterwards."""

from __future__ import annotations

import ipaddress
import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from engineroom._address._model import Address, unknown_address
from engineroom._address.conninfo import looks_like_conninfo, read_asyncpg_dsn, read_conninfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LIBPQ_DRIVERS", "is_local_host", "server_address", "split_hosts"]

LIBPQ_DRIVERS = frozenset({"psycopg", "psycopg2", "psycopg2cffi"})
SOCKET_BEFORE_HOST = frozenset({"pymysql", "aiomysql", "asyncmy", "pg8000"})
"""Drivers that dial the socket where both a socket and a host are given."""

NAME_KEYS = ("dbname", "database", "db")
SOCKET_KEYS = ("unix_socket", "unix_sock")
OPENING_KEYS = frozenset(
    {
        # Each of these brings in settings, or a connection, from a place that the arguments do not show.
        *("default_file", "default_group", "option_files", "option_groups", "failover", "sock", "odbc_connect"),
    },
)
FILE_KEYS = ("read_default_file", "read_default_group")
ARGUMENT_BEFORE_FILE = frozenset({"pymysql", "asyncmy"})
"""Drivers for which an option file only fills in what the arguments leave out. It may hold no command for them."""

HARMLESS_STATEMENT = re.compile(r"\s*(?:SET\s+(?!STATEMENT\b).*)?\Z", re.IGNORECASE | re.DOTALL)
SUSPECT_WORD = re.compile(r"\bUSE\b|/\*|\\", re.IGNORECASE)


def server_address(
    backend: str,
    driver: str,
    args: Sequence[object],
    kwargs: Mapping[str, Any],
    environ: Mapping[str, str] | None,
) -> Address:
    """Return what the driver of a server reaches with these arguments.

    Example:
        >>> server_address("mysql", "pymysql", [], {"database": "shop", "unix_socket": "/run/mysqld.sock"}, {}).hosts
        ('/run/mysqld.sock',)
    """
    settings = _settings(driver, args, kwargs)
    if settings is None or _is_switched(driver, settings):
        return unknown_address(backend, driver)
    names = {settings[key] if isinstance(settings[key], str) else None for key in NAME_KEYS if settings.get(key)}
    service = _has_file(backend, settings, environ)
    hosts = _hosts(driver, settings)
    if not names and backend == "postgresql" and not service:
        names = _default_names(settings, environ)
    if not names and backend != "postgresql" and not service:
        return Address(backend, driver, None, hosts=hosts)
    name = names.pop() if len(names) == 1 else None
    if name is None or (backend == "postgresql" and looks_like_conninfo(name)):
        return Address(backend, driver, None, hosts=hosts, switched=True, service=service)
    return Address(backend, driver, name, hosts=hosts, service=service)


def split_hosts(hosts: object) -> list[str]:
    """Return the hosts of a list, or of a string that lists them with commas.

    Example:
        >>> split_hosts("a,b"), split_hosts(["a"]), split_hosts(None)
        (['a', 'b'], ['a'], [])
    """
    parts = hosts if isinstance(hosts, list | tuple) else str(hosts or "").split(",")
    return [str(part).strip() for part in parts if str(part).strip()]


def is_local_host(host: str) -> bool:
    """Tell whether a host is this machine: loopback, or the path of a unix socket.

    Example:
        >>> is_local_host("127.0.0.1"), is_local_host("/run/postgresql"), is_local_host("localhost.example.org")
        (True, True, False)
    """
    if host.startswith(("/", "@")):
        return True
    if host.casefold().removesuffix(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _settings(driver: str, args: Sequence[object], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the driver's settings with its connection string unfolded, or None where that cannot be read."""
    given = {key: value for key, value in kwargs.items() if value is not None}
    strings = [given.pop(key) for key in ("dsn", "conninfo") if key in given] + list(args[:1])
    texts = [text for text in strings if text is not None and text != ""]
    if not texts:
        return given
    reads = {"asyncpg": read_asyncpg_dsn, **dict.fromkeys(LIBPQ_DRIVERS, read_conninfo)}
    if driver not in reads or len(texts) > 1 or not isinstance(texts[0], str):
        return None
    settings = reads[driver](texts[0])
    if settings is None:
        return None
    if any(key in given for key in NAME_KEYS):
        settings = {key: value for key, value in settings.items() if key not in NAME_KEYS}
    return {**settings, **given}


def _has_file(backend: str, settings: Mapping[str, Any], environ: Mapping[str, str] | None) -> bool:
    """Tell whether the driver fills in what is missing from a service file or an option file."""
    if backend == "postgresql":
        return bool(settings.get("service") or (environ or {}).get("PGSERVICE"))
    return any(settings.get(key) for key in FILE_KEYS)


def _is_switched(driver: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether something in the settings may lead to another database than the one they name."""
    if any(settings.get(key) for key in OPENING_KEYS):
        return True
    if driver not in ARGUMENT_BEFORE_FILE and any(settings.get(key) for key in FILE_KEYS):
        return True
    # asyncpg sends these as parameters of the start-up packet, where the last "database" holds.
    server_settings = settings.get("server_settings") or {}
    if not isinstance(server_settings, dict) or "database" in server_settings:
        return True
    commands = [settings.get("init_command"), settings.get("sql_mode") and f"SET sql_mode={settings['sql_mode']}"]
    return not all(_is_harmless(command) for command in commands if command)


def _is_harmless(command: object) -> bool:
    """Tell whether the first statements of a connection surely select no other database."""
    if not isinstance(command, str) or SUSPECT_WORD.search(command):
        return False
    # A semicolon in a string splits as well: that makes more parts to look at, never fewer.
    return all(HARMLESS_STATEMENT.match(part) for part in command.split(";"))


def _default_names(settings: Mapping[str, Any], environ: Mapping[str, str] | None) -> set[Any]:
    """Return the name that PostgreSQL's drivers take where none is given: PGDATABASE, else the user's."""
    if environ is None or any(settings.get(key) == "" for key in NAME_KEYS):
        return set()
    name = environ.get("PGDATABASE") or settings.get("user") or environ.get("PGUSER")
    return {name} if name else set()


def _hosts(driver: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    sockets = [str(settings[key]) for key in SOCKET_KEYS if settings.get(key)]
    if sockets and driver in SOCKET_BEFORE_HOST:
        return tuple(sockets)
    hosts, addresses = settings.get("host"), settings.get("hostaddr")
    if addresses and driver in LIBPQ_DRIVERS:
        pairs = zip_longest(str(addresses).split(","), str(hosts or "").split(","), fillvalue="")
        return tuple(dialled for address, host in pairs if (dialled := (address or host).strip()))
    return tuple(sockets + split_hosts(hosts))
