"""Which database does a bind get? Each sentence of the contract about it is a test here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, make_url

from engineroom import _binds, _run_files
from engineroom._environment import Environment, Origin, OriginKind
from engineroom._layers import read_layers
from engineroom._project import Project
from engineroom.errors import EngineroomError, InvalidSettingError, MissingSettingError, UnsafeTestDatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

SECRET = "geheim-7391"


class Shop:
    """A project in a directory of its own, with the files and the variables of a test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: dict[str, str] = {}
        self.test_names: tuple[str, ...] = ("test_*",)

    def write(self, file: str, text: str) -> None:
        (self.root / file).write_text(text + "\n")

    def resolve(  # noqa: PLR0913
        self,
        argument: str | None = None,
        environment: Environment = Environment.TEST,
        *,
        bind: str = "default",
        outside: bool = False,
        earlier: str | None = None,
        connect_args: Mapping[str, object] | None = None,
    ) -> _binds.Resolution:
        project = Project(self.root, test_names=self.test_names)
        return _binds.resolve(
            bind,
            None if argument is None else make_url(argument),
            environment=environment,
            project=project,
            layers=read_layers(project, environment, self.environ),
            outside=read_layers(project, Environment.DEVELOPMENT, self.environ) if outside else None,
            environ=self.environ,
            connect_args=connect_args,
            earlier=None if earlier is None else make_url(earlier),
        )

    def url(
        self, argument: str | None = None, environment: Environment = Environment.TEST, bind: str = "default"
    ) -> str | None:
        url = self.resolve(argument, environment, bind=bind).url
        return None if url is None else url.render_as_string(hide_password=False)

    def refuse(
        self, argument: str | None = None, connect_args: Mapping[str, object] | None = None, bind: str = "default"
    ) -> UnsafeTestDatabaseError:
        with pytest.raises(UnsafeTestDatabaseError) as caught:
            self.resolve(argument, bind=bind, connect_args=connect_args)
        return caught.value


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    root = tmp_path / "project"
    root.mkdir()
    return Shop(root)


# --- The names of the variables


@pytest.mark.parametrize(
    ("bind", "variable"),
    [
        ("default", "DATABASE_URL"),
        ("analytics", "ANALYTICS_DATABASE_URL"),
        ("Read_Only2", "READ_ONLY2_DATABASE_URL"),
        ("tester", "TESTER_DATABASE_URL"),
    ],
)
def test_a_bind_has_a_variable_and_a_test_variable(bind: str, variable: str) -> None:
    assert _binds.variable_of(bind) == variable
    assert _binds.test_variable_of(bind) == f"TEST_{variable}"


@pytest.mark.parametrize(
    "bind", ["", "a b", "1st", "a-b", "_a", "größe", "a\n", "a=b", "../x", "postgresql://u:geheim-7391@h/d"]
)
def test_the_name_of_a_bind_is_an_identifier_and_is_not_repeated_otherwise(shop: Shop, bind: str) -> None:
    with pytest.raises(InvalidSettingError, match="not an identifier") as caught:
        shop.resolve(bind=bind)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("bind", ["test", "TEST", "test_analytics", "Test_default"])
def test_a_bind_whose_variable_would_be_anothers_test_variable_is_refused(bind: str) -> None:
    with pytest.raises(InvalidSettingError, match="cannot be the name of a bind"):
        _binds.variable_of(bind)


# --- Outside of a test run

OUTSIDE = [Environment.DEVELOPMENT, Environment.STAGING, Environment.PRODUCTION]


@pytest.mark.parametrize("environment", OUTSIDE)
def test_outside_an_argument_comes_first(shop: Shop, environment: Environment) -> None:
    shop.environ["DATABASE_URL"] = "sqlite:///variable.db"
    resolution = shop.resolve("postgresql://db.internal/shop", environment)
    assert resolution.url == make_url("postgresql://db.internal/shop")
    assert resolution.origin == Origin(OriginKind.ARGUMENT, "get_engine")
    assert resolution.rule == "application"
    assert resolution.verdict is None


@pytest.mark.parametrize("environment", OUTSIDE)
def test_outside_the_variable_comes_second(shop: Shop, environment: Environment) -> None:
    shop.environ["DATABASE_URL"] = "postgresql://db.internal/shop"
    resolution = shop.resolve(environment=environment)
    assert resolution.url == make_url("postgresql://db.internal/shop")
    assert resolution.origin == Origin(OriginKind.VARIABLE, "DATABASE_URL")
    assert resolution.application_url == resolution.url
    assert resolution.application_origin == resolution.origin


def test_outside_a_bind_has_its_own_variable(shop: Shop) -> None:
    shop.environ["DATABASE_URL"] = "sqlite:///shop.db"
    shop.write(".env", "ANALYTICS_DATABASE_URL=sqlite:///analytics.db")
    resolution = shop.resolve(environment=Environment.PRODUCTION, bind="analytics")
    assert resolution.url == make_url("sqlite:///analytics.db")
    assert resolution.origin == Origin(OriginKind.FILE, ".env")


def test_in_development_the_default_is_a_file_in_the_project_root(shop: Shop) -> None:
    resolution = shop.resolve(environment=Environment.DEVELOPMENT)
    assert resolution.url == URL.create("sqlite", database=str(shop.root / "development.db"))
    assert resolution.origin.kind is OriginKind.DEFAULT
    assert "development.db in the project root" in str(resolution.origin)


@pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
def test_elsewhere_there_is_no_default(shop: Shop, environment: Environment) -> None:
    with pytest.raises(MissingSettingError) as caught:
        shop.resolve(environment=environment, bind="analytics")
    message = str(caught.value)
    assert "ANALYTICS_DATABASE_URL has no value." in message
    assert f"APP_ENV is {environment}" in message
    assert f".env.{environment}.local" in message
    assert "export ANALYTICS_DATABASE_URL=" in message


@pytest.mark.parametrize("text", ["", "  ", "''"])
def test_an_empty_variable_counts_as_unset(shop: Shop, text: str) -> None:
    shop.write(".env", f"DATABASE_URL={text}")
    assert str(shop.url(environment=Environment.DEVELOPMENT)).endswith("development.db")
    assert shop.resolve().rule == "memory-default"


@pytest.mark.parametrize("argument", ["sqlite:///data/shop.db", "sqlite:///./shop.db", "sqlite+aiosqlite:///../x.db"])
def test_a_relative_path_stays_as_it_is_written(shop: Shop, argument: str) -> None:
    assert shop.url(argument, environment=Environment.DEVELOPMENT) == argument


@pytest.mark.parametrize("argument", ["postgres://localhost/shop", "nosuchdialect://localhost/shop", "sqlite://"])
def test_outside_the_url_stays_as_the_application_wrote_it(shop: Shop, argument: str) -> None:
    assert shop.url(argument, environment=Environment.PRODUCTION) == argument


def test_outside_the_connect_args_stay(shop: Shop) -> None:
    resolution = shop.resolve(
        "postgresql://h/d", Environment.PRODUCTION, connect_args={"dbname": "shop", "sslmode": "require"}
    )
    assert resolution.connect_args == {"dbname": "shop", "sslmode": "require"}


def test_outside_the_test_variable_does_not_count(shop: Shop) -> None:
    shop.environ.update(TEST_DATABASE_URL="sqlite:///test_shop.db", DATABASE_URL="sqlite:///shop.db")
    shop.write(".env.test", "DATABASE_URL=sqlite:///test_other.db")
    for environment in OUTSIDE:
        assert shop.url(environment=environment) == "sqlite:///shop.db"


# --- Under test, rule 1: the test variable


def test_rule_1_the_test_variable_beats_everything(shop: Shop) -> None:
    shop.environ.update(TEST_DATABASE_URL="postgresql://ci/test_shop", DATABASE_URL="sqlite:///test_variable.db")
    shop.write(".env.test", "DATABASE_URL=sqlite:///test_file.db")
    resolution = shop.resolve("sqlite:///test_argument.db")
    assert resolution.url == make_url("postgresql://ci/test_shop")
    assert resolution.rule == "test-variable"
    assert resolution.origin == Origin(OriginKind.VARIABLE, "TEST_DATABASE_URL")
    assert resolution.verdict is not None
    assert resolution.verdict.rule == "test-name"


@pytest.mark.parametrize("file", [".env", ".env.test", ".env.test.local"])
def test_rule_1_the_test_variable_may_stand_in_a_file(shop: Shop, file: str) -> None:
    shop.write(file, "TEST_DATABASE_URL=sqlite:///test_shop.db")
    resolution = shop.resolve("postgresql://db.internal/shop")
    assert (resolution.rule, resolution.origin) == ("test-variable", Origin(OriginKind.FILE, file))


def test_rule_1_does_not_read_the_file_of_one_persons_development(shop: Shop) -> None:
    shop.write(".env.local", "TEST_DATABASE_URL=sqlite:///test_shop.db")
    assert shop.resolve().rule == "memory-default"


def test_rule_1_a_bind_has_its_own_test_variable(shop: Shop) -> None:
    shop.environ.update(TEST_DATABASE_URL="sqlite:///test_a.db", TEST_ANALYTICS_DATABASE_URL="sqlite:///test_b.db")
    assert shop.url(bind="analytics") == "sqlite:///test_b.db"
    assert shop.url() == "sqlite:///test_a.db"
    assert shop.url(bind="stock") is None


def test_rule_1_a_database_in_memory_is_the_binds_own(shop: Shop) -> None:
    shop.environ["TEST_DATABASE_URL"] = "sqlite://"
    resolution = shop.resolve("postgresql://db.internal/shop")
    assert resolution.url is None
    assert resolution.rule == "test-variable"


@pytest.mark.parametrize(
    "unsafe", ["postgresql://db.internal/shop", "sqlite:///shop.db", "sqlite:///test.db", "oracle://h/test_shop"]
)
def test_rule_1_what_is_not_disposable_is_refused(shop: Shop, unsafe: str) -> None:
    shop.environ["TEST_DATABASE_URL"] = unsafe
    error = shop.refuse("sqlite:///test_fine.db")
    assert error.what == "The variable TEST_DATABASE_URL does not name a test database."
    assert unsafe in error.why
    assert "not disposable" in error.why


def test_rule_1_two_different_urls_under_one_bind_need_a_bind_each(shop: Shop) -> None:
    shop.environ["TEST_DATABASE_URL"] = "postgresql://localhost/test_shop"
    with pytest.raises(InvalidSettingError) as caught:
        shop.resolve(
            f"postgresql://app:{SECRET}@h/stock", earlier=f"postgresql://app:{SECRET}@h/shop?password={SECRET}"
        )
    message = str(caught.value)
    assert 'get_engine(url, bind="other")' in message
    assert "TEST_OTHER_DATABASE_URL" in message
    assert "/stock" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("earlier", "argument"),
    [
        pytest.param("postgresql+psycopg://h/shop", "postgresql+asyncpg://h/shop", id="the driver differs"),
        pytest.param("postgresql://h/shop", "postgres://h:5432/shop?sslmode=require", id="only the spelling differs"),
        pytest.param("postgresql://a:b@h/shop", "postgresql://c@h/shop", id="the user differs"),
        pytest.param("mysql+pymysql://h/shop", "mariadb+asyncmy://h:3306/shop", id="MySQL is called MariaDB"),
        pytest.param("sqlite:///shop.db", "sqlite+aiosqlite:///./shop.db", id="one SQLite file"),
        pytest.param("sqlite://", "sqlite+aiosqlite:///:memory:", id="memory"),
        pytest.param("postgresql://h/shop", "postgresql+psycopg://localhost/test_shop", id="what database_url() told"),
        pytest.param("postgresql+psycopg://localhost/test_shop", "postgresql://h/shop", id="the same before"),
    ],
)
def test_rule_1_one_database_in_two_spellings_is_one(shop: Shop, earlier: str, argument: str) -> None:
    shop.environ["TEST_DATABASE_URL"] = "postgresql+psycopg://localhost/test_shop"
    assert shop.resolve(argument, earlier=earlier).rule == "test-variable"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("postgresql://h/shop", "postgresql://h/stock"),
        ("postgresql://h/shop", "postgresql://other/shop"),
        ("postgresql://h/shop", "postgresql://h:5433/shop"),
        ("postgresql://h/shop", "mysql+pymysql://h/shop"),
        ("sqlite:///shop.db", "sqlite:///stock.db"),
        ("sqlite:///shop.db", "sqlite://"),
        ("postgresql://?service=shop", "postgresql://?service=stock"),
        ("nosuchdialect://h/shop", "nosuchdialect://h/stock"),
    ],
)
def test_two_databases_are_told_apart(first: str, second: str) -> None:
    assert not _binds.is_same_database(make_url(first), make_url(second))
    assert _binds.is_same_database(make_url(first), make_url(first))


# --- Rule 2: the variable in a file for tests


def test_rule_2_a_database_url_in_env_test_comes_next(shop: Shop) -> None:
    shop.write(".env.test", "DATABASE_URL=postgresql://ci/test_shop")
    shop.write(".env", "DATABASE_URL=sqlite:///test_shop.db")
    resolution = shop.resolve("sqlite:///test_argument.db")
    assert resolution.url == make_url("postgresql://ci/test_shop")
    assert (resolution.rule, resolution.origin) == ("env-test-file", Origin(OriginKind.FILE, ".env.test"))


def test_rule_2_an_exported_production_url_never_wins_over_env_test(shop: Shop) -> None:
    shop.environ["DATABASE_URL"] = f"postgresql://app:{SECRET}@db.internal/shop"
    shop.write(".env.test", "DATABASE_URL=postgresql://ci/test_shop")
    assert shop.url() == "postgresql://ci/test_shop"


def test_rule_2_ones_own_file_for_tests_wins_over_the_shared_one(shop: Shop) -> None:
    shop.write(".env.test", "DATABASE_URL=sqlite:///test_shared.db")
    shop.write(".env.test.local", "DATABASE_URL=sqlite:///test_own.db")
    assert shop.url() == "sqlite:///test_own.db"


def test_rule_2_what_is_not_disposable_is_refused(shop: Shop) -> None:
    shop.write(".env.test", "DATABASE_URL=postgresql://db.internal/shop")
    assert shop.refuse().what == "DATABASE_URL (from .env.test) does not name a test database."


def test_rule_2_does_not_read_another_file(shop: Shop) -> None:
    shop.write(".env", "DATABASE_URL=postgresql://localhost/shop")
    assert shop.resolve().rule == "test-twin"


def test_rule_2_two_databases_do_not_become_one_unnoticed_either(shop: Shop) -> None:
    shop.write(".env.test", "DATABASE_URL=sqlite:///test_shop.db")
    with pytest.raises(InvalidSettingError, match="Two databases"):
        shop.resolve("sqlite:///stock.db", earlier="sqlite:///shop.db")


# --- Rule 3: what is disposable already


@pytest.mark.parametrize(
    "argument",
    ["sqlite:///test_shop.db", "postgresql://db.internal/test_shop", "sqlite+aiosqlite:///data/test_shop.db"],
)
def test_rule_3_the_applications_own_url_if_it_is_disposable(shop: Shop, argument: str) -> None:
    shop.environ["DATABASE_URL"] = "sqlite:///test_variable.db"
    resolution = shop.resolve(argument)
    assert (resolution.url, resolution.rule) == (make_url(argument), "already-disposable")
    assert resolution.origin.kind is OriginKind.ARGUMENT


def test_rule_3_the_variable_if_there_is_no_argument(shop: Shop) -> None:
    shop.environ["DATABASE_URL"] = "sqlite:///test_variable.db"
    resolution = shop.resolve()
    assert (str(resolution.url), resolution.rule) == ("sqlite:///test_variable.db", "already-disposable")


@pytest.mark.parametrize(
    "argument", ["sqlite://", "sqlite+aiosqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_rule_3_a_database_in_memory_becomes_the_binds_own(shop: Shop, argument: str) -> None:
    resolution = shop.resolve(argument)
    assert (resolution.url, resolution.rule) == (None, "already-disposable")


def test_rule_3_a_file_that_the_run_made_is_used_as_it_is(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    _run_files.start_run([tmp_path / "temporary"])
    argument = f"sqlite:///{tmp_path}/temporary/new/shop.db"
    resolution = shop.resolve(argument)
    assert (resolution.url, resolution.rule) == (make_url(argument), "already-disposable")
    assert resolution.verdict is not None
    assert resolution.verdict.rule == "run-owned"


def test_rule_3_a_file_that_stands_for_memory_is_used_as_it_is(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "engineroom-abc"
    memory.mkdir(mode=0o700)
    (memory / "lock").touch()
    monkeypatch.setenv("ENGINEROOM_RUN", str(memory))
    argument = f"sqlite:///{memory}/test_analytics.db"
    assert shop.url(argument) == argument, "another bind's database in memory must not become this one's"


# --- Rule 4: the test twin


@pytest.mark.parametrize("argument", ["sqlite:///shop.db", "sqlite+aiosqlite:////srv/shop.db", "sqlite+libsql://h"])
def test_rule_4_sqlite_becomes_a_private_database_in_memory(shop: Shop, argument: str) -> None:
    resolution = shop.resolve(argument)
    assert (resolution.url, resolution.rule) == (None, "test-twin")
    assert resolution.verdict is not None
    assert resolution.verdict.rule == "in-memory"
    assert resolution.application_url == make_url(argument)


@pytest.mark.parametrize(
    ("argument", "twin"),
    [
        ("postgresql+psycopg://app:pw@localhost/shop", "postgresql+psycopg://app:pw@localhost/test_shop"),
        ("postgres://127.0.0.1:5433/shop?sslmode=disable", "postgres://127.0.0.1:5433/test_shop?sslmode=disable"),
        ("postgresql+asyncpg://[::1]/shop", "postgresql+asyncpg://[::1]/test_shop"),
        ("postgresql+psycopg2:///shop", "postgresql+psycopg2:///test_shop"),
        ("postgresql+psycopg:///shop?host=/run/postgresql", "postgresql+psycopg:///test_shop?host=/run/postgresql"),
        ("postgresql+psycopg://localhost/?dbname=shop", "postgresql+psycopg://localhost/?dbname=test_shop"),
        ("mysql+pymysql://root@localhost/shop", "mysql+pymysql://root@localhost/test_shop"),
        ("mariadb+asyncmy://localhost/shop?charset=utf8mb4", "mariadb+asyncmy://localhost/test_shop?charset=utf8mb4"),
    ],
)
def test_rule_4_a_database_on_this_machine_becomes_its_twin_and_nothing_else_changes(
    shop: Shop, argument: str, twin: str
) -> None:
    resolution = shop.resolve(argument)
    assert resolution.rule == "test-twin"
    assert make_url(str(shop.url(argument))) == make_url(twin)
    assert resolution.application_url == make_url(argument)


@pytest.mark.parametrize(
    ("argument", "options", "environ"),
    [
        pytest.param("postgresql+psycopg://db.internal/shop", {}, {}, id="the host is another machine"),
        pytest.param(
            "postgresql+psycopg://localhost.example.org/shop", {}, {}, id="the host only begins like this one"
        ),
        pytest.param("postgresql+psycopg://localhost/shop?hostaddr=10.0.0.7", {}, {}, id="hostaddr is dialled"),
        pytest.param("postgresql+psycopg://localhost/shop", {"host": "db.internal"}, {}, id="connect_args name a host"),
        pytest.param("postgresql+psycopg:///shop", {}, {"PGHOST": "db.internal"}, id="PGHOST names a host"),
        pytest.param("postgresql+psycopg://localhost/shop", {}, {"PGHOSTADDR": "10.0.0.7"}, id="PGHOSTADDR wins"),
        pytest.param("postgresql+psycopg://localhost,db.internal/shop", {}, {}, id="one of two hosts is elsewhere"),
        pytest.param("postgresql+psycopg:///?service=shop", {}, {}, id="a service decides"),
        pytest.param("mysql+pymysql://localhost/shop?init_command=USE shop", {}, {}, id="a later USE decides"),
        pytest.param(
            "mysql+pymysql://localhost/shop?init_command=USE stock",
            {"init_command": "SET autocommit=1"},
            {},
            id="the URL alone would go elsewhere",
        ),
        pytest.param("mysql+pymysql://localhost", {}, {}, id="no database is named"),
        pytest.param("oracle+oracledb://localhost/shop", {}, {}, id="the dialect is unknown"),
        pytest.param("postgresql+nosuch://localhost/shop", {}, {}, id="the driver is unknown"),
        pytest.param("nosuchdialect://localhost/shop", {}, {}, id="nobody knows the dialect"),
    ],
)
def test_rule_4_what_is_not_surely_on_this_machine_has_no_twin(
    shop: Shop, argument: str, options: dict[str, str], environ: Mapping[str, str]
) -> None:
    shop.environ.update(environ)
    error = shop.refuse(argument, options)
    assert "TEST_DATABASE_URL=" in str(error)


def test_rule_4_a_name_in_connect_args_gets_its_twin_there(shop: Shop) -> None:
    resolution = shop.resolve("postgresql+psycopg://localhost", connect_args={"dbname": "shop", "sslmode": "disable"})
    assert resolution.url == make_url("postgresql+psycopg://localhost")
    assert resolution.connect_args == {"dbname": "test_shop", "sslmode": "disable"}


def test_rule_4_a_name_from_the_process_environment_gets_its_twin_in_the_url(shop: Shop) -> None:
    shop.environ["PGDATABASE"] = "shop"
    assert shop.url("postgresql+psycopg://localhost") == "postgresql+psycopg://localhost/test_shop"


def test_rule_4_a_name_too_long_for_the_server_stays_whole(shop: Shop) -> None:
    twins: set[str | None] = set()
    for name in ("x" * 62 + "a", "x" * 62 + "b"):
        twins.add(shop.url(f"postgresql+psycopg://localhost/{name}"))
        twins.add(shop.resolve("postgresql+psycopg://localhost", connect_args={"dbname": name}).connect_args["dbname"])
    assert len(twins) == 4


def test_rule_4_the_twin_has_to_be_disposable_too(shop: Shop) -> None:
    shop.test_names = ("*_test",)
    error = shop.refuse("postgresql+psycopg://localhost/shop")
    assert 'the database "test_shop" is not disposable' in error.why
    assert "*_test" in error.why
    assert "TEST_DATABASE_URL=postgresql+psycopg://localhost/shop_test" in str(error)


# --- Rule 5: nothing configured


@pytest.mark.parametrize("bind", ["default", "analytics"])
def test_rule_5_nothing_configured_is_a_private_database_in_memory(shop: Shop, bind: str) -> None:
    resolution = shop.resolve(bind=bind)
    assert (resolution.url, resolution.rule) == (None, "memory-default")
    assert str(resolution.origin) == "by default (a private database in memory)"
    assert resolution.application_url == URL.create("sqlite", database=str(shop.root / "development.db"))


def test_rule_5_a_test_run_does_not_use_the_development_file(shop: Shop) -> None:
    (shop.root / "development.db").write_bytes(b"precious")
    assert shop.url() is None


# --- Rule 6: refused


def test_rule_6_the_message_has_the_line_to_add(shop: Shop) -> None:
    shop.environ["DATABASE_URL"] = f"postgresql+psycopg://app:{SECRET}@db.internal/shop?application_name=x"
    assert str(shop.refuse()) == (
        'There is no test database for the bind "default".\n'
        "\n"
        "Why: The variable DATABASE_URL is postgresql+psycopg://app:***@db.internal/shop?application_name=x; the "
        'database "shop" is not disposable: it is not in memory and its name does not match test_*; '
        "a test twin is made only of a database on this machine.\n"
        "Fix: - add this line to .env.test: "
        "TEST_DATABASE_URL=postgresql+psycopg://app:***@db.internal/test_shop?application_name=x, or\n"
        "     - add this line, for a private SQLite database in memory: TEST_DATABASE_URL=sqlite://.\n"
        "Ref: unsafe-test-database"
    )


@pytest.mark.parametrize(
    ("test_names", "argument", "line"),
    [
        (("test_*",), "postgresql+psycopg://h/shop?dbname=stock", "postgresql+psycopg://h/test_stock"),
        (("*_test", "*_test_*"), "mysql+pymysql://h/shop", "mysql+pymysql://h/shop_test"),
        (("ci-test",), "mysql+pymysql://h/shop", "mysql+pymysql://h/ci-test"),
        (("test-?",), "mysql+pymysql://h/shop", "sqlite://"),
        (("test_*",), "oracle://h/shop", "sqlite://"),
        (("test_*",), "mysql+pymysql://h", "mysql+pymysql://h/test_shop"),
    ],
)
def test_rule_6_the_line_names_a_database_that_would_be_taken(
    shop: Shop, test_names: tuple[str, ...], argument: str, line: str
) -> None:
    shop.test_names = test_names
    error = shop.refuse(argument)
    assert f"TEST_DATABASE_URL={line}" in error.fix[0]
    shop.environ["TEST_DATABASE_URL"] = line
    assert shop.resolve(argument).verdict


@pytest.mark.parametrize(
    ("configured", "line"),
    [
        ("sqlite:///test.db", "sqlite:///test_test.db"),
        ("sqlite:////srv/data/shop.db", "sqlite:////srv/data/test_shop.db"),
        ("sqlite:///file:data/shop.db?mode=rw&uri=true", "sqlite:///data/test_shop.db"),
        ("sqlite+aiosqlite:///./shop.db", "sqlite+aiosqlite:///test_shop.db"),
    ],
)
def test_the_line_for_sqlite_names_a_file_beside(shop: Shop, configured: str, line: str) -> None:
    shop.environ["TEST_DATABASE_URL"] = configured
    assert shop.refuse().fix[0].endswith(f"TEST_DATABASE_URL={line}")
    shop.environ["TEST_DATABASE_URL"] = line
    assert shop.resolve().verdict


def test_the_message_names_the_binds_own_variable(shop: Shop) -> None:
    shop.write(".env", "ANALYTICS_DATABASE_URL=postgresql+psycopg://h/shop")
    message = str(shop.refuse(bind="analytics"))
    assert "ANALYTICS_DATABASE_URL (from .env) is postgresql" in message
    assert "TEST_ANALYTICS_DATABASE_URL=" in message


def test_the_message_names_the_call_that_a_url_was_passed_to(shop: Shop) -> None:
    assert "The URL passed to get_engine is postgresql" in str(shop.refuse("postgresql+psycopg://h/shop"))


# --- No production database under test, whatever is configured

PRODUCTION = "postgresql+psycopg://app@db.internal/shop"


@pytest.mark.parametrize("test_variable", [None, "sqlite:///test_shop.db", "sqlite:///shop.db", "nonsense"])
@pytest.mark.parametrize("env_test", [None, "sqlite:///test_file.db", PRODUCTION])
@pytest.mark.parametrize("argument", [None, PRODUCTION, "sqlite:///development.db", "sqlite:///test_a.db"])
@pytest.mark.parametrize("exported", [None, PRODUCTION, "postgresql+psycopg://localhost/shop"])
def test_an_exported_production_url_never_wins_under_test(
    shop: Shop, test_variable: str | None, env_test: str | None, argument: str | None, exported: str | None
) -> None:
    if test_variable:
        shop.environ["TEST_DATABASE_URL"] = test_variable
    if exported:
        shop.environ["DATABASE_URL"] = exported
    if env_test:
        shop.write(".env.test", f"DATABASE_URL={env_test}")
    try:
        resolution = shop.resolve(argument)
    except (UnsafeTestDatabaseError, InvalidSettingError):
        return
    assert resolution.verdict
    assert resolution.url not in {make_url(PRODUCTION), make_url("sqlite:///development.db")}
    assert resolution.url is None or "test_" in str(resolution.url.database)


# --- connect_args under test


def test_a_test_database_with_its_own_url_is_not_led_away_by_connect_args(shop: Shop) -> None:
    shop.environ["TEST_DATABASE_URL"] = "postgresql+psycopg://localhost/test_shop"
    away = {"host": "db.internal", "dbname": "shop", "user": "app", "password": SECRET, "sslmode": "disable"}
    resolution = shop.resolve("postgresql+psycopg://", connect_args=away)
    assert resolution.connect_args == {"sslmode": "disable"}


def test_connect_args_for_another_driver_do_not_go_with_the_test_database(shop: Shop) -> None:
    shop.environ["TEST_DATABASE_URL"] = "sqlite://"
    assert shop.resolve("postgresql+psycopg://h/shop", connect_args={"sslmode": "require"}).connect_args == {}
    for argument in ("sqlite:///shop.db", None):
        assert shop.resolve(argument, connect_args={"timeout": 3}).connect_args == {"timeout": 3}


def test_connect_args_that_switch_the_database_are_refused(shop: Shop) -> None:
    shop.environ["TEST_DATABASE_URL"] = "mysql+pymysql://localhost/test_shop"
    shop.refuse("mysql+pymysql://h/shop", {"init_command": "USE shop"})


def test_connect_args_are_judged_with_a_url_that_looks_disposable(shop: Shop) -> None:
    shop.refuse("postgresql+psycopg://db.internal/test_shop", {"dbname": "shop"})


def test_connect_args_stay_with_the_twin_in_memory(shop: Shop) -> None:
    assert shop.resolve("sqlite:///shop.db", connect_args={"timeout": 3}).connect_args == {"timeout": 3}


def test_the_callers_connect_args_are_not_changed(shop: Shop) -> None:
    given_args = {"dbname": "shop"}
    project = Project(shop.root)
    layers = read_layers(project, Environment.TEST, {})
    resolution = _binds.resolve(
        "default",
        make_url("postgresql+psycopg://localhost"),
        environment=Environment.TEST,
        project=project,
        layers=layers,
        environ={},
        connect_args=given_args,
    )
    resolution.connect_args["more"] = 1
    assert given_args == {"dbname": "shop"}


# --- What it would be outside


def test_the_url_outside_of_a_test_run_is_told_for_the_proof(shop: Shop) -> None:
    shop.write(".env.local", "DATABASE_URL=sqlite:///own.db")
    shop.write(".env.test", "DATABASE_URL=sqlite:///test_shop.db")
    resolution = shop.resolve(outside=True)
    assert resolution.application_url == make_url("sqlite:///own.db")
    assert resolution.application_origin == Origin(OriginKind.FILE, ".env.local")


def test_a_url_for_tests_is_not_told_as_the_one_outside(shop: Shop) -> None:
    shop.write(".env.test", "DATABASE_URL=sqlite:///test_shop.db")
    assert str(shop.resolve().application_url).endswith("/development.db")


def test_a_malformed_url_that_is_not_used_is_not_in_the_way(shop: Shop) -> None:
    shop.environ.update(DATABASE_URL="nonsense", TEST_DATABASE_URL="sqlite:///test_shop.db")
    resolution = shop.resolve()
    assert resolution.rule == "test-variable"
    assert resolution.application_url is None


# --- Malformed values


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not have the form"),
        ("shop", "does not have the form"),
        ("localhost/shop", "does not have the form"),
        (f"postgresql:/{SECRET}", "does not have the form"),
        (f'"postgresql://u:{SECRET}@h/shop"', "quotation mark"),
        (f"'{SECRET}'", "quotation mark"),
        (f"postgresql://u:{SECRET}@h:port/shop", "port is not a number"),
        (f"postgresql://u:x@{SECRET}@h/shop", "more than one @"),
        (f"postgresql://u:p@x/{SECRET}@h/shop", "more than one @"),
        (f"postgresql://u:p@h/shop\nX={SECRET}", "control character"),
    ],
)
def test_a_malformed_url_is_an_error_that_does_not_repeat_it(text: str, reason: str) -> None:
    origin = Origin(OriginKind.FILE, ".env.test")
    with pytest.raises(InvalidSettingError) as caught:
        _binds.parse_url(text, origin, variable="TEST_DATABASE_URL")
    message = str(caught.value)
    assert "TEST_DATABASE_URL (from .env.test) is not a database URL." in message
    assert reason in message
    assert "TEST_DATABASE_URL=postgresql+psycopg://USER:PASSWORD@localhost/shop" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://u%40x:p%40%2F@h:5432/shop?sslmode=require",
        "postgresql://user@tenant:pw@h/shop",
        "sqlite:///me@home/shop.db",
        "sqlite:////srv/a b.db",
        "nosuchdialect://h/shop",
        "postgresql://",
    ],
)
def test_a_well_formed_url_is_taken_as_sqlalchemy_takes_it(text: str) -> None:
    origin = Origin(OriginKind.VARIABLE, "DATABASE_URL")
    assert _binds.parse_url(f"  {text}\n", origin) == make_url(text)


@pytest.mark.parametrize("variable", ["DATABASE_URL", "TEST_DATABASE_URL"])
def test_a_malformed_variable_is_told_by_its_name_and_origin(shop: Shop, variable: str) -> None:
    shop.environ[variable] = f"postgres:{SECRET}"
    with pytest.raises(InvalidSettingError) as caught:
        shop.resolve()
    assert caught.value.what == f"The variable {variable} is not a database URL."
    assert SECRET not in str(caught.value)


# --- No secret, anywhere

PLACES = ("argument", "DATABASE_URL", "TEST_DATABASE_URL", ".env.test", "earlier")
SECRET_URLS = st.builds(
    "{}://{}:{}@{}{}?{}={}&{}={}".format,
    st.sampled_from(
        ["postgresql", "postgresql+psycopg", "mysql+pymysql", "oracle", "nonsense", "sqlite", "mssql+pyodbc"]
    ),
    st.sampled_from(["", "app", "a%40b"]),
    st.sampled_from(
        [SECRET, f"x@{SECRET}", f"x/{SECRET}", f"x:{SECRET}", f"x@y/{SECRET}", f"%2F{SECRET}", f"x?{SECRET}"]
    ),
    st.sampled_from(["h", "localhost", "h:5432", "h:port", "", "[::1]"]),
    st.sampled_from(["", "/", "/shop", "/test_shop", "/a/b"]),
    st.sampled_from(["password", "passwd", "sslpassword", "PASSWORD", "token", "odbc_connect", "passfile"]),
    st.just(SECRET),
    st.sampled_from(["sslmode", "dbname", "host", "init_command", "x"]),
    st.sampled_from(["", "shop", f"password={SECRET}", "USE shop"]),
)


def shown_by(error: BaseException) -> list[str]:
    """Return everything that a report could show of an error: messages, and the locals of our frames."""
    texts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    trace: TracebackType | None = error.__traceback__
    while trace:
        if "/src/engineroom/" in trace.tb_frame.f_code.co_filename:
            texts.append(repr(trace.tb_frame.f_locals))
        trace = trace.tb_next
    for cause in (error.__cause__, error.__context__):
        texts += shown_by(cause) if cause else []
    return texts


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), text=SECRET_URLS, environment=st.sampled_from(list(Environment)))
def test_no_secret_appears_in_any_error(shop: Shop, data: st.DataObject, text: str, environment: Environment) -> None:
    places = data.draw(st.sets(st.sampled_from(PLACES), min_size=1))
    environ = {name: text for name in places if name.endswith("URL")}
    project = Project(shop.root)
    shop.write(".env.test", f"DATABASE_URL='{text}'" if ".env.test" in places else "")
    layers = read_layers(project, environment, environ)
    try:
        read = data.draw(st.sampled_from([make_url, lambda text: _binds.parse_url(text, Origin(OriginKind.ARGUMENT))]))
        argument = read(text) if places & {"argument", "earlier"} else None
        resolution = _binds.resolve(
            "default",
            argument,
            environment=environment,
            project=project,
            layers=layers,
            environ=environ,
            connect_args={"password": SECRET},
            earlier=make_url("postgresql://elsewhere/other") if "earlier" in places else None,
        )
    except EngineroomError as error:
        for shown in shown_by(error):
            assert SECRET not in shown
    except ValueError:
        assert read is make_url, "it is SQLAlchemy's own error"
    else:
        assert SECRET not in repr(resolution)


def test_the_frames_that_an_error_passes_hold_no_secret(shop: Shop) -> None:
    shop.environ["DATABASE_URL"] = f"postgresql+psycopg://app:{SECRET}@db.internal/shop?password={SECRET}"
    error = shop.refuse(None, {"password": SECRET})
    assert all(SECRET not in shown for shown in shown_by(error))
    assert error.__context__ is None


# --- Properties


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=70),
    host=st.sampled_from(["localhost", "127.0.0.1", "db.internal", "10.0.0.7"]),
    driver=st.sampled_from(["postgresql+psycopg", "postgresql+asyncpg", "mysql+pymysql", "mariadb+aiomysql"]),
)
def test_under_test_a_server_gives_a_test_database_or_an_error(shop: Shop, name: str, host: str, driver: str) -> None:
    try:
        resolution = shop.resolve(f"{driver}://{host}/{name}")
    except UnsafeTestDatabaseError:
        assert host in {"db.internal", "10.0.0.7"}
        return
    assert resolution.url is not None
    assert str(resolution.url.database).startswith("test_")


def test_the_process_environment_is_the_default(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.internal")
    project = Project(shop.root)
    with pytest.raises(UnsafeTestDatabaseError):
        _binds.resolve(
            "default",
            make_url("postgresql+psycopg:///shop"),
            environment=Environment.TEST,
            project=project,
            layers=read_layers(project, Environment.TEST, os.environ),
        )
