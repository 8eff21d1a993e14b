"""In memory means one database for the whole process and its children, which is gone when the last of them ends."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from engineroom import InvalidSettingError, _memory, get_async_engine, get_engine, verdict
from engineroom._lifecycle import enter_test_process
from engineroom._memory import LOCK_TEXT, memory_url, run_directory, start_run, storage_directories, sweep
from engineroom._run_files import LOCK_NAME, RUN_VARIABLE, is_run_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

SECONDS = 60


@pytest.fixture(autouse=True)
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let runs stand in a directory of the test's own, as this machine's may hold those of others."""
    directory = tmp_path / "storage"
    directory.mkdir()
    monkeypatch.setattr(_memory, "RAM_STORAGE", directory)
    monkeypatch.setattr(_memory, "LEAST_FREE_BYTES", 0)
    monkeypatch.setenv(RUN_VARIABLE, "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return directory


@pytest.fixture
def script(storage: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a program in the test environment; each one is ended after the test."""
    started: list[subprocess.Popen[str]] = []
    head = f"""
        import asyncio, os, sys, time
        from pathlib import Path
        from engineroom import _memory
        _memory.RAM_STORAGE = Path({str(storage)!r})
        _memory.LEAST_FREE_BYTES = 0
    """
    with_engines = """
        from sqlalchemy import text
        from engineroom import get_async_engine, get_engine
    """

    def start(body: str, **environ: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", RUN_VARIABLE))}
        given = {RUN_VARIABLE: os.environ[RUN_VARIABLE]} if os.environ.get(RUN_VARIABLE) else {}
        parts = [head, with_engines if "engine" in body else "", body]
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", "".join(map(textwrap.dedent, parts))],
            env={**kept, "APP_ENV": "test", "TMPDIR": str(tmp_path / "temporary"), **given, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def finish(process: subprocess.Popen[str]) -> str:
    """Let a program go on to its end, which must be a good one, and return what it wrote."""
    out, err = process.communicate("\n", timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    return out.strip()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, process.communicate(timeout=SECONDS)
    return line


def runs(storage: Path) -> list[Path]:
    return sorted(storage.iterdir())


def execute(engine: Engine, *statements: str) -> list[tuple[Any, ...]]:
    with engine.begin() as connection:
        results = [connection.execute(text(each)) for each in statements]
        return [tuple(row) for row in results[-1]] if results[-1].returns_rows else []


async def execute_async(engine: AsyncEngine, *statements: str) -> list[tuple[Any, ...]]:
    async with engine.begin() as connection:
        results = [await connection.execute(text(each)) for each in statements]
        return [tuple(row) for row in results[-1]] if results[-1].returns_rows else []


# --- Concurrency ----------------------------------------------------------------------------------------------------


async def test_ten_concurrent_sessions_keep_their_transactions_apart() -> None:
    engine = get_async_engine("sqlite://")
    await execute_async(engine, "CREATE TABLE rows (worker INT, number INT, kept BOOL)")
    gate = asyncio.Barrier(10)
    seen: list[int] = []

    async def work(worker: int) -> None:
        async with AsyncSession(engine) as session:
            await gate.wait()
            for number in range(20):
                kept = number % 2 == 0
                values = {"worker": worker, "number": number, "kept": kept}
                await session.execute(text("INSERT INTO rows VALUES (:worker, :number, :kept)"), values)
                await asyncio.sleep(0)
                mine = text("SELECT count(*) FROM rows WHERE worker = :worker AND NOT kept")
                assert (await session.execute(mine, {"worker": worker})).scalar() == (0 if kept else 1)
                others = text("SELECT count(*) FROM rows WHERE worker <> :worker AND NOT kept")
                seen.append((await session.execute(others, {"worker": worker})).scalar_one())
                await (session.commit() if kept else session.rollback())

    await asyncio.gather(*map(work, range(10)))
    rows = await execute_async(engine, "SELECT worker, count(*), sum(kept) FROM rows GROUP BY worker ORDER BY worker")
    assert rows == [(worker, 10, 10) for worker in range(10)]
    assert set(seen) == {0}, "a row of a transaction that was rolled back was seen by another one"


def test_ten_threads_keep_their_transactions_apart() -> None:
    engine = get_engine("sqlite://", pool_size=10)
    execute(engine, "CREATE TABLE rows (worker INT)")
    gate = threading.Barrier(10)

    def work(worker: int) -> None:
        gate.wait()
        for number in range(20):
            with engine.connect() as connection:
                connection.execute(text("INSERT INTO rows VALUES (:worker)"), {"worker": worker})
                if number % 2:
                    connection.commit()

    threads = [threading.Thread(target=work, args=[worker]) for worker in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert execute(engine, "SELECT worker, count(*) FROM rows GROUP BY worker ORDER BY worker") == [
        (worker, 10) for worker in range(10)
    ]


async def test_an_open_read_does_not_lock_out_a_commit() -> None:
    engine = get_async_engine("sqlite://", connect_args={"timeout": 0})
    await execute_async(engine, "CREATE TABLE users (name)", "INSERT INTO users VALUES ('a')")
    async with engine.connect() as reader:
        await reader.execute(text("BEGIN"))
        assert (await reader.execute(text("SELECT count(*) FROM users"))).scalar() == 1
        await execute_async(engine, "INSERT INTO users VALUES ('b')")
        execute(get_engine("sqlite://"), "INSERT INTO users VALUES ('c')")
        assert (await reader.execute(text("SELECT count(*) FROM users"))).scalar() == 1  # as it was when it began
        await reader.rollback()
        assert (await reader.execute(text("SELECT count(*) FROM users"))).scalar() == 3


async def test_an_open_write_does_not_lock_out_a_read() -> None:
    engine = get_async_engine("sqlite://", connect_args={"timeout": 0})
    await execute_async(engine, "CREATE TABLE users (name)")
    async with engine.connect() as writer:
        await writer.execute(text("INSERT INTO users VALUES ('a')"))
        assert await execute_async(engine, "SELECT * FROM users") == []
        assert execute(get_engine("sqlite://"), "SELECT * FROM users") == []
        with pytest.raises(OperationalError, match="locked"):  # two writers are one too many for SQLite anyway
            await execute_async(engine, "INSERT INTO users VALUES ('b')")
        await writer.commit()
    assert await execute_async(engine, "SELECT name FROM users") == [("a",)]


async def test_sync_and_async_engines_take_turns() -> None:
    sync_engine, async_engine = get_engine("sqlite://"), get_async_engine("sqlite://")
    execute(sync_engine, "CREATE TABLE users (name)")
    for number in range(5):
        values = f"VALUES ({number})"
        await execute_async(async_engine, "INSERT INTO users " + values)
        await asyncio.to_thread(execute, sync_engine, "INSERT INTO users " + values)
    assert execute(sync_engine, "SELECT count(*) FROM users") == [(10,)]


def test_the_database_lives_on_while_nobody_is_connected() -> None:
    engine = get_engine("sqlite://")
    execute(engine, "CREATE TABLE users (name)")
    engine.dispose()
    path = Path(str(engine.url.database))
    assert path.with_name(f"{path.name}-wal").exists()  # nobody had to copy it back
    assert execute(engine, "SELECT * FROM users") == []


def test_nobody_waits_for_the_disk() -> None:
    with get_engine("sqlite://").connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 0
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_it_is_judged_to_be_in_memory() -> None:
    assert verdict(get_engine("sqlite://")).rule == "in-memory"
    assert verdict(memory_url("default")).rule == "in-memory"


# --- Children -------------------------------------------------------------------------------------------------------

CHILD = """
    with get_engine("sqlite:///shop.db").begin() as connection:
        print(*connection.execute(text("SELECT name FROM users")).scalars())
        connection.execute(text("INSERT INTO users VALUES ('child')"))

    async def main():
        async with get_async_engine().begin() as connection:
            await connection.execute(text("INSERT INTO users VALUES ('async child')"))
    asyncio.run(main())
"""


def test_a_child_reaches_the_same_database(script: Callable[..., subprocess.Popen[str]]) -> None:
    enter_test_process()
    engine = get_engine("sqlite:///shop.db")
    execute(engine, "CREATE TABLE users (name)", "INSERT INTO users VALUES ('parent')")
    assert finish(script(CHILD)) == "parent"
    assert execute(engine, "SELECT name FROM users") == [("parent",), ("child",), ("async child",)]
    assert run_directory().exists()


SERVER = """
    import socket
    import uvicorn
    from sqlalchemy import select
    from fastapi import FastAPI

    engine = get_async_engine("sqlite+aiosqlite:///shop.db")
    app = FastAPI()

    @app.post("/users/{name}")
    async def add(name: str):
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO users VALUES (:name)"), {"name": name})

    @app.get("/users")
    async def users():
        async with engine.connect() as connection:
            return list((await connection.execute(text("SELECT name FROM users"))).scalars())

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)

    async def main():
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await asyncio.to_thread(sys.stdin.readline)
        server.should_exit = True
        await serving
    asyncio.run(main())
"""


def ask(port: str, method: str, path: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310
        return json.load(response)


def test_a_server_in_a_child_process_reaches_the_same_database(script: Callable[..., subprocess.Popen[str]]) -> None:
    enter_test_process()
    engine = get_engine("sqlite:///shop.db")
    execute(engine, "CREATE TABLE users (name)", "INSERT INTO users VALUES ('parent')")
    server = script(SERVER)
    port = read_line(server)
    ask(port, "POST", "/users/client")
    execute(engine, "INSERT INTO users VALUES ('late')")
    assert ask(port, "GET", "/users") == ["parent", "client", "late"]
    assert execute(engine, "SELECT name FROM users") == [("parent",), ("client",), ("late",)]
    finish(server)
    assert run_directory().exists()


STAY = """
    connection = get_engine("sqlite://").connect()
    print("joined", flush=True)
    sys.stdin.readline()
    connection.execute(text("INSERT INTO users VALUES ('child')"))
    connection.commit()
    print(connection.execute(text("SELECT name FROM users ORDER BY name")).scalars().all())
    connection.close()
"""
FIRST = """
    with get_engine("sqlite://").begin() as connection:
        connection.execute(text("CREATE TABLE users (name)"))
        connection.execute(text("INSERT INTO users VALUES ('parent')"))
    print(_memory.run_directory(), flush=True)
    sys.stdin.readline()
"""


def test_the_last_one_out_removes_the_directory(script: Callable[..., subprocess.Popen[str]], storage: Path) -> None:
    parent = script(FIRST)
    directory = read_line(parent)
    child = script(STAY, **{RUN_VARIABLE: directory})
    assert read_line(child) == "joined"
    finish(parent)
    assert runs(storage) == [Path(directory)], "the parent is gone, the child is not"
    assert finish(child) == "['child', 'parent']"
    assert runs(storage) == []


# --- The end of a run -----------------------------------------------------------------------------------------------

USE = """
    get_engine("sqlite://").connect().close()
    print(_memory.run_directory(), flush=True)
    sys.stdin.readline()
"""


def test_the_directory_is_private_and_gone_at_the_end(
    script: Callable[..., subprocess.Popen[str]], storage: Path
) -> None:
    process = script(USE)
    directory = Path(read_line(process))
    assert directory.parent == storage
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "test_default.db").exists()
    finish(process)
    assert runs(storage) == []


def test_what_a_killed_run_left_is_swept_by_the_next(
    script: Callable[..., subprocess.Popen[str]], storage: Path
) -> None:
    killed, alive = script(USE), script(USE)
    left, kept = Path(read_line(killed)), Path(read_line(alive))
    killed.send_signal(signal.SIGKILL)
    killed.wait(SECONDS)
    assert left.exists()
    own = run_directory()
    assert runs(storage) == sorted([kept, own])
    finish(alive)
    assert runs(storage) == [own]


def test_what_a_killed_run_left_stays_as_long_as_a_child_of_it_is_alive(
    script: Callable[..., subprocess.Popen[str]], storage: Path
) -> None:
    killed = script(USE)
    left = Path(read_line(killed))
    child = script(USE, **{RUN_VARIABLE: str(left)})
    assert Path(read_line(child)) == left
    killed.send_signal(signal.SIGKILL)
    killed.wait(SECONDS)
    sweep()
    assert runs(storage) == [left]
    finish(child)
    assert runs(storage) == []


def make_run(directory: Path, *, mode: int = 0o700, lock: bytes | None = LOCK_TEXT) -> Path:
    directory.mkdir()
    if lock is not None:
        (directory / LOCK_NAME).write_bytes(lock)
    (directory / "diary.txt").write_text("dear diary")
    directory.chmod(mode)
    return directory


def test_a_directory_that_looks_like_a_run_and_is_none_is_left_alone(storage: Path) -> None:
    others = [
        make_run(storage / "engineroom-of-a-ship", mode=0o755),
        make_run(storage / "engineroom-without-lock", lock=None),
        make_run(storage / "engineroom-notes", lock=b""),
        make_run(storage / "engineroom-keys", lock=b"the lock of the engine room"),
        make_run(storage / "engine"),
        make_run(storage / ".engineroom-settings"),
        make_run(storage / ".engineroom-open", mode=0o755, lock=None),
    ]
    (storage / "engineroom-file").write_text("")
    (storage / "engineroom-link").symlink_to(make_run(storage.parent / "engineroom-elsewhere"))
    for path in others:
        os.utime(path, (0, 0))
    sweep()
    assert all((path / "diary.txt").exists() for path in others)
    assert (storage / "engineroom-file").exists()
    assert (storage.parent / "engineroom-elsewhere" / "diary.txt").exists()


def test_a_directory_of_another_user_is_left_alone(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = make_run(storage / "engineroom-foreign")
    unfinished = storage / ".engineroom-foreign"
    unfinished.mkdir(mode=0o700)
    os.utime(unfinished, (0, 0))
    monkeypatch.setattr(os, "getuid", lambda: foreign.stat().st_uid + 1)
    sweep()
    assert foreign.exists()
    assert unfinished.exists()
    monkeypatch.undo()


def test_a_killed_run_is_swept_even_if_it_never_got_its_name(storage: Path) -> None:
    old, young = storage / ".engineroom-old", storage / ".engineroom-young"
    for path in (old, young):
        path.mkdir(mode=0o700)
        (path / LOCK_NAME).touch()
    os.utime(old, (0, 0))
    sweep()
    assert runs(storage) == [young]


def test_a_directory_that_cannot_be_looked_into_does_not_stop_the_sweep(storage: Path) -> None:
    left = make_run(storage / "engineroom-left")
    (storage / "engineroom-loop").symlink_to("engineroom-loop")
    sweep()
    assert not left.exists()


def test_eight_processes_that_sweep_at_once_do_no_harm(
    script: Callable[..., subprocess.Popen[str]], storage: Path
) -> None:
    for number in range(20):
        make_run(storage / f"engineroom-left{number}")
    body = """
    import sqlite3
    for _ in range(10):
        _memory.sweep()
        connection = sqlite3.connect(_memory.run_directory() / "test_default.db")
        connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
        print(connection.execute("SELECT count(*) FROM t").fetchone()[0])
        connection.close()
    """
    written = [finish(process).split() for process in [script(body) for _ in range(8)]]
    assert written == [[str(number) for number in range(1, 11)]] * 8
    assert runs(storage) == []


def test_children_that_join_at_once_share_the_database(
    script: Callable[..., subprocess.Popen[str]], storage: Path
) -> None:
    body = """
    print("ready", flush=True)
    sys.stdin.readline()
    with get_engine(bind="new").begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (x)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    """
    own = run_directory()
    children = [script(body) for _ in range(3)]
    for child in children:
        assert read_line(child) == "ready"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        finish(child)
    enter_test_process()
    assert execute(get_engine(bind="new"), "SELECT count(*) FROM t") == [(3,)]
    assert runs(storage) == [own]


# --- Which run, and where -------------------------------------------------------------------------------------------


def test_a_run_of_its_own_is_begun_whatever_was_inherited(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inherited = make_run(storage / "engineroom-inherited")
    lock = os.open(inherited / LOCK_NAME, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_SH)
    monkeypatch.setenv(RUN_VARIABLE, str(inherited))
    own = start_run()
    assert own != inherited
    assert os.environ[RUN_VARIABLE] == str(own)
    assert start_run() == own == run_directory()
    os.close(lock)


def test_a_child_joins_the_run_that_it_inherits(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inherited = make_run(storage / "engineroom-inherited")
    monkeypatch.setenv(RUN_VARIABLE, str(inherited))
    assert run_directory() == inherited
    assert memory_url("default").database == str(inherited / "test_default.db")


@pytest.mark.parametrize(
    "value", ["", " ", ".", "/", "/nowhere", "relative", "{storage}", "{storage}/engineroom-of-a-ship", "{home}/x\0y"]
)
def test_nonsense_that_was_inherited_is_ignored(storage: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    make_run(storage / "engineroom-of-a-ship", mode=0o755)
    if "\0" in value:
        pytest.skip("the operating system takes no such value")
    monkeypatch.setenv(RUN_VARIABLE, value.format(storage=storage, home=storage))
    own = run_directory()
    assert own.parent == storage
    assert is_run_directory(own)
    assert os.environ[RUN_VARIABLE] == str(own)


def test_a_run_that_is_being_removed_is_not_joined(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = make_run(storage / "engineroom-ending")
    lock = os.open(ending / LOCK_NAME, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    monkeypatch.setenv(RUN_VARIABLE, str(ending))
    assert run_directory() != ending
    os.close(lock)


def test_a_run_that_was_removed_between_two_steps_is_not_joined(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = make_run(storage / "engineroom-ending")
    monkeypatch.setenv(RUN_VARIABLE, str(ending))
    flock = fcntl.flock

    def remove_first(lock: int, operation: int) -> None:
        shutil.rmtree(ending, ignore_errors=True)  # what the last one out does, who had the lock until now
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    own = run_directory()
    assert own != ending
    assert own.exists()


def test_the_run_stands_on_ram_backed_storage(storage: Path) -> None:
    assert storage_directories() == (storage, Path(tempfile.gettempdir()))
    assert run_directory().parent == storage


def test_on_this_machine_ram_backed_storage_is_dev_shm() -> None:
    code = "from engineroom._memory import RAM_STORAGE; print(RAM_STORAGE)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=SECONDS).stdout == (
        b"/dev/shm\n"
    )


@pytest.mark.parametrize("fault", ["missing", "a file", "full", "unwritable", "without room"])
def test_without_ram_backed_storage_the_temporary_directory_serves(
    storage: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "missing":
        storage.rmdir()
    elif fault == "a file":
        storage.rmdir()
        storage.touch()
    elif fault == "full":
        monkeypatch.setattr(_memory, "LEAST_FREE_BYTES", 2**62)
    elif fault == "unwritable":
        monkeypatch.setattr(_memory, "RAM_STORAGE", Path("/proc"))  # even root makes no file there
    else:
        monkeypatch.setattr(_memory, "RAM_STORAGE", Path("/proc"))
        monkeypatch.setattr(_memory, "LEAST_FREE_BYTES", 1)
    assert run_directory().parent == Path(tempfile.gettempdir())
    assert execute(get_engine("sqlite://"), "CREATE TABLE t (x)", "SELECT 1") == [(1,)]


def test_a_small_ram_disk_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], capture_output=True, check=False, timeout=SECONDS
    )
    if mounted.returncode:
        pytest.skip("this user may not mount")
    monkeypatch.setattr(_memory, "RAM_STORAGE", small)
    try:
        monkeypatch.setattr(_memory, "LEAST_FREE_BYTES", 128 * 1024 * 1024)
        assert run_directory().parent == Path(tempfile.gettempdir())
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=SECONDS)


def test_without_any_place_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "RAM_STORAGE", Path("/proc"))
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    for ask_for in (run_directory, start_run, lambda: get_engine("sqlite://")):
        with pytest.raises(InvalidSettingError, match="TMPDIR"):
            ask_for()
    monkeypatch.setattr(tempfile, "tempdir", str(Path.cwd()))
    assert run_directory().parent == Path.cwd()  # once there is one, the same process goes on


def test_what_could_not_be_finished_is_removed(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(InvalidSettingError, match="No space left on device"):
        run_directory()
    assert runs(storage) == []


@pytest.mark.parametrize(
    ("bind", "number", "worker", "name"),
    [
        ("default", 0, "", "test_default.db"),
        ("default", 0, "gw3", "test_default_gw3.db"),
        ("Analytics", 0, "", "test_analytics.db"),
        ("default", 1, "", "test_default-2.db"),
        ("default", 2, "gw0", "test_default-3_gw0.db"),
        ("default", 0, "../gw0", "test_default____gw0.db"),
    ],
)
def test_each_bind_and_each_worker_has_its_own_file(
    monkeypatch: pytest.MonkeyPatch, bind: str, number: int, worker: str, name: str
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    assert memory_url(bind, number).database == str(run_directory() / name)
    assert (run_directory() / name).exists()


def test_a_run_ends_once(storage: Path) -> None:
    first = run_directory()
    _memory.reset()
    _memory.reset()
    assert runs(storage) == []
    assert RUN_VARIABLE not in os.environ
    second = run_directory()
    assert second != first
    assert runs(storage) == [second]


def test_a_directory_that_somebody_made_in_the_runs_own_goes_with_it() -> None:
    directory = start_run()
    (directory / "inner").mkdir()
    (directory / "inner" / "file").touch()
    _memory.reset()
    assert not directory.exists()


def test_the_lock_is_removed_last_so_that_until_then_the_directory_is_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = start_run()
    for name in ("a", "test_default.db", "z"):
        (directory / name).touch()
    removed: list[str] = []
    unlink = os.unlink

    def note(path: str) -> None:
        removed.append(path)
        unlink(path)

    monkeypatch.setattr("os.unlink", note)
    _memory.reset()
    assert sorted(removed) == sorted(f"{directory}/{name}" for name in ("a", LOCK_NAME, "test_default.db", "z"))
    assert removed[-1] == f"{directory}/{LOCK_NAME}"
    assert not directory.exists()


def test_the_end_of_a_run_leaves_a_variable_of_somebody_else_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run_directory()
    monkeypatch.setenv(RUN_VARIABLE, "/somewhere/else")
    _memory.reset()
    assert os.environ[RUN_VARIABLE] == "/somewhere/else"


def test_twenty_threads_make_one_run(storage: Path) -> None:
    gate = threading.Barrier(20)
    found: list[Path] = []

    def look() -> None:
        gate.wait()
        found.append(run_directory())
        memory_url("default")

    threads = [threading.Thread(target=look) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert set(found) == set(runs(storage))
    assert len(found) == 20


def test_a_program_that_knows_only_the_file_may_use_it_too() -> None:
    engine = get_engine("sqlite://")
    execute(engine, "CREATE TABLE users (name)")
    connection = sqlite3.connect(str(engine.url.database))
    connection.execute("INSERT INTO users VALUES ('tool')")
    connection.commit()
    connection.close()
    assert execute(engine, "SELECT name FROM users") == [("tool",)]
