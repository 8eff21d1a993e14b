"""Puts an engine together from its plan: the options that fit, the pool, the guard, the schema to build.

Here an engine gets everything that engineroom adds to SQLAlchemy's. Chooses nothing, and keeps no engine.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from engineroom import _lifecycle, _project, _schema
from engineroom._address import mask_url
from engineroom._engine_options import EngineOptions
from engineroom._environment import Environment
from engineroom._forks import watch_forks
from engineroom._guard import guard, guard_new, live
from engineroom._loops import pool_per_loop
from engineroom._plans import missing_driver
from engineroom._schema.place import Place
from engineroom._verdict import SERVER_BACKENDS, judge
from engineroom.errors import UnsafeTestDatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom._plans import Kind, Plan

__all__ = ["assemble"]

ASKED_KEY = "engineroom.is_disposable"


def assemble(kind: Kind, plan: Plan, bind: str, options: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Make an engine.

    Args:
        kind: Sync or async.
        plan: What it is made of.
        bind: The name of the bind.
        options: The application's options.

    Returns:
        The engine, and what a person should know about it.

    Raises:
        MissingDependencyError: The driver is not installed.
        TypeError: SQLAlchemy does not know an option.
    """
    fitted = _fit(plan, options)
    try:
        engine = fitted.make(kind.create, plan.url, is_exchanged=plan.is_exchanged)
    except ImportError as error:
        raise missing_driver(plan.url, error) from None
    inner: Engine = engine.sync_engine if kind.is_async else engine
    if kind.is_async and fitted.options.get("pool") is None:
        pool_per_loop(inner, is_kept=_lifecycle.is_test_process())  # there each test may have a loop of its own
    if fitted.brings_connections:
        guard(inner)
        _ask_connections(inner)
    else:
        guard_new(inner)
        if plan.in_memory:
            event.listen(inner, "connect", _relax_durability)
    watch_forks(inner)
    if _lifecycle.is_test_process() and not (_lifecycle.is_child_process() or fitted.brings_connections):
        args = {} if plan.in_memory else fitted.options.get("connect_args") or {}
        _prepare_schema(inner, bind, Place(plan.url, args, kind.is_async), plan)
    return engine, _tell(fitted.aside)


def _fit(plan: Plan, options: Mapping[str, Any]) -> EngineOptions:
    fitted = EngineOptions(dict(options))
    if plan.is_other_backend:
        fitted.fit_other_backend()
    if plan.is_exchanged:
        fitted.fit_other_database(plan.url)
    if plan.in_memory:
        fitted.fit_memory()
    is_exchanged = plan.is_exchanged or plan.in_memory
    fitted.set_connect_args(plan.connect_args, backend=plan.url.get_backend_name(), is_exchanged=is_exchanged)
    return fitted


def _ask_connections(engine: Engine) -> None:
    """Ask what somebody else connected for its database, where only a disposable one may be used.

    In a test process the fence does that, for every engine.
    """
    is_test = _lifecycle.check_environment(_project.get_project()).environment is Environment.TEST
    if _lifecycle.is_test_process() or not (is_test or _lifecycle.is_under_pytest()):
        return

    def ask(dbapi_connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        if not record.info.get(ASKED_KEY):
            _require_disposable(dbapi_connection, engine)
            record.info[ASKED_KEY] = True

    event.listen(engine, "checkout", ask)


def _require_disposable(dbapi_connection: Any, engine: Engine) -> None:
    facts = live.identify_connection(dbapi_connection, engine.dialect, mask_url(engine.url))
    if facts.backend != "sqlite":
        dbapi_connection.rollback()  # the question began a transaction that nobody asked for
    judged = judge(facts, _project.get_project().test_names)
    if not judged.disposable:
        raise UnsafeTestDatabaseError(
            f"Refused a connection to {judged.database or 'a database that could not be identified'}.",
            why=f"this is a test run, the engine's own creator or pool opened it, and {judged.reason}.",
            fix=["let the creator connect to a test database", "leave the creator out, and pass the database URL"],
        )


def _prepare_schema(engine: Engine, bind: str, place: Place, plan: Plan) -> None:
    """Have the database built, or at least made where it stands on a server, before its first connection."""
    configuration = _schema.configuration_of(_project.get_project(), bind)
    is_configured = bool(configuration.schema or configuration.seed)
    if place.backend == "sqlite" and not plan.in_memory and is_configured and _is_plain_file(place):
        # SQLAlchemy settles the path when it makes the engine; a test may change the directory afterwards.
        place = replace(place, url=place.url.set(database=os.path.abspath(place.name)))  # noqa: PTH100  # links stay
        event.listen(engine, "connect", _relax_durability)
    elif place.backend not in SERVER_BACKENDS and not (plan.in_memory and is_configured):
        return
    _schema.build_before_first_connection(engine, bind, place, configuration)


def _is_plain_file(place: Place) -> bool:
    """Tell whether a database of SQLite is named by its path alone, and not by a URI with words of its own."""
    is_uri = place.url.database is None or place.url.database.startswith("file:") or "uri" in place.connect_args
    return not (is_uri or place.url.query)


def _tell(aside: list[str]) -> tuple[str, ...]:
    return (f"options set aside, since this database cannot take them: {', '.join(aside)}",) if aside else ()


def _relax_durability(dbapi_connection: Any, _: object) -> None:
    """Do without waiting for the disk: the database ends with the run, and may stand on a disk where RAM is short."""
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()
