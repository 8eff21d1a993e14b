"""A place in the tokens of one statement, and the reading of names there.

Answers: is the next word this one, which name stands here, which names does this list hold? Knows no statement; how a
quoted part is spelled and folded is the business of the ``Naming`` of each dialect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from engineroom._statements.destruction import ObjectName
from engineroom._statements.lexer import NAME, STRING, WORD, letters

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from engineroom._statements.lexer import Token

__all__ = ["MYSQL", "POSTGRESQL", "SQLITE", "Cursor", "Naming", "read_string", "split_statements", "word_set"]

_OPENING = {"(": 1, "[": 1, ")": -1, "]": -1}


def word_set(words: str) -> frozenset[str]:
    """Return the words of a line as a set."""
    return frozenset(words.split())


class Naming(Protocol):
    """How a dialect spells the parts of a name."""

    def part(self, sql: str, token: Token) -> str | None:
        """Return the part as the server resolves it, or ``None`` if this token is no name."""

    def write(self, part: str) -> str:
        """Return the part as a person would write it."""


# Only ASCII is folded: a Turkish or German capital stays as it is in UTF-8.
_FOLD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class _PostgreSQL:
    _bare = re.compile(f"{letters('a-z_')}{letters('a-z0-9_$')}*")

    def part(self, sql: str, token: Token) -> str | None:
        if token.kind == WORD:
            return sql[token.start : token.end].translate(_FOLD)
        if token.kind != NAME:
            return None
        if token.word == "U":
            return _unescape_unicode(sql[token.start + 3 : token.end - 1].replace('""', '"'))
        return sql[token.start + 1 : token.end - 1].replace('""', '"')

    def write(self, part: str) -> str:
        return part if self._bare.fullmatch(part) else '"' + part.replace('"', '""') + '"'


class _MySQL:
    _bare = re.compile(f"{letters('A-Za-z0-9_$')}+")

    def part(self, sql: str, token: Token) -> str | None:
        if token.kind == WORD:
            return sql[token.start : token.end]
        if token.kind == NAME:
            close = sql[token.end - 1]
            return sql[token.start + 1 : token.end - 1].replace(close * 2, close)
        # With ANSI_QUOTES a double-quoted string is a name; without it, a name in this place is a syntax error.
        if token.kind == STRING and sql[token.start] == '"':
            return sql[token.start + 1 : token.end - 1].replace('""', '"')
        return None

    def write(self, part: str) -> str:
        return part if self._bare.fullmatch(part) else "`" + part.replace("`", "``") + "`"


class _SQLite:
    _bare = re.compile(f"{letters('A-Za-z_')}{letters('A-Za-z0-9_$')}*")

    def part(self, sql: str, token: Token) -> str | None:
        if token.kind == WORD:
            return sql[token.start : token.end]
        if token.kind in {NAME, STRING}:  # SQLite takes 'users' as a name where only a name can stand.
            close = sql[token.end - 1]
            return sql[token.start + 1 : token.end - 1].replace(close * 2, close)
        return None

    def write(self, part: str) -> str:
        return part if self._bare.fullmatch(part) else '"' + part.replace('"', '""') + '"'


POSTGRESQL: Naming = _PostgreSQL()
MYSQL: Naming = _MySQL()
SQLITE: Naming = _SQLite()


class Cursor:
    """A place in the tokens of one statement."""

    __slots__ = ("at", "naming", "sql", "stop", "tokens")

    def __init__(self, sql: str, tokens: Sequence[Token], naming: Naming, at: int = 0, stop: int | None = None) -> None:
        """Stand before the token at ``at``, and see none from ``stop`` on."""
        self.sql = sql
        self.tokens = tokens
        self.naming = naming
        self.at = at
        self.stop = len(tokens) if stop is None else stop

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self.at >= self.stop

    @property
    def token(self) -> Token | None:
        """The next token, if there is one."""
        return None if self.done else self.tokens[self.at]

    def word(self, ahead: int = 0) -> str:
        """Return the word or symbol that stands so many tokens ahead; empty at the end and for anything quoted."""
        index = self.at + ahead
        if index >= self.stop:
            return ""
        kind, word, _, _ = self.tokens[index]
        return "" if kind in {NAME, STRING} else word

    def accept(self, *words: str) -> bool:
        """Step over these words if they come next, all of them and in this order."""
        at = self.at
        if at + len(words) > self.stop:
            return False
        for word in words:
            token = self.tokens[at]
            if token.word != word or token.kind in {NAME, STRING}:
                return False
            at += 1
        self.at = at
        return True

    def accept_any(self, words: Collection[str]) -> str:
        """Step over the next word if it is one of these, and return it."""
        word = self.word()
        if word and word in words:
            self.at += 1
            return word
        return ""

    def skip_group(self) -> bool:
        """Step over a group in parentheses, if one comes next."""
        if self.word() != "(":
            return False
        depth = 0
        while not self.done:
            depth += _OPENING.get(self.word(), 0)
            self.at += 1
            if depth == 0:
                return True
        return True

    def parts(self) -> tuple[str, ...]:
        """Step over a name and return its parts; empty if no name stands here."""
        found: list[str] = []
        self.accept(".")  # MySQL: ".users" is the table users of the current database.
        while not self.done:
            part = self.naming.part(self.sql, self.tokens[self.at])
            if part is None:
                break
            found.append(part)
            self.at += 1
            if not self.accept("."):
                break
        return tuple(found)

    def name(self, kind: str) -> ObjectName | None:
        """Step over a name and return it as the name of an object of this kind."""
        parts = self.parts()
        return ObjectName(kind, parts, self.written(*parts)) if parts else None

    def written(self, *parts: str) -> str:
        """Return a name of these parts as a person would write it."""
        return ".".join(map(self.naming.write, parts))

    def names(self, kind: str, *, before: str = "") -> list[ObjectName]:
        """Step over a list of names; an argument list or a ``*`` after one of them belongs to it.

        Args:
            kind: What the names stand for.
            before: A word that may stand before each of them.
        """
        found: list[ObjectName] = []
        while True:
            if before:
                self.accept(before)
            name = self.name(kind)
            if name is None:
                return found
            found.append(name)
            self.accept("*")
            self.skip_group()
            if not self.accept(","):
                return found

    def actions(self) -> list[Cursor]:
        """Return the rest of the statement, split at the commas that stand in no group."""
        found, first, depth = [], self.at, 0
        for index in range(self.at, self.stop):
            word = self.tokens[index].word
            if word == "," and depth == 0:
                found.append(Cursor(self.sql, self.tokens, self.naming, first, index))
                first = index + 1
            else:
                depth += _OPENING.get(word, 0)
        return [*found, Cursor(self.sql, self.tokens, self.naming, first, self.stop)]

    def holds(self, words: Collection[str]) -> bool:
        """Whether one of these words stands unquoted in what is left, other than as the part of a name after a dot."""
        before = ""
        for token in self.tokens[self.at : self.stop]:
            if token.kind == WORD and before != "." and token.word in words:
                return True
            before = token.word
        return False


def split_statements(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """Return the statements, split at each semicolon; the empty ones are left out."""
    found, first = [], 0
    for index, token in enumerate(tokens):
        if token.word == ";":
            found.append(tokens[first:index])
            first = index + 1
    found.append(tokens[first:])
    return [statement for statement in found if statement]


_SEGMENT = re.compile(r"'((?:[^']|'')*+)'")
_ESCAPED_SEGMENT = re.compile(r"'((?:[^'\\]|\\.|'')*+)'", re.DOTALL)
_GAP = re.compile(r"(?:\s|--[^\r\n]*+)*+")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))|''", re.DOTALL)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MYSQL_LETTERS = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}
_UNICODE = re.compile(r"\\(?:\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4})|(\\))")


def read_string(sql: str, token: Token, *, mysql: bool = False) -> str | None:
    """Return what a string stands for, or ``None`` if that cannot be told."""
    raw = sql[token.start : token.end]
    if token.word == "$":
        tag = raw.index("$", 1) + 1
        return raw[tag:-tag]
    if mysql:
        body = raw[1:-1].replace(raw[0] * 2, raw[0])
        return re.sub(r"\\(.)", _mysql_letter, body, flags=re.DOTALL) if token.word == "\\" else body
    if token.word in {"E", "\\"}:
        return "".join(_ESCAPE.sub(_letter, part) for part in _segments(_ESCAPED_SEGMENT, raw))
    plain = "".join(part.replace("''", "'") for part in _segments(_SEGMENT, raw))
    return {"'": plain, "U": _unescape_unicode(plain)}.get(token.word)


def _segments(pattern: re.Pattern[str], raw: str) -> list[str]:
    # Between the segments stand only white space and line comments; a quote in such a comment belongs to neither.
    found, position = [], raw.index("'")
    while match := pattern.match(raw, position):
        found.append(match[1])
        gap = _GAP.match(raw, match.end())
        position = gap.end() if gap else len(raw)
    return found


def _letter(match: re.Match[str]) -> str:
    short, long, hexadecimal, octal, letter = match.groups()
    if short or long:
        return _character(int(short or long, 16))
    if hexadecimal:
        return _character(int(hexadecimal, 16))
    if octal:
        return _character(int(octal, 8) & 0xFF)
    return "'" if letter is None else _LETTERS.get(letter, letter)


def _mysql_letter(match: re.Match[str]) -> str:
    return _MYSQL_LETTERS.get(match[1], match[1])


def _unescape_unicode(text: str) -> str:
    return _UNICODE.sub(lambda match: "\\" if match[3] else _character(int(match[1] or match[2], 16)), text)


def _character(code: int) -> str:
    return chr(code) if code <= 0x10FFFF else "\ufffd"  # noqa: PLR2004 - the last code point
