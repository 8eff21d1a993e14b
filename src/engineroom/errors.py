"""Every error of engineroom, and how its message is built.

    EngineroomError
    ├── ConfigurationError
    │   ├── UnknownEnvironmentError
    │   ├── MissingSettingError
    │   └── InvalidSettingError
    ├── RefusalError
    │   ├── DestructiveOperationError
    │   ├── UnsafeTestDatabaseError
    │   └── FenceError
    ├── LifecycleError
    │   ├── EnvironmentChangedError
    │   └── BootstrapTooLateError
    └── MissingDependencyError

A message has four parts in a fixed order: what happened, why, how to fix it, and a reference into the documentation.
None of these classes derives from ``OSError`` or from a DBAPI error: code that retries or ignores those must not
swallow a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BootstrapTooLateError",
    "ConfigurationError",
    "DestructiveOperationError",
    "EngineroomError",
    "EnvironmentChangedError",
    "FenceError",
    "InvalidSettingError",
    "LifecycleError",
    "MissingDependencyError",
    "MissingSettingError",
    "RefusalError",
    "UnknownEnvironmentError",
    "UnsafeTestDatabaseError",
]

MOST_FIXES = 3


class EngineroomError(Exception):
    """The root of all errors that engineroom raises.

    Args:
        what: What happened, one sentence.
        why: The reason, with the origin of each value that decided.
        fix: At most three ways out that can be pasted, each a clause without a full stop.

    Attributes:
        code: The stable kebab-case name of the situation; the documentation has a section of that name.
        what: What happened.
        why: The reason.
        fix: The ways out.

    Example:
        >>> error = EngineroomError("The door is shut.", why="nobody opened it.", fix=["open the door"])
        >>> print(error)
        The door is shut.
        <BLANKLINE>
        Why: nobody opened it.
        Fix: open the door.
        Ref: engineroom
    """

    code: ClassVar[str] = "engineroom"

    def __init__(self, what: str, *, why: str, fix: Sequence[str] = ()) -> None:
        """Keep the parts; the message is rendered when it is asked for."""
        if len(fix) > MOST_FIXES:
            raise ValueError(f"A message offers at most {MOST_FIXES} ways out, not {len(fix)}.")
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix: tuple[str, ...] = tuple(fix)

    def __str__(self) -> str:
        """Render the four parts."""
        return "\n".join([self.what, "", f"Why: {self.why}", *_render_fix(self.fix), f"Ref: {self.code}"])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the parts, so that an error crosses a process boundary whole."""
        return _rebuild, (type(self), self.what, self.why, self.fix), self._extra_state()

    def _extra_state(self) -> dict[str, object]:
        """Return what was attached besides the parts (notes, attributes)."""
        return {name: value for name, value in vars(self).items() if name not in {"what", "why", "fix"}}

    def without_traceback(self) -> Self:
        """Return the same error without what a debugger would show around it, which may hold a secret.

        The frames that it passed are forgotten with their locals, and so are the errors that led to it.
        """
        error: BaseException = self
        error.__cause__ = error.__context__ = None
        return self.with_traceback(None)


def _rebuild(kind: type[EngineroomError], what: str, why: str, fix: Sequence[str]) -> EngineroomError:
    return kind(what, why=why, fix=fix)


def _render_fix(fix: Sequence[str]) -> list[str]:
    if not fix:
        return []
    if len(fix) == 1:
        return [f"Fix: {fix[0]}."]
    first, *middle, last = fix
    lines = [f"Fix: - {first}, or"]
    lines += [f"     - {way}, or" for way in middle]
    return [*lines, f"     - {last}."]


class ConfigurationError(EngineroomError):
    """The configuration cannot be used as it stands."""

    code = "configuration"


class UnknownEnvironmentError(ConfigurationError):
    """The environment variable holds a word that names no environment."""

    code = "unknown-environment"


class MissingSettingError(ConfigurationError):
    """A setting that is needed has no value."""

    code = "missing-setting"


class InvalidSettingError(ConfigurationError):
    """A setting has a value that cannot be used."""

    code = "invalid-setting"


class RefusalError(EngineroomError):
    """An operation was refused, since it could lose data that is not disposable."""

    code = "refusal"


class DestructiveOperationError(RefusalError):
    """The guard refused a destructive operation on a database that is not disposable."""

    code = "destructive-operation"


class UnsafeTestDatabaseError(RefusalError):
    """No disposable database could be found for a test run."""

    code = "unsafe-test-database"


class FenceError(RefusalError):
    """The fence kept a test run from reaching a database that is not disposable."""

    code = "fence"


class LifecycleError(EngineroomError):
    """Something happened too early or too late in the life of the process."""

    code = "lifecycle"


class EnvironmentChangedError(LifecycleError):
    """The environment variable changed after an engine or a settings object was made from it."""

    code = "environment-changed"


class BootstrapTooLateError(LifecycleError):
    """The application was imported before the test environment was selected."""

    code = "bootstrap-too-late"


class MissingDependencyError(EngineroomError):
    """A driver or an optional package is not installed."""

    code = "missing-dependency"
