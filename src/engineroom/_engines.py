"""The factory: one engine for the same arguments, guarded, of the database that the environment selects.

Asks who must decide (the environment, the bind's URL, the driver), makes the engine with SQLAlchemy, puts the guard on
it and keeps it. Decides nothing itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import URL, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

from engineroom import _binds, _lifecycle, _project, _schema
from engineroom._engine_options import EngineOptions, freeze
from engineroom._environment import Origin, OriginKind
from engineroom._guard import guard, guard_new
from engineroom._loops import pool_per_loop
from engineroom._plans import ASYNC, SYNC, choose_kind, plan_engine
from engineroom.errors import EngineroomError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sqlalchemy.pool import Pool

    from engineroom._binds import Resolution
    from engineroom._plans import Kind, Plan

__all__ = [
    "DatabaseUrl",
    "EngineRecord",
    "database_url",
    "dispose_async_engines",
    "dispose_engines",
    "get_async_engine",
    "get_engine",
    "made_engines",
]

DatabaseUrl = str | URL | Callable[[], str | URL]
"""What the factory takes as a URL: a text, a ``sqlalchemy.URL``, or a callable that returns one of them."""


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine that the factory made, for those who tell about it.

    Attributes:
        bind: The name of the bind.
        engine: The engine.
        resolution: How the bind's database was found.
        url: The URL that the engine got, with the driver exchanged.
        notes: What a person should know, such as the options that this database cannot take.
        module: The module that asked for the engine first.
    """

    bind: str
    engine: Engine | AsyncEngine
    resolution: Resolution
    url: URL
    notes: tuple[str, ...]
    module: str


class _Registry:
    """The engines of this process."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.engines: dict[Hashable, Any] = {}
        self.first: dict[tuple[str, str], Any] = {}
        self.arguments: dict[str, list[URL]] = {}  # the different databases that a bind was asked for, first one first
        self.records: list[EngineRecord] = []


_registry = _Registry()
_parents_pools: list[Pool] = []  # a forked child must not even collect its parent's connections


def get_engine(url: DatabaseUrl | None = None, *, bind: str = "default", **options: Any) -> Engine:
    """Return the engine of a bind's database in this environment; a drop-in for ``sqlalchemy.create_engine``.

    The same arguments give the same engine, from any thread. Without a URL and options it is the bind's first engine.
    The engine is guarded: see :func:`engineroom.guard`.

    Args:
        url: The application's database URL, if it passes one itself; else the variable ``DATABASE_URL`` counts
            (``{BIND}_DATABASE_URL``). Under test it is exchanged for a disposable database.
        bind: The name of the database among those of the application.
        **options: Everything that ``create_engine`` takes.

    Returns:
        A plain SQLAlchemy engine.

    Raises:
        UnknownEnvironmentError: The environment variable names no environment.
        MissingSettingError: There is no URL, outside of development and test.
        InvalidSettingError: A setting cannot be used: a malformed URL, an option that the driver does not know.
        MissingDependencyError: The driver is not installed.
        UnsafeTestDatabaseError: Under test there is no disposable database for the bind.
        EnvironmentChangedError: The environment variable changed since the first engine was made.

    Example:
        >>> from engineroom import get_engine
        >>> engine = get_engine("sqlite:///shop.db", pool_pre_ping=True)
        >>> engine is get_engine()
        True
    """
    if url is None and not options:
        known: Engine | None = _registry.first.get((SYNC.caller, bind))
        if known is not None:
            return known
    try:
        return cast("Engine", _obtain(SYNC, url, bind, options))
    except EngineroomError as error:
        refusal = error.without_traceback()
    del url, options  # a report that shows the locals of frames must not show a password
    raise refusal


def get_async_engine(url: DatabaseUrl | None = None, *, bind: str = "default", **options: Any) -> AsyncEngine:
    """Return the async engine of a bind's database; a drop-in for ``create_async_engine``, twin of :func:`get_engine`.

    It reaches the same database as the sync engine of the bind, and works from every event loop of the process.

    Args:
        url: As for :func:`get_engine`; a sync driver is exchanged for its async twin.
        bind: The name of the database among those of the application.
        **options: Everything that ``create_async_engine`` takes.

    Returns:
        A plain SQLAlchemy async engine, whose pool keeps one pool for each event loop.

    Raises:
        EngineroomError: As :func:`get_engine`.

    Example:
        >>> from engineroom import get_async_engine
        >>> engine = get_async_engine("sqlite:///shop.db")
        >>> engine.url.drivername
        'sqlite+aiosqlite'
    """
    if url is None and not options:
        known: AsyncEngine | None = _registry.first.get((ASYNC.caller, bind))
        if known is not None:
            return known
    try:
        return cast("AsyncEngine", _obtain(ASYNC, url, bind, options))
    except EngineroomError as error:
        refusal = error.without_traceback()
    del url, options  # a report that shows the locals of frames must not show a password
    raise refusal


def database_url(bind: str = "default") -> URL:
    """Return the URL of a bind's database in this environment, for a library that makes the engine itself.

    It is for Flask-SQLAlchemy, Alembic and the like. An engine that is made of it is not guarded, unless it is given to
    :func:`engineroom.guard`.

    Args:
        bind: The name of the database among those of the application.

    Returns:
        The URL with its password, and with a driver that is installed where the setting names none.

    Raises:
        EngineroomError: As :func:`get_engine`.

    Example:
        >>> from engineroom import database_url
        >>> database_url().get_backend_name()
        'sqlite'
    """
    try:
        with _registry.mutex:
            earlier = _registry.arguments.get(bind, [])
            plan = plan_engine(choose_kind(bind, earlier), None, bind, {}, earlier=earlier)
            _freeze(f"the database URL of bind {bind}")
            return plan.url
    except EngineroomError as error:
        refusal = error.without_traceback()
    raise refusal


def dispose_engines() -> None:
    """Close the idle connections of all sync engines; the engines stay usable."""
    for record in made_engines():
        if isinstance(record.engine, Engine):
            record.engine.dispose()


async def dispose_async_engines() -> None:
    """Close the idle connections of all async engines, each in its event loop; the engines stay usable."""
    for record in made_engines():
        if isinstance(record.engine, AsyncEngine):
            await record.engine.dispose()


def made_engines() -> tuple[EngineRecord, ...]:
    """Return a record of each engine that the factory made, in order."""
    with _registry.mutex:
        return tuple(_registry.records)


def _obtain(kind: Kind, url: DatabaseUrl | None, bind: str, options: dict[str, Any]) -> Any:
    """Return the engine for these arguments, made at the first call."""
    key: Hashable = (kind.caller, bind, url, freeze(options))
    with _registry.mutex:
        known = _registry.engines.get(key)
    if known is not None:
        return known
    argument = _read_argument(url, kind.caller)  # calls the application's code, so without the lock
    with _registry.mutex:
        if key not in _registry.engines:
            same: Hashable = (kind.caller, bind, argument, freeze(options))
            if same not in _registry.engines:
                _registry.engines[same] = _make(kind, argument, bind, options)
            _registry.engines[key] = _registry.engines[same]
        return _registry.engines[key]


def _read_argument(url: DatabaseUrl | None, caller: str) -> URL | None:
    if callable(url):
        url = url()
    if url is None or isinstance(url, URL):
        return url
    return _binds.parse_url(url, Origin(OriginKind.ARGUMENT, caller))


def _make(kind: Kind, argument: URL | None, bind: str, options: dict[str, Any]) -> Any:
    plan = plan_engine(kind, argument, bind, options, earlier=_registry.arguments.get(bind, []))
    fitted = _fit(plan, options)
    engine = fitted.make(kind.create, plan.url, is_exchanged=plan.is_exchanged)
    inner: Engine = engine.sync_engine if kind.is_async else engine
    if kind.is_async and "pool" not in fitted.options:
        pool_per_loop(inner)
    if plan.in_memory:
        event.listen(inner, "connect", _relax_durability)
    if fitted.brings_connections:
        guard(inner)
    else:
        guard_new(inner)
    if plan.in_memory and _lifecycle.is_test_process():
        _prepare_schema(inner, bind)
    module = _freeze(f"the engine of bind {bind}")
    _registry.first.setdefault((kind.caller, bind), engine)
    if argument is not None and plan.number == len(_registry.arguments.setdefault(bind, [])):
        _registry.arguments[bind].append(argument)
    _registry.records.append(EngineRecord(bind, engine, plan.resolution, plan.url, _tell(fitted.aside), module))
    return engine


def _freeze(what: str) -> str:
    module = _lifecycle.calling_module()
    _lifecycle.freeze(_project.get_project(), what=what, module=module)
    return module


def _fit(plan: Plan, options: dict[str, Any]) -> EngineOptions:
    fitted = EngineOptions(dict(options))
    if plan.is_other_backend:
        fitted.fit_other_backend()
    if plan.is_exchanged:
        fitted.fit_other_database()
    if plan.in_memory:
        fitted.fit_memory()
    if plan.connect_args:
        fitted.options["connect_args"] = plan.connect_args
    return fitted


def _prepare_schema(engine: Engine, bind: str) -> None:
    configuration = _schema.configuration_of(_project.get_project(), bind)
    if configuration.schema or configuration.seed:
        _schema.build_before_first_connection(engine, bind, engine.url.set(drivername="sqlite"), configuration)


def _tell(aside: list[str]) -> tuple[str, ...]:
    return (f"options set aside, since this database cannot take them: {', '.join(aside)}",) if aside else ()


def _relax_durability(dbapi_connection: Any, _: object) -> None:
    """Do without waiting for the disk: the database ends with the run, and may stand on a disk where RAM is short."""
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


def _after_fork_in_child() -> None:
    """Give every engine a new pool; the parent's connections are neither used nor closed, nor collected."""
    _registry.mutex = threading.RLock()
    for record in _registry.records:
        engine = record.engine.sync_engine if isinstance(record.engine, AsyncEngine) else record.engine
        _parents_pools.append(engine.pool)
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork_in_child)
