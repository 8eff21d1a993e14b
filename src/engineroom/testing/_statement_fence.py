"""May a statement reach what it names? Judges the texts that drivers of servers are about to send.

A connection to a test database, or one that looks after the server, may name another database in what it runs: it may
read there, and it may not write. Knows no driver; reading the text is the business of ``_statements``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineroom._verdict import Facts, judge
from engineroom.testing._refusals import refuse, tell_test_names
from engineroom.testing._servers import find_allowed, is_maintenance, tell_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engineroom._statements import Dialect
    from engineroom._statements.writes import Write
    from engineroom.errors import FenceError
    from engineroom.testing._database_files import Terms

__all__ = ["judge_current_database", "judge_statement"]

OF_THE_SERVER = {"mysql": frozenset({"information_schema", "performance_schema", "sys"})}
"""Databases in which the server itself shows what it knows; nothing of anybody's is in them."""

COMPANION = "__engineroom"
"""How the name of the database ends that isolation on MySQL and MariaDB keeps beside a test database."""


def judge_statement(
    sql: str, backend: Dialect, database: str | None, terms: Terms, settings: Callable[[], Mapping[str, Any]]
) -> FenceError | None:
    """Return the error for a text that a connection is about to send, or None where it may run.

    Args:
        sql: The text.
        backend: SQLAlchemy's name of the database system.
        database: The connection's own database; None where it is not known, or there is none.
        terms: On which terms to judge.
        settings: Returns what the connection was opened with: its host, port and user.
    """
    from engineroom._statements.writes import written_databases  # noqa: PLC0415  # most runs send nothing to a server

    own = backend == "postgresql" and is_maintenance(Facts(backend, database))
    for write in written_databases(sql, backend, own=own):
        refusal = _judge_write(write, backend, database, terms, settings)
        if refusal is not None:
            return refusal
    return None


def judge_current_database(
    name: str, backend: Dialect, terms: Terms, settings: Callable[[], Mapping[str, Any]]
) -> FenceError | None:
    """Return the error for a database that is about to be made a connection's own by the driver, or None."""
    from engineroom._statements.writes import Write  # noqa: PLC0415  # as above

    return _judge_write(Write("use", name), backend, None, terms, settings)


def _judge_write(
    write: Write, backend: Dialect, database: str | None, terms: Terms, settings: Callable[[], Mapping[str, Any]]
) -> FenceError | None:
    from engineroom._address import Address  # noqa: PLC0415  # as above

    name = write.database or database
    # What isolation keeps beside a test database may match no pattern of the project's, such as "*_test".
    verdict = judge(Facts(backend, name and name.removesuffix(COMPANION)), terms.test_names)
    if verdict.disposable or str(name).lower() in OF_THE_SERVER.get(backend, ()):
        return None
    given = settings()
    hosts = tuple(filter(None, [str(given.get("unix_socket") or given.get("host") or "")]))
    if find_allowed(Address(backend, "", name, hosts=hosts), given, terms) is not None:
        return None
    target = tell_server(backend, hosts, name)
    is_own = write.database is None
    named = f"in the database {name}" if is_own else _show(write.target or str(name))
    leave_out = [f"leave the name of the database out: {write.operation} {_show(write.target.rpartition('.')[2])}"]
    return refuse(
        f"Refused to {write.operation} {named} over a connection to {_tell_own(database)}",
        why=verdict.reason,
        fix=[
            *(leave_out if write.target else []),
            f"use a database whose name {tell_test_names(terms)}",
            f'if every test run may change it, say so in pyproject.toml: [tool.engineroom] fence_allow = ["{target}"]',
        ],
        target=target,
        rule=verdict.rule,
    )


def _tell_own(database: str | None) -> str:
    return f"the database {_show(database)}" if database else "the server"


def _show(name: str) -> str:
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)
