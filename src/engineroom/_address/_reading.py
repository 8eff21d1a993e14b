"""Reads the final arguments of a driver: the URL's, as its dialect hands them over, merged with ``connect_args``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engineroom._address._model import Address, unknown_address
from engineroom._address.server import LIBPQ_DRIVERS, is_local_host, server_address, split_hosts
from engineroom._address.sqlite import sqlite_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import URL

__all__ = ["KNOWN_DRIVERS", "address_of", "address_of_arguments", "is_local"]

MYSQL_DRIVERS = frozenset(
    {"pymysql", "aiomysql", "asyncmy", "mysqldb", "cymysql", "mysqlconnector", "mariadbconnector"}
)
KNOWN_DRIVERS: Mapping[str, frozenset[str]] = {
    "sqlite": frozenset({"pysqlite", "aiosqlite"}),
    "postgresql": LIBPQ_DRIVERS | {"asyncpg", "pg8000"},
    "mysql": MYSQL_DRIVERS,
    "mariadb": MYSQL_DRIVERS,
}
TRUE_WORDS = {"true", "yes", "on", "y", "t", "1"}
URI_POSITION = 7
"""Where ``uri`` stands among the arguments of :func:`sqlite3.connect`."""


def address_of(
    url: URL,
    connect_args: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Address:
    """Return what an engine of this URL reaches; never raises, and opens nothing.

    Args:
        url: The URL. ``postgres://`` is understood.
        connect_args: The engine's ``connect_args``, which win over the URL.
        environ: The process environment, where PostgreSQL's drivers look for what the URL leaves out. Without it, what
            the URL leaves out is unknown.

    Returns:
        The address.

    Example:
        >>> from sqlalchemy.engine import make_url
        >>> address_of(make_url("postgresql+psycopg://localhost/test_shop?dbname=shop")).database
        'shop'
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  # the fence asks about a driver without it

    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    backend = url.get_backend_name()
    if backend not in KNOWN_DRIVERS:
        return unknown_address(backend, url.drivername.partition("+")[2])
    # Loading the dialect of a driver that we do not know would run code of others for nothing.
    driver = url.drivername.partition("+")[2] or url.get_dialect().driver
    if driver.removesuffix("_async") not in KNOWN_DRIVERS[backend]:
        return unknown_address(backend, driver)
    try:
        args, kwargs = _driver_arguments(url, backend)
    except (SQLAlchemyError, ValueError, TypeError, AttributeError, AssertionError):
        return unknown_address(backend, driver)
    return address_of_arguments(backend, driver, args, {**kwargs, **(connect_args or {})}, environ)


def address_of_arguments(
    backend: str,
    driver: str,
    args: Sequence[object],
    kwargs: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> Address:
    """Return what a driver's ``connect(*args, **kwargs)`` reaches.

    Args:
        backend: SQLAlchemy's name of the database system.
        driver: SQLAlchemy's name of the driver.
        args: The positional arguments.
        kwargs: The keyword arguments.
        environ: The process environment; see :func:`address_of`.

    Returns:
        The address.

    Example:
        >>> address_of_arguments("postgresql", "psycopg2", ["dbname=shop host=/run/postgresql"], {}).hosts
        ('/run/postgresql',)
    """
    driver = driver.removesuffix("_async")
    if driver not in KNOWN_DRIVERS.get(backend, ()) or kwargs.get("async_creator_fn") is not None:
        return unknown_address(backend, driver)
    if backend == "sqlite":
        return _sqlite_arguments(driver, args, kwargs)
    return server_address(backend, driver, args, kwargs, environ)


def is_local(address: Address, environ: Mapping[str, str]) -> bool:
    """Tell whether an address is on this machine: every host is loopback or a unix socket.

    Args:
        address: The address.
        environ: The process environment: PostgreSQL's drivers take hosts from it, ``PGHOSTADDR`` even where the URL
            names a host.

    Returns:
        Whether it is. What cannot be told is not.

    Example:
        >>> is_local(Address("postgresql", "psycopg", "shop", hosts=("localhost",)), {})
        True
        >>> is_local(Address("postgresql", "psycopg", "shop", hosts=("localhost",)), {"PGHOSTADDR": "10.0.0.7"})
        False
    """
    if address.switched or address.service or address.driver not in KNOWN_DRIVERS.get(address.backend, ()):
        return False
    hosts = list(address.hosts)
    if address.driver in LIBPQ_DRIVERS | {"asyncpg"}:
        if environ.get("PGSERVICE"):
            return False
        hosts = hosts or split_hosts(environ.get("PGHOST"))
    if address.driver in LIBPQ_DRIVERS:
        hosts += split_hosts(environ.get("PGHOSTADDR"))
    return all(is_local_host(host) for host in hosts)


def _driver_arguments(url: URL, backend: str) -> tuple[Sequence[object], Mapping[str, Any]]:
    uri = url.query.get("uri", "")
    if backend == "sqlite" and isinstance(uri, str) and uri.strip().lower() not in TRUE_WORDS:
        # The dialect ignores these then; from SQLAlchemy 2.1 on it warns, which is its engine's business.
        url = url.difference_update_query([key for key in url.query if key != "uri"])
    try:
        args, kwargs = url.get_dialect()().create_connect_args(url)
    except ImportError:
        # Some dialects need their driver for this. They all pass the parts of the URL on, and the query over them.
        args, kwargs = [], {**url.translate_connect_args(username="user"), **url.query}
    return args, kwargs


def _sqlite_arguments(driver: str, args: Sequence[object], kwargs: Mapping[str, Any]) -> Address:
    database = kwargs.get("database", args[0] if args else None)
    if not isinstance(database, str | bytes | os.PathLike):
        return unknown_address("sqlite", driver)
    uri = bool(kwargs.get("uri", args[URI_POSITION] if len(args) > URI_POSITION else False))
    if not uri and os.fsdecode(database).startswith("file:"):
        # A SQLite built with SQLITE_USE_URI reads it as a URI nevertheless. A dialect never gets here: it hands over
        # an absolute path.
        return unknown_address("sqlite", driver)
    return replace(sqlite_address(database, uri=uri), driver=driver)
