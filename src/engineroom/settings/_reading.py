"""The reading of one settings object: where each of its values was found, and which fields are at fault.

Answers: what came of filling these fields? It knows no pydantic source; ``_sources`` fills it in.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from engineroom._environment import Origin, OriginKind, parse_environment
from engineroom._layers import Layer, Layers, read_layers
from engineroom._lifecycle import EnvironmentChoice, calling_module, check_environment, freeze
from engineroom._project import Project, get_project
from engineroom.errors import EngineroomError, InvalidSettingError, UnknownEnvironmentError
from engineroom.settings._database_url import EXAMPLE
from engineroom.settings._examples import example_of, nested_fields
from engineroom.settings._faults import Fault, describe, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic_settings import BaseSettings

__all__ = ["Names", "Reading", "current_reading", "read"]

NAMES_OF_SOURCES = {"SecretsSettingsSource": "secrets_dir", "CliSettingsSource": "the command line"}
"""How people call the sources of pydantic-settings; another one is called by its class."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a field is called: the keys that pydantic takes for it, and the variables that fill it."""

    keys: tuple[str, ...]
    variables: tuple[str, ...]


@dataclass
class Reading:
    """What is known while one settings object is filled.

    Attributes:
        settings_class: Its class.
        project: The project.
        choice: The environment.
        layers: The layers that are read.
        env_file: The files that the class or the caller names; ``None`` leaves all files out.
        names: What each field is called.
        delimiter: What stands between the names of nested fields in a variable, if the class allows such variables.
        places: What each source stands for, by the source's name.
        origins: Where each field's value was found.
        faults: What is wrong with a field, by its dotted name.
    """

    settings_class: type[BaseSettings]
    project: Project
    choice: EnvironmentChoice
    layers: Layers
    env_file: object = ()
    names: dict[str, Names] = field(default_factory=dict)
    delimiter: str = ""
    places: dict[str, Layer | Origin] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)

    @classmethod
    def begin(cls, settings_class: type[BaseSettings]) -> Reading:
        """Find the project, choose the environment, read the layers."""
        project = get_project()
        choice = check_environment(project)
        layers = read_layers(project, choice.environment)
        return cls(settings_class, project, choice, layers, settings_class.model_config.get("env_file"))

    def note_origins(self, states: Mapping[str, Mapping[str, object]]) -> None:
        """Remember where each field's value stands, by what each source gave, the highest source first."""
        for source, state in states.items():
            for name, names in self.names.items():
                if not state.keys().isdisjoint(names.keys):
                    self.origins.setdefault(name, self._origin_in(source, names))

    def note_syntax_error(self, name: str, layer: Layer) -> None:
        """Remember that a field's text in a layer is not the JSON that its type needs."""
        names = self.names[name]
        origin = layer.origin_of(_find_key(layer, names.variables, self.delimiter) or names.variables[0])
        example = f"{names.variables[0]}={example_of(self.settings_class.model_fields[name].annotation)}"
        self.faults.setdefault(name, Fault(name, names.variables[0], origin, "is not valid JSON", example))

    def note_environment(self, said: object, source: str) -> None:
        """Remember it as a fault if somebody says another environment than the process has."""
        variable, choice = self.project.environment_variable, self.choice
        try:
            wanted = parse_environment(str(getattr(said, "value", said)), names=self.project.environments)
        except UnknownEnvironmentError:
            wanted = None
        if wanted is not choice.environment:
            problem = f"is not the environment of this process, which is {choice.environment} ({choice.origin})"
            origin = self._origin_in(source, self.names["app_env"])
            self.faults["app_env"] = Fault(
                "app_env", variable, origin, problem, f"{variable}={wanted or choice.environment}"
            )

    def note_validation_error(self, problem: ValidationError) -> None:
        """Remember every field that an error of pydantic names."""
        broken = set(self.faults)
        for detail in problem.errors(include_url=False, include_input=False):
            fault = self._fault(detail)
            if fault.field.partition(".")[0] in broken:
                continue  # its text could not even be taken apart
            known = self.faults.get(fault.field)
            if known is not None and fault.problem not in known.problem:  # one more member of a union says no
                fault = replace(known, problem=f"{known.problem}, or {fault.problem}")
            self.faults[fault.field] = known if known is not None and fault.problem in known.problem else fault

    def refuse(self) -> EngineroomError:
        """Return the error that lists the faults."""
        order = list(self.names)
        faults = sorted(self.faults.values(), key=lambda fault: _position(fault.field.partition(".")[0], order))
        return refuse(name_of(self.settings_class), self.choice.environment, self.project.root, faults)

    def _origin_in(self, source: str, names: Names) -> Origin:
        place = self.places.get(source)
        if isinstance(place, Origin):
            return place
        if place is not None:
            return place.origin_of(_find_key(place, names.variables, self.delimiter) or names.variables[0])
        if source == "InitSettingsSource":
            return Origin(OriginKind.ARGUMENT, self.settings_class.__qualname__)
        return Origin(OriginKind.FILE, NAMES_OF_SOURCES.get(source, source))

    def _fault(self, detail: Mapping[str, Any]) -> Fault:
        if not detail["loc"]:
            return Fault("", "", None, describe(detail), "")
        first = str(detail["loc"][0])
        name = next((name for name, names in self.names.items() if first in names.keys), first)
        model_field = self.settings_class.model_fields.get(name)
        annotation: object = model_field.annotation if model_field else str
        whole, path = annotation, [name]
        for part in detail["loc"][1:]:
            # Only names of fields are shown: anything else in the location is a part of the value.
            nested = {alias: entry for key, entry in nested_fields(annotation).items() for alias in (entry.alias, key)}
            if part not in nested:
                break
            path.append(str(part))
            annotation = nested[part].annotation
        missing = detail["type"] == "missing" and len(path) == len(detail["loc"])
        return self._fault_at(path, whole, annotation, "" if missing else describe(detail))

    def _fault_at(self, path: Sequence[str], whole: object, annotation: object, problem: str) -> Fault:
        name = path[0]
        if name not in self.names:  # of other settings, which are made while these are, or of nobody's
            origin = self._origin_of((name,), name) if problem else None
            return Fault(name, name.upper(), origin, problem or self._why_missing((name,)), "")
        names = self.names[name]
        is_reachable = len(path) == 1 or bool(self.delimiter)
        parts = [part.upper() for part in path[1:]] if self.delimiter else []
        variables = tuple(self.delimiter.join([variable, *parts]) for variable in names.variables)
        text = EXAMPLE if name == "database_url" else example_of(annotation if is_reachable else whole)
        example = f"{variables[0]}={text}"
        origin = (
            self.origins.get(name, Origin(OriginKind.DEFAULT)) if len(path) == 1 else self._origin_of(variables, name)
        )
        if not problem:
            origin = None if is_reachable else origin
            problem = self._why_missing(variables) if origin is None else f'lacks the key "{path[-1]}"'
        return Fault(".".join(path), variables[0], origin, problem, example)

    def _origin_of(self, variables: Sequence[str], name: str) -> Origin | None:
        known = self.origins.get(name)
        if known is not None and known.kind not in (OriginKind.FILE, OriginKind.VARIABLE):
            return known
        found = ((layer, _find_key(layer, variables, "")) for layer in self.layers.layers)
        return next((layer.origin_of(key) for layer, key in found if key), known or Origin(OriginKind.DEFAULT))

    def _why_missing(self, variables: Sequence[str]) -> str:
        empty = next((layer for layer in self.layers.layers if _find_key(layer, variables, "", empty=True)), None)
        if empty is not None:
            return f"is empty {'in ' + empty.file if empty.file else 'in the process environment'}"
        places = ["the process environment", *(layer.file for layer in self.layers.layers if layer.file)]
        return f"is set nowhere (searched: {', '.join(places)})"


_current: ContextVar[Reading | None] = ContextVar("engineroom_reading", default=None)


def current_reading(settings_class: type[BaseSettings]) -> Reading:
    """Return the reading that goes on for a class; pydantic-settings may also ask for sources outside of one."""
    reading = _current.get()
    return reading if reading and reading.settings_class is settings_class else Reading.begin(settings_class)


def read(
    settings_class: type[BaseSettings], fill: Callable[..., None], values: Mapping[str, Any]
) -> dict[str, Origin] | EngineroomError:
    """Fill a settings object and freeze the environment.

    Args:
        settings_class: Its class.
        fill: Pydantic's ``__init__`` of the object.
        values: The arguments of the class.

    Returns:
        The origins of the values; or the error to be raised, since a frame that raises it must hold no value.
    """
    try:
        reading = Reading.begin(settings_class)
        reading.env_file = values.get("_env_file", reading.env_file)
        problem = _try_to_fill(reading, fill, values)
        if problem is None:
            what = f"the settings object {name_of(settings_class)}"
            freeze(reading.project, what=what, module=calling_module())
    except EngineroomError as error:
        problem = error.without_traceback()
    return problem or reading.origins


def _try_to_fill(reading: Reading, fill: Callable[..., None], values: Mapping[str, Any]) -> EngineroomError | None:
    token = _current.set(reading)
    try:
        # pydantic-settings would read the files, too, and stop at what is no text or wait for what is no file.
        fill(**{**values, "_env_file": ()})
    except ValidationError as problem:
        reading.note_validation_error(problem)
    except SettingsError as problem:
        return _unreadable(reading.settings_class, str(problem))
    finally:
        _current.reset(token)
    return reading.refuse() if reading.faults else None


def _unreadable(settings_class: type[BaseSettings], sentence: str) -> InvalidSettingError:
    """Return the error for a source that cannot be read; of its own sentence only the two names are safe."""
    found = re.search(r'for field "(\w+)" from source "(\w+)"', sentence)
    what = f"the value of {found[1]} from {NAMES_OF_SOURCES.get(found[2], found[2])}" if found else "one of its sources"
    return InvalidSettingError(
        f"{name_of(settings_class)} cannot be made.",
        why=f"pydantic-settings cannot read {what}.",
        fix=["correct it, or take that source out of the settings class"],
    )


def name_of(settings_class: type[BaseSettings]) -> str:
    """Return how messages call a class of settings."""
    return f"{settings_class.__module__}.{settings_class.__qualname__}"


def _position(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _find_key(layer: Layer, variables: Sequence[str], delimiter: str, *, empty: bool = False) -> str | None:
    """Return how a layer spells the first of these variables that it sets, or, by the delimiter, a part of one."""
    keys = {key.casefold(): key for key in sorted(layer.values, reverse=True) if (layer.values[key] == "") is empty}
    for variable in variables:
        if variable in layer.values and (layer.values[variable] == "") is empty:
            return variable
        if variable.casefold() in keys:
            return keys[variable.casefold()]
        start = (variable + delimiter).casefold()
        parts = [key for folded, key in keys.items() if delimiter and folded.startswith(start)]
        if parts:
            return min(parts)
    return None
