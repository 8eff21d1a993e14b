"""The guard's error: what was about to be destroyed, where, why that is refused, and the ways out.

Only words are chosen here; whether to refuse is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engineroom import _lifecycle, _project
from engineroom.errors import DestructiveOperationError, EngineroomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom._verdict import Facts, Verdict

__all__ = ["refuse_destruction"]

MOST_NAMES = 3


def refuse_destruction(
    operation: str, objects: Sequence[str], *, facts: Facts, verdict: Verdict, note: str = ""
) -> DestructiveOperationError:
    """Build the error for a destructive operation that is refused.

    Args:
        operation: The verb and the kind, such as ``drop table``.
        objects: The names of what would be lost.
        facts: What is known of the database.
        verdict: Why it is not disposable.
        note: A further sentence of the reason, such as why an open permit does not hold here.
    """
    name = facts.database or "NAME"
    fixes = [] if _lifecycle.is_test_process() else ["run it under pytest, which selects the test database"]
    return DestructiveOperationError(
        f"Refused to {_phrase(operation, objects)}{_tell_place(facts)}.",
        why=f"{_tell_environment()} and {verdict.reason}.{' ' if note else ''}{note}",
        fix=[
            *fixes,
            f"point DATABASE_URL at a database whose name {_tell_test_names()}",
            f'wrap this one call in engineroom.allow_destructive(engine, database="{name}", reason="...")',
        ],
    )


def _tell_place(facts: Facts) -> str:
    if facts.backend == "sqlite":
        place = f"sqlite:///{facts.location}" if facts.location.startswith("/") else facts.location
        return f" on {place or 'a database that could not be identified'}"
    database = f" in database {facts.database}" if facts.database else ""
    return f"{database} on {facts.location or 'a server that could not be identified'}"


def _phrase(operation: str, objects: Sequence[str]) -> str:
    """Say what would be done: ``drop table users``, ``drop 14 tables``."""
    if len(objects) > MOST_NAMES:
        verb, _, kind = operation.partition(" ")
        return f"{verb} {len(objects)} {kind}s"
    plural = "s" if len(objects) > 1 else ""
    return f"{operation}{plural} {', '.join(objects)}".rstrip()


def _tell_environment() -> str:
    frozen = _lifecycle.frozen_by()
    try:
        variable = _project.get_project().environment_variable
        if frozen is not None:
            return f'{variable} is "{frozen.environment}" ({frozen.origin})'
        choice = _lifecycle.choose_environment(_project.get_project())
    except EngineroomError:
        return "the environment is not known"  # a broken configuration must not hide the refusal
    return f'{variable} is "{choice.environment}" ({choice.origin})'


def _tell_test_names() -> str:
    try:
        patterns = _project.get_project().test_names
    except EngineroomError:
        return 'starts with "test_"'
    return 'starts with "test_"' if patterns == ("test_*",) else f"matches {' or '.join(patterns)}"
