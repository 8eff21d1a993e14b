"""The settings of an application: their values and origins, the frozen environment, and the instance of a class."""

import copy
import datetime as dt
import enum
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, Field, PostgresDsn, SecretStr, computed_field
from pydantic.alias_generators import to_camel
from pydantic_settings import (
    BaseSettings,
    CliApp,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy import URL, create_engine, make_url

import engineroom
from engineroom import _lifecycle
from engineroom._environment import Environment
from engineroom.errors import (
    EnvironmentChangedError,
    InvalidSettingError,
    MissingSettingError,
    UnknownEnvironmentError,
)
from engineroom.settings import Settings, get_settings

SECRET = "correct-horse-battery"
KEPT = ("PATH", "HOME", "PYTEST", "COV", "PYTHON", "TMP", "TEMP", "LANG", "VIRTUAL_ENV")


@pytest.fixture(autouse=True)
def _no_variables_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if not name.startswith(KEPT)]:
        monkeypatch.delenv(name)


S = TypeVar("S", bound=Settings)


def make(settings_class: type[S], **values: object) -> S:
    """Make settings, also from arguments that a type checker would not let through."""
    return settings_class(**values)


class Database(BaseModel):
    host: str
    port: int = 5432
    tags: list[str] = Field(default_factory=list)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Shop(Settings):
    secret_key: SecretStr = SecretStr("unset")
    page_size: int = 20


class Prefixed(Settings):
    model_config = SettingsConfigDict(env_prefix="SHOP_")

    page_size: int = 20


class Nested(Settings):
    model_config = SettingsConfigDict(env_nested_delimiter="__")

    main: Database
    other: Database | None = None
    hosts: dict[str, str] = Field(default_factory=dict)


def write(**files: str) -> None:
    """Write files into the working directory: ``env_test`` is ``.env.test``."""
    for name, text in files.items():
        Path(f".{name.replace('_', '.')}").write_text(text, encoding="utf-8")


def origins_of(settings: Settings) -> dict[str, str]:
    return {name: str(settings.origin(name)) for name in type(settings).model_fields}


# --- Layers ------------------------------------------------------------------------------------------------------


def test_a_field_takes_the_highest_value_and_knows_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> tuple[int, str]:
        settings = Shop()
        return settings.page_size, str(settings.origin("page_size"))

    assert look() == (20, "by default")
    for size, name in enumerate([".env", ".env.local", ".env.development", ".env.development.local"], start=1):
        Path(name).write_text(f"PAGE_SIZE={size}\n")
        assert look() == (size, f"from {name}")
    monkeypatch.setenv("PAGE_SIZE", "5")
    assert look() == (5, "from the variable PAGE_SIZE")
    passed = Shop(page_size=6)
    assert (passed.page_size, str(passed.origin("page_size"))) == (6, "passed to Shop")


def test_under_test_the_file_of_one_person_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    write(env="PAGE_SIZE=1\n", env_local="PAGE_SIZE=2\n", env_development="PAGE_SIZE=3\n")
    monkeypatch.setenv("APP_ENV", "test")
    assert Shop().page_size == 1


def test_the_files_of_the_project_root_count_and_not_those_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "sub").mkdir()
    (tmp_path / ".env").write_text("PAGE_SIZE=1\n")
    (tmp_path / "sub" / ".env").write_text("PAGE_SIZE=2\n")
    monkeypatch.chdir(tmp_path / "sub")
    assert Shop().page_size == 1


def test_an_empty_value_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    write(env="PAGE_SIZE=3\n")
    monkeypatch.setenv("PAGE_SIZE", "")
    assert Shop().page_size == 3


def test_a_class_may_take_empty_values_for_values(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(Settings):
        model_config = SettingsConfigDict(env_ignore_empty=False)
        prefix: str = "default"

    write(env="PREFIX=low\n")
    monkeypatch.setenv("PREFIX", "")
    settings = Plain()
    assert (settings.prefix, str(settings.origin("prefix"))) == ("", "from the variable PREFIX")


def test_names_are_found_in_any_case_and_capitals_win(monkeypatch: pytest.MonkeyPatch) -> None:
    write(env="page_size=3\nSecret_Key=x\n")
    assert Shop().page_size == 3
    assert str(Shop().origin("secret_key")) == "from .env"
    monkeypatch.setenv("Page_Size", "4")
    monkeypatch.setenv("PAGE_SIZE", "5")
    monkeypatch.setenv("page_size", "6")
    assert Shop().page_size == 5


def test_keys_that_no_field_asks_for_are_left_alone() -> None:
    write(env="TEST_DATABASE_URL=sqlite://\nOTHER_PROGRAM=1\nPAGE_SIZE=2\n")
    assert Shop().page_size == 2
    assert Shop().model_extra is None


def test_a_reference_in_a_file_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_HOST", "db.internal")
    write(env="DB_USER=app\n", env_development="DATABASE_URL=postgresql://${DB_USER}@${DB_HOST}/shop\n")
    assert Shop().database_url == make_url("postgresql://app@db.internal/shop")


# --- What model_config can say -----------------------------------------------------------------------------------


def test_a_prefix_is_honoured_and_the_two_own_fields_keep_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    write(env="PAGE_SIZE=1\nSHOP_PAGE_SIZE=2\nDATABASE_URL=sqlite:///a.db\nAPP_ENV=staging\n")
    settings = Prefixed()
    assert (settings.page_size, settings.app_env) == (2, "staging")
    assert str(settings.database_url) == "sqlite:///a.db"
    assert set(origins_of(settings).values()) == {"from .env"}
    monkeypatch.setenv("SHOP_DATABASE_URL", "sqlite:///b.db")
    assert str(Prefixed().database_url) == "sqlite:///b.db"
    assert str(Prefixed().origin("database_url")) == "from the variable SHOP_DATABASE_URL"


def test_a_prefixed_environment_variable_does_not_choose_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_APP_ENV", "production")
    assert Prefixed().app_env is Environment.DEVELOPMENT


def test_a_class_may_be_strict_about_case(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(Settings):
        model_config = SettingsConfigDict(case_sensitive=True)
        page_size: int = 20

    monkeypatch.setenv("PAGE_SIZE", "1")
    assert Strict().page_size == 20
    monkeypatch.setenv("page_size", "2")
    assert Strict().page_size == 2
    assert str(Strict().origin("page_size")) == "from the variable page_size"


def test_aliases_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Aliased(Settings):
        size: int = Field(default=0, validation_alias="SHOP_ROWS")
        port: int = Field(default=0, validation_alias=AliasChoices("HTTP_PORT", "PORT"))
        first: str = Field(default="", validation_alias=AliasPath("HOSTS", 0))
        plain: int = Field(default=0, alias="plainAlias")

    write(env='PORT=80\nHOSTS=["a", "b"]\nPLAINALIAS=4\n')
    monkeypatch.setenv("SHOP_ROWS", "7")
    settings = Aliased()
    assert (settings.size, settings.port, settings.first, settings.plain) == (7, 80, "a", 4)
    assert str(settings.origin("size")) == "from the variable SHOP_ROWS"
    assert [str(settings.origin(name)) for name in ("port", "first", "plain")] == ["from .env"] * 3
    monkeypatch.setenv("HTTP_PORT", "81")
    assert Aliased().port == 81
    assert make(Aliased, SHOP_ROWS=9).size == 9
    assert str(make(Aliased, SHOP_ROWS=9).origin("size")) == "passed to " + Aliased.__qualname__


def test_a_class_may_be_filled_by_name_or_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    class Both(Settings):
        model_config = SettingsConfigDict(populate_by_name=True)
        size: int = Field(default=0, validation_alias="SHOP_ROWS")

    monkeypatch.setenv("SIZE", "3")
    assert Both().size == 3
    assert str(Both().origin("size")) == "from the variable SIZE"
    assert Both(size=4).size == 4


def test_a_text_can_stand_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nullable(Settings):
        model_config = SettingsConfigDict(env_parse_none_str="null")
        limit: int | None = 5

    monkeypatch.setenv("LIMIT", "null")
    settings = Nullable()
    assert settings.limit is None
    assert str(settings.origin("limit")) == "from the variable LIMIT"


def test_a_nested_model_is_filled_from_several_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    write(env='MAIN={"host": "low", "port": 1, "tags": ["x"]}\n', env_local="MAIN__HOST=mine\n")
    monkeypatch.setenv("MAIN__PORT", "99")
    settings = make(Nested)
    assert settings.main == Database(host="mine", port=99, tags=["x"])
    assert str(settings.origin("main")) == "from the variable MAIN__PORT"
    assert str(settings.origin("other")) == "by default"


def test_json_in_a_higher_layer_wins_over_parts_in_a_lower_one(monkeypatch: pytest.MonkeyPatch) -> None:
    write(env="MAIN__HOST=low\nMAIN__PORT=1\nOTHER__HOST=o\nHOSTS__A=b\n")
    monkeypatch.setenv("MAIN", '{"host": "high"}')
    settings = make(Nested)
    assert settings.main == Database(host="high", port=1)
    assert (settings.other, settings.hosts) == (Database(host="o"), {"a": "b"})
    assert str(settings.origin("main")) == "from the variable MAIN"


def test_a_variable_that_only_begins_alike_is_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    write(env="MAIN__HOST=low\n")
    monkeypatch.setenv("MAINTAINER", "x")
    assert str(make(Nested).origin("main")) == "from .env"


def test_extras_are_allowed_or_forbidden_as_the_class_says() -> None:
    class Open(Settings):
        model_config = SettingsConfigDict(extra="allow")

    class Closed(Settings):
        model_config = SettingsConfigDict(extra="forbid")

    write(env=f"STRANGER={SECRET}\n")
    assert (Open().model_extra or {})["stranger"] == SECRET
    assert SECRET not in repr(Open())
    with pytest.raises(InvalidSettingError, match="stranger") as caught:
        Closed()
    assert SECRET not in str(caught.value)


def test_the_files_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoFiles(Shop):
        model_config = SettingsConfigDict(env_file=None)

    write(env="PAGE_SIZE=3\nDATABASE_URL=sqlite:///a.db\n")
    for settings in (make(Shop, _env_file=None), NoFiles()):
        assert settings.page_size == 20
        assert str(settings.origin("database_url")) == "by default"
    monkeypatch.setenv("PAGE_SIZE", "4")
    assert make(Shop, _env_file=None).page_size == 4


@pytest.mark.parametrize("absolute", [False, True])
def test_a_file_of_another_name_comes_right_above_the_lowest(absolute: bool, tmp_path: Path) -> None:
    name = str(tmp_path / "shop.conf") if absolute else "shop.conf"

    class WithFile(Shop):
        model_config = SettingsConfigDict(env_file=(".env", name, "not-there.conf"))

    write(env="PAGE_SIZE=1\n")
    Path("shop.conf").write_text("PAGE_SIZE=2\n")
    settings = WithFile()
    assert (settings.page_size, str(settings.origin("page_size"))) == (2, f"from {name}")
    write(env_local="PAGE_SIZE=3\n")
    assert WithFile().page_size == 3


def test_naming_our_own_files_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named(Shop):
        model_config = SettingsConfigDict(env_file=[".env", Path(".env.local"), ".env.production", ".env.test"])

    write(env="PAGE_SIZE=1\n", env_local="PAGE_SIZE=2\n", env_production="PAGE_SIZE=3\n")
    assert Named().page_size == 2
    _lifecycle.reset()
    monkeypatch.setenv("APP_ENV", "test")
    assert Named().page_size == 1


@pytest.mark.parametrize(
    "content", [b"PAGE_SIZE=\xff\n", b'PAGE_SIZE="\n', None], ids=["Latin-1", "an open quote", "a pipe"]
)
def test_a_file_beside_the_project_is_neither_read_nor_waited_for(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Named(Shop):
        model_config = SettingsConfigDict(env_file=".env")

    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    if content is None:
        os.mkfifo(".env")
    else:
        Path(".env").write_bytes(content)
    assert Named().page_size == 20
    assert make(Shop, _env_file=".env").page_size == 20


def test_aliases_that_a_class_generates_leave_the_two_own_fields_their_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Camel(Settings):
        model_config = SettingsConfigDict(alias_generator=to_camel)
        page_size: int = 20

    monkeypatch.setenv("PAGESIZE", "3")
    monkeypatch.setenv("APP_ENV", "prod")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///a.db")
    settings = Camel()
    assert (settings.page_size, settings.app_env, str(settings.database_url)) == (3, "production", "sqlite:///a.db")
    assert origins_of(settings) == {
        "app_env": "from the variable APP_ENV",
        "database_url": "from the variable DATABASE_URL",
        "page_size": "from the variable PAGESIZE",
    }


def test_files_of_secrets_are_read_below_all_layers(tmp_path: Path) -> None:
    class Mounted(Shop):
        model_config = SettingsConfigDict(secrets_dir=str(tmp_path / "run"))

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "page_size").write_text("7")
    (tmp_path / "run" / "secret_key").write_text(SECRET)
    write(env="PAGE_SIZE=8\n")
    settings = Mounted()
    assert (settings.page_size, settings.secret_key.get_secret_value()) == (8, SECRET)
    assert str(settings.origin("secret_key")) == "from secrets_dir"


def test_a_class_may_add_a_source(tmp_path: Path) -> None:
    class WithToml(Shop):
        model_config = SettingsConfigDict(toml_file=tmp_path / "shop.toml")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            ours = super().settings_customise_sources(
                settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings
            )
            return (TomlConfigSettingsSource(settings_cls), *ours)

    (tmp_path / "shop.toml").write_text("page_size = 11\n")
    write(env="PAGE_SIZE=8\n")
    settings = WithToml()
    assert (settings.page_size, str(settings.origin("page_size"))) == (11, "from TomlConfigSettingsSource")


def test_a_source_of_the_application_reads_the_layers_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Commas(EnvSettingsSource):
        def prepare_field_value(self, field_name: str, field: Any, value: Any, value_is_complex: bool) -> Any:
            if field_name == "names" and value:
                return value.split(",")
            return super().prepare_field_value(field_name, field, value, value_is_complex)

    class WithCommas(Settings):
        names: list[str] = Field(default_factory=list)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return super().settings_customise_sources(
                settings_cls, init_settings, Commas(settings_cls), dotenv_settings, file_secret_settings
            )

    monkeypatch.setenv("NAMES", "a,b")
    assert WithCommas().names == ["a", "b"]


def test_a_source_of_another_kind_takes_the_place_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoProcess(Shop):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = TomlConfigSettingsSource(settings_cls, tmp_path / "shop.toml")
            return super().settings_customise_sources(
                settings_cls, init_settings, toml, dotenv_settings, file_secret_settings
            )

    (tmp_path / "shop.toml").write_text("page_size = 11\n")
    write(env="PAGE_SIZE=8\nSECRET_KEY=x\n")
    monkeypatch.setenv("PAGE_SIZE", "9")
    settings = NoProcess()
    assert (settings.page_size, str(settings.origin("page_size"))) == (11, "from TomlConfigSettingsSource")
    assert str(settings.origin("secret_key")) == "from .env"


def test_sources_that_ignore_ours_still_give_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Shop):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],  # noqa: ARG003
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings

    monkeypatch.setenv("PAGE_SIZE", "4")
    settings = Own()
    assert settings.page_size == 4
    assert "page_size=***" in repr(settings)


def test_arguments_of_the_command_line_win(monkeypatch: pytest.MonkeyPatch) -> None:
    class Program(Shop):
        model_config = SettingsConfigDict(cli_parse_args=["--page_size", "9"])

    monkeypatch.setenv("PAGE_SIZE", "4")
    settings = Program()
    assert (settings.page_size, str(settings.origin("page_size"))) == (9, "from the command line")


def test_a_program_may_be_run_by_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    class Program(Shop):
        def cli_cmd(self) -> None:
            pass

    monkeypatch.setenv("APP_ENV", "staging")
    monkeypatch.setenv("SECRET_KEY", SECRET)
    program = CliApp.run(Program, cli_args=["--page_size", "9"])
    assert (program.page_size, program.secret_key.get_secret_value()) == (9, SECRET)
    assert program.app_env is Environment.STAGING
    assert SECRET not in repr(program)


# --- Types -------------------------------------------------------------------------------------------------------


class Typed(Settings):
    secret: SecretStr
    names: list[str]
    pairs: dict[str, int]
    mode: Literal["fast", "safe"]
    folder: Path
    debug: bool
    ratio: float
    colour: Colour
    since: dt.datetime
    pause: dt.timedelta
    limit: int | None
    mix: list[str] | str
    dsn: PostgresDsn


def test_every_common_type_is_read_from_text() -> None:
    write(
        env=f"""
SECRET={SECRET}
NAMES=["a", "b"]
PAIRS={{"a": 1}}
MODE=safe
FOLDER=/srv/shop
DEBUG=yes
RATIO=0.5
COLOUR=blue
SINCE=2026-01-31T12:00:00Z
PAUSE=PT30S
LIMIT=3
MIX=["x"]
DSN=postgresql://app@localhost/shop
"""
    )
    settings = make(Typed)
    assert settings.secret.get_secret_value() == SECRET
    assert (settings.names, settings.pairs, settings.mode) == (["a", "b"], {"a": 1}, "safe")
    assert (settings.folder, settings.debug, settings.ratio) == (Path("/srv/shop"), True, 0.5)
    assert (settings.colour, settings.limit, settings.mix) == (Colour.BLUE, 3, ["x"])
    assert (settings.since.year, settings.pause.total_seconds()) == (2026, 30)
    assert str(settings.dsn) == "postgresql://app@localhost/shop"
    assert {str(settings.origin(name)) for name in Typed.model_fields if name not in ("app_env", "database_url")} == {
        "from .env"
    }


def test_arguments_are_checked_like_any_value() -> None:
    assert make(Shop, page_size="7").page_size == 7


# --- The environment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["", "dev", "Staging", "prod", "test"])
def test_app_env_is_the_environment_of_the_process(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", word)
    assert Settings().app_env is _lifecycle.current_environment()


def test_app_env_follows_the_variable_and_the_words_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.engineroom]\nenvironment_variable = "STAGE"\nenvironments = { qa = "staging" }\n'
    )
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("STAGE", "qa")
    write(env_staging="PAGE_SIZE=3\n", env_qa="PAGE_SIZE=4\n")
    settings = Shop()
    assert (settings.app_env, settings.page_size) == (Environment.STAGING, 3)
    assert str(settings.origin("app_env")) == "from the variable STAGE"
    assert make(Shop, app_env="qa").app_env is Environment.STAGING


def test_app_env_may_be_a_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(Settings):
        app_env: str = "local"  # type: ignore[assignment]

    monkeypatch.setenv("APP_ENV", "prod")
    assert Plain().app_env == "production"
    assert type(Plain().app_env) is str
    assert Plain(app_env="production").app_env == "production"


def test_app_env_may_have_an_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    class Aliased(Settings):
        app_env: Environment = Field(default=Environment.DEVELOPMENT, validation_alias="MODE")

    monkeypatch.setenv("MODE", "nonsense")
    monkeypatch.setenv("APP_ENV", "prod")
    assert Aliased().app_env is Environment.PRODUCTION


@pytest.mark.parametrize("other", ["production", Environment.STAGING, "nonsense", 3])
def test_another_environment_as_an_argument_is_an_error(other: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "test")
    with pytest.raises(InvalidSettingError, match="app_env") as caught:
        make(Settings, app_env=other)
    assert "is not the environment of this process, which is test (from the variable APP_ENV)" in str(caught.value)


def test_another_environment_on_the_command_line_is_an_error() -> None:
    class Program(Settings):
        model_config = SettingsConfigDict(cli_parse_args=["--app_env", "production"])

    with pytest.raises(InvalidSettingError, match="from the command line"):
        Program()
    assert _lifecycle.frozen_by() is None


def test_making_settings_freezes_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "staging")
    Shop()
    frozen = _lifecycle.frozen_by()
    assert frozen is not None
    assert frozen.environment is Environment.STAGING
    assert frozen.what == f"the settings object {__name__}.Shop"
    assert frozen.module == __name__
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(EnvironmentChangedError, match="froze it as staging"):
        Shop()


def test_settings_that_could_not_be_made_freeze_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_SIZE", "many")
    with pytest.raises(InvalidSettingError):
        Shop()
    assert _lifecycle.frozen_by() is None


def test_an_unknown_environment_is_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "nonsense")
    with pytest.raises(UnknownEnvironmentError):
        Shop()


def test_in_a_test_process_settings_are_those_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    write(env_test="PAGE_SIZE=2\n", env_production="PAGE_SIZE=3\n")
    _lifecycle.enter_test_process()
    settings = Shop()
    assert (settings.app_env, settings.page_size) == (Environment.TEST, 2)
    assert "app_env=test (set by the pytest plugin)" in repr(settings)
    monkeypatch.setenv("APP_ENV", "nonsense")
    assert Shop().app_env is Environment.TEST


# --- database_url ------------------------------------------------------------------------------------------------


def test_in_development_there_is_a_file_in_the_project_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    url = Settings().database_url
    assert url == URL.create("sqlite", database=str(tmp_path / "development.db"))
    assert str(Settings().origin("database_url")) == "by default"


@pytest.mark.parametrize("strange", ["100%", "a?b", "a#b", "ümlaut", "two words"])
def test_a_root_with_a_strange_name_is_no_obstacle(
    strange: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / strange).mkdir()
    monkeypatch.chdir(tmp_path / strange)
    url = Settings().database_url
    assert url is not None
    engine = create_engine(url)
    with engine.connect():
        pass
    engine.dispose()
    assert (tmp_path / strange / "development.db").exists()


@pytest.mark.parametrize("word", ["test", "staging", "production"])
def test_elsewhere_there_is_none_and_the_settings_start_all_the_same(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_ENV", word)
    assert Settings().database_url is None
    assert "database_url=None (by default)" in repr(Settings())


def test_the_url_is_one_that_sqlalchemy_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f" sqlite:///{tmp_path}/shop.db ")
    url = Settings().database_url
    assert isinstance(url, URL)
    engine = create_engine(url, pool_pre_ping=True)
    assert engine.url.database == f"{tmp_path}/shop.db"
    engine.dispose()


def test_the_scheme_that_hosts_hand_out_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://app@db/shop")
    assert Settings().database_url == make_url("postgresql://app@db/shop")


def test_a_url_may_be_passed_as_text_or_as_an_object() -> None:
    url = make_url("postgresql://app:pw@db/shop")
    for passed in (url, url.render_as_string(hide_password=False)):
        settings = make(Settings, database_url=passed)
        assert settings.database_url == url
        assert str(settings.origin("database_url")) == "passed to Settings"


@pytest.mark.parametrize("bad", ["nonsense", f"postgresql://app:{SECRET}@db:port/shop", "://", 3, b"sqlite://", {}])
def test_a_malformed_url_is_an_error_that_does_not_repeat_it(
    bad: object, shown_by: Callable[[BaseException], str]
) -> None:
    with pytest.raises(InvalidSettingError, match="should be a database URL") as caught:
        make(Settings, database_url=bad)
    assert "DATABASE_URL=sqlite:///shop.db" in str(caught.value)
    assert SECRET not in shown_by(caught.value)


REDECLARED = {
    "a text that is needed, in development": ("", {}, "sqlite:///{root}/development.db"),
    "a text that is needed, from the variable": ("prod", {"DATABASE_URL": "postgres://db/shop"}, "postgres://db/shop"),
}


@pytest.mark.parametrize(("word", "environ", "expected"), REDECLARED.values(), ids=REDECLARED)
def test_an_application_may_need_the_url_as_a_text(
    word: str, environ: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Needed(Settings):
        database_url: str  # type: ignore[assignment]

    monkeypatch.setenv("APP_ENV", word)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert make(Needed).database_url == expected.format(root=tmp_path)
    assert "pw" not in repr(make(Needed, database_url="postgresql://app:pw@db/shop"))


def test_a_needed_url_that_is_missing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Needed(Settings):
        database_url: str  # type: ignore[assignment]

    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(MissingSettingError, match="DATABASE_URL is set nowhere"):
        make(Needed)


def test_an_application_may_have_its_own_default(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Settings):
        database_url: str = "sqlite:///./own.db"  # type: ignore[assignment]

    assert make(Own).database_url == "sqlite:///./own.db"
    monkeypatch.setenv("DATABASE_URL", "sqlite:///x.db")
    assert make(Own).database_url == "sqlite:///x.db"


def test_an_application_may_name_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Settings):
        database_url: str | None = Field(default=None, validation_alias="SHOP_DB")  # type: ignore[assignment]

    monkeypatch.setenv("DATABASE_URL", "sqlite:///theirs.db")
    assert Own().database_url is None
    monkeypatch.setenv("SHOP_DB", "sqlite:///own.db")
    assert make(Own).database_url == "sqlite:///own.db"


def test_a_secret_text_is_not_unwrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Settings):
        database_url: SecretStr  # type: ignore[assignment]

    monkeypatch.setenv("DATABASE_URL", f"postgresql://app:{SECRET}@db/shop")
    assert "database_url=*** (from the variable DATABASE_URL)" in repr(make(Own))


UNDER_TEST: dict[str, tuple[dict[str, str], dict[str, str], str | None, str]] = {
    "nothing configured": ({}, {}, None, "by default"),
    "the application's own": ({}, {"env": "DATABASE_URL=sqlite:///app.db"}, "sqlite:///app.db", "from .env"),
    "an exported one": ({"DATABASE_URL": "sqlite:///p.db"}, {}, "sqlite:///p.db", "from the variable DATABASE_URL"),
    "a test variable over an exported one": (
        {"DATABASE_URL": "sqlite:///live.db", "TEST_DATABASE_URL": "sqlite:///test_x.db"},
        {},
        "sqlite:///test_x.db",
        "from the variable TEST_DATABASE_URL",
    ),
    "a test variable in a file over an exported one": (
        {"DATABASE_URL": "sqlite:///live.db"},
        {"env": "TEST_DATABASE_URL=sqlite:///test_y.db"},
        "sqlite:///test_y.db",
        "from .env",
    ),
    "the file of the test over an exported one": (
        {"DATABASE_URL": "sqlite:///live.db"},
        {"env_test": "DATABASE_URL=sqlite:///test_z.db"},
        "sqlite:///test_z.db",
        "from .env.test",
    ),
    "one person's file of the test first": (
        {"DATABASE_URL": "sqlite:///live.db"},
        {"env_test": "DATABASE_URL=sqlite:///test_z.db", "env_test_local": "DATABASE_URL=sqlite:///test_me.db"},
        "sqlite:///test_me.db",
        "from .env.test.local",
    ),
    "the test variable over the file of the test": (
        {},
        {"env": "TEST_DATABASE_URL=sqlite:///test_y.db", "env_test": "DATABASE_URL=sqlite:///test_z.db"},
        "sqlite:///test_y.db",
        "from .env",
    ),
}


@pytest.mark.parametrize(("environ", "files", "url", "origin"), UNDER_TEST.values(), ids=UNDER_TEST)
@pytest.mark.parametrize("settings_class", [Settings, Prefixed])
def test_under_test_the_project_s_own_test_database_wins(  # noqa: PLR0913, PLR0917
    settings_class: type[Settings],
    environ: dict[str, str],
    files: dict[str, str],
    url: str | None,
    origin: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    write(**files)
    monkeypatch.setenv("APP_ENV", "test")
    settings = settings_class()
    assert (settings.database_url and str(settings.database_url)) == url
    assert str(settings.origin("database_url")) == origin


def test_outside_of_test_the_test_database_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "sqlite:///test_x.db")
    write(env_test="DATABASE_URL=sqlite:///test_z.db")
    assert str(Settings().origin("database_url")) == "by default"


def test_a_url_that_is_passed_wins_under_test_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "test")
    monkeypatch.setenv("TEST_DATABASE_URL", "sqlite:///test_x.db")
    settings = make(Settings, database_url="sqlite:///test_mine.db")
    assert str(settings.database_url) == "sqlite:///test_mine.db"


# --- What is shown -----------------------------------------------------------------------------------------------


def test_a_repr_has_origins_in_the_place_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    write(env=f"APP_ENV=development\nDATABASE_URL=postgresql://app:{SECRET}@db/shop?sslpassword={SECRET}\n")
    monkeypatch.setenv("SECRET_KEY", SECRET)
    settings = Shop()
    assert repr(settings) == (
        "Shop(app_env=development (from .env), "
        "database_url=postgresql://app:***@db/shop?sslpassword=*** (from .env), "
        "secret_key=*** (from the variable SECRET_KEY), page_size=*** (by default))"
    )
    assert str(settings) in repr(settings).replace(", ", " ")
    assert f"{settings}" == str(settings)


def test_pretty_printers_see_no_value_either() -> None:
    settings = Shop(secret_key=SecretStr(SECRET), page_size=4711)
    rich: Any = settings
    shown = repr(list(rich.__rich_repr__())) + "".join(map(str, rich.__pretty__(repr)))
    assert "4711" not in shown
    assert "passed to Shop" in shown


def test_computed_and_hidden_fields_are_not_shown() -> None:
    class Computed(Shop):
        hidden: str = Field(default=SECRET, repr=False)

        @computed_field  # type: ignore[prop-decorator]
        @property
        def doubled(self) -> str:
            raise AssertionError("a repr must not compute anything")

    assert "hidden=" not in repr(Computed())
    assert "doubled=" not in repr(Computed())


def test_settings_that_were_never_read_can_be_shown() -> None:
    settings = Shop.model_construct(page_size=3)
    assert "page_size=*** (by default)" in repr(settings)
    assert repr(Shop.__new__(Shop)).startswith("Shop(app_env=")


def test_a_dump_gives_the_values_and_json_masks_the_password() -> None:
    url = f"postgresql://app:{SECRET}@db/shop"
    settings = make(Settings, database_url=url)
    assert settings.model_dump() == {"app_env": Environment.DEVELOPMENT, "database_url": url}
    assert json.loads(settings.model_dump_json()) == {
        "app_env": "development",
        "database_url": "postgresql://app:***@db/shop",
    }
    assert make(Settings, **settings.model_dump()) == settings
    assert make(Settings, database_url=None).model_dump_json().endswith('"database_url":null}')


def test_a_json_schema_can_be_made() -> None:
    for mode in ("validation", "serialization"):
        properties = Shop.model_json_schema(mode=mode)["properties"]
        assert set(properties) == {"app_env", "database_url", "secret_key", "page_size"}
        assert properties["database_url"]["anyOf"][0]["type"] == "string"


def test_the_origin_of_an_unknown_field_is_an_error() -> None:
    with pytest.raises(InvalidSettingError, match='Shop has no field "page_sise"') as caught:
        Shop().origin("page_sise")
    assert "Fix: ask for page_size." in str(caught.value)
    with pytest.raises(InvalidSettingError, match="ask for one of them"):
        Shop().origin("zzz")


def test_a_field_called_origin_is_the_application_s_own() -> None:
    with pytest.warns(UserWarning, match='"origin"'):

        class Cors(Settings):
            origin: str = "https://example.org"  # type: ignore[assignment]

    assert Cors().origin == "https://example.org"
    assert "origin=*** (by default)" in repr(Cors())


# --- Frozen ------------------------------------------------------------------------------------------------------


def test_an_assignment_is_an_error_that_repeats_no_value(shown_by: Callable[[BaseException], str]) -> None:
    settings = Shop()
    with pytest.raises(InvalidSettingError, match=r"^Shop\.page_size cannot be changed") as caught:
        setattr(settings, "page_size", SECRET)  # noqa: B010
    assert SECRET not in shown_by(caught.value)
    with pytest.raises(InvalidSettingError, match="cannot be changed"):
        setattr(settings, "unknown", 1)  # noqa: B010
    with pytest.raises(InvalidSettingError, match="cannot be changed"):
        del settings.page_size
    assert settings.page_size == 20


def test_a_class_may_thaw_itself() -> None:
    class Thawed(Shop):
        model_config = SettingsConfigDict(frozen=False)

    settings = Thawed()
    settings.page_size = 3
    assert settings.page_size == 3
    del settings.page_size


def test_private_attributes_are_the_application_s_own_business() -> None:
    class WithPrivate(Shop):
        _cache: int = 0

    settings = WithPrivate()
    settings._cache = 3
    assert settings._cache == 3
    del settings._cache


def test_frozen_settings_can_be_a_key() -> None:
    assert len({Shop(), Shop(), Shop(page_size=1)}) == 2


def test_a_copy_takes_other_values_and_says_so() -> None:
    write(env="PAGE_SIZE=3\n")
    settings = Shop()
    other = settings.model_copy(update={"page_size": 4})
    assert (other.page_size, str(other.origin("page_size"))) == (4, "passed to model_copy")
    assert (settings.page_size, str(settings.origin("page_size"))) == (3, "from .env")
    assert origins_of(settings.model_copy(deep=True)) == origins_of(settings)


def pickle_and_back(settings: Shop) -> Shop:
    again = pickle.loads(pickle.dumps(settings))  # noqa: S301 - our own
    assert isinstance(again, Shop)
    return again


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle_and_back])
def test_origins_survive_copies_and_pickles(again: Callable[[Shop], Shop]) -> None:
    settings = Shop(page_size=3)
    other = again(settings)
    assert other == settings
    assert origins_of(other) == origins_of(settings)


# --- One instance a class ----------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    path = tmp_path / "shop_config.py"
    path.write_text(
        "from engineroom import Settings, get_settings\n"
        "class Shop(Settings):\n    page_size: int = 20\n"
        "settings = get_settings(Shop)\n"
    )
    spec = importlib.util.spec_from_file_location("shop_config", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["shop_config"] = loaded
    spec.loader.exec_module(loaded)
    yield loaded
    del sys.modules["shop_config"]


def test_a_class_has_one_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    first = get_settings(Shop)
    monkeypatch.setenv("PAGE_SIZE", "3")
    monkeypatch.setenv("APP_ENV", "production")
    assert get_settings(Shop) is first


def test_a_subclass_has_its_own() -> None:
    class Bigger(Shop):
        more: int = 1

    assert type(get_settings(Bigger)) is Bigger
    assert type(get_settings(Shop)) is Shop
    assert type(get_settings(Settings)) is Settings
    assert get_settings(Bigger) is get_settings(Bigger)


def test_settings_of_a_failed_call_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_SIZE", "many")
    with pytest.raises(InvalidSettingError):
        get_settings(Shop)
    monkeypatch.setenv("PAGE_SIZE", "3")
    assert get_settings(Shop).page_size == 3


def test_another_class_after_the_environment_changed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    get_settings(Shop)
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(EnvironmentChangedError):
        get_settings(Prefixed)


def test_every_thread_gets_the_same_instance() -> None:
    found: list[Shop] = []
    barrier = threading.Barrier(8)

    def get() -> None:
        barrier.wait()
        found.append(get_settings(Shop))

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(settings) for settings in found}) == 1


def test_settings_may_ask_for_other_settings_while_they_are_made() -> None:
    class Outer(Settings):
        inner: Shop = Field(default_factory=lambda: get_settings(Shop))

    outer = get_settings(Outer)
    assert outer.inner is get_settings(Shop)
    assert str(outer.origin("inner")) == "by default"


def test_what_goes_wrong_in_inner_settings_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Outer(Settings):
        inner: Shop = Field(default_factory=lambda: get_settings(Shop))

    monkeypatch.setenv("PAGE_SIZE", "many")
    with pytest.raises(InvalidSettingError, match=r"\.Shop cannot be made: one field"):
        get_settings(Outer)


def test_a_module_that_is_loaded_again_has_working_settings(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = module.settings
    assert module.__spec__
    assert module.__spec__.loader
    monkeypatch.setenv("PAGE_SIZE", "3")
    module.__spec__.loader.exec_module(module)
    assert module.settings is not first
    assert module.settings.page_size == 3
    frozen = _lifecycle.frozen_by()
    assert frozen is not None
    assert frozen.module == "shop_config"


@pytest.mark.parametrize("wrong", [BaseSettings, int, "Settings", None])
def test_only_a_class_of_settings_has_an_instance(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"derives from engineroom\.Settings"):
        get_settings(wrong)


def test_an_instance_is_no_class() -> None:
    with pytest.raises(TypeError, match=r"derives from engineroom\.Settings"):
        get_settings(Shop())  # type: ignore[arg-type]


# --- Cost and door -----------------------------------------------------------------------------------------------


def test_the_names_stand_at_the_front_door() -> None:
    assert engineroom.Settings is Settings
    assert engineroom.get_settings is get_settings


def test_settings_without_a_database_load_no_sqlalchemy(tmp_path: Path) -> None:
    code = """
import os, sys
os.environ["APP_ENV"] = "production"
from engineroom.settings import Settings, get_settings
class Shop(Settings):
    page_size: int = 3
print(get_settings(Shop), "sqlalchemy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip().endswith("False")
