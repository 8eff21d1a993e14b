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
    from collections.abc import Callable, Collection, Hashable, Mapping

    from sqlalchemy import URL

__all__ = ["EngineOptions", "freeze"]

Made = TypeVar("Made")

SOURCES_OF_CONNECTIONS = ("creator", "async_creator", "pool")
"""Options that bring connections along, whatever the URL says."""

OF_ONE_BACKEND = ("module", "paramstyle")
"""Options whose values mean something to one database system alone."""

ONE_CONNECTION_POOLS = (SingletonThreadPool, StaticPool)
INVALID_ARGUMENTS = re.compile(r"Invalid argument\(s\) (?P<names>.+?) sent to create_engine\(\)")

SQLITE_ARGUMENTS = frozenset(
    {
        *("timeout", "detect_types", "isolation_level", "check_same_thread", "factory", "cached_statements"),
        *("autocommit", "iter_chunk_size"),
    }
)
"""What sqlite3 and aiosqlite take, but for ``uri``: the test database is named by its path."""

ONLY_SQLITE_ARGUMENTS = SQLITE_ARGUMENTS - {"timeout", "isolation_level", "autocommit"} | {"uri"}


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
        """Set aside what was written for another database system."""
        self._set_aside(*OF_ONE_BACKEND)
        self.fit_memory()  # such a pool was chosen for SQLite's :memory:

    def fit_other_database(self, url: URL) -> None:
        """Set aside what would lead past the URL, and what its dialect does not know."""
        self._set_aside(*SOURCES_OF_CONNECTIONS)
        levels = _isolation_levels(url)
        if levels is not None:
            self._fit_isolation_level(levels)

    def fit_memory(self) -> None:
        """Set aside pools of one connection: it would be shared by concurrent sessions."""
        pool = self.options.get("poolclass")
        if isinstance(pool, type) and issubclass(pool, ONE_CONNECTION_POOLS):
            self._set_aside("poolclass")

    def set_connect_args(self, connect_args: Mapping[str, Any], *, backend: str, is_exchanged: bool) -> None:
        """Take these ``connect_args`` instead of the application's, as far as they are for this database system.

        Args:
            connect_args: What is left of the application's own, and what the driver needs besides.
            backend: The database system that the engine gets.
            is_exchanged: Whether the application's own were written for another database.
        """
        given = self.options.pop("connect_args", None) or {}
        fitting = {name: each for name, each in connect_args.items() if not is_exchanged or _is_taken(name, backend)}
        if fitting:
            self.options["connect_args"] = fitting
        self.aside += [f"connect_args[{name!r}]" for name in given if name not in fitting]

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

    def _fit_isolation_level(self, levels: Collection[str]) -> None:
        if not _is_known(self.options.get("isolation_level"), levels):
            self._set_aside("isolation_level")
        execution_options = self.options.get("execution_options") or {}
        if not _is_known(execution_options.get("isolation_level"), levels):
            kept = {name: each for name, each in execution_options.items() if name != "isolation_level"}
            self.options["execution_options"] = kept
            self.aside.append("execution_options['isolation_level']")

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


def _is_taken(argument: str, backend: str) -> bool:
    """Tell whether a driver's argument is one of this database system, as far as is known."""
    return argument in SQLITE_ARGUMENTS if backend == "sqlite" else argument not in ONLY_SQLITE_ARGUMENTS


def _isolation_levels(url: URL) -> Collection[str] | None:
    """Return the isolation levels that a dialect knows; None where it tells only when it is connected."""
    try:
        dialect: Any = url.get_dialect()()
        return tuple(dialect.get_isolation_level_values(None))
    except Exception:  # noqa: BLE001  # a dialect may ask the connection, and raises what it likes without one
        return None


def _is_known(level: object, levels: Collection[str]) -> bool:
    return not isinstance(level, str) or level.replace("_", " ").upper() in {known.upper() for known in levels}
