"""Schemas that a database on a server keeps from one run to the next.

Answers: does this database hold the wanted schema already, and may it stay for the next run? It stays under a record of
two digests: of what the schema is built from, and of all that the database holds. The record is taken away before the
database is used, and put back when its state is that of the schema alone: a killed run leaves none.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engineroom._schema.images import is_ignoring_kept
from engineroom._schema.keys import key_of
from engineroom.testing.server import ServerBaseline

if TYPE_CHECKING:
    from engineroom._schema import Build
    from engineroom._schema.sources import Source
    from engineroom.testing._keeper import Keeper
    from engineroom.testing._server_databases import Server
    from engineroom.testing._server_rows import Rows

__all__ = ["ServerDatabase"]


class ServerDatabase:
    """A database on a server that this run holds: its schema, which may be an earlier run's, and its baseline.

    Args:
        server: The database system.
        keeper: The connection that holds it.
        build: What it is built from.
        may_stay: Whether another run finds it by its name.
    """

    def __init__(self, server: Server, keeper: Keeper, build: Build, *, may_stay: bool) -> None:
        """Know nothing of what it holds."""
        self.keeper = keeper
        self._server = server
        self._build = build
        self._may_stay = may_stay
        self._key = ""
        self._digest = ""
        self._rows: Rows | None = None
        self._baseline: ServerBaseline | None = None

    def take(self, schema: Source | None) -> bool:
        """Tell whether the database holds this schema and nothing else; where it does not, it is emptied.

        Raises:
            Exception: What the application's module raised.
        """
        __tracebackhide__ = True
        name = self.keeper.place.name
        recorded, _, digest = self._server.take_record(self.keeper, name).partition(" ")
        self._key = self._find_key(schema) if self._may_stay and schema is not None else ""
        if recorded and recorded == self._key and not is_ignoring_kept():
            self.note()
            if self._digest == digest:
                return True
        if self._rows is not None:
            self._rows.clear()
        elif self._server.count_objects(self.keeper, name):
            self._server.clear(self.keeper)
        return False

    def note(self) -> None:
        """Take down what the database holds: the schema, without the seed."""
        if self._baseline is None:
            self._rows = self._server.rows(self.keeper)
            self._baseline = ServerBaseline(self._rows, self._build.rebuild, self._build.connections)
        else:
            self._baseline.take_schema()
        self._digest = self._baseline.digest() if self._key else ""

    def baseline(self) -> ServerBaseline:
        """Return the baseline of the schema and the seed that was just filled in."""
        assert self._baseline is not None  # noqa: S101  # a build notes what it built
        self._baseline.take_seed()
        return self._baseline

    def leave(self) -> bool:
        """Bring back the schema alone and record it for the next run; return whether the database may stay.

        Raises:
            Exception: Somebody still writes, or the server is gone.
        """
        if not self._key or self._baseline is None:
            return False
        self._baseline.remove_seed()
        if self._baseline.digest() != self._digest:
            return False
        self._server.record(self.keeper, self.keeper.place.name, f"{self._key} {self._digest}")
        return True

    def _find_key(self, schema: Source) -> str:
        __tracebackhide__ = True
        key = key_of(schema)
        around = self._server.describe(self.keeper)
        return hashlib.sha256(f"{key} {around}".encode()).hexdigest() if key else ""
