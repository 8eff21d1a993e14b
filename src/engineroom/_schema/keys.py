"""What a schema is built from, as a key: two builds with the same key build the same.

Answers: may this schema be kept between runs, and under which name? Metadata is known by all statements that would
create it, those of its events too; Alembic by its configuration, ``env.py`` and revisions, and by the project's code
where one of them imports it. Of a callable nothing is known, nor of a revision that reads files or the environment.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sqlalchemy import ClauseElement, create_mock_engine
from sqlalchemy.sql.ddl import DDLElement

from engineroom._project import get_project
from engineroom._schema.migrations import files_of_migrations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import MetaData

    from engineroom._schema.place import Place
    from engineroom._schema.sources import Source

__all__ = ["key_of"]

FORMAT = "1"
LIBRARIES = ("engineroom", "sqlalchemy", "alembic")
UNKNOWN_INPUT = re.compile(
    rb"\b(open|read_text|read_bytes|environ|getenv|import_module|__import__|random|secrets|uuid[14]|now|today|time|utcnow)\b"
)
IMPORT = re.compile(rb"^\s*(?:from|import)\s+(\.|\w+)", re.MULTILINE)
SKIPPED_DIRECTORIES = {"node_modules", "site-packages", "__pycache__"}


class _UnknownError(Exception):
    """It cannot be told what a schema is built from."""


def key_of(source: Source) -> str | None:
    """Return the key of a schema, or None where what it is built from is not known.

    Args:
        source: The schema; the application's module is imported for it.

    Raises:
        Exception: What the application's module raised.
    """
    metadata = source.metadata()
    try:
        if source.is_alembic:
            parts: Iterable[bytes] = _parts_of_migrations()
        elif metadata is not None:
            parts = _parts_of_metadata(metadata, source.place)
        else:
            return None
        digest = hashlib.sha256()
        for part in (*_parts_of_versions(), *parts):
            digest.update(len(part).to_bytes(8, "big") + part)
    except (_UnknownError, OSError):
        return None
    return digest.hexdigest()


def _parts_of_versions() -> Iterator[bytes]:
    yield f"{FORMAT} {platform.python_version()} {sqlite3.sqlite_version}".encode()
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}".encode()
        except PackageNotFoundError:
            yield name.encode()


def _parts_of_metadata(metadata: MetaData, place: Place) -> Iterator[bytes]:
    """Return the statements that create the tables; what a function of the application does meanwhile is unknown."""
    yield place.url.get_backend_name().encode()
    # Which of the two a server is decides about the statements, and is not known before it is asked.
    for backend in ("mysql", "mariadb") if place.backend == "mysql" else (place.backend,):
        yield from _statements_of(metadata, backend)


def _statements_of(metadata: MetaData, backend: str) -> list[bytes]:
    parts: list[bytes] = []
    for item in (metadata, *metadata.tables.values()):
        if not all(map(_is_statement, (*item.dispatch.before_create, *item.dispatch.after_create))):
            raise _UnknownError

    def note(statement: Any, *parameters: object, **more: object) -> None:
        if not isinstance(statement, ClauseElement | DDLElement):
            raise _UnknownError
        text = str(statement.compile(dialect=engine.dialect))
        parts.append(f"{text} {parameters!r} {more!r}".encode())

    engine = create_mock_engine(f"{backend}://", note)
    try:
        metadata.create_all(engine, checkfirst=False)
    except Exception as error:
        raise _UnknownError from error
    return parts


def _is_statement(listener: object) -> bool:
    """Tell whether a listener is DDL, or SQLAlchemy's own, and not a function of the application."""
    called = listener.func if isinstance(listener, functools.partial) else listener  # SQLAlchemy 2.1, for an Enum
    owner = getattr(called, "__self__", called)
    module = str(getattr(owner, "__module__", ""))
    return isinstance(owner, DDLElement) or module.partition(".")[0] == "sqlalchemy"


def _parts_of_migrations() -> list[bytes]:
    root = get_project().root
    files = files_of_migrations()
    contents = {path: path.read_bytes() for path in files}
    scripts = {path: content for path, content in contents.items() if path.suffix == ".py"}
    if any(UNKNOWN_INPUT.search(content) for path, content in scripts.items() if path.name != "env.py"):
        raise _UnknownError
    own = _modules_of(root)
    if any(name in own or name == b"." for content in scripts.values() for name in IMPORT.findall(content)):
        contents |= {path: path.read_bytes() for path in _python_files(root) if path not in contents}
    return [part for path, content in contents.items() for part in (str(path).encode(), content)]


def _modules_of(root: Path) -> set[bytes]:
    """Return the names that may be imported from a project."""
    paths = [path for place in (root, root / "src") if place.is_dir() for path in place.iterdir()]
    names = {path.stem.encode() for path in paths if path.is_dir() or path.suffix == ".py"}
    return names - {b"alembic"}  # the library, whatever the directory of the revisions is called


def _python_files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.name in SKIPPED_DIRECTORIES or (path / "pyvenv.cfg").exists():
            continue
        if path.is_dir():
            yield from () if path.is_symlink() else _python_files(path)
        elif path.suffix == ".py":
            yield path
