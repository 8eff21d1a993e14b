"""The factory: one engine for the same arguments, guarded, of the database that the environment selects.

Asks who must decide (the environment, the bind's URL, the driver), has the engine put together and keeps it. Decides
nothing itself. No error leaves it with a frame whose locals could hold a password.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from engineroom import _binds, _lifecycle, _project
from engineroom._assembly import assemble
from engineroom._engine_options import freeze
from engineroom._environment import Origin, OriginKind
from engineroom._plans import ASYNC, SYNC, History, choose_kind, plan_engine
from engineroom.errors import EngineroomError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from types import TracebackType

    from engineroom._binds import Resolution
    from engineroom._plans import Kind

__all__ = [
    "DatabaseUrl",
    "EngineRecord",
    "database_url",
    "dispose_async_engines",
    "dispose_engines",
    "get_async_engine",
    "get_engine",
    "made_engines",
    "reset",
]

MOST_ANSWERS = 256
FRAMES_WITH_SECRETS = {"engineroom", "sqlalchemy"}

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
    engine: Engine | AsyncEngine = field(repr=False)
    resolution: Resolution
    url: URL = field(repr=False)
    notes: tuple[str, ...]
    module: str


class _Registry:
    """The engines of this process."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.engines: dict[Hashable, Any] = {}
        self.first: dict[tuple[str, str], Any] = {}
        self.histories: dict[str, History] = {}
        self.answers: dict[Hashable, URL] = {}  # what callables returned: asked twice, one means the same database
        self.records: list[EngineRecord] = []


_registry = _Registry()


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
        >>> engine is get_engine("sqlite:///shop.db", pool_pre_ping=True)
        True
    """
    if url is None and not options:
        known: Engine | None = _registry.first.get((SYNC.caller, bind))
        if known is not None:
            return known
    try:
        return cast("Engine", _obtain(SYNC, url, bind, options))
    except Exception as error:  # noqa: BLE001  # raised again below
        failure = _without_secrets(error)
    del url, options  # a report that shows the locals of frames must not show a password
    raise failure


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
    except Exception as error:  # noqa: BLE001  # raised again below
        failure = _without_secrets(error)
    del url, options  # a report that shows the locals of frames must not show a password
    raise failure


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
            history = _registry.histories.get(bind) or History()
            plan = plan_engine(choose_kind(bind, history), None, bind, {}, history)
            _freeze(f"the database URL of bind {bind}")
            history.record(plan, None, is_engine=False)
            _registry.histories[bind] = history
            return plan.url
    except Exception as error:  # noqa: BLE001  # raised again below
        failure = _without_secrets(error)
    raise failure


def dispose_engines() -> None:
    """Close the idle connections of all sync engines; the engines stay usable.

    Example:
        >>> from engineroom import dispose_engines, get_engine
        >>> engine = get_engine("sqlite:///shop.db")
        >>> dispose_engines()
        >>> engine is get_engine("sqlite:///shop.db")
        True
    """
    for record in made_engines():
        if isinstance(record.engine, Engine):
            record.engine.dispose()


async def dispose_async_engines() -> None:
    """Close the idle connections of all async engines, each in its event loop; the engines stay usable.

    Example:
        >>> import asyncio
        >>> from engineroom import dispose_async_engines
        >>> asyncio.run(dispose_async_engines())
    """
    for record in made_engines():
        if isinstance(record.engine, AsyncEngine):
            await record.engine.dispose()


def made_engines() -> tuple[EngineRecord, ...]:
    """Return a record of each engine that the factory made, in order."""
    with _registry.mutex:
        return tuple(_registry.records)


def reset() -> None:
    """Close the idle connections and forget all engines; for tests."""
    for record in made_engines():
        (record.engine.sync_engine if isinstance(record.engine, AsyncEngine) else record.engine).dispose()
    with _registry.mutex:
        for kept in (_registry.engines, _registry.first, _registry.histories, _registry.answers, _registry.records):
            kept.clear()


def _obtain(kind: Kind, url: DatabaseUrl | None, bind: str, options: dict[str, Any]) -> Any:
    """Return the engine for these arguments, made at the first call."""
    argument = _read_argument(url, kind.caller)  # calls the application's code, so without the lock
    key: Hashable = (kind.caller, bind, argument, freeze(options))
    with _registry.mutex:
        if key not in _registry.engines:
            _registry.engines[key] = _make(kind, argument, bind, options)
        return _registry.engines[key]


def _read_argument(url: DatabaseUrl | None, caller: str) -> URL | None:
    if callable(url):
        return _ask(url, caller)
    if url is None or isinstance(url, URL):
        return url
    return _parse(url, caller)


def _ask(source: Callable[[], str | URL], caller: str) -> URL:
    """Return what a callable returned when it was asked first."""
    key = freeze(source)
    known = _registry.answers.get(key)
    if known is not None:
        return known
    text = source()
    answer = text if isinstance(text, URL) else _parse(text, caller)
    while len(_registry.answers) >= MOST_ANSWERS:  # a callable that is made for each call is not kept for ever
        _registry.answers.pop(next(iter(_registry.answers)), None)
    return _registry.answers.setdefault(key, answer)


def _parse(text: object, caller: str) -> URL:
    origin = Origin(OriginKind.ARGUMENT, caller)
    if isinstance(text, str):
        return _binds.parse_url(text, origin)
    if inspect.iscoroutine(text):
        text.close()  # it warns when it is never awaited
    raise InvalidSettingError(
        f"The URL {origin} is not a database URL.",
        why=f"it is of type {type(text).__name__}; a str, a sqlalchemy.URL, or a callable that returns one is wanted.",
        fix=[f"pass its text: {caller}(str(settings.database_url))"],
    )


def _make(kind: Kind, argument: URL | None, bind: str, options: dict[str, Any]) -> Any:
    history = _registry.histories.get(bind) or History()
    plan = plan_engine(kind, argument, bind, options, history)
    engine, notes = assemble(kind, plan, bind, options)
    module = _freeze(f"the engine of bind {bind}")
    history.record(plan, argument, is_engine=True)
    _registry.histories[bind] = history
    if plan.number == history.first:  # a bare call of either kind means one database
        _registry.first.setdefault((kind.caller, bind), engine)
    _registry.records.append(EngineRecord(bind, engine, plan.resolution, plan.url, notes, module))
    return engine


def _freeze(what: str) -> str:
    module = _lifecycle.calling_module()
    _lifecycle.freeze(_project.get_project(), what=what, module=module)
    return module


def _without_secrets(error: Exception) -> Exception:
    """Return the error without the frames of ours and SQLAlchemy's that it passed; the application's own stay."""
    if isinstance(error, EngineroomError):
        error.__cause__ = error.__context__ = None
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None and _may_hold_secrets(traceback):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def _may_hold_secrets(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0] in FRAMES_WITH_SECRETS


def _after_fork_in_child() -> None:
    _registry.mutex = threading.RLock()  # another thread of the parent may have held it


# Python keeps this function until its very end, and with it the engines of a program that closes none, as most do: were
# they collected before, Python 3.13 would warn of each connection to SQLite.
os.register_at_fork(after_in_child=_after_fork_in_child)
