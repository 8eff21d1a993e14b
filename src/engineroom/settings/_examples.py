"""An example of a value, as somebody would write it into a file, for each type that settings commonly have."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import pathlib
import types
import typing
import uuid
from collections.abc import Mapping

from pydantic import BaseModel, RootModel, Secret, SecretBytes, SecretStr

if typing.TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["example_of", "nested_fields"]

EXAMPLES: Mapping[type, object] = {
    # The first class that an annotation derives from counts: bool is an int, a datetime is a date.
    bool: True,
    int: 10,
    float: 0.5,
    decimal.Decimal: 9.99,
    dt.datetime: "2026-01-31T12:00:00Z",
    dt.date: "2026-01-31",
    dt.time: "12:00",
    dt.timedelta: "PT30S",
    uuid.UUID: "123e4567-e89b-42d3-a456-426614174000",
    pathlib.PurePath: "/path/to/it",
    SecretStr: "a-long-random-text",
    SecretBytes: "a-long-random-text",
    Secret: "a-long-random-text",
    Mapping: {"key": "value"},
    dict: {"key": "value"},
    str: "some-text",
}
SCHEMES = {"postgres": "postgresql", "multihosturl": "postgresql", "mongo": "mongodb", "cockroach": "cockroachdb"}
"""The scheme of a URL where the name of its class does not tell it."""

DEPTH = 3
"""How far the examples of models in models go: a model may hold itself."""


def example_of(annotation: object) -> str:
    """Return an example as it stands behind the ``=``: plain, or JSON for lists, tables and models.

    Example:
        >>> example_of(int | None)
        '10'
        >>> example_of(list[str])
        '["some-text"]'
    """
    value = _value(annotation, DEPTH)
    return value if isinstance(value, str) else json.dumps(value)


def _value(annotation: object, depth: int) -> object:
    annotation = _unwrap(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return _plain(arguments[0])
    kind = origin if isinstance(origin, type) else annotation
    if not isinstance(kind, type):
        return "..."
    if issubclass(kind, enum.Enum):
        return _plain(next(iter(kind), "..."))
    if issubclass(kind, BaseModel):
        return _value_of_model(kind, depth)
    if issubclass(kind, (list, tuple, set, frozenset)):
        return [_value(arguments[0], depth - 1) if arguments and depth else "some-text"]
    return next((example for parent, example in EXAMPLES.items() if issubclass(kind, parent)), _by_name(kind.__name__))


def _value_of_model(model: type[BaseModel], depth: int) -> object:
    if issubclass(model, RootModel):
        return _value(model.model_fields["root"].annotation, depth - 1) if depth else "..."
    required = {name: field for name, field in model.model_fields.items() if field.is_required()} if depth else {}
    return {field.alias or name: _value(field.annotation, depth - 1) for name, field in required.items()}


def _by_name(name: str) -> str:
    """Return an example for one of pydantic's many classes of addresses, whose names tell what they are."""
    if "Dsn" in name or "MultiHost" in name:  # the latter before pydantic 2.10, where every such type is one class
        scheme = name.partition("Dsn")[0].lower()
        return f"{SCHEMES.get(scheme, scheme)}://user@host/name"
    return "https://example.org/" if "Url" in name else "..."


def _plain(value: object) -> object:
    value = value.value if isinstance(value, enum.Enum) else value
    return value if isinstance(value, str | int | float | bool) else "..."


def _unwrap(annotation: object) -> object:
    """Return what a union begins with, what an alias stands for, and what ``Annotated`` annotates."""
    while True:
        if hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        elif hasattr(annotation, "__metadata__") or typing.get_origin(annotation) in (typing.Union, types.UnionType):
            annotation = next((part for part in typing.get_args(annotation) if part is not type(None)), object)
        else:
            return annotation


def nested_fields(annotation: object) -> Mapping[str, FieldInfo]:
    """Return the fields of the model that an annotation names, alone or in a union; none for any other type."""
    annotation = _unwrap(annotation)
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}
