"""The tokens of a text, for each dialect and each way in which a server might read it.

Answers: where do words, names, strings and comments begin and end? Knows no grammar. Comments and white space are left
out, executable comments are unfolded, and a text that ends inside a string or comment is told apart: what comes
after its last whole statement never runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

__all__ = ["NAME", "OTHER", "STRING", "WORD", "MySQLReading", "Token", "lex_mysql", "lex_postgresql", "lex_sqlite"]

WORD = 0
NAME = 1
STRING = 2
OTHER = 3


class Token(NamedTuple):
    r"""One token.

    Attributes:
        kind: ``WORD`` (unquoted), ``NAME`` (quoted identifier), ``STRING``, or ``OTHER``.
        word: A word in upper case; a symbol as it is; for a string the way it is quoted (``'``, ``"``, ``E``, ``U``,
            ``X``, ``$``, or ``\`` for one with backslash escapes); for a name its quote.
        start: Where it starts in the text.
        end: Where it ends.
    """

    kind: int
    word: str
    start: int
    end: int


# Possessive quantifiers keep an unterminated string from being searched twice.
_PLAIN = {quote: re.compile(f"{quote}(?:[^{quote}]|{quote}{quote})*+{quote}") for quote in "'\"`"}
_PLAIN["["] = re.compile(r"\[(?:[^]]|]])*+]")
_BRACKETED = re.compile(r"\[[^]]*+]")  # SQLite ends a name at the first bracket
_ESCAPED = {quote: re.compile(rf"{quote}(?:[^{quote}\\]|\\.|{quote}{quote})*+{quote}", re.DOTALL) for quote in "'\""}

_NOTHING = frozenset({"line", "end"})


def letters(ascii_ones: str, *, without: str = "") -> str:
    """Return a pattern for one of these ASCII characters or any beyond ASCII.

    It says what is not meant: Python takes five milliseconds to compile a range up to the last character.

    Args:
        ascii_ones: The inside of a character class.
        without: What is not meant beyond ASCII.
    """
    meant = re.compile(f"[{ascii_ones}]")
    others = [chr(code) for code in range(128) if not meant.match(chr(code))]
    return "[^" + "".join(f"\\x{ord(other):02x}" for other in (*others, *without)) + "]"


def _word(text: str, start: int, end: int) -> Token:
    # Servers fold ASCII alone: INDEX with a dotless small i is a name to them, and Python would make it the word.
    return Token(WORD, text.upper() if text.isascii() else text, start, end)


_POSTGRESQL = re.compile(
    rf"""
    [ \t\n\r\f\v]*+ (?:
    (?P<prefixed> (?: [EeBbXx] | [Uu]& )' | [Uu]&" )
  | (?P<word> {letters("A-Za-z_")}{letters("A-Za-z0-9_$")}*+ )
  | (?P<comment> /\* )
  | (?P<quote> ['"] )
  | (?P<dollar> \$ (?: {letters("A-Za-z_")}{letters("A-Za-z0-9_")}*+ )? \$ )
  | (?P<other> %\(\w++\)s | %s | \$?\d++(?:\.\d*+)? )
  | (?P<line> --[^\r\n]*+ )
  | (?P<symbol> . )
  | (?P<end> \Z )
    )
    """,
    re.VERBOSE | re.DOTALL,
)
# PostgreSQL joins strings that only white space with a line break (and line comments) keeps apart, and goes on
# reading in the manner of the first.
_CONTINUATION = re.compile(r"(?:[ \t\f\v]|--[^\r\n]*+)*+[\r\n](?:[ \t\f\v\r\n]|--[^\r\n]*+[\r\n])*+(?=')")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def lex_postgresql(sql: str, *, backslashes: bool) -> tuple[list[Token], bool]:
    """Return the tokens and whether the text is whole.

    Args:
        sql: The text.
        backslashes: Read backslashes in plain strings as escapes (``standard_conforming_strings`` is off).
    """
    tokens: list[Token] = []
    position, length = 0, len(sql)
    while position < length:
        match = _POSTGRESQL.match(sql, position)
        assert match is not None  # noqa: S101 - one of the alternatives takes any character
        group = match.lastgroup or ""
        start, position = match.span(group)
        if group == "word":
            tokens.append(_word(sql[start:position], start, position))
        elif group == "symbol":
            tokens.append(Token(OTHER, sql[start], start, position))
        elif group == "comment":
            position = _after_nested_comment(sql, position)
        elif group == "other":
            tokens.append(Token(OTHER, "", start, position))
        elif group not in _NOTHING:
            token = _postgresql_quoted(sql, start, match[group], backslashes=backslashes)
            position = token.end if token else -1
            if token:
                tokens.append(token)
        if position < 0:
            return tokens, False
    return tokens, True


def _postgresql_quoted(sql: str, start: int, opening: str, *, backslashes: bool) -> Token | None:
    """Return the string or name that starts here, or ``None`` if it never ends."""
    if opening.startswith("$"):
        return _dollar_quoted(sql, start, opening)
    style, quote = opening[0].upper(), opening[-1]
    at = start + len(opening) - 1
    if quote == '"':
        match = _PLAIN['"'].match(sql, at)
        return Token(NAME, style, start, match.end()) if match else None
    if style == "B":
        style = "X"
    elif style == "'" and backslashes:
        style = "\\"
    pattern = _ESCAPED["'"] if style in {"E", "\\"} else _PLAIN["'"]
    while match := pattern.match(sql, at):
        more = _CONTINUATION.match(sql, match.end())
        if not more:
            return Token(STRING, style, start, match.end())
        at = more.end()
    return None


def _dollar_quoted(sql: str, start: int, tag: str) -> Token | None:
    end = sql.find(tag, start + len(tag))
    return Token(STRING, "$", start, end + len(tag)) if end >= 0 else None


def _after_nested_comment(sql: str, position: int) -> int:
    """Return where a comment ends that began before ``position`` and may hold others, or -1."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(sql, position)
        if not edge:
            return -1
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position


_SQLITE = re.compile(
    rf"""
    [ \t\n\r\f\v]*+ (?:
    (?P<word> {letters("A-Za-z_")}{letters("A-Za-z0-9_$")}*+ )
  | (?P<comment> /\* )
  | (?P<quote> ['"`[] )
  | (?P<other> [0-9][0-9.]*+ | [@:#$?]{letters("A-Za-z0-9_$")}++ )
  | (?P<line> --[^\n]*+ )
  | (?P<symbol> . )
  | (?P<end> \Z )
    )
    """,
    re.VERBOSE | re.DOTALL,
)


def lex_sqlite(sql: str) -> tuple[list[Token], bool]:
    """Return the tokens and whether the text is whole; SQLite lets a comment run to the end of the text."""
    tokens: list[Token] = []
    position, length = 0, len(sql)
    while position < length:
        match = _SQLITE.match(sql, position)
        assert match is not None  # noqa: S101 - one of the alternatives takes any character
        group = match.lastgroup or ""
        start, position = match.span(group)
        if group == "word":
            tokens.append(_word(sql[start:position], start, position))
        elif group == "symbol":
            tokens.append(Token(OTHER, sql[start], start, position))
        elif group == "comment":
            end = sql.find("*/", position)
            position = end + 2 if end >= 0 else length
        elif group == "other":
            tokens.append(Token(OTHER, "", start, position))
        elif group == "quote":
            quote = sql[start]
            quoted = (_BRACKETED if quote == "[" else _PLAIN[quote]).match(sql, start)
            if not quoted:
                return tokens, False
            position = quoted.end()
            tokens.append(Token(STRING if quote == "'" else NAME, quote, start, position))
    return tokens, True


@dataclass(frozen=True, slots=True)
class MySQLReading:
    r"""One way in which a MySQL or MariaDB server might read a text.

    Attributes:
        backslashes: Backslashes in strings are escapes (``NO_BACKSLASH_ESCAPES`` is off).
        ansi_quotes: ``"x"`` is a name, in which a backslash is no escape.
        wide_space: U+00A0 is white space, as it is for a connection in latin1, and no letter, as in utf8mb4.
        brackets: ``[x]`` is a name (the SQL mode ``MSSQL`` of MariaDB).
        dollars: ``$tag$...$tag$`` is a string (MySQL 9).
        skipped: The openings of executable comments that this server does not execute: ``!50700``, ``M!``.
    """

    backslashes: bool = True
    ansi_quotes: bool = False
    wide_space: bool = False
    brackets: bool = False
    dollars: bool = False
    skipped: frozenset[str] = frozenset()


@lru_cache
def _mysql_pattern(*, wide_space: bool, brackets: bool, dollars: bool) -> re.Pattern[str]:
    quotes = "['\"`[]" if brackets else "['\"`]"
    dollar = rf"\$ (?: {letters('A-Za-z_')}{letters('A-Za-z0-9_')}*+ )? \$" if dollars else "(?!)"
    space = " \\t\\n\\v\\f\\r" + ("\xa0" if wide_space else "")
    no_letter = "\xa0" if wide_space else ""
    word, variable = (letters(ones, without=no_letter) for ones in ("A-Za-z0-9_$", "A-Za-z0-9_.$"))
    return re.compile(
        rf"""
    [{space}]*+ (?:
    (?P<number> \d++\.\d*+ )
  | (?P<dollar> {dollar} )
  | (?P<word> {word}++ )
  | (?P<comment> /\*(?P<executable> M?!(?:\d{{5,6}})? )? )
  | (?P<close> \*/ )
  | (?P<quote> {quotes} )
  | (?P<other> %\(\w++\)s | %s | @++{variable}*+ )
  | (?P<line> \#[^\n]*+ | --(?=[\x00-\x20\x7f{space}]|\Z)[^\n]*+ )
  | (?P<symbol> . )
  | (?P<end> \Z )
    )
        """,
        re.VERBOSE | re.DOTALL,
    )


def lex_mysql(sql: str, reading: MySQLReading) -> tuple[list[Token], bool]:
    """Return the tokens as this reading has them, and whether the text is whole."""
    tokens: list[Token] = []
    pattern = _mysql_pattern(wide_space=reading.wide_space, brackets=reading.brackets, dollars=reading.dollars)
    position, length, unfolded = 0, len(sql), False
    while position < length:
        match = pattern.match(sql, position)
        assert match is not None  # noqa: S101 - one of the alternatives takes any character
        # Of nested groups, lastgroup is the outer one, which closes last.
        group = match.lastgroup or ""
        start, position = match.span(group)
        if group in _NOTHING:
            continue
        if group == "comment":
            executable = match["executable"]
            if executable and executable not in reading.skipped:
                unfolded = True
                continue
            position = _after_mysql_comment(sql, start + 2, nested=bool(executable))
        elif group == "close" and unfolded:
            unfolded = False
        else:
            token = _mysql_token(sql, group, start, position, reading)
            position = token.end if token else -1
            tokens += [token] if token else []
        if position < 0:
            return tokens, False
    return tokens, not unfolded


def _mysql_token(sql: str, group: str, start: int, end: int, reading: MySQLReading) -> Token | None:
    """Return the token that starts here, or ``None`` if it never ends."""
    if group == "word":
        return _word(sql[start:end], start, end)
    if group == "dollar":
        return _dollar_quoted(sql, start, sql[start:end])
    if group == "quote":
        return _mysql_quoted(sql, start, sql[start], reading)
    if group in {"symbol", "close"}:  # outside a comment, */ is two symbols
        return Token(OTHER, sql[start], start, start + 1)
    return Token(OTHER, "", start, end)


def _mysql_quoted(sql: str, start: int, quote: str, reading: MySQLReading) -> Token | None:
    """Return the string or name that starts here, or ``None`` if it never ends."""
    escapes = reading.backslashes and quote not in "`[" and not (quote == '"' and reading.ansi_quotes)
    match = (_ESCAPED if escapes else _PLAIN)[quote].match(sql, start)
    if not match:
        return None
    if quote in "`[":
        return Token(NAME, quote, start, match.end())
    return Token(STRING, "\\" if escapes else quote, start, match.end())


def _after_mysql_comment(sql: str, position: int, *, nested: bool) -> int:
    """Return where a comment ends, or -1; one that could have been executed may hold others, one deep."""
    while edge := (_COMMENT_EDGE.search(sql, position) if nested else None):
        position = edge.end()
        if edge[0] == "*/":
            return position
        inner = sql.find("*/", position)
        if inner < 0:
            return -1
        position = inner + 2
    end = sql.find("*/", position)  # where comments nest, none is left
    return end + 2 if end >= 0 else -1
