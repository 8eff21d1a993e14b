"""Settings that cannot be made: one error that lists every field at fault, and never a value."""

import datetime as dt
import decimal
import enum
import ipaddress
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AnyUrl,
    BaseModel,
    Field,
    HttpUrl,
    PostgresDsn,
    RootModel,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import TypeAliasType

from engineroom import _lifecycle
from engineroom.errors import ConfigurationError, EngineroomError, InvalidSettingError, MissingSettingError
from engineroom.settings import Settings, get_settings
from engineroom.settings._examples import example_of
from engineroom.settings._faults import describe

SECRET = "correct-horse-battery"
S = TypeVar("S", bound=Settings)


def make(settings_class: type[S], **values: object) -> S:
    """Make settings, also from arguments that a type checker would not let through."""
    return settings_class(**values)


def refusal_of(settings_class: type[Settings], **values: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        make(settings_class, **values)
    return caught.value


def lines_of(error: ConfigurationError) -> list[str]:
    return [line.removeprefix("  - ").removesuffix(".") for line in error.why.splitlines() if line.startswith("  - ")]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Database(BaseModel):
    host: str
    port: int = 5432


class Shop(Settings):
    shop_secret: SecretStr
    shop_size: int


class Foreign(BaseSettings):
    foreign_size: int


def make_foreign() -> Foreign:
    return Foreign.model_validate({})


class Holder(BaseModel):
    shop: Shop


class Nested(Settings):
    model_config = SettingsConfigDict(env_nested_delimiter="__")

    shop_main: Database


class Whole(Settings):
    shop_main: Database


# --- The message -------------------------------------------------------------------------------------------------


def test_missing_fields_are_told_at_once_with_an_example_each(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1\n")
    error = refusal_of(Shop)
    assert type(error) is MissingSettingError
    assert str(error) == (
        f"{__name__}.Shop misses the value of 2 fields.\n\n"
        "Why: in the environment development,\n"
        "  - shop_secret: SHOP_SECRET is set nowhere (searched: the process environment, .env); "
        "for example: SHOP_SECRET=a-long-random-text\n"
        "  - shop_size: SHOP_SIZE is set nowhere (searched: the process environment, .env); "
        "for example: SHOP_SIZE=10.\n"
        f"Fix: write the line into {tmp_path}/.env, or export the variable.\n"
        "Ref: missing-setting"
    )


def test_one_wrong_value_makes_it_an_invalid_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "test")
    (tmp_path / ".env.test").write_text("SHOP_SIZE=many\n")
    error = refusal_of(Shop)
    assert type(error) is InvalidSettingError
    assert str(error) == (
        f"{__name__}.Shop cannot be made: 2 fields cannot be filled.\n\n"
        "Why: in the environment test,\n"
        "  - shop_secret: SHOP_SECRET is set nowhere (searched: the process environment, .env.test); "
        "for example: SHOP_SECRET=a-long-random-text\n"
        "  - shop_size (SHOP_SIZE, from .env.test) should be a valid integer, "
        "unable to parse string as an integer; for example: SHOP_SIZE=10.\n"
        "Fix: correct the value in its place.\n"
        "Ref: invalid-setting"
    )


@pytest.mark.parametrize(
    ("file", "place"), [(None, "in the process environment"), (".env", "in .env")], ids=["exported", "in a file"]
)
def test_a_value_that_is_empty_is_missing_and_told_to_be_empty(
    file: str | None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if file:
        Path(file).write_text("shop_size=\n")
    else:
        monkeypatch.setenv("SHOP_SIZE", "")
    error = refusal_of(Shop, shop_secret=SECRET)
    assert lines_of(error) == [f"shop_size: SHOP_SIZE is empty {place}; for example: SHOP_SIZE=10"]
    assert type(error) is MissingSettingError


def test_under_test_the_line_belongs_into_the_file_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "test")
    assert refusal_of(Shop).fix == (f"write the line into {tmp_path}/.env.test, or export the variable",)


def test_an_argument_at_fault_is_told_as_an_argument() -> None:
    error = refusal_of(Shop, shop_secret="x", shop_size="many")
    assert lines_of(error)[0].startswith("shop_size (SHOP_SIZE, passed to Shop) should be a valid integer")


def test_the_variable_of_an_alias_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Aliased(Settings):
        model_config = SettingsConfigDict(env_prefix="SHOP_")
        size: int = Field(validation_alias="ROWS")
        page: int

    monkeypatch.setenv("ROWS", "many")
    lines = lines_of(refusal_of(Aliased))
    assert lines[0].startswith("size (from the variable ROWS) should be a valid integer")
    assert lines[1].startswith("page: SHOP_PAGE is set nowhere")


def test_the_files_are_not_named_where_they_were_left_out(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SHOP_SIZE=1\n")
    assert "(searched: the process environment)" in lines_of(refusal_of(Shop, _env_file=None))[1]


WAYS: dict[str, Callable[[], object]] = {
    "model_validate": lambda: Shop.model_validate({"shop_secret": SECRET, "shop_size": SECRET}),
    "model_validate_json": lambda: Shop.model_validate_json(f'{{"shop_secret": "x", "shop_size": "{SECRET}"}}'),
    "a TypeAdapter": lambda: TypeAdapter(Shop).validate_python({"shop_secret": SECRET, "shop_size": SECRET}),
    "a field of another model": lambda: Holder(shop={"shop_secret": SECRET, "shop_size": SECRET}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_of_making_settings_tells_it_our_way(
    way: Callable[[], object], shown_by: Callable[[BaseException], str]
) -> None:
    with pytest.raises(InvalidSettingError, match="should be a valid integer") as caught:
        way()
    assert SECRET not in shown_by(caught.value)


def test_get_settings_tells_the_same() -> None:
    with pytest.raises(MissingSettingError, match="misses the value of 2 fields"):
        get_settings(Shop)


def test_a_file_that_cannot_be_read_is_told_before_any_field(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(InvalidSettingError, match=r"^\.env cannot be read"):
        make(Shop)


# --- Nested models -----------------------------------------------------------------------------------------------

NESTED: dict[str, tuple[type[Settings], dict[str, str], str]] = {
    "a missing part": (
        Nested,
        {"SHOP_MAIN__PORT": "1"},
        (
            "shop_main.host: SHOP_MAIN__HOST is set nowhere (searched: the process environment); "
            "for example: SHOP_MAIN__HOST=some-text"
        ),
    ),
    "a wrong part": (
        Nested,
        {"SHOP_MAIN__HOST": "h", "shop_main__port": "p"},
        (
            "shop_main.port (SHOP_MAIN__PORT, from the variable shop_main__port) should be a valid integer, "
            "unable to parse string as an integer; for example: SHOP_MAIN__PORT=10"
        ),
    ),
    "a wrong part in JSON": (
        Nested,
        {"SHOP_MAIN": '{"host": "h", "port": "p"}'},
        (
            "shop_main.port (SHOP_MAIN__PORT, from the variable SHOP_MAIN) should be a valid integer, "
            "unable to parse string as an integer; for example: SHOP_MAIN__PORT=10"
        ),
    ),
    "a part that JSON lacks": (
        Whole,
        {"SHOP_MAIN": '{"port": 1}'},
        (
            'shop_main.host (from the variable SHOP_MAIN) lacks the key "host"; '
            'for example: SHOP_MAIN={"host": "some-text"}'
        ),
    ),
    "a part that is wrong in JSON": (
        Whole,
        {"SHOP_MAIN": '{"host": "h", "port": "p"}'},
        (
            "shop_main.port (from the variable SHOP_MAIN) should be a valid integer, "
            'unable to parse string as an integer; for example: SHOP_MAIN={"host": "some-text"}'
        ),
    ),
    "nothing at all": (
        Whole,
        {},
        (
            "shop_main: SHOP_MAIN is set nowhere (searched: the process environment); "
            'for example: SHOP_MAIN={"host": "some-text"}'
        ),
    ),
    "no JSON": (
        Whole,
        {"SHOP_MAIN": "{host"},
        'shop_main (from the variable SHOP_MAIN) is not valid JSON; for example: SHOP_MAIN={"host": "some-text"}',
    ),
    "JSON of another kind": (
        Whole,
        {"SHOP_MAIN": "[1]"},
        (
            "shop_main (from the variable SHOP_MAIN) should be a valid dictionary or instance of Database; "
            'for example: SHOP_MAIN={"host": "some-text"}'
        ),
    ),
}


@pytest.mark.parametrize(("settings_class", "environ", "line"), NESTED.values(), ids=NESTED)
def test_a_field_of_a_nested_model_is_named_by_its_own_variable(
    settings_class: type[Settings], environ: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert lines_of(refusal_of(settings_class)) == [line]


def test_a_fault_in_settings_of_another_library_is_told_as_far_as_it_is_known(
    monkeypatch: pytest.MonkeyPatch, shown_by: Callable[[BaseException], str]
) -> None:
    class Outer(Settings):
        shop_inner: Foreign = Field(default_factory=make_foreign)

    assert lines_of(refusal_of(Outer)) == [
        "foreign_size: FOREIGN_SIZE is set nowhere (searched: the process environment)"
    ]
    monkeypatch.setenv("FOREIGN_SIZE", SECRET)
    error = refusal_of(Outer)
    assert lines_of(error) == [
        "foreign_size (from the variable FOREIGN_SIZE) should be a valid integer, unable to parse string as an integer"
    ]
    assert SECRET not in shown_by(error)


def test_a_part_of_an_argument_is_told_as_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_MAIN__PORT", "1")
    error = refusal_of(Nested, shop_main={"host": "h", "port": "p"})
    assert lines_of(error)[0].startswith("shop_main.port (SHOP_MAIN__PORT, passed to Nested) should be a valid integer")


def test_broken_json_hides_no_other_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(Settings):
        shop_names: list[str]
        shop_more: dict[str, int]
        shop_size: int

    monkeypatch.setenv("SHOP_NAMES", "a,b")
    monkeypatch.setenv("SHOP_MORE", "{")
    assert [line.split(" ")[0] for line in lines_of(refusal_of(Two))] == ["shop_names", "shop_more", "shop_size:"]


def test_broken_json_in_a_lower_layer_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class One(Settings):
        shop_names: list[str]

    (tmp_path / ".env").write_text("SHOP_NAMES=a,b\n")
    monkeypatch.setenv("SHOP_NAMES", '["a"]')
    assert make(One).shop_names == ["a"]


def test_broken_json_matters_where_a_higher_layer_gives_but_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SHOP_MAIN={port\n")
    monkeypatch.setenv("SHOP_MAIN__HOST", "h")
    assert lines_of(refusal_of(Nested))[0].startswith("shop_main (SHOP_MAIN, from .env) is not valid JSON")


# --- No value, ever ----------------------------------------------------------------------------------------------


def check_length(value: str) -> str:
    raise ValueError(f"{value} is too short")


def check_by_assertion(value: str) -> str:
    assert not value, value
    return value


def check_with_custom_error(value: str) -> str:
    raise PydanticCustomError("short", "the value {value} is short", {"value": value})


def check_with_forged_error(value: str) -> str:
    raise PydanticCustomError("string_type", f"{value} is no string")


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Checked(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def check(cls, value: str) -> str:
        raise ValueError(value)


TYPES: dict[str, tuple[Any, str, str]] = {
    "an integer": (int, SECRET, "should be a valid integer"),
    "a number": (float, SECRET, "should be a valid number"),
    "a decimal": (decimal.Decimal, SECRET, "should be a valid decimal"),
    "a boolean": (bool, SECRET, "should be a valid boolean"),
    "a literal": (Literal["fast", "safe"], SECRET, "should be 'fast' or 'safe'"),
    "an enumeration": (Colour, SECRET, "should be 'red' or 'blue'"),
    "a list without JSON": (list[str], SECRET, "is not valid JSON"),
    "a list of integers": (list[int], f'["{SECRET}"]', "should be a valid integer"),
    "a table with a secret key": (dict[str, int], f'{{"{SECRET}": "x"}}', "should be a valid integer"),
    "a table with a secret key and value": (dict[int, int], f'{{"{SECRET}": "{SECRET}"}}', "should be a valid integer"),
    "a day": (dt.date, SECRET, "should be a valid date"),
    "a moment": (dt.datetime, SECRET, "should be a valid datetime"),
    "a time": (dt.time, SECRET, "should be in a valid time format"),
    "a length of time": (dt.timedelta, SECRET, "should be a valid timedelta"),
    "a UUID": (uuid.UUID, SECRET, "should be a valid UUID"),
    "an address": (ipaddress.IPv4Address, SECRET, "is refused by its type (ip_v4_address)"),
    "a URL": (HttpUrl, SECRET, "should be a valid URL"),
    "a URL of another scheme": (HttpUrl, f"ftp://u:{SECRET}@h", "is refused: URL scheme should be 'http' or 'https'"),
    "a DSN": (PostgresDsn, f"mysql://u:{SECRET}@h/d", "is refused: URL scheme should be"),
    "a text too long": (Annotated[str, Field(max_length=3)], SECRET, "is refused: String should have at most 3"),
    "a text of a pattern": (
        Annotated[str, Field(pattern="^x")],
        SECRET,
        "is refused: String should match pattern '^x'",
    ),
    "a secret too long": (Annotated[SecretStr, Field(max_length=3)], SECRET, "should have at most 3"),
    "a union": (int | bool, SECRET, "unable to interpret input"),
    "a tagged union": (
        Annotated[Cat | Dog, Field(discriminator="kind")],
        f'{{"kind": "{SECRET}"}}',
        "is refused: Input tag '***' found using 'kind' does not match any of the expected tags: 'cat', 'dog'",
    ),
    "a check by an exception": (
        Annotated[str, AfterValidator(check_length)],
        SECRET,
        "is refused by the application's own check check_length, test_settings_faults.py line ",
    ),
    "a check by an assertion": (
        Annotated[str, AfterValidator(check_by_assertion)],
        SECRET,
        "is refused by the application's own check check_by_assertion, ",
    ),
    "a check by an error of pydantic": (
        Annotated[str, AfterValidator(check_with_custom_error)],
        SECRET,
        "is refused by its type (short)",
    ),
    "a check by a forged error": (
        Annotated[str, AfterValidator(check_with_forged_error)],
        SECRET,
        "should be a valid string",
    ),
    "a check in a nested model": (Checked, f'{{"name": "{SECRET}"}}', "own check Checked.check, "),
    "a secret in capitals": (
        Annotated[str, AfterValidator(lambda text: check_length(text.upper()))],
        SECRET,
        "own check ",
    ),
}


def settings_with(annotation: Any) -> type[Settings]:
    return type("Made", (Settings,), {"__annotations__": {"shop_value": annotation}, "__module__": __name__})


@pytest.mark.parametrize(("annotation", "text", "problem"), TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("way", ["exported", "in a file", "passed"])
def test_a_value_at_fault_is_described_and_not_shown(  # noqa: PLR0913, PLR0917
    way: str,
    annotation: Any,
    text: str,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    shown_by: Callable[[BaseException], str],
) -> None:
    settings_class, values = settings_with(annotation), {}
    if way == "exported":
        monkeypatch.setenv("SHOP_VALUE", text)
    elif way == "in a file":
        Path(".env").write_text(f"SHOP_VALUE='{text}'\n")
    else:
        values = {"shop_value": text}
    error = refusal_of(settings_class, **values)
    assert type(error) is InvalidSettingError
    shown = shown_by(error).casefold()
    assert SECRET not in shown
    assert (problem in str(error)) or way == "passed"
    assert "shop_value (SHOP_VALUE, passed to Made)" in str(error) or way != "passed"
    assert (error.__cause__, error.__context__) == (None, None)


def test_a_check_of_the_whole_class_is_told_by_its_place(shown_by: Callable[[BaseException], str]) -> None:
    class Together(Settings):
        shop_first: str = SECRET
        shop_second: str = SECRET

        @model_validator(mode="after")
        def check(self) -> "Together":
            raise ValueError(self.shop_first)

    error = refusal_of(Together, shop_second=SECRET)
    (line,) = lines_of(error)
    assert line.startswith("the class as a whole is refused by the application's own check ")
    assert "Together.check, test_settings_faults.py line " in line
    assert type(error) is InvalidSettingError
    assert SECRET not in shown_by(error)


def test_two_checks_that_say_the_same_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_VALUE", '["a", "b", "c"]')
    (line,) = lines_of(refusal_of(settings_with(list[int])))
    assert line.count("should be a valid integer") == 1


def test_an_error_that_is_not_about_values_goes_through_as_it_is() -> None:
    class Broken(Settings):
        @model_validator(mode="after")
        def check(self) -> "Broken":
            raise ConnectionError("no network")

    with pytest.raises(ConnectionError, match="no network"):
        Broken()
    assert _lifecycle.frozen_by() is None


def test_a_source_that_cannot_be_read_is_told_without_its_sentence(
    tmp_path: Path, shown_by: Callable[[BaseException], str]
) -> None:
    class Mounted(Settings):
        model_config = SettingsConfigDict(secrets_dir=str(tmp_path))
        shop_names: list[str] = Field(default_factory=list)

    (tmp_path / "shop_names").write_text(SECRET)
    error = refusal_of(Mounted)
    assert "cannot read the value of shop_names from secrets_dir" in str(error)
    assert SECRET not in shown_by(error)


def test_a_source_that_is_no_source_is_told_too(tmp_path: Path) -> None:
    class Mounted(Settings):
        model_config = SettingsConfigDict(secrets_dir=str(tmp_path / "file"))

    (tmp_path / "file").write_text("")
    assert "cannot read one of its sources" in str(refusal_of(Mounted))


ANY_TYPE = st.sampled_from(
    [
        int,
        float,
        bool,
        list[int],
        dict[str, int],
        Literal["a"],
        Colour,
        dt.date,
        uuid.UUID,
        HttpUrl,
        Database,
        SecretBytes,
        PostgresDsn,
    ]
)


@given(secret=st.from_regex(r"[!-&(-~]{6,30}", fullmatch=True), annotation=ANY_TYPE)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_value_of_any_type_ever_appears(
    secret: str, annotation: Any, monkeypatch: pytest.MonkeyPatch, shown_by: Callable[[BaseException], str]
) -> None:
    monkeypatch.setenv("SHOP_VALUE", secret)
    settings_class = settings_with(annotation)
    try:
        settings = make(settings_class)
    except EngineroomError as error:
        shown = shown_by(error)
    else:
        shown = repr(settings) + str(settings)
    assume(not secret.isdigit())
    assert secret not in shown


# --- Examples ----------------------------------------------------------------------------------------------------


Seconds = TypeAliasType("Seconds", int)


class Tree(BaseModel):
    name: str
    children: "list[Tree]"


type_aliases: dict[Any, str] = {
    str: "some-text",
    SecretStr: "a-long-random-text",
    int: "10",
    bool: "true",
    float: "0.5",
    int | None: "10",
    None | str: "some-text",
    Annotated[int, Field(gt=0)]: "10",
    Literal["fast", "safe"]: "fast",
    Literal[3]: "3",
    Colour: "red",
    list[str]: '["some-text"]',
    list[int]: "[10]",
    list: '["some-text"]',
    tuple[int, str]: "[10]",
    dict[str, int]: '{"key": "value"}',
    Path: "/path/to/it",
    dt.datetime: "2026-01-31T12:00:00Z",
    dt.date: "2026-01-31",
    AnyUrl: "https://example.org/",
    HttpUrl: "https://example.org/",
    PostgresDsn: "postgresql://user@host/name",
    RootModel[list[int]]: "[10]",
    Database: '{"host": "some-text"}',
    Tree: '{"name": "some-text", "children": [{"name": "some-text", "children": ["some-text"]}]}',
    Seconds: "10",
    object: "...",
    Any: "...",
    TypeVar("T"): "...",
}


@pytest.mark.parametrize(("annotation", "example"), type_aliases.items(), ids=str)
def test_an_example_is_of_the_type(annotation: Any, example: str) -> None:
    assert example_of(annotation) == example


@pytest.mark.parametrize(
    "annotation",
    [str, SecretStr, SecretBytes, int, bool, float, decimal.Decimal, int | None, Literal["fast"], Colour, Database,
     list[str], list[int], dict[str, str], Path, uuid.UUID, HttpUrl, PostgresDsn,
     dt.datetime, dt.date, dt.time, dt.timedelta],
)  # fmt: skip
def test_the_example_of_an_error_is_accepted(annotation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_class = settings_with(annotation)
    (line,) = lines_of(refusal_of(settings_class))
    name, _, value = line.rpartition("for example: ")[2].partition("=")
    monkeypatch.setenv(name, value)
    make(settings_class)


@pytest.mark.parametrize(
    ("detail", "clause"),
    [
        ({"type": "value_error", "ctx": {"error": ValueError(SECRET)}}, "is refused by the application's own check"),
        ({"type": "greater_than", "ctx": {"gt": 5}}, "should be greater than 5"),
        ({"type": "greater_than"}, "is refused by its type (greater_than)"),
        ({"type": "get_attribute_error", "ctx": {"error": SECRET}}, "is refused: Error extracting attribute"),
        ({"type": f"{SECRET}!", "ctx": {}}, "is refused by its type"),
        ({"type": "json_invalid", "ctx": {"error": SECRET}}, "is refused: Invalid JSON"),
    ],
)
def test_a_rule_is_told_as_a_clause(detail: dict[str, Any], clause: str) -> None:
    assert describe(detail) == clause
