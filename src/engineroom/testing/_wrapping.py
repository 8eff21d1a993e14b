"""Methods of other packages' classes, replaced by ones that ask the fence first.

Whoever bound a name of such a package early, as ``from psycopg import connect`` does, reaches the class or the module
all the same, so the fence is put where the drivers' own code looks a function up when it is called.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["wrap_function", "wrap_method"]

MARK = "__engineroom_{}__"


def wrap_method(owner: type, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace a method of a class, once; a class method stays one.

    Args:
        owner: The class that has it.
        name: Its name.
        wrap: Makes the new function from the old one.
    """
    found = next(vars(parent)[name] for parent in owner.__mro__ if name in vars(parent))
    is_class_method = isinstance(found, classmethod)
    original = found.__func__ if is_class_method else found
    replaced = _wrapped(original, wrap, "fence")
    if replaced is not original:
        type.__setattr__(owner, name, classmethod(replaced) if is_class_method else replaced)


def wrap_function(
    module: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]], *, purpose: str = "fence"
) -> None:
    """Replace a function that the module's own code looks up by its name, once for each purpose."""
    vars(module)[name] = _wrapped(vars(module)[name], wrap, purpose)


def _wrapped(
    original: Callable[..., Any], wrap: Callable[[Callable[..., Any]], Callable[..., Any]], purpose: str
) -> Callable[..., Any]:
    mark = MARK.format(purpose)
    if hasattr(original, mark):
        return original
    replaced = functools.wraps(original)(wrap(original))
    vars(replaced)[mark] = True
    return replaced
