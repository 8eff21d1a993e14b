"""Which database does a live SQLite connection reach? Its own answer beats the URL, and in doubt it is unknown."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import aiosqlite
import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

from engineroom import Verdict, guard, verdict
from engineroom._guard.live import facts_of, identify_connection, sqlite3_connection, watch_of

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


def judge_engine(engine: Engine) -> Verdict:
    """Return the verdict of an engine, which is the same for its connections, with the guard and without it."""
    judged = verdict(engine)
    with engine.connect() as connection:
        assert verdict(connection) == judged
    guard(engine)
    assert verdict(engine) == judged
    with engine.connect() as connection:
        assert verdict(connection) == judged
    engine.dispose()
    return judged


SPELLINGS = {
    "a path": ("sqlite:///{folder}/shop.db", "shop.db", False),
    "a path that goes up and down": ("sqlite:///{folder}/../{name}/./shop.db", "shop.db", False),
    "a test name": ("sqlite:///{folder}/test_shop.db", "test_shop.db", True),
    "a test name in capitals": ("sqlite:///{folder}/TEST_shop.db", "TEST_shop.db", False),
    "a directory with a test name": ("sqlite:///{folder}/test_folder/shop.db", "shop.db", False),
    "a link with a test name": ("sqlite:///{folder}/test_link.db", "shop.db", False),
    "a chain of links": ("sqlite:///{folder}/test_chain.db", "shop.db", False),
    "a hard link with a test name": ("sqlite:///{folder}/test_hard.db", "test_hard.db", False),
    "a link with any name to a test file": ("sqlite:///{folder}/link_to_test.db", "test_shop.db", True),
    "a linked directory": ("sqlite:///{folder}/test_directory/shop.db", "shop.db", False),
    "a URI": ("sqlite:///file:{folder}/shop.db?uri=true", "shop.db", False),
    "a URI of a test file": ("sqlite:///file:{folder}/test_shop.db?mode=rw&uri=true", "test_shop.db", True),
    "a URI to read": ("sqlite:///file:{folder}/shop.db?mode=ro&uri=true", "shop.db", False),
    "memory": ("sqlite://", ":memory:", True),
    "memory by its name": ("sqlite:///:memory:", ":memory:", True),
    "memory by a URI": ("sqlite:///file::memory:?uri=true", ":memory:", True),
}


@pytest.mark.parametrize(("url", "name", "is_disposable"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_connection_tells_what_it_reaches(shop: Any, folder: Path, url: str, name: str, is_disposable: bool) -> None:
    for file in ("test_shop.db", "TEST_shop.db", "test_hard_source.db"):
        (folder / file).write_bytes(shop.path.read_bytes())
    (folder / "test_folder").mkdir()
    (folder / "test_folder" / "shop.db").touch()
    (folder / "test_link.db").symlink_to(shop.path)
    (folder / "test_chain.db").symlink_to("test_link.db")
    (folder / "link_to_test.db").symlink_to("test_shop.db")
    (folder / "test_directory").symlink_to(folder)
    (folder / "test_hard.db").hardlink_to(folder / "test_hard_source.db")
    engine = create_engine(make_url(url.format(folder=folder, name=folder.name)), poolclass=NullPool)
    judged = judge_engine(engine)
    assert (judged.database, judged.disposable) == (name, is_disposable)


def test_a_uri_in_percents_is_read_as_sqlite_reads_it(shop: Any) -> None:
    url = URL.create("sqlite", database=f"file:{shop.path.parent}/%73hop.db", query={"uri": "true"})
    judged = judge_engine(create_engine(url, poolclass=NullPool))
    assert (judged.database, judged.disposable) == ("shop.db", False)


def test_a_connection_of_an_async_engine_is_asked_the_same(shop: Any) -> None:
    async def connect() -> aiosqlite.Connection:
        return await aiosqlite.connect(shop.path)

    async def run() -> tuple[Verdict, Verdict, Verdict]:
        engine = create_async_engine("sqlite+aiosqlite:///test_claimed.db", async_creator=connect, poolclass=NullPool)
        async with engine.connect() as connection:
            plain = await connection.run_sync(verdict)
            by_url = verdict(connection)
        guard(engine)
        async with engine.connect() as connection:
            return plain, by_url, await connection.run_sync(verdict)

    plain, by_url, guarded = asyncio.run(run())
    assert (plain.database, plain.disposable) == ("shop.db", False)
    assert guarded == plain
    assert by_url.disposable  # what it claims to be; it cannot be asked from outside of its loop


def test_a_creator_beats_the_url(shop: Any) -> None:
    engine = create_engine("sqlite:///test_claimed.db", creator=lambda: sqlite3.connect(shop.path), poolclass=NullPool)
    judged = judge_engine(engine)
    assert (judged.database, judged.disposable) == ("shop.db", False)


def test_a_relative_path_is_that_of_the_connections_beginning(
    shop: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    engine = create_engine("sqlite:///shop.db", poolclass=StaticPool)
    engine.connect().close()
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert verdict(engine).database == "shop.db"
    assert facts_of(engine).location == str(shop.path)
    engine.dispose()


def test_a_hard_link_that_is_made_later_is_seen(shop: Any, folder: Path) -> None:
    path = shop.path.rename(folder / "test_shop.db")
    engine = create_engine(f"sqlite:///{path}")
    assert verdict(engine).disposable
    os.link(path, folder / "precious.db")
    judged = verdict(engine)
    engine.dispose()
    assert not judged.disposable
    assert "2 names (hard links)" in judged.reason


def test_a_transaction_that_is_open_is_left_alone(shop: Any) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO users (name) VALUES ('kept')"))
        assert verdict(connection).database == "shop.db"
        connection.commit()
        assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 4
    engine.dispose()


def test_what_cannot_be_asked_is_unknown(folder: Path) -> None:
    engine = create_engine(f"sqlite:///{folder}/no/such/directory/test_shop.db")
    judged = verdict(engine)
    assert (judged.disposable, judged.database) == (False, "")
    broken = folder / "test_broken.db"
    broken.write_bytes(b"this is no database" * 100)
    with create_engine(f"sqlite:///{broken}").connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.close()
        judged = verdict(connection)
        connection.invalidate()
    assert (judged.disposable, judged.database) == (False, "")


def test_an_authorizer_that_forbids_the_question_makes_the_database_unknown(shop: Any) -> None:
    engine = create_engine(f"sqlite:///{shop.path}")
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
        judged = verdict(connection)
        driver.set_authorizer(None)
    engine.dispose()
    assert (judged.disposable, judged.database) == (False, "")


def test_the_driver_below_every_wrapper_is_found(shop: Any) -> None:
    engine = guard(create_engine(f"sqlite:///{shop.path}"))
    with engine.connect() as connection:
        pooled = connection.connection
        driver = pooled.driver_connection
        assert sqlite3_connection(pooled) is sqlite3_connection(pooled.dbapi_connection) is driver
        assert watch_of(driver) is watch_of(pooled) is not None
        assert identify_connection(pooled, engine.dialect).database == "shop.db"
    engine.dispose()
    assert watch_of(object()) is None


def test_verdicts_of_urls_open_nothing(folder: Path) -> None:
    assert not verdict(f"sqlite:///{folder}/shop.db")
    assert verdict(make_url(f"sqlite:///{folder}/test_shop.db"))
    assert verdict(create_async_engine(f"sqlite+aiosqlite:///{folder}/test_shop.db"))
    assert list(folder.iterdir()) == []
