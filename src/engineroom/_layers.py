"""The layers that settings come from: files of the project, and the process environment above them.

Answers: what is the value of this setting, and which layer gave it? It does not know what a setting means.
python-dotenv is loaded only where a file is there to be parsed: importing this costs nothing when pytest starts.

The files, lowest first: ``.env``, ``.env.local`` (not under test), ``.env.{environment}`` and
``.env.{environment}.local``, where ``{environment}`` is always one of the four full words: ``.env.production``, never
``.env.prod``, whichever word or alias the variable holds.
"""

from __future__ import annotations

import os
from collections import ChainMap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engineroom._environment import Environment, Origin, OriginKind
from engineroom._project import read_text_file
from engineroom.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engineroom._project import Project

__all__ = ["Layer", "Layers", "Value", "file_names", "read_file_layer", "read_layers", "read_process_layer"]


@dataclass(frozen=True, slots=True)
class Value:
    """A setting's text and where it came from; the text is kept out of the ``repr``."""

    text: str = field(repr=False)
    origin: Origin


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says: a file, or the process environment.

    Attributes:
        kind: Which kind of place it is.
        file: The file's name; empty for the process environment.
        values: Its settings, by name as written there.
    """

    kind: OriginKind
    file: str = ""
    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def get(self, name: str) -> Value | None:
        """Return the value of a setting, or ``None``. Case does not matter, and an empty value counts as unset."""
        key = self.find_key(name)
        return None if key is None else Value(self.values[key], self.origin_of(key))

    def find_key(self, name: str) -> str | None:
        """Return the name of a value as it is written here: the very same, else one that differs in case only."""
        if self.values.get(name):
            return name
        folded = name.casefold()
        return next((key for key in sorted(self.values) if key.casefold() == folded and self.values[key]), None)

    def origin_of(self, key: str) -> Origin:
        """Return the origin of a value that stands here under this name."""
        return Origin(self.kind, self.file or key)


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers of a process, the highest first."""

    layers: tuple[Layer, ...]

    def get(self, name: str) -> Value | None:
        """Return the value of a setting from the highest layer that has one, or ``None``."""
        return next((value for layer in self.layers if (value := layer.get(name)) is not None), None)

    def get_from_file(self, name: str, file: str) -> Value | None:
        """Return the value that one file gives a setting, or ``None``; what is above or below does not matter."""
        return next((value for layer in self.layers if layer.file == file and (value := layer.get(name))), None)


def file_names(environment: Environment) -> tuple[str, ...]:
    """Return the names of the files that count in an environment, the highest first.

    Example:
        >>> file_names(Environment.TEST)
        ('.env.test.local', '.env.test', '.env')
    """
    own = (f".env.{environment}.local", f".env.{environment}")
    # .env.local is one person's development set-up: a test run has to be the same for everybody.
    return (*own, ".env") if environment is Environment.TEST else (*own, ".env.local", ".env")


def read_layers(project: Project, environment: Environment, environ: Mapping[str, str] = os.environ) -> Layers:
    """Read the process environment and the files that count in an environment.

    Raises:
        InvalidSettingError: A file is there and cannot be read.
    """
    try:
        return _read_layers(project, environment, environ)
    except InvalidSettingError as problem:
        refusal = problem.without_traceback()
    # Some reports show the locals of each frame: none that the error passes may hold the process environment.
    del environ
    raise refusal


def _read_layers(project: Project, environment: Environment, environ: Mapping[str, str]) -> Layers:
    files: list[Layer] = []
    for name in reversed(file_names(environment)):
        layer = read_file_layer(project, name, environ, below=files)
        if layer is not None:
            files.insert(0, layer)
    return Layers((read_process_layer(environ), *files))


def read_process_layer(environ: Mapping[str, str]) -> Layer:
    """Return the process environment as it is now."""
    return Layer(OriginKind.VARIABLE, values=dict(environ))


def read_file_layer(
    project: Project, name: str, environ: Mapping[str, str] = os.environ, below: Sequence[Layer] = ()
) -> Layer | None:
    """Read one file of the project's root; ``None`` if it is not there.

    ``${NAME}`` in a value stands for what the same file said above it, else for the variable of the process, else for
    what a lower file says.

    Args:
        project: Whose file.
        name: The file's name, such as ``.env``.
        environ: The process environment.
        below: The layers below it, the highest first.

    Raises:
        InvalidSettingError: It is there and cannot be read.
    """
    path = project.root / name
    text = read_text_file(path)
    if text is None:
        return None
    values, wrong_line = _parse(text, ChainMap({}, dict(environ), *(dict(layer.values) for layer in below)))
    if wrong_line:
        del text  # a traceback shows the frames that an error passed
        raise InvalidSettingError(
            f"{name} cannot be read.",
            why=f"line {wrong_line} of {path} does not have the form NAME=value, or a quote is not closed.",
            fix=["correct that line", "make it a comment with a # in front"],
        )
    return Layer(OriginKind.FILE, name, values)


def _parse(text: str, known: ChainMap[str, str]) -> tuple[dict[str, str], int]:
    """Return the settings of a file and 0, or nothing and the first line that cannot be read.

    python-dotenv alone would skip such a line with a log record, and a lost ``DATABASE_URL`` would let another one win.
    """
    import io  # noqa: PLC0415 - only where a file is there

    from dotenv.parser import parse_stream  # noqa: PLC0415
    from dotenv.variables import parse_variables  # noqa: PLC0415

    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            written = binding.original.string
            return {}, binding.original.line + written[: -len(written.lstrip()) or None].count("\n")
        if binding.key is not None:
            # A name without "=" takes back what stands above it.
            known[binding.key] = "".join(atom.resolve(known) for atom in parse_variables(binding.value or ""))
            values[binding.key] = known[binding.key]
    return values, 0
