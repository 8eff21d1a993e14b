"""What an engine is made with: the application's options, as far as the database that it gets can take them.

Under test the database may be of another kind than the one that the options were written for. What it cannot take is
set aside and told, never passed on and never a reason to fail. Chooses no database and keeps no engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.pool import SingletonThreadPool, StaticPool

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from sqlalchemy import URL

__all__ = ["EngineOptions", "freeze"]

Made = TypeVar("Made")

SOURCES_OF_CONNECTIONS = ("creator", "async_creator", "pool")
"""Options that bring connections along, whatever the URL says."""

OF_ONE_BACKEND = ("connect_args", "isolation_level", "module")
"""Options whose values mean something to one database system alone."""

ONE_CONNECTION_POOLS = (SingletonThreadPool, StaticPool)
INVALID_ARGUMENTS = re.compile(r"Invalid argument\(s\) (?P<names>.+?) sent to create_engine\(\)")


@dataclass(slots=True, repr=False)
class EngineOptions:
    """The options for one engine. It has no repr of its parts: ``connect_args`` may hold a password.

    Attributes:
        options: What goes to SQLAlchemy.
        aside: The names of what does not, in the order in which it was found.
    """

    options: dict[str, Any]
    aside: list[str] = field(default_factory=list)

    @property
    def brings_connections(self) -> bool:
        """Whether connections come from elsewhere than the engine's own dialect."""
        return any(self.options.get(name) is not None for name in SOURCES_OF_CONNECTIONS)

    def fit_other_backend(self) -> None:
        """Set aside what was written for another database system, or another database."""
        self._set_aside(*OF_ONE_BACKEND)

    def fit_other_database(self) -> None:
        """Set aside what would lead past the URL."""
        self._set_aside(*SOURCES_OF_CONNECTIONS)

    def fit_memory(self) -> None:
        """Set aside pools of one connection: it would be shared by concurrent sessions."""
        pool = self.options.get("poolclass")
        if isinstance(pool, type) and issubclass(pool, ONE_CONNECTION_POOLS):
            self._set_aside("poolclass")

    def make(self, create: Callable[..., Made], url: URL, *, is_exchanged: bool) -> Made:
        """Make an engine.

        Args:
            create: SQLAlchemy's ``create_engine`` or ``create_async_engine``.
            url: The database URL.
            is_exchanged: Whether the database is another one than the options were written for. Then what SQLAlchemy
                calls invalid for it is set aside; else its error is the caller's.
        """
        while True:
            try:
                return create(url, **self.options)
            except TypeError as error:
                invalid = INVALID_ARGUMENTS.search(str(error))
                names = re.findall(r"'(\w+)'", invalid["names"]) if invalid and is_exchanged else []
                if not self._set_aside(*names):
                    raise

    def _set_aside(self, *names: str) -> list[str]:
        found = [name for name in names if self.options.pop(name, None) is not None]
        self.aside += found
        return found


def freeze(value: object) -> Hashable:
    """Return something hashable that is equal for equal options; an object that cannot be compared stands for itself.

    Example:
        >>> freeze({"connect_args": {"timeout": 5}}) == freeze({"connect_args": {"timeout": 5}})
        True
    """
    if isinstance(value, dict):
        return frozenset((key, freeze(each)) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return (type(value), *(freeze(each) for each in value))
    if isinstance(value, (set, frozenset)):
        return frozenset(freeze(each) for each in value)
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return (type(value), value)  # 1 and True are equal, but no equal options


class _Itself:
    """Stands for an object without a hash, and keeps it alive, so that its identity stays its own."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)
