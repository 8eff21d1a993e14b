"""The guard on servers: has every text judged before the driver gets it.

Replaces the three executors of the guarded engine's own dialect object, which is all that SQLAlchemy calls for a
statement, sync or async. That costs a look-up for a text that was judged before; listeners of execute events would move
every statement to a slower path. A raw cursor passes SQLAlchemy by, and so the guard.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import event
from sqlalchemy.engine import ExecutionContext

from engineroom._address import mask_url
from engineroom._guard.outside import EXECUTORS
from engineroom._guard.refusals import refuse_destruction
from engineroom._guard.server_watch import QUESTIONS, ServerWatch
from engineroom._permit import WATCH_KEY
from engineroom._statements import created_table, judge_text
from engineroom._verdict import Facts, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom._statements import Destruction, Dialect

__all__ = ["guard_server"]

MOST_TEXTS = 2000
MOST_LETTERS = 10_000
"""Bounds of the memory of texts that destroy nothing: at most 20 MB, and far less in practice."""


def guard_server(engine: Engine) -> None:
    """Put the guard on an engine of a server; connections that are in its pool already are watched when taken next."""
    dialect, location = engine.dialect, mask_url(engine.url)

    def watch(dbapi_connection: Any, record: ConnectionPoolEntry, *_: object) -> None:
        if WATCH_KEY not in record.info:
            record.info[WATCH_KEY] = ServerWatch(dbapi_connection, dialect.name, location)

    for moment in ("connect", "checkout"):
        event.listen(engine, moment, watch)
    event.listen(engine, "checkin", _forget_creations)
    # A server that engineroom does not know is read as standard SQL; what is not that is unreadable, and so refused.
    texts = _HarmlessTexts(cast("Dialect", dialect.name if dialect.name in QUESTIONS else "postgresql"))
    for name in EXECUTORS:
        setattr(dialect, name, _judge_first(getattr(dialect, name), texts))


class _HarmlessTexts:
    """The texts that were judged to destroy nothing, the latest ones."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.known: dict[str, None] = {}

    def remember(self, text: str) -> None:
        if len(text) > MOST_LETTERS:
            return
        if len(self.known) >= MOST_TEXTS:
            self.known.clear()  # rare, and cheaper than an order that is kept at every look-up
        self.known[text] = None


def _judge_first(execute: Callable[..., None], texts: _HarmlessTexts) -> Callable[..., None]:
    known = texts.known

    @wraps(execute)
    def execute_judged(cursor: Any, statement: str, *arguments: Any) -> None:
        if statement in known:
            execute(cursor, statement, *arguments)
            return
        losses = judge_text(statement, texts.dialect)
        created = () if losses else created_table(statement, texts.dialect)
        watch = _watch_of(arguments[-1] if arguments else None) if losses or created else None
        if losses:
            _check(watch, losses)
        elif not created:
            texts.remember(statement)
        is_new = bool(created) and watch is not None and watch.is_free_for_own(created)
        execute(cursor, statement, *arguments)
        if is_new and watch is not None:
            watch.note_creation(created)

    return execute_judged


def _check(watch: ServerWatch | None, losses: tuple[Destruction, ...]) -> None:
    if watch is not None:
        watch.check(losses)
        return
    facts = Facts("", None)
    raise refuse_destruction(losses[0].operation, losses[0].objects, facts=facts, verdict=judge(facts))


def _watch_of(context: object) -> ServerWatch | None:
    if not isinstance(context, ExecutionContext):
        return None
    watch: ServerWatch | None = context.root_connection.info.get(WATCH_KEY)
    return watch


def _forget_creations(_: Any, record: ConnectionPoolEntry) -> None:
    watch = record.info.get(WATCH_KEY)
    if watch is not None:
        watch.forget_creations()
