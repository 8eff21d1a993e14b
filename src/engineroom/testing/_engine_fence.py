"""The fence around SQLAlchemy: every engine of the process, whoever made it, and when.

``do_connect`` shows the driver's final arguments before anything is opened. What does not pass there (``creator=``, a
ready-made pool, a listener that changes the arguments) is asked when the connection is there, before its first
statement; what was pooled before the fence, when it is taken from the pool. The answer of the live connection counts.

It is imported while SQLAlchemy arrives, which one of our own modules may be waiting for: what those offer is imported
where it is needed.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from engineroom._verdict import SERVER_BACKENDS, Facts
from engineroom.testing._database_files import judge_facts
from engineroom.testing._refusals import refuse_sqlite
from engineroom.testing._servers import find_allowed, judge_server, tell_server

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom._address import Address
    from engineroom.errors import FenceError
    from engineroom.testing._database_files import Terms

__all__ = ["listen"]

ALLOWED_KEY = "engineroom_allowed"
POOL_OF_RECORD = "_ConnectionRecord__pool"  # there is no public way from a pool's event to the pool


def listen(terms: Callable[[], Terms | None], judged: Collection[int], *, had_arrived: bool) -> None:
    """Listen to every engine and pool.

    Args:
        terms: On which terms the fence judges now; None while it is down.
        judged: The ids of the ``sqlite3`` connections that were judged when they were opened.
        had_arrived: Whether SQLAlchemy was there before the fence, so that connections may be pooled already.
    """
    fence = _EngineFence(terms, judged)
    event.listen(Engine, "do_connect", fence.before_connect, insert=True)
    event.listen(Pool, "connect", fence.after_connect, insert=True)
    if had_arrived:
        event.listen(Pool, "checkout", fence.before_checkout, insert=True)


class _EngineFence:
    """The listeners."""

    def __init__(self, terms: Callable[[], Terms | None], judged: Collection[int]) -> None:
        self._terms = terms
        self._judged = judged

    def before_connect(
        self, dialect: Dialect, record: ConnectionPoolEntry, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        """Judge the driver's final arguments."""
        __tracebackhide__ = True
        terms = self._terms()
        if terms is None or _is_driver_mocked(dialect):
            return
        refusal = _judge_arguments(dialect, record, cargs, cparams, terms)
        del cargs, cparams  # a traceback shows the locals of the frames that an error passed
        if refusal is not None:
            raise refusal

    def after_connect(self, dbapi_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        """Ask a connection that has just been opened."""
        __tracebackhide__ = True
        terms = self._terms()
        refusal = None if terms is None else self._judge_live(dbapi_connection, record, terms)
        if refusal is not None:
            dbapi_connection.close()
            raise refusal

    def before_checkout(self, dbapi_connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
        """Ask a connection that may have been in the pool before the fence."""
        __tracebackhide__ = True
        terms = self._terms()
        refusal = None if terms is None else self._judge_live(dbapi_connection, record, terms)
        if refusal is not None:
            raise refusal

    def _judge_live(
        self, dbapi_connection: DBAPIConnection, record: ConnectionPoolEntry, terms: Terms
    ) -> FenceError | None:
        dialect = getattr(getattr(record, POOL_OF_RECORD, None), "_dialect", None)
        backend = getattr(dialect, "name", None)
        if dialect is None or backend is None or _is_mock(dbapi_connection):
            return None  # a pool without an engine; whoever opened the connection for it was judged then
        from engineroom._guard import live  # noqa: PLC0415  # as the module's docstring says

        if backend == "sqlite" and id(live.sqlite3_connection(dbapi_connection)) in self._judged:
            return None
        facts = live.identify_connection(dbapi_connection, dialect)
        if backend == "sqlite":
            protected = judge_facts(facts, terms)
            return None if protected is None else refuse_sqlite(protected, terms, through_engine=True)
        if backend in SERVER_BACKENDS:
            dbapi_connection.rollback()  # the question began a transaction that nobody asked for
        allowed = record.info.get(ALLOWED_KEY)
        if allowed is not None and (allowed == facts.database or backend not in SERVER_BACKENDS):
            return None
        return judge_server(facts, terms, target=tell_server(dialect.name, (), facts.database), switched=False)


def _is_driver_mocked(dialect: Dialect) -> bool:
    """Tell whether an engine's driver is a test's mock; a connection that such a one returns is asked all the same."""
    driver = dialect.dbapi
    return _is_mock(driver) or _is_mock(getattr(driver, "connect", None))


def _is_mock(thing: object) -> bool:
    """Tell whether a test's mock stands in for something, and does not merely wrap it: it reaches no database."""
    mocks = sys.modules.get("unittest.mock")
    if mocks is None or not issubclass(type(thing), mocks.NonCallableMock):
        return False
    return vars(thing).get("_mock_wraps") is None


def _judge_arguments(
    dialect: Dialect, record: ConnectionPoolEntry | None, cargs: Sequence[Any], cparams: Mapping[str, Any], terms: Terms
) -> FenceError | None:
    """Return the error for what the driver is about to be told, or None. It raises nothing: it sees secrets."""
    from engineroom._address import Address, address_of_arguments  # noqa: PLC0415  # as above

    if cparams.get("async_creator_fn") is not None:
        return None  # as with creator=, the connection itself is asked
    try:
        address = address_of_arguments(dialect.name, dialect.driver, cargs, cparams, os.environ)
        allowed = _find_allowed(dialect, address, cargs, cparams, terms)
    except Exception:  # noqa: BLE001  # strange arguments are unknown, and that means no
        address, allowed = Address(dialect.name, "", None, switched=True), None
    if dialect.name == "sqlite" and address.driver in {"pysqlite", "aiosqlite"}:
        return _judge_sqlite(address, terms)
    if allowed is not None:
        if record is not None:
            record.info[ALLOWED_KEY] = allowed
        return None
    facts = Facts(dialect.name, None if address.switched else address.database)
    target = tell_server(dialect.name, address.hosts, facts.database)
    return judge_server(facts, terms, target=target, switched=address.switched)


def _judge_sqlite(address: Address, terms: Terms) -> FenceError | None:
    from engineroom import _identity  # noqa: PLC0415  # as above

    if address.in_memory or address.read_only:
        return None
    facts = _identity.facts_of_sqlite_path(address.database) if address.database else Facts("sqlite", None)
    protected = judge_facts(facts, terms)
    return None if protected is None else refuse_sqlite(protected, terms, through_engine=True)


def _find_allowed(
    dialect: Dialect, address: Address, cargs: Sequence[Any], cparams: Mapping[str, Any], terms: Terms
) -> str | None:
    """Return the database of the URL in ``fence_allow`` that these arguments are, or None."""
    if address.switched and dialect.name in SERVER_BACKENDS:
        return None
    first = cargs[0] if cargs and isinstance(cargs[0], str) else ""
    names = (cparams.get(key) for key in ("dbname", "database", "db"))
    database = address.database or next(filter(None, names), first)
    hosts = address.hosts or (str(cparams.get("host") or ""),)
    return find_allowed(replace(address, database=str(database or ""), hosts=hosts), cparams, terms)
