"""Which databases a text writes to on MySQL and MariaDB, in every way in which such a server might read it.

A name without a database belongs to the connection's own, which is not told. Statements are found as in ``mysql``;
of each, the tables that it changes are told from those that it reads, also where several are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engineroom._statements.cursor import MYSQL, Cursor, read_string, word_set
from engineroom._statements.lexer import STRING, WORD, lex_mysql
from engineroom._statements.mysql import mysql_readings
from engineroom._statements.mysql_definitions import end_of_definition, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engineroom._statements.lexer import MySQLReading, Token

__all__ = ["MySQLWrites"]

_MODIFIERS = frozenset({"LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "QUICK"})
_NAMED = word_set("TABLE TABLES VIEW SEQUENCE PROCEDURE FUNCTION TRIGGER EVENT PACKAGE")
_DATABASES = frozenset({"DATABASE", "SCHEMA"})
_KINDS = _NAMED | _DATABASES | word_set("INDEX USER ROLE SERVER TABLESPACE LOGFILE RESOURCE PREPARE UNDO SPATIAL")
_ROWS = frozenset({"DELETE", "INSERT", "REPLACE", "UPDATE"})
_BLOCKS = word_set("BEGIN CASE DECLARE FOR IF LOOP REPEAT WHILE")
_BEFORE_TABLE = frozenset({",", "(", "JOIN", "STRAIGHT_JOIN", "OJ"})  # { OJ ... } is how ODBC joins
_AFTER_TABLE = word_set(
    """JOIN INNER CROSS LEFT RIGHT OUTER NATURAL STRAIGHT_JOIN ON USING SET WHERE ORDER LIMIT USE FORCE IGNORE PARTITION
    FOR RETURNING FROM"""
)
_OPTIONS = frozenset({"CHARACTER", "COLLATE", "DEFAULT", "READ"})
"""Reserved words that stand for no database behind ALTER DATABASE, where its name may be left out."""

Found = tuple[str, str | None, str]
Parts = tuple[str, ...]


class MySQLWrites:
    """Reads one text in one way."""

    def __init__(self, reading: MySQLReading) -> None:
        """Start with nothing found."""
        self.reading = reading
        self.found: list[Found] = []
        self._statements: Mapping[str, Callable[[Cursor], None]] = {
            "ALTER": self._alter,
            "ANALYZE": self._behind_rows,
            "CREATE": self._create,
            "DELETE": self._delete,
            "DROP": self._drop,
            "EXECUTE": self._dynamic,
            "EXPLAIN": self._explain,
            "INSERT": self._insert,
            "LOAD": self._load,
            "PREPARE": self._dynamic,
            "RENAME": self._rename,
            "REPLACE": self._insert,
            "TRUNCATE": self._truncate,
            "UPDATE": self._update,
            "USE": self._use,
            "WITH": self._behind_rows,
        }

    @classmethod
    def of_text(cls, sql: str) -> list[Found]:
        """Return the operation, the database and the target of each write, of all readings together."""
        found: list[Found] = []
        for reading in mysql_readings(sql) or []:
            reader = cls(reading)
            reader.text(sql)
            found += [write for write in reader.found if write not in found]
        return found

    def text(self, sql: str) -> None:
        """Read each statement of a text."""
        tokens, _ = lex_mysql(sql, self.reading)
        at = 0
        while at < len(tokens):
            cursor = Cursor(sql, tokens, MYSQL, at)
            definition = read_header(cursor) if cursor.word() in {"ALTER", "CREATE"} else None
            stop = end_of_definition(tokens, definition) if definition else _semicolon(tokens, at)
            cursor.stop = stop if stop >= 0 else len(tokens)
            if cursor.word() in _BLOCKS or cursor.word(1) == ":" or (definition and definition.kind == "EVENT"):
                self._pieces(cursor)
            self.statement(cursor)
            at = cursor.stop + 1

    def statement(self, cursor: Cursor) -> None:
        """Read the statement that starts here."""
        _skip_set_statement(cursor)
        read = self._statements.get(cursor.word())
        if read is not None:
            read(cursor)

    def _pieces(self, cursor: Cursor) -> None:
        """Read whatever starts within a part of a block: behind IF ... THEN, DO, HANDLER FOR and so on."""
        before = ""
        for at in range(cursor.at + 1, cursor.stop):
            token = cursor.tokens[at]
            if token.kind == WORD and before != "." and token.word in self._statements:
                self.statement(Cursor(cursor.sql, cursor.tokens, MYSQL, at, cursor.stop))
            before = token.word

    def _write(self, operation: str, parts: Parts) -> None:
        if parts:
            database = parts[-2] if len(parts) > 1 else None
            self.found.append((operation, database, ".".join(map(MYSQL.write, parts))))

    def _write_database(self, operation: str, parts: Parts) -> None:
        if parts:
            self.found.append((operation, parts[-1], ""))

    def _use(self, cursor: Cursor) -> None:
        cursor.accept("USE")
        self._write_database("use", cursor.parts())

    def _insert(self, cursor: Cursor) -> None:
        head = cursor.accept_any(_ROWS)
        _skip(cursor, _MODIFIERS)
        cursor.accept("INTO")
        self._write(f"{head.lower()} into", cursor.parts())

    def _load(self, cursor: Cursor) -> None:
        while not cursor.done and not cursor.accept("TABLE"):
            cursor.at += 1
        self._write("load data into", cursor.parts())

    def _truncate(self, cursor: Cursor) -> None:
        cursor.accept("TRUNCATE")
        cursor.accept("TABLE")
        for name in cursor.names(""):
            self._write("truncate table", name.parts)

    def _update(self, cursor: Cursor) -> None:
        cursor.accept("UPDATE")
        _skip(cursor, _MODIFIERS)
        tables = _tables(cursor)
        if not cursor.accept("SET"):
            return
        for assignment in cursor.actions():
            column = assignment.parts()
            if assignment.word() not in {"=", ":"}:
                continue
            if len(column) > 2:  # noqa: PLR2004  # database, table and column
                self._write("update", column[:-1])
            for name, parts in tables:
                if len(column) == 1 or (len(column) == 2 and column[0].casefold() == name.casefold()):  # noqa: PLR2004
                    self._write("update", parts)

    def _delete(self, cursor: Cursor) -> None:
        cursor.accept("DELETE")
        _skip(cursor, _MODIFIERS)
        is_from = cursor.accept("FROM")
        targets = [name.parts for name in cursor.names("")]
        tables = _tables(cursor) if cursor.accept("USING" if is_from else "FROM") else []
        for target in targets:
            meant = [parts for name, parts in tables if len(target) == 1 and name.casefold() == target[0].casefold()]
            self._write("delete from", meant[0] if meant else target)

    def _behind_rows(self, cursor: Cursor) -> None:
        """Read the statement behind a WITH, or one that is analysed while it runs."""
        while not cursor.done:
            if cursor.word() in _ROWS:
                self.statement(cursor)
                return
            if not cursor.skip_group():
                cursor.at += 1

    def _explain(self, cursor: Cursor) -> None:
        if cursor.accept("EXPLAIN", "ANALYZE"):
            self._behind_rows(cursor)

    def _drop(self, cursor: Cursor) -> None:
        cursor.accept("DROP")
        kind = cursor.accept_any(_KINDS)  # none for DROP TEMPORARY
        cursor.accept("BODY")
        cursor.accept("IF", "EXISTS")
        operation = f"drop {_spell(kind)}"
        if kind in _DATABASES:
            self._write_database(operation, cursor.parts())
        elif kind == "INDEX":
            self._write(operation, _parts_behind(cursor, "ON"))
        elif kind in _NAMED:
            for name in cursor.names(""):
                self._write(operation, name.parts)

    def _create(self, cursor: Cursor) -> None:
        cursor.accept("CREATE")
        replaces = cursor.accept("OR", "REPLACE")
        while not cursor.done and cursor.word() not in _KINDS:
            if cursor.accept("TEMPORARY"):
                return
            cursor.at += 1
        kind = cursor.accept_any(_KINDS)
        cursor.accept("BODY")
        cursor.accept("IF", "NOT", "EXISTS")
        operation = f"{'replace' if replaces else 'create'} {_spell(kind)}"
        if kind in _DATABASES and replaces:
            self._write_database(operation, cursor.parts())
        elif kind == "INDEX":
            self._write(operation, _parts_behind(cursor, "ON"))
        elif kind in _NAMED:
            self._write(operation, cursor.parts())
            if kind == "TRIGGER":
                self._write(operation, _parts_behind(cursor, "ON"))

    def _alter(self, cursor: Cursor) -> None:
        while not cursor.done and cursor.word() not in _KINDS:
            cursor.at += 1
        kind = cursor.accept_any(_KINDS)
        cursor.accept("IF", "EXISTS")
        operation = f"alter {_spell(kind)}"
        if kind in _DATABASES and cursor.word() not in _OPTIONS and cursor.word(1) != "=":
            self._write_database(operation, cursor.parts())
        elif kind in _NAMED:
            self._write(operation, cursor.parts())
            for action in cursor.actions() if kind == "TABLE" else []:
                self._move(operation, action)
            if kind == "EVENT":
                self._write(operation, _parts_behind(cursor, "RENAME", "TO"))

    def _move(self, operation: str, action: Cursor) -> None:
        """Read the other table that an action of ALTER TABLE names."""
        if action.accept("RENAME") and not action.accept_any(("COLUMN", "INDEX", "KEY")):
            action.accept_any(("TO", "AS", "="))
            self._write(operation, action.parts())
        elif action.accept_any(("EXCHANGE", "CONVERT")):
            self._write(operation, _parts_behind(action, "TABLE"))

    def _rename(self, cursor: Cursor) -> None:
        cursor.accept("RENAME")
        if not cursor.accept_any(("TABLE", "TABLES")):
            return
        cursor.accept("IF", "EXISTS")
        for action in cursor.actions():
            self._write("rename table", action.parts())
            self._write("rename table", _parts_behind(action, "TO"))

    def _dynamic(self, cursor: Cursor) -> None:
        """Read a statement that is prepared from a string."""
        if cursor.accept("PREPARE"):
            cursor.at += 2  # the name, and FROM
        elif not cursor.accept("EXECUTE", "IMMEDIATE"):
            return
        texts = []
        while (token := cursor.token) is not None and token.kind == STRING:
            texts.append(read_string(cursor.sql, token, mysql=True) or "")
            cursor.at += 1
        self.text("".join(texts))  # each text within a text is far shorter, so that this ends


def _tables(cursor: Cursor) -> list[tuple[str, Parts]]:
    """Step over the tables of an UPDATE or DELETE; return each with the name that it goes by."""
    found: list[tuple[str, Parts]] = []
    before = ","
    while not cursor.done and cursor.word() != "SET":
        if before in _BEFORE_TABLE and cursor.word() != "LATERAL" and (parts := cursor.parts()):
            cursor.accept("AS")
            token = cursor.token
            alias = MYSQL.part(cursor.sql, token) if token is not None and token.word not in _AFTER_TABLE else None
            if alias is not None:
                cursor.at += 1
            found.append((alias or parts[-1], parts))
            before = ""
        elif cursor.word() == "(" and (cursor.word(1) in {"SELECT", "WITH", "VALUES"} or before not in _BEFORE_TABLE):
            cursor.skip_group()
            before = ")"
        else:
            before = cursor.word()
            cursor.at += 1
    return found


def _parts_behind(cursor: Cursor, *words: str) -> Parts:
    while not cursor.done and not cursor.accept(*words):
        cursor.at += 1
    return cursor.parts()


def _skip(cursor: Cursor, words: frozenset[str]) -> None:
    while cursor.accept_any(words):
        pass


def _skip_set_statement(cursor: Cursor) -> None:
    """Step over SET STATEMENT ... FOR, behind which the statement proper stands."""
    if cursor.accept("SET", "STATEMENT"):
        while not cursor.done and not cursor.accept("FOR"):
            if not cursor.skip_group():
                cursor.at += 1
        _skip_set_statement(cursor)


def _semicolon(tokens: Sequence[Token], at: int) -> int:
    return next((index for index in range(at, len(tokens)) if tokens[index].word == ";"), len(tokens))


def _spell(kind: str) -> str:
    return {"TABLES": "table", "SCHEMA": "database"}.get(kind, kind.lower())
