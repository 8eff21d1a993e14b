"""The schemas of one SQLite connection: which database stands behind each name, and what the judge said of it.

SQLite's authorizer tells a schema's name (``main``, ``temp``, the alias of an ATTACH) and never the file behind it. The
file is asked of the connection before the next statement; until then the worst of what was just attached counts.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import Any, NamedTuple

from engineroom import _identity, _project, _verdict
from engineroom.errors import EngineroomError

__all__ = ["MAIN", "TEMPORARY", "Judged", "Schemas", "ask", "fold"]

MAIN = "main"
TEMPORARY = "temp"
UNKNOWN = _verdict.Facts("sqlite", None, location="an attached database that could not be identified")


class Judged(NamedTuple):
    """A database, what the judge said of it, and the path of its file as SQLite tells it."""

    facts: _verdict.Facts
    verdict: _verdict.Verdict
    path: str = ""

    @property
    def is_disposable(self) -> bool:
        """Whether it is disposable at this moment: a second hard link may have been made since it was opened."""
        if not self.verdict.disposable or not self.path:
            return self.verdict.disposable
        try:
            status = os.lstat(self.path)
        except OSError:
            return True  # the file is gone, and with it what there was to lose
        if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
            return True
        return _judge(_identity.facts_of_sqlite_path(self.path)).verdict.disposable


class Schemas:
    """The databases of one connection, by the names of their schemas.

    Args:
        in_memory: Whether the main database is known to have no file (``vfs=memdb`` gives it a name all the same).
    """

    def __init__(self, *, in_memory: bool) -> None:
        """Know nothing yet; :meth:`identify` asks the connection."""
        self._without_file = {MAIN} if in_memory else set()
        self._known: dict[str, Judged] = {}
        self._attached: list[Judged] = []
        self.is_stale = True

    @property
    def main(self) -> Judged:
        """The main database."""
        return self._known[MAIN]

    @property
    def databases(self) -> tuple[Judged, ...]:
        """All databases, also those whose schema is not known yet; without the temporary one."""
        return (*self._known.values(), *self._attached)

    @property
    def protected_names(self) -> list[str]:
        """The schemas of the databases that are not disposable."""
        return [name for name in self._known if self.protects(name)]

    def protects(self, schema: str | None) -> bool:
        """Tell whether a schema is known to be that of a database which is not disposable."""
        judged = self._known.get(fold(schema or MAIN))
        return judged is not None and not judged.verdict.disposable

    def find(self, schema: str | None) -> Judged | None:
        """Return the database behind a schema's name; None for the temporary one."""
        name = fold(schema or MAIN)
        if name == TEMPORARY:
            return None
        if name in self._known:
            return self._known[name]
        worst_first = sorted(self._attached, key=lambda judged: judged.is_disposable)
        return worst_first[0] if worst_first else _judge(UNKNOWN)

    def attach(self, file: str | None) -> Judged:
        """Note that a file is about to be attached, under an alias that SQLite does not tell.

        Args:
            file: The name as it is written; None where it is bound or computed.
        """
        judged = _judge_attachment(file)
        self._attached.append(judged)
        self.is_stale = True
        return judged

    def detach(self, schema: str | None) -> None:
        """Note that a schema is about to go; None where its name is bound or computed."""
        names = [name for name in self._known if name != MAIN] if schema is None else [fold(schema)]
        for name in names:
            self._known.pop(name, None)
            self._without_file.discard(name)
        self.is_stale = True

    def identify(self, connection: Any) -> None:
        """Ask the connection for its databases."""
        found = {fold(schema): file or "" for _, schema, file in ask(connection, "PRAGMA database_list")}
        new = [name for name in found if name not in self._known and name not in {MAIN, TEMPORARY}]
        # SQLite tells a name for a database of memdb, as if it were a file: there the literal of the ATTACH is better.
        if len(new) == len(self._attached) == 1 and self._attached[0].facts.in_memory:
            found = {name: file if name not in new or os.path.lexists(file) else "" for name, file in found.items()}
        found |= dict.fromkeys(self._without_file & found.keys(), "")
        self._known = {
            name: known if (known := self._known.get(name)) and known.path == file else _judge_file(file)
            for name, file in found.items()
            if name != TEMPORARY
        }
        self._attached.clear()
        self.is_stale = False

    def exchange(self, schema: str) -> None:
        """Note that a schema has a database in memory now; SQLite tells a name for it, as if it were a file."""
        self._without_file.add(fold(schema))
        self.is_stale = True


def fold(name: str) -> str:
    """Return the name as SQLite compares it: letters of ASCII without their case, all others as they are."""
    return name.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def ask(connection: Any, question: str) -> list[Any]:
    """Ask a SQLite connection, past the application's own text and row factories."""
    text_factory, connection.text_factory = connection.text_factory, os.fsdecode
    cursor: Any = sqlite3.Cursor(connection) if isinstance(connection, sqlite3.Connection) else connection.cursor()
    try:
        cursor.row_factory = None
        rows: list[Any] = cursor.execute(question).fetchall()
        return rows
    finally:
        cursor.close()
        connection.text_factory = text_factory


def _judge_file(path: str) -> Judged:
    return _judge(_identity.facts_of_sqlite_path(path), path)


def _judge_attachment(file: str | None) -> Judged:
    """Judge by the literal of an ATTACH, while SQLite waits for an answer: nothing may be raised."""
    try:
        if file is None:
            return _judge(UNKNOWN)
        return _judge(_identity.facts_of_sqlite_connect(file, _project.get_project().test_names).facts)
    except EngineroomError:
        return Judged(UNKNOWN, _verdict.judge(UNKNOWN, ()))


def _judge(facts: _verdict.Facts, path: str = "") -> Judged:
    return Judged(facts, _verdict.judge(facts, _project.get_project().test_names), path)
