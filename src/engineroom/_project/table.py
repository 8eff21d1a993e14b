"""The ``[tool.engineroom]`` table: its keys, what each may hold, and the errors that point at them.

Answers: what did the project configure? Every key has one reader, which returns the checked value or refuses it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from engineroom._environment import ALIASES, Environment, parse_environment
from engineroom._project.bind import BindConfiguration
from engineroom.errors import InvalidSettingError, UnknownEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

__all__ = ["read_table"]

TABLE = "tool.engineroom"
SECRET_OPTIONS = ("password", "passwd", "pwd", "pass")
"""How the names of those options of a URL end that hold a password."""

TEST_WORDS = frozenset({"test", "tests", "testing", "pytest"})
"""The spellings of the word *test*, one of which each pattern of ``test_names`` must hold."""


@dataclass(frozen=True, slots=True)
class _Key:
    """The place of a value in ``pyproject.toml``, so that a message can point at it."""

    file: Path
    table: str
    name: str

    def refuse(self, problem: str, example: str) -> InvalidSettingError:
        """Return the error for this key; ``problem`` is a clause that repeats no value."""
        return InvalidSettingError(
            f"[{self.table}] {self.name} cannot be used.",
            why=f"in {self.file}, {problem}.",
            fix=[f"write below [{self.table}]: {example}"],
        )


def read_table(file: Path, text: str) -> dict[str, Any]:
    """Read what the project configures, by key, from the text of its ``pyproject.toml``.

    Raises:
        InvalidSettingError: It is not TOML, or the table holds something unknown or unusable.
    """
    tool = _table(_Key(file, "tool", "engineroom"), _parse(file, text))
    return _read_keys(file, TABLE, tool.get("engineroom", {}), _READERS)


def _parse(file: Path, text: str) -> object:
    where = ""
    try:
        return tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as problem:
        # The parser's own sentence may quote the file; its position is enough.
        found = re.search(r"\(at (.*)\)$", str(problem))
        where = f" at {found.group(1)}" if found else ""
    except RecursionError:
        where = ": it nests too deeply"
    raise InvalidSettingError(
        "pyproject.toml is not valid TOML.", why=f"{file} has a syntax error{where}.", fix=["correct that line"]
    )


def _read_keys(
    file: Path, name: str, table: object, readers: Mapping[str, Callable[[_Key, object], object]]
) -> dict[str, object]:
    """Read each key of a table by its reader; a key without one is an error."""
    known = _table(_Key(file, *name.rsplit(".", 1)), table)
    for key in known:
        if key not in readers:
            raise _unknown_key(file, name, key, readers)
    return {key: readers[key](_Key(file, name, key), value) for key, value in known.items()}


def _unknown_key(file: Path, table: str, key: str, known: Iterable[str]) -> InvalidSettingError:
    import difflib  # noqa: PLC0415 - only for the message

    close = difflib.get_close_matches(key.casefold().replace("-", "_"), list(known), n=1)
    return InvalidSettingError(
        f'[{table}] has no key "{key}".' + (f' Did you mean "{close[0]}"?' if close else ""),
        why=f"{file} sets it; the keys are {', '.join(known)}.",
        fix=[f"rename it to {close[0]}", "remove it"] if close else ["remove it"],
    )


# --- One reader a kind of value ----------------------------------------------------------------------------------


def _kind(value: object) -> str:
    kinds = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date or a time")


def _table(key: _Key, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidSettingError(
            f"[{key.table}.{key.name}] cannot be used.",
            why=f"in {key.file}, {key.table if key.table == 'tool' else key.name} is {_kind(value)}, not a table.",
            fix=[f"write it as a table: [{key.table}.{key.name}]"],
        )
    return value


def _text(key: _Key, value: object, example: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise key.refuse(f"{key.name} is {_kind(value) if value != '' else 'empty'}, a text is expected", example)
    return value.strip()


def _texts(key: _Key, value: object, example: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise key.refuse(f"{key.name} is {_kind(value)}, a list of texts is expected", example)
    for position, entry in enumerate(value, start=1):
        if not isinstance(entry, str) or not entry.strip():
            raise key.refuse(f"entry {position} of {key.name} is not a text, or an empty one", example)
    return tuple(entry.strip() for entry in value)


def _is_reference(text: str) -> bool:
    """Tell whether a text has the form ``package.module:attribute``."""
    module, colon, attribute = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def _schema(key: _Key, value: object) -> str:
    example = 'schema = "app.models:Base"'
    text = _text(key, value, example)
    if text != "alembic" and not _is_reference(text):
        raise key.refuse('schema has neither the form "module:attribute" nor is it "alembic"', example)
    return text


def _seed(key: _Key, value: object) -> str:
    example = 'seed = "app.seeds:fill"'
    text = _text(key, value, example)
    if not _is_reference(text):
        raise key.refuse('seed has not the form "module:callable"', example)
    return text


def _test_names(key: _Key, value: object) -> tuple[str, ...]:
    example = 'test_names = ["test_*"]'
    patterns = _texts(key, value, example)
    if not patterns:
        raise key.refuse("test_names is an empty list; leave it out for the default", example)
    for position, pattern in enumerate(patterns, start=1):
        # "contest_*" holds no word "test", nor does "[test]*", which stands for any of those letters.
        words = re.findall("[a-z]+", re.sub(r"\[.*?\]", "*", pattern).casefold())
        if TEST_WORDS.isdisjoint(words):
            raise key.refuse(f'entry {position} of test_names does not hold the word "test"', example)
    return patterns


def _environment_variable(key: _Key, value: object) -> str:
    example = 'environment_variable = "FLASK_ENV"'
    name = _text(key, value, example)
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise key.refuse("environment_variable is not a name that a variable can have", example)
    return name


def _environments(key: _Key, value: object) -> Mapping[str, Environment]:
    example = 'environments = { ci = "test", qa = "staging" }'
    words: dict[str, Environment] = {}
    for word, target in _table(key, value).items():
        folded = word.strip().casefold()
        if not folded or folded in words:
            raise key.refuse("environments has an empty word, or one word twice", example)
        try:
            words[folded] = parse_environment(
                _text(_Key(key.file, f"{TABLE}.environments", word), target, f'{word} = "test"')
            )
        except UnknownEnvironmentError:
            known = ", ".join([*Environment, *ALIASES])
            raise key.refuse(f'"{word}" is mapped to no known environment ({known})', example) from None
        if folded in {*Environment} and words[folded] != folded:
            raise key.refuse(f'"{word}" is the name of an environment and cannot mean another one', example)
    return words


def _fence_allow(key: _Key, value: object) -> tuple[str, ...]:
    example = 'fence_allow = ["var/geo-*.db", "postgresql://app@localhost/reports"]'
    entries = _texts(key, value, example)
    for position, entry in enumerate(entries, start=1):
        if not entry.strip("*?/\\. "):
            raise key.refuse(f"entry {position} of fence_allow names no file, it would allow every one", example)
        if "://" in entry and _has_password(entry):
            raise key.refuse(f"entry {position} of fence_allow holds a password, which is not needed there", example)
    return entries


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.password is not None or any(
            name.casefold().endswith(SECRET_OPTIONS) for name, _ in parse_qsl(parts.query)
        )
    except ValueError:
        return "@" in url


def _binds(key: _Key, value: object) -> Mapping[str, BindConfiguration]:
    binds: dict[str, BindConfiguration] = {}
    example = '[tool.engineroom.binds.analytics] with schema = "app.analytics:Base"'
    for name, table in _table(key, value).items():
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            raise key.refuse("the name of a bind is not made of letters, digits and underscores", example)
        if name.casefold() in {bind.casefold() for bind in binds}:
            raise key.refuse(f'the bind "{name}" is there twice, in another case', example)
        if name.casefold() == "default":
            raise key.refuse("the default bind is configured by schema and seed of [tool.engineroom]", example)
        # TEST_DATABASE_URL is the default bind's own test database; TEST_X_DATABASE_URL is that of the bind "x".
        if name.casefold() == "test" or name.casefold().startswith("test_"):
            raise key.refuse(f'the variable of the bind "{name}" would be the test variable of another', example)
        values = _read_keys(key.file, f"{TABLE}.binds.{name}", table, {"schema": _schema, "seed": _seed})
        binds[name] = BindConfiguration(**values)  # type: ignore[arg-type]
    return binds


_READERS: Mapping[str, Callable[[_Key, object], object]] = {
    "schema": _schema,
    "seed": _seed,
    "test_names": _test_names,
    "environment_variable": _environment_variable,
    "environments": _environments,
    "fence_allow": _fence_allow,
    "binds": _binds,
}
