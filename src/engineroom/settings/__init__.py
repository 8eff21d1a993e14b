"""The base class for the settings of an application.

Answers: how does an app get its own typed settings from engineroom's layers, each value with its origin, and none of
them shown? It needs no database, and the factory needs no settings class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from pydantic import PrivateAttr
from pydantic_settings import BaseSettings, SettingsConfigDict

from engineroom import _lifecycle
from engineroom._environment import Environment, Origin, OriginKind
from engineroom.errors import EngineroomError, InvalidSettingError
from engineroom.settings._database_url import (  # pydantic reads the annotation
    DatabaseURL,
    mask_url_lazily,
)
from engineroom.settings._reading import read
from engineroom.settings._sources import sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_settings import PydanticBaseSettingsSource

__all__ = ["Settings", "get_settings"]

S = TypeVar("S", bound="Settings")


class Settings(BaseSettings):
    """The base class for an application's own settings.

    It is a pydantic-settings class: add fields, and configure it with ``model_config`` as usual. A field takes its
    value from the first of these that has one: an argument of the class, the process environment,
    ``.env.{environment}.local``, ``.env.{environment}``, ``.env.local`` (not under test), ``.env``, a file below
    ``secrets_dir``, the field's default. The files are searched in the project root. An empty value counts as unset
    (``env_ignore_empty``), a key that no field asks for is left alone (``extra="ignore"``), and ``_env_file=None``
    leaves the files out. Other files named by ``env_file`` come right above ``.env``.

    No value is ever shown: the ``repr`` has origins instead, and an error lists every field at fault with its variable,
    its origin and an example line. ``model_dump()`` gives the values, and is the application's own business.

    Attributes:
        app_env: The environment of this process; making the first instance freezes it, and an argument that says
            another one is an error.
        database_url: The database URL of the default bind, to be handed to ``get_engine``. Its variable is
            ``DATABASE_URL``, whatever ``env_prefix`` says; in development it is ``development.db`` in the project root
            by default, elsewhere ``None``, so that an application without a database starts. Declare it as
            ``database_url: str`` to require one, as a text.
            Under test it is the test database that the project names (``TEST_DATABASE_URL``, else ``DATABASE_URL`` in
            ``.env.test``), whatever the shell exports; else it is the application's own URL, which ``get_engine``
            exchanges for its test twin. Whoever connects to that one directly under pytest meets the fence.

    Example:
        >>> class AppSettings(Settings):
        ...     secret_key: str
        ...     page_size: int = 20
        >>> settings = AppSettings(secret_key="known to nobody")
        >>> settings.page_size
        20
        >>> print(settings.origin("secret_key"))
        passed to AppSettings
        >>> "known to nobody" in repr(settings)
        False
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_file=(),  # the layers are read in any case, unless this is None
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    app_env: Environment = Environment.DEVELOPMENT
    database_url: DatabaseURL = None

    _engineroom_origins: dict[str, Origin] = PrivateAttr(default_factory=dict)

    def __init__(self, /, **values: Any) -> None:
        """Read the layers, check every field, and freeze the environment.

        Raises:
            MissingSettingError: Fields have no value.
            InvalidSettingError: Fields have a value that cannot be used, or a file cannot be read.
            UnknownEnvironmentError: The environment variable names no environment.
            EnvironmentChangedError: An engine or a settings object was made in another environment.
        """
        outcome = read(type(self), super().__init__, values)
        if isinstance(outcome, EngineroomError):
            # Some reports show the locals of each frame: this one must not hold a value.
            del self, values
            raise outcome
        self._engineroom_origins = outcome

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put engineroom's layers in the place of the process environment and of ``env_file``.

        An application that overrides this adds its own sources to what ``super()`` returns.
        """
        return sources_of(settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings)

    def origin(self, field: str) -> Origin:
        """Return where a field's value came from; for a nested model, the highest place that gave a part of it.

        Raises:
            InvalidSettingError: There is no such field.

        Example:
            >>> print(Settings(database_url="sqlite://").origin("database_url"))
            passed to Settings
        """
        return _origin_of(self, field)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with other values in it; their origin says so."""
        copied = super().model_copy(update=update, deep=deep)
        passed = {name: Origin(OriginKind.ARGUMENT, "model_copy") for name in update or ()}
        copied._engineroom_origins = {**_origins(self), **passed}  # noqa: SLF001 - it is of this class
        return copied

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        """Give ``repr``, ``str`` and pretty printers the origins in the place of the values."""
        for name, field in type(self).model_fields.items():
            if field.repr:
                yield name, _Shown(f"{_show(self, name)} ({_origin_of(self, name)})")

    # Pydantic's own error for this repeats the value.
    def __setattr__(self, name: str, value: object) -> None:
        """Refuse an assignment: settings are read once.

        Raises:
            InvalidSettingError: Always, unless the class says ``frozen=False``.
        """
        if name.startswith("_") or not self.model_config.get("frozen"):
            super().__setattr__(name, value)
            return
        del value
        raise _frozen(type(self), name)

    def __delattr__(self, name: str) -> None:
        """Refuse a deletion.

        Raises:
            InvalidSettingError: Always, unless the class says ``frozen=False``.
        """
        if name.startswith("_") or not self.model_config.get("frozen"):
            super().__delattr__(name)
            return
        raise _frozen(type(self), name)


def get_settings(settings_class: type[S]) -> S:
    """Return the settings of a class: one frozen instance for this class and environment, from every thread.

    Args:
        settings_class: :class:`Settings` or a subclass.

    Raises:
        MissingSettingError: Fields have no value.
        InvalidSettingError: Fields have a value that cannot be used, or a file cannot be read.
        UnknownEnvironmentError: The environment variable names no environment.
        EnvironmentChangedError: Something was made in another environment.

    Example:
        >>> get_settings(Settings) is get_settings(Settings)
        True
    """
    if not (isinstance(settings_class, type) and issubclass(settings_class, Settings)):  # type: ignore[redundant-expr]
        raise TypeError("get_settings() takes a class that derives from engineroom.Settings")
    key = (settings_class, _lifecycle.current_environment())
    if key not in _instances:
        # Made without a lock, which could wait for an import that waits for it; threads that come first agree here.
        _instances.setdefault(key, settings_class())
    return cast("S", _instances[key])


def reset() -> None:
    """Forget every instance, so that the next call makes a new one."""
    _instances.clear()


_instances: dict[tuple[type[Settings], Environment], Settings] = {}


class _Shown:
    """A text that is its own ``repr``."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _show(settings: Settings, name: str) -> str:
    value = settings.__dict__.get(name)
    if name == "app_env":
        return str(value)
    if name == "database_url" and (value is None or not hasattr(value, "get_secret_value")):
        return "None" if value is None else mask_url_lazily(value if hasattr(value, "drivername") else str(value))
    return "***"


def _origins(settings: Settings) -> Mapping[str, Origin]:
    # An instance that model_construct() made, or that is shown before it is whole, has no private attributes.
    private: Mapping[str, Any] = getattr(settings, "__pydantic_private__", None) or {}
    return cast("Mapping[str, Origin]", private.get("_engineroom_origins", {}))


def _origin_of(settings: Settings, name: str) -> Origin:
    if name in type(settings).model_fields:
        return _origins(settings).get(name, Origin(OriginKind.DEFAULT))
    import difflib  # noqa: PLC0415 - only for the message

    close = difflib.get_close_matches(name, type(settings).model_fields, n=1)
    raise InvalidSettingError(
        f'{type(settings).__qualname__} has no field "{name}".',
        why=f"its fields are {', '.join(type(settings).model_fields)}.",
        fix=[f"ask for {close[0] if close else 'one of them'}"],
    )


def _frozen(settings_class: type[Settings], name: str) -> InvalidSettingError:
    return InvalidSettingError(
        f"{settings_class.__qualname__}.{name} cannot be changed.",
        why="settings are read once and frozen, so that every part of the application sees the same values.",
        fix=[
            f"pass it when the settings are made: {settings_class.__qualname__}({name}=...)",
            f'take a copy: settings.model_copy(update={{"{name}": ...}})',
        ],
    )
