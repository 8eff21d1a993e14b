"""The summary tells of a development database on a server that it is unchanged, or warns."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import SmallProject

DRIVERS = {"postgresql": ["psycopg", "psycopg2"], "mariadb": ["pymysql"]}
SCHEMES = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql"}
TEST = "import {driver}\n\ndef test_one():\n    pass\n\ndef test_two():\n    pass\n"
WRITER = """
import subprocess, sys
import {driver}

def test_somebody_else_writes():
    environ = {{"PATH": "/usr/bin:/bin", "HOME": "/tmp"}}
    subprocess.run([sys.executable, "-I", "-c", {code!r}], check=True, env=environ)
"""


def send(url: URL, *statements: str) -> None:
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[URL]:
    """Return the URL of a development database with one row."""
    server: URL = request.getfixturevalue(f"{request.param}_url")
    name = f"engineroom_kept_{secrets.token_hex(4)}"
    send(server, f"CREATE DATABASE {name}")
    send(server.set(database=name), "CREATE TABLE articles (id int)", "INSERT INTO articles VALUES (1)")
    yield server.set(database=name, drivername=SCHEMES[request.param])
    send(server, f"DROP DATABASE {name}")


def kind_of(url: URL) -> str:
    return "postgresql" if url.get_backend_name() == "postgresql" else "mariadb"


def spell(url: URL) -> str:
    """Return the URL with a password, which PostgreSQL does not ask for here."""
    if kind_of(url) == "postgresql" and url.password is None:
        url = url.set(password="geheim")
    return url.render_as_string(hide_password=False)


def test_it_is_unchanged(project: SmallProject, url: URL) -> None:
    project.write_text(".env", f"DATABASE_URL={spell(url)}\n")
    for driver in DRIVERS[kind_of(url)]:
        project.write_text("test_it.py", TEST.format(driver=driver))
        outcome = project.pytest()
        shown = f"{url.get_backend_name()}://{url.host}/{url.database}"
        line = f"engineroom: the development database {shown} is unchanged, as its server counts."
        assert line in outcome.own_lines, outcome.out
        assert outcome.counts == {"passed": 2}
        assert "geheim" not in outcome.out


def test_it_changed(project: SmallProject, url: URL) -> None:
    driver = DRIVERS[kind_of(url)][0]
    options = {"host": url.host, "user": url.username, "password": url.password or "", "port": url.port}
    options["dbname" if driver == "psycopg" else "database"] = url.database
    given = {key: value for key, value in options.items() if value}
    statement = "INSERT INTO articles VALUES (2)"
    code = (
        f"import time, {driver}; time.sleep(1.1 if {driver == 'pymysql'} else 0); "
        f"connection = {driver}.connect(**{given!r}); "
        f"connection.cursor().execute({statement!r}); connection.commit(); connection.close()"
    )
    project.write_text(".env", f"DATABASE_URL={spell(url)}\n")
    project.write_text("test_it.py", WRITER.format(driver=driver, code=code))
    outcome = project.pytest()
    assert outcome.code == 0, outcome.out
    (line,) = [line for line in outcome.own_lines if "WARNING" in line]
    assert f"/{url.database} changed during the run. Is a development server writing to it?" in line


SILENT = {
    "no driver is imported": ("postgresql://postgres@127.0.0.1/shop", "def test_it():\n    pass\n"),
    "another machine": ("postgresql://postgres@db.example.org/shop", TEST.format(driver="psycopg")),
    "no server": ("postgresql://postgres@127.0.0.1:1/shop", TEST.format(driver="psycopg")),
    "a test database": ("postgresql://postgres@127.0.0.1/test_shop", TEST.format(driver="psycopg")),
    "a wrong password": ("mysql://nobody:geheim@127.0.0.1/shop", TEST.format(driver="pymysql")),
    "nonsense": ("postgresql://[", TEST.format(driver="psycopg")),
}


@pytest.mark.parametrize(("text", "test"), SILENT.values(), ids=list(SILENT))
def test_it_is_silent(lone_project: SmallProject, text: str, test: str) -> None:
    lone_project.write_text(".env", f"DATABASE_URL={text}\n").write_text("test_it.py", test)
    outcome = lone_project.pytest()
    assert outcome.code == 0
    assert "as its server counts" not in outcome.out
    assert "geheim" not in outcome.out + outcome.err
