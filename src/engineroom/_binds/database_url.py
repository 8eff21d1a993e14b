"""The text of a database URL, and the variables that hold it.

Answers: which variable is it for a bind, and which URL is this text? A text that is no URL gives an error which names
the variable and where it was set, and never repeats the text: it may hold a password.
"""

from __future__ import annotations

import re

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from engineroom._environment import Origin, OriginKind
from engineroom.errors import InvalidSettingError

__all__ = ["DEFAULT_BIND", "EXAMPLE", "name_source", "parse_url", "test_variable_of", "variable_of"]

DEFAULT_BIND = "default"
EXAMPLE = "postgresql+psycopg://USER:PASSWORD@localhost/shop"


def variable_of(bind: str) -> str:
    """Return the name of the variable that holds a bind's database URL.

    Raises:
        InvalidSettingError: The bind's name cannot be part of a variable's name.

    Example:
        >>> variable_of("default"), variable_of("analytics")
        ('DATABASE_URL', 'ANALYTICS_DATABASE_URL')
    """
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", bind) is None:
        raise InvalidSettingError(
            "The name of a bind is not an identifier.",
            why="the name becomes part of a variable and of a file, so it holds letters, digits and _ only, and starts "
            "with a letter.",
            fix=['choose a name like this: get_engine(bind="analytics")'],
        )
    if bind.upper() == "TEST" or bind.upper().startswith("TEST_"):
        raise InvalidSettingError(
            f'"{bind}" cannot be the name of a bind.',
            why=f"{bind.upper()}_DATABASE_URL is where another bind's test database is looked for.",
            fix=['choose a name that does not start with "test", like this: get_engine(bind="analytics")'],
        )
    return "DATABASE_URL" if bind == DEFAULT_BIND else f"{bind.upper()}_DATABASE_URL"


def test_variable_of(bind: str) -> str:
    """Return the name of the variable that holds the URL of a bind's test database.

    Example:
        >>> test_variable_of("default"), test_variable_of("analytics")
        ('TEST_DATABASE_URL', 'TEST_ANALYTICS_DATABASE_URL')
    """
    return f"TEST_{variable_of(bind)}"


def parse_url(text: str, origin: Origin, *, variable: str = "DATABASE_URL") -> URL:
    """Return the URL that a text is.

    Args:
        text: The text; surrounding space does not matter.
        origin: Where it came from, for the message.
        variable: The setting that it is the value of, for the message.

    Raises:
        InvalidSettingError: The text is no database URL. It is not repeated, since it may hold a password.

    Example:
        >>> parse_url(" sqlite:///shop.db ", Origin(OriginKind.FILE, ".env"))
        sqlite:///shop.db
    """
    reading = _read_url(text)
    del text  # what fails shows the locals of this frame in some reports
    if isinstance(reading, URL):
        return reading
    raise InvalidSettingError(
        f"{name_source(origin, variable)} is not a database URL.",
        why=f"{reading}; the value is not shown, since it may hold a password.",
        fix=[
            f"write it like this: {variable}={EXAMPLE}",
            f"write it like this, for SQLite: {variable}=sqlite:///shop.db",
            "percent-encode what is special in a user name or password (@ is %40, / is %2F, : is %3A)",
        ],
    )


def name_source(origin: Origin, variable: str) -> str:
    """Return how a message calls a value: the variable and where it was set, or the call that it was passed to.

    Example:
        >>> name_source(Origin(OriginKind.FILE, ".env"), "DATABASE_URL")
        'DATABASE_URL (from .env)'
        >>> name_source(Origin(OriginKind.ARGUMENT, "get_engine"), "DATABASE_URL")
        'The URL passed to get_engine'
    """
    match origin.kind:
        case OriginKind.ARGUMENT:
            return f"The URL {origin}"
        case OriginKind.VARIABLE:
            return f"The variable {origin.name or variable}"
        case _:
            return f"{variable} ({origin})"


def _read_url(text: str) -> URL | str:
    """Return the URL, or the clause that says what is wrong with the text without repeating any of it."""
    stripped = text.strip()
    if not stripped.isprintable():
        return "it holds a line break or another control character"
    if stripped[:1] in {'"', "'"}:
        return "it begins with a quotation mark, which is part of the value here"
    try:
        url = make_url(stripped)
    except ArgumentError:
        return "it does not have the form dialect+driver://user:password@host/name"
    except ValueError:
        return "its port is not a number; a password with a special character shows as this, too"
    if "@" in (url.host or "") or (url.password is not None and "@" in (url.database or "")):
        return "it has more than one @; one in a user name or password is written %40"
    return url
