"""Builds the schema of a test database, and fills in its seed, at the first connection of the run.

Answers: what does ``schema`` in ``[tool.engineroom]`` refer to, and has it been built yet? It builds on databases that
were found to be disposable by others, and does not know what happens to them between tests.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, MetaData, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from engineroom._binds import DEFAULT_BIND
from engineroom._project import BindConfiguration
from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL

    from engineroom._project import Project

__all__ = ["Build", "build_before_first_connection", "configuration_of", "known_builds", "when_built"]

SECONDS_TO_WAIT = 60.0


class Build:
    """The one build of a bind's test database in this process.

    Args:
        bind: The name of the bind.
        url: The URL of the database, for a sync driver.
        configuration: What it is built from.
    """

    def __init__(self, bind: str, url: URL, configuration: BindConfiguration) -> None:
        """Remember what is to be built; nothing is imported yet."""
        self.bind = bind
        self.url = url
        self.configuration = configuration
        self.failure: BaseException | None = None
        self._builders: set[int] = set()
        self._is_done = threading.Event()
        self._mutex = threading.Lock()

    @property
    def is_done(self) -> bool:
        """Whether the database is built, or could not be."""
        return self._is_done.is_set()

    def ensure(self) -> None:
        """Build the database, if nobody did; who connects while another thread builds waits for it.

        Raises:
            InvalidSettingError: The schema or the seed cannot be found.
            Exception: What the schema or the seed raised, to the one who asked first; later ones are told that it
                failed.
        """
        if self.is_done:
            if self.failure is not None:
                raise self._tell_failure()
            return None
        if threading.get_ident() in self._builders:
            return None  # the schema connects by the application's own engines
        if not self._mutex.acquire(blocking=False):
            if self._is_done.wait(SECONDS_TO_WAIT):
                self.ensure()
            return
        try:
            if not self.is_done:
                self._build()
        finally:
            self._mutex.release()

    def _build(self) -> None:
        try:
            with self._building():
                for reference, role in ((self.configuration.schema, "schema"), (self.configuration.seed, "seed")):
                    if reference:
                        self._apply(_load(reference, role), role)
                for notify in _listeners:
                    notify(self)
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._is_done.set()

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Let the connections of this thread pass."""
        self._builders.add(threading.get_ident())
        try:
            yield
        finally:
            self._builders.discard(threading.get_ident())

    def _apply(self, target: Any, role: str) -> None:
        metadata = target if isinstance(target, MetaData) else getattr(target, "metadata", None)
        if role == "schema" and isinstance(metadata, MetaData):
            self._create_all(metadata)
        elif inspect.iscoroutinefunction(target):
            self._in_own_thread(lambda: asyncio.run(self._call_async(target)))
        elif callable(target):
            self._call(target)
        else:
            raise InvalidSettingError(
                f"The {role} of bind {self.bind} builds nothing.",
                why=f"{role} in [tool.engineroom] names an object that is neither a declarative base, nor MetaData, "
                "nor a callable.",
                fix=['name one of these, for example: schema = "app.models:Base"'],
            )

    def _create_all(self, metadata: MetaData) -> None:
        if not metadata.tables:
            raise InvalidSettingError(
                f'The schema "{self.configuration.schema}" has no tables.',
                why="the models that belong to it were not imported when it was built.",
                fix=['name a module that imports all models, for example: schema = "app.models:Base"'],
            )
        with self._engine() as engine:
            metadata.create_all(engine)

    def _call(self, function: Callable[..., Any]) -> None:
        if not _wants_session(function):
            function()
            return
        with self._engine() as engine, Session(engine) as session:
            function(session)
            session.commit()

    async def _call_async(self, function: Callable[..., Any]) -> None:
        if not _wants_session(function):
            await function()
            return
        engine = create_async_engine(self.url.set(drivername="sqlite+aiosqlite"), poolclass=NullPool)
        async with AsyncSession(engine) as session:
            await function(session)
            await session.commit()

    def _in_own_thread(self, call: Callable[[], None]) -> None:
        """Run something that needs an event loop of its own; the caller's may be running."""
        failures: list[BaseException] = []

        def run() -> None:
            with self._building():
                try:
                    call()
                except BaseException as error:  # noqa: BLE001  # it is raised again in the caller's thread
                    failures.append(error)

        thread = threading.Thread(target=run, name="engineroom-schema")
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = create_engine(self.url, poolclass=NullPool)
        try:
            yield engine
        finally:
            engine.dispose()

    def _tell_failure(self) -> InvalidSettingError:
        return InvalidSettingError(
            f'The schema "{self.configuration.schema}" could not be built for bind {self.bind}.',
            why=f"it failed at the first connection of this run with {type(self.failure).__name__}, shown above.",
            fix=["mend what the first error says"],
        )


_builds: dict[str, Build] = {}  # by the path of the database
_listeners: list[Callable[[Build], None]] = []


def configuration_of(project: Project, bind: str) -> BindConfiguration:
    """Return what a bind's test database is built from."""
    if bind == DEFAULT_BIND:
        return BindConfiguration(project.schema, project.seed)
    return project.binds.get(bind, BindConfiguration())


def known_builds() -> tuple[Build, ...]:
    """Return the builds of all databases that have a schema, done or not."""
    return tuple(_builds.values())


def when_built(notify: Callable[[Build], None]) -> None:
    """Have something called for each database when it is built, before anybody else may connect to it."""
    _listeners.append(notify)
    for build in known_builds():
        if build.is_done and build.failure is None:
            notify(build)


def build_before_first_connection(engine: Engine, bind: str, url: URL, configuration: BindConfiguration) -> Build:
    """Have the database built before an engine's first connection.

    Args:
        engine: The engine; its dialect is changed.
        bind: The bind that it belongs to.
        url: The URL of the database for a sync driver.
        configuration: What it is built from.

    Returns:
        The build, shared by all engines of the bind.
    """
    build = _builds.setdefault(str(url.database), Build(bind, url, configuration))
    connect = engine.dialect.connect

    @wraps(connect)
    def connect_when_built(*arguments: Any, **options: Any) -> Any:
        build.ensure()
        return connect(*arguments, **options)

    engine.dialect.connect = connect_when_built  # type: ignore[method-assign]
    return build


def _load(reference: str, role: str) -> Any:
    """Return the object that ``module:name`` refers to."""
    if reference == "alembic":
        raise InvalidSettingError(
            'The schema "alembic" cannot be built by this release.',
            why='schema in [tool.engineroom] says "alembic"; this release builds a schema from metadata or a callable.',
            fix=[
                'name the models: schema = "app.models:Base"',
                'name a function that upgrades: schema = "app.db:upgrade"',
            ],
        )
    module, _, path = reference.partition(":")
    try:
        target: Any = importlib.import_module(module)
        for name in path.split("."):
            target = getattr(target, name)
    except (ImportError, AttributeError) as error:
        raise InvalidSettingError(
            f'The {role} "{reference}" cannot be found.',
            why=f"{role} in [tool.engineroom] in pyproject.toml: {error}.",
            fix=[f'name a module and what it holds, for example: {role} = "app.db:init_db"'],
        ) from error
    return target


def _wants_session(function: Callable[..., Any]) -> bool:
    required = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_KEYWORD
        and parameter.kind is not parameter.VAR_POSITIONAL
    ]
    return len(required) == 1
