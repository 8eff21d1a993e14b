"""What is asked of a bind, what is answered, and where the values in between are found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL

from engineroom._binds.database_url import name_source, parse_url, test_variable_of, variable_of
from engineroom._environment import Environment, Origin, OriginKind
from engineroom._identity import facts_of_url
from engineroom._verdict import Facts, Verdict, judge
from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engineroom._layers import Layers, Value
    from engineroom._project import Project

__all__ = ["Request", "Resolution", "Source"]

DEFAULT_FILE = "development.db"
TEST_FILES = (".env.test.local", ".env.test")  # the first one wins, as among the layers


@dataclass(frozen=True, slots=True)
class Resolution:
    """The database of a bind.

    Attributes:
        url: The URL; None stands for the bind's private database in memory.
        connect_args: What of the engine's ``connect_args`` goes with this URL.
        origin: Where the URL came from, or where that came from which it is the test twin of.
        rule: ``application`` outside of a test run; under test ``test-variable``, ``env-test-file``,
            ``already-disposable``, ``test-twin`` or ``memory-default``.
        application_url: What the URL is outside of a test run; None where that cannot be read.
        application_origin: Where that one came from.
        verdict: Under test, why the database is disposable; None outside.
    """

    url: URL | None = field(repr=False)
    connect_args: dict[str, Any] = field(repr=False)
    origin: Origin
    rule: str
    application_url: URL | None = field(default=None, repr=False)
    application_origin: Origin | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """A URL and where it was found. It has no repr of its parts, for it stands in frames that a report may show."""

    url: URL
    origin: Origin
    variable: str

    def __str__(self) -> str:
        """Return how messages call it."""
        return name_source(self.origin, self.variable)


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """What is asked of a bind. It has no repr of its parts, as they hold secrets.

    Attributes:
        bind: The name of the bind.
        argument: The URL that the application passed, if it did.
        earlier: Another one that it passed for this bind before.
        connect_args: The engine's ``connect_args``.
        environment: The environment of the process.
        project: The project's configuration.
        layers: The settings of that environment.
        outside: The settings outside of a test run.
        environ: The process environment, where drivers look for what is left out.
    """

    bind: str
    argument: Source | None
    earlier: URL | None
    connect_args: Mapping[str, Any]
    environment: Environment
    project: Project
    layers: Layers
    outside: Layers
    environ: Mapping[str, str]

    def judge(self, url: URL, connect_args: Mapping[str, Any]) -> tuple[Facts, Verdict]:
        """Return the facts and the verdict of a URL, on the driver's final arguments."""
        facts = facts_of_url(url, connect_args, self.environ)
        return facts, judge(facts, self.project.test_names)

    def find_test_variable(self) -> Source | None:
        """Return the URL of the bind's test variable, from any layer."""
        variable = test_variable_of(self.bind)
        return _read(self.layers.get(variable), variable)

    def find_test_file(self) -> Source | None:
        """Return the URL that a file for tests gives the bind's variable."""
        variable = variable_of(self.bind)
        sources = (_read(self.layers.get_from_file(variable, file), variable) for file in TEST_FILES)
        return next(filter(None, sources), None)

    def find_application(self) -> Source | None:
        """Return the URL that the application asks for: the argument, else its variable."""
        return self.argument or self._read_variable(self.layers)

    def find_outside(self) -> Source | None:
        """Return what the bind is outside of a test run; None where that cannot be read."""
        try:
            source = self.argument or self._read_variable(self.outside)
        except InvalidSettingError:
            return None  # it is only told, not used: what is used was found before
        if source and not (source.origin.kind is OriginKind.FILE and source.origin.name in TEST_FILES):
            return source
        return self.development_default()

    def development_default(self) -> Source:
        """Return the database of a project that configures none, in development."""
        url = URL.create("sqlite", database=str(self.project.root / DEFAULT_FILE))
        return Source(url, Origin(OriginKind.DEFAULT, f"{DEFAULT_FILE} in the project root"), variable_of(self.bind))

    def _read_variable(self, layers: Layers) -> Source | None:
        variable = variable_of(self.bind)
        return _read(layers.get(variable), variable)


def _read(value: Value | None, variable: str) -> Source | None:
    if value is None or not value.text.strip():
        return None
    return Source(parse_url(value.text, value.origin, variable=variable), value.origin, variable)
