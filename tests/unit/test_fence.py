"""The fence in this process: what it refuses, what it leaves alone, and that it is not felt when it is down."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import sys
import threading
import timeit
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import aiosqlite
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import NullPool, QueuePool, StaticPool, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from engineroom import _run_files
from engineroom._project import Project
from engineroom.errors import FenceError
from engineroom.testing import _callers, _engine_fence, fence
from engineroom.testing._allowances import TOOL_FILES, Allowances
from engineroom.testing._database_files import Terms, find_protected
from engineroom.testing.ledger import active_ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import URL

SIDES = ("-wal", "-shm", "-journal")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a protected database in the root of a project, which is the working directory."""
    root = tmp_path / "shop"
    root.mkdir()
    monkeypatch.chdir(root)
    return make_database(root / "shop.db")


@pytest.fixture(autouse=True)
def _measured_and_lowered(shop: Path) -> Iterator[None]:
    open_ledger(None)
    fence.raise_fence(Project(root=shop.parent))
    fence.lower_fence()
    # Python does not trace an audit hook unless it asks for it: Coverage would not see any of this.
    fence._state.hook.__cantrace__ = True  # type: ignore[union-attr]  # it is there once the fence was up
    yield
    fence.lower_fence()


@pytest.fixture
def raised(shop: Path) -> Path:
    """Return the protected database with the fence up."""
    fence.raise_fence(Project(root=shop.parent))
    return shop


def make_database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE articles (name TEXT); INSERT INTO articles VALUES ('anchor');")
    return path


def open_raw(path: Path) -> Any:
    return sqlite3.connect(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def connect(*args: Any, **options: Any) -> None:
    sqlite3.connect(*args, **options).close()


# --- What is done to the file

FILE_OPERATIONS: dict[str, Callable[[Path], object]] = {
    "os.remove": os.remove,
    "os.unlink": os.unlink,
    "Path.unlink": Path.unlink,
    "os.remove by bytes": lambda path: os.remove(os.fsencode(path)),  # noqa: PTH107
    "os.remove by a relative path": lambda path: os.remove(path.name),  # noqa: PTH107
    "os.rename away": lambda path: path.rename(path.with_name("away")),
    "os.replace by something else": lambda path: make_database(path.with_name("test_new.db")).replace(path),
    "os.truncate": lambda path: os.truncate(path, 0),
    "open for writing": lambda path: path.write_bytes(b""),
    "open for appending": lambda path: path.open("ab"),
    "open for updating": lambda path: path.open("r+b"),
    "os.open for writing": lambda path: os.open(path, os.O_WRONLY),
    "os.open with O_TRUNC": lambda path: os.open(path, os.O_RDWR | os.O_TRUNC),
    "shutil.copy over it": lambda path: shutil.copy(make_database(path.with_name("test_new.db")), path),
    "shutil.move over it": lambda path: shutil.move(make_database(path.with_name("test_new.db")), path),
    "shutil.move away": lambda path: shutil.move(path, path.with_name("away")),
    "shutil.rmtree": lambda path: shutil.rmtree(path.parent),
    "shutil.rmtree that ignores errors": lambda path: shutil.rmtree(path.parent, ignore_errors=True),
    "shutil.rmtree of a directory above": lambda path: shutil.rmtree(path.parents[1], ignore_errors=True),
    "rename of its directory": lambda path: path.parent.rename(path.parents[1] / "away"),
    "os.remove in an open directory": lambda path: os.remove(path.name, dir_fd=os.open(path.parent, os.O_RDONLY)),
    "os.rename in an open directory": lambda path: os.rename(
        path.name, "away", src_dir_fd=os.open(path.parent, os.O_RDONLY)
    ),
    "opening a symbolic link for writing": lambda path: link_to(path, "other").write_bytes(b""),
    "truncating a symbolic link": lambda path: os.truncate(link_to(path, "other"), 0),
}


def hard_link_to(path: Path, name: str) -> Path:
    path.with_name(name).hardlink_to(path)
    return path.with_name(name)


def link_to(path: Path, name: str) -> Path:
    link = path.with_name(name)
    link.symlink_to(path)
    return link


@pytest.mark.parametrize("operation", FILE_OPERATIONS.values(), ids=FILE_OPERATIONS.keys())
def test_a_protected_database_survives(raised: Path, operation: Callable[[Path], object]) -> None:
    before = digest(raised)
    with pytest.raises(FenceError):
        operation(raised)
    assert digest(raised) == before


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("operation", [os.remove, lambda path: Path(path).write_bytes(b"")], ids=["remove", "write"])
def test_what_belongs_to_a_protected_database_survives(
    raised: Path, side: str, operation: Callable[[Path], object]
) -> None:
    fence.lower_fence()
    path = raised.with_name(raised.name + side)
    path.write_bytes(b"precious")
    fence.raise_fence(Project(root=raised.parent))
    with pytest.raises(FenceError, match=f"belongs to, the SQLite database .*{raised.name}"):
        operation(path)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("side", SIDES)
def test_a_journal_cannot_be_planted_beside_a_protected_database(raised: Path, side: str) -> None:
    with pytest.raises(FenceError):
        raised.with_name(raised.name + side).write_bytes(b"rolls back what was never there")


def test_a_database_is_known_by_its_content(raised: Path) -> None:
    fence.lower_fence()
    disguised = raised.rename(raised.with_name("notes.txt"))
    fence.raise_fence(Project(root=raised.parent))
    with pytest.raises(FenceError):
        disguised.unlink()


def test_a_hard_link_with_the_name_of_a_test_database_is_no_test_database(raised: Path) -> None:
    os.link(raised, raised.with_name("test_shop.db"))
    with pytest.raises(FenceError):
        raised.with_name("test_shop.db").write_bytes(b"")


def test_nothing_of_a_directory_is_lost_before_the_refusal(raised: Path) -> None:
    (raised.parent / "a_first.txt").write_text("kept")
    with pytest.raises(FenceError, match="remove the directory"):
        shutil.rmtree(raised.parent, ignore_errors=True)
    assert (raised.parent / "a_first.txt").read_text() == "kept"


FREE_OPERATIONS: dict[str, Callable[[Path], object]] = {
    "reading": Path.read_bytes,
    "opening for reading": lambda path: path.open("rb").close(),
    "looking at it": Path.stat,
    "copying it": lambda path: shutil.copy(path, path.with_name("copy")),
    "linking to it": lambda path: os.link(path, path.with_name("second")),
    "removing a symbolic link to it": lambda path: link_to(path, "other").unlink(),
    "renaming a symbolic link to it": lambda path: link_to(path, "other").rename(path.with_name("another")),
    "replacing a symbolic link to it": lambda path: make_database(path.with_name("test_new.db")).replace(
        link_to(path, "other")
    ),
    "touching it": Path.touch,
    "removing a test database": lambda path: make_database(path.with_name("test_shop.db")).unlink(),
    "renaming a test database": lambda path: make_database(path.with_name("test_shop.db")).rename("test_other.db"),
    "removing a directory of test databases": lambda path: shutil.rmtree(
        make_database(make_directory(path.with_name("inner")) / "test_shop.db").parent
    ),
    "renaming a directory of test databases": lambda path: make_database(
        make_directory(path.with_name("inner")) / "test_shop.db"
    ).parent.rename("outer"),
    "writing another file": lambda path: path.with_name("notes.txt").write_bytes(b"x" * 4096),
    "writing over a file as long as a page": lambda path: [
        path.with_name("notes.txt").write_bytes(b"x" * 512) for _ in range(2)
    ],
    "removing a file as long as a page": lambda path: write_and_remove(path.with_name("notes.txt"), b"x" * 512),
    "removing an empty file": lambda path: write_and_remove(path.with_name("new.db"), b""),
    "removing what is not there": lambda path: path.with_name("gone.db").unlink(missing_ok=True),
    "writing beside a database that is not there": lambda path: path.with_name("gone.db-journal").write_bytes(b""),
    "writing to the null device": lambda _: Path(os.devnull).write_bytes(b"x"),
    "writing to a descriptor": lambda path: os.write(os.open(path.with_name("notes.txt"), 0o102, 0o600), b"x"),
    "truncating a descriptor": lambda path: os.truncate(os.open(path.with_name("notes.txt"), 0o102, 0o600), 0),
    "removing a loop of links": lambda path: make_loop(path.with_name("loop")).unlink(),
}


def make_directory(path: Path) -> Path:
    path.mkdir()
    return path


def make_loop(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def write_and_remove(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.unlink()


@pytest.mark.parametrize("operation", FREE_OPERATIONS.values(), ids=FREE_OPERATIONS.keys())
def test_what_harms_no_protected_database_is_free(raised: Path, operation: Callable[[Path], object]) -> None:
    before = digest(raised)
    operation(raised)
    assert digest(raised) == before
    assert active_ledger().refusals() == []


@pytest.mark.parametrize("operation", [Path.unlink, lambda path: path.open("wb")], ids=["remove", "open for writing"])
def test_an_operation_that_fails_by_itself_fails_as_ever(raised: Path, operation: Callable[[Path], object]) -> None:
    with pytest.raises(FileNotFoundError):
        operation(raised.parent / "nowhere" / "shop.db")
    with pytest.raises(ValueError, match="null"):
        operation(Path(f"{raised}\0"))


def test_a_file_that_is_created_and_removed_below_a_temporary_directory_is_the_runs(
    raised: Path, tmp_path: Path
) -> None:
    temporary = make_directory(tmp_path / "temporary")
    _run_files.start_run([temporary])
    made = shutil.copy(raised, temporary / "shop.db")
    connect(made)
    Path(made).unlink()


# --- sqlite3.connect

REFUSED_CONNECTIONS: dict[str, Callable[[Path], object]] = {
    "by its path": connect,
    "by a text": lambda path: connect(str(path)),
    "by bytes": lambda path: connect(os.fsencode(path)),
    "by a relative path": lambda path: connect(path.name),
    "through a parent directory": lambda path: connect(f"../{path.parent.name}/{path.name}"),
    "by a URI": lambda path: connect(f"file:{path}", uri=True),
    "by a URI with a host": lambda path: connect(f"file://localhost{path}", uri=True),
    "by a URI to write": lambda path: connect(f"file:{path}?mode=rw", uri=True),
    "by an encoded URI": lambda path: connect(f"file:{path.parent}/%73hop.db", uri=True),
    "by a URI that is no read": lambda path: connect(f"file:{path}?mode=ro&mode=rw", uri=True),
    "through a symbolic link": lambda path: connect(link_to(path, "test_link.db")),
    "through a hard link": lambda path: connect(hard_link_to(path, "test_hard.db")),
    "by a keyword": lambda path: connect(database=path),
    "with a class of its own": lambda path: connect(path, factory=type("Mine", (sqlite3.Connection,), {})),
    "by calling the class": lambda path: sqlite3.Connection(str(path)),
    "with an isolation level": lambda path: connect(path, isolation_level=None),
    "a new file in the project": lambda path: connect(path.with_name("new.db")),
}


@pytest.mark.parametrize("operation", REFUSED_CONNECTIONS.values(), ids=REFUSED_CONNECTIONS.keys())
def test_a_protected_database_is_not_opened(raised: Path, operation: Callable[[Path], object]) -> None:
    before = digest(raised)
    with pytest.raises(FenceError, match="Refused to connect to sqlite:///"):
        operation(raised)
    assert digest(raised) == before
    assert not raised.with_name("new.db").exists()


FREE_CONNECTIONS: dict[str, Callable[[Path], object]] = {
    "in memory": lambda _: connect(":memory:"),
    "in memory by bytes": lambda _: connect(b":memory:"),
    "a temporary one": lambda _: connect(""),
    "in memory by a URI": lambda _: connect("file::memory:?cache=shared", uri=True),
    "in memory under a name": lambda _: connect("file:shop?mode=memory&cache=shared", uri=True),
    "read only": lambda path: connect(f"file:{path}?mode=ro", uri=True),
    "immutable": lambda path: connect(f"file:{path}?immutable=1", uri=True),
    "a test database": lambda path: connect(path.with_name("test_shop.db")),
    "a test database by a URI": lambda path: connect(f"file:{path.with_name('test_shop.db')}?mode=rwc", uri=True),
    "Coverage's data": lambda path: connect(path.with_name(".coverage")),
    "Coverage's data of a process": lambda path: connect(path.with_name(".coverage.host.123.XyZ")),
    "mypy's cache": lambda path: connect(make_directory(path.with_name(".mypy_cache")) / "cache.db"),
}


@pytest.mark.parametrize("operation", FREE_CONNECTIONS.values(), ids=FREE_CONNECTIONS.keys())
def test_what_is_no_protected_database_is_opened(raised: Path, operation: Callable[[Path], object]) -> None:
    operation(raised)
    assert active_ledger().refusals() == []


@pytest.mark.usefixtures("raised")
@pytest.mark.parametrize("database", [17, None, object()], ids=["a number", "nothing", "an object"])
def test_a_name_that_is_no_path_fails_as_ever(database: object) -> None:
    with pytest.raises(TypeError):
        connect(database)
    assert active_ledger().refusals() == []


@pytest.mark.parametrize("name", ["nowhere/shop.db", "nowhere/deep/shop.db", "directory"])
def test_where_sqlite_itself_fails_it_fails_as_ever(raised: Path, name: str) -> None:
    make_directory(raised.with_name("directory"))
    with pytest.raises(sqlite3.OperationalError):
        connect(raised.parent / name)
    with pytest.raises(OperationalError):
        use(f"sqlite:///{raised.parent / name}")
    assert active_ledger().refusals() == []


def test_a_link_to_a_database_that_is_not_there_yet_is_judged_by_where_it_leads(raised: Path) -> None:
    raised.with_name("test_link.db").symlink_to(raised.with_name("new.db"))
    with pytest.raises(FenceError):
        connect(raised.with_name("test_link.db"))


def test_rows_are_not_changed_by_a_connection_for_reading(raised: Path) -> None:
    with closing(sqlite3.connect(f"file:{raised}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT name FROM articles").fetchall() == [("anchor",)]


async def test_aiosqlite_is_refused_too(raised: Path) -> None:
    with pytest.raises(FenceError):
        await aiosqlite.connect(raised)
    await asyncio.sleep(0.05)  # aiosqlite's thread reports its end to the loop
    (refusal,) = active_ledger().refusals()
    assert refusal.target == f"sqlite:///{raised}"


async def test_aiosqlite_may_open_a_test_database(raised: Path) -> None:
    async with aiosqlite.connect(raised.with_name("test_shop.db")) as connection:
        await connection.execute("CREATE TABLE articles (name TEXT)")


def test_a_thread_is_refused_and_its_line_is_known(raised: Path) -> None:
    caught: list[BaseException] = []

    def swallow() -> None:
        try:
            connect(raised)
        except FenceError as error:
            caught.append(error)

    thread = threading.Thread(target=swallow)
    thread.start()
    thread.join()
    assert len(caught) == 1
    (refusal,) = active_ledger().refusals()
    assert refusal.file == __file__


def test_a_refusal_is_neither_an_os_error_nor_an_error_of_the_driver(raised: Path) -> None:
    with pytest.raises(FenceError) as caught:
        connect(raised)
    assert not isinstance(caught.value, (OSError, sqlite3.Error))


def test_nobody_can_stand_in_for_the_functions_that_the_fence_uses(
    raised: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> object:
        raise FileNotFoundError

    for name in ("stat", "scandir", "open", "read"):
        monkeypatch.setattr(os, name, gone)
    with pytest.raises(FenceError):
        raised.unlink()


# --- SQLAlchemy


def use(url: str | URL, **options: Any) -> list[Any]:
    engine = create_engine(url, **options)
    try:
        with engine.connect() as connection:
            return list(connection.execute(text("SELECT 1")).scalars())
    finally:
        engine.dispose()


REFUSED_ENGINES: dict[str, Callable[[Path], object]] = {
    "by its URL": lambda path: use(f"sqlite:///{path}"),
    "by a relative URL": lambda path: use(f"sqlite:///{path.name}"),
    "by a URI": lambda path: use(f"sqlite:///file:{path}?uri=true"),
    "by connect_args": lambda path: use("sqlite://", connect_args={"database": str(path)}),
    "with NullPool": lambda path: use(f"sqlite:///{path}", poolclass=NullPool),
    "with StaticPool": lambda path: use(f"sqlite:///{path}", poolclass=StaticPool),
    "with a pool of its own": lambda path: use("sqlite://", pool=QueuePool(lambda: open_raw(path))),
    "with a creator": lambda path: use("sqlite://", creator=lambda: sqlite3.connect(path)),
    "through a symbolic link": lambda path: use(f"sqlite:///{link_to(path, 'test_link.db')}"),
    "by a pool without an engine": lambda path: QueuePool(lambda: open_raw(path)).connect(),
}


@pytest.mark.parametrize("operation", REFUSED_ENGINES.values(), ids=REFUSED_ENGINES.keys())
def test_no_engine_reaches_a_protected_database(raised: Path, operation: Callable[[Path], object]) -> None:
    before = digest(raised)
    with pytest.raises(FenceError, match="Refused to connect to sqlite:///"):
        operation(raised)
    assert digest(raised) == before
    assert len(active_ledger().refusals()) == 1


FREE_ENGINES: dict[str, Callable[[Path], object]] = {
    "in memory": lambda _: use("sqlite://"),
    "in memory by a name": lambda _: use("sqlite:///:memory:"),
    "a test database": lambda path: use(f"sqlite:///{path.with_name('test_shop.db')}"),
    "read only": lambda path: use(f"sqlite:///file:{path}?mode=ro&uri=true"),
    "with a creator": lambda path: use("sqlite://", creator=lambda: sqlite3.connect(path.with_name("test_shop.db"))),
    "with a creator for reading": lambda path: use(
        "sqlite://", creator=lambda: sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    ),
}


@pytest.mark.parametrize("operation", FREE_ENGINES.values(), ids=FREE_ENGINES.keys())
def test_an_engine_of_something_else_works(raised: Path, operation: Callable[[Path], list[Any]]) -> None:
    assert operation(raised) == [1]
    assert active_ledger().refusals() == []


def test_an_engine_that_was_made_before_the_fence_is_refused(shop: Path) -> None:
    engine = create_engine(f"sqlite:///{shop}")
    fence.raise_fence(Project(root=shop.parent))
    with pytest.raises(FenceError):
        engine.connect()


def test_a_connection_that_was_pooled_before_the_fence_is_refused(shop: Path) -> None:
    engine = create_engine(f"sqlite:///{shop}", poolclass=QueuePool)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]
    fence.raise_fence(Project(root=shop.parent))
    with pytest.raises(FenceError):
        engine.connect()
    fence.lower_fence()
    engine.dispose()


def test_a_listener_that_changes_the_arguments_does_not_get_past(raised: Path) -> None:
    engine = create_engine("sqlite://", poolclass=NullPool)
    event.listen(engine, "do_connect", lambda _, __, args, ___: args.__setitem__(0, str(raised)))
    with pytest.raises(FenceError):
        engine.connect()


@pytest.mark.parametrize("pool", [NullPool, None], ids=["NullPool", "the usual pool"])
async def test_an_async_engine_is_refused_at_the_users_line(raised: Path, pool: Any) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{raised}", **({"poolclass": pool} if pool else {}))
    with pytest.raises(FenceError):
        async with engine.connect():
            pass
    (refusal,) = active_ledger().refusals()
    assert refusal.file == __file__
    assert "get_engine" in refusal.remedy
    await engine.dispose()


async def test_an_async_creator_is_refused(raised: Path) -> None:
    engine = create_async_engine("sqlite+aiosqlite://", async_creator=lambda: aiosqlite.connect(raised))
    with pytest.raises(FenceError):
        async with engine.connect():
            pass
    await asyncio.sleep(0.05)  # as above
    await engine.dispose()


async def test_an_async_engine_of_a_test_database_works(raised: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{raised.with_name('test_shop.db')}")
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
    await engine.dispose()


class Driver:
    """A driver that connects to nothing, and says whether it was asked."""

    paramstyle = "named"
    asked = 0

    class Error(Exception):
        pass

    def connect(self, *_: object, **__: object) -> object:
        Driver.asked += 1
        raise Driver.Error


SERVERS: list[tuple[str, bool]] = [
    ("postgresql+psycopg://app:geheim@db.internal/shop", True),
    ("postgresql+psycopg://app:geheim@localhost/shop", True),
    ("postgresql+psycopg://app:geheim@localhost/test_shop", False),
    ("postgresql+psycopg://app:geheim@localhost/test_shop?dbname=shop", True),
    ("postgresql+psycopg://app:geheim@localhost/postgres", False),
    ("postgresql+psycopg2://app:geheim@localhost/template1", False),
    ("postgresql+psycopg2://app:geheim@localhost/shop", True),
    ("postgresql+psycopg2://shop:geheim@localhost", True),
    ("mysql+pymysql://app:geheim@localhost/shop", True),
    ("mysql+pymysql://app:geheim@localhost/test_shop", False),
    ("mysql+pymysql://app:geheim@localhost", False),
    ("mysql+pymysql://app:geheim@localhost/mysql", True),
    ("mariadb+pymysql://app:geheim@localhost/test_shop?init_command=USE+shop", True),
    ("mariadb+pymysql://app:geheim@localhost/shop_test", True),
]


@pytest.mark.usefixtures("raised")
@pytest.mark.parametrize(
    ("url", "is_refused"), SERVERS, ids=[f"{url} is {'refused' if refused else 'asked'}" for url, refused in SERVERS]
)
def test_a_server_is_judged_by_the_database_that_its_driver_would_reach(
    url: str, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Driver, "asked", 0)
    engine = create_engine(url, poolclass=NullPool)
    monkeypatch.setattr(engine.dialect, "connect", Driver().connect)
    with pytest.raises(FenceError if is_refused else Driver.Error) as caught:
        engine.connect()
    assert Driver.asked == (not is_refused)
    assert "geheim" not in str(caught.value)
    assert not any("geheim" in str(refusal._replace(test="")) for refusal in active_ledger().refusals())


@pytest.mark.usefixtures("raised")
def test_no_frame_of_the_fence_shows_the_password() -> None:
    engine = create_engine("postgresql+psycopg://app:geheim@db.internal/shop")
    with pytest.raises(FenceError) as caught:
        engine.connect()
    own = [entry for entry in caught.traceback if "engineroom/testing" in str(entry.path)]
    assert own
    assert not any("geheim" in repr(entry.frame.f_locals) for entry in own)


@pytest.mark.usefixtures("raised")
def test_an_unknown_database_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = create_engine("sqlite://", poolclass=NullPool)
    monkeypatch.setattr(engine.dialect, "name", "duckdb")
    with pytest.raises(FenceError, match="does not know how to tell"):
        engine.connect()


@pytest.mark.usefixtures("raised")
def test_an_unknown_database_system_is_refused_by_its_live_connection_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(":memory:"), poolclass=NullPool)
    monkeypatch.setattr(engine.dialect, "name", "duckdb")
    with pytest.raises(FenceError, match="does not know how to tell"):
        engine.connect()


@pytest.mark.parametrize(("entry", "is_let"), [("duckdb:///stock", True), ("duckdb:///other", False)])
def test_fence_allow_lets_an_unknown_database_system_through(
    shop: Path, entry: str, is_let: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence.raise_fence(Project(root=shop.parent, fence_allow=(entry,)))
    engine = create_engine("sqlite://", connect_args={"database": "stock"}, poolclass=NullPool)
    monkeypatch.setattr(engine.dialect, "connect", lambda *_, **__: sqlite3.connect(":memory:"))
    monkeypatch.setattr(engine.dialect, "name", "duckdb")
    if is_let:
        engine.connect().close()
    else:
        with pytest.raises(FenceError):
            engine.connect()


@pytest.mark.usefixtures("raised")
def test_arguments_that_cannot_be_read_are_unknown() -> None:
    class Unreadable:
        def __str__(self) -> str:
            raise RuntimeError

    engine = create_engine("postgresql+psycopg://localhost/test_shop", connect_args={"host": Unreadable()})
    with pytest.raises(FenceError, match="its name is not known"):
        engine.connect()


@pytest.mark.parametrize(
    ("entry", "is_let"),
    [
        ("postgresql://db.internal/shop", True),
        ("postgresql://app@db.internal/shop", True),
        ("postgresql+psycopg://app@db.internal:5432/shop", True),
        ("postgresql://other@db.internal/shop", False),
        ("postgresql://db.internal/other", False),
        ("postgresql://elsewhere/shop", False),
        ("postgresql://db.internal:5433/shop", False),
        ("mysql://db.internal/shop", False),
        ("no url://[", False),
    ],
)
def test_fence_allow_lets_a_server_through(
    shop: Path, entry: str, is_let: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence.raise_fence(Project(root=shop.parent, fence_allow=(entry,)))
    engine = create_engine("postgresql+psycopg://app:geheim@db.internal:5432/shop", poolclass=NullPool)
    monkeypatch.setattr(engine.dialect, "connect", Driver().connect)
    with pytest.raises(Driver.Error if is_let else FenceError):
        engine.connect()


# --- The real servers


SYNC_DRIVERS = ["postgresql+psycopg", "postgresql+psycopg2", "mariadb+pymysql"]
ASYNC_DRIVERS = ["postgresql+psycopg", "postgresql+asyncpg", "mariadb+aiomysql", "mariadb+asyncmy"]


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_a_test_database_on_a_server_works(shop: Path, driver: str, server_database: Callable[[str], URL]) -> None:
    url = server_database(driver.partition("+")[0]).set(drivername=driver)
    fence.raise_fence(Project(root=shop.parent))
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()
    assert active_ledger().refusals() == []
    fence.lower_fence()


@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
async def test_a_test_database_on_a_server_works_for_an_async_engine(
    shop: Path, driver: str, server_database: Callable[[str], URL]
) -> None:
    url = server_database(driver.partition("+")[0]).set(drivername=driver)
    fence.raise_fence(Project(root=shop.parent))
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    fence.raise_fence(Project(root=shop.parent, test_names=("*_pytest",)))
    with pytest.raises(FenceError):
        async with create_async_engine(url).connect():
            pass
    fence.lower_fence()
    await engine.dispose()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_is_asked_where_the_arguments_do_not_show(
    shop: Path, kind: str, request: pytest.FixtureRequest, server_database: Callable[[str], URL]
) -> None:
    maintenance: URL = request.getfixturevalue(f"{kind}_url")
    real = create_engine(server_database(kind), poolclass=NullPool)
    args, options = real.dialect.create_connect_args(real.url)
    hidden = create_engine(maintenance, creator=lambda: real.dialect.connect(*args, **options), poolclass=NullPool)
    with hidden.connect():
        pass
    fence.raise_fence(Project(root=shop.parent, test_names=("*_pytest",)))
    with pytest.raises(FenceError, match=str(real.url.database)):
        hidden.connect()
    fence.lower_fence()


# --- fence_allow and the tools

ALLOWED: list[tuple[str, str, bool]] = [
    ("shop.db", "shop.db", True),
    ("./shop.db", "shop.db", True),
    ("*.db", "shop.db", True),
    ("*.db", "data/shop.db", False),
    ("data/*.db", "data/shop.db", True),
    ("data/*.db", "data/deep/shop.db", False),
    ("data/**", "data/deep/shop.db", True),
    ("data/", "data/deep/shop.db", True),
    ("data", "data/shop.db", False),
    ("**/shop.db", "data/deep/shop.db", True),
    ("**/shop.db", "shop.db", True),
    ("shop.d?", "shop.db", True),
    ("[!t]hop.db", "shop.db", True),
    ("SHOP.DB", "shop.db", False),
    ("shop", "shop.db", False),
    ("hop.db", "shop.db", False),
    ("../elsewhere.db", "../elsewhere.db", True),
    ("/srv/elsewhere.db", "/srv/elsewhere.db", True),
    ("sqlite:///data/shop.db", "data/shop.db", True),
    ("sqlite:////srv/elsewhere.db", "/srv/elsewhere.db", True),
    ("postgresql://localhost/shop", "shop", False),
]


@pytest.mark.parametrize(
    ("entry", "file", "is_let"),
    ALLOWED,
    ids=[f"{entry} {'lets' if let else 'does not let'} {file} through" for entry, file, let in ALLOWED],
)
def test_fence_allow_lets_files_through(tmp_path: Path, entry: str, file: str, is_let: bool) -> None:
    root = Path(os.path.realpath(tmp_path))
    assert Allowances.read([entry], root).lets_file(os.path.normpath(root / file)) is is_let


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_an_entry_without_a_wildcard_lets_one_file_through_at_most(entry: str, file: str) -> None:
    if any(letter in entry for letter in "*?[/\0~") or "/" in file or "://" in entry or entry in {".", ".."}:
        return
    allowances = Allowances.read([entry], "/srv/shop")
    assert allowances.lets_file(f"/srv/shop/{file}") == (file == entry)


def test_fence_allow_opens_and_removes(shop: Path) -> None:
    fence.raise_fence(Project(root=shop.parent, fence_allow=("*.db",)))
    connect(shop)
    use(f"sqlite:///{shop}")
    shop.unlink()
    assert active_ledger().refusals() == []


def test_a_link_in_an_allowed_directory_leads_to_a_protected_database_all_the_same(shop: Path) -> None:
    make_directory(shop.with_name("free"))
    (shop.parent / "free" / "shop.db").symlink_to(shop)
    fence.raise_fence(Project(root=shop.parent, fence_allow=("free/",)))
    with pytest.raises(FenceError):
        connect(shop.parent / "free" / "shop.db")


@pytest.mark.parametrize(
    "path",
    [
        "/home/me/shop/.coverage",
        "/home/me/shop/.coverage.host.1234.567890",
        "/home/me/shop/.testmondata",
        "/home/me/shop/.mypy_cache/3.11/cache.db",
        "/home/me/shop/.pytest_cache/v/cache.db",
        "/home/me/shop/.hypothesis/examples.db",
        "/home/me/shop/.ruff_cache/a/b/c.db",
        "/home/me/.ipython/profile_default/history.sqlite",
        "/home/me/.cache/pip/index.db",
        "/Users/me/Library/Caches/tool/x.db",
        "/var/pytest-of-me/garbage-1234/test_a0/shop.db",
    ],
)
def test_the_files_of_tools_are_free(path: str) -> None:
    assert Allowances.read([], "/home/me/shop").lets_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "/home/me/shop/coverage",
        "/home/me/shop/x.coverage",
        "/home/me/shop/.coveragerc.db",
        "/home/me/shop/mypy_cache/cache.db",
        "/home/me/shop/.cache",
        "/home/me/shop/Caches/x.db",
        "/home/me/shop/Library/x/Caches/x.db",
        "/var/pytest-of-me/pytest-3/test_a0/shop.db",
        "/home/me/shop/shop.db",
    ],
)
def test_what_only_looks_like_a_tools_file_is_not_free(path: str) -> None:
    assert not Allowances.read([], "/home/me/shop").lets_file(path)


def test_a_project_inside_of_a_tools_directory_is_protected() -> None:
    allowances = Allowances.read([], "/home/me/.nox/tests/shop")
    assert not allowances.lets_file("/home/me/.nox/tests/shop/shop.db")
    assert allowances.lets_file("/home/me/.nox/tests/shop/.mypy_cache/cache.db")


def test_a_hard_link_makes_no_tools_file_of_a_database() -> None:
    allowances = Allowances.read([], "/home/me/shop")
    assert not allowances.lets_file("/home/me/shop/.coverage", links=2)


def test_every_tool_has_a_reason() -> None:
    assert all(tool.reason and tool.pattern for tool in TOOL_FILES)
    assert len({tool.pattern for tool in TOOL_FILES}) == len(TOOL_FILES)


def test_coverages_data_is_free_wherever_it_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "coverage", None)  # as where it does not run
    monkeypatch.setenv("COVERAGE_FILE", str(tmp_path / "measured.db"))
    allowances = Allowances.read([], tmp_path)
    assert allowances.lets_file(os.path.realpath(tmp_path / "measured.db"))
    assert allowances.lets_file(os.path.realpath(tmp_path / "measured.db.host.1.x"))
    assert not allowances.lets_file(os.path.realpath(tmp_path / "measured.dbx"))


def test_what_pytest_empties_before_each_run_is_free_below_its_first_level(shop: Path) -> None:
    temporary = make_directory(shop.with_name("temporary"))
    inner = make_database(make_directory(temporary / "test_a0") / "shop.db")
    top = make_database(temporary / "shop.db")
    fence.raise_fence(Project(root=shop.parent))
    fence.allow_temporary(temporary)
    connect(inner)
    inner.unlink()
    with pytest.raises(FenceError):
        top.unlink()


# --- Up and down


def test_while_the_fence_is_down_nothing_is_refused(shop: Path) -> None:
    assert not fence.is_raised()
    fence.raise_fence(Project(root=shop.parent))
    assert fence.is_raised()
    fence.lower_fence()
    connect(shop)
    use(f"sqlite:///{shop}")
    fence.allow_temporary(shop.parent)
    shop.unlink()
    assert active_ledger().refusals() == []


def test_to_raise_it_again_installs_nothing_again(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fence.raise_fence(Project(root=shop.parent))
    installed: list[object] = []
    monkeypatch.setattr(sys, "addaudithook", installed.append)
    monkeypatch.setattr(_engine_fence, "listen", lambda *_, **__: installed.append("listeners"))
    fence.raise_fence(Project(root=shop.parent))
    assert installed == []
    with pytest.raises(FenceError):
        connect(shop)


def test_the_terms_of_the_last_project_count(shop: Path) -> None:
    fence.raise_fence(Project(root=shop.parent))
    fence.raise_fence(Project(root=shop.parent, test_names=("shop*", "*test*")))
    connect(shop)


# Coverage and debuggers trace each line, which takes longer than the line.
untraced = pytest.mark.skipif(sys.gettrace() is not None, reason="this measures time")


@untraced
@pytest.mark.usefixtures("raised")
def test_an_event_that_is_not_watched_costs_less_than_a_microsecond() -> None:
    seconds = min(timeit.repeat(lambda: sys.audit("object.__getattr__"), number=20_000, repeat=5)) / 20_000
    assert seconds < 1e-6, f"{seconds * 1e9:.0f} ns"


@untraced
def test_a_refusal_takes_less_than_a_tenth_of_a_second(raised: Path) -> None:
    def ask() -> None:
        with pytest.raises(FenceError):
            connect(raised)

    ask()
    assert min(timeit.repeat(ask, number=1, repeat=5)) < 0.1


def test_the_message_has_four_parts(raised: Path) -> None:
    with pytest.raises(FenceError) as caught:
        connect(raised)
    allow = '[tool.engineroom] fence_allow = ["shop.db"]'
    assert str(caught.value).splitlines() == [
        f"Refused to connect to sqlite:///{raised} while pytest runs.",
        "",
        'Why: the database "shop.db" is not disposable: it is not in memory and its name does not match test_*.',
        'Fix: - open it for reading: sqlite3.connect("file:shop.db?mode=ro", uri=True), or',
        '     - use a database below tmp_path, or one whose name starts with "test_", or',
        f"     - if every test run may change it, say so in pyproject.toml: {allow}.",
        "Ref: fence",
    ]


def test_nobody_is_told_to_read_a_file_that_is_not_there(raised: Path) -> None:
    with pytest.raises(FenceError) as caught:
        connect(raised.with_name("new.db"))
    assert str(caught.value).splitlines()[3:-1] == [
        'Fix: - use a database below tmp_path, or one whose name starts with "test_", or',
        '     - if every test run may change it, say so in pyproject.toml: [tool.engineroom] fence_allow = ["new.db"].',
    ]


def test_the_message_names_the_patterns_of_the_project(shop: Path) -> None:
    fence.raise_fence(Project(root=shop.parent, test_names=("*_test.db", "tests_*")))
    with pytest.raises(FenceError, match=r"whose name matches \*_test.db or tests_\*"):
        connect(shop)


def test_a_name_that_cannot_be_printed_does_not_forge_a_line(raised: Path) -> None:
    with pytest.raises(FenceError) as caught:
        connect(raised.with_name("a\nFix: - give up.db"))
    assert "\nFix: - give up" not in str(caught.value)


def test_an_event_of_the_same_name_that_somebody_else_raises_is_none_of_ours(raised: Path) -> None:
    sys.audit("open")
    sys.audit("open", str(raised))
    assert active_ledger().refusals() == []


@pytest.mark.usefixtures("raised")
def test_the_children_that_are_started_ring_the_alarm() -> None:
    rung: list[int] = []
    active_ledger().alarm = lambda: rung.append(1)
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    assert rung == [1]


# --- Whose line it was


def test_the_caller_is_the_innermost_line_of_the_users_code() -> None:
    line = sys._getframe().f_lineno + 1
    assert _callers.find_caller() == (__file__, line)


def test_libraries_and_generated_code_are_no_users() -> None:
    assert eval("_callers.find_caller()") == (__file__, sys._getframe().f_lineno)  # noqa: S307
    assert asyncio.run(_find_in_a_loop()).file == __file__


async def _find_in_a_loop() -> _callers.Caller:
    return _callers.find_caller()


@pytest.mark.parametrize("module", ["sqlalchemy.pool.base", ["unhashable"], None], ids=str)
def test_a_module_that_was_passed_by_is_not_looked_at_again(
    module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_by: set[str] = set()
    monkeypatch.setattr(_callers, "_modules_passed_by", passed_by)
    asked: dict[str, Any] = {"__name__": module, "find": _callers.find_caller}
    users = compile("found = find()", str(tmp_path / "base.py"), "exec")
    exec(users, asked)  # noqa: S102
    assert asked["found"] == (str(tmp_path / "base.py"), 1), "the file decides, whatever the module is called"
    assert not passed_by
    of_a_package = compile("found = find()", str(tmp_path / "site-packages" / "base.py"), "exec")
    for _ in range(2):
        line = sys._getframe().f_lineno + 1
        exec(of_a_package, asked)  # noqa: S102
        assert asked["found"] == (__file__, line)
    assert passed_by == ({module} if isinstance(module, str) else set())


def test_a_thread_that_runs_nothing_of_the_users_has_no_line() -> None:
    found: list[_callers.Caller] = []
    finder = compile("found.append(find())", "<generated>", "exec")
    thread = threading.Thread(target=exec, args=(finder, {"found": found, "find": _callers.find_caller}))
    thread.start()
    thread.join()
    assert found == [("", 0)]


# --- The judge of files, asked directly


@pytest.mark.parametrize("path", [None, 7, "", "\0", "a" * 5000], ids=lambda path: repr(path)[:9])
def test_what_is_no_file_is_no_protected_one(tmp_path: Path, path: object) -> None:
    assert find_protected(path, Terms(tmp_path)) is None


def test_a_closed_directory_names_no_file(tmp_path: Path) -> None:
    assert find_protected("shop.db", Terms(tmp_path), directory=987654) is None


def test_a_file_that_cannot_be_read_may_be_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    shop = make_database(tmp_path / "shop.db")
    monkeypatch.setattr("engineroom.testing._database_files._open", refuse)
    found = find_protected(shop, Terms(tmp_path))
    assert found is not None
    assert found.path == os.path.realpath(shop)


def test_to_open_what_must_not_be_there_yet_fails_as_it_would_without_the_fence(raised: Path) -> None:
    with pytest.raises(FileExistsError):
        raised.open("xb")
    assert active_ledger().refusals() == []


@pytest.mark.parametrize(
    "flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT, os.O_APPEND | os.O_WRONLY]
)
def test_every_flag_that_may_write_is_refused(raised: Path, flags: int) -> None:
    with pytest.raises(FenceError):
        os.open(raised, flags)


@pytest.mark.parametrize("kind", [mock.Mock, mock.MagicMock, mock.AsyncMock, mock.NonCallableMock])
def test_a_mock_reaches_a_database_only_if_it_wraps_something(kind: type[mock.Mock]) -> None:
    connection = sqlite3.connect(":memory:")
    assert _engine_fence._is_mock(kind())
    assert _engine_fence._is_mock(kind(spec=connection))
    assert not _engine_fence._is_mock(kind(wraps=connection))
    assert not _engine_fence._is_mock(connection)
    connection.close()
