"""``metadata.drop_all`` is refused as a whole, with the number of tables, before its first statement.

Without this the guard would refuse the first ``DROP TABLE`` on SQLite, and name no other table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineroom._guard.refusals import refuse_destruction
from engineroom._guard.schemas import MAIN, fold
from engineroom._guard.watch import Watch
from engineroom._permit import WATCH_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, MetaData, Table

    from engineroom._guard.schemas import Judged

__all__ = ["before_drop_all"]


def before_drop_all(_: MetaData, connection: Connection, *, tables: Sequence[Table] = (), **__: Any) -> None:
    """Refuse ``drop_all`` on a guarded connection; a listener of ``MetaData``, which calls it for each engine."""
    watch = connection.info.get(WATCH_KEY)
    if isinstance(watch, Watch):
        _judge_on_sqlite(tables, connection, watch)
    elif watch is not None:
        from engineroom._guard.server_watch import ServerWatch  # noqa: PLC0415  # as where an engine is guarded

        if isinstance(watch, ServerWatch):
            watch.check_drop_all(tables)


def _judge_on_sqlite(tables: Sequence[Table], connection: Connection, watch: Watch) -> None:
    if not any(_would_lose(table, connection, watch) for table in tables):
        return
    # An unqualified name means the temporary object of that name, if there is one. Before it answers that question, the
    # connection has looked at what was attached last; so now the tables are judged for good.
    rows = connection.exec_driver_sql("SELECT name FROM sqlite_temp_master").all()
    temporary = {fold(name) for (name,) in rows}
    meant = [table for table in tables if table.schema or fold(table.name) not in temporary]
    losses = [(table, judged) for table in meant if (judged := _would_lose(table, connection, watch))]
    if losses:
        judged = losses[0][1]
        raise refuse_destruction(
            _operation(*(table for table, _ in losses)),
            [table.fullname for table, _ in losses],
            facts=judged.facts,
            verdict=judged.verdict,
            note=watch.grants.note,
            is_attached=not watch.is_main(judged),
        )


def _would_lose(table: Table, connection: Connection, watch: Watch) -> Judged | None:
    return watch.would_lose(_operation(table), table.name, connection.schema_for_object(table) or MAIN)


def _operation(*tables: Table) -> str:
    """Return the operation; a metadata of SQLAlchemy 2.1 may hold views."""
    is_view = all(getattr(table, "is_view", False) for table in tables)
    return "drop view" if is_view else "drop table"
