"""The watch over one connection to a server: which permits hold for it.

In this release the guard reads no statements that are sent to a server; it stops ``metadata.drop_all``, and asks here
whether that was permitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineroom._guard.live import identify_connection
from engineroom._permit import Grants

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Dialect

    from engineroom._permit import OpenPermits, Permit

__all__ = ["ServerWatch"]


class ServerWatch:
    """The permits of one connection to a server.

    Args:
        dbapi_connection: The connection as SQLAlchemy's pool has it.
        dialect: The dialect that opened it.
        permits: The permits that are open for its engine.
    """

    def __init__(self, dbapi_connection: Any, dialect: Dialect, permits: OpenPermits) -> None:
        """Ask nothing yet."""
        self._dbapi_connection = dbapi_connection
        self._dialect = dialect
        self.grants = Grants()
        self.grants.permits = permits

    @property
    def names(self) -> Collection[str]:
        """The name of the database that is reached now: ``USE`` may have selected another one."""
        facts = identify_connection(self._dbapi_connection, self._dialect)
        self._dbapi_connection.rollback()  # the question began a transaction that nobody asked for
        return {facts.database} if facts.database else set()

    def grant(self, permit: Permit) -> None:
        """Let a permit hold."""
        self.grants.add(permit)

    def revoke(self, permit: Permit) -> None:
        """Let it hold no longer."""
        self.grants.remove(permit)

    def is_permitted(self, operation: str, name: str, database: str | None) -> bool:
        """Tell whether a permit for the database that is reached now covers an operation."""
        permit = self.grants.find(operation, (name,))
        if permit is None or permit.database != database:
            return False
        self.grants.note_use(permit, operation, (name,))
        return True
