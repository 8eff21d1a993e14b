"""The triggers of MariaDB's and MySQL's tables, which no setting switches off: dropped for a while, and made again."""
# ruff: noqa: S608  # names are quoted

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from engineroom.testing._mysql_objects import literal, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    Fetch = Callable[[str], list[tuple[Any, ...]]]

__all__ = ["without_triggers"]


@contextlib.contextmanager
def without_triggers(fetch: Fetch, database: str, tables: Collection[str], *, mode: str) -> Iterator[None]:
    """Drop the triggers of some tables for a while.

    Args:
        fetch: Runs a statement.
        database: The name of the tables' database.
        tables: The names of the tables.
        mode: The ``sql_mode`` of the session, which making a trigger changes meanwhile.
    """
    texts = _read_triggers(fetch, database, tables) if tables else []
    for name, *_ in texts:
        fetch(f"DROP TRIGGER {quote(name)}")
    try:
        yield
    finally:
        for _, own_mode, text in texts:
            fetch(f"SET SESSION sql_mode = {literal(own_mode)}")
            fetch(text)
        if texts:
            fetch(f"SET SESSION sql_mode = {literal(mode)}")


def _read_triggers(fetch: Fetch, database: str, tables: Collection[str]) -> list[tuple[str, str, str]]:
    found = fetch(
        f"SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {literal(database)} "
        f"AND EVENT_OBJECT_TABLE IN ({', '.join(map(literal, tables))}) ORDER BY ACTION_ORDER"
    )
    texts = [fetch(f"SHOW CREATE TRIGGER {quote(name)}")[0] for (name,) in found]
    return [(str(name), str(mode), str(text)) for name, mode, text, *_ in texts]
