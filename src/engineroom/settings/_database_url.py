"""The type of the field ``database_url``: a SQLAlchemy URL, which keeps its password out of its ``str``.

SQLAlchemy is loaded when the first URL is read, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainSerializer, PlainValidator, SerializationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic.fields import FieldInfo
    from sqlalchemy import URL

__all__ = ["EXAMPLE", "PROBLEMS", "DatabaseURL", "development_url", "mask_url_lazily"]

EXAMPLE = "sqlite:///shop.db"

PROBLEMS = {"database_url": "should be a database URL"}
"""What our own validation errors say; anybody else's sentence could repeat a value."""


def _parse(value: object) -> object:
    if value is None:
        return None
    from sqlalchemy import URL, make_url  # noqa: PLC0415 - loaded when the first URL is read

    if isinstance(value, URL):
        return value
    try:
        url = make_url(value.strip())  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - what it raises repeats the text
        raise PydanticCustomError("database_url", "should be a database URL") from None
    # Hosts still hand out the scheme that SQLAlchemy 1.4 forgot.
    return url.set(drivername="postgresql") if url.drivername == "postgres" else url


def _dump(value: URL | None, info: SerializationInfo) -> str | None:
    # Without this, pydantic takes the URL for the tuple that it also is, and writes its password into JSON.
    if value is None:
        return None
    return mask_url_lazily(value) if info.mode == "json" else value.render_as_string(hide_password=False)


def mask_url_lazily(value: URL | str) -> str:
    """Return a database URL without its secrets."""
    from engineroom._address import mask_url  # noqa: PLC0415 - it loads SQLAlchemy

    return mask_url(value)


_PARSER = PlainValidator(_parse)

if TYPE_CHECKING:
    DatabaseURL = URL | None
else:
    DatabaseURL = Annotated[
        Any,
        _PARSER,
        PlainSerializer(_dump),
        WithJsonSchema({"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]}),
    ]


def development_url(root: Path, field: FieldInfo) -> URL | str | None:
    """Return the database of a project that names none, as the field takes it; ``None`` if it has its own default."""
    from sqlalchemy import URL  # noqa: PLC0415 - loaded when the first URL is read

    url = URL.create("sqlite", database=str(root / "development.db"))
    if _PARSER in field.metadata:
        return url
    return url.render_as_string(hide_password=False) if field.is_required() else None
