"""What a text would destroy on PostgreSQL.

A statement is known by its first word: DROP, TRUNCATE, ALTER, REASSIGN and DO are read, the others that PostgreSQL has
cannot destroy (a function that they call is not looked into). Names like ``drop`` and ``truncate`` are ordinary column
names here, so a word counts by its place alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engineroom._statements.cursor import POSTGRESQL, Cursor, read_string, split_statements, word_set
from engineroom._statements.destruction import Findings
from engineroom._statements.lexer import NAME, STRING, WORD, lex_postgresql
from engineroom._statements.postgresql_schema import DESTRUCTIVE, SchemaReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom._statements.lexer import Token

__all__ = ["read_postgresql"]

_HARMLESS = word_set(
    """( ABORT ANALYZE ANALYSE BEGIN CALL CHECKPOINT CLOSE CLUSTER COMMENT COMMIT COPY CREATE DEALLOCATE DECLARE DELETE
    DISCARD END EXECUTE EXPLAIN FETCH GRANT IMPORT INSERT LISTEN LOAD LOCK MERGE MOVE NOTIFY PREPARE REFRESH REINDEX
    RELEASE RESET REVOKE ROLLBACK SAVEPOINT SECURITY SELECT SET SHOW START TABLE UNLISTEN UPDATE VACUUM VALUES
    WITH"""
)
# After one of these a name still means what it meant before. SET, ROLLBACK, CALL and even SELECT may switch the path.
_NEUTRAL = frozenset({"ALTER", "BEGIN", "COMMENT", "CREATE", "DROP", "INSERT", "START", "TRUNCATE"})

_BLOCK_OPENERS = frozenset({"BEGIN", "THEN", "ELSE", "LOOP"})
_AFTER_LITERAL = frozenset({"", ";", "LOOP", "USING", "INTO"})
_DEEPEST = 4


def read_postgresql(sql: str, *, backslashes: bool) -> Findings | None:
    """Return what a text would destroy, or ``None`` if in this reading it ends inside a string or comment.

    PostgreSQL parses a text whole before it runs any of it, so such a text does nothing.

    Args:
        sql: The text.
        backslashes: Read backslashes in plain strings as escapes.
    """
    reader = _Reader(backslashes=backslashes)
    reader.findings.names_stand = "search_path" not in sql.lower()
    return reader.findings if reader.text(sql) else None


class _Reader:
    def __init__(self, *, backslashes: bool) -> None:
        self.findings = Findings()
        self.schema = SchemaReader(self.findings)
        self.backslashes = backslashes
        self.depth = 0

    def text(self, sql: str) -> bool:
        tokens, whole = lex_postgresql(sql, backslashes=self.backslashes)
        if not whole:
            return False
        for statement in split_statements(tokens):
            cursor = Cursor(sql, statement, POSTGRESQL)
            head = cursor.word()
            self.statement(cursor)
            if head not in _NEUTRAL:
                self.findings.names_stand = False
        return True

    def statement(self, cursor: Cursor) -> None:
        head = cursor.word()
        if head in _HARMLESS:
            return
        if head == "DROP":
            self.schema.drop(cursor)
        elif head == "TRUNCATE":
            self.schema.truncate(cursor)
        elif head == "ALTER":
            self.schema.alter(cursor)
        elif head == "DO":
            self.do(cursor)
        elif head == "REASSIGN":
            self.schema.reassign(cursor)
        elif cursor.holds(DESTRUCTIVE):
            self.findings.unreadable()

    def do(self, cursor: Cursor) -> None:
        cursor.accept("DO")
        language, body = "plpgsql", None
        while (token := cursor.token) is not None:
            cursor.at += 1
            if token.kind == STRING and body is None:
                body = read_string(cursor.sql, token)
            elif token.word == "LANGUAGE" and (named := cursor.token) is not None:
                cursor.at += 1
                language = (_language(cursor.sql, named) or "").lower()
            else:
                body = None
                break
        if body is None or language != "plpgsql" or not self._nested(body, block=True):
            self.findings.unreadable("computed statement")

    def _nested(self, sql: str, *, block: bool) -> bool:
        """Read a text inside this one; return whether that could be done."""
        if self.depth >= _DEEPEST:
            return False
        self.depth += 1
        self.findings.names_stand = False
        whole = self._block(sql) if block else self.text(sql)
        self.depth -= 1
        return whole

    def _block(self, sql: str) -> bool:
        tokens, whole = lex_postgresql(sql, backslashes=self.backslashes)
        for first, last in _segments(tokens):
            cursor = Cursor(sql, tokens, POSTGRESQL, first, last)
            if cursor.word() in _HARMLESS and cursor.word() != "EXECUTE":
                continue
            dynamic = [index for index in range(first, last) if _is_dynamic(tokens, index)]
            for index in dynamic:
                self._execute(Cursor(sql, tokens, POSTGRESQL, index + 1, last))
            if not dynamic:
                self.statement(cursor)
        return whole

    def _execute(self, cursor: Cursor) -> None:
        token = cursor.token
        if token is not None and token.kind == STRING and cursor.word(1) in _AFTER_LITERAL:
            following = cursor.at + 1
            text = read_string(cursor.sql, token)
            plain = following >= cursor.stop or cursor.tokens[following].kind not in {STRING, NAME}
            if plain and text is not None and self._nested(text, block=False):
                return
        self.findings.unreadable("computed statement")


def _language(sql: str, token: Token) -> str | None:
    return read_string(sql, token) if token.kind == STRING else POSTGRESQL.part(sql, token)


def _segments(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Return where each statement of a PL/pgSQL block may start and end.

    One starts after a semicolon, after BEGIN, THEN, ELSE and LOOP, and after the ``>>`` of a label.
    """
    found, first = [], 0
    for index, token in enumerate(tokens):
        label = token.word == ">" and index > 0 and tokens[index - 1].word == ">"
        if token.word == ";" or label or (token.kind == WORD and token.word in _BLOCK_OPENERS):
            found.append((first, index if token.word == ";" else index + 1))
            first = index + 1
    found.append((first, len(tokens)))
    return [(start, end) for start, end in found if start < end]


def _is_dynamic(tokens: Sequence[Token], index: int) -> bool:
    """Whether the token is the EXECUTE of a computed statement."""
    token = tokens[index]
    return token.kind == WORD and token.word == "EXECUTE" and (index == 0 or tokens[index - 1].word != ".")
