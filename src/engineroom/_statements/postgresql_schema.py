"""What the statements of the data definition language destroy on PostgreSQL.

Reads DROP, TRUNCATE, ALTER and REASSIGN. Dropping an index, a constraint, a default or NOT NULL loses nothing; renaming
or moving counts where data, or what rows are made of, is no longer found in its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engineroom._statements.cursor import POSTGRESQL, Cursor, word_set
from engineroom._statements.destruction import Destruction, Findings, ObjectName

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DESTRUCTIVE", "SchemaReader"]

DESTRUCTIVE = frozenset({"DROP", "TRUNCATE", "RENAME", "DETACH", "REASSIGN"})

_LONG_KINDS = {
    "MATERIALIZED": (("MATERIALIZED", "VIEW"),),
    "FOREIGN": (
        ("FOREIGN", "TABLE"),
        ("FOREIGN", "DATA", "WRAPPER"),
    ),
    "EVENT": (("EVENT", "TRIGGER"),),
    "ACCESS": (("ACCESS", "METHOD"),),
    "TEXT": (
        ("TEXT", "SEARCH", "CONFIGURATION"),
        ("TEXT", "SEARCH", "DICTIONARY"),
        ("TEXT", "SEARCH", "PARSER"),
        ("TEXT", "SEARCH", "TEMPLATE"),
    ),
    "OPERATOR": (
        ("OPERATOR", "CLASS"),
        ("OPERATOR", "FAMILY"),
    ),
    "USER": (("USER", "MAPPING"),),
    "PROCEDURAL": (("PROCEDURAL", "LANGUAGE"),),
    "LARGE": (("LARGE", "OBJECT"),),
    "DEFAULT": (("DEFAULT", "PRIVILEGES"),),
}
_TABLES = frozenset({"TABLE", "FOREIGN TABLE"})
_ASKED = {
    "TABLE": "table",
    "FOREIGN TABLE": "table",
    "VIEW": "view",
    "MATERIALIZED VIEW": "view",
    "SEQUENCE": "sequence",
    "TYPE": "type",
    "DOMAIN": "type",
    "INDEX": "index",
}
# Nothing of these is temporary, but what is not there cannot be lost.
_ASKED_IF_DROPPED = {
    **_ASKED,
    "SCHEMA": "schema",
    "EXTENSION": "extension",
    "FUNCTION": "function",
    "PROCEDURE": "function",
    "ROUTINE": "function",
    "AGGREGATE": "function",
}
# Renaming or moving one of these takes data, or what rows are made of, away from where a program looks for it.
_MOVED_AWAY = frozenset({*_ASKED, "SCHEMA", "DATABASE", "EXTENSION"})
_ALTERED_HARMLESSLY = word_set(
    """ACCESS AGGREGATE COLLATION CONSTRAINT CONVERSION DEFAULT EVENT FOREIGN FUNCTION GROUP LANGUAGE LARGE OPERATOR
    POLICY PROCEDURAL PROCEDURE PUBLICATION ROLE ROUTINE RULE SERVER STATISTICS SUBSCRIPTION SYSTEM TABLESPACE TEXT
    TRIGGER USER"""
)
_HARMLESS_ACTIONS = word_set(
    "ADD ALTER ATTACH CLUSTER DEPENDS DISABLE ENABLE FORCE INHERIT NO NOT OF OPTIONS OWNER REPLICA RESET SET UPDATE "
    "VALIDATE"
)
_SERVER_WIDE = frozenset({"ROLE", "USER", "GROUP", "TABLESPACE"})
_ON_A_TABLE = frozenset({"TRIGGER", "RULE", "POLICY"})
_MEMBERS = frozenset({"column", "policy", "rule", "trigger"})
_NAMELESS = frozenset({"CAST", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "TRANSFORM", "USER MAPPING"})


class SchemaReader:
    """Reads statements that change the schema."""

    def __init__(self, findings: Findings) -> None:
        """Collect into ``findings``."""
        self.findings = findings

    def drop(self, cursor: Cursor) -> None:
        """Read a DROP."""
        cursor.accept("DROP")
        kind = _kind(cursor)
        if kind == "INDEX":
            return
        if not kind.isidentifier() and " " not in kind:
            self.findings.unreadable()
            return
        if kind == "OWNED":
            self._owned(Destruction("drop owned", "drop"), cursor)
            return
        loss = Destruction(f"drop {kind.lower()}".strip(), "drop", server_wide=kind in _SERVER_WIDE)
        cursor.accept("IF", "EXISTS")
        if kind in _ON_A_TABLE:
            self._drop_on_table(loss, cursor)
            return
        names = [] if kind in _NAMELESS else cursor.names(_ASKED_IF_DROPPED.get(kind, kind.lower()))
        if kind == "DATABASE":
            self._lose_database(loss, names)
        else:
            self._lose(loss, names, cursor, asked=kind in _ASKED_IF_DROPPED)

    def truncate(self, cursor: Cursor) -> None:
        """Read a TRUNCATE."""
        cursor.accept("TRUNCATE")
        cursor.accept("TABLE")
        names = cursor.names("table", before="ONLY")
        if cursor.accept_any(("RESTART", "CONTINUE")):
            cursor.accept("IDENTITY")
        self._lose(Destruction("truncate table", "truncate"), names, cursor)

    def reassign(self, cursor: Cursor) -> None:
        """Read a REASSIGN OWNED, which reaches the databases that the roles own."""
        cursor.accept("REASSIGN", "OWNED")
        self._owned(Destruction("reassign owned", "reassign"), cursor)

    def _owned(self, loss: Destruction, cursor: Cursor) -> None:
        cursor.accept("BY")
        roles = tuple(role.written for role in cursor.names("role"))
        self.findings.add(replace(loss, objects=roles, server_wide=True))

    def _drop_on_table(self, loss: Destruction, cursor: Cursor) -> None:
        name = cursor.parts()
        table = cursor.name("table") if cursor.accept("ON") else None
        self._lose(loss, [table] if table else [], cursor, member=name[-1:])

    def _lose_database(self, loss: Destruction, names: Sequence[ObjectName]) -> None:
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
        cursor: Cursor,
        *,
        asked: bool = True,
        member: tuple[str, ...] = (),
    ) -> None:
        """Note the loss of these objects, or of a member of each, but for the temporary ones.

        Where something stands behind the names that is not understood, nothing is temporary and no question helps.
        """
        cascade = cursor.accept_any(("CASCADE", "RESTRICT")) == "CASCADE"
        understood = cursor.done
        lasting = [name for name in names if not (understood and name.parts[-2:-1] == ("pg_temp",))]
        # Losing a member leaves the name in its place.
        taken = [] if member else names
        if not lasting and names:
            self.findings.touch(taken)
            return
        objects = tuple(".".join((name.written, *map(POSTGRESQL.write, member))) for name in lasting)
        ask = tuple(_member(loss, name, member) for name in lasting) if asked and understood else ()
        self.findings.add(replace(loss, objects=objects, cascade=cascade, ask=ask), taken=taken)

    def alter(self, cursor: Cursor) -> None:
        """Read an ALTER."""
        cursor.accept("ALTER")
        kind = _kind(cursor)
        if kind not in _MOVED_AWAY:
            if cursor.holds({"RENAME", "SCHEMA"}):
                self.findings.names_stand = False  # a name that was free may be taken now
            if kind.split(" ")[0] not in _ALTERED_HARMLESSLY and cursor.holds(DESTRUCTIVE):
                self.findings.unreadable()
            return
        cursor.accept("IF", "EXISTS")
        cursor.accept("ONLY")
        name = cursor.name(_ASKED.get(kind, kind.lower()))
        cursor.accept("*")
        for action in cursor.actions():
            if name is None:
                if action.holds(DESTRUCTIVE) or action.holds({"SCHEMA"}):
                    self.findings.unreadable()
            else:
                self._action(kind, name, action)

    def _action(self, kind: str, name: ObjectName, action: Cursor) -> None:
        if action.accept("DROP"):
            self._drop_member(kind, name, action)
        elif action.accept("RENAME"):
            self._rename(kind, name, action)
        elif action.accept("SET", "SCHEMA"):
            action.parts()
            self._lose(Destruction(f"move {kind.lower()}", "move"), [name], action, asked=kind in _ASKED)
        elif action.accept("NO", "INHERIT"):
            action.parts()
            self._lose(Destruction("detach table", "detach"), [name], action)
        elif action.accept("DETACH", "PARTITION"):
            partitions = action.names("table")
            action.accept_any(("CONCURRENTLY", "FINALIZE"))
            self._lose(Destruction("detach partition", "detach"), partitions, action)
        elif action.word() not in _HARMLESS_ACTIONS and action.holds(DESTRUCTIVE):
            self.findings.unreadable()

    def _drop_member(self, kind: str, name: ObjectName, action: Cursor) -> None:
        if kind == "EXTENSION":
            return  # what is dropped from an extension stays in the database
        if action.accept("CONSTRAINT"):
            self._drop_constraint(kind, name, action)
            return
        if kind == "DOMAIN" and action.word() in {"DEFAULT", "NOT"}:
            return
        member = "attribute" if kind == "TYPE" else "column"
        action.accept(member.upper())
        action.accept("IF", "EXISTS")
        self._lose(Destruction(f"drop {member}", "drop"), [name], action, member=action.parts()[-1:])

    def _drop_constraint(self, kind: str, table: ObjectName, action: Cursor) -> None:
        """Dropping a constraint loses nothing, but a view that groups by a primary key goes with it by CASCADE."""
        action.accept("IF", "EXISTS")
        constraint = action.parts()
        if kind not in _TABLES or not action.accept("CASCADE"):
            return
        parts = (*table.parts, *constraint)
        asked = ObjectName("constraint", parts, action.written(*parts))
        operation = "drop constraint with all that depends on it"
        self.findings.add(Destruction(operation, "drop", (asked.written,), cascade=True, ask=(asked,)))

    def _rename(self, kind: str, name: ObjectName, action: Cursor) -> None:
        if action.accept("TO"):
            new = action.name("")
            self.findings.touch([new] if new else [])
            loss = Destruction(f"rename {kind.lower()}", "rename")
            if kind == "DATABASE":
                self._lose_database(loss, [name])
            else:
                self._lose(loss, [name], action, asked=kind in _ASKED)
        elif action.accept("CONSTRAINT") or (kind == "TYPE" and action.accept("VALUE")):
            return
        else:
            member = "attribute" if kind == "TYPE" else "column"
            action.accept(member.upper())
            old = action.parts()[-1:]
            new = action.name(member) if action.accept("TO") else None
            self._lose(Destruction(f"rename {member}", "rename"), [name], action, member=old)
            self.findings.touch([new] if new else [])


def _member(loss: Destruction, name: ObjectName, member: tuple[str, ...]) -> ObjectName:
    """Return what to ask about: the object, or the member of it that is dropped."""
    verb, _, kind = loss.operation.partition(" ")
    asks = member and verb == "drop" and kind in _MEMBERS
    return ObjectName(kind, (*name.parts, *member), name.written) if asks else name


def _kind(cursor: Cursor) -> str:
    """Step over the words that say what kind of object follows."""
    for words in _LONG_KINDS.get(cursor.word(), ()):
        if cursor.accept(*words):
            return " ".join(words)
    kind = cursor.word()
    cursor.at += 1
    return kind
