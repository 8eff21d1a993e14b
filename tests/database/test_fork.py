"""After a fork the child never uses a connection of its parent, and does no harm to it, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engineroom._forks import keep_for_ever
from engineroom._run_files import RUN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL

SECONDS = 60
HEAD = """
import asyncio, gc, multiprocessing, os, sys, time, warnings
from pathlib import Path
from sqlalchemy import text
from sqlalchemy.orm import Session
from engineroom import _memory, get_async_engine, get_engine

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
_memory.RAM_STORAGE = Path(os.environ["STORAGE"])
_memory.LEAST_FREE_BYTES = 0
URL = os.environ["URL"]
ANSWERS = Path("answers")

def rows(engine, *statements):
    with engine.begin() as connection:
        for each in statements:
            result = connection.execute(text(each))
        return [tuple(row) for row in result] if result.returns_rows else []

def fork(child, how):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        except BaseException as error:
            print(f"child: {error!r}", file=sys.stderr, flush=True)
        finally:
            if how == "_exit" or code:
                os._exit(code)
        sys.exit(0)
    return pid

def wait(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


@pytest.fixture
def storage() -> Iterator[Path]:
    """Return a directory with a short name: forkserver puts its socket there, whose path the system limits."""
    with tempfile.TemporaryDirectory(prefix="er-") as directory:
        yield Path(directory)


@pytest.fixture
def run(tmp_path: Path, storage: Path) -> Callable[..., str]:
    """Return a function that runs a program which forks, and returns what it wrote; it must end well and in silence."""

    def run(body: str, url: str = "sqlite://", *arguments: str) -> str:
        program = tmp_path / "program.py"
        program.write_text(HEAD + textwrap.dedent(body))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", RUN_VARIABLE))}
        done = subprocess.run(
            [sys.executable, "-W", "error", str(program), *arguments],
            env={**kept, "APP_ENV": "test", "STORAGE": str(storage), "URL": url, "TMPDIR": str(storage)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert sorted(storage.iterdir()) == [], "a run was left behind"
        return done.stdout.strip()

    return run


def text_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


EXITS = pytest.mark.parametrize("how", ["exit", "_exit"])

SYNC_BODY = """
    engine = get_engine(URL)
    rows(engine, "CREATE TABLE users (name varchar(20))")
    idle = engine.connect()
    idle.close()                                    # a pooled connection
    session = Session(engine)                       # one that is in use, with a transaction open
    session.execute(text("INSERT INTO users VALUES ('parent')"))
    mine = rows(engine, WHO)

    def child():
        assert rows(engine, WHO) != mine or not mine[0][0]
        assert rows(engine, "SELECT * FROM users") == []
        session.close()                             # what the interpreter's end would do to it, too
        gc.collect()

    for _ in range(2):
        wait(fork(child, sys.argv[1]))
    assert session.execute(text("SELECT name FROM users")).scalars().all() == ["parent"]
    session.commit()
    assert rows(engine, WHO) == mine, "the parent goes on with its connections"

    def writing_child():
        rows(engine, "INSERT INTO users VALUES ('child')")

    wait(fork(writing_child, sys.argv[1]))
    assert rows(engine, "SELECT name FROM users ORDER BY name") == [("child",), ("parent",)]
    session.close()
    engine.dispose()
    print("good")
"""


@EXITS
def test_a_forked_child_leaves_the_connections_in_memory_alone(run: Callable[..., str], how: str) -> None:
    assert run(SYNC_BODY.replace("WHO", repr("SELECT ''")), "sqlite://", how) == "good"


@EXITS
def test_a_forked_child_leaves_the_connections_to_a_file_alone(run: Callable[..., str], how: str) -> None:
    assert run(SYNC_BODY.replace("WHO", repr("SELECT ''")), "sqlite:///test_shop.db", how) == "good"


@EXITS
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_forked_child_leaves_the_connections_to_postgresql_alone(
    run: Callable[..., str], server_database: Callable[[str], URL], driver: str, how: str
) -> None:
    url = server_database("postgresql").set(drivername=f"postgresql+{driver}")
    assert run(SYNC_BODY.replace("WHO", repr("SELECT pg_backend_pid()")), text_of(url), how) == "good"


@EXITS
def test_a_forked_child_leaves_the_connections_to_mariadb_alone(
    run: Callable[..., str], server_database: Callable[[str], URL], how: str
) -> None:
    url = server_database("mariadb").set(drivername="mariadb+pymysql")
    assert run(SYNC_BODY.replace("WHO", repr("SELECT connection_id()")), text_of(url), how) == "good"


ASYNC_BODY = """
    engine = get_async_engine(URL)

    async def arows(*statements):
        async with engine.begin() as connection:
            for each in statements:
                result = await connection.execute(text(each))
            return [tuple(row) for row in result] if result.returns_rows else []

    with asyncio.Runner() as runner:
        runner.run(arows("CREATE TABLE users (name varchar(20))"))
        held = runner.run(engine.connect().__aenter__())
        runner.run(held.execute(text("INSERT INTO users VALUES ('parent')")))
        mine = runner.run(arows(WHO))

        def child():
            assert asyncio.run(arows(WHO)) != mine or not mine[0][0]
            assert asyncio.run(arows("SELECT * FROM users")) == []
            asyncio.run(held.close())
            gc.collect()

        for _ in range(2):
            wait(fork(child, "_exit"))
        runner.run(held.commit())
        runner.run(held.close())
        assert runner.run(arows(WHO)) == mine
        wait(fork(lambda: asyncio.run(arows("INSERT INTO users VALUES ('child')")), "_exit"))
        assert runner.run(arows("SELECT name FROM users ORDER BY name")) == [("child",), ("parent",)]
    print("good")
"""


def test_a_forked_child_leaves_async_connections_in_memory_alone(run: Callable[..., str]) -> None:
    assert run(ASYNC_BODY.replace("WHO", repr("SELECT ''"))) == "good"


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_forked_child_leaves_async_connections_to_postgresql_alone(
    run: Callable[..., str], server_database: Callable[[str], URL], driver: str
) -> None:
    url = server_database("postgresql").set(drivername=f"postgresql+{driver}")
    assert run(ASYNC_BODY.replace("WHO", repr("SELECT pg_backend_pid()")), text_of(url)) == "good"


@pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
def test_a_forked_child_leaves_async_connections_to_mariadb_alone(
    run: Callable[..., str], server_database: Callable[[str], URL], driver: str
) -> None:
    url = server_database("mariadb").set(drivername=f"mariadb+{driver}")
    assert run(ASYNC_BODY.replace("WHO", repr("SELECT connection_id()")), text_of(url)) == "good"


def test_a_session_that_the_child_inherits_begins_anew(run: Callable[..., str]) -> None:
    body = """
    engine = get_engine(URL)
    rows(engine, "CREATE TABLE users (name)", "INSERT INTO users VALUES ('a')")
    session = Session(engine)
    session.execute(text("SELECT * FROM users"))

    def child():
        try:
            session.execute(text("SELECT * FROM users"))
        except Exception as error:
            assert "it belongs to the parent process" in str(error), error
        else:
            raise AssertionError("it used the parent's connection")
        session.rollback()
        assert session.execute(text("SELECT name FROM users")).scalars().all() == ["a"]
        session.close()

    wait(fork(child, "exit"))
    session.close()
    print("good")
    """
    assert run(body) == "good"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_every_start_method_of_multiprocessing_reaches_the_database_in_memory(
    run: Callable[..., str], method: str
) -> None:
    body = """
    def child(number):
        rows(get_engine(URL), f"INSERT INTO users VALUES ({number})")

        async def main():
            async with get_async_engine(URL).begin() as connection:
                await connection.execute(text(f"INSERT INTO users VALUES ({number})"))
        asyncio.run(main())

    if __name__ == "__main__":
        engine = get_engine(URL)
        rows(engine, "CREATE TABLE users (number)")
        context = multiprocessing.get_context(sys.argv[1])
        children = [context.Process(target=child, args=[number]) for number in range(2)]
        for each in children:
            each.start()
        for each in children:
            each.join(50)
        assert [each.exitcode for each in children] == [0, 0]
        assert rows(engine, "SELECT number, count(*) FROM users GROUP BY 1") == [(0, 2), (1, 2)]
        assert _memory.run_directory().exists(), "a child that ends leaves the parent's run alone"
        print("good")
    """
    assert run(body, "sqlite://", method) == "good"


@EXITS
def test_a_child_that_ends_leaves_the_directory_of_its_parent_alone(run: Callable[..., str], how: str) -> None:
    body = """
    engine = get_engine(URL)
    rows(engine, "CREATE TABLE users (name)")
    wait(fork(lambda: rows(engine, "INSERT INTO users VALUES ('a')"), sys.argv[1]))
    assert _memory.run_directory().exists()
    assert rows(engine, "SELECT * FROM users") == [("a",)]
    print("good")
    """
    assert run(body, "sqlite://", how) == "good"


GONE_FIRST = """
    import subprocess
    engine = get_engine(URL)
    rows(engine, "CREATE TABLE users (name)", "INSERT INTO users VALUES ('parent')")
    directory = _memory.run_directory()
    first = {is_connected_first}

    def child():
        if first:
            rows(engine, "SELECT 1")
        os.write(joined, b"j")
        os.read(parent_is_gone, 1)                  # ends when the parent's end of the pipe does
        assert directory.exists()
        rows(engine, "INSERT INTO users VALUES ('child')")
        tool = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT * FROM users').fetchall())"
        other = subprocess.run([sys.executable, "-c", tool, engine.url.database], capture_output=True, text=True)
        assert other.stdout.strip() == "[('parent',), ('child',)]", other
        engine.dispose()
        ANSWERS.write_text("good")

    has_joined, joined = os.pipe()
    parent_is_gone, parent_lives = os.pipe()
    if os.fork() == 0:
        os.close(parent_lives)
        code = 1
        try:
            child()
            code = 0
        finally:
            if code:
                os._exit(code)
        sys.exit()
    os.read(has_joined, 1)
    engine.dispose()
    sys.exit()
"""


@pytest.mark.parametrize("is_connected_first", [True, False])
def test_a_child_that_outlives_its_parent_goes_on_and_is_the_last_one_out(
    run: Callable[..., str], tmp_path: Path, is_connected_first: object
) -> None:
    run(GONE_FIRST.format(is_connected_first=is_connected_first))  # returns when the child has closed its output, too
    assert (tmp_path / "answers").read_text() == "good"


def test_a_parent_that_ends_at_once_does_not_take_the_directory_from_its_child(
    run: Callable[..., str], tmp_path: Path
) -> None:
    body = """
    engine = get_engine(URL)
    rows(engine, "CREATE TABLE users (name)")
    parent_is_gone, parent_lives = os.pipe()
    if os.fork():
        sys.exit()
    os.close(parent_lives)
    os.read(parent_is_gone, 1)
    rows(engine, "INSERT INTO users VALUES ('child')")
    ANSWERS.write_text("good")
    engine.dispose()
    """
    run(body)
    assert (tmp_path / "answers").read_text() == "good"


def test_a_process_of_multiprocessing_may_be_the_last_one_out(run: Callable[..., str], tmp_path: Path) -> None:
    body = """
    def child(parent_is_gone, parent_lives):
        os.close(parent_lives)
        os.read(parent_is_gone, 1)
        rows(get_engine(URL), "INSERT INTO users VALUES ('child')")
        get_engine(URL).dispose()
        ANSWERS.write_text("good")

    engine = get_engine(URL)
    rows(engine, "CREATE TABLE users (name)")
    process = multiprocessing.get_context("fork").Process(target=child, args=os.pipe())
    process.start()
    multiprocessing.process._children.clear()       # do not wait for it at the end
    """
    run(body)
    assert (tmp_path / "answers").read_text() == "good"


def test_threads_that_use_the_factory_while_another_one_forks_do_not_lock_up_the_child(run: Callable[..., str]) -> None:
    body = """
    import threading
    rows(get_engine(URL), "SELECT 1")               # Python's own import locks do not survive a fork
    stop = threading.Event()

    def work(number):                               # neither do SQLite's, so nothing is connected here
        while not stop.is_set():
            get_engine(f"sqlite:///test_{number}_{time.monotonic_ns() % 50}.db")

    threads = [threading.Thread(target=work, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()

    def child():
        rows(get_engine("sqlite:///test_of_the_child.db"), "SELECT 1")
        rows(get_engine("sqlite://", bind="child"), "SELECT 1")

    for _ in range(10):
        wait(fork(child, "_exit"))
    stop.set()
    for thread in threads:
        thread.join(20)
    print("good")
    """
    assert run(body) == "good"


def test_a_child_of_a_child_has_connections_of_its_own(run: Callable[..., str]) -> None:
    body = """
    engine = get_engine(URL)
    rows(engine, "CREATE TABLE users (name)")

    def grandchild():
        rows(engine, "INSERT INTO users VALUES ('grandchild')")

    def child():
        rows(engine, "INSERT INTO users VALUES ('child')")
        wait(fork(grandchild, "_exit"))

    wait(fork(child, "_exit"))
    assert rows(engine, "SELECT name FROM users") == [("child",), ("grandchild",)]
    print("good")
    """
    assert run(body) == "good"


def test_listeners_hold_in_the_child_too(run: Callable[..., str]) -> None:
    body = """
    from sqlalchemy import event
    engine = get_engine(URL)
    seen = []
    event.listen(engine, "connect", lambda *_: seen.append("connect"))
    rows(engine, "SELECT 1")

    def child():
        rows(engine, "SELECT 1")
        assert seen == ["connect", "connect"], seen

    wait(fork(child, "exit"))
    print("good")
    """
    assert run(body) == "good"


@pytest.mark.parametrize(("keep", "said"), [("keep_for_ever", ""), ("id", "collected")])
def test_what_is_kept_for_ever_is_not_even_collected_at_the_end(tmp_path: Path, keep: str, said: str) -> None:
    program = f"""
import os
from engineroom._forks import keep_for_ever
class Loud:
    def __del__(self, write=os.write): write(1, b"collected")
{keep}(loud := Loud())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout == said


def test_without_ctypes_a_thing_is_kept_as_long_as_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    keep_for_ever(object())
