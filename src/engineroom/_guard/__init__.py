"""The guard: turns "SQLAlchemy is about to do X on E" into a call of the judge.

It holds no rule. It puts the watch on an engine's connections, by handing the driver a guarded connection class, or,
where somebody else opens the connections, by watching them from outside.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, Engine, MetaData, event, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engineroom import _identity, _project
from engineroom._guard import live
from engineroom._guard.outside import watch_from_outside
from engineroom._guard.refusals import refuse_destruction
from engineroom._guard.server import guard_server
from engineroom._guard.server_watch import ServerWatch
from engineroom._guard.sqlite_connection import guarded_factory
from engineroom._permit import WATCH_KEY
from engineroom._verdict import Facts, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import URL, Table
    from sqlalchemy.engine import Dialect
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["guard", "verdict"]

AnyEngine = TypeVar("AnyEngine", Engine, AsyncEngine)

_guarded_dialects: WeakSet[Dialect] = WeakSet()  # an engine shares its dialect with its execution_options() copies


def guard(engine: AnyEngine) -> AnyEngine:
    """Put the guard on an engine that somebody else made; the factory's engines have it already.

    From now on a destructive operation on a database that is not disposable raises, whichever way it is sent. On SQLite
    that includes raw cursors; on a server they pass SQLAlchemy by, and so the guard.

    Args:
        engine: The engine; it is changed in place. Connections that are in its pool already are watched from when they
            are taken next.

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
    guard_new(inner)
    if inner.dialect.name == "sqlite":
        watch_from_outside(inner)
    return engine


def guard_new(engine: Engine) -> None:
    """Put the guard on an engine that opened no connection yet, and opens them all by its own dialect."""
    _guarded_dialects.add(engine.dialect)
    if not event.contains(MetaData, "before_drop", _before_drop_all):
        event.listen(MetaData, "before_drop", _before_drop_all)
    if engine.dialect.name == "sqlite":
        _hand_over_guarded_connections(engine.dialect)
        event.listen(engine, "connect", _remember_watch)
    else:
        guard_server(engine)


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
        return _identity.facts_of_url(target.engine.url if isinstance(target, AsyncConnection) else target.url)
    return _identity.facts_of_url(make_url(target))


def _hand_over_guarded_connections(dialect: Dialect) -> None:
    """Make the dialect ask its driver for guarded connections; an instance's own method costs nothing per statement."""
    connect = dialect.connect

    @wraps(connect)
    def connect_guarded(*arguments: Any, **options: Any) -> Any:
        factory = options.get("factory")
        if factory is None or isinstance(factory, type):
            options["factory"] = guarded_factory(factory)
        return connect(*arguments, **options)

    dialect.connect = connect_guarded  # type: ignore[method-assign]


def _remember_watch(dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
    watch = live.watch_of(dbapi_connection)
    if watch is not None:
        record.info[WATCH_KEY] = watch


def _before_drop_all(_: MetaData, connection: Connection, *, tables: Sequence[Table] = (), **__: Any) -> None:
    """Refuse ``drop_all`` as a whole, with the number of tables, before its first statement."""
    if connection.dialect not in _guarded_dialects:
        return
    permanent = [table for table in tables if "TEMPORARY" not in table._prefixes]  # noqa: SLF001  # no public name
    watch = connection.info.get(WATCH_KEY)
    if isinstance(watch, ServerWatch):
        watch.check_drop_all(permanent)
        return
    if watch is None:
        _judge_drop_all(permanent, connection)
        return
    losses = [(table, watch.would_lose("drop table", table.name, table.schema or "main")) for table in permanent]
    names = [table.fullname for table, judged in losses if judged]
    judged = next((judged for _, judged in losses if judged), None)
    if judged is not None:
        raise refuse_destruction("drop table", names, facts=judged.facts, verdict=judged.verdict, note=watch.note)


def _judge_drop_all(tables: Sequence[Table], connection: Connection) -> None:
    facts = live.facts_of(connection)
    judged = judge(facts, _project.get_project().test_names)
    if tables and not judged.disposable:
        raise refuse_destruction("drop table", [table.fullname for table in tables], facts=facts, verdict=judged)
