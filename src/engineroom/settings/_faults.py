"""What is said about fields that cannot be filled: where each stands, what is wrong, what to write instead.

Answers: how does a pydantic ``ValidationError`` become one error of engineroom? It takes from it which fields are at
fault and which rule each broke, never a value, nor a sentence that somebody else wrote about one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticKnownError

from engineroom._environment import Environment
from engineroom.errors import ConfigurationError, InvalidSettingError, MissingSettingError
from engineroom.settings._database_url import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engineroom._environment import Origin

__all__ = ["Fault", "describe", "refuse"]

PARTS_OF_A_VALUE = {"error": "", "encoding_error": "", "tag": "***", "attribute": "***", "tz_actual": "***"}
"""What may come from the value itself in the context of pydantic's errors; the rest comes from the schema."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One field at fault.

    Attributes:
        field: Its name, dotted for a field of a nested model; empty where a check of the whole class failed.
        variable: The variable that fills it.
        origin: Where its value stands; ``None`` if it has none.
        problem: What is wrong with the value, such as ``should be a valid integer``.
        example: A line that would do; empty if the class does not know the field.
    """

    field: str
    variable: str
    origin: Origin | None
    problem: str
    example: str

    def __str__(self) -> str:
        """Return the line that stands in the message."""
        if not self.field:
            return f"the class as a whole {self.problem}"
        example = f"; for example: {self.example}" if self.example else ""
        if self.origin is None:
            return f"{self.field}: {self.variable} {self.problem}{example}"
        variable = "" if self.variable in str(self.origin) else f"{self.variable}, "
        return f"{self.field} ({variable}{self.origin}) {self.problem}{example}"


def refuse(name: str, environment: Environment, root: Path, faults: Sequence[Fault]) -> ConfigurationError:
    """Return the one error that lists every field at fault.

    Args:
        name: The class of the settings.
        environment: The environment that it was read for.
        root: Where the project's files are.
        faults: At least one.
    """
    is_missing = all(fault.field and fault.origin is None for fault in faults)
    count = "one field" if len(faults) == 1 else f"{len(faults)} fields"
    file = f".env.{environment}" if environment is Environment.TEST else ".env"
    kind, what, way = (
        (
            MissingSettingError,
            f"{name} misses the value of {count}.",
            f"write the line into {root / file}, or export the variable",
        )
        if is_missing
        else (
            InvalidSettingError,
            f"{name} cannot be made: {count} cannot be filled.",
            "correct the value in its place",
        )
    )
    lines = [f"in the environment {environment},", *(f"  - {fault}" for fault in faults)]
    return kind(what, why="\n".join(lines) + ".", fix=[way])


def describe(detail: Mapping[str, Any]) -> str:
    """Return what is wrong, by an entry of ``ValidationError.errors()``, as a clause that repeats no value.

    Example:
        >>> describe({"type": "int_parsing", "ctx": {}})
        'should be a valid integer, unable to parse string as an integer'
    """
    context = detail.get("ctx", {})
    if isinstance(context.get("error"), Exception):
        return f"is refused by the application's own check{_place_of(context['error'])}"
    kind = str(detail["type"])
    if kind in PROBLEMS:
        return PROBLEMS[kind]
    safe = {**context, **{name: text for name, text in PARTS_OF_A_VALUE.items() if name in context}}
    try:
        # The sentence is built anew: the one in the error may have been written by anybody.
        sentence = PydanticKnownError(kind, safe or None).message()  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return f"is refused by its type ({kind})" if kind.isidentifier() else "is refused by its type"
    sentence = sentence.rstrip(" ,:")
    return sentence.removeprefix("Input ") if sentence.startswith("Input should ") else f"is refused: {sentence}"


def _place_of(problem: Exception) -> str:
    """Return where an exception was raised: the check's name, file and line tell more than its message may."""
    traceback = problem.__traceback__
    if traceback is None:
        return ""
    code = traceback.tb_frame.f_code
    return f" {code.co_qualname}, {Path(code.co_filename).name} line {traceback.tb_lineno}"
