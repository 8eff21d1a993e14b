"""Where a test database stands, and how it is connected to while it is built.

Answers: how does code that needs a sync connection, or an async one, get it, whatever driver the application uses? It
does not know what is built, nor when.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib.util
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from engineroom._address import mask_url
from engineroom._address.server import is_local_host
from engineroom._drivers import async_twin, sync_twin
from engineroom.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection, Engine

    from engineroom._drivers import DriverChoice

__all__ = ["NAME_OPTIONS", "Place", "in_own_thread"]

NAME_OPTIONS = ("dbname", "database", "db")
PORTS = {"postgresql": 5432, "mysql": 3306}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """The place of a test database. It has no repr of its parts, as they hold secrets.

    Attributes:
        url: The URL that the application's engine got.
        connect_args: What that engine's driver takes besides.
        is_async: Whether it is a driver for asyncio.
    """

    url: URL
    connect_args: dict[str, Any] = field(default_factory=dict)
    is_async: bool = False

    def __repr__(self) -> str:
        """Show the URL without its secrets."""
        return f"Place({mask_url(self.url)!r})"

    @property
    def backend(self) -> str:
        """SQLAlchemy's name of the database system; MariaDB is ``mysql`` too."""
        name = self.url.get_backend_name()
        return "mysql" if name == "mariadb" else name

    @property
    def name(self) -> str:
        """The name of the database; for SQLite the file."""
        named = [value for key in NAME_OPTIONS if isinstance(value := self.connect_args.get(key), str)]
        named += [value for key in NAME_OPTIONS if isinstance(value := self.url.query.get(key), str)]
        return named[0] if named else str(self.url.database)

    @property
    def key(self) -> tuple[object, ...]:
        """What tells this database from all others, whatever the driver."""
        host = str(self.connect_args.get("host") or self.url.query.get("host") or self.url.host or "")
        port = self.connect_args.get("port") or self.url.query.get("port") or self.url.port
        is_here = is_local_host(host) and not host.startswith(("/", "@"))
        return (self.backend, "localhost" if is_here else host, str(port or PORTS.get(self.backend, "")), self.name)

    def named(self, name: str) -> Place:
        """Return the place of another database, which is reached in the same way."""
        query = {key: name for key in NAME_OPTIONS if key in self.url.query}
        args = {key: name for key in NAME_OPTIONS if key in self.connect_args}
        url = self.url.set(database=name) if not query else self.url.update_query_dict(query)
        return replace(self, url=url, connect_args={**self.connect_args, **args})

    def sync_choice(self) -> DriverChoice | None:
        """Return the URL and the arguments of a sync engine; None where only the async driver reaches the database.

        An application's own ``connect_args`` are for its own driver.
        """
        if self.is_async and self.connect_args:
            return None
        try:
            return sync_twin(self.url, is_installed=_is_installed)
        except MissingDependencyError:
            return None

    @contextmanager
    def sync_engine(self) -> Iterator[Engine]:
        """Make a sync engine that keeps no connection.

        Raises:
            MissingDependencyError: No sync driver is installed.
        """
        choice = self.sync_choice() or sync_twin(self.url, is_installed=_is_installed)
        args = choice.connect_args if self.is_async else choice.merge(self.connect_args)
        engine = create_engine(choice.url, connect_args=args, poolclass=NullPool)
        try:
            yield engine
        finally:
            engine.dispose()

    def async_engine(self) -> AsyncEngine:
        """Make an async engine that keeps no connection.

        Raises:
            MissingDependencyError: No async driver is installed.
        """
        choice = async_twin(self.url, is_installed=_is_installed)
        args = choice.merge(self.connect_args) if self.is_async else choice.connect_args
        return create_async_engine(choice.url, connect_args=args, poolclass=NullPool)

    def run(self, call: Callable[[Connection], T]) -> T:
        """Call something with a sync connection, by way of the async driver where there is no other."""
        __tracebackhide__ = True
        if self.sync_choice() is None:
            return in_own_thread(lambda: asyncio.run(self._run_async(call)))
        with self.sync_engine() as engine, engine.connect() as connection:
            return call(connection)

    async def _run_async(self, call: Callable[[Connection], T]) -> T:
        __tracebackhide__ = True
        async with self.async_engine().connect() as connection:
            return await connection.run_sync(call)


def in_own_thread(call: Callable[[], T]) -> T:
    """Run something that needs an event loop of its own; the caller's may be running."""
    __tracebackhide__ = True
    results: list[T] = []
    failures: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            results.append(context.run(call))
        except BaseException as error:  # noqa: BLE001  # it is raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, name="engineroom-schema")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
