"""The guard: turns "SQLAlchemy is about to do X on E" into a call of the judge.

It holds no rule. It puts the watch on an engine's connections, by handing the driver a guarded connection class, or,
where somebody else opens the connections, by watching them from outside.
"""

from __future__ import annotations

import sqlite3
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, Engine, MetaData, event, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

from engineroom import _identity, _project
from engineroom._guard import live, outside
from engineroom._guard.drop_all import before_drop_all
from engineroom._guard.sqlite_connection import guarded_factory
from engineroom._permit import WATCH_KEY, permits_of
from engineroom._verdict import Facts, Verdict, judge

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.engine import Dialect
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from engineroom._guard.watch import Watch

__all__ = ["guard", "verdict"]

AnyEngine = TypeVar("AnyEngine", Engine, AsyncEngine)

STANDARD_DRIVERS = {"sqlite3", "sqlite3.dbapi2"}
"""Modules whose ``connect`` takes a subclass of the standard library's ``sqlite3.Connection`` as ``factory=``."""

_guarded_dialects: WeakSet[Dialect] = WeakSet()  # an engine shares its dialect with its execution_options() copies


def guard(engine: AnyEngine) -> AnyEngine:
    """Put the guard on an engine that somebody else made; the factory's engines have it already.

    From now on a destructive operation on a database that is not disposable raises, whichever way it is sent. On SQLite
    that includes raw cursors; on a server they pass SQLAlchemy by, and so the guard.

    Args:
        engine: The engine; it is changed in place. Connections that it opened before are watched, too.

    Returns:
        The same engine.

    Example:
        >>> from sqlalchemy import create_engine
        >>> import engineroom
        >>> engine = engineroom.guard(create_engine("sqlite:///shop.db"))
    """
    inner: Engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine  # type: ignore[redundant-expr]
    if inner.dialect in _guarded_dialects:
        return engine
    is_used = not _is_unused(inner)
    guard_new(inner, is_used=is_used)
    if inner.dialect.name == "sqlite" and is_used:
        _watch_earlier_connections(inner)
    return engine


def guard_new(engine: Engine, *, is_used: bool = False) -> None:
    """Put the guard on an engine that opened no connection yet, unless it ``is_used``."""
    dialect = engine.dialect
    _guarded_dialects.add(dialect)
    if not event.contains(MetaData, "before_drop", before_drop_all):
        event.listen(MetaData, "before_drop", before_drop_all)
    if dialect.name != "sqlite":
        from engineroom._guard.server import guard_server  # noqa: PLC0415  # SQLite needs no reading of statements

        guard_server(engine, is_used=is_used)
        return
    _hand_over_guarded_connections(dialect)

    @event.listens_for(engine, "connect")
    def remember_watch(dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[WATCH_KEY] = _watch_new(dbapi_connection, record, dialect)


def verdict(target: str | URL | Engine | AsyncEngine | Connection | AsyncConnection) -> Verdict:
    """Tell whether a database is disposable, by which rule and why.

    Args:
        target: A URL is judged by what its driver would be told. A connection is asked, and so is an engine, which
            opens a connection for it. An asynchronous engine or connection cannot be asked from here, so its URL is
            judged; ``await connection.run_sync(engineroom.verdict)`` asks it.

    Returns:
        The verdict; a database that cannot be identified is not disposable.

    Raises:
        InvalidSettingError: ``[tool.engineroom]`` in ``pyproject.toml`` cannot be used.

    Example:
        >>> import engineroom
        >>> engineroom.verdict("sqlite://").rule
        'in-memory'
        >>> engineroom.verdict("postgresql+psycopg://db.internal/shop").disposable
        False
    """
    return judge(_gather_facts(target), _project.get_project().test_names)


def _gather_facts(target: str | URL | Engine | AsyncEngine | Connection | AsyncConnection) -> Facts:
    if isinstance(target, (Connection, Engine)):
        return live.facts_of(target)
    if isinstance(target, (AsyncConnection, AsyncEngine)):
        return _identity.facts_of_url(target.engine.url)
    return _identity.facts_of_url(make_url(target))


def _watch_new(dbapi_connection: Any, record: ConnectionPoolEntry, dialect: Dialect) -> Watch:
    """Return the watch of a connection that was just opened, whoever opened it."""
    watch = live.watch_of(dbapi_connection)
    if watch is None:
        return outside.watch_connection(dbapi_connection, dialect)
    watch.follow(permits_of(dialect))
    watch.when_created = lambda: outside.hear_of_its_end(record, watch)
    return watch


def _hand_over_guarded_connections(dialect: Dialect) -> None:
    """Make the dialect ask its driver for guarded connections; an instance's own method costs nothing per statement."""
    connect = dialect.connect
    module = dialect.loaded_dbapi
    if getattr(module, "sqlite", module).__name__ not in STANDARD_DRIVERS:  # aiosqlite's adapter keeps it there
        return

    @wraps(connect)
    def connect_guarded(*arguments: Any, **options: Any) -> Any:
        factory = options.get("factory")
        is_known = factory is None or (isinstance(factory, type) and issubclass(factory, sqlite3.Connection))
        if is_known and "async_creator_fn" not in options:
            options["factory"] = guarded_factory(factory)
        return connect(*arguments, **options)

    dialect.connect = connect_guarded  # type: ignore[method-assign]


def _is_unused(engine: Engine) -> bool:
    """Tell whether an engine certainly opened no connection yet."""
    pool = engine.pool
    return isinstance(pool, QueuePool) and pool.checkedin() == 0 and pool.checkedout() == 0


def _watch_earlier_connections(engine: Engine) -> None:
    dialect = engine.dialect
    outside.translate_denials(dialect)

    @event.listens_for(engine, "checkout")
    def watch(dbapi_connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        if WATCH_KEY not in record.info:
            record.info[WATCH_KEY] = outside.watch_connection(dbapi_connection, dialect)
