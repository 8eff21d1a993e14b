"""The environment of this process: chosen once, frozen by the first engine or settings object.

Answers: in which environment does this process run, who settled that, and does it belong to a test run? It makes no
engine and reads no other setting. Runs when pytest starts, so it imports nothing but the standard library.

State is changed by single dictionary operations, which are atomic: no lock that a fork could leave locked.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engineroom import _test_process
from engineroom._environment import Environment, Origin, OriginKind, parse_environment
from engineroom._layers import read_file_layer, read_process_layer
from engineroom._project import get_project
from engineroom._test_process import is_child_process, is_test_process
from engineroom.errors import BootstrapTooLateError, ConfigurationError, EnvironmentChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engineroom._layers import Layer
    from engineroom._project import Project

__all__ = [
    "EnvironmentChoice",
    "Frozen",
    "calling_module",
    "check_environment",
    "choose_environment",
    "current_environment",
    "enter_test_process",
    "freeze",
    "frozen_by",
    "is_child_process",
    "is_test_process",
    "is_under_pytest",
    "reset",
]


@dataclass(frozen=True, slots=True)
class EnvironmentChoice:
    """An environment, where the choice came from, and the word that was written there."""

    environment: Environment
    origin: Origin
    word: str


@dataclass(frozen=True, slots=True)
class Frozen:
    """The frozen environment, and what was made from it first.

    Attributes:
        environment: The environment.
        origin: Where the choice came from.
        what: The object that was made, such as ``the engine of bind default``.
        module: The module that asked for it.
    """

    environment: Environment
    origin: Origin
    what: str
    module: str


_frozen: dict[str, Frozen] = {}


def choose_environment(project: Project, environ: Mapping[str, str] = os.environ) -> EnvironmentChoice:
    """Choose the environment by what the process and the project say now.

    The variable of the process counts first, then ``.env.local``, then ``.env``; an empty value or mere space counts as
    unset, and without any value it is development. In a test process it is always test.

    Raises:
        UnknownEnvironmentError: The value names no environment.
        InvalidSettingError: A file is there and cannot be read.
    """
    if is_test_process():
        return EnvironmentChoice(Environment.TEST, Origin(OriginKind.PLUGIN), "test")
    try:
        return _choose(project, environ)
    except ConfigurationError as problem:
        refusal = problem.without_traceback()
    # Some reports show the locals of each frame: none that the error passes may hold the process environment.
    del environ
    raise refusal


def _choose(project: Project, environ: Mapping[str, str]) -> EnvironmentChoice:
    variable = project.environment_variable
    for layer in _layers_that_choose(project, environ):
        value = layer.get(variable)
        if value is not None and value.text.strip():
            environment = parse_environment(
                value.text, variable=variable, origin=value.origin, names=project.environments
            )
            return EnvironmentChoice(environment, value.origin, value.text.strip())
    return EnvironmentChoice(Environment.DEVELOPMENT, Origin(OriginKind.DEFAULT), "")


def _layers_that_choose(project: Project, environ: Mapping[str, str]) -> Iterator[Layer]:
    yield read_process_layer(environ)
    for name in (".env.local", ".env"):
        layer = read_file_layer(project, name, environ)
        if layer is not None:
            yield layer


def current_environment() -> Environment:
    """Return the frozen environment, else the one that would be chosen now. It freezes nothing.

    Raises:
        UnknownEnvironmentError: The value of the environment variable names no environment.
        InvalidSettingError: A file of the project cannot be read.

    Example:
        >>> from engineroom import current_environment
        >>> current_environment().value in {"development", "test", "staging", "production"}
        True
    """
    if is_test_process():
        return Environment.TEST
    frozen = frozen_by()
    return frozen.environment if frozen else choose_environment(get_project()).environment


def check_environment(project: Project) -> EnvironmentChoice:
    """Return the environment that a new object would get, without freezing it.

    Raises:
        EnvironmentChangedError: Another environment is frozen already.
        UnknownEnvironmentError: The value of the environment variable names no environment.
        InvalidSettingError: A file of the project cannot be read.
    """
    choice = choose_environment(project)
    frozen = frozen_by()
    if frozen and frozen.environment is not choice.environment:
        raise _changed(project.environment_variable, frozen, choice)
    return choice


def freeze(project: Project, *, what: str, module: str) -> Environment:
    """Settle the environment of this process, since something is made from it.

    Args:
        project: The project.
        what: What is made, for messages: ``the engine of bind default``.
        module: The module that asked for it.

    Returns:
        The environment.

    Raises:
        EnvironmentChangedError: Another environment is frozen already.
        BootstrapTooLateError: This process became a test process while the object was being made.
        UnknownEnvironmentError: The value of the environment variable names no environment.
        InvalidSettingError: A file of the project cannot be read.
    """
    choice = check_environment(project)
    frozen = _frozen.setdefault("environment", Frozen(choice.environment, choice.origin, what, module))
    if is_test_process() and frozen.environment is not Environment.TEST:
        raise _too_late(frozen)
    if frozen.environment is not choice.environment:
        raise _changed(project.environment_variable, frozen, choice)
    return frozen.environment


def frozen_by() -> Frozen | None:
    """Return the frozen environment and who froze it; ``None`` as long as nothing was made."""
    return _frozen.get("environment")


def enter_test_process() -> None:
    """Make this process a test process: from now on, until it exits, the environment is test.

    Raises:
        BootstrapTooLateError: Something was made from another environment already.
    """
    # First the mark, then the look: freeze() does it the other way round, so one of both sees the other.
    _test_process.mark_test_process()
    frozen = frozen_by()
    if frozen and frozen.environment is not Environment.TEST:
        raise _too_late(frozen)


def is_under_pytest(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether pytest runs in this process or in a parent of it, with the plugin or without."""
    return "PYTEST_VERSION" in environ


def calling_module() -> str:
    """Return the name of the module that called into engineroom: the nearest frame that is not ours or pydantic's."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read the source of every frame
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__", "?"))
        if name.partition(".")[0] not in {"engineroom", "pydantic", "pydantic_settings"}:
            return name
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "?"))


def reset() -> None:
    """Forget everything, as if the process had just started."""
    _frozen.clear()
    _test_process.reset()


def _changed(variable: str, frozen: Frozen, choice: EnvironmentChoice) -> EnvironmentChangedError:
    return EnvironmentChangedError(
        f"The environment changed from {frozen.environment} to {choice.environment} while the program runs.",
        why=(
            f"{frozen.what}, made by the module {frozen.module}, froze it as {frozen.environment} "
            f"({frozen.origin}); {variable} now says {choice.environment} ({choice.origin})."
        ),
        fix=[
            f"set {variable} before the program starts, and leave it: {variable}={choice.environment} python -m ...",
            f"start another process for the environment {choice.environment}",
        ],
    )


def _too_late(frozen: Frozen) -> BootstrapTooLateError:
    return BootstrapTooLateError(
        "The application was imported before the test environment was selected.",
        why=(
            f"{frozen.what} was made by the module {frozen.module} for the environment {frozen.environment} "
            f"({frozen.origin}), before the pytest plugin started; it would go on with what that environment says."
        ),
        fix=[
            f"import {frozen.module} in a conftest.py or in a test, not in a plugin that -p or addopts loads",
            f"load this plugin first: pytest -p engineroom -p {frozen.module}",
            f"select the test environment before pytest starts: {get_project().environment_variable}=test pytest",
        ],
    )
