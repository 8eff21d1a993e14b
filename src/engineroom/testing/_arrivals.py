"""What to do when a module arrives: a callback once its import is finished, and no import for its sake.

The fence has to act on SQLAlchemy and on the drivers, but a suite that does not use them must not pay for them. So
whoever waits for a module leaves a callback here. A finder in front of ``sys.meta_path`` lets the other finders do
their work and only sees to it that the callbacks run when the module has been executed; it is removed again when
nothing is waited for.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from engineroom._interpreter import Finder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["reset", "waited_for", "when_imported"]

_callbacks: dict[str, list[Callable[[ModuleType], object]]] = {}
_mutex = threading.RLock()


def when_imported(name: str, callback: Callable[[ModuleType], object]) -> None:
    """Call a function with a module: now if it is imported, else as soon as its import is finished.

    Args:
        name: The full name of the module.
        callback: What to do with it. An exception that it raises ends the import with that exception.

    Example:
        >>> when_imported("sys", lambda module: print(module.__name__))
        sys
    """
    with _mutex:
        module = sys.modules.get(name)
        if module is None or _is_being_imported(module):
            _callbacks.setdefault(name, []).append(callback)
            if sys.meta_path[:1] != [_finder]:
                # Pytest puts its finder, which finds the modules of plugins by itself, in front of what was there.
                if _finder in sys.meta_path:
                    sys.meta_path.remove(_finder)
                sys.meta_path.insert(0, _finder)
            return
    callback(module)


def waited_for() -> frozenset[str]:
    """Return the names of the modules that somebody waits for."""
    return frozenset(_callbacks)


def reset() -> None:
    """Wait for nothing any more."""
    with _mutex:
        _callbacks.clear()
        _rest()


def _is_being_imported(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _arrive(name: str, module: ModuleType) -> None:
    """Call what was left for a module that has been executed."""
    with _mutex:
        callbacks = _callbacks.pop(name, [])
        _rest()
    for callback in callbacks:
        callback(module)


def _rest() -> None:
    """Leave the import system alone where nothing is waited for."""
    if not _callbacks and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


class _Asking(threading.local):
    """The names that this thread is asking the other finders for: one of them may itself ask all finders."""

    def __init__(self) -> None:
        self.names: set[str] = set()


def _find_spec(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """Return the spec of the other finders, its loader wrapped, for a module that is waited for; find nothing else."""
    if fullname not in _callbacks or fullname in _asking.names:
        return None
    _asking.names.add(fullname)
    try:
        spec = _ask_the_others(fullname, path, target)
    finally:
        _asking.names.discard(fullname)
    if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
        spec.loader = _ArrivalLoader(fullname, spec.loader)  # type: ignore[assignment]  # no need of the base class
    return spec


class _ArrivalLoader:
    """Loads as the real loader does, reports the arrival, and leaves no trace on the module."""

    def __init__(self, name: str, loader: Loader) -> None:
        self._name = name
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        """Pass on what else the real loader can do (``get_code``, ``get_resource_reader`` and their like)."""
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the real loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, then tell those who waited for it."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _arrive(self._name, module)


def _ask_the_others(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        if finder is not _finder and hasattr(finder, "find_spec"):
            spec: ModuleSpec | None = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
    return None


_asking = _Asking()
_finder = Finder(_find_spec)
