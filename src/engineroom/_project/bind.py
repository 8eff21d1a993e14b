"""What a project configures for one bind."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BindConfiguration"]


class BindConfiguration(NamedTuple):
    """What the project configured for one bind besides the default one.

    Attributes:
        schema: What builds its test database: ``"module:attribute"`` or ``"alembic"``.
        seed: What fills it: ``"module:callable"``.
    """

    schema: str | None = None
    seed: str | None = None
