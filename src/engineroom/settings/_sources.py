"""The sources of a settings object: engineroom's layers, read by pydantic-settings.

Answers: from where, in which order, may a field take its value? pydantic-settings does the reading, with all that
``model_config`` can say; only what a source sees is exchanged: a layer for the process environment, one for each file.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic_settings import EnvSettingsSource, PydanticBaseSettingsSource

from engineroom._environment import Environment, Origin, OriginKind
from engineroom._layers import Layer, Layers, file_names, read_file_layer
from engineroom.settings._database_url import development_url
from engineroom.settings._reading import Names, Reading, current_reading

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

__all__ = ["sources_of"]

EXPLICIT = 2
"""The ``alias_priority`` of an alias that somebody wrote down, unlike one that an ``alias_generator`` made."""

parse_env_vars = vars(sys.modules[EnvSettingsSource.__module__])["parse_env_vars"]
"""pydantic-settings' own normalising of names and values, which has moved between its releases (2.7, 2.8, 2.16)."""

TEST_FILES = (".env.test.local", ".env.test")
OWN_FILES = frozenset(name for environment in Environment for name in file_names(environment))


def sources_of(
    settings_class: type[BaseSettings],
    init: PydanticBaseSettingsSource,
    environ: PydanticBaseSettingsSource,
    dotenv: PydanticBaseSettingsSource,
    secrets: PydanticBaseSettingsSource,
) -> tuple[PydanticBaseSettingsSource, ...]:
    """Return the sources, the highest first: the environment itself, then arguments, layers, secrets and defaults.

    Args:
        settings_class: The class to be filled.
        init: What pydantic-settings made for the arguments of the class.
        environ: What it made for the process environment; its class and options read every layer.
        dotenv: What it made for ``env_file``; its class and options read the layers of files.
        secrets: What it made for ``secrets_dir``.
    """
    reading = current_reading(settings_class)
    reading.layers = Layers((reading.layers.layers[0], *_file_layers(reading)))
    # Where the application put a source of another kind in the place of the process environment, it has no prefix.
    named = environ if isinstance(environ, EnvSettingsSource) else EnvSettingsSource(settings_class)
    reading.names = {name: _names(named, name, field) for name, field in settings_class.model_fields.items()}
    reading.delimiter = named.env_nested_delimiter or ""
    process, *files = reading.layers.layers
    return (
        _Environment(reading),
        init,
        _TestDatabaseURL(reading),
        _through(environ, process, reading),
        *(_through(dotenv, layer, reading) for layer in files),
        secrets,
        _DatabaseURL(reading),
        _Witness(reading),
    )


def _names(source: EnvSettingsSource, name: str, field: FieldInfo) -> Names:
    """Return what a field is called: pydantic-settings knows its prefix and aliases."""
    found = source._extract_field_info(field, name)  # noqa: SLF001 - nothing public tells the variable
    variables = [variable if source.case_sensitive else variable.upper() for _, variable, _ in found]
    return Names(tuple(dict.fromkeys([*(key for key, _, _ in found), name])), tuple(dict.fromkeys(variables)))


def _file_layers(reading: Reading) -> tuple[Layer, ...]:
    """Return the layers of files; those that only ``env_file`` names come right above ``.env``."""
    named = reading.env_file
    if named is None:
        return ()
    own = [layer for layer in reading.layers.layers if layer.file]
    others: list[Layer] = []
    for name in map(str, named if isinstance(named, Iterable) and not isinstance(named, str) else [named]):
        path = Path(name).expanduser().absolute()
        if path.name in OWN_FILES and (name == path.name or path.parent == reading.project.root):
            continue  # whether and when it counts is our business
        layer = read_file_layer(reading.project, str(path))
        others = [replace(layer, file=name), *others] if layer else others
    lowest = [layer for layer in own if layer.file == ".env"]
    return (*(layer for layer in own if layer not in lowest), *others, *lowest)


def _through(source: PydanticBaseSettingsSource, layer: Layer, reading: Reading) -> PydanticBaseSettingsSource:
    """Return a source of the same class and options that sees one layer instead of the whole process or file."""
    if not isinstance(source, EnvSettingsSource):
        return source  # the application put something else in its place
    clone: Any = copy.copy(source)
    clone.__name__ = f"engineroom {layer.file or 'process'}"
    reading.places[clone.__name__] = layer
    # Sorted, so that of two names that differ in case only the one in capitals counts.
    values = {key: layer.values[key] for key in sorted(layer.values, reverse=True)}
    clone.env_vars = parse_env_vars(values, source.case_sensitive, source.env_ignore_empty, source.env_parse_none_str)
    prepare = clone.prepare_field_value

    def prepare_field_value(name: str, field: FieldInfo, value: Any, value_is_complex: bool) -> Any:
        try:
            return prepare(name, field, value, value_is_complex)
        except ValueError:
            # pydantic-settings would stop here, at the first such field and with its value in the error.
            above = [clone.current_state[key] for key in reading.names[name].keys if key in clone.current_state]
            if not above or isinstance(above[0], dict):  # else a higher layer has decided, and this one is not asked
                reading.note_syntax_error(name, layer)
            return None

    clone.prepare_field_value = prepare_field_value
    return cast("PydanticBaseSettingsSource", clone)


class _Given(PydanticBaseSettingsSource):
    """A source that engineroom itself is."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading.settings_class)
        self._reading = reading
        self.__name__ = f"engineroom {type(self).__name__}"

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return nothing: the fields are given all at once."""
        return None, field_name, False

    def give(self, field: str, value: object, origin: Origin, variable: str) -> dict[str, Any]:
        """Return one field's value under the key that pydantic takes for it."""
        reading = self._reading
        reading.places[self.__name__] = origin
        keys = reading.names[field].keys
        reading.names[field] = Names(keys, (variable,))
        return {keys[0]: value}

    def is_decided(self, field: str) -> bool:
        """Tell whether a higher source gave this field a value."""
        return not self.current_state.keys().isdisjoint(self._reading.names[field].keys)


class _Environment(_Given):
    """``app_env``: the environment of the process, whatever other sources say."""

    def __call__(self) -> dict[str, Any]:
        choice = self._reading.choice
        return self.give("app_env", choice.environment.value, choice.origin, self._reading.project.environment_variable)


class _TestDatabaseURL(_Given):
    """``database_url`` under test, where the project names a test database: what the shell exports does not win."""

    def __call__(self) -> dict[str, Any]:
        layers = self._reading.layers
        if self._reading.choice.environment is not Environment.TEST or self.is_decided("database_url"):
            return {}
        value = layers.get("TEST_DATABASE_URL")
        if value is not None:
            return self.give("database_url", value.text, value.origin, "TEST_DATABASE_URL")
        value = next(filter(None, (layers.get_from_file("DATABASE_URL", name) for name in TEST_FILES)), None)
        return {} if value is None else self.give("database_url", value.text, value.origin, "DATABASE_URL")


class _DatabaseURL(_Given):
    """``database_url`` by ``DATABASE_URL``, also where the class has an ``env_prefix``; in development by default."""

    def __call__(self) -> dict[str, Any]:
        reading = self._reading
        field = self.settings_cls.model_fields["database_url"]
        if self.is_decided("database_url") or field.alias_priority == EXPLICIT:
            return {}
        value = reading.layers.get("DATABASE_URL")
        if value is not None:
            return self.give("database_url", value.text, value.origin, "DATABASE_URL")
        if reading.choice.environment is not Environment.DEVELOPMENT:
            return {}
        url = development_url(reading.project.root, field)
        return {} if url is None else self.give("database_url", url, Origin(OriginKind.DEFAULT), "DATABASE_URL")


class _Witness(_Given):
    """Gives nothing; it stands last, where it sees what each source gave."""

    def __call__(self) -> dict[str, Any]:
        reading = self._reading
        reading.note_origins(self.settings_sources_data)
        for source, state in self.settings_sources_data.items():
            said = [state[key] for key in reading.names["app_env"].keys if key in state]
            if said and source not in reading.places:  # the layers may hold the project's own word for it
                reading.note_environment(said[0], source)
        return {}
