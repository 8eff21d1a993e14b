"""The database URL of a bind, under test and outside.

Answers with the one URL that an engine of a bind may use, where it came from and by which rule. Outside of a test run
that is the application's own; in a test run it is a disposable one, or an error that says which line is missing. Opens
no connection and makes no engine; the driver stays the one that the application named. No error of this package, and
no frame that it passes through, shows a secret.
"""

from __future__ import annotations

from engineroom._binds.database_url import DEFAULT_BIND, parse_url, test_variable_of, variable_of
from engineroom._binds.request import Resolution
from engineroom._binds.resolving import is_same_database, resolve

__all__ = [
    "DEFAULT_BIND",
    "Resolution",
    "is_same_database",
    "parse_url",
    "resolve",
    "test_variable_of",
    "variable_of",
]
