"""The test twin of a database on a server: the same URL, with ``test_`` before the database name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engineroom._address._reading import address_of
from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = ["fit_name", "test_twin"]

PREFIX = "test_"
POSTGRESQL_BYTES = 63
MYSQL_LETTERS = 64
DIGEST_LETTERS = 12


def test_twin(url: URL) -> URL:
    """Return the URL of the test twin: ``test_`` before the database name, and nothing else changed.

    The twin is never the database itself, also where its name starts with ``test_`` already. A name that gets too long
    for the server is shortened with a hash.

    Args:
        url: The URL of a database on a server. The name may stand in its path or in its query.

    Returns:
        The URL of the twin.

    Raises:
        InvalidSettingError: The URL does not tell which database it reaches, or it is not one of a server.

    Example:
        >>> from sqlalchemy.engine import make_url
        >>> print(test_twin(make_url("postgresql+psycopg://localhost/shop")))
        postgresql+psycopg://localhost/test_shop
    """
    twin = _twin(url)
    if twin is None:
        del url
        raise InvalidSettingError(
            "The database URL has no test twin.",
            why="it does not tell which database of a server it reaches in the end.",
            fix=["name the database in the path of the URL", "set TEST_DATABASE_URL to the URL of a test database"],
        )
    return twin


def _twin(url: URL) -> URL | None:
    name = address_of(url).database
    if name is None or url.get_backend_name() == "sqlite":
        return None
    wanted = fit_name(PREFIX + name, url.get_backend_name())
    keys = [key for key in ("dbname", "database", "db") if url.query.get(key) == name]
    twin = url.update_query_dict({keys[0]: wanted}) if keys else url.set(database=wanted)
    # Where the name came from elsewhere, the change did not reach it.
    return twin if address_of(twin).database == wanted else None


def fit_name(name: str, backend: str) -> str:
    """Return a database name that the server takes whole: a longer one is cut, and told apart by a hash.

    PostgreSQL would cut it without an error at 63 bytes, and make one database of two; MySQL and MariaDB refuse more
    than 64 letters.

    Args:
        name: The name.
        backend: SQLAlchemy's name of the database system.

    Returns:
        The name, or its start with a hash of the whole.

    Example:
        >>> fit_name("test_shop", "postgresql")
        'test_shop'
        >>> fit_name("test_" + "x" * 99, "postgresql")
        'test_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_5d589875b61b'
    """
    if _fits(name, backend):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LETTERS]
    head = name
    while not _fits(f"{head}_{digest}", backend):
        head = head[:-1]
    return f"{head}_{digest}"


def _fits(name: str, backend: str) -> bool:
    if backend in {"mysql", "mariadb"}:
        return len(name) <= MYSQL_LETTERS
    return len(name.encode(errors="surrogatepass")) <= POSTGRESQL_BYTES
