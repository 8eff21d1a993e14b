"""The rules by which a bind gets its database, in their order."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL

from engineroom._address import address_of, fit_name, is_local, test_twin
from engineroom._binds import refusals
from engineroom._binds.database_url import variable_of
from engineroom._binds.refusals import NAME_OPTIONS
from engineroom._binds.request import Request, Resolution, Source
from engineroom._environment import Environment, Origin, OriginKind
from engineroom._verdict import SERVER_BACKENDS
from engineroom.errors import EngineroomError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engineroom._layers import Layers
    from engineroom._project import Project
    from engineroom._verdict import Verdict

__all__ = ["is_same_database", "resolve"]

PLACE_OPTIONS = frozenset(
    {
        *NAME_OPTIONS,
        *("dsn", "conninfo", "service", "host", "hostaddr", "port", "unix_socket", "unix_sock"),
        *("user", "password", "passwd", "passfile"),
    }
)
"""The options of drivers that say where a database is and who comes: a test database has its own."""

DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306}
FAMILIES = {"postgres": "postgresql", "mariadb": "mysql"}
"""Other names under which SQLAlchemy, or its users, know a database system."""


def resolve(  # noqa: PLR0913  # each of these decides
    bind: str,
    argument: URL | None,
    *,
    environment: Environment,
    project: Project,
    layers: Layers,
    environ: Mapping[str, str] = os.environ,
    connect_args: Mapping[str, Any] | None = None,
    earlier: URL | None = None,
    outside: Layers | None = None,
    caller: str = "get_engine",
) -> Resolution:
    """Return the database of a bind.

    Args:
        bind: The name of the bind.
        argument: The URL that the application passed, if it did.
        environment: The environment of this process.
        project: The project's configuration.
        layers: The settings of that environment.
        environ: The process environment, for what a driver takes from it.
        connect_args: The engine's ``connect_args``; they win over the URL.
        earlier: Another URL that the application passed for this bind before.
        outside: The settings outside of a test run, for ``application_url``; by default the same ``layers``.
        caller: The function that the argument was passed to, for messages.

    Raises:
        InvalidSettingError: A URL is malformed, or the name of the bind, or one test variable stands for two databases.
        MissingSettingError: There is no URL, outside of development.
        UnsafeTestDatabaseError: Under test, there is no disposable database for the bind.
    """
    try:
        variable = variable_of(bind)
        source = None if argument is None else Source(argument, Origin(OriginKind.ARGUMENT, caller), variable)
        request = Request(
            bind, source, earlier, connect_args or {}, environment, project, layers, outside or layers, environ
        )
        return _resolve_under_test(request) if environment is Environment.TEST else _resolve_outside(request)
    except EngineroomError as error:
        refusal = error.without_traceback()
    # Some reports show the locals of each frame; none that the error passes from here on may hold a URL or a password.
    del argument, environ, connect_args, earlier, layers, outside
    raise refusal


def is_same_database(first: URL, second: URL) -> bool:
    """Tell whether two URLs name one database, whatever the driver, the user and the options.

    Example:
        >>> from sqlalchemy import make_url
        >>> is_same_database(make_url("postgresql+psycopg2://db/shop"), make_url("postgresql+asyncpg://db:5432/shop"))
        True
        >>> is_same_database(make_url("sqlite:///shop.db"), make_url("sqlite:///stock.db"))
        False
    """
    return first == second or _place(first) == _place(second)


def _place(url: URL) -> tuple[object, ...]:
    address = address_of(url)
    if address.in_memory:
        return ("memory",)
    if address.switched or address.database is None:
        return (url,)  # it does not tell which database it is, so it is like itself only
    if address.backend == "sqlite":
        return ("sqlite", os.path.realpath(address.database))
    family = FAMILIES.get(address.backend, address.backend)
    return (family, address.hosts, url.port or DEFAULT_PORTS.get(family), address.database)


def _resolve_outside(request: Request) -> Resolution:
    source = request.find_application()
    if source is None and request.environment is Environment.DEVELOPMENT:
        source = request.development_default()
    if source is None:
        raise refusals.missing(request)
    return Resolution(source.url, dict(request.connect_args), source.origin, "application", source.url, source.origin)


def _resolve_under_test(request: Request) -> Resolution:
    """Go through the rules; the first that applies decides, and what it gives must be disposable."""
    for find, rule in ((request.find_test_variable, "test-variable"), (request.find_test_file, "env-test-file")):
        if configured := find():
            _require_one_database(request, configured)
            resolution, verdict = _settle(request, configured, rule, _fitting_args(request, configured))
            if not verdict:
                raise refusals.unsafe_choice(request, configured, verdict)
            return resolution
    application = request.find_application()
    if application is None:
        return _memory_default(request)
    resolution, verdict = _settle(request, application, "already-disposable", request.connect_args)
    if verdict:
        return resolution
    twin = _make_twin(request, application)
    if twin is None or not twin[1]:
        raise refusals.unsafe_application(request, application, verdict, twin and twin[1])
    return twin[0]


def _settle(request: Request, source: Source, rule: str, connect_args: Mapping[str, Any]) -> tuple[Resolution, Verdict]:
    """Return a database as a resolution, and whether it is disposable."""
    facts, verdict = request.judge(source.url, connect_args)
    # A file that stands for a database in memory has a name and is used as it is; without one it is the bind's own.
    url = None if facts.in_memory and facts.database is None else source.url
    outside = request.find_outside()
    resolution = Resolution(
        url,
        dict(connect_args),
        source.origin,
        rule,
        outside.url if outside else None,
        outside.origin if outside else None,
        verdict,
    )
    return resolution, verdict


def _memory_default(request: Request) -> Resolution:
    origin = Origin(OriginKind.DEFAULT, "a private database in memory")
    source = Source(URL.create("sqlite"), origin, variable_of(request.bind))
    return _settle(request, source, "memory-default", request.connect_args)[0]


def _make_twin(request: Request, application: Source) -> tuple[Resolution, Verdict] | None:
    """Return the test twin of the application's database, or None where there may be none."""
    url, connect_args = application.url, request.connect_args
    if url.get_backend_name() == "sqlite":
        return _settle(request, replace(application, url=URL.create("sqlite")), "test-twin", connect_args)
    facts, _ = request.judge(url, connect_args)
    if facts.backend not in SERVER_BACKENDS or facts.database is None:
        return None
    if not is_local(address_of(url, connect_args, request.environ), request.environ):
        return None
    twin_args = {
        name: _twin_name(value, facts.backend) if name in NAME_OPTIONS and isinstance(value, str) else value
        for name, value in connect_args.items()
    }
    if url.database or not url.query.keys().isdisjoint(NAME_OPTIONS):
        try:
            url = test_twin(url)
        except InvalidSettingError:
            return None
    elif twin_args == connect_args:
        url = url.set(database=_twin_name(facts.database, facts.backend))  # the process environment named it
    return _settle(request, replace(application, url=url), "test-twin", twin_args)


def _twin_name(name: str, backend: str) -> str:
    return fit_name(f"test_{name}", backend)


def _fitting_args(request: Request, configured: Source) -> dict[str, Any]:
    """Return what of the application's ``connect_args`` goes with a test database that has a URL of its own."""
    application = request.find_outside()
    is_configured = application is not None and application.origin.kind is not OriginKind.DEFAULT
    if application and is_configured and _family(application.url) != _family(configured.url):
        return {}  # they are for another driver
    return {name: value for name, value in request.connect_args.items() if name not in PLACE_OPTIONS}


def _family(url: URL) -> str:
    backend = url.get_backend_name()
    return FAMILIES.get(backend, backend)


def _require_one_database(request: Request, configured: Source) -> None:
    """Refuse a second explicit URL where one test database stands for the whole bind."""
    if request.argument is None or request.earlier is None:
        return
    first, second = request.earlier, request.argument.url
    # The application may well pass what database_url() told it: that is the test database itself.
    pairs = [(first, second), (first, configured.url), (second, configured.url)]
    if not any(is_same_database(one, other) for one, other in pairs):
        raise refusals.two_databases(request, configured, first, second)
