"""The databases on servers that ``isolation.py`` measures with: made for each run, and dropped after it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["django_settings", "empty_database", "find_server"]

SERVERS = {
    "postgresql": ("ENGINEROOM_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("ENGINEROOM_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/mysql"),
}
"""Where each is found, as in the tests: the variable that names it, and the URL that is tried without it."""
DRIVERS = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql"}


def find_server(kind: str) -> URL | None:
    """Return the URL of a server that answers, or None."""
    variable, default = SERVERS[kind]
    url = make_url(os.environ.get(variable) or default).set(drivername=DRIVERS[kind])
    try:
        _run(url, "SELECT 1")
    except DBAPIError:
        return None
    return url


@contextmanager
def empty_database(url: URL, name: str, *, is_made: bool) -> Iterator[None]:
    """Have no database of a name, or an empty one, and drop it afterwards.

    Args:
        url: The server.
        name: The database.
        is_made: Whether it is made here, or by the run.
    """
    _run(url, f"DROP DATABASE IF EXISTS {name}")
    if is_made:
        _run(url, f"CREATE DATABASE {name}")
    try:
        yield
    finally:
        _run(url, f"DROP DATABASE IF EXISTS {name}")


def django_settings(url: URL, name: str) -> dict[str, str]:
    """Return how Django names a database on PostgreSQL."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "HOST": url.host or "",
        "PORT": str(url.port or ""),
    }


def _run(url: URL, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
