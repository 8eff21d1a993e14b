"""Which database does a connection to a server really reach? Its own answer beats whatever the URL says."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

import engineroom
from engineroom import DestructiveOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import URL, Connection

    Reach = Callable[..., Any]
    Databases = Callable[[str, str], Any]

POSTGRESQL = ["psycopg", "psycopg2", "psycopg_async", "asyncpg"]
MARIADB = ["pymysql", "aiomysql", "asyncmy"]
NAME_KEYS = {
    # What each driver calls the database in its arguments, in a query or in connect_args.
    "psycopg": ("dbname",),
    "psycopg2": ("dbname",),
    "psycopg_async": ("dbname",),
    "asyncpg": ("database",),
    "pymysql": ("database",),
    "aiomysql": ("db",),
    "asyncmy": ("database", "db"),
}


def pretend(database: Any, name: str) -> URL:
    """Return a URL that names another database than the one that will be reached."""
    url: URL = database.url.set(database=name)
    return url


def without_host(url: URL) -> URL:
    """Return a URL with neither host nor port."""
    return url._replace(host=None, port=None)


@pytest.fixture
def pair(driver: str, reach: Reach, databases: Databases) -> tuple[Any, Any]:
    """Return the database to keep and the one to lose, of the server of each driver in turn, both rebuilt."""
    kind = reach(driver).database.kind
    reach(driver, "test")
    return databases(kind, "kept"), databases(kind, "test")


def assert_kept(reached: Any, kept: Any) -> None:
    told = reached.refusal("DROP TABLE users")
    assert told.startswith(f"Refused to drop table users in database {kept.name} on ")
    assert "users" in kept.relations()


def assert_disposable(reached: Any, test: Any) -> None:
    reached.send("DROP TABLE orders")
    assert "orders" not in test.relations()


def test_an_argument_of_the_driver_overrides_the_name(driver: str, pair: tuple[Any, Any], reach: Reach) -> None:
    kept, test = pair
    for key in NAME_KEYS[driver]:
        assert_kept(reach(driver, url=pretend(test, test.name), connect_args={key: kept.name}), kept)
        # Also in the other direction: the name in the URL is no reason to refuse.
        assert_disposable(reach(driver, "test", url=pretend(kept, kept.name), connect_args={key: test.name}), test)
        test.rebuild()


@pytest.mark.parametrize("driver", [*POSTGRESQL, "pymysql"])
def test_the_query_overrides_the_name(driver: str, pair: tuple[Any, Any], reach: Reach) -> None:
    kept, test = pair
    key = NAME_KEYS[driver][0]
    assert_kept(reach(driver, url=pretend(kept, test.name).update_query_dict({key: kept.name})), kept)
    assert_disposable(reach(driver, "test", url=pretend(test, kept.name).update_query_dict({key: test.name})), test)


def test_a_creator_reaches_what_it_likes(driver: str, pair: tuple[Any, Any], reach: Reach) -> None:
    kept, test = pair
    like = reach(driver)
    _, arguments = like.engine.dialect.create_connect_args(like.url)
    kind = like.engine.dialect.loaded_dbapi
    if not like.is_async:
        options: dict[str, Any] = {"creator": lambda: kind.connect(**arguments)}
    else:

        async def create() -> Any:
            if driver == "psycopg_async":
                return await psycopg.AsyncConnection.connect(**arguments)
            module = __import__(driver)
            return await module.connect(**arguments)

        options = {"async_creator": create}
    assert_kept(reach(driver, url=pretend(test, test.name), **options), kept)


@pytest.mark.parametrize("driver", POSTGRESQL)
def test_an_empty_name_is_filled_in_by_the_environment(
    driver: str, pair: tuple[Any, Any], reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, test = pair
    monkeypatch.setenv("PGDATABASE", kept.name)
    assert_kept(reach(driver, url=kept.url.set(database="")), kept)
    monkeypatch.setenv("PGDATABASE", test.name)
    assert_disposable(reach(driver, "test", url=test.url.set(database="")), test)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "psycopg_async"])
def test_a_service_file_decides(
    driver: str, pair: tuple[Any, Any], reach: Reach, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept, _ = pair
    file = tmp_path / "services.conf"
    file.write_text(f"[test_shop]\ndbname={kept.name}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    assert_kept(reach(driver, url=kept.url.set(database="").update_query_dict({"service": "test_shop"})), kept)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "psycopg_async", "asyncpg"])
def test_several_hosts_are_one_question(driver: str, pair: tuple[Any, Any], reach: Reach) -> None:
    kept, test = pair
    port = kept.url.port or 5432
    hosts = (f"{kept.url.host}:{port}", f"{kept.url.host}:{port}")
    url = without_host(kept.url).update_query_dict({"host": hosts})
    assert_kept(reach(driver, url=url), kept)
    assert_disposable(reach(driver, "test", url=url.set(database=test.name)), test)


@pytest.mark.parametrize("driver", MARIADB)
def test_a_command_at_the_start_switches(driver: str, pair: tuple[Any, Any], reach: Reach) -> None:
    kept, test = pair
    url = pretend(test, test.name)
    assert_kept(reach(driver, url=url, connect_args={"init_command": f"USE {kept.name}"}), kept)
    if driver == "pymysql":
        assert_kept(reach(driver, url=url.update_query_dict({"init_command": f"USE {kept.name}"})), kept)


@pytest.mark.parametrize("driver", ["pymysql"])
def test_an_option_file_names_the_database(driver: str, pair: tuple[Any, Any], reach: Reach, tmp_path: Path) -> None:
    kept, _ = pair
    file = tmp_path / "my.cnf"
    file.write_text(f"[client]\ndatabase={kept.name}\n")
    url = kept.url.set(database="")
    assert_kept(reach(driver, url=url, connect_args={"read_default_file": str(file)}), kept)


@pytest.mark.parametrize("driver", MARIADB)
def test_use_takes_the_verdict_with_it(driver: str, pair: tuple[Any, Any], reach: Reach) -> None:
    kept, test = pair
    assert_kept_after = reach(driver, "test", pool_size=1, max_overflow=0)
    told = assert_kept_after.refusal(f"USE {kept.name}", "DROP TABLE users")
    assert told.startswith(f"Refused to drop table users in database {kept.name} on ")
    # The connection is in the pool now, and where it was.
    assert_kept(assert_kept_after, kept)
    assert_kept_after.send(f"USE {test.name}", "DROP TABLE orders")
    assert "orders" not in test.relations()


def test_a_raw_connection_that_switched_is_asked_again(reach: Reach, databases: Databases) -> None:
    kept = databases("mariadb", "kept")
    kept.rebuild()
    test = reach("pymysql", "test", pool_size=1, max_overflow=0)
    raw = test.engine.raw_connection()
    raw.driver_connection.select_db(kept.name)
    raw.close()
    assert_kept(test, kept)


@pytest.mark.parametrize("driver", POSTGRESQL)
def test_a_function_of_the_application_does_not_answer_for_the_server(
    driver: str, pair: tuple[Any, Any], reach: Reach
) -> None:
    kept, _ = pair
    kept.send("CREATE FUNCTION public.current_database() RETURNS name LANGUAGE sql AS $$ SELECT 'test_x'::name $$")
    reached = reach(driver)
    told = reached.refusal("SET search_path TO public, pg_catalog", "DROP TABLE users")
    assert told.startswith(f"Refused to drop table users in database {kept.name} on ")


LOOK_ALIKES = {
    "capitals": "Test_{}",
    "all capitals": "TEST_{}",
    "a Cyrillic letter": "tеst_{}",  # noqa: RUF001  # the point
    "a full-width letter": "ｔest_{}",  # noqa: RUF001
    "a dash": "test-{}",
    "a space before": " test_{}",
    "a percent sign": "%74est_{}",
    "the prefix inside": "my_test_{}",
}


@pytest.fixture
def named(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], tuple[URL, str]]]:
    """Return a function that makes a database of any name, with a table, removed at the end."""
    made: list[tuple[URL, str]] = []

    def quote(url: URL, name: str) -> str:
        return f'"{name}"' if url.get_backend_name() == "postgresql" else f"`{name}`"

    def run(url: URL, statement: str) -> None:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execution_options(no_parameters=True).exec_driver_sql(statement)
        engine.dispose()

    def make(kind: str, pattern: str) -> tuple[URL, str]:
        maintenance: URL = request.getfixturevalue(f"{kind}_url")
        name = pattern.format(f"engineroom_{secrets.token_hex(3)}")
        run(maintenance, f"CREATE DATABASE {quote(maintenance, name)}")
        made.append((maintenance, name))
        url = maintenance.set(database=name)
        run(url, "CREATE TABLE users (id int)")
        return url, name

    yield make
    for maintenance, name in made:
        force = " WITH (FORCE)" if maintenance.get_backend_name() == "postgresql" else ""
        run(maintenance, f"DROP DATABASE IF EXISTS {quote(maintenance, name)}{force}")


@pytest.mark.parametrize("pattern", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_name_that_only_looks_like_a_test_name_is_kept(
    kind: str, pattern: str, named: Callable[[str, str], tuple[URL, str]]
) -> None:
    url, name = named(kind, pattern)
    engine = engineroom.guard(create_engine(url))
    with engine.connect() as connection:
        reached = connection.exec_driver_sql(
            "SELECT current_database()" if kind == "postgresql" else "SELECT DATABASE()"
        ).scalar_one()
        if reached.startswith("test_"):
            pytest.skip("this server folds the names of databases")
        assert reached == name
        assert not engineroom.verdict(connection)
        with pytest.raises(DestructiveOperationError) as caught:
            connection.execute(text("DROP TABLE users"))
    assert f"in database {name} on " in caught.value.what
    engine.dispose()


def test_a_name_with_encoded_letters_is_what_the_server_says(databases: Databases) -> None:
    for kind in ("postgresql", "mariadb"):
        kept = databases(kind, "kept")
        kept.rebuild()
        written = kept.url.render_as_string(hide_password=False).replace("/engineroom_kept", "/engineroom%5Fkept")
        assert "%5F" in written
        engine = engineroom.guard(create_engine(make_url(written)))
        # SQLAlchemy 2.0 leaves the name as it is written, and then there is no such database.
        with pytest.raises((DestructiveOperationError, DBAPIError)) as caught, engine.connect() as connection:
            connection.execute(text("DROP TABLE users"))
        if isinstance(caught.value, DestructiveOperationError):
            assert f"in database {kept.name} on " in caught.value.what
        assert "users" in kept.relations()
        engine.dispose()


SOCKETS = {
    "postgresql": ("SELECT split_part(current_setting('unix_socket_directories'), ',', 1)", "host"),
    "mariadb": ("SELECT @@socket", "unix_socket"),
}


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg", "pymysql", "aiomysql"])
def test_a_unix_socket_changes_nothing(driver: str, pair: tuple[Any, Any], reach: Reach) -> None:
    kept, test = pair
    question, key = SOCKETS[kept.kind]
    path = kept.send(question)[0][0]
    url = without_host(kept.url)
    if not path or not os.path.exists(path) or kept.url.host not in {"127.0.0.1", "localhost"}:  # noqa: PTH110
        pytest.skip("the server has no socket here")
    try:
        reached = reach(driver, url=url, connect_args={key: path})
        reached.send("SELECT 1")
    except (DBAPIError, OSError):
        pytest.skip("this account may not use the socket")
    assert_kept(reached, kept)
    assert_disposable(reach(driver, "test", url=url.set(database=test.name), connect_args={key: path}), test)


def test_the_verdict_asks_the_connection(driver: str, pair: tuple[Any, Any], reach: Reach) -> None:
    kept, test = pair
    key = NAME_KEYS[driver][0]
    reached = reach(driver, url=pretend(test, test.name), connect_args={key: kept.name})
    answer = reached.do(engineroom.verdict)
    assert (answer.disposable, answer.rule, answer.database) == (False, "none", kept.name)
    answer = reach(driver, "test").do(engineroom.verdict)
    assert (answer.disposable, answer.rule, answer.database) == (True, "test-name", test.name)


def test_the_names_that_the_project_gives_its_test_databases_count(
    kept: Any, tmp_path: Path, reach: Reach, driver: str
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.engineroom]\ntest_names = ["*_test"]\n')
    from engineroom import _project  # noqa: PLC0415

    _project.reset()
    told = reach(driver, "test").refusal("DROP TABLE users")
    assert "test_engineroom_guard" in told
    with pytest.raises(DestructiveOperationError, match=r"matches \*_test"):
        kept.send("DROP TABLE users")


@pytest.mark.parametrize("driver", MARIADB)
def test_in_no_database_the_reason_says_so(driver: str, reach: Reach) -> None:
    kept = reach(driver)
    nowhere = reach(driver, url=kept.url.set(database=""))
    told = nowhere.refusal("EXECUTE IMMEDIATE CONCAT('DROP DATABASE ', 'x')")
    assert told.startswith("Refused to run a computed statement, which cannot be read, on ")


def test_a_connection_of_a_driver_itself_is_asked_too(reach: Reach) -> None:
    # What pool= and creator= may hand over: a connection that was in use before.
    for name, connect in (
        ("psycopg", lambda url: psycopg.connect(host=url.host, port=url.port, user=url.username, dbname=url.database)),
        (
            "pymysql",
            lambda url: pymysql.connect(
                host=url.host, port=url.port or 3306, user=url.username, password="", database=url.database
            ),
        ),
    ):
        kept = reach(name)
        connection = connect(kept.url)
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        cursor.fetchall()
        engine = engineroom.guard(create_engine(kept.url.set(database="test_x"), creator=lambda it=connection: it))

        def drop(taken: Connection) -> None:
            taken.execute(text("DROP TABLE users"))

        with engine.connect() as taken, pytest.raises(DestructiveOperationError, match=f"in database {kept.name} on "):
            drop(taken)
        engine.dispose()
