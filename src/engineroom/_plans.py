"""What an engine will be made of: the database of its bind, and the driver that serves it.

Puts together what others decided: the environment, the bind's URL, the private database in memory, the driver. Makes no
engine and opens no connection.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from engineroom import _binds, _lifecycle, _memory, _project
from engineroom._address import address_of, mask_url
from engineroom._drivers import async_twin, sync_twin
from engineroom._environment import Environment
from engineroom._guard import verdict
from engineroom._layers import read_layers
from engineroom.errors import UnsafeTestDatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import URL

    from engineroom._binds import Resolution
    from engineroom._drivers import DriverChoice

__all__ = ["ASYNC", "SYNC", "Kind", "Plan", "choose_kind", "plan_engine"]

ASYNC_DRIVERS = frozenset({"aiosqlite", "asyncpg", "psycopg_async", "aiomysql", "asyncmy"})


@dataclass(frozen=True, slots=True)
class Kind:
    """How sync and async engines differ."""

    caller: str
    create: Callable[..., Any]
    exchange: Callable[..., DriverChoice]
    is_async: bool


SYNC = Kind("get_engine", create_engine, sync_twin, is_async=False)
ASYNC = Kind("get_async_engine", create_async_engine, async_twin, is_async=True)


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What an engine will be made of. It has no repr of its parts, as they hold secrets.

    Attributes:
        resolution: How the bind's database was found.
        url: The URL, with the driver exchanged.
        connect_args: What the driver takes besides.
        in_memory: Whether it is a database in memory.
        number: Which one of the different databases this is that the application passed for the bind, from 0.
    """

    resolution: Resolution
    url: URL
    connect_args: dict[str, Any]
    in_memory: bool
    number: int

    @property
    def is_exchanged(self) -> bool:
        """Whether the application's options were written for another database."""
        return self.resolution.rule not in {"application", "already-disposable"}

    @property
    def is_other_backend(self) -> bool:
        """Whether they were written for another database system."""
        asked = self.resolution.application_url
        return asked is not None and _family(asked) != _family(self.url)


def plan_engine(kind: Kind, argument: URL | None, bind: str, options: dict[str, Any], *, earlier: Sequence[URL]) -> Plan:
    """Find the database of a bind and the driver for it.

    Args:
        kind: Sync or async.
        argument: The URL that the application passed, if it did.
        bind: The name of the bind.
        options: The application's options; ``connect_args`` count for which database is reached.
        earlier: The URLs of different databases that the application passed for this bind before, first one first.

    Raises:
        EngineroomError: As the factory.
    """
    first = earlier[0] if earlier else None
    resolution = _resolve(kind, argument, bind, options.get("connect_args"), first)
    number = _find_number(argument or first, earlier)
    url, connect_args = resolution.url, resolution.connect_args
    in_memory = url is None or address_of(url, connect_args).in_memory
    if url is None or in_memory:
        # One database for all engines of the bind, also outside of a test run: see the module _memory.
        url, connect_args = _memory.memory_url(f"{bind}_{number + 1}" if number else bind), {}
    choice = kind.exchange(url, is_installed=_is_installed)
    _refuse_without_plugin(choice.url)
    return Plan(resolution, choice.url, choice.merge(connect_args), in_memory, number)


def _resolve(
    kind: Kind, argument: URL | None, bind: str, connect_args: Mapping[str, Any] | None, earlier: URL | None
) -> Resolution:
    project = _project.get_project()
    environment = _lifecycle.check_environment(project).environment
    return _binds.resolve(
        bind,
        earlier if argument is None else argument,
        environment=environment,
        project=project,
        layers=read_layers(project, environment),
        outside=read_layers(project, Environment.DEVELOPMENT) if environment is Environment.TEST else None,
        connect_args=connect_args,
        earlier=earlier,
        caller=kind.caller,
    )


def choose_kind(bind: str, earlier: Sequence[URL]) -> Kind:
    """Tell which kind of driver the application uses, where its setting names one."""
    resolution = _resolve(SYNC, None, bind, None, earlier[0] if earlier else None)
    asked = resolution.url or resolution.application_url
    return ASYNC if asked is not None and asked.drivername.partition("+")[2] in ASYNC_DRIVERS else SYNC


def _find_number(argument: URL | None, earlier: Sequence[URL]) -> int:
    same = (number for number, url in enumerate(earlier) if argument and _binds.is_same_database(url, argument))
    return next(same, len(earlier) if argument else 0)


def _refuse_without_plugin(url: URL) -> None:
    """Hand out nothing but disposable databases while pytest runs without the plugin that would select them."""
    if _lifecycle.is_test_process() or not _lifecycle.is_under_pytest():
        return
    judged = verdict(url)
    if not judged.disposable:
        choice = _lifecycle.choose_environment(_project.get_project())
        raise UnsafeTestDatabaseError(
            f"Refused to hand out an engine of {mask_url(url)} while pytest runs.",
            why=(
                f"the pytest plugin of engineroom is switched off, {_project.get_project().environment_variable} is "
                f'"{choice.environment}" ({choice.origin}), and {judged.reason}.'
            ),
            fix=[
                "let pytest load the plugin: without -p no:engineroom, or with -p engineroom where autoloading is off",
                f"select the test database: {_project.get_project().environment_variable}=test pytest",
            ],
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _family(url: URL) -> str:
    backend = url.get_backend_name()
    return {"postgres": "postgresql", "mariadb": "mysql"}.get(backend, backend)
