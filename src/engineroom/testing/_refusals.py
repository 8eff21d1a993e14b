"""The fence's error: what a test run asked for, why it is refused, and the ways out.

Each error is written down in the ledger when it is made, since the code that it is raised in may swallow it. Only words
are chosen here; whether to refuse is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING

from engineroom import _run_files
from engineroom.errors import FenceError
from engineroom.testing._callers import find_caller
from engineroom.testing.ledger import active_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom._verdict import Verdict
    from engineroom.testing._database_files import ProtectedDatabase, Terms

__all__ = ["refuse", "refuse_file", "refuse_program", "refuse_sqlite", "refuse_sqlite_program"]


def refuse(what: str, *, why: str, fix: Sequence[str], target: str, rule: str = "none") -> FenceError:
    """Make the error, and write it down.

    Args:
        what: The first sentence, without the words that end it.
        why: The reason, a clause.
        fix: At most three ways out.
        target: The database or the file, without secrets.
        rule: The rule that decided.
    """
    error = FenceError(f"{what} while pytest runs.", why=f"{why}.", fix=fix)
    caller = find_caller()
    active_ledger().record(error, target=target, rule=rule, file=caller.file, line=caller.line)
    return error


def refuse_sqlite(protected: ProtectedDatabase, terms: Terms, *, through_engine: bool = False) -> FenceError:
    """Make the error for a connection to a SQLite database.

    Args:
        protected: The database.
        terms: On which terms it was judged.
        through_engine: Whether a SQLAlchemy engine asked; else it was the driver itself.
    """
    engine = "make the engine with engineroom.get_engine(...), which selects the test database under pytest"
    read = f'open it for reading: sqlite3.connect("file:{_name_in_uri(protected.path)}?mode=ro", uri=True)'
    other = f"use a database below tmp_path, or one whose name {tell_test_names(terms)}"
    left = f"remove it, if an earlier run left it there: rm {shlex.quote(_show(protected.path))}"
    target = f"sqlite:///{protected.path}" if protected.path else "a SQLite database whose name cannot be read"
    is_new = bool(protected.path) and not os.path.lexists(protected.path)
    return refuse(
        f"Refused to connect to {target}",
        why=protected.verdict.reason,
        fix=[
            *([engine] if through_engine else [] if is_new else [read]),
            left if not is_new and _run_files.is_below_temporary(protected.path) else other,
            *([_tell_how_to_allow(protected.path, terms)] if protected.path else []),
        ],
        target=target,
        rule=protected.verdict.rule,
    )


def refuse_file(verb: str, protected: ProtectedDatabase, terms: Terms, *, path: str) -> FenceError:
    """Make the error for an operation on a file of a SQLite database.

    Args:
        verb: What would be done to it: ``remove``.
        protected: The database.
        terms: On which terms it was judged.
        path: The file as it was passed.
    """
    return refuse(
        f"Refused to {verb} {_show(path)}",
        why=f"it holds, or belongs to, the SQLite database {_show(protected.path)}, and {protected.verdict.reason}",
        fix=[
            "work on a copy below tmp_path",
            f"use a database whose name {tell_test_names(terms)}",
            _tell_how_to_allow(protected.path, terms),
        ],
        target=_show(protected.path),
        rule=protected.verdict.rule,
    )


def refuse_program(name: str, target: str, verdict: Verdict, terms: Terms) -> FenceError:
    """Make the error for a client that is started on a database of a server.

    Args:
        name: The client.
        target: The database, without secrets, as ``fence_allow`` would name it.
        verdict: Why it is not disposable.
        terms: On which terms it was judged.
    """
    return refuse(
        f"Refused to start {name} on {target}",
        why=verdict.reason,
        fix=[
            f"start it on a database whose name {tell_test_names(terms)}",
            "read the database with pg_dump or mysqldump, which are free",
            f'if every test run may change it, say so in pyproject.toml: [tool.engineroom] fence_allow = ["{target}"]',
        ],
        target=target,
        rule=verdict.rule,
    )


def refuse_sqlite_program(name: str, protected: ProtectedDatabase, terms: Terms) -> FenceError:
    """Make the error for SQLite's shell that is started on a file."""
    return refuse(
        f"Refused to start {name} on {_show(protected.path)}",
        why=protected.verdict.reason,
        fix=[
            f"open it for reading: {name} -readonly {_show(os.path.basename(protected.path))}",  # noqa: PTH119  # as above
            f"start it on a copy below tmp_path, or on a database whose name {tell_test_names(terms)}",
            _tell_how_to_allow(protected.path, terms),
        ],
        target=_show(protected.path),
        rule=protected.verdict.rule,
    )


def tell_test_names(terms: Terms) -> str:
    """Return the clause that tells how a test database is called."""
    return 'starts with "test_"' if terms.test_names == ("test_*",) else f"matches {' or '.join(terms.test_names)}"


def _tell_how_to_allow(path: str, terms: Terms) -> str:
    root = f"{terms.root.rstrip('/')}/"
    return f'if every test run may change it, say so in pyproject.toml: [tool.engineroom] fence_allow = ["{path.removeprefix(root)}"]'  # noqa: E501


def _name_in_uri(path: str) -> str:
    """Return a file as SQLite's URI names it, from the working directory on where it lies below that."""
    with contextlib.suppress(OSError):
        path = path.removeprefix(f"{os.getcwd().rstrip('/')}/")  # noqa: PTH109  # as text, as the path is
    return _show(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _show(path: str) -> str:
    """Return a path for people; what cannot be printed is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in path)
