"""The fence around the drivers of servers, used without SQLAlchemy: every way to connect, on real servers."""

from __future__ import annotations

import asyncio
import socket
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

import aiomysql  # type: ignore[import-untyped]
import asyncmy
import asyncmy.errors
import asyncpg  # type: ignore[import-untyped]
import psycopg
import psycopg2  # type: ignore[import-untyped]
import pymysql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError
from tests.database.direct_drivers import KINDS, opened, touch

from engineroom._project import Project
from engineroom.errors import FenceError
from engineroom.testing import _driver_fence, fence
from engineroom.testing.ledger import active_ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.database.conftest import Database

MOST_SECONDS = 0.1
SCHEMES = {"postgresql": "postgresql", "mariadb": "mysql"}


@pytest.fixture(params=KINDS)
def way(request: pytest.FixtureRequest) -> str:
    """Return each way to use a driver in turn."""
    name: str = request.param
    if name.startswith("psycopg") and name.endswith("pool") and not name.startswith("psycopg2"):
        pytest.importorskip("psycopg_pool")
    if name.startswith("mysql_connector"):
        pytest.importorskip("mysql.connector")
    return name


@pytest.fixture(autouse=True)
def _lowered() -> Iterator[None]:
    open_ledger(None)
    yield
    fence.lower_fence()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return a socket that listens, to see whether anybody dials."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def raise_fence(root: Path, *allowed: str, test_names: tuple[str, ...] = ("test_*",)) -> None:
    fence.raise_fence(Project(root=root, test_names=test_names, fence_allow=allowed))


def url_of(way: str, listener: socket.socket, database: str | None = "shop") -> URL:
    """Return the URL of a database behind the listener."""
    port = listener.getsockname()[1]
    return URL.create(SCHEMES[KINDS[way]], "app", "geheim", "127.0.0.1", port, database)


def test_nobody_dials_a_database_that_is_not_disposable(way: str, listener: socket.socket, tmp_path: Path) -> None:
    raise_fence(tmp_path)
    with pytest.raises(FenceError) as caught:
        touch(way, url_of(way, listener))
    with pytest.raises(BlockingIOError):
        listener.accept()
    error = caught.value
    target = f"{SCHEMES[KINDS[way]]}://127.0.0.1/shop"
    assert error.what == f"Refused to connect to {target} while pytest runs."
    assert error.why == 'the database "shop" is not disposable: it is not in memory and its name does not match test_*.'
    assert "engineroom.database_url()" in error.fix[0]
    assert f'fence_allow = ["{target}"]' in error.fix[2]
    assert "geheim" not in str(error)
    (refusal,) = active_ledger().refusals()
    assert (refusal.target, refusal.file) == (target, __file__.replace("test_driver_fence", "direct_drivers"))


def test_no_frame_of_the_fence_shows_the_password(way: str, listener: socket.socket, tmp_path: Path) -> None:
    raise_fence(tmp_path)
    with pytest.raises(FenceError) as caught:
        touch(way, url_of(way, listener))
    own = [entry for entry in caught.traceback if "engineroom/testing" in str(entry.path)]
    assert own
    assert not any("geheim" in repr(entry.frame.f_locals) for entry in own)


def test_a_refusal_is_quick_and_no_fault_of_the_network(way: str, listener: socket.socket, tmp_path: Path) -> None:
    """A loop that tries again for a fault of the network or of the driver tries once."""
    raise_fence(tmp_path)
    url = url_of(way, listener)
    with pytest.raises(FenceError):
        touch(way, url)  # the first one imports what the fence needs
    seconds = []
    for _ in range(3):
        tries: list[URL] = []
        start = time.process_time()
        with pytest.raises(FenceError) as caught:
            _try_again_and_again(way, url, tries)
        seconds.append(time.process_time() - start)
        assert len(tries) == 1
    assert min(seconds) < MOST_SECONDS
    assert not any("Error" in parent.__name__ and parent.__module__ != "engineroom.errors" for parent in
                   type(caught.value).__mro__)  # fmt: skip


def _try_again_and_again(way: str, url: URL, tries: list[URL]) -> None:
    faults = (OSError, DBAPIError, psycopg.Error, psycopg2.Error, asyncpg.PostgresError, asyncpg.InterfaceError)
    while len(tries) < 100:
        tries.append(url)
        try:
            touch(way, url)
        except (TimeoutError, *faults, pymysql.Error, asyncmy.errors.Error):
            continue


def test_a_test_database_works(way: str, databases: Callable[[str, str], Database], tmp_path: Path) -> None:
    database = databases(KINDS[way], "test")
    database.rebuild()
    raise_fence(tmp_path)
    with opened(way, database.url) as send:
        send("INSERT INTO users VALUES (2, 'b@example.org')")
    fence.lower_fence()
    assert database.send("SELECT count(*) FROM users") == [(2,)]
    assert active_ledger().refusals() == []


def test_a_real_database_is_left_as_it_is(way: str, databases: Callable[[str, str], Database], tmp_path: Path) -> None:
    database = databases(KINDS[way], "kept")
    database.rebuild()
    before = database._look()
    raise_fence(tmp_path)
    with pytest.raises(FenceError, match=database.name), opened(way, database.url) as send:
        send("DELETE FROM users")
    fence.lower_fence()
    assert database._look() == before
    assert database.send("SELECT id, email FROM users") == [(1, "a@example.org")]


def test_a_maintenance_connection_is_free(way: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url: URL = request.getfixturevalue(f"{KINDS[way]}_url")
    raise_fence(tmp_path)
    touch(way, url if KINDS[way] == "postgresql" else url.set(database=""))
    assert active_ledger().refusals() == []


@pytest.mark.parametrize("is_named", [True, False], ids=["its own URL", "the URL of another database"])
def test_fence_allow_lets_through(
    way: str, is_named: bool, databases: Callable[[str, str], Database], tmp_path: Path
) -> None:
    database = databases(KINDS[way], "kept")
    database.rebuild()
    allowed = URL.create(SCHEMES[KINDS[way]], host="127.0.0.1", database=database.name if is_named else "other")
    raise_fence(tmp_path, str(allowed))
    if is_named:
        touch(way, database.url)
        assert active_ledger().refusals() == []
    else:
        with pytest.raises(FenceError):
            touch(way, database.url)


CONNINFOS = [
    "host=localhost dbname=test_shop dbname=shop",
    "postgresql://localhost/test_shop?dbname=shop",
    "service=live host=localhost",
    "postgresql://localhost/?user=shop",
    "dbname='shop' host=localhost",
    "dbname=dbname=shop host=localhost",
    "no sense",
]


@pytest.mark.parametrize("conninfo", CONNINFOS)
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_what_libpq_would_read_counts(driver: str, conninfo: str, tmp_path: Path) -> None:

    raise_fence(tmp_path, test_names=("test_shop",))
    module: Any = {"psycopg": psycopg, "psycopg2": psycopg2}[driver]
    with pytest.raises((FenceError, module.Error)) as caught:
        module.connect(conninfo)
    assert isinstance(caught.value, FenceError) or "invalid" in str(caught.value) or "missing" in str(caught.value)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_the_environment_counts(driver: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:

    monkeypatch.setenv("PGDATABASE", "shop")
    monkeypatch.setenv("PGUSER", "test_app")
    raise_fence(tmp_path)
    calls: dict[str, Callable[[], object]] = {
        "psycopg": lambda: psycopg.connect("host=127.0.0.1"),
        "psycopg2": lambda: psycopg2.connect("host=127.0.0.1"),
        "asyncpg": lambda: asyncio.run(asyncpg.connect(host="127.0.0.1")),
    }
    with pytest.raises(FenceError, match=r"127\.0\.0\.1/shop"):
        calls[driver]()


MYSQL_DISGUISES: dict[str, dict[str, Any]] = {
    "a name": {"database": "shop"},
    "an initial command": {"database": "test_shop", "init_command": "USE shop"},
    "bytes": {"database": b"shop"},
}


@pytest.mark.parametrize("disguise", MYSQL_DISGUISES.values(), ids=list(MYSQL_DISGUISES))
def test_what_pymysql_would_dial_counts(disguise: dict[str, Any], tmp_path: Path) -> None:

    raise_fence(tmp_path)
    with pytest.raises(FenceError):
        pymysql.connect(host="127.0.0.1", port=1, user="app", **disguise)


def test_an_option_file_counts(tmp_path: Path) -> None:

    (tmp_path / "my.cnf").write_text("[client]\ndatabase = shop\nhost = db.internal\n")
    raise_fence(tmp_path)
    with pytest.raises(FenceError, match=r"mysql://db\.internal/shop"):
        pymysql.connect(read_default_file=str(tmp_path / "my.cnf"), user="app")


def test_a_connection_of_a_subclass_that_reconnects_is_asked_again(tmp_path: Path, mariadb_url: URL) -> None:

    class OurConnection(pymysql.connections.Connection):  # type: ignore[misc, type-arg, unused-ignore]
        pass

    raise_fence(tmp_path)
    connection = OurConnection(
        host=mariadb_url.host,
        user=mariadb_url.username,
        password=mariadb_url.password or "",
        port=mariadb_url.port or 0,
    )
    connection.db = b"shop"
    connection.close()
    with pytest.raises(FenceError, match="shop"):
        connection.connect()


def test_what_the_fence_relies_on_is_there() -> None:
    """Private names of the drivers: another version that lacks one is reported as not fenced."""

    for name, module in {
        "psycopg": psycopg, "psycopg2": psycopg2, "asyncpg": asyncpg, "pymysql": pymysql, "aiomysql": aiomysql,
        "asyncmy": asyncmy,
    }.items():  # fmt: skip
        _driver_fence.DRIVERS[name](module, lambda: None)
    assert fence.unknown_drivers() == []
    assert set(_driver_fence.DRIVERS) == set(fence.ARRIVALS) - {"sqlalchemy", "sqlite3"}


def test_a_driver_that_is_built_in_another_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence._state, "unknown_drivers", set())
    raise_fence(tmp_path)
    fence.ARRIVALS["psycopg2"](ModuleType("psycopg2"))
    assert fence.unknown_drivers() == ["psycopg2"]


def test_a_lowered_fence_lets_everything_through(way: str, databases: Callable[[str, str], Database]) -> None:
    database = databases(KINDS[way], "kept")
    database.rebuild()
    touch(way, database.url)
    assert active_ledger().refusals() == []
    assert make_url(database.url).database == database.name
