"""The baseline of a test database on a server: layers of copied rows, and what is done about left-overs.

Only the tables that somebody wrote to are brought back. Where objects were created, changed or dropped, what is new is
dropped, and where that is not enough the schema is built once more. How a database system tells what was written, and
brings it back, is the business of its :class:`~engineroom.testing._server_rows.Rows`.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engineroom.testing._left_overs import callers_of, describe_writers, left_over, lost_layer
from engineroom.testing._server_rows import OBJECTS, BusyError
from engineroom.testing.baseline import SECONDS_FOR_LEFT_OVERS, let_go_of_garbage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom.errors import LifecycleError
    from engineroom.testing._callers import Caller
    from engineroom.testing._server_rows import Counter, Object, Rows

__all__ = ["SEED", "ServerBaseline"]

SEED = "seed"
"""The owner of what the seed wrote: it lies on the schema, which can be brought back alone for the next run."""

SECONDS_OF_THE_FIRST_TRY = 0.1
SECONDS_BETWEEN_LOOKS = 0.02


@dataclass
class _Layer:
    """What an owner wrote: the copies of the tables and the counters that it changed, and the objects if it did."""

    owner: object
    copies: dict[str, str | None] = field(default_factory=dict)
    counters: dict[str, Counter] = field(default_factory=dict)
    objects: dict[str, Object] | None = None


@dataclass
class _Mark:
    """A point in time at which a layer begins: what had been written by then, and how it looked."""

    rows: Rows | None = None
    copies: dict[str, str | None] = field(default_factory=dict)

    def discard(self) -> None:
        """Drop the copies."""
        if self.rows is not None:
            self.rows.discard(self.copies.values())


class ServerBaseline:
    """The layers of one database on a server.

    Args:
        rows: How the database system does it.
        rebuild: Applies the schema and the seed once more.
        connections: The connections that engines of this process have opened to it.
    """

    def __init__(
        self, rows: Rows, rebuild: Callable[[], None], connections: Collection[ConnectionPoolEntry] = ()
    ) -> None:
        """Take the present state as the lowest layer."""
        self._rows = rows
        self._rebuild = rebuild
        self._connections = connections
        self._kept: dict[int, object] = {}  # sessions of fixtures of a wider scope, whose transactions stay open
        self._has_lost_objects = False
        self._has_lost_a_layer = False
        self._layers: list[_Layer] = [self._take_lowest()]

    @property
    def is_on_server(self) -> bool:
        """Yes."""
        return True

    @property
    def is_dirty(self) -> bool:
        """Whether anybody wrote since the baseline was taken or restored last."""
        return self._has_lost_objects or bool(self._rows.written())

    @property
    def is_known_dirty(self) -> bool:
        """Whether it is known that anybody wrote; of some tables nobody can tell."""
        return self._has_lost_objects or bool(self._rows.written() - self._rows.untold())

    @property
    def is_left_open(self) -> bool:
        """Whether a transaction that writes is open, other than one of a fixture of a wider scope."""
        return bool(self._find_guilty())

    def mark(self) -> _Mark:
        """Note where a layer begins."""
        if self._has_lost_a_layer:
            self.restore()  # a fixture that is set up again, with another parameter, must not meet what it left
        written = self._rows.written() - {OBJECTS}
        return _Mark(self._rows, self._rows.copy(written & set(self._rows.tables()))) if written else _Mark()

    def push(self, owner: object, since: _Mark) -> None:
        """Take what was written since a mark into the baseline, until its owner is popped."""
        self._kept.update(dict.fromkeys(self._rows.writers(), owner))
        written = self._rows.written()
        if written:
            self._layers.append(self._take(owner, since, written, known=self._counters()))

    def _take(self, owner: object, since: _Mark, written: set[str], *, known: Mapping[str, Counter]) -> _Layer:
        layer = _Layer(owner)
        if OBJECTS in written:
            self._rows.install()
            layer.objects = self._rows.objects()
            written = set(self._rows.tables())
            self._renew_connections()
        layer.copies = self._rows.copy(written & set(self._rows.tables()))
        for name, old in since.copies.items():
            new = layer.copies.get(name)
            layer.copies[name] = self._rows.merge(name, self._copies().get(name), old, new)
            self._rows.discard([new])
        layer.counters = {name: value for name, value in self._rows.counters().items() if known.get(name) != value}
        since.discard()
        self._rows.publish(layer.copies, layer.counters)
        self._rows.forget(written | {OBJECTS})
        self._rows.note(since.copies)
        return layer

    def adopt(self, owner: object) -> None:
        """Take the present state into the baseline, until its owner is popped."""
        self.push(owner, _Mark())

    def pop(self, owner: object) -> None:
        """Let go of what an owner wrote; the layers above it stay."""
        self._kept = {session: kept for session, kept in self._kept.items() if kept is not owner}
        for index in range(len(self._layers) - 1, 0, -1):
            if self._layers[index].owner is owner:
                self._remove(index)

    def undo(self) -> None:
        """Restore, if anybody wrote."""
        __tracebackhide__ = True
        self.restore()

    def restore(self, *, seconds: float = SECONDS_FOR_LEFT_OVERS) -> None:
        """Bring the baseline back.

        Args:
            seconds: How long a transaction that writes may take to end.

        Raises:
            LifecycleError: A connection held a transaction open that writes, and was ended.
        """
        __tracebackhide__ = True
        try:
            self._bring_back(SECONDS_OF_THE_FIRST_TRY)
        except BusyError:
            callers = callers_of(self._connections)  # of those too that are garbage
            let_go_of_garbage()
        else:
            return
        try:
            self._bring_back(seconds)
        except BusyError:
            problem = self._end_the_guilty(seconds, callers)
        else:
            return
        self._bring_back(SECONDS_FOR_LEFT_OVERS)
        raise problem

    def close(self) -> None:
        """Do nothing: the keeper's connection belongs to who made it."""

    def take_schema(self) -> None:
        """Take the present state for the lowest layer: that of a schema which was just built, without the seed."""
        above = [layer for layer in self._layers[1:] if layer.owner is not SEED]
        self._layers = [self._take_lowest(), *above]

    def take_seed(self) -> None:
        """Take what was written since to lie on the schema, and below all other layers."""
        written = self._rows.written()
        if written:
            self._layers.insert(1, self._take(SEED, _Mark(), written, known=self._layers[0].counters))

    def remove_seed(self) -> None:
        """Bring back the state of the schema alone.

        Raises:
            LifecycleError: As :meth:`restore`.
        """
        for owner in [layer.owner for layer in self._layers[:0:-1] if layer.owner is not SEED]:
            self.pop(owner)
        self.restore()  # which may build anew, seed and all
        self.pop(SEED)
        self.restore()

    def digest(self) -> str:
        """Return what the present state is known by: every object, sequence and row."""
        parts = (self._rows.objects(), self._rows.counters(), self._rows.contents())
        return hashlib.sha256(repr([sorted(part.items()) for part in parts]).encode()).hexdigest()

    def _take_lowest(self) -> _Layer:
        self._rows.install()
        names = self._rows.tables()
        layer = _Layer(None, self._rows.copy(names), self._rows.counters(), self._rows.objects())
        self._rows.publish(layer.copies, layer.counters)
        self._rows.forget([*names, OBJECTS])
        return layer

    def _copies(self) -> dict[str, str | None]:
        return {name: copy for layer in self._layers for name, copy in layer.copies.items()}

    def _counters(self) -> dict[str, Counter]:
        return {name: value for layer in self._layers for name, value in layer.counters.items()}

    def _objects(self) -> dict[str, Object]:
        return next(layer.objects for layer in reversed(self._layers) if layer.objects is not None)

    def _remove(self, index: int) -> None:
        """Take a layer out, and make those above it anew without its changes."""
        removed = self._layers.pop(index)
        self._has_lost_a_layer = True
        below = {name: copy for layer in self._layers[:index] for name, copy in layer.copies.items()}
        for name, old in removed.copies.items():
            onto, before = below.get(name), old
            for layer in self._layers[index:]:
                if name in layer.copies:
                    new = layer.copies[name]
                    layer.copies[name] = onto = self._rows.merge(name, onto, before, new)
                    before = new
        self._has_lost_objects = self._has_lost_objects or removed.objects is not None
        copies, counters = self._copies(), self._counters()
        self._rows.publish(
            {name: copies[name] for name in removed.copies if name in copies},
            {name: counters[name] for name in removed.counters if name in counters},
        )
        self._rows.note([*removed.copies, *removed.counters])

    def _bring_back(self, seconds: float) -> None:
        self._rows.wait_at_most(seconds)
        # Where a layer with objects is gone, the copies of the others may not fit the tables that are there.
        if self._has_lost_objects or OBJECTS in self._rows.restore(is_locking=not self._kept):
            self._bring_back_objects(seconds)
            self._renew_connections()
        self._has_lost_a_layer = False

    def _bring_back_objects(self, seconds: float) -> None:
        self._wait_for_writers(seconds)
        wanted, found = self._objects(), self._rows.objects()
        new = [found[key] for key in found if key not in wanted]
        if all(found.get(key) == value for key, value in wanted.items()) and new:
            self._rows.remove(new)
            found = self._rows.objects()
        if found != wanted:
            self._build_anew()
        elif self._has_lost_objects:
            self._rows.install()  # forget the tables of who is gone
        self._has_lost_objects = False
        self._rows.forget([OBJECTS])
        self._rows.note([*self._copies(), *self._counters()])
        self._rows.restore(is_locking=not self._kept)

    def _build_anew(self) -> None:
        if any(layer.objects is not None and layer.owner is not SEED for layer in self._layers[1:]):
            raise lost_layer()
        self._rows.clear()
        lowest = self._layers[0]
        self._rebuild()
        if self._layers[0] is lowest:  # nobody told where the schema ended and the seed began
            self.take_schema()
        else:
            self.take_seed()
        self._rows.publish(self._copies(), self._counters())

    def _renew_connections(self) -> None:
        """Have pools open new connections: what a driver remembers of statements and types is of the old objects."""
        for record in list(self._connections):
            record.invalidate(soft=True)

    def _wait_for_writers(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._find_guilty():
            if time.monotonic() > deadline:
                raise BusyError
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _find_guilty(self) -> dict[int, str]:
        return {session: text for session, text in self._rows.writers().items() if session not in self._kept}

    def _end_the_guilty(self, seconds: float, callers: Mapping[int, Caller | None]) -> LifecycleError:
        guilty = self._find_guilty() or self._rows.writers() or self._rows.sessions()
        problem = left_over(seconds, describe_writers(guilty, callers))
        for session in guilty:
            self._rows.end(session)
        self._renew_connections()
        return problem
