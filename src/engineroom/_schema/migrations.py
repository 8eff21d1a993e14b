"""Builds the schema of a test database with Alembic: ``upgrade``, with the application's own ``env.py``.

Answers: where is Alembic's configuration, and how does an ``env.py`` that knows nothing of tests reach the test
database? The URL in its configuration is the test database's and stays so, whatever ``env.py`` sets; one that takes a
connection from ``config.attributes`` gets one. It loads Alembic, which is the application's dependency, only here.
"""

from __future__ import annotations

import asyncio
import logging
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engineroom._project import get_project
from engineroom._schema.place import in_own_thread
from engineroom.errors import InvalidSettingError, MissingDependencyError, RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.script import ScriptDirectory
    from sqlalchemy import URL, Connection

    from engineroom._schema.place import Place

__all__ = ["files_of_migrations", "upgrade"]

INI, TOML = "alembic.ini", "pyproject.toml"
URL_OPTION = "sqlalchemy.url"
WORDS_OF_ASYNC = ("async_engine_from_config", "create_async_engine", "get_async_engine")
PATH_OPTIONS = ("script_location", "prepend_sys_path")


def upgrade(place: Place) -> None:
    """Bring a database to the newest revision.

    Args:
        place: Where the test database stands.

    Raises:
        MissingDependencyError: Alembic is not installed.
        InvalidSettingError: Its configuration, or its ``env.py``, is not found.
        Exception: What a revision or ``env.py`` raised.
    """
    __tracebackhide__ = True
    directory = Path(_scripts(_read_config()).dir)
    try:
        text = (directory / "env.py").read_text("utf-8")
    except OSError as error:
        raise _not_found(f"{directory / 'env.py'} cannot be read: {error.strerror}") from None
    is_async = any(word in text for word in WORDS_OF_ASYNC)
    try:
        with _logging_as_it_is():
            if "attributes" in text and "connection" in text:
                place.run(lambda connection: _upgrade(_url(place, is_async=is_async), connection))
            elif is_async or _is_in_running_loop():  # it says asyncio.run()
                in_own_thread(lambda: _upgrade(_url(place, is_async=is_async)))
            else:
                _upgrade(_url(place, is_async=False))
    except RefusalError as error:
        error.add_note(
            f"engineroom: {directory / 'env.py'} does not connect to what its configuration says, which is the test "
            "database; let it use "
            'engine_from_config(config.get_section(config.config_ini_section), prefix="sqlalchemy.").'
        )
        raise


def files_of_migrations() -> list[Path]:
    """Return all files that an upgrade is made of: the configuration, ``env.py`` and the revisions.

    Raises:
        MissingDependencyError: Alembic is not installed.
        InvalidSettingError: Its configuration is not found.
    """
    script = _scripts(_read_config())
    directories = {Path(script.dir), *(Path(location) for location in script._version_locations)}  # noqa: SLF001
    files = {path for directory in directories for path in directory.rglob("*") if path.is_file()}
    found = sorted(path for path in files if path.suffix != ".pyc")
    return [_find_configuration(), *found]


def _upgrade(url: URL, connection: Connection | None = None) -> None:
    __tracebackhide__ = True
    from alembic import command  # noqa: PLC0415  # as above

    config = _read_config(url)
    if connection is not None:
        config.attributes["connection"] = connection
    command.upgrade(config, "heads")
    if connection is not None:
        connection.commit()


def _url(place: Place, *, is_async: bool) -> URL:
    if is_async:
        return place.async_engine().url
    with place.sync_engine() as engine:
        return engine.url


def _find_configuration() -> Path:
    """Return the file that configures Alembic: in the project's root, or in the one directory below it that has one."""
    root = get_project().root
    places = [root / INI] if (root / INI).is_file() else sorted(root.glob(f"[!.]*/{INI}"))
    if len(places) == 1:
        return places[0]
    if not places and "alembic" in _tools_of(root / TOML):
        return root / TOML
    raise _not_found(f"{len(places)} files {INI} stand in the directories below {root}, and none in itself")


def _tools_of(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8")).get("tool", {})  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


def _read_config(url: URL | None = None) -> Any:
    """Read the configuration, with its paths as they are for somebody in its directory, and a URL that stays."""
    try:
        from alembic.config import Config  # noqa: PLC0415  # as above
    except ImportError:
        raise MissingDependencyError(
            "Alembic is not installed.",
            why='schema = "alembic" of [tool.engineroom] in pyproject.toml upgrades the test database with it.',
            fix=["pip install alembic"],
        ) from None

    class TestConfig(Config):
        """A configuration whose URL is settled."""

        def set_section_option(self, section: str, name: str, value: str) -> None:
            if name != URL_OPTION:
                super().set_section_option(section, name, value)

        def set_main_option(self, name: str, value: str) -> None:
            self.set_section_option(self.config_ini_section, name, value)

    path = _find_configuration()
    config: Any = TestConfig(str(path)) if path.name == INI else TestConfig(toml_file=str(path))
    for name in PATH_OPTIONS:
        value = config.get_main_option(name)
        if value and ":" not in value and not Path(value).is_absolute():
            config.set_main_option(name, str(path.parent / value).replace("%", "%%"))
    if url is not None:
        text = url.render_as_string(hide_password=False).replace("%", "%%")
        Config.set_section_option(config, config.config_ini_section, URL_OPTION, text)
    return config


def _scripts(config: Any) -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415  # as above
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        return ScriptDirectory.from_config(config)
    except CommandError as error:
        raise _not_found(str(error)) from None


def _not_found(why: str) -> InvalidSettingError:
    return InvalidSettingError(
        "Alembic's configuration cannot be used for the schema of the test database.",
        why=f'schema = "alembic" of [tool.engineroom] in pyproject.toml needs it, and {why}.',
        fix=["let alembic.ini stand in the project's root, beside pyproject.toml", 'schema = "app.models:Base"'],
    )


def _is_in_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _logging_as_it_is() -> Iterator[None]:
    """Put logging back: most ``env.py`` configure it for a command line, which switches off all other loggers."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    known = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    states = [(logger, logger.disabled, logger.level, logger.handlers[:], logger.propagate) for logger in known]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        for logger, disabled, level, handlers, propagate in states:
            logger.disabled, logger.level, logger.propagate = disabled, level, propagate
            logger.handlers[:] = handlers
