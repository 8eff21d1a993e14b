"""Engines that a test run cannot point at your development or production database.

The front door is lazy: importing :mod:`engineroom` loads none of SQLAlchemy, pydantic or pytest; each public name loads
the module that holds it when it is first used.

PYTEST_DONT_REWRITE: this package holds no assertions of tests, and may be imported long before pytest starts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engineroom._engines import (
        database_url,
        dispose_async_engines,
        dispose_engines,
        get_async_engine,
        get_engine,
    )
    from engineroom._environment import Environment, Origin
    from engineroom._guard import guard, verdict
    from engineroom._lifecycle import current_environment
    from engineroom._permit import allow_destructive
    from engineroom._verdict import Verdict
    from engineroom.errors import (
        BootstrapTooLateError,
        ConfigurationError,
        DestructiveOperationError,
        EngineroomError,
        EnvironmentChangedError,
        FenceError,
        InvalidSettingError,
        LifecycleError,
        MissingDependencyError,
        MissingSettingError,
        RefusalError,
        UnknownEnvironmentError,
        UnsafeTestDatabaseError,
    )
    from engineroom.settings import Settings, get_settings

__all__ = [
    "BootstrapTooLateError",
    "ConfigurationError",
    "DestructiveOperationError",
    "EngineroomError",
    "Environment",
    "EnvironmentChangedError",
    "FenceError",
    "InvalidSettingError",
    "LifecycleError",
    "MissingDependencyError",
    "MissingSettingError",
    "Origin",
    "RefusalError",
    "Settings",
    "UnknownEnvironmentError",
    "UnsafeTestDatabaseError",
    "Verdict",
    "allow_destructive",
    "current_environment",
    "database_url",
    "dispose_async_engines",
    "dispose_engines",
    "get_async_engine",
    "get_engine",
    "get_settings",
    "guard",
    "verdict",
]

_HOMES = {
    "Environment": "_environment",
    "Origin": "_environment",
    "Settings": "settings",
    "Verdict": "_verdict",
    "allow_destructive": "_permit",
    "current_environment": "_lifecycle",
    "database_url": "_engines",
    "dispose_async_engines": "_engines",
    "dispose_engines": "_engines",
    "get_async_engine": "_engines",
    "get_engine": "_engines",
    "get_settings": "settings",
    "guard": "_guard",
    "verdict": "_guard",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module, once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
