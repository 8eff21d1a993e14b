"""The guard's error: what was about to be destroyed, where, why that is refused, and the ways out.

Only words are chosen here; whether to refuse is decided elsewhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engineroom import _lifecycle, _project
from engineroom.errors import DestructiveOperationError, EngineroomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom._verdict import Facts, Verdict

__all__ = ["refuse_destruction"]

MOST_NAMES = 3


def refuse_destruction(
    operation: str,
    objects: Sequence[str],
    *,
    facts: Facts,
    verdict: Verdict,
    note: str = "",
    is_attached: bool = False,
) -> DestructiveOperationError:
    """Build the error for a destructive operation that is refused.

    Args:
        operation: The verb and the kind, such as ``drop table``.
        objects: The names of what would be lost.
        facts: What is known of the database.
        verdict: Why it is not disposable.
        note: A further sentence of the reason, such as why an open permit does not hold here.
        is_attached: Whether the database is another one than the connection's own.
    """
    return DestructiveOperationError(
        f"Refused to {_phrase(operation, objects)} on {_tell_place(facts)}.",
        why=f"{_tell_environment()} and {verdict.reason}.{' ' if note else ''}{note}",
        fix=[*_tell_attached_fixes(facts)] if is_attached else [*_tell_fixes(facts)],
    )


def _tell_fixes(facts: Facts) -> list[str]:
    fixes = [] if _lifecycle.is_test_process() else ["run it under pytest, which selects the test database"]
    fixes.append(f"point DATABASE_URL at a database whose name {_tell_test_names()}")
    return [*fixes, f"wrap this one call in {_tell_permit(facts)}"] if facts.database else fixes


def _tell_attached_fixes(facts: Facts) -> list[str]:
    """Tell the ways out where the connection reaches into another database; its engine's permit does not open that."""
    fixes = [f"attach a database whose name {_tell_test_names()}"]
    if not facts.database:
        return fixes
    return [*fixes, f"do it through an engine of that database, inside {_tell_permit(facts)}"]


def _tell_permit(facts: Facts) -> str:
    name = json.dumps(facts.database, ensure_ascii=False)  # a Python literal, whatever the name
    return f'engineroom.allow_destructive(engine, database={name}, reason="...")'


def _tell_place(facts: Facts) -> str:
    if facts.backend == "sqlite" and facts.location.startswith("/"):
        return f"sqlite:///{facts.location}"
    return facts.location or facts.database or "a database that could not be identified"


def _phrase(operation: str, objects: Sequence[str]) -> str:
    """Say what would be done: ``drop table users``, ``drop 14 tables``."""
    if len(objects) > MOST_NAMES:
        verb, _, kind = operation.partition(" ")
        return f"{verb} {len(objects)} {kind}s"
    plural = "s" if len(objects) > 1 else ""
    return f"{operation}{plural} {', '.join(map(_show, objects))}".rstrip()


def _show(name: str) -> str:
    """Return a name whose unprintable letters are escaped, so that it cannot forge a line of the message."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)


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
