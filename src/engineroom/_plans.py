"""What an engine will be made of: the database of its bind, and the driver that serves it.

Puts together what others decided: the environment, the bind's URL, the private database in memory, the driver. Makes no
engine and opens no connection.
"""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.ext.asyncio import create_async_engine

from engineroom import _binds, _identity, _lifecycle, _memory, _project, _run_files
from engineroom._address import address_of, fit_name, mask_url
from engineroom._drivers import DriverChoice, async_twin, sync_twin
from engineroom._drivers.options import DRIVER_OPTIONS
from engineroom._environment import Environment
from engineroom._layers import read_layers
from engineroom._memory import WORKER_VARIABLE
from engineroom._schema import configuration_of
from engineroom._schema.place import Place
from engineroom._verdict import SERVER_BACKENDS, Facts, judge
from engineroom.errors import MissingDependencyError, UnsafeTestDatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import URL

    from engineroom._binds import Resolution
    from engineroom._layers import Layers

__all__ = ["ASYNC", "SYNC", "History", "Kind", "Plan", "choose_kind", "missing_driver", "plan_engine"]

ASYNC_DRIVERS = frozenset({"aiosqlite", "asyncpg", "psycopg_async", "aiomysql", "asyncmy"})
FOR_THE_WHOLE_BIND = frozenset({"test-variable", "env-test-file"})
"""The rules by which one test database stands for all that the application asks of a bind."""


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
class Settings:
    """The settings that a bind is found in: those of the environment, and under test those outside of it."""

    layers: Layers
    outside: Layers


@dataclass(slots=True, repr=False)
class History:
    """What was asked of a bind before. It has no repr of its parts, as they hold secrets.

    Attributes:
        argument: The URL that the first engine was asked for, if one was passed: a bare call means the same.
        first: Which one of the databases the first engine reaches; None as long as there is no engine.
        explicit: The first URL that was passed at all.
        databases: The different databases that were asked for; None stands for whatever the first URL will be.
        settings: What was read for the first engine: all engines of the bind reach the same database.
    """

    argument: URL | None = None
    first: int | None = None
    explicit: URL | None = None
    databases: list[URL | None] = field(default_factory=list)
    settings: Settings | None = None

    def record(self, plan: Plan, argument: URL | None, *, is_engine: bool) -> None:
        """Write down what was made, or handed out, for an argument."""
        if is_engine and self.first is None:
            self.first, self.argument = plan.number, argument
        self.explicit = self.explicit or argument
        self.settings = plan.settings
        if plan.number == len(self.databases):
            self.databases.append(plan.asked)
        self.databases[plan.number] = self.databases[plan.number] or plan.asked

    def find_number(self, asked: URL | None) -> int:
        """Tell which one of the bind's different databases it is, from 0; the next one if there was none such."""
        if asked is None:
            return 0
        same = (number for number, url in enumerate(self.databases) if not url or _binds.is_same_database(url, asked))
        return next(same, len(self.databases))


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What an engine will be made of. It has no repr of its parts, as they hold secrets.

    Attributes:
        resolution: How the bind's database was found.
        url: The URL, with the driver exchanged.
        connect_args: What the driver takes besides.
        in_memory: Whether it is a database in memory.
        asked: The application's URL, by which the number is found; None where it has none.
        number: Which one of the different databases of the bind this is, from 0.
        settings: What the URL was found in.
    """

    resolution: Resolution
    url: URL
    connect_args: dict[str, Any]
    in_memory: bool
    asked: URL | None
    number: int
    settings: Settings

    @property
    def is_exchanged(self) -> bool:
        """Whether the application's options were written for another database."""
        return self.resolution.rule not in {"application", "already-disposable"}

    @property
    def is_other_backend(self) -> bool:
        """Whether they were written for another database system."""
        asked = self.resolution.application_url
        return asked is not None and _family(asked) != _family(self.url)


def plan_engine(kind: Kind, argument: URL | None, bind: str, options: Mapping[str, Any], history: History) -> Plan:
    """Find the database of a bind and the driver for it.

    Args:
        kind: Sync or async.
        argument: The URL that the application passed, if it did.
        bind: The name of the bind.
        options: The application's options; ``connect_args`` count for which database is reached.
        history: What was asked of the bind before.

    Raises:
        EngineroomError: As the factory.
    """
    argument = history.argument if argument is None else argument
    settings = history.settings or _read_settings()
    resolution = _resolve(kind, argument, bind, options.get("connect_args"), settings, history.explicit)
    asked = argument or _read_variable(bind, settings)
    number = 0 if resolution.rule in FOR_THE_WHOLE_BIND else history.find_number(asked)
    connect_args = resolution.connect_args
    choice = None if resolution.url is None else _choose_driver(kind, resolution.url)
    in_memory = choice is None or address_of(choice.url, choice.merge(connect_args)).in_memory
    if choice is None or in_memory:
        # One database for all engines of the bind, also outside of a test run: see the module _memory.
        choice = _choose_driver(kind, _memory.memory_url(bind, number))
    connect_args = choice.merge(connect_args)
    if not in_memory and choice.url.get_backend_name() in SERVER_BACKENDS:
        place = _of_this_run(_of_this_worker(Place(choice.url, connect_args)))
        choice, connect_args = DriverChoice(place.url), place.connect_args
    if not in_memory and _schema_is_built(bind) and choice.url.get_backend_name() == "sqlite":
        choice = replace(choice, url=_file_of_this_worker(choice.url))
    _refuse_without_plugin(choice.url, {} if in_memory else connect_args)
    return Plan(resolution, _hide_password(choice.url), connect_args, in_memory, asked, number, settings)


def _of_this_worker(place: Place) -> Place:
    """Return the database of this xdist worker: its part goes inside of a name that would be no test name else."""
    project = _project.get_project()
    worker = re.sub(r"\W", "_", os.environ.get(WORKER_VARIABLE, ""))
    if not worker or _lifecycle.check_environment(project).environment is not Environment.TEST:
        return place
    head, test, tail = place.name.rpartition("test")
    names = (f"{place.name}_{worker}", f"{head.removesuffix('_')}_{worker}_{test}{tail}")
    for name in (fit_name(each, place.backend) for each in names):
        if judge(Facts(place.backend, name), project.test_names).disposable:
            return place.named(name)
    return place


def _of_this_run(place: Place) -> Place:
    """Return the database that the run got which started this process; another run may hold the one of that name."""
    name = _run_files.find_database(repr(place.key)) if _lifecycle.is_child_process() else None
    return place if name is None else place.named(name)


def _schema_is_built(bind: str) -> bool:
    configuration = configuration_of(_project.get_project(), bind)
    return _lifecycle.is_test_process() and bool(configuration.schema or configuration.seed)


def _file_of_this_worker(url: URL) -> URL:
    """Return the URL of this xdist worker's file: its part goes where the name stays one of a test database."""
    worker = re.sub(r"\W", "_", os.environ.get(WORKER_VARIABLE, ""))
    if not worker or not url.database or url.database.startswith("file:"):
        return url
    path = Path(url.database)
    names = (f"{path.stem}_{worker}{path.suffix}", f"{worker}_{path.name}")
    patterns = _project.get_project().test_names
    fitting = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    return url.set(database=str(path.with_name([*fitting, names[0]][0])))


def choose_kind(bind: str, history: History) -> Kind:
    """Tell which kind of driver the application uses, where its setting names one."""
    settings = history.settings or _read_settings()
    resolution = _resolve(SYNC, history.argument, bind, None, settings, history.explicit)
    asked = resolution.url or resolution.application_url
    return ASYNC if asked is not None and asked.drivername.partition("+")[2] in ASYNC_DRIVERS else SYNC


def _read_settings() -> Settings:
    project = _project.get_project()
    environment = _lifecycle.check_environment(project).environment
    layers = read_layers(project, environment)
    is_test = environment is Environment.TEST
    return Settings(layers, read_layers(project, Environment.DEVELOPMENT) if is_test else layers)


def _read_variable(bind: str, settings: Settings) -> URL | None:
    variable = _binds.variable_of(bind)
    value = settings.layers.get(variable)
    return None if value is None or not value.text.strip() else _binds.parse_url(value.text, value.origin)


def _resolve(  # noqa: PLR0913, PLR0917  # what _binds.resolve() asks for
    kind: Kind,
    argument: URL | None,
    bind: str,
    connect_args: Mapping[str, Any] | None,
    settings: Settings,
    earlier: URL | None,
) -> Resolution:
    project = _project.get_project()
    return _binds.resolve(
        bind,
        argument,
        environment=_lifecycle.check_environment(project).environment,
        project=project,
        layers=settings.layers,
        outside=settings.outside,
        connect_args=connect_args,
        earlier=earlier,
        caller=kind.caller,
    )


def _choose_driver(kind: Kind, url: URL) -> DriverChoice:
    choice = kind.exchange(url, is_installed=_is_installed)
    try:
        choice.url.get_dialect()
    except NoSuchModuleError:
        pass
    except ImportError as error:
        raise missing_driver(choice.url, error) from None
    else:
        return choice
    raise missing_driver(choice.url, f"no installed package provides the dialect {choice.url.drivername}")


def missing_driver(url: URL, reason: ImportError | str) -> MissingDependencyError:
    """Build the error for a driver or a dialect that is not there."""
    if isinstance(reason, ImportError):
        reason = f"{reason.name or 'its module'} cannot be imported"
    return MissingDependencyError(
        f"There is no driver for {mask_url(url)}.",
        why=f"{reason}.",
        fix=["install the package that provides it", "check the spelling: postgresql, mysql, mariadb or sqlite"],
    )


def _hide_password(url: URL) -> URL:
    """Move a password from the query to the place where SQLAlchemy masks it; to the drivers it is the same."""
    password = url.query.get("password")
    if not isinstance(password, str) or url.get_driver_name().removesuffix("_async") not in DRIVER_OPTIONS:
        return url
    return url.difference_update_query(["password"]).set(password=password)


def _refuse_without_plugin(url: URL, connect_args: Mapping[str, Any]) -> None:
    """Hand out nothing but disposable databases while pytest runs without the plugin that would select them."""
    if _lifecycle.is_test_process() or not _lifecycle.is_under_pytest():
        return
    project = _project.get_project()
    judged = judge(_identity.facts_of_url(url, connect_args, os.environ), project.test_names)
    if judged.disposable:
        return
    choice = _lifecycle.choose_environment(project)
    raise UnsafeTestDatabaseError(
        f"Refused to hand out an engine of {mask_url(url)} while pytest runs.",
        why=(
            f"the pytest plugin of engineroom is switched off, {project.environment_variable} is "
            f'"{choice.environment}" ({choice.origin}), and {judged.reason}.'
        ),
        fix=[
            "let pytest load the plugin: without -p no:engineroom, or with -p engineroom where autoloading is off",
            f"select the test database: {project.environment_variable}=test pytest",
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
