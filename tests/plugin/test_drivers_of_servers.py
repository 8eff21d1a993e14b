"""Drivers of servers in a real run: whenever they were imported, and from wherever they connect.

What each driver does in this process is tested in ``tests/database/test_driver_fence.py``.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import SmallProject

EARLY = """
    from psycopg import AsyncConnection, connect as psycopg_connect
    from psycopg2 import connect as psycopg2_connect
    from asyncpg import connect as asyncpg_connect, create_pool as asyncpg_pool
    from pymysql import connect as pymysql_connect
    from aiomysql import connect as aiomysql_connect, create_pool as aiomysql_pool
    from asyncmy import connect as asyncmy_connect
"""
ROWS = {
    "psycopg": "early.psycopg_connect(POSTGRESQL)",
    "psycopg_async": "asyncio.run(awaited(early.AsyncConnection.connect(POSTGRESQL)))",
    "psycopg2": "early.psycopg2_connect(POSTGRESQL)",
    "asyncpg": "asyncio.run(awaited(early.asyncpg_connect(POSTGRESQL)))",
    "asyncpg_pool": "asyncio.run(awaited(early.asyncpg_pool(POSTGRESQL)))",
    "pymysql": "early.pymysql_connect(**MARIADB)",
    "aiomysql": "asyncio.run(awaited(early.aiomysql_connect(**MARIADB)))",
    "aiomysql_pool": "asyncio.run(awaited(early.aiomysql_pool(**MARIADB)))",
    "asyncmy": "asyncio.run(awaited(early.asyncmy_connect(**MARIADB)))",
}
AFTERWARDS = {
    "in_a_thread": "in_a_thread(swallow)",
    "in_a_fork": "in_a_fork(swallow)",
    "in_a_task": "asyncio.run(in_a_task())",
    "swallowed": "swallow()",
}
PRELUDE = """
import asyncio, os, threading
import early

POSTGRESQL, MARIADB = {postgresql!r}, {mariadb!r}

async def awaited(connecting):
    return await connecting

def swallow():
    try:
        early.psycopg_connect(POSTGRESQL)
    except Exception:
        pass

async def in_a_task():
    task = asyncio.create_task(awaited(early.asyncpg_connect(POSTGRESQL)))
    await asyncio.gather(task, return_exceptions=True)

def in_a_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()

def in_a_fork(function):
    pid = os.fork()
    if not pid:
        function()
        os._exit(0)
    os.waitpid(pid, 0)
"""
AT_EXIT = """
    import atexit
    import pymysql
    atexit.register(lambda: pymysql.connect(**{mariadb!r}))

    def test_nothing():
        pass
"""


@pytest.fixture
def kept(postgresql_url: URL, mariadb_url: URL) -> Iterator[dict[str, URL]]:
    """Return the URL of a database that is not disposable on each server, with one table and three rows."""
    name = f"engineroom_kept_{secrets.token_hex(4)}"
    servers = {"postgresql": postgresql_url, "mariadb": mariadb_url}
    urls = {kind: url.set(database=name) for kind, url in servers.items()}
    for kind, server in servers.items():
        send(server, f"CREATE DATABASE {name}")
        send(urls[kind], "CREATE TABLE articles (name varchar(9))", "INSERT INTO articles VALUES ('a'), ('b'), ('c')")
    yield urls
    for server in servers.values():
        send(server, f"DROP DATABASE {name}")


def send(url: URL, *statements: str) -> list[object]:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []


def spell(kept: dict[str, URL]) -> dict[str, object]:
    """Return what the drivers take for these databases."""
    mariadb = kept["mariadb"]
    options: dict[str, object] = {"host": mariadb.host, "user": mariadb.username, "password": mariadb.password or ""}
    options["port"] = mariadb.port or 3306
    options["db"] = mariadb.database
    return {
        "postgresql": kept["postgresql"].set(drivername="postgresql").render_as_string(hide_password=False),
        "mariadb": options,
    }


@pytest.mark.parametrize("moment", ["before the plugin", "by the tests"])
def test_no_driver_connects(project: SmallProject, kept: dict[str, URL], moment: str) -> None:
    rows = "\n".join(f"def test_{name}():\n    {line}\n" for name, line in {**ROWS, **AFTERWARDS}.items())
    prelude = PRELUDE.format(**spell(kept))
    project.write(early=EARLY).write_text("test_rows.py", prelude + rows)
    outcome = project.pytest(*(["-p", "early"] if moment == "before the plugin" else []), PYTHONPATH=str(project.root))
    assert outcome.failed == {f"test_{name}" for name in {**ROWS, **AFTERWARDS}}, outcome.out
    assert "Refused to connect to postgresql://" in outcome.out
    assert "Refused to connect to mysql://" in outcome.out
    for url in kept.values():
        assert send(url, "SELECT count(*) FROM articles") == [(3,)]


def test_a_driver_is_refused_at_exit(lone_project: SmallProject, kept: dict[str, URL]) -> None:
    spelled = spell(kept)
    lone_project.write(test_it=AT_EXIT.format(mariadb=spelled["mariadb"]))
    outcome = lone_project.pytest()
    assert outcome.code == 120
    assert f"Refused to connect to mysql://{kept['mariadb'].host}" in outcome.err


def test_a_run_that_imports_no_driver_has_none_and_no_sqlalchemy(lone_project: SmallProject) -> None:
    lone_project.write(
        test_it="""
            import sys
            import psycopg

            def test_modules():
                try:
                    psycopg.connect("host=127.0.0.1 port=1 dbname=test_shop")
                except psycopg.OperationalError:
                    pass
                assert "sqlalchemy" not in sys.modules
                assert not {"psycopg2", "asyncpg", "pymysql"} & sys.modules.keys()
        """
    )
    assert lone_project.pytest().counts == {"passed": 1}


def test_the_url_of_the_message_opens_the_fence(lone_project: SmallProject, kept: dict[str, URL]) -> None:
    spelled = spell(kept)
    prelude = PRELUDE.format(**spelled)
    lone_project.write(early=EARLY)
    lone_project.write_text("test_it.py", f"{prelude}\ndef test_psycopg():\n    {ROWS['psycopg']}.close()\n")
    outcome = lone_project.pytest()
    (line,) = [line for line in outcome.out.splitlines() if "fence_allow =" in line][:1]
    entry = line[line.index("fence_allow") :].rstrip(".")
    config = (lone_project.root / "pyproject.toml").read_text()
    lone_project.write_text("pyproject.toml", f"{config}\n[tool.engineroom]\n{entry}\n")
    assert lone_project.pytest().counts == {"passed": 1}
    assert make_url(spelled["postgresql"]).database in entry  # type: ignore[arg-type, operator]


def test_a_driver_that_cannot_be_fenced_is_told(lone_project: SmallProject) -> None:
    """A version that is built in another way: its import goes on, and the summary warns."""
    lone_project.write_text("psycopg2/__init__.py", "connect = None\n")
    lone_project.write(test_it="import psycopg2\n\ndef test_it():\n    assert psycopg2.connect is None\n")
    outcome = lone_project.pytest()
    assert outcome.counts == {"passed": 1}
    assert any("WARNING: psycopg2 is built in a way" in line for line in outcome.own_lines)
