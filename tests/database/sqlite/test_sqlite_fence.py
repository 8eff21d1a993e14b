"""What a SQLite connection opens after it was opened, and that nobody notices who watches."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import timeit
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosqlite
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import engineroom
from engineroom._project import Project
from engineroom.errors import FenceError
from engineroom.testing import fence
from engineroom.testing.ledger import active_ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(params=["delete", "wal"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a protected database in the working directory, with the fence up."""
    root = tmp_path / "shop"
    root.mkdir()
    monkeypatch.chdir(root)
    path = root / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {request.param}")
        connection.executescript("CREATE TABLE articles (name TEXT); INSERT INTO articles VALUES ('anchor');")
    before = digest(path)
    open_ledger(None)
    fence.raise_fence(Project(root=root))
    yield path
    fence.lower_fence()
    assert digest(path) == before


def digest(path: Path) -> str:
    """Return the digest of a database and of what its write-ahead log holds."""
    log = path.with_name(f"{path.name}-wal")
    return hashlib.sha256(path.read_bytes() + (log.read_bytes() if log.exists() else b"")).hexdigest()


SPELLINGS = {
    "a name": "ATTACH 'shop.db' AS x",
    "with DATABASE": "attach database 'shop.db' as x",
    "double quotes": 'ATTACH "shop.db" AS x',
    "brackets": "ATTACH [shop.db] AS x",
    "a path": "ATTACH '{path}' AS x",
    "a comment": "/* y */ ATTACH -- z\n 'shop.db' AS x",
    "a URI": "ATTACH 'file:shop.db?mode=rw' AS x",
    "a key": "ATTACH 'shop.db' AS x KEY 'k'",
    "into a new file": "VACUUM INTO 'copy.db'",
    "a schema into a new file": "VACUUM main INTO 'copy.db'",
}
FREE = {
    "memory": "ATTACH ':memory:' AS x",
    "a temporary database": "ATTACH '' AS x",
    "a test database": "ATTACH 'test_other.db' AS x",
    "a URI for reading": "ATTACH 'file:shop.db?mode=ro' AS x",
    "a vacuum": "VACUUM",
    "a vacuum into a test database": "VACUUM INTO 'test_copy.db'",
    "a text": "SELECT 'ATTACH ''shop.db'' AS x'",
}
WAYS = ["execute", "cursor", "own_cursor", "script", "script_of_cursor", "script_of_own_cursor", "many", "factory"]


class OurCursor(sqlite3.Cursor):
    pass


class OurConnection(sqlite3.Connection):
    def cursor(self, factory: Any = OurCursor) -> Any:
        return super().cursor(factory)


def run(way: str, sql: str, database: str = "test_own.db") -> None:
    factory = {"factory": OurConnection} if way == "factory" else {}
    with closing(sqlite3.connect(database, uri=True, isolation_level=None, **factory)) as connection:  # type: ignore[call-overload]
        calls = {
            "execute": lambda: connection.execute(sql),
            "cursor": lambda: connection.cursor().execute(sql),
            "own_cursor": lambda: OurCursor(connection).execute(sql),
            "script": lambda: connection.executescript(f"SELECT 1; {sql}"),
            "script_of_cursor": lambda: connection.cursor().executescript(f"SELECT 1; {sql}"),
            "script_of_own_cursor": lambda: connection.cursor(OurCursor).executescript(sql),
            "many": lambda: connection.executemany(sql, [()]),
            "factory": lambda: connection.execute(sql),
        }
        calls[way]()  # type: ignore[no-untyped-call, unused-ignore]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sql", SPELLINGS.values(), ids=list(SPELLINGS))
def test_no_protected_file_is_opened(shop: Path, sql: str, way: str) -> None:
    with pytest.raises(FenceError, match=r"Refused to connect to sqlite:///"):
        run(way, sql.format(path=shop))
    assert len(active_ledger().refusals()) == 1
    assert not Path("copy.db").exists()


@pytest.mark.parametrize("way", [way for way in WAYS if way != "many"])
@pytest.mark.parametrize("sql", FREE.values(), ids=list(FREE))
@pytest.mark.usefixtures("shop")
def test_other_files_are(sql: str, way: str) -> None:
    run(way, sql)
    assert active_ledger().refusals() == []


UNTOLD = {
    "a parameter": ("ATTACH ? AS x", ("shop.db",)),
    "a named parameter": ("ATTACH :name AS x", {"name": "shop.db"}),
    "an expression": ("ATTACH 'sh' || 'op.db' AS x", ()),
}


@pytest.mark.parametrize(("sql", "parameters"), UNTOLD.values(), ids=list(UNTOLD))
@pytest.mark.parametrize("way", ["execute", "cursor", "script", "script_of_cursor"])
@pytest.mark.usefixtures("shop")
def test_a_name_that_the_text_does_not_tell(sql: str, parameters: Any, way: str) -> None:
    """Nothing is run on what was attached: the connection is asked before its next statement."""
    with closing(sqlite3.connect("test_own.db", isolation_level=None)) as connection:
        connection.execute(sql, parameters)
        calls: dict[str, Callable[[], object]] = {
            "execute": lambda: connection.execute("DELETE FROM x.articles"),
            "cursor": lambda: connection.cursor().execute("DELETE FROM x.articles"),
            "script": lambda: connection.executescript("DELETE FROM x.articles"),
            "script_of_cursor": lambda: sqlite3.Connection.cursor(connection).execute("DELETE FROM x.articles"),
        }
        with pytest.raises(FenceError, match=r"shop\.db"):
            calls[way]()  # type: ignore[no-untyped-call, unused-ignore]
        assert connection.execute("SELECT name FROM pragma_database_list").fetchall() == [("main",)]
        connection.execute("ATTACH ? AS y", (":memory:",))
        connection.execute("ATTACH ? AS z", ("test_z.db",))
        connection.execute("CREATE TABLE z.articles (name TEXT)")
    assert len(active_ledger().refusals()) == 1


def test_a_name_that_the_text_does_not_tell_within_a_transaction(shop: Path) -> None:
    with closing(sqlite3.connect("test_own.db", isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS x", (str(shop),))
        sqlite3.Connection.cursor(connection)
        with pytest.raises(FenceError):
            connection.execute("BEGIN")
        connection.execute("BEGIN")
        connection.execute("ATTACH ? AS y", (str(shop),))
        with pytest.raises(FenceError):
            connection.execute("INSERT INTO y.articles VALUES ('b')")
        with pytest.raises((FenceError, sqlite3.OperationalError)):
            connection.execute("INSERT INTO y.articles VALUES ('c')")


def test_the_drivers_above(shop: Path) -> None:
    async def by_aiosqlite() -> None:
        async with aiosqlite.connect("test_own.db") as connection:
            await connection.execute(f"ATTACH '{shop}' AS x")

    async def by_async_engine() -> None:
        async with create_async_engine("sqlite+aiosqlite:///test_own.db", poolclass=NullPool).connect() as connection:
            await connection.execute(text(f"ATTACH '{shop}' AS x"))

    def by_engine(engine: Any) -> None:
        with engine.connect() as connection:
            connection.execute(text(f"ATTACH '{shop}' AS x"))

    calls: list[Callable[[], object]] = [
        lambda: asyncio.run(by_aiosqlite()),
        lambda: asyncio.run(by_async_engine()),
        lambda: by_engine(create_engine("sqlite:///test_own.db", poolclass=NullPool)),
        lambda: by_engine(engineroom.guard(create_engine("sqlite:///test_own.db", poolclass=NullPool))),
    ]
    for call in calls:
        with pytest.raises(FenceError):
            call()
    assert len(active_ledger().refusals()) == len(calls)


def test_the_raw_connection_of_a_guarded_engine(shop: Path) -> None:
    engine = engineroom.guard(create_engine("sqlite:///test_own.db", poolclass=NullPool))
    raw = engine.raw_connection()
    driver: Any = raw.driver_connection
    with pytest.raises(FenceError):
        driver.executescript(f"ATTACH '{shop}' AS x")
    with pytest.raises(FenceError):
        driver.execute(f"ATTACH '{shop}' AS x")
    raw.close()


def test_backup_into_a_protected_file(shop: Path) -> None:
    """The connection to it is what is refused; one that only reads cannot be written to."""
    with closing(sqlite3.connect("test_own.db")) as source, closing(sqlite3.connect(":memory:")) as memory:
        source.backup(memory)
        with pytest.raises(FenceError):
            source.backup(sqlite3.connect(shop))
        with closing(sqlite3.connect(f"file:{shop}?mode=ro", uri=True)) as reader:
            reader.backup(memory)
            with pytest.raises(sqlite3.OperationalError):
                source.backup(reader)


class TestNobodyNotices:
    """What the suite of a library about sqlite3 might ask of its connections."""

    @pytest.fixture
    def connection(self, shop: Path) -> Iterator[sqlite3.Connection]:
        del shop
        with closing(sqlite3.connect(":memory:")) as connection:
            yield connection

    def test_names_and_kinds(self, connection: sqlite3.Connection) -> None:
        cursor = connection.cursor()
        assert isinstance(connection, sqlite3.Connection)
        assert isinstance(cursor, sqlite3.Cursor)
        assert type(connection).__qualname__ == "Connection"
        assert type(connection).__module__ == "sqlite3"
        assert repr(connection).startswith("<sqlite3.Connection object at")
        assert repr(cursor).startswith("<sqlite3.Cursor object at")
        assert cursor.connection is connection
        with pytest.raises(AttributeError):
            cursor.anything = 1  # type: ignore[attr-defined]

    def test_the_application_has_the_authorizer_for_itself(self, connection: sqlite3.Connection) -> None:
        asked: list[int] = []

        def authorize(action: int, *_: object) -> int:
            asked.append(action)
            return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK

        connection.set_authorizer(authorize)
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            connection.execute("ATTACH ':memory:' AS x")
        connection.set_authorizer(None)
        asked.clear()
        connection.execute("ATTACH ':memory:' AS x")
        assert asked == []

    def test_trace_and_progress_belong_to_the_application(self, connection: sqlite3.Connection) -> None:
        traced: list[str] = []
        connection.set_trace_callback(traced.append)
        connection.execute("ATTACH ':memory:' AS x")
        connection.execute("SELECT 1")
        assert traced == ["ATTACH ':memory:' AS x", "SELECT 1"]

    def test_errors_are_the_same(self, connection: sqlite3.Connection) -> None:
        for wrong in ("nonsense", "ATTACH", "ATTACH 'a' 'b'"):
            with pytest.raises(sqlite3.OperationalError):
                connection.execute(wrong)
        with pytest.raises(TypeError):
            connection.execute(1)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            connection.executescript(b"SELECT 1")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            connection.cursor(lambda _: None)  # type: ignore[type-var]
        with pytest.raises(TypeError):
            connection.cursor(None)  # type: ignore[call-overload, unused-ignore]
        connection.close()
        with pytest.raises(sqlite3.ProgrammingError):
            connection.execute("SELECT 1")
        with pytest.raises(sqlite3.ProgrammingError):
            connection()  # type: ignore[call-arg]

    @pytest.mark.usefixtures("connection")
    @pytest.mark.filterwarnings("ignore:Passing more than 1 positional argument:DeprecationWarning")  # Python 3.13
    def test_factories(self) -> None:
        def make(*args: Any, **options: Any) -> OurConnection:
            return OurConnection(*args, **options)

        factories: list[Any] = [OurConnection, make]
        for factory in factories:
            with closing(sqlite3.connect(":memory:", factory=factory)) as connection:
                assert isinstance(connection, OurConnection)
                assert isinstance(connection.cursor(), OurCursor)
        with closing(sqlite3.connect(":memory:", 5.0, 0, None, True, OurConnection, 10)) as connection:  # noqa: FBT003
            assert isinstance(connection, OurConnection)
        with pytest.raises((TypeError, AttributeError)):
            sqlite3.connect(":memory:", factory=None)  # type: ignore[call-overload]

    @pytest.mark.usefixtures("connection")
    def test_classes_that_mind_who_inherits_from_them(self) -> None:
        class LastConnection(sqlite3.Connection):
            def __init_subclass__(cls) -> None:
                raise TypeError("nobody inherits from this class")

        class LastCursor(sqlite3.Cursor):
            def __init_subclass__(cls) -> None:
                raise TypeError("nobody inherits from this class")

        with closing(sqlite3.connect(":memory:", factory=LastConnection)) as connection:
            assert type(connection) is LastConnection
        with closing(sqlite3.connect(":memory:")) as plain:
            assert type(plain.cursor(LastCursor)) is LastCursor

    @pytest.mark.usefixtures("connection")
    def test_the_function_is_what_it_was(self) -> None:
        assert sqlite3.connect.__name__ == "connect"
        assert sqlite3.dbapi2.connect.__name__ == "connect"


def test_it_is_not_felt(shop: Path) -> None:
    """A statement that sqlite3 remembers costs what it cost; a new one a few hundred nanoseconds."""
    del shop
    fenced = sqlite3.connect(":memory:")
    plain = sqlite3.Connection(":memory:")
    ratios = []
    for connection in (fenced, plain):
        connection.execute("CREATE TABLE articles (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO articles VALUES (1, 'anchor')")
    for _ in range(5):
        seconds = [
            min(timeit.repeat(lambda c=one: c.execute("SELECT * FROM articles").fetchall(), number=300, repeat=3))  # type: ignore[misc]
            for one in (fenced, plain)
        ]
        ratios.append(seconds[0] / seconds[1])
    fenced.close()
    plain.close()
    assert min(ratios) < 1.3
