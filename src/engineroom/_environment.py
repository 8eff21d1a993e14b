"""The words for where a program runs and where a value came from.

Answers: which environment does this word name, and how is the origin of a value told to a person? Reads nothing: the
process environment and the files are read on the floors above.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engineroom.errors import UnknownEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALIASES", "Environment", "Origin", "OriginKind", "parse_environment"]


class Environment(enum.StrEnum):
    """Where the program runs: the value of ``APP_ENV``.

    Example:
        >>> Environment("test") is Environment.TEST
        True
        >>> print(Environment.PRODUCTION)
        production
    """

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"


ALIASES: Mapping[str, Environment] = {
    "dev": Environment.DEVELOPMENT,
    "testing": Environment.TEST,
    "stage": Environment.STAGING,
    "prod": Environment.PRODUCTION,
}
"""Other words for the four environments that every project understands."""


class OriginKind(enum.StrEnum):
    """The kinds of place that a value can come from."""

    FILE = "file"
    VARIABLE = "variable"
    ARGUMENT = "argument"
    DEFAULT = "default"
    PLUGIN = "plugin"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a resolved value came from.

    Attributes:
        kind: The kind of place.
        name: Its name: a file as the user would type it, a variable, or what derived the value.

    Example:
        >>> print(Origin(OriginKind.FILE, ".env"))
        from .env
        >>> print(Origin(OriginKind.VARIABLE, "DATABASE_URL"))
        from the variable DATABASE_URL
    """

    kind: OriginKind
    name: str = ""

    def __str__(self) -> str:
        """Return the phrase that stands in messages, such as ``from .env``."""
        match self.kind:
            case OriginKind.FILE:
                return f"from {self.name}"
            case OriginKind.VARIABLE:
                return f"from the variable {self.name}"
            case OriginKind.ARGUMENT:
                return f"passed to {self.name}" if self.name else "passed as an argument"
            case OriginKind.DEFAULT:
                return f"by default ({self.name})" if self.name else "by default"
            case OriginKind.PLUGIN:
                return "set by the pytest plugin"


def parse_environment(
    word: str,
    *,
    variable: str = "APP_ENV",
    origin: Origin | None = None,
    names: Mapping[str, Environment] | None = None,
) -> Environment:
    """Return the environment that a word names.

    Args:
        word: The value of the environment variable; case and surrounding space do not matter.
        variable: The name of the variable, for the message.
        origin: Where the word came from, for the message.
        names: The project's own words (``environments`` in ``[tool.engineroom]``); they win over the built-in ones.

    Returns:
        The environment. An empty word counts as unset and gives ``Environment.DEVELOPMENT``.

    Raises:
        UnknownEnvironmentError: The word names no environment.

    Example:
        >>> parse_environment(" Prod ")
        <Environment.PRODUCTION: 'production'>
        >>> parse_environment("ci", names={"ci": Environment.TEST})
        <Environment.TEST: 'test'>
    """
    key = word.strip().casefold()
    if not key:
        return Environment.DEVELOPMENT
    known = {**{str(environment): environment for environment in Environment}, **ALIASES}
    known |= {name.strip().casefold(): environment for name, environment in (names or {}).items()}
    if key in known:
        return known[key]
    raise _unknown_environment(key, known, variable=variable, origin=origin)


def _unknown_environment(
    key: str, known: Mapping[str, Environment], *, variable: str, origin: Origin | None
) -> UnknownEnvironmentError:
    import difflib  # noqa: PLC0415 - only for the message

    # A word is repeated only where it looks like one: a secret may have been pasted into the wrong variable.
    is_word = re.fullmatch("[a-z][a-z_-]{0,15}", key) is not None
    shown = f'"{key}"' if is_word else "not a known word"
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.8)  # "pre-prod" does not mean "prod"
    where = f" ({origin})" if origin else ""
    return UnknownEnvironmentError(
        f"{variable} does not name an environment." + (f" Did you mean {close[0]}?" if close else ""),
        why=f"{variable} is {shown}{where}; the known words are {', '.join(known)}.",
        fix=[
            f"set {variable} to one of them: export {variable}={close[0] if close else Environment.DEVELOPMENT}",
            f'map it in [tool.engineroom] of pyproject.toml: environments = {{ {key if is_word else "ci"} = "test" }}',
        ],
    )
