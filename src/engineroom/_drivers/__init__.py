"""Which driver is the sync or the async twin of a URL's, and how its options are called there.

Both engines of a bind must reach the same database in the same way. So an option that the other driver cannot take is
an error, never dropped in silence. Imports no driver: whether one is installed is asked through an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engineroom._address import mask_url
from engineroom._drivers.options import DRIVER_OPTIONS, Untranslatable, translate
from engineroom.errors import EngineroomError, InvalidSettingError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.engine import URL

__all__ = ["ASYNC_TWINS", "MODULES", "SYNC_TWINS", "DriverChoice", "async_twin", "sync_twin"]

MODULES: Mapping[str, str] = {"mysqldb": "MySQLdb", "pysqlite": "sqlite3"}
"""The module of a driver, where it is not called as SQLAlchemy calls the driver."""

DISTRIBUTIONS: Mapping[str, str] = {"mysqldb": "mysqlclient", "aiosqlite": "aiosqlite"}
"""What to install for a driver that is no extra of engineroom."""

POSTGRESQL_SYNC: Mapping[str, tuple[str, ...]] = {
    "": ("psycopg", "psycopg2"),
    "asyncpg": ("psycopg", "psycopg2"),
    "psycopg_async": ("psycopg",),
    "psycopg": ("psycopg",),
    "psycopg2": ("psycopg2",),
}
POSTGRESQL_ASYNC: Mapping[str, tuple[str, ...]] = {
    "": ("psycopg", "asyncpg"),
    "psycopg": ("psycopg",),
    "psycopg_async": ("psycopg_async",),
    "asyncpg": ("asyncpg",),
    "psycopg2": ("asyncpg", "psycopg"),
}
MYSQL_SYNC: Mapping[str, tuple[str, ...]] = {
    "": ("mysqldb", "pymysql"),
    "aiomysql": ("pymysql",),
    "asyncmy": ("pymysql",),
    "mysqldb": ("mysqldb",),
    "pymysql": ("pymysql",),
}
MYSQL_ASYNC: Mapping[str, tuple[str, ...]] = {
    "aiomysql": ("aiomysql",),
    "asyncmy": ("asyncmy",),
    **dict.fromkeys(("", "mysqldb", "pymysql"), ("aiomysql", "asyncmy")),
}
SYNC_TWINS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sqlite": {"": ("pysqlite",), "pysqlite": ("pysqlite",), "aiosqlite": ("pysqlite",)},
    "postgresql": POSTGRESQL_SYNC,
    "mysql": MYSQL_SYNC,
    "mariadb": MYSQL_SYNC,
}
"""The drivers that may serve a sync engine, best first, by backend and the URL's driver; "" where it names none."""

ASYNC_TWINS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "sqlite": dict.fromkeys(("", "pysqlite", "aiosqlite"), ("aiosqlite",)),
    "postgresql": POSTGRESQL_ASYNC,
    "mysql": MYSQL_ASYNC,
    "mariadb": MYSQL_ASYNC,
}
"""The same for an async engine."""


@dataclass(frozen=True, slots=True)
class DriverChoice:
    """The URL for one kind of engine, and what its driver takes only as ``connect_args``.

    Attributes:
        url: The URL, with the driver's name written out.
        connect_args: What cannot stand in the query of this driver.

    Example:
        >>> from sqlalchemy.engine import make_url
        >>> async_twin(make_url("sqlite:///shop.db"), is_installed=lambda module: True)
        DriverChoice('sqlite+aiosqlite:///shop.db')
    """

    url: URL
    connect_args: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show the URL without its secrets; the other arguments may hold some."""
        return f"DriverChoice({mask_url(self.url)!r})"

    def merge(self, connect_args: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return these arguments with the user's own over them; server settings are merged one by one.

        Example:
            >>> from sqlalchemy.engine import make_url
            >>> choice = DriverChoice(make_url("postgresql+asyncpg://"), {"server_settings": {"jit": "off"}})
            >>> choice.merge({"timeout": 5, "server_settings": {"application_name": "shop"}})
            {'server_settings': {'jit': 'off', 'application_name': 'shop'}, 'timeout': 5}
        """
        given = dict(connect_args or {})
        ours, theirs = self.connect_args.get("server_settings"), given.get("server_settings")
        if isinstance(ours, dict) and isinstance(theirs, dict):
            given["server_settings"] = {**ours, **theirs}
        return {**self.connect_args, **given}


def sync_twin(url: URL, *, is_installed: Callable[[str], bool]) -> DriverChoice:
    """Return what a sync engine of this database needs.

    Args:
        url: The URL, for a sync or an async driver, or without one.
        is_installed: Tells whether a module can be imported.

    Returns:
        The choice. A URL of a backend or driver that engineroom does not know is left as it is.

    Raises:
        InvalidSettingError: The driver cannot take an option of the URL.
        MissingDependencyError: No driver that could serve is installed.

    Example:
        >>> from sqlalchemy.engine import make_url
        >>> sync_twin(make_url("postgres://localhost/shop"), is_installed=lambda module: True)
        DriverChoice('postgresql+psycopg://localhost/shop')
    """
    choice = _exchange_or_error(url, SYNC_TWINS, "a sync engine", is_installed)
    if isinstance(choice, EngineroomError):
        del url  # a traceback that shows locals must not show its query
        raise choice
    return choice


def async_twin(url: URL, *, is_installed: Callable[[str], bool]) -> DriverChoice:
    """Return what an async engine of this database needs; see :func:`sync_twin`.

    Args:
        url: The URL, for a sync or an async driver, or without one.
        is_installed: Tells whether a module can be imported.

    Returns:
        The choice.

    Raises:
        InvalidSettingError: The driver cannot take an option of the URL.
        MissingDependencyError: No driver that could serve is installed.

    Example:
        >>> from sqlalchemy.engine import make_url
        >>> url = make_url("postgresql+psycopg2://localhost/shop?sslmode=require&application_name=till")
        >>> choice = async_twin(url, is_installed=lambda module: True)
        >>> choice
        DriverChoice('postgresql+asyncpg://localhost/shop?ssl=require')
        >>> choice.connect_args
        {'server_settings': {'application_name': 'till'}}
    """
    choice = _exchange_or_error(url, ASYNC_TWINS, "an async engine", is_installed)
    if isinstance(choice, EngineroomError):
        del url  # a traceback that shows locals must not show its query
        raise choice
    return choice


def _exchange_or_error(
    url: URL,
    twins: Mapping[str, Mapping[str, tuple[str, ...]]],
    engine: str,
    is_installed: Callable[[str], bool],
) -> DriverChoice | EngineroomError:
    """Exchange the driver; an error comes without the frames whose locals hold the URL."""
    try:
        return _exchange(url, twins, engine, is_installed)
    except EngineroomError as error:
        return error.without_traceback()


def _exchange(
    url: URL,
    twins: Mapping[str, Mapping[str, tuple[str, ...]]],
    engine: str,
    is_installed: Callable[[str], bool],
) -> DriverChoice:
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    backend, _, driver = url.drivername.partition("+")
    candidates = twins.get(backend, {}).get(driver, ())
    if not candidates:
        return DriverChoice(url)
    installed = [candidate for candidate in candidates if is_installed(_module_of(candidate))]
    if not installed:
        raise _missing(url, engine, candidates)
    failures: list[tuple[str, Untranslatable]] = []
    for candidate in installed:
        try:
            return _take_over(url, backend, driver, candidate)
        except Untranslatable as failure:
            failures.append((candidate, failure))
    raise _invalid(url, engine, *failures[0])


def _take_over(url: URL, backend: str, driver: str, candidate: str) -> DriverChoice:
    if candidate == "pysqlite":
        # A plain URL stays plain: it is what people write, and what they know from messages.
        return DriverChoice(url if driver != "aiosqlite" else url.set(drivername="sqlite"))
    drivername = f"{backend}+{candidate}"
    target = candidate.removesuffix("_async")
    if target not in DRIVER_OPTIONS:
        return DriverChoice(url.set(drivername=drivername))
    query, connect_args = translate(url.query, driver.removesuffix("_async"), target, host=url.host)
    return DriverChoice(url.set(drivername=drivername, query=query), connect_args)


def _module_of(driver: str) -> str:
    return MODULES.get(driver, driver.removesuffix("_async"))


def _missing(url: URL, engine: str, candidates: Sequence[str]) -> MissingDependencyError:
    names = " or ".join(candidate.removesuffix("_async") for candidate in candidates)
    neither = "it cannot be imported" if len(candidates) == 1 else "none of them can be imported"
    return MissingDependencyError(
        f"The driver {names} is not installed.",
        why=f"{engine} of {_show(url)} needs {names}, and {neither}.",
        fix=[f"install it: {_install_line(candidate)}" for candidate in candidates],
    )


def _show(url: URL) -> str:
    """Return the URL without its query, whose malformed values are not repeated."""
    return mask_url(url.set(query={}))


def _install_line(driver: str) -> str:
    name = driver.removesuffix("_async")
    return f"pip install {DISTRIBUTIONS[name]}" if name in DISTRIBUTIONS else f'pip install "engineroom[{name}]"'


def _invalid(url: URL, engine: str, driver: str, failure: Untranslatable) -> InvalidSettingError:
    fix = [f"take {failure.shown_key} out of the database URL"]
    if driver == "asyncpg":
        fix.append(f"use one driver for both kinds of engine: {_install_line('psycopg')}, and postgresql+psycopg://")
    return InvalidSettingError(
        f"The option {failure.shown_key} of the database URL cannot be used with {driver}.",
        why=f"{engine} of {_show(url)} uses {driver}, and {failure.reason}.",
        fix=fix,
    )
