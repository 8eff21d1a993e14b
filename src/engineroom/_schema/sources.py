"""What ``schema`` and ``seed`` in ``[tool.engineroom]`` refer to, and how it is made to build a database.

Answers: what is this reference, and what does it take? A declarative base, metadata, or a callable, sync or async, with
or without a session. It does not know when this happens, nor who has to wait for it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, MetaData
from sqlalchemy import inspect as inspect_database
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from engineroom._schema.migrations import upgrade
from engineroom._schema.place import in_own_thread
from engineroom.errors import EngineroomError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from engineroom._schema.place import Place

__all__ = ["ALEMBIC", "Source"]

ALEMBIC = "alembic"

NAMED = inspect.Parameter.KEYWORD_ONLY
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
EXAMPLES = {"schema": ("app.models:Base", "app.db:init_db"), "seed": ("app.seed:fill",)}


@dataclass(frozen=True, slots=True)
class Source:
    """One thing that a test database is built from.

    Attributes:
        bind: The name of the bind.
        place: Where its test database stands.
        role: ``schema`` or ``seed``.
        reference: The value of that key, such as ``app.models:Base``.
    """

    bind: str
    place: Place
    role: str
    reference: str

    def apply(self) -> None:
        """Build with it.

        Raises:
            InvalidSettingError: The reference cannot be found, or is nothing that builds.
            Exception: What the application's code raised, with a note that tells why it was called.
        """
        __tracebackhide__ = True
        with self._named():
            if self.is_alembic:
                upgrade(self.place)
            else:
                self._apply(self._load())

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Tell with an error of the application's code why it was called."""
        __tracebackhide__ = True
        try:
            yield
        except EngineroomError:
            raise
        except BaseException as error:
            error.add_note(
                f"engineroom: this is the {self.role} of bind {self.bind}, {self.role} = "
                f'"{self.reference}" of [tool.engineroom] in pyproject.toml.'
            )
            raise

    @property
    def is_alembic(self) -> bool:
        """Whether Alembic builds it."""
        return self.role == "schema" and self.reference == ALEMBIC

    def metadata(self) -> MetaData | None:
        """Return the metadata that this is, or None where it is something else; it imports the application's module.

        Raises:
            InvalidSettingError: The reference cannot be found.
            Exception: What the application's module raised, with a note that tells why it was imported.
        """
        __tracebackhide__ = True
        if self.role != "schema" or self.is_alembic:
            return None
        with self._named():
            target = self._load()
        metadata = target if isinstance(target, MetaData) else getattr(target, "metadata", None)
        return metadata if isinstance(metadata, MetaData) else None

    def _apply(self, target: Any) -> None:
        __tracebackhide__ = True
        metadata = target if isinstance(target, MetaData) else getattr(target, "metadata", None)
        if self.role == "schema" and isinstance(metadata, MetaData):
            self._create_all(metadata)
        elif callable(target):
            self._call(target)
        else:
            raise self._refuse("builds nothing", why="is neither a declarative base, nor MetaData, nor a callable")

    def _load(self) -> Any:
        """Return the object that ``module:name`` refers to; an error inside of the module is the module's own."""
        __tracebackhide__ = True
        module, _, path = self.reference.partition(":")
        try:
            target: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise self._refuse("cannot be found", why=f"names a module that is not there: {error}") from None
        for name in path.split("."):
            try:
                target = getattr(target, name)
            except AttributeError as error:
                raise self._refuse("cannot be found", why=f"names what is not there: {error}") from None
        return target

    def _create_all(self, metadata: MetaData) -> None:
        if not metadata.tables:
            raise self._refuse(
                "has no tables",
                why="names a module that did not import the models when it was built; name one that does",
            )

        def create(connection: Connection) -> None:
            metadata.create_all(connection)
            connection.commit()

        self.place.run(create)

    def _call(self, function: Callable[..., Any]) -> None:
        __tracebackhide__ = True
        required = self._required_of(function)
        if _is_async(function):
            in_own_thread(lambda: asyncio.run(self._call_async(function, required)))
        elif _is_in_running_loop():  # it may itself say asyncio.run()
            in_own_thread(lambda: self._call_sync(function, required))
        else:
            self._call_sync(function, required)
        if self.role == "schema" and not self._has_tables():
            raise self._refuse(
                "built no table in the test database",
                why="was called; it may use an engine that engineroom did not make",
            )

    def _required_of(self, function: Callable[..., Any]) -> Sequence[inspect.Parameter]:
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # some callables that are written in C do not tell
            return ()
        required = [each for each in parameters if each.default is each.empty and each.kind not in VARIADIC]
        if len(required) > 1:
            names = ", ".join(each.name for each in required)
            raise self._refuse("cannot be called", why=f"requires {len(required)} arguments ({names}), one is the most")
        return required

    def _call_sync(self, function: Callable[..., Any], required: Sequence[inspect.Parameter]) -> None:
        __tracebackhide__ = True
        if not required:
            self._finish(function())
            return

        def call(connection: Connection) -> None:
            __tracebackhide__ = True
            with Session(connection) as session:
                self._finish(_hand_over(function, required[0], session))
                session.commit()

        self.place.run(call)

    async def _call_async(self, function: Callable[..., Any], required: Sequence[inspect.Parameter]) -> None:
        __tracebackhide__ = True
        if not required:
            await function()
            return
        async with AsyncSession(self.place.async_engine()) as session:
            await _hand_over(function, required[0], session)
            await session.commit()

    def _finish(self, result: Any) -> None:
        """Look at what a function returned that is not ``async def``: nothing may be left undone silently."""
        __tracebackhide__ = True
        if inspect.iscoroutine(result):
            result.close()
        if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise self._refuse(
                "builds nothing",
                why=f"returned {type(result).__name__} when it was called, and nobody runs that; a plain function and "
                "an async def are called",
            )

    def _has_tables(self) -> bool:
        return self.place.run(_has_relations)

    def _refuse(self, what: str, *, why: str) -> InvalidSettingError:
        return InvalidSettingError(
            f'The {self.role} "{self.reference}" of bind {self.bind} {what}.',
            why=f'{self.role} = "{self.reference}" of [tool.engineroom] in pyproject.toml {why}.',
            fix=[f'name what builds it, for example: {self.role} = "{example}"' for example in EXAMPLES[self.role]],
        )


def _hand_over(function: Callable[..., Any], parameter: inspect.Parameter, session: object) -> Any:
    return function(**{parameter.name: session}) if parameter.kind is NAMED else function(session)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _is_in_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _has_relations(connection: Connection) -> bool:
    found = inspect_database(connection)
    schemas = [name for name in found.get_schema_names() if name != "information_schema"]
    if connection.dialect.name == "postgresql":
        return any(found.get_table_names(schema) or found.get_view_names(schema) for schema in schemas)
    return bool(found.get_table_names() or found.get_view_names())
