"""The scenarios: what a test may try on the development database, and what comes of it.

The table is data. ``test_scenarios.py`` runs each row as a test of a small real project, once for each database that it
is meant for. The page ``docs/reference/what-the-fence-stops.md`` is written from it, by running this file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["FREE", "GROUPS", "MISSED", "PAGE", "PRELUDE", "REFUSED", "SCENARIOS", "Scenario", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "what-the-fence-stops.md"

REFUSED, FREE, MISSED = "refused", "free", "not stopped"
SQLITE = frozenset({"sqlite", "sqlite-wal"})
SERVERS = frozenset({"postgresql", "mariadb"})
ANY = SQLITE | SERVERS
POSTGRESQL, MARIADB = frozenset({"postgresql"}), frozenset({"mariadb"})
ONE = frozenset({"sqlite"})
ONE_OF_EACH = ONE | SERVERS  # a process takes a while, and how it is started is no matter of databases


class Scenario(NamedTuple):
    """One row of the table.

    Attributes:
        sentence: What the test does.
        body: The lines of the test; ``PRELUDE`` offers the words, and ``app`` is the application.
        outcome: What comes of it: the test is red and the database as before; or green; or nobody stops it.
        databases: The databases that it is run for.
        needs: A program that has to be there.
    """

    sentence: str
    body: str
    outcome: str = REFUSED
    databases: frozenset[str] = ANY
    needs: str = ""

    @property
    def name(self) -> str:
        """The name of its test."""
        return re.sub(r"\W+", "_", self.sentence.lower()).strip("_")


PRELUDE = """
import asyncio, contextlib, importlib, mmap, multiprocessing, os, shlex, shutil, sqlite3, subprocess, sys
import threading, unittest
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
import aiomysql, aiosqlite, asyncmy, asyncpg, dotenv, psycopg2, pytest
from sqlalchemy import NullPool, QueuePool, create_engine, make_url
import app, engineroom, models

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parent
URL_AT_IMPORT, ELSEWHERE = models.URL, make_url(models.URL).set(database="test_x")
DELETE = "DELETE FROM articles"
CHILD = [sys.executable, "-c", "import app; app.swallow()"]

@pytest.fixture(autouse=True)
def own_directory(request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT / "databases" / request.function.__name__.removeprefix("test_"))

CREATE = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE a (b)')"
IS_TEST = "import os, engineroom; assert os.environ['APP_ENV'] == engineroom.current_environment() == 'test'"

def child(code, *arguments, **environ):
    subprocess.run([*CHILD[:2], code, *arguments], env={**os.environ, **environ}, check=True)

def run_pytest_without_the_plugin():
    Path("test_inner.py").write_text("def test_a(): import app; app.swallow()")
    subprocess.run([*CHILD[:1], "-m", "pytest", "-p", "no:engineroom", "-p", "no:cacheprovider"])

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

def in_a_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()

async def in_a_task():
    await asyncio.gather(asyncio.create_task(asyncio.to_thread(app.write)), return_exceptions=True)

async def open_by_aiosqlite():
    await aiosqlite.connect("shop.db")

async def open_a_pool():
    async with asyncpg.create_pool(app.PLAIN_URL):
        pass

async def open_by_asyncmy():
    async with asyncmy.connect(**app.SETTINGS):
        pass

def execute(database, statement):
    with contextlib.closing(app.connect(database)) as connection:
        connection.cursor().execute(statement)

def vacuum_into(target, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE a (b)")
        connection.execute(f"VACUUM INTO '{target}'")

def make(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE articles (name TEXT)")

def open_in_directory():
    os.open("shop.db", os.O_WRONLY | os.O_TRUNC, dir_fd=os.open(os.getcwd(), os.O_RDONLY))

def write_into_a_map():
    with open("shop.db", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0:6] = b"broken"

def copy_tree(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "shop.db").write_text("nothing")
    shutil.copytree(tmp_path / "tree", os.getcwd(), dirs_exist_ok=True)

def unpack(tmp_path, kind):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "shop.db").write_text("nothing")
    shutil.unpack_archive(shutil.make_archive(tmp_path / "archive", kind, tmp_path / "tree"), os.getcwd())

@pytest.fixture
def writes_before():
    app.swallow()

@pytest.fixture
def writes_after():
    yield
    app.swallow()

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

class TestOfUnittest(unittest.TestCase):
    def setUp(self):
        app.swallow()

    def test_a_class_of_unittest(self):
        pass

def test_0_the_server_starts_in_another_test(server):
    pass
"""

CHILDREN = (
    Scenario("a fork", "in_a_fork(app.swallow)", REFUSED, ONE_OF_EACH),
    Scenario("a process of multiprocessing, forked", "in_a_process('fork', app.swallow)", REFUSED, ONE),
    Scenario("a process of multiprocessing, spawned", "in_a_process('spawn', app.swallow)", REFUSED, ONE_OF_EACH),
    Scenario(
        "a process of multiprocessing, from a fork server", "in_a_process('forkserver', app.swallow)", REFUSED, ONE
    ),
    Scenario(
        "a pool of processes",
        "with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool: pool.submit(app.swallow).result()",
        REFUSED,
        ONE,
    ),
    Scenario("a Python child", "subprocess.run(CHILD)", REFUSED, ONE_OF_EACH),
    Scenario("a Python child of a shell", "subprocess.run(shlex.join(CHILD), shell=True)", REFUSED, ONE),
    Scenario("a Python child by os.system", "os.system(shlex.join(CHILD))", REFUSED, ONE),
    Scenario(
        "a Python child by os.posix_spawn",
        "os.waitpid(os.posix_spawn(sys.executable, CHILD, dict(os.environ)), 0)",
        REFUSED,
        ONE,
    ),
    Scenario("a Python child by os.spawn", "os.spawnv(os.P_WAIT, sys.executable, CHILD)", REFUSED, ONE),
    Scenario("a Python child of asyncio", "asyncio.run(in_an_async_process())", REFUSED, ONE),
    Scenario("a Python child of a thread", "ThreadPoolExecutor().submit(subprocess.run, CHILD).result()", REFUSED, ONE),
    Scenario(
        "a Python child of a child",
        "subprocess.run([*CHILD[:2], f'import subprocess; subprocess.run({CHILD!r})'])",
        REFUSED,
        ONE,
    ),
    Scenario(
        "a Python child that is told to be production",
        "subprocess.run(CHILD, env={**os.environ, 'APP_ENV': 'production'})",
        REFUSED,
        ONE,
    ),
    Scenario(
        "a Python child that is told of another run",
        "subprocess.run(CHILD, env={**os.environ, 'ENGINEROOM_RUN': '/nowhere'}); app.swallow()",
        REFUSED,
        ONE,
    ),
    Scenario(
        "a Python child in isolated mode",
        "subprocess.run([sys.executable, '-I', '-c', f'import sys; sys.path.append({str(ROOT)!r}); ' + CHILD[2]])",
        REFUSED,
        ONE,
    ),
    Scenario("a server that a fixture started in an earlier test", "server()", REFUSED, ONE_OF_EACH),
    Scenario("a pytest without the plugin", "run_pytest_without_the_plugin()", REFUSED, ONE_OF_EACH),
    Scenario("a Python child that only reads", "child('import app; app.read()')", FREE, ONE),
    Scenario("a Python child that uses a temporary database", "child(CREATE, tmp_path / 'shop.db')", FREE, ONE),
    Scenario(
        "a Python child that uses the temporary database of its test",
        "sqlite3.connect(tmp_path / 'shop.db').execute('CREATE TABLE b (c)').connection.close()\n"
        "child(CREATE, tmp_path / 'shop.db')",
        FREE,
        ONE,
    ),
    Scenario(
        "a Python child that uses what fence_allow names",
        "child('import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(\"SELECT 1\")', ROOT / 'reference.db')",
        FREE,
        ONE,
    ),
    Scenario("a Python child is a test process", "child(IS_TEST, APP_ENV='production')", FREE, ONE),
    Scenario(
        "a Python child with an environment of its own",
        "subprocess.run(CHILD, env={'PYTHONPATH': str(ROOT)})",
        MISSED,
        ONE,
    ),
)

CONNECTIONS = (
    Scenario("an engine of its own", "models.write()"),
    Scenario("an engine of the application, made when it was imported", "models.engine.connect()"),
    Scenario("an asynchronous engine", "asyncio.run(models.write_async())"),
    Scenario("an engine with a creator", "create_engine(models.URL, creator=app.connect).connect()"),
    Scenario("an engine with a pool of its own", "create_engine(models.URL, pool=QueuePool(app.connect)).connect()"),
    Scenario("an engine without a pool", "create_engine(models.URL, poolclass=NullPool).connect()"),
    Scenario("drop_all", "models.metadata.drop_all(models.engine)"),
    Scenario("drop_all of an asynchronous engine", "asyncio.run(models.drop_all_async())"),
    Scenario("the driver itself", "app.connect()"),
    Scenario("another driver", "psycopg2.connect(app.PLAIN_URL)", REFUSED, POSTGRESQL),
    Scenario("asyncpg", "asyncio.run(asyncpg.connect(app.PLAIN_URL))", REFUSED, POSTGRESQL),
    Scenario("a pool of asyncpg", "asyncio.run(open_a_pool())", REFUSED, POSTGRESQL),
    Scenario("aiomysql", "asyncio.run(aiomysql.connect(**app.SETTINGS))", REFUSED, MARIADB),
    Scenario("asyncmy", "asyncio.run(open_by_asyncmy())", REFUSED, MARIADB),
    Scenario(
        "DROP DATABASE over a maintenance connection",
        "execute('postgres', f'DROP DATABASE {app.NAME}')",
        REFUSED,
        POSTGRESQL,
    ),
    Scenario(
        "DROP DATABASE over a connection without a database",
        "execute(None, f'DROP DATABASE {app.NAME}')",
        REFUSED,
        MARIADB,
    ),
    Scenario("USE over a connection without a database", "execute(None, f'USE {app.NAME}')", REFUSED, MARIADB),
    Scenario(
        "a qualified name that is written to", "execute(None, f'DELETE FROM {app.NAME}.articles')", REFUSED, MARIADB
    ),
    Scenario("a qualified name that is read", "execute(None, f'SELECT * FROM {app.NAME}.articles')", FREE, MARIADB),
    Scenario("looking after the server", "execute('postgres', 'SELECT 1')", FREE, POSTGRESQL),
    Scenario(
        "ATTACH over a connection in memory",
        "sqlite3.connect(':memory:').execute(\"ATTACH 'shop.db' AS shop\")",
        REFUSED,
        SQLITE,
    ),
    Scenario("VACUUM INTO", "vacuum_into('shop.db', tmp_path)", REFUSED, SQLITE),
    Scenario(
        "the backup of another database into it",
        "sqlite3.connect(':memory:').backup(sqlite3.connect('shop.db'))",
        REFUSED,
        SQLITE,
    ),
    Scenario("sqlite3 with a URI", "sqlite3.connect('file:shop.db?mode=rw', uri=True)", REFUSED, SQLITE),
    Scenario("aiosqlite", "asyncio.run(open_by_aiosqlite())", REFUSED, SQLITE),
    Scenario(
        "get_engine with the URL of the database", "engineroom.get_engine(models.URL).connect().close()", FREE, SQLITE
    ),
    Scenario("a database in memory", "create_engine('sqlite://').connect().close()", FREE),
    Scenario("reading through a connection that cannot write", "app.read()", FREE, SQLITE),
    Scenario("a temporary database", "make(tmp_path / 'shop.db')", FREE, SQLITE),
    Scenario("a database that is called test", "make('test_shop.db'); os.remove('test_shop.db')", FREE, SQLITE),
    Scenario("what fence_allow names", "sqlite3.connect(ROOT / 'reference.db').close()", FREE, SQLITE),
)

MOMENTS = (
    Scenario("a refusal under except Exception", "app.swallow()"),
    Scenario("a thread", "in_a_thread(app.swallow)"),
    Scenario("a thread that dies of it", "in_a_thread(app.write)"),
    Scenario("a pool of threads", "ThreadPoolExecutor().submit(app.write).result()"),
    Scenario("a task whose result nobody wants", "asyncio.run(in_a_task())"),
    Scenario("a test that is skipped afterwards", "app.swallow(); pytest.skip('not today')"),
    Scenario("a test that is expected to fail", "app.swallow(); pytest.xfail('known')"),
    Scenario("a loop that tries again", "[app.swallow() for _ in range(9)]"),
    Scenario("the setup of a fixture", "request.getfixturevalue('writes_before')"),
    Scenario("the teardown of a fixture", "request.getfixturevalue('writes_after')"),
    Scenario("a class of unittest", ""),  # it stands in the prelude
    Scenario("a finalizer", "request.addfinalizer(app.swallow)"),
)

DISGUISES = (
    Scenario("APP_ENV set back", "os.environ['APP_ENV'] = 'production'; app.swallow()"),
    Scenario("APP_ENV set by monkeypatch", "monkeypatch.setenv('APP_ENV', 'production'); app.swallow()"),
    Scenario("an environment that is empty", "monkeypatch.setattr(os, 'environ', {}); app.swallow()"),
    Scenario(
        "an environment that was cleared", "[monkeypatch.delenv(name) for name in list(os.environ)]; app.swallow()"
    ),
    Scenario(
        "load_dotenv that overrides",
        "Path('.env').write_text('APP_ENV=production')\n"
        "monkeypatch.setenv('APP_ENV', 'test'); dotenv.load_dotenv('.env', override=True); app.swallow()",
    ),
    Scenario("an application that is reloaded", "importlib.reload(models).engine.connect()"),
    Scenario("settings that were read early", "create_engine(URL_AT_IMPORT).connect()"),
    Scenario("another working directory", "app.connect_from(tmp_path)"),
    Scenario("another root of the project", "engineroom._project.set_root(tmp_path); app.swallow()"),
    Scenario(
        "a symbolic link that is called test",
        "os.symlink('shop.db', 'test_link.db'); sqlite3.connect('test_link.db')",
        REFUSED,
        SQLITE,
    ),
    Scenario(
        "a hard link that is called test",
        "os.link('shop.db', 'test_hard.db'); sqlite3.connect('test_hard.db')",
        REFUSED,
        SQLITE,
    ),
    Scenario(
        "a symbolic link below the temporary directory",
        "os.symlink(os.path.abspath('shop.db'), tmp_path / 'shop.db'); sqlite3.connect(tmp_path / 'shop.db')",
        REFUSED,
        SQLITE,
    ),
    Scenario(
        "a directory that is called test",
        "os.symlink(os.getcwd(), 'test_dir'); sqlite3.connect('test_dir/shop.db')",
        REFUSED,
        SQLITE,
    ),
    Scenario(
        "a query that names the database",
        "create_engine(ELSEWHERE.update_query_dict({app.NAME_KEY: app.NAME})).connect()",
        REFUSED,
        SERVERS,
    ),
    Scenario(
        "connect_args that name the database",
        "create_engine(ELSEWHERE, connect_args={app.NAME_KEY: app.NAME}).connect()",
        REFUSED,
        SERVERS,
    ),
)

FILES = (
    Scenario("os.remove", "os.remove('shop.db')", REFUSED, SQLITE),
    Scenario("Path.unlink", "Path('shop.db').unlink(missing_ok=True)", REFUSED, SQLITE),
    Scenario("os.rename", "os.rename('shop.db', 'shop.bak')", REFUSED, SQLITE),
    Scenario("Path.replace by another file", "Path('a').touch(); Path('a').replace('shop.db')", REFUSED, SQLITE),
    Scenario("os.replace of its directory", "os.replace(os.getcwd(), os.getcwd() + '_old')", REFUSED, SQLITE),
    Scenario("os.truncate", "os.truncate('shop.db', 0)", REFUSED, SQLITE),
    Scenario("open for writing", "open('shop.db', 'wb')", REFUSED, SQLITE),
    Scenario("open for appending", "open('shop.db', 'ab')", REFUSED, SQLITE),
    Scenario("open for reading and writing", "open('shop.db', 'r+b')", REFUSED, SQLITE),
    Scenario("Path.write_bytes", "Path('shop.db').write_bytes(b'')", REFUSED, SQLITE),
    Scenario("os.open for writing", "os.open('shop.db', os.O_RDWR)", REFUSED, SQLITE),
    Scenario("os.open with a descriptor of its directory", "open_in_directory()", REFUSED, SQLITE),
    Scenario("writing into a memory map", "write_into_a_map()", REFUSED, SQLITE),
    Scenario("shutil.copy over it", "shutil.copy(__file__, 'shop.db')", REFUSED, SQLITE),
    Scenario("shutil.copyfile over it", "shutil.copyfile(__file__, 'shop.db')", REFUSED, SQLITE),
    Scenario("shutil.copytree over its directory", "copy_tree(tmp_path)", REFUSED, SQLITE),
    Scenario("shutil.move of it", "shutil.move('shop.db', tmp_path)", REFUSED, SQLITE),
    Scenario("shutil.move onto it", "Path('a').touch(); shutil.move('a', 'shop.db')", REFUSED, SQLITE),
    Scenario("shutil.rmtree", "shutil.rmtree(os.getcwd(), ignore_errors=True)", REFUSED, SQLITE),
    Scenario("a tar archive that is unpacked over it", "unpack(tmp_path, 'tar')", REFUSED, SQLITE),
    Scenario("a zip archive that is unpacked over it", "unpack(tmp_path, 'zip')", REFUSED, SQLITE),
    Scenario("removing its log", "os.remove('shop.db-wal')", REFUSED, frozenset({"sqlite-wal"})),
    Scenario("removing its shared memory", "os.remove('shop.db-shm')", REFUSED, frozenset({"sqlite-wal"})),
    Scenario("reading its bytes", "assert Path('shop.db').read_bytes()", FREE, SQLITE),
    Scenario("copying it", "shutil.copy('shop.db', tmp_path)", FREE, SQLITE),
    Scenario("removing a link to it", "os.symlink('shop.db', 'link'); os.remove('link')", FREE, SQLITE),
    Scenario("removing a temporary database", "make(tmp_path / 'a.db'); os.remove(tmp_path / 'a.db')", FREE, SQLITE),
)

PROGRAMS = (
    Scenario("the sqlite3 shell", "subprocess.run(['sqlite3', 'shop.db', DELETE])", REFUSED, SQLITE, "sqlite3"),
    Scenario(
        "the sqlite3 shell in a pipe", "os.system(f'echo \"{DELETE}\" | sqlite3 shop.db')", REFUSED, SQLITE, "sqlite3"
    ),
    Scenario(
        "the sqlite3 shell that attaches it",
        "subprocess.run(['sqlite3', 'test_a.db', \"ATTACH 'shop.db' AS shop; DELETE FROM shop.articles\"])",
        REFUSED,
        SQLITE,
        "sqlite3",
    ),
    Scenario(
        "the sqlite3 shell by os.spawn",
        "os.spawnlp(os.P_WAIT, 'sqlite3', 'sqlite3', 'shop.db', DELETE)",
        REFUSED,
        SQLITE,
        "sqlite3",
    ),
    Scenario(
        "the sqlite3 shell that only reads",
        "subprocess.run(['sqlite3', '-readonly', 'shop.db', '.dump'], check=True)",
        FREE,
        SQLITE,
        "sqlite3",
    ),
    Scenario(
        "the sqlite3 shell on a temporary database",
        "subprocess.run(['sqlite3', tmp_path / 'a.db', 'CREATE TABLE a (b)'], check=True)",
        FREE,
        SQLITE,
        "sqlite3",
    ),
    Scenario(
        "psql",
        "subprocess.run(['psql', *app.WHERE, '-c', DELETE, app.NAME])",
        REFUSED,
        POSTGRESQL,
        "psql",
    ),
    Scenario(
        "psql with a URI",
        "subprocess.run(['psql', app.PLAIN_URL, '-c', DELETE])",
        REFUSED,
        POSTGRESQL,
        "psql",
    ),
    Scenario(
        "psql that finds the database in its environment",
        "subprocess.run(['psql', *app.WHERE, '-c', DELETE], env={**os.environ, 'PGDATABASE': app.NAME})",
        REFUSED,
        POSTGRESQL,
        "psql",
    ),
    Scenario(
        "psql in a pipe",
        "os.system(f'echo \"{DELETE}\" | psql {shlex.join(app.WHERE)} {app.NAME}')",
        REFUSED,
        POSTGRESQL,
        "psql",
    ),
    Scenario(
        "psql that drops the database from another one",
        "subprocess.run(['psql', *app.WHERE, 'postgres', '-c', f'DROP DATABASE {app.NAME}'])",
        REFUSED,
        POSTGRESQL,
        "psql",
    ),
    Scenario(
        "psql that goes on to the database",
        "subprocess.run(['psql', *app.WHERE, 'postgres', '-c', f'\\\\c {app.NAME}', '-c', DELETE])",
        REFUSED,
        POSTGRESQL,
        "psql",
    ),
    Scenario("dropdb", "subprocess.run(['dropdb', *app.WHERE, app.NAME])", REFUSED, POSTGRESQL, "dropdb"),
    Scenario(
        "pgbench",
        "subprocess.run(['pgbench', *app.WHERE, '-i', app.NAME])",
        REFUSED,
        POSTGRESQL,
        "pgbench",
    ),
    Scenario(
        "pg_dump",
        "subprocess.run(['pg_dump', *app.WHERE, app.NAME], check=True, stdout=-3)",
        FREE,
        POSTGRESQL,
        "pg_dump",
    ),
    Scenario(
        "psql that looks after the server",
        "subprocess.run(['psql', *app.WHERE, 'postgres', '-c', 'SELECT 1'], check=True)",
        FREE,
        POSTGRESQL,
        "psql",
    ),
    Scenario(
        "mysql",
        "subprocess.run(['mysql', *app.WHERE, '-e', DELETE, app.NAME])",
        REFUSED,
        MARIADB,
        "mysql",
    ),
    Scenario(
        "mysql that uses the database",
        "subprocess.run(['mysql', *app.WHERE, '-e', f'USE {app.NAME}; {DELETE}'])",
        REFUSED,
        MARIADB,
        "mysql",
    ),
    Scenario(
        "mysql that drops the database",
        "subprocess.run(['mysql', *app.WHERE, '-e', f'DROP DATABASE {app.NAME}'])",
        REFUSED,
        MARIADB,
        "mysql",
    ),
    Scenario(
        "mysql that finds the database in its option file",
        "Path('my.cnf').write_text(f'[mysql]\\ndatabase={app.NAME}\\n')\n"
        "subprocess.run(['mysql', '--defaults-extra-file=my.cnf', *app.WHERE, '-e', DELETE])",
        REFUSED,
        MARIADB,
        "mysql",
    ),
    Scenario(
        "mysqladmin drop",
        "subprocess.run(['mysqladmin', *app.WHERE, '-f', 'drop', app.NAME])",
        REFUSED,
        MARIADB,
        "mysqladmin",
    ),
    Scenario(
        "mysqldump",
        "subprocess.run(['mysqldump', *app.WHERE, app.NAME], check=True, stdout=-3)",
        FREE,
        MARIADB,
        "mysqldump",
    ),
    Scenario(
        "mysql that looks after the server",
        "subprocess.run(['mysql', *app.WHERE, '-e', 'SELECT 1'], check=True)",
        FREE,
        MARIADB,
        "mysql",
    ),
    Scenario("rm", "subprocess.run(['rm', 'shop.db'])", MISSED, frozenset({"sqlite"})),
)

GROUPS: dict[str, tuple[Scenario, ...]] = {
    "Connections": CONNECTIONS,
    "Any moment": MOMENTS,
    "Any disguise": DISGUISES,
    "The files of a SQLite database": FILES,
    "Child processes": CHILDREN,
    "The databases' own clients": PROGRAMS,
}
SCENARIOS = tuple(scenario for group in GROUPS.values() for scenario in group)


INTRODUCTION = """
# What the fence stops

Each line is a test of a small real project, which the test suite of engineroom runs: `pytest` in a process of its own,
once for each database in whose column something stands. Before and after, the development database is compared: a
SQLite file by its SHA-256, in the journal modes *delete* and *WAL*, the latter with its log; a database of a server by
all that it holds.

*refused*
: The development database is as before. The test is red even where its code swallows the refusal, or where it happens
  in another thread or process, and the summary lists it under the name of the test.

*free*
: The test is green, and nothing is listed.

*not stopped*
: Nobody stops it, and the data is lost. The {doc}`threat model <../explanation/threat-model>` says why.

The page is written from the table in `tests/plugin/scenarios.py` by `python tests/plugin/scenarios.py`; a test compares
the two.
"""
COLUMNS = {"sqlite": "SQLite", "sqlite-wal": "SQLite, WAL", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}


def write_page() -> str:
    """Return the text of the page."""
    lines = [INTRODUCTION.strip()]
    for heading, scenarios in GROUPS.items():
        lines += ["", f"## {heading}", "", f"| what a test tries | {' | '.join(COLUMNS.values())} |"]
        lines.append("|---" * (len(COLUMNS) + 1) + "|")
        for row in scenarios:
            cells = (row.outcome if database in row.databases else "" for database in COLUMNS)
            lines.append(f"| {row.sentence} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(write_page())
