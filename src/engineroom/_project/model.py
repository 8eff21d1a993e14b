"""What a project is: its root, and what it asks for.

Holds the values and reads nothing. It is made whenever pytest starts, so the classes are those that take least time.
"""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engineroom._environment import Environment
    from engineroom._project.bind import BindConfiguration

__all__ = ["Project"]


class Project(SimpleNamespace):
    """A project: its root and what its ``[tool.engineroom]`` table says.

    Args:
        root: The directory where the project's files are searched.
        file: Its ``pyproject.toml``, if there is one.
        schema: What builds the test database of the default bind.
        seed: What fills it.
        test_names: The patterns of database names that are disposable.
        environment_variable: The variable that selects the environment.
        environments: The project's own words for environments.
        fence_allow: File patterns and URLs that the fence lets through.
        binds: What is configured for the other binds.
    """

    def __init__(  # noqa: PLR0913  # a named tuple would take ten times as long to define
        self,
        root: Path,
        *,
        file: Path | None = None,
        schema: str | None = None,
        seed: str | None = None,
        test_names: tuple[str, ...] = ("test_*",),
        environment_variable: str = "APP_ENV",
        environments: Mapping[str, Environment] = MappingProxyType({}),
        fence_allow: tuple[str, ...] = (),
        binds: Mapping[str, BindConfiguration] = MappingProxyType({}),
    ) -> None:
        """Keep the values."""
        super().__init__()
        self.root = root
        self.file = file
        self.schema = schema
        self.seed = seed
        self.test_names = test_names
        self.environment_variable = environment_variable
        self.environments = environments
        self.fence_allow = fence_allow
        self.binds = binds
