"""What a text would destroy on MySQL and MariaDB, in every way in which such a server might read it.

Splits the text, follows USE, finds the statements inside blocks, events and prepared statements, and leaves the
definitions of stored programs alone. What the single statements do is read in ``mysql_schema``. Both servers are read
alike: SQLAlchemy's ``mysql`` dialect reaches either.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING

from engineroom._statements.cursor import MYSQL, Cursor, read_string, word_set
from engineroom._statements.destruction import Findings
from engineroom._statements.lexer import STRING, WORD, MySQLReading, lex_mysql
from engineroom._statements.mysql_definitions import end_of_definition, read_header
from engineroom._statements.mysql_schema import DESTRUCTIVE, SchemaReader

if TYPE_CHECKING:
    from engineroom._statements.mysql_definitions import Definition

__all__ = ["mysql_readings", "read_mysql"]

_HARMLESS = word_set(
    """( ANALYZE BACKUP BINLOG CACHE CALL CHANGE CHECK CHECKSUM COMMIT DEALLOCATE DELETE DESC DESCRIBE DO EXECUTE
    EXPLAIN FLUSH GET GRANT HANDLER HELP IMPORT INSERT INSTALL KILL LOAD LOCK OPTIMIZE PURGE RELEASE REPAIR REPLACE
    RESET RESIGNAL REVOKE ROLLBACK SAVEPOINT SELECT SET SHOW SHUTDOWN SIGNAL START STOP TABLE UNINSTALL UNLOCK UPDATE
    VALUES WITH XA"""
)
_NEUTRAL = frozenset({"ALTER", "BEGIN", "CREATE", "DROP", "INSERT", "RENAME", "START", "TRUNCATE", "USE"})
# Words at which a statement may start inside a block: all that can destroy, and those whose own words look like it.
_IN_BLOCK = frozenset({"ALTER", "CREATE", "DROP", "EXECUTE", "GRANT", "PREPARE", "RENAME", "REVOKE", "TRUNCATE"})
_BLOCKS = frozenset({"BEGIN", "CASE", "DECLARE", "FOR", "IF", "LOOP", "REPEAT", "WHILE"})
_DEEPEST = 4
_MOST_READINGS = 64
_OLDEST = 50000
_DOLLARS = re.compile(r"\$\w*\$")
_EXECUTABLE = re.compile(r"/\*(M?!(?:\d{5,6})?)")


def mysql_readings(
    sql: str, *, backslash_escapes: bool | None = None, ansi_quotes: bool | None = None
) -> list[MySQLReading] | None:
    """Return every way in which a server might read this text, or ``None`` if there are too many.

    Args:
        sql: The text.
        backslash_escapes: Whether backslashes in strings are escapes; ``None`` if it is not known.
        ansi_quotes: Whether double quotes enclose names; ``None`` if it is not known.
    """
    escapes = (True, False) if backslash_escapes is None and "\\" in sql else (backslash_escapes is not False,)
    ansi = (False, True) if ansi_quotes is None and "\\" in sql and '"' in sql else (bool(ansi_quotes),)
    wide = (False, True) if "\xa0" in sql else (False,)
    brackets = (False, True) if "[" in sql else (False,)
    dollars = (False, True) if _DOLLARS.search(sql) else (False,)
    skipped = _skipped(set(_EXECUTABLE.findall(sql))) if "/*" in sql else {frozenset[str]()}
    readings = [
        MySQLReading(*way) for way in product(escapes, ansi, wide, brackets, dollars, sorted(skipped, key=sorted))
    ]
    return readings if len(readings) <= _MOST_READINGS else None


def _skipped(openings: set[str]) -> set[frozenset[str]]:
    """Return the sets of executable comments that one server or another would not execute."""
    versions = {_version(opening) for opening in openings}
    found = set()
    for server in {max(version, _OLDEST) for version in versions | {0}}:
        newer = {opening for opening in openings if _version(opening) > server}
        found.add(frozenset(newer | {opening for opening in openings if opening.startswith("M")}))
        found.add(frozenset(newer | {opening for opening in openings if _is_for_mysql_alone(opening)}))
    return found


def _version(opening: str) -> int:
    return int(opening.partition("!")[2] or 0)


def _is_for_mysql_alone(opening: str) -> bool:
    # MariaDB passes over the comments of MySQL 5.7 and later: its own versions go on at 10.0.
    return opening.startswith("!") and 50700 <= _version(opening) <= 99999  # noqa: PLR2004 - server versions


def read_mysql(sql: str, reading: MySQLReading) -> tuple[Findings, bool]:
    """Return what a text would destroy in one reading, and whether it could be read to its end.

    The server runs a text statement by statement, so what stands before a fault in it counts.
    """
    reader = _Reader(reading)
    whole = reader.text(sql)
    return reader.findings, whole


class _Reader:
    def __init__(self, reading: MySQLReading) -> None:
        self.findings = Findings()
        self.schema = SchemaReader(self.findings)
        self.reading = reading
        self.depth = 0
        self.in_block = False

    def text(self, sql: str) -> bool:
        tokens, whole = lex_mysql(sql, self.reading)
        at = 0
        while at < len(tokens):
            if tokens[at].word == ";":
                at += 1
                continue
            at = self._one(Cursor(sql, tokens, MYSQL, at), whole=whole)
            if at < 0:
                return False
        return whole

    def _one(self, cursor: Cursor, *, whole: bool) -> int:
        """Read the statement that starts here; return where it ends, or -1 if it cannot run."""
        _skip_set_statement(cursor)
        cursor.stop, balanced = _semicolon(cursor)
        head = cursor.word()
        definition = read_header(cursor) if head in {"ALTER", "CREATE"} else None
        if definition:
            cursor.stop = end_of_definition(cursor.tokens, definition)
        elif _is_block(cursor):
            cursor.stop = len(cursor.tokens)
        elif not balanced:
            return -1
        if not whole and cursor.stop in {-1, len(cursor.tokens)}:
            return -1
        if definition:
            self._define(cursor, definition)
        elif _is_block(cursor):
            self._block(cursor)
        else:
            self.statement(cursor)
        if head not in _NEUTRAL:
            self.findings.names_stand = False
        return cursor.stop

    def _define(self, cursor: Cursor, definition: Definition) -> None:
        """Pass over a definition, but for an event: what that does will happen by itself."""
        if cursor.stop < 0:
            cursor.stop = len(cursor.tokens)
            if cursor.holds(DESTRUCTIVE):
                self.findings.unreadable()
        elif definition.kind == "EVENT":
            before = self.schema.current
            self.schema.current = definition.database or before
            self._block(Cursor(cursor.sql, cursor.tokens, MYSQL, definition.body, cursor.stop))
            self.schema.current = before

    def statement(self, cursor: Cursor) -> None:
        head = cursor.word()
        if head == "DROP":
            self.schema.drop(cursor)
        elif head == "TRUNCATE":
            self.schema.truncate(cursor)
        elif head == "RENAME":
            self.schema.rename(cursor)
        elif head == "ALTER":
            self.schema.alter(cursor)
        elif head == "CREATE":
            self.schema.create(cursor)
        elif head == "USE":
            self._use(cursor)
        elif head == "PREPARE" or (head == "EXECUTE" and cursor.word(1) == "IMMEDIATE"):
            self._dynamic(cursor)
        elif head not in _HARMLESS and cursor.holds(DESTRUCTIVE):
            self.findings.unreadable()

    def _use(self, cursor: Cursor) -> None:
        cursor.accept("USE")
        name = cursor.parts()
        if name and not self.in_block:
            self.schema.current = name[0]
        else:
            self.findings.unreadable()  # whether it is reached, only the run can tell

    def _dynamic(self, cursor: Cursor) -> None:
        """Read a statement that is prepared from a string; one that is computed cannot be read."""
        if cursor.accept("PREPARE"):
            cursor.at += 1
            if not cursor.accept("FROM"):
                return
        else:
            cursor.accept("EXECUTE", "IMMEDIATE")
        strings = []
        while (token := cursor.token) is not None and token.kind == STRING:
            strings.append(read_string(cursor.sql, token, mysql=True) or "")
            cursor.at += 1
        if strings and (cursor.done or cursor.word() == "USING") and self.depth < _DEEPEST:
            self.depth += 1
            read = self.text("".join(strings))
            self.depth -= 1
            if read:
                return
        self.findings.unreadable("computed statement")

    def _block(self, block: Cursor) -> None:
        """Read all statements of a block, wherever in it they start."""
        self.findings.names_stand = False
        outer, self.in_block = self.in_block, True
        start = block.at
        for index in range(block.at, block.stop + 1):
            if index == block.stop or block.tokens[index].word == ";":
                self._piece(Cursor(block.sql, block.tokens, MYSQL, start, index))
                start = index + 1
        self.in_block = outer

    def _piece(self, piece: Cursor) -> None:
        """Read the statement that starts somewhere between two semicolons, after IF ... THEN, HANDLER FOR and so on."""
        before = ""
        for at in range(piece.at, piece.stop):
            token = piece.tokens[at]
            word = token.word if token.kind == WORD and before != "." else ""
            before = token.word
            piece.at = at
            if word in _IN_BLOCK and _starts_here(piece):
                self.statement(piece)
                return


def _starts_here(piece: Cursor) -> bool:
    """Whether a statement starts at a word that may be a name or a function elsewhere."""
    word = piece.word()
    if word == "TRUNCATE":
        return piece.word(1) != "("
    if word == "EXECUTE":
        return piece.word(1) == "IMMEDIATE"
    if word == "PREPARE":
        return piece.word(2) == "FROM"
    # What a program or an event holds is read as if it ran.
    return word != "CREATE" or read_header(piece) is None


def _skip_set_statement(cursor: Cursor) -> None:
    """Step over SET STATEMENT ... FOR, behind which the statement proper stands."""
    while cursor.word() == "SET" and cursor.word(1) == "STATEMENT":
        depth = 0
        while not cursor.done and cursor.word() != ";":
            word = cursor.word()
            depth += {"(": 1, ")": -1}.get(word, 0)
            cursor.at += 1
            if word == "FOR" and depth == 0:
                break
        else:
            return


def _semicolon(cursor: Cursor) -> tuple[int, bool]:
    """Return where the next semicolon is, and whether the groups before it are closed."""
    depth = 0
    for index in range(cursor.at, len(cursor.tokens)):
        word = cursor.tokens[index].word
        if word == ";":
            return index, depth == 0
        depth += {"(": 1, ")": -1}.get(word, 0)
    return len(cursor.tokens), depth == 0


def _is_block(cursor: Cursor) -> bool:
    """Whether a block runs here, rather than a transaction begins."""
    head = cursor.word()
    if cursor.word(1) == ":" or head == "<":  # a label
        return True
    return head in _BLOCKS and not (head == "BEGIN" and cursor.word(1) in {"", "WORK"})
