"""What the statements of the data definition language destroy on MySQL and MariaDB.

Reads DROP, TRUNCATE, RENAME, ALTER and CREATE OR REPLACE. DROP, RENAME, ALTER and CHANGE are reserved words here:
unquoted and not after a dot they are never a name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engineroom._statements.cursor import MYSQL, Cursor, word_set
from engineroom._statements.destruction import Destruction, Findings, ObjectName
from engineroom._statements.lexer import NAME, STRING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DESTRUCTIVE", "SchemaReader"]

DESTRUCTIVE = frozenset({"DROP", "TRUNCATE", "RENAME"})

_SPELLINGS = {"TABLES": "TABLE", "SCHEMA": "DATABASE"}
_LONG_KINDS = {
    "PACKAGE": (("PACKAGE", "BODY"),),
    "LOGFILE": (("LOGFILE", "GROUP"),),
    "RESOURCE": (("RESOURCE", "GROUP"),),
    "SPATIAL": (("SPATIAL", "REFERENCE", "SYSTEM"),),
    "UNDO": (("UNDO", "TABLESPACE"),),
}
_ASKED = {"TABLE": "table", "VIEW": "view", "SEQUENCE": "sequence"}
# Nothing of these is temporary, but what is not there cannot be lost.
_ASKED_IF_DROPPED = {
    **_ASKED,
    "EVENT": "event",
    "FUNCTION": "function",
    "PROCEDURE": "procedure",
    "TRIGGER": "trigger",
}
_SERVER_WIDE = frozenset(
    {"CATALOG", "LOGFILE GROUP", "RESOURCE GROUP", "ROLE", "SERVER", "SPATIAL REFERENCE SYSTEM", "TABLESPACE"}
    | {"UNDO TABLESPACE", "USER"}
)
_REPLACED = frozenset({"DATABASE", "ROLE", "SEQUENCE", "SERVER", "TABLE", "USER"})
_ACCOUNTS = frozenset({"ROLE", "USER"})
_ALTERED_HARMLESSLY = word_set(
    """ALGORITHM DATABASE DEFINER EVENT FUNCTION INSTANCE LIBRARY LOGFILE PACKAGE PROCEDURE RESOURCE SCHEMA SEQUENCE
    SERVER SQL USER VIEW"""
)
_KEPT = frozenset({"CHECK", "CONSTRAINT", "FOREIGN", "INDEX", "KEY", "PRIMARY"})


class SchemaReader:
    """Reads statements that change the schema, in the light of the database that is current."""

    def __init__(self, findings: Findings) -> None:
        """Collect into ``findings``; the connection's own database is current."""
        self.findings = findings
        self.current: str | None = None

    def drop(self, cursor: Cursor) -> None:
        """Read a DROP."""
        cursor.accept("DROP")
        temporary = cursor.accept("TEMPORARY")
        kind = _kind(cursor)
        if kind in {"INDEX", "PREPARE"}:
            return
        if not kind.isidentifier() and " " not in kind:
            self.findings.unreadable()
            return
        cursor.accept("IF", "EXISTS")
        if kind in _ACCOUNTS:
            loss = Destruction(f"drop {kind.lower()}", "drop", server_wide=True)
            self.findings.add(replace(loss, objects=_accounts(cursor)))
            return
        names = cursor.names(_ASKED_IF_DROPPED.get(kind, kind.lower()))
        if temporary:
            self.findings.touch(names)
            return
        loss = Destruction(f"drop {kind.lower()}".strip(), "drop", server_wide=kind in _SERVER_WIDE)
        if kind == "DATABASE":
            self._lose_databases(loss, names)
        else:
            self._lose(loss, names, asked=kind in _ASKED_IF_DROPPED and _is_tail(cursor))

    def truncate(self, cursor: Cursor) -> None:
        """Read a TRUNCATE."""
        cursor.accept("TRUNCATE")
        cursor.accept("TABLE")
        names = cursor.names("table")
        self._lose(Destruction("truncate table", "truncate"), names, asked=_is_tail(cursor))

    def rename(self, cursor: Cursor) -> None:
        """Read a RENAME TABLE; an account that is renamed loses no data."""
        cursor.accept("RENAME")
        if cursor.accept("USER"):
            return
        if not cursor.accept_any(("TABLE", "TABLES")):
            self.findings.unreadable()
            return
        cursor.accept("IF", "EXISTS")
        old: list[ObjectName] = []
        new: list[ObjectName] = []
        for action in cursor.actions():
            # MySQL passes temporary tables by and takes the table behind them.
            source = action.name("base table")
            _skip_wait(action)
            target = action.name("") if action.accept("TO") else None
            if source is None or target is None or not action.done:
                self.findings.unreadable()
                continue
            old.append(source)
            new.append(target)
        if old:
            self._lose(Destruction("rename table", "rename"), old)
        self.findings.touch(new)

    def create(self, cursor: Cursor) -> None:
        """Read a CREATE, which only destroys if it is a CREATE OR REPLACE of something that holds data."""
        cursor.accept("CREATE")
        if not cursor.accept("OR", "REPLACE"):
            return
        kind = _kind(cursor)
        if kind not in _REPLACED:  # a temporary table among others
            return
        loss = Destruction(f"replace {kind.lower()}", "replace", server_wide=kind in _SERVER_WIDE)
        if kind in _ACCOUNTS:
            self.findings.add(replace(loss, objects=_accounts(cursor)))
            return
        name = cursor.name("base table" if kind == "TABLE" else kind.lower())
        names = [name] if name else []
        if kind == "DATABASE":
            self._lose_databases(loss, names)
        else:
            self._lose(loss, names, asked=kind in _ASKED)

    def alter(self, cursor: Cursor) -> None:
        """Read an ALTER."""
        cursor.accept("ALTER")
        while cursor.accept_any(("ONLINE", "OFFLINE", "IGNORE")):
            pass
        kind = _kind(cursor)
        if kind in {"TABLESPACE", "UNDO TABLESPACE"}:
            if cursor.holds({"DROP"}):
                self.findings.add(Destruction("drop data file", "drop", server_wide=True))
            return
        if kind != "TABLE":
            if cursor.holds({"RENAME"}):
                self.findings.names_stand = False  # a name that was free may be taken now
            if kind.split(" ")[0] not in _ALTERED_HARMLESSLY and cursor.holds(DESTRUCTIVE):
                self.findings.unreadable()
            return
        cursor.accept("IF", "EXISTS")
        table = cursor.name("table")
        _skip_wait(cursor)
        if table is None:
            if cursor.holds({*DESTRUCTIVE, "CHANGE", "CONVERT", "DISCARD", "EXCHANGE"}):
                self.findings.unreadable()
            return
        for action in cursor.actions():
            self._action(table, action)

    def _action(self, table: ObjectName, action: Cursor) -> None:
        if action.accept("DROP"):
            self._drop_member(table, action)
        elif action.accept("RENAME"):
            self._rename(table, action)
        elif action.accept("CHANGE"):
            self._change(table, action)
        elif action.accept("CONVERT"):
            self._convert(table, action)
        elif action.accept("TRUNCATE", "PARTITION"):
            self._partitions(Destruction("truncate partition", "truncate"), table, action)
        elif action.accept("EXCHANGE", "PARTITION"):
            self._exchange(table, action)
        elif action.accept("DISCARD"):
            self._lose(Destruction("discard tablespace of table", "discard"), [table])
        # ADD, MODIFY, ALTER c DROP DEFAULT and the table's options: a reserved word elsewhere is not understood.
        elif action.word() != "ALTER" and action.holds({"DROP", "RENAME"}):
            self.findings.unreadable()

    def _drop_member(self, table: ObjectName, action: Cursor) -> None:
        if action.word() in _KEPT:
            return
        if action.accept("PARTITION"):
            self._partitions(Destruction("drop partition", "drop"), table, action)
        elif action.accept("SYSTEM", "VERSIONING"):
            self._lose(Destruction("drop system versioning of table", "drop"), [table])
        elif action.accept("PERIOD", "FOR"):
            self._lose(Destruction("drop period", "drop"), [table], members=[action.parts()[-1:]])
        else:
            action.accept("COLUMN")
            action.accept("IF", "EXISTS")
            column = action.parts()
            action.accept_any(("RESTRICT", "CASCADE"))
            self._lose(Destruction("drop column", "drop"), [table], members=[column[-1:]], asked=action.done)

    def _rename(self, table: ObjectName, action: Cursor) -> None:
        if action.accept_any(("INDEX", "KEY")):
            return
        if action.accept("COLUMN"):
            action.accept("IF", "EXISTS")
            self._lose(Destruction("rename column", "rename"), [table], members=[action.parts()[-1:]])
            new = action.name("column") if action.accept("TO") else None
            self.findings.touch([new] if new else [])
            return
        action.accept_any(("TO", "AS", "="))
        new = action.name("")
        self._lose(Destruction("rename table", "rename"), [table])
        self.findings.touch([new] if new else [])

    def _change(self, table: ObjectName, action: Cursor) -> None:
        action.accept("COLUMN")
        action.accept("IF", "EXISTS")
        old = action.parts()
        new = action.parts()
        if not old or not new or old[-1].lower() != new[-1].lower():
            self._lose(Destruction("rename column", "rename"), [table], members=[old[-1:]])
            self.findings.touch([ObjectName("column", new, "")] if new else [])

    def _convert(self, table: ObjectName, action: Cursor) -> None:
        if action.accept("PARTITION"):
            self._partitions(Destruction("convert partition", "convert"), table, action)
        elif action.accept("TABLE"):
            moved = action.name("base table")
            self._lose(Destruction("convert table", "convert"), [moved] if moved else [])
        elif action.word() != "TO":
            self.findings.unreadable()

    def _exchange(self, table: ObjectName, action: Cursor) -> None:
        self._lose(Destruction("exchange partition", "exchange"), [table], members=[action.parts()[-1:]], asked=False)
        other = action.name("base table") if action.accept("WITH", "TABLE") else None
        self._lose(Destruction("exchange table", "exchange"), [other] if other else [], asked=False)

    def _partitions(self, loss: Destruction, table: ObjectName, action: Cursor) -> None:
        """Read the partitions; their list runs on over the commas at which the actions were split."""
        action.accept("IF", "EXISTS")
        whole = Cursor(action.sql, action.tokens, action.naming, action.at)
        members = [name.parts[-1:] for name in whole.names("")]
        self._lose(loss, [table], members=members or [()], asked=False)

    def _lose_databases(self, loss: Destruction, names: Sequence[ObjectName]) -> None:
        # A name that cannot be read may be that of any database.
        for name in names:
            ask = (name,) if loss.kind == "drop" else ()
            self.findings.add(replace(loss, objects=(name.written,), database=name.parts[-1], ask=ask))
        if not names:
            self.findings.add(replace(loss, server_wide=True))

    def _lose(
        self,
        loss: Destruction,
        names: Sequence[ObjectName],
        *,
        members: Sequence[tuple[str, ...]] = ((),),
        asked: bool = True,
    ) -> None:
        """Note the loss of these objects, or of members of them, one finding for each database."""
        if not names:
            self.findings.add(replace(loss, database=self.current))
        by_database: dict[str | None, list[ObjectName]] = {}
        for name in names:
            database = name.parts[-2] if len(name.parts) > 1 else self.current
            by_database.setdefault(database, []).append(name)
        for database, group in by_database.items():
            objects = tuple(_member(name, member) for name in group for member in members)
            located = [_located(name, self.current) for name in group] if asked else []
            if loss.operation == "drop column" and members[0]:
                located = [ObjectName("column", (*name.parts, *members[0]), name.written) for name in located]
            ask = tuple(located)
            found = replace(loss, objects=objects, database=database, ask=ask)
            self.findings.add(found, taken=[] if any(members) else group)


def _kind(cursor: Cursor) -> str:
    """Step over the words that say what kind of object follows."""
    for words in _LONG_KINDS.get(cursor.word(), ()):
        if cursor.accept(*words):
            return " ".join(words)
    kind = cursor.word()
    cursor.at += 1
    return _SPELLINGS.get(kind, kind)


def _member(name: ObjectName, member: tuple[str, ...]) -> str:
    return ".".join((name.written, *map(MYSQL.write, member)))


def _located(name: ObjectName, current: str | None) -> ObjectName:
    """Return the name to ask about, with the database that an earlier USE in the text made current."""
    if current is None or len(name.parts) > 1:
        return name
    return ObjectName(name.kind, (current, *name.parts), name.written)


def _skip_wait(cursor: Cursor) -> None:
    if cursor.accept("WAIT"):
        cursor.at += 1
    else:
        cursor.accept("NOWAIT")


def _is_tail(cursor: Cursor) -> bool:
    """Step over what may end a statement; return whether it ends there."""
    cursor.accept_any(("RESTRICT", "CASCADE"))
    _skip_wait(cursor)
    cursor.accept_any(("RESTRICT", "CASCADE"))
    return cursor.done


def _accounts(cursor: Cursor) -> tuple[str, ...]:
    """Return the accounts of a list as they are written: 'app'@'%'."""
    found = []
    while (first := cursor.token) is not None:
        cursor.at += 1
        account = [first]
        # The lexer takes @localhost as one token, and the @ before a quote as one of its own.
        if (host := cursor.token) is not None and cursor.sql[host.start] == "@":
            account.append(host)
            cursor.at += 1
            if host.end == host.start + 1 and (quoted := cursor.token) is not None and quoted.kind in {STRING, NAME}:
                account.append(quoted)
                cursor.at += 1
        found.append("".join(cursor.sql[token.start : token.end] for token in account))
        if not cursor.accept(","):
            break
    return tuple(found)
