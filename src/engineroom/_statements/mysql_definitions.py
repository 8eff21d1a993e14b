"""Where the definition of a stored program ends on MySQL and MariaDB.

Answers: which tokens belong to this CREATE PROCEDURE, FUNCTION, TRIGGER or PACKAGE, whose body holds semicolons of its
own? What belongs to the body is only defined, not run. Where the end cannot be told, it says so rather than guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engineroom._statements.cursor import Cursor, word_set
from engineroom._statements.lexer import WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom._statements.lexer import Token

__all__ = ["Definition", "end_of_definition", "read_header"]

_PROGRAMS = frozenset({"EVENT", "FUNCTION", "PACKAGE", "PROCEDURE", "TRIGGER"})

_BLOCKS = frozenset({"BEGIN", "CASE", "FOR", "IF", "LOOP", "REPEAT", "WHILE"})
# After one of these a statement of a body starts; elsewhere IF and REPEAT are functions and CASE an expression.
_STARTERS = frozenset({";", ":", "BEGIN", "DO", "ELSE", "LOOP", "REPEAT", "THEN"})
_STATEMENTS = word_set(
    """ALTER CALL CLOSE CREATE DECLARE DELETE DROP EXECUTE FETCH GET GRANT INSERT OPEN PREPARE RENAME REPLACE RESIGNAL
    RETURN REVOKE SELECT SET SIGNAL TRUNCATE UPDATE VALUES WITH"""
)
_EXPRESSION = "case expression"


@dataclass(frozen=True, slots=True)
class Definition:
    """The header of a definition.

    Attributes:
        kind: ``EVENT``, ``FUNCTION``, ``PACKAGE``, ``PROCEDURE`` or ``TRIGGER``.
        database: The database that the name names.
        body: Where the body starts, or what of the header is left in front of it.
        declares: Declarations stand in front of the BEGIN (the manner of Oracle).
    """

    kind: str
    database: str | None
    body: int
    declares: bool = False


def read_header(cursor: Cursor) -> Definition | None:
    """Return the header if this CREATE or ALTER defines a program; the cursor stays where it is."""
    header = Cursor(cursor.sql, cursor.tokens, cursor.naming, cursor.at, cursor.stop)
    creates = header.accept("CREATE")
    if not creates:
        header.accept("ALTER")
    header.accept("OR", "REPLACE")
    _skip_definer(header)
    header.accept("AGGREGATE")
    kind = header.accept_any(_PROGRAMS)
    if not kind or (kind != "EVENT" and not creates):
        return None
    header.accept("BODY")
    header.accept("IF", "NOT", "EXISTS") or header.accept("IF", "EXISTS")
    name = header.parts()
    database = name[0] if len(name) > 1 else None
    if kind in {"EVENT", "TRIGGER"}:
        found = _step_behind(header, ("DO",) if kind == "EVENT" else ("FOR", "EACH", "ROW"))
        if header.accept_any(("FOLLOWS", "PRECEDES")):
            header.parts()
        return Definition(kind, database, header.at) if found else None
    header.skip_group()
    if header.accept("RETURN"):
        header.at += 1
        header.skip_group()
    declares = bool(header.accept_any(("AS", "IS")))
    return Definition(kind, database, header.at, declares)


def _skip_definer(header: Cursor) -> None:
    """Step over DEFINER = 'app'@'%', which the lexer gives as two or three tokens."""
    if not header.accept("DEFINER", "="):
        return
    header.at += 1
    if (host := header.token) is not None and header.sql[host.start] == "@":
        header.at += 1 if host.end > host.start + 1 else 2
    header.skip_group()


def _step_behind(header: Cursor, words: tuple[str, ...]) -> bool:
    while not header.done:
        if header.accept(*words):
            return True
        header.at += 1
    return False


def end_of_definition(tokens: Sequence[Token], definition: Definition) -> int:
    """Return the index of the semicolon that ends a definition, or of the end of the text; -1 if it never ends."""
    blocks = ["AS"] if definition.declares else []
    depth, started, before = 0, False, ""
    for at in range(definition.body, len(tokens)):
        token = tokens[at]
        word = token.word if token.kind == WORD and before != "." else ""
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        if token.word == ";" and depth <= 0 and not blocks:
            return at
        # The IF of END IF opens nothing.
        if depth <= 0 and before != "END":
            starts = not started or (blocks[-1:] != [_EXPRESSION] and before in _STARTERS)
            _open_or_close(blocks, word, starts=starts, package=definition.kind == "PACKAGE")
            started = started or word in _BLOCKS or word in _STATEMENTS
        before = token.word
    return -1 if blocks else len(tokens)


def _open_or_close(blocks: list[str], word: str, *, starts: bool, package: bool) -> None:
    """Follow a word of a body into a block or out of one."""
    if word == "END":
        del blocks[-1:]
    elif word == "BEGIN" and blocks == ["AS"] and not package:
        blocks[0] = word  # the END of this block is the end of the declarations too
    elif word == "BEGIN" or (word in _BLOCKS and starts):
        blocks.append(word)
    elif word == "CASE":
        blocks.append(_EXPRESSION)
