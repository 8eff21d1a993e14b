"""How MariaDB and MySQL tell which rows were written, and bring them back.

InnoDB's own counters tell it: no trigger, and all that shows is a table's option STATS_AUTO_RECALC. Copies stand in a
second database beside it. A table whose AUTO_INCREMENT moved is truncated: nothing cheaper sets that back.
"""
# ruff: noqa: S608  # names are quoted

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom.testing import _mysql_objects as catalogue
from engineroom.testing._keeper import sqlstate_of
from engineroom.testing._mysql_copies import Copies
from engineroom.testing._mysql_objects import literal, quote
from engineroom.testing._mysql_triggers import without_triggers
from engineroom.testing._server_rows import OBJECTS, BusyError, Object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from engineroom.testing._keeper import Keeper

__all__ = ["MySQLRows", "clear_database"]

LOCK_WAIT_TIMEOUT = "1205"
NO_SUCH_TABLE = "1146"
SQL_MODE = "NO_AUTO_VALUE_ON_ZERO"


class _Table(NamedTuple):
    """A table as the catalogue shows it."""

    name: str
    is_counted: bool
    columns: str
    key: str | None
    is_sequence: bool
    is_prepared: bool


class MySQLRows:
    """The rows of one database.

    Args:
        keeper: The connection that holds it.
    """

    def __init__(self, keeper: Keeper) -> None:
        """Prepare the keeper's connection, and the database beside it."""
        self._keeper = keeper
        self._name = keeper.place.name
        self._tables: dict[str, _Table] = {}
        self._sequences: dict[str, _Table] = {}
        self._copies: dict[str, str | None] = {}
        self._counters: dict[str, tuple[object, ...]] = {}
        self._known: dict[str, tuple[object, ...]] = {}
        self._known_objects: dict[str, Object] = {}
        self._noted: set[str] = set()
        self._uncounted: set[str] = set()
        self._state: dict[str, tuple[object, ...]] = {}
        self._print: tuple[object, ...] | None = None
        self._seen: tuple[object, ...] = ()
        self._seconds = -1.0
        keeper.fetch(
            f"SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_mode = '{SQL_MODE}', "
            "group_concat_max_len = 1048576"
        )
        keeper.fetch("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")  # a copy locks no row of others
        self._is_told = self._may_ask_innodb()
        self._made = Copies(self._fetch, self._name)

    def install(self) -> None:
        """Learn which tables there are."""
        found = [_Table(*row) for row in self._fetch(catalogue.tables(self._name))]
        self._tables = {table.name: table for table in found if not table.is_sequence}
        self._sequences = {table.name: table for table in found if table.is_sequence}
        self._noted &= {*self._tables, *self._sequences}
        is_persistent = bool(self._keeper.scalar("SELECT @@innodb_stats_persistent"))
        for table in found:
            if table.is_counted and not table.is_sequence and not table.is_prepared:
                self._fetch(catalogue.count_on(table.name, is_persistent=is_persistent))
        for name in [*self._tables, *self._sequences]:
            self._fetch(f"SELECT 1 FROM {quote(name)} LIMIT 1")  # InnoDB counts for tables that were opened
        state = self._read_state()
        # Tables of other engines, and those with partitions, are brought back after each test.
        self._uncounted = {name for name, table in self._tables.items() if not table.is_counted or name not in state}

    def tables(self) -> list[str]:
        """Return the names of all tables."""
        return list(self._tables)

    def objects(self) -> dict[str, Object]:
        """Return everything that the database holds besides rows."""
        return {
            f"{kind} {name}": Object(str(text), f"DROP {what} IF EXISTS {quote(name)}" if what else None)
            for kind, name, text, what in self._fetch(catalogue.objects(self._name))
        }

    def written(self) -> set[str]:
        """Return what was written."""
        now = self._look()
        if now == self._print:
            return set(self._noted)
        self._state = state = self._read_state()
        written = {name for name, value in self._known.items() if state.get(name) != value}
        written |= self._uncounted
        if self._may_have_changed_objects(now, state):
            if self.objects() != self._known_objects:
                written.add(OBJECTS)
            elif not written:
                self._print = self._seen  # somebody changed objects of another database
        return written & {OBJECTS, *self._tables, *self._sequences} | self._noted

    def _may_have_changed_objects(self, now: tuple[object, ...], state: Mapping[str, tuple[object, ...]]) -> bool:
        """Tell whether tables came, went or are others, or the server counted a statement that changes objects."""
        is_other = any(state[name][0] != self._known[name][0] for name in state.keys() & self._known.keys())
        is_other = is_other or state.keys() != self._known.keys()
        return is_other or not self._is_told or self._print is None or now[2] != self._print[2]

    def restore(self, *, is_locking: bool) -> set[str]:  # noqa: ARG002  # rows are locked by what removes them
        """Bring back the rows of what was written."""
        written = self.written()
        if not written or OBJECTS in written:
            return written
        with without_triggers(self._fetch, self._name, written if self._has_triggers() else (), mode=SQL_MODE):
            self._refill([name for name in self._tables if name in written])
        self._remember()
        if self._restart(written):
            self._remember()
        self._noted.clear()
        return set()

    def forget(self, names: Iterable[str]) -> None:
        """Take what was written to be the baseline."""
        forgotten = set(names)
        self._noted -= forgotten
        state = self._read_state()
        still = {name: self._known[name] for name in self._known if name not in forgotten and state.get(name)}
        if OBJECTS in forgotten:
            self._known_objects = self.objects()
        self._remember()
        self._noted |= {name for name, value in still.items() if state[name] != value and name in self._tables}

    def note(self, names: Iterable[str]) -> None:
        """Have these restored the next time."""
        self._noted |= set(names) & {*self._tables, *self._sequences}

    def copy(self, names: Iterable[str]) -> dict[str, str | None]:
        """Copy the rows of tables."""
        copies: dict[str, str | None] = dict.fromkeys(names)
        for name in self._filled(copies):
            copies[name] = self._made.make(f"SELECT {self._tables[name].columns} FROM {quote(name)}")
        return copies

    def merge(self, name: str, onto: str | None, old: str | None, new: str | None) -> str | None:
        """Return a copy with the changes between two others; rows are told apart by their primary key, if any."""
        table = self._tables.get(name)
        if table is None or (old is None and onto is None):
            return new
        model = onto or new or old
        sources = {
            role: self._made.name(copy) if copy else f"(SELECT * FROM {self._made.name(str(model))} WHERE false)"
            for role, copy in (("onto", onto), ("old", old), ("new", new))
        }
        columns = table.columns.split(", ")
        keys = table.key.split(", ") if table.key else columns

        def without(role: str, other: str, by: list[str]) -> str:
            same = " AND ".join(f"x.{column} <=> y.{column}" for column in by)
            return f"SELECT x.* FROM {sources[role]} x WHERE NOT EXISTS (SELECT 1 FROM {sources[other]} y WHERE {same})"

        came, went = without("new", "old", columns), without("old", "new", keys)
        sources |= {"came": f"({came})", "went": f"({went})"}
        kept = without("onto", "came", keys)
        sources["kept"] = f"({kept})"
        return self._made.make(f"{without('kept', 'went', keys)} UNION ALL {came}")

    def discard(self, copies: Iterable[str | None]) -> None:
        """Drop copies."""
        self._made.discard(copies)

    def counters(self) -> dict[str, tuple[object, ...]]:
        """Return what AUTO_INCREMENT is at, and the sequences."""
        found: dict[str, tuple[object, ...]] = {name: (at,) for name, at in self._numbers(self._read_state()).items()}
        return found | {name: (self._read_sequence(name),) for name in self._sequences}

    def publish(self, copies: Mapping[str, str | None], counters: Mapping[str, tuple[object, ...]]) -> None:
        """Take these to be what is brought back."""
        self._copies.update(copies)
        self._counters.update(counters)

    def contents(self) -> dict[str, str]:
        """Return for each table with rows, or whose AUTO_INCREMENT moved, what that is known by."""
        known = {name: f"auto {number}" for name, number in self._fetch(catalogue.started(self._name))}
        filled = ", ".join(map(quote, self._filled(self._tables)))
        sums = self._fetch(f"CHECKSUM TABLE {filled}") if filled else []
        return known | {str(name): f"{known.get(str(name).partition('.')[2])} rows {rows}" for name, rows in sums}

    def writers(self) -> dict[int, str]:
        """Return the sessions in a transaction that writes, as far as this user is told."""
        found = self._sessions(catalogue.writers(self._name)) if self._is_told else {}
        active = catalogue.active_sessions(str(self._fetch(catalogue.STATUS)[0][-1])) if found else ()
        return {session: text for session, text in found.items() if session in active}

    def sessions(self) -> dict[int, str]:
        """Return the sessions in a transaction, or all, where this user is not told which those are."""
        return self._sessions(catalogue.sessions(self._name, are_told=self._is_told))

    def untold(self) -> set[str]:
        """Return the tables that InnoDB does not count, or this user is not told of."""
        return set(self._uncounted)

    def wait_at_most(self, seconds: float) -> None:
        """Set how long a statement waits for a lock."""
        if seconds != self._seconds:
            whole = math.ceil(seconds) if seconds >= 1 else 1
            self._fetch(f"SET SESSION lock_wait_timeout = {whole}, innodb_lock_wait_timeout = {whole}")
            self._seconds = seconds

    def end(self, session: int) -> None:
        """End a session."""
        with contextlib.suppress(Exception):  # it is gone already
            self._fetch(f"KILL {session}")

    def remove(self, objects: Iterable[Object]) -> None:
        """Drop these objects, as far as each can be dropped alone."""
        for each in objects:
            if each.removal:
                self._fetch(each.removal)

    def clear(self) -> None:
        """Drop everything."""
        clear_database(self._fetch, self._name)

    def _fetch(self, statement: str) -> list[tuple[Any, ...]]:
        try:
            return self._keeper.fetch(statement)
        except Exception as error:
            if sqlstate_of(error) == LOCK_WAIT_TIMEOUT:
                raise BusyError from error
            raise

    def _sessions(self, question: str) -> dict[int, str]:
        return {int(number): str(text) for number, text in self._fetch(question)}

    def _may_ask_innodb(self) -> bool:
        """Tell whether this user may read InnoDB's counters, and the dates of its statistics."""
        try:
            self._keeper.fetch(catalogue.changes(self._name))
        except Exception:  # noqa: BLE001  # as the server's text says; then every table is brought back each time
            return False
        return True

    def _look(self) -> tuple[object, ...]:
        sequences = tuple(self._read_sequence(name) for name in self._sequences)
        if not self._is_told:
            return (object(),)
        counted, dates, changed = self._fetch(catalogue.fingerprint(self._name))[0]
        return (counted, dates, changed, sequences, object() if self._uncounted else None)

    def _read_state(self) -> dict[str, tuple[object, ...]]:
        """Return what tells whether a table was written; with it, what the fingerprint was at that moment."""
        rows = self._fetch(catalogue.changes(self._name)) if self._is_told else []
        sequences = {name: self._read_sequence(name) for name in self._sequences}
        self._seen = (*catalogue.print_of(rows), tuple(sequences.values()), object() if self._uncounted else None)
        found: dict[str, tuple[object, ...]] = {str(name): tuple(rest) for name, *rest, _ in rows}
        return found | {name: (0, value) for name, value in sequences.items()}

    def _read_sequence(self, name: str) -> object:
        try:
            return self._fetch(f"SELECT next_not_cached_value FROM {quote(name)}")[0][0]
        except Exception as error:
            if sqlstate_of(error) == NO_SUCH_TABLE:
                return None
            raise

    def _remember(self) -> None:
        self._known = self._read_state()
        self._print = self._seen

    def _filled(self, names: Iterable[str]) -> list[str]:
        """Return those of some tables that have rows."""
        questions = [f"(SELECT {literal(name)} FROM {quote(name)} LIMIT 1)" for name in names]
        return [name for (name,) in self._fetch(" UNION ALL ".join(questions))] if questions else []

    def _refill(self, names: Iterable[str]) -> None:
        statements = []
        for name in names:
            if not self._truncate(name):
                statements.append(f"DELETE FROM {quote(name)}")
            copy, columns = self._copies.get(name), self._tables[name].columns
            if copy:
                source = self._made.name(copy)
                statements.append(f"INSERT INTO {quote(name)} ({columns}) SELECT {columns} FROM {source}")
        if len(statements) > 1:  # the server waits for the disk once
            statements = ["START TRANSACTION", *statements, "COMMIT"]
        try:
            for statement in statements:
                self._fetch(statement)
        except BaseException:
            self._fetch("ROLLBACK")
            raise

    def _truncate(self, name: str) -> bool:
        """Empty a table whose AUTO_INCREMENT moved, unless somebody reads it in a transaction."""
        if name in self._state and (self._state[name][3],) == self._counters.get(name):
            return False
        try:
            self._fetch(f"TRUNCATE TABLE {quote(name)}")
        except BusyError:
            return False
        return True

    def _restart(self, written: Iterable[str]) -> bool:
        """Set AUTO_INCREMENT where the rows that came back did not do it, and sequences; tell whether it was needed."""
        is_needed = False
        numbers = self._numbers(self._known)
        for name in written:
            wanted = self._counters.get(name, (None,))[0]
            if name in self._sequences:
                self._fetch(f"ALTER SEQUENCE {quote(name)} RESTART {wanted}")
                is_needed = True
            elif wanted is not None and numbers.get(name, 1) != wanted:
                with contextlib.suppress(BusyError):
                    self._fetch(f"ALTER TABLE {quote(name)} AUTO_INCREMENT = {wanted}")
                    is_needed = True
        return is_needed

    def _numbers(self, state: Mapping[str, tuple[object, ...]]) -> dict[str, object]:
        """Return what AUTO_INCREMENT is at: as InnoDB says, and where it says nothing, as the catalogue does."""
        numbers: dict[str, object] = dict(self._fetch(catalogue.started(self._name))) if self._uncounted else {}
        return numbers | {name: state[name][3] for name in self._tables if name in state}

    def _has_triggers(self) -> bool:
        return any(key.startswith("trigger ") for key in self._known_objects)


def clear_database(fetch: Callable[[str], list[tuple[Any, ...]]], name: str) -> None:
    """Drop everything that a database holds."""
    fetch("SET SESSION foreign_key_checks = 0, group_concat_max_len = 1048576")
    for _, each, _, what in fetch(catalogue.objects(name)):
        if what:
            fetch(f"DROP {what} IF EXISTS {quote(each)}")
