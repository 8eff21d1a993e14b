"""The guard's error: what was about to be destroyed, where, why that is refused, and the ways out.

Only words are chosen here; whether to refuse is decided elsewhere.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from engineroom import _lifecycle, _project
from engineroom._verdict import Facts
from engineroom.errors import DestructiveOperationError, EngineroomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom._verdict import Verdict

__all__ = ["Refused", "refuse_all", "refuse_destruction"]

MOST_NAMES = 3
PHRASES = {
    "unreadable text": "run a text that holds a destructive word and cannot be read",
    "computed statement": "run a computed statement, which cannot be read,",
}
"""What to say where the judge of texts names no verb."""


class Refused(NamedTuple):
    """One loss that is refused on a server, with the database from which something would be lost."""

    operation: str
    objects: tuple[str, ...]
    facts: Facts
    verdict: Verdict


def refuse_destruction(  # noqa: PLR0913  # all that a message may say
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


def refuse_all(
    refused: Sequence[Refused], *, database: str | None, objects: Sequence[str] = (), note: str = ""
) -> DestructiveOperationError:
    """Build one error for all that a text would lose on a server, so that none of it is found out by a second try.

    Args:
        refused: What would be lost; at least one loss.
        database: The database that the connection is in, which a permit has to name.
        objects: The objects that a permit has to name besides, since they are not in that database.
        note: A further sentence of the reason, such as why an open permit does not hold here.
    """
    reasons = "; ".join(dict.fromkeys(loss.verdict.reason for loss in refused))
    return DestructiveOperationError(
        f"Refused to {_tell_losses(refused)}.",
        why=f"{_tell_environment()} and {reasons}.{' ' if note else ''}{note}",
        fix=_tell_fixes(Facts(refused[0].facts.backend, database), objects),
    )


def _tell_losses(refused: Sequence[Refused]) -> str:
    """Say all that would be done, in its order, and after each run of it the place."""
    told = []
    for facts, losses in groupby(refused, key=lambda loss: loss.facts):
        same = [(operation, list(group)) for operation, group in groupby(losses, key=lambda loss: loss.operation)]
        phrases = [_phrase(operation, [name for loss in group for name in loss.objects]) for operation, group in same]
        # "drop database shop" has said the name already.
        is_told = not facts.database or same[-1][0].endswith(" database")
        database = "" if is_told else f" in database {_show(facts.database or '')}"
        told.append(f"{', '.join(phrases)}{database} on {_tell_place(facts)}")
    return "; ".join(told)


def _tell_fixes(facts: Facts, objects: Sequence[str] = ()) -> list[str]:
    fixes = [] if _lifecycle.is_test_process() else ["run it under pytest, which selects the test database"]
    fixes.append(f"point DATABASE_URL at a database whose name {_tell_test_names()}")
    return [*fixes, f"wrap this one call in {_tell_permit(facts, objects)}"] if facts.database else fixes


def _tell_attached_fixes(facts: Facts) -> list[str]:
    """Tell the ways out where the connection reaches into another database; its engine's permit does not open that."""
    fixes = [f"attach a database whose name {_tell_test_names()}"]
    if not facts.database:
        return fixes
    return [*fixes, f"do it through an engine of that database, inside {_tell_permit(facts)}"]


def _tell_permit(facts: Facts, objects: Sequence[str] = ()) -> str:
    narrow = f", objects=[{', '.join(map(_write, dict.fromkeys(objects)))}]" if objects else ""
    return f'engineroom.allow_destructive(engine, database={_write(facts.database or "")}{narrow}, reason="...")'


def _write(name: str) -> str:
    """Return a name as a literal of Python that can be pasted, whatever it holds."""
    return '"{}"'.format("".join(f"\\{letter}" if letter in {'"', "\\"} else _show(letter) for letter in name))


def _tell_place(facts: Facts) -> str:
    if facts.backend == "sqlite" and facts.location.startswith("/"):
        return f"sqlite:///{facts.location}"
    return facts.location or facts.database or "a database that could not be identified"


def _phrase(operation: str, objects: Sequence[str]) -> str:
    """Say what would be done: ``drop table users``, ``drop tables users, orders``, ``drop 14 tables``."""
    if operation in PHRASES:
        return PHRASES[operation]
    names = list(dict.fromkeys(objects))
    verb, _, kind = operation.partition(" ")
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    if len(names) > MOST_NAMES:
        return f"{verb} {len(names)} {plural}"
    return " ".join(filter(None, [verb, plural if len(names) > 1 else kind, ", ".join(map(_show, names))]))


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
