"""The scenarios: what a test may try on the development database, and what comes of it.

The table is data. ``test_scenarios.py`` runs each row as a test of a small real project, once for each database that it
is meant for; the page ``docs/reference/what-the-fence-stops.md`` is written from it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["GROUPS", "SCENARIOS", "Scenario"]

REFUSED, FREE, MISSED = "refused", "free", "not stopped"
SQLITE = frozenset({"sqlite", "sqlite-wal"})
SERVERS = frozenset({"postgresql", "mariadb"})
ANY = frozenset({"sqlite", *SERVERS})  # the journal mode makes no difference


class Scenario(NamedTuple):
    """One row of the table.

    Attributes:
        sentence: What the test does.
        body: The lines of the test; ``PRELUDE`` offers the words, and ``app`` is the application.
        outcome: What comes of it: the test is red and the database as before; or green; or nobody stops it.
        databases: The databases that it is run for.
    """

    sentence: str
    body: str
    outcome: str = REFUSED
    databases: frozenset[str] = ANY

    @property
    def name(self) -> str:
        """The name of its test."""
        return re.sub(r"\W+", "_", self.sentence.lower()).strip("_")


PRELUDE = """
import asyncio, contextlib, importlib, multiprocessing, os, shlex, shutil, signal, sqlite3, subprocess, sys, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
import pytest
import app

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parent
CHILD = [sys.executable, "-c", "import app; app.swallow()"]

@pytest.fixture(autouse=True)
def own_directory(request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT / "databases" / request.function.__name__.removeprefix("test_"))

CREATE = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE a (b)')"
IS_TEST = "import os, engineroom; assert os.environ['APP_ENV'] == engineroom.current_environment() == 'test'"

def child(code, *arguments, **environ):
    subprocess.run([*CHILD[:2], code, *arguments], env={**os.environ, **environ}, check=True)

def in_a_fork(function):
    pid = os.fork()
    if not pid:
        function()
        os._exit(0)
    os.waitpid(pid, 0)

def in_a_process(method, function, **environ):
    process = multiprocessing.get_context(method).Process(target=function)
    process.start()
    process.join()

async def in_an_async_process():
    process = await asyncio.create_subprocess_exec(*CHILD)
    await process.wait()

@pytest.fixture(scope="session")
def server():
    code = "import os, sys, app; [(os.chdir(line.strip()), app.swallow(), print(flush=True)) for line in sys.stdin]"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdin=-1, stdout=-1, text=True) as process:
        def ask():
            process.stdin.write(os.getcwd() + "\\n")
            process.stdin.flush()
            process.stdout.readline()
        yield ask
        process.stdin.close()

def test_0_the_server_starts_in_another_test(server):
    pass
"""

CHILDREN = (
    Scenario("a fork", "in_a_fork(app.swallow)"),
    Scenario("a process of multiprocessing, forked", "in_a_process('fork', app.swallow)"),
    Scenario("a process of multiprocessing, spawned", "in_a_process('spawn', app.swallow)"),
    Scenario("a process of multiprocessing, from a fork server", "in_a_process('forkserver', app.swallow)"),
    Scenario(
        "a pool of processes",
        "with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool: pool.submit(app.swallow).result()",
    ),
    Scenario("a Python child", "subprocess.run(CHILD)"),
    Scenario("a Python child of a shell", "subprocess.run(shlex.join(CHILD), shell=True)"),
    Scenario("a Python child by os.system", "os.system(shlex.join(CHILD))"),
    Scenario(
        "a Python child by os.posix_spawn", "os.waitpid(os.posix_spawn(sys.executable, CHILD, dict(os.environ)), 0)"
    ),
    Scenario("a Python child by os.spawn", "os.spawnv(os.P_WAIT, sys.executable, CHILD)"),
    Scenario("a Python child of asyncio", "asyncio.run(in_an_async_process())"),
    Scenario("a Python child of a thread", "ThreadPoolExecutor().submit(subprocess.run, CHILD).result()"),
    Scenario(
        "a Python child of a child", "subprocess.run([*CHILD[:2], f'import subprocess; subprocess.run({CHILD!r})'])"
    ),
    Scenario(
        "a Python child that is told to be production",
        "subprocess.run(CHILD, env={**os.environ, 'APP_ENV': 'production'})",
    ),
    Scenario(
        "a Python child that is told of another run",
        "subprocess.run(CHILD, env={**os.environ, 'ENGINEROOM_RUN': '/nowhere'}); app.swallow()",
    ),
    Scenario(
        "a Python child in isolated mode",
        "subprocess.run([sys.executable, '-I', '-c', f'import sys; sys.path.append({str(ROOT)!r}); ' + CHILD[2]])",
    ),
    Scenario("a server that a fixture started in an earlier test", "server()"),
    Scenario(
        "a pytest without the plugin",
        "Path('test_inner.py').write_text('def test_a(): import app; app.swallow()'); "
        "subprocess.run([sys.executable, '-m', 'pytest', '-p', 'no:engineroom', '-p', 'no:cacheprovider'])",
    ),
    Scenario("a Python child that only reads", "child('import app; app.read()')", FREE, SQLITE),
    Scenario("a Python child that uses a temporary database", "child(CREATE, tmp_path / 'shop.db')", FREE, SQLITE),
    Scenario(
        "a Python child that uses the temporary database of its test",
        "sqlite3.connect(tmp_path / 'shop.db').execute('CREATE TABLE b (c)').connection.close()\n"
        "child(CREATE, tmp_path / 'shop.db')",
        FREE,
        SQLITE,
    ),
    Scenario(
        "a Python child that uses what fence_allow names",
        "child('import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(\"SELECT 1\")', ROOT / 'reference.db')",
        FREE,
        SQLITE,
    ),
    Scenario("a Python child is a test process", "child(IS_TEST, APP_ENV='production')", FREE, SQLITE),
    Scenario(
        "a Python child with an environment of its own",
        "subprocess.run(CHILD, env={'PYTHONPATH': str(ROOT)})",
        MISSED,
        frozenset({"sqlite"}),
    ),
)

GROUPS: dict[str, tuple[Scenario, ...]] = {"Child processes": CHILDREN}
SCENARIOS = tuple(scenario for group in GROUPS.values() for scenario in group)
