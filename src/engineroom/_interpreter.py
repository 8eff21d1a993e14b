"""What Python is given and keeps until its very end: functions around a fork, a hook for audit events, a finder.

A function there keeps its module, and all that its module imported, alive until everything else has been torn down,
which costs a process some five milliseconds each time it ends. So what stands here only knows where to find the
function that does the work, and lets it go with its module; hence this module imports nothing that is not its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any

    AuditHook = Callable[[str, tuple[Any, ...]], None]

__all__ = ["Finder", "call_around_fork", "call_in_child", "hear_events"]


def call_around_fork(before: Callable[[], None], in_parent: Callable[[], None], in_child: Callable[[], None]) -> None:
    """Call functions of a module at each fork, until the module is gone.

    Args:
        before: Called before the process is forked.
        in_parent: Called afterwards in the process that forked.
        in_child: Called afterwards in the new process.
    """
    import os  # noqa: PLC0415  # what stands in this module's namespace is kept for ever

    os.register_at_fork(before=_find(before), after_in_parent=_find(in_parent), after_in_child=_find(in_child))


def call_in_child(function: Callable[[], None]) -> None:
    """Call a function of a module in each process that is forked from this one, until the module is gone."""
    import os  # noqa: PLC0415  # as above

    os.register_at_fork(after_in_child=_find(function))


def hear_events(events: Collection[str], function: AuditHook) -> AuditHook:
    """Call a function of a module with each audit event of some names, until the module is gone.

    Args:
        events: The names; what is added or removed later counts. Python calls the hook for every event of the process,
            so for most of them this decides.
        function: Called with the name of an event and its arguments. What it raises ends the operation.

    Returns:
        The hook. Python traces none, for Coverage or a debugger, that has no true attribute ``__cantrace__``.
    """
    import sys  # noqa: PLC0415  # as above

    reference = ref(function)

    def pass_on(event: str, arguments: tuple[Any, ...]) -> None:
        __tracebackhide__ = True
        found = reference()
        if found is not None:
            found(event, arguments)

    # The start of pytest alone has some 2,300 events of other names, and each test a dozen: what would make this
    # function's frame larger stands in another one.
    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in events:
            __tracebackhide__ = True
            pass_on(event, arguments)

    sys.addaudithook(hear)
    return hear


class Finder:
    """A finder for ``sys.meta_path`` that asks a function, until the function's module is gone.

    Args:
        find_spec: Returns the spec of a module, or None for one that others shall find.
    """

    def __init__(self, find_spec: Callable[[str, Sequence[str] | None, Any], ModuleSpec | None]) -> None:
        """Remember where the function is."""
        self._reference = ref(find_spec)

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """Return what the function returns."""
        found = self._reference()
        return None if found is None else found(fullname, path, target)


def _find(function: Callable[[], None]) -> Callable[[], None]:
    reference = ref(function)

    def call() -> None:
        found = reference()
        if found is not None:
            found()

    return call
