"""The guard on servers: has every text judged before the driver gets it.

Replaces the three executors of the guarded engine's own dialect object, which is all that SQLAlchemy calls for a
statement, sync or async. That costs a look-up for a text that was judged before; listeners of execute events would move
every statement to a slower path. A raw cursor passes SQLAlchemy by, and so the guard.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import ExecutionContext

from engineroom._address import mask_url
from engineroom._guard.outside import EXECUTORS
from engineroom._guard.refusals import refuse_destruction
from engineroom._guard.server_watch import ServerWatch
from engineroom._permit import WATCH_KEY, permits_of
from engineroom._statements import Destruction, created_table, judge_text
from engineroom._verdict import Facts, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom._statements import Dialect

__all__ = ["guard_server", "server_watch_of"]

MOST_TEXTS = 2000
MOST_LETTERS = 10_000_000
"""Bounds of the memory of texts that destroy nothing; the letters are those of all texts together."""
LONGEST_TEXT = 100_000

READ_AS: dict[str, tuple[Dialect, ...]] = {"postgresql": ("postgresql",), "mysql": ("mysql",), "mariadb": ("mariadb",)}
UNKNOWN_READ_AS: tuple[Dialect, ...] = ("postgresql", "mariadb")
"""How the texts of a kind of server that nobody taught engineroom are read: what either would lose counts."""


def guard_server(engine: Engine, *, is_used: bool = False) -> None:
    """Put the guard on an engine of a server.

    Args:
        engine: The engine.
        is_used: Whether it may have opened connections already; they are watched from when they are used next.
    """
    dialect = engine.dialect

    def watch(dbapi_connection: Any, record: ConnectionPoolEntry, *_: object) -> None:
        if WATCH_KEY not in record.info:
            record.info[WATCH_KEY] = _watch_new(dbapi_connection, record, engine)

    # A permit asks for the watch when a connection is taken.
    for moment in ("connect", "checkout") if is_used else ("connect",):
        event.listen(engine, moment, watch)
    texts = _HarmlessTexts(READ_AS.get(dialect.name, UNKNOWN_READ_AS))
    for name in EXECUTORS:
        setattr(dialect, name, _judge_first(getattr(dialect, name), texts))


def server_watch_of(connection: Connection) -> ServerWatch:
    """Return the watch of a connection of a guarded engine; one taken before the guard came gets its watch now."""
    watch: ServerWatch | None = connection.info.get(WATCH_KEY)
    if watch is None:
        pooled = connection.connection
        record = getattr(pooled, "_connection_record", None)
        watch = connection.info[WATCH_KEY] = _watch_new(pooled.dbapi_connection, record, connection.engine)
    return watch


def _watch_new(dbapi_connection: Any, record: Any, engine: Engine) -> ServerWatch:
    dialect = engine.dialect
    watch = ServerWatch(dbapi_connection, dialect.name, mask_url(engine.url), permits_of(dialect))
    if record is not None:
        # What is to be done when the connection goes back; it costs nothing where there is nothing, unlike a listener.
        watch.when_created = lambda: record.finalize_callback.append(lambda _: watch.forget_creations())
    return watch


class _HarmlessTexts:
    """The judge of texts, with a memory of those that destroy nothing, the latest ones."""

    def __init__(self, dialects: tuple[Dialect, ...]) -> None:
        self.known: dict[str, None] = {}
        self._letters = 0
        self._dialects = dialects

    def judge(self, statement: object, cursor: object = None) -> tuple[tuple[Destruction, ...], tuple[str, ...]]:
        """Return what a statement would destroy, and the table that it would create."""
        text = _as_text(statement, cursor)
        if text is None:
            return (Destruction("unreadable text", "unreadable"),), ()
        losses = judge_text(text, self._dialects[0])
        for dialect in self._dialects[1:]:
            losses = tuple(dict.fromkeys((*losses, *judge_text(text, dialect))))
        created = created_table(text, self._dialects[0])  # CREATE OR REPLACE may be both
        if not losses and not created and isinstance(statement, str):
            self._remember(text)
        return losses, created

    def _remember(self, text: str) -> None:
        if len(text) > LONGEST_TEXT:
            return
        if len(self.known) >= MOST_TEXTS or self._letters > MOST_LETTERS:
            self.known.clear()  # rare, and cheaper than an order that is kept at every look-up
            self._letters = 0
        self.known[text] = None
        self._letters += len(text)


def _as_text(statement: object, cursor: object) -> str | None:
    """Return the text that a driver would send; psycopg and psycopg2 also take bytes and composed statements."""
    if isinstance(statement, str):
        return statement
    try:
        if isinstance(statement, bytes | bytearray):
            return statement.decode()
        composed: Any = statement
        return str(composed.as_string(None if _is_psycopg(composed) else cursor))
    except Exception:  # noqa: BLE001  # whatever it is and whatever fails: a text that cannot be read
        return None


def _is_psycopg(composed: object) -> bool:
    """Tell whether psycopg composed it, which needs no connection; psycopg2 asks a cursor for its encoding."""
    return type(composed).__module__.partition(".")[0] == "psycopg"


def _judge_first(execute: Callable[..., None], texts: _HarmlessTexts) -> Callable[..., None]:
    known = texts.known

    @wraps(execute)
    def execute_judged(cursor: Any, statement: str, *arguments: Any) -> None:
        try:
            is_known = statement in known
        except TypeError:  # a composed statement of psycopg cannot be hashed
            is_known = False
        if is_known:
            execute(cursor, statement, *arguments)
            return
        losses, created = texts.judge(statement, cursor)
        if not losses and not created:
            execute(cursor, statement, *arguments)
            return
        watch = _find_watch(arguments[-1] if arguments else None)
        if watch is None:
            _check_blindly(losses)
            execute(cursor, statement, *arguments)
            return
        watch.check(losses)
        is_new = bool(created) and watch.is_free_for_own(created)
        execute(cursor, statement, *arguments)
        watch.settle(losses)
        if is_new:
            watch.note_creation(created)

    return execute_judged


def _check_blindly(losses: tuple[Destruction, ...]) -> None:
    """Refuse every loss where it is not known which connection would cause it."""
    for loss in losses:
        facts = Facts("", None)
        raise refuse_destruction(loss.operation, loss.objects, facts=facts, verdict=judge(facts))


def _find_watch(context: object) -> ServerWatch | None:
    return server_watch_of(context.root_connection) if isinstance(context, ExecutionContext) else None
