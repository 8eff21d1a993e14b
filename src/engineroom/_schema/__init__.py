"""Builds the schema of a test database, and fills in its seed, at the first connection of the run.

Answers: has the database of this bind been built yet, and who has to wait for it? What ``schema`` and ``seed`` refer to
and how they are called stands in :mod:`engineroom._schema.sources`. It builds on databases that were found to be
disposable by others, and does not know what happens to them between tests.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from sqlalchemy import event

from engineroom._binds import DEFAULT_BIND, test_variable_of
from engineroom._project.bind import BindConfiguration
from engineroom._schema.images import build_schema, ignore_kept_images
from engineroom._schema.place import NAME_OPTIONS
from engineroom._schema.sources import Source
from engineroom._schema.threads import ThreadStarts
from engineroom.errors import EngineroomError, InvalidSettingError, LifecycleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom._project import Project
    from engineroom._schema.place import Place

__all__ = [
    "Build",
    "KeptSchema",
    "build_before_first_connection",
    "configuration_of",
    "forget_listener",
    "ignore_kept_images",
    "known_builds",
    "prepare_with",
    "reset",
    "when_built",
]

SECONDS_TO_WAIT = 30.0


class KeptSchema(Protocol):
    """Knows what a database holds since an earlier run."""

    def take(self, schema: Source | None) -> bool:
        """Tell whether the database holds this schema and nothing else; where it does not, it is emptied.

        Raises:
            Exception: What the application's module raised.
        """

    def note(self) -> None:
        """Take down what the database holds: the schema was just built, and the seed comes next."""


class Build:
    """The one build of a bind's test database in this process.

    Args:
        bind: The name of the bind.
        place: Where the database stands.
        configuration: What it is built from.

    Attributes:
        failure: What the build failed with.
        is_unreachable: Whether its server did not answer when it was asked last.
        connections: The connections that engines of this process have opened to the database.
        engines: Those engines.
        tell_checkout: Called with each connection that leaves its pool.
        kept: Knows whether the database holds the schema since an earlier run.
    """

    def __init__(self, bind: str, place: Place, configuration: BindConfiguration) -> None:
        """Remember what is to be built; nothing is imported yet."""
        self.bind: str = bind
        self.place: Place = place
        self.configuration: BindConfiguration = configuration
        self.failure: BaseException | None = None
        self.is_unreachable: bool = False
        self.connections: WeakSet[ConnectionPoolEntry] = WeakSet()
        self.engines: WeakSet[Engine] = WeakSet()
        self.tell_checkout: Callable[[ConnectionPoolEntry], object] | None = None
        self.kept: KeptSchema | None = None
        self._wanted, self._is_renamed = place.name, False
        self._builders: WeakSet[threading.Thread] = WeakSet()
        self._is_done = threading.Event()
        self._mutex = threading.Lock()

    @property
    def is_configured(self) -> bool:
        """Whether there is anything that the database is built from."""
        return bool(self.configuration.schema or self.configuration.seed)

    @property
    def is_done(self) -> bool:
        """Whether the database is built, or could not be."""
        return self._is_done.is_set()

    def ensure(self) -> None:
        """Build the database, if nobody did; who connects while another thread builds waits for it.

        Raises:
            InvalidSettingError: The schema or the seed cannot be used, or the build failed before.
            LifecycleError: Another thread builds, and does not get on.
            Exception: What the schema or the seed raised, to the one who asked first.
        """
        __tracebackhide__ = True
        if self.is_done and self.failure is None:
            return
        if not self.is_done and threading.current_thread() in self._builders:
            return  # the schema connects by the application's own engines
        if not self.is_done and self._mutex.acquire(blocking=False):
            try:
                if not self.is_done:
                    self._build()
            finally:
                self._mutex.release()
        if not self._is_done.wait(SECONDS_TO_WAIT):
            raise self._tell_endless()
        if self.failure is not None:
            raise self._tell_failure() from self.failure

    def share(self, bind: str, configuration: BindConfiguration) -> None:
        """Take what another bind of the same database is built from, if this one has nothing.

        Raises:
            InvalidSettingError: Both have something, and not the same.
        """
        if configuration == self.configuration or not (configuration.schema or configuration.seed):
            return
        if self.is_configured:
            raise self._tell_shared(bind)
        self.bind = bind
        self.configuration = configuration
        self._is_done.clear()  # who connected so far met what was there

    def rename(self, name: str) -> None:
        """Take another database of the same server, since a run that is going on has this one."""
        if name != self.place.name:
            self.place, self._is_renamed = self.place.named(name), name != self._wanted
            for engine in self.engines:
                self.adjust(engine)
            for record in list(self.connections):
                record.invalidate(soft=True)  # of a bind without a schema

    def adjust(self, engine: Engine) -> None:
        """Have an engine show which database it reaches."""
        if self._is_renamed and engine.url.database == self._wanted:
            engine.url = engine.url.set(database=self.place.name)

    def name_in(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return what a driver is told, with the name of the database that is really this run's."""
        if not self._is_renamed:
            return options
        return options | {key: self.place.name for key in NAME_OPTIONS if options.get(key) == self._wanted}

    def admit_child(self, child: threading.Thread) -> None:
        """Let a thread connect while the database is built, if one that builds it starts that thread."""
        if threading.current_thread() in self._builders:
            self._builders.add(child)

    def _build(self) -> None:
        __tracebackhide__ = True
        try:
            with self._building():
                if self._prepare():
                    self._apply_sources()
                for notify in tuple(_listeners):
                    notify(self)
        except BaseException as error:
            if not self.is_unreachable:
                self.failure = error
                self._is_done.set()
            raise
        self._is_done.set()

    def _prepare(self) -> bool:
        """Have the database made ready; what a server that does not answer says is no failure of the build."""
        __tracebackhide__ = True
        self.is_unreachable = False
        try:
            for prepare in tuple(_preparers):
                if not prepare(self):
                    return False
        except EngineroomError:
            raise
        except Exception:
            self.is_unreachable = True
            raise
        return True

    def rebuild(self) -> None:
        """Apply the schema and the seed once more, to a database that was emptied; connections pass meanwhile.

        Raises:
            Exception: What the schema or the seed raised.
        """
        __tracebackhide__ = True
        with self._building():
            self._apply_sources(is_empty=True)

    def _apply_sources(self, *, is_empty: bool = False) -> None:
        __tracebackhide__ = True
        schema, seed = self._source("schema", self.configuration.schema), self._source("seed", self.configuration.seed)
        if schema is not None and self.place.backend == "sqlite":
            build_schema(schema)
        elif self.kept is None or is_empty or not self.kept.take(schema):
            if schema is not None:
                schema.apply()
            if self.kept is not None:
                self.kept.note()
        if seed is not None:
            seed.apply()

    def _source(self, role: str, reference: str | None) -> Source | None:
        return Source(self.bind, self.place, role, reference) if reference else None

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Let the connections of this thread pass, and those of threads that it starts."""
        __tracebackhide__ = True
        self._builders.add(threading.current_thread())
        _starts.watch(self)
        try:
            yield
        finally:
            _starts.release(self)
            self._builders.clear()

    def _tell_endless(self) -> LifecycleError:
        return LifecycleError(
            f"The test database of bind {self.bind} was not built within {SECONDS_TO_WAIT:g} seconds.",
            why="another thread builds it and does not get on, perhaps since it waits for this one: a thread that was "
            "there before the build may not connect until it is finished.",
            fix=["let what schema and seed refer to connect in their own thread, or in threads that they start"],
        )

    def _tell_shared(self, bind: str) -> InvalidSettingError:
        return InvalidSettingError(
            f"The binds {self.bind} and {bind} have one test database, and each has a schema or a seed of its own.",
            why="a test database is built from one schema and one seed.",
            fix=[
                f"give bind {bind} a test database of its own: {test_variable_of(bind)}=...",
                "write schema and seed of [tool.engineroom] for one of them only, or the same for both",
            ],
        )

    def _tell_failure(self) -> InvalidSettingError:
        what = self.configuration.schema or self.configuration.seed
        return InvalidSettingError(
            f"The test database of bind {self.bind} could not be built from {what}.",
            why=f"that failed at the first connection of this run with {type(self.failure).__name__}.",
            fix=["mend what that first error says"],
        )


_starts = ThreadStarts()
_builds: dict[tuple[object, ...], Build] = {}  # by the place of the database
_preparers: list[Callable[[Build], bool]] = []
_listeners: list[Callable[[Build], None]] = []


def configuration_of(project: Project, bind: str) -> BindConfiguration:
    """Return what a bind's test database is built from."""
    if bind == DEFAULT_BIND:
        return BindConfiguration(project.schema, project.seed)
    return project.binds.get(bind, BindConfiguration())


def known_builds() -> tuple[Build, ...]:
    """Return the builds of all databases that have a schema, done or not."""
    return tuple(_builds.values())


def prepare_with(prepare: Callable[[Build], bool]) -> None:
    """Have something called for each database before it is built; it says whether there is anything left to build."""
    _preparers.append(prepare)


def when_built(notify: Callable[[Build], None]) -> None:
    """Have something called for each database when it is built, before anybody else may connect to it."""
    _listeners.append(notify)
    for build in known_builds():
        if build.is_done and build.failure is None:
            notify(build)


def forget_listener(notify: Callable[[Build], Any]) -> None:
    """Call this no more."""
    for kept in (_listeners, _preparers):
        if notify in kept:
            kept.remove(notify)


def reset() -> None:
    """Forget all builds and listeners; for tests."""
    _builds.clear()
    _preparers.clear()
    _listeners.clear()


def build_before_first_connection(engine: Engine, bind: str, place: Place, configuration: BindConfiguration) -> Build:
    """Have the database built before an engine's first connection.

    Args:
        engine: The engine; its dialect and its pool are changed.
        bind: The bind that it belongs to.
        place: Where the database stands.
        configuration: What it is built from.

    Returns:
        The build, shared by all engines that reach the database.

    Raises:
        InvalidSettingError: Another bind has the same database, and is built from something else.
    """
    build = _builds.setdefault(place.key, Build(bind, place, configuration))
    build.share(bind, configuration)
    build.engines.add(engine)
    build.adjust(engine)
    event.listen(engine, "connect", lambda _, record: build.connections.add(record))
    event.listen(engine, "checkout", lambda _, record, __: build.tell_checkout and build.tell_checkout(record))
    _connect_when_built(engine.dialect, build)
    if not build.is_done:
        # Earlier than the dialect: the schema may use this very engine, while a pool of one connection counts the one
        # that waits here, and a pool for each event loop would let the builder's loop wait for its turn.
        _connect_when_built(engine.pool, build)
    return build


def _connect_when_built(place: Any, build: Build) -> None:
    connect = place.connect

    @wraps(connect)
    def connect_when_built(*arguments: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        build.ensure()
        return connect(*arguments, **build.name_in(options))

    place.connect = connect_when_built
