"""Where the definition of a stored program ends on MySQL and MariaDB.

Answers: which tokens belong to this CREATE PROCEDURE, FUNCTION, TRIGGER or PACKAGE, whose body holds semicolons of its
own? What belongs to the body is only defined, not run. Where the end cannot be told, it says so rather than guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engineroom._statements.cursor import Cursor, word_set
from engineroom._statements.lexer import OTHER, WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom._statements.lexer import Token

__all__ = ["Definition", "end_of_definition", "read_header"]

_PROGRAMS = frozenset({"EVENT", "FUNCTION", "PACKAGE", "PROCEDURE", "TRIGGER"})

_BLOCKS = frozenset({"BEGIN", "CASE", "FOR", "IF", "LOOP", "REPEAT", "WHILE"})
_STATEMENTS = word_set(
    """ALTER CALL CLOSE CREATE DECLARE DELETE DROP EXECUTE FETCH GET GRANT INSERT OPEN PREPARE RENAME REPLACE RESIGNAL
    RETURN REVOKE SELECT SET SIGNAL TRUNCATE UPDATE VALUES WITH"""
)
_EXPRESSION = "case expression"
_DECLARATIONS = "as"


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
    body = header.at
    if kind == "FUNCTION" and header.accept("RETURN"):  # Oracle's RETURN type AS; elsewhere it is a body
        header.at += 1
        header.skip_group()
    declares = bool(header.accept_any(("AS", "IS")))
    return Definition(kind, database, header.at if declares else body, declares)


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
    body = _Body(definition)
    for at in range(definition.body, len(tokens)):
        if body.ends_before(tokens[at]):
            return at
    return -1 if body.blocks else len(tokens)


class _Body:
    """Follows a body into its blocks and out of them.

    BEGIN and END may be names, and IF, REPEAT and CASE expressions. So a block opens only where a statement can start:
    one that is opened by mistake would swallow what follows the definition. One that is closed by mistake only lets
    the rest of the body be read as if it ran.
    """

    def __init__(self, definition: Definition) -> None:
        self.blocks = [_DECLARATIONS] if definition.declares else []
        self._is_package = definition.kind == "PACKAGE"
        self._depth = 0
        self._before = ""
        self._in_header = True
        self._starts = False
        self._declares = False
        self._handles = False

    def ends_before(self, token: Token) -> bool:
        """Step over a token; return whether the body ended before it."""
        self._depth += {"(": 1, ")": -1}.get(token.word, 0)
        word = token.word if token.kind in {WORD, OTHER} and self._before != "." else ""
        if self._depth <= 0:
            if word == ";" and not self.blocks:
                return True
            self._step(word)
        self._before = word
        return False

    def _step(self, word: str) -> None:
        starts = self._can_start()
        # A label's colon, and the words behind which the statements of a block stand.
        self._starts = word in {";", ":"} or (self.blocks[-1:] != [_EXPRESSION] and word in {"THEN", "ELSE"})
        self._handles = self._handles and word != ";"
        if word == "END":
            del self.blocks[-1:]
        elif self._before == "END":
            return  # the IF of END IF
        elif starts and word in _BLOCKS:
            self._open(word)
        elif word == "CASE":
            self.blocks.append(_EXPRESSION)
        elif starts and word in _STATEMENTS:
            self._in_header = self._handles = False
            self._declares = word == "DECLARE"
        elif word == "HANDLER" and self._declares:
            self._handles = True
        elif word == "DO" and self.blocks[-1:] in (["WHILE"], ["FOR"]):
            self._starts = True

    def _can_start(self) -> bool:
        if self._in_header:
            return self._before not in {"CHARACTER", "RETURNS"}  # SET is a part of a type here
        if self._handles:
            return self._before != "HANDLER"  # HANDLER FOR opens no loop
        return self._starts or (self._is_package and self._before in {"AS", "IS"})

    def _open(self, word: str) -> None:
        self._in_header = self._handles = False
        self._starts = word in {"BEGIN", "LOOP", "REPEAT"}
        if word == "BEGIN" and self.blocks == [_DECLARATIONS] and not self._is_package:
            self.blocks = [word]  # the END of this block is the end of the declarations too
        else:
            self.blocks.append(word)
