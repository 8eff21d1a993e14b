"""What we read in the name of a SQLite database, held against what SQLite opens for it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from engineroom._address import Address, address_of, sqlite_address

PIECES = [
    *(
        "file:",
        "File:",
        "//",
        "/",
        "localhost",
        "sub/",
        "a.db",
        "%61.db",
        "%00",
        "%",
        "%2",
        "%3F",
        "%23",
        "#",
        "?",
        "&",
    ),
    *("=", "mode=memory", "mode=ro", "mode=rwc", "mode=rw", "mode=", "mode=MEMORY", "m%6Fde=memory", "mode%00x=memory"),
    *(
        "mode=memor%79",
        "mode=memory%00",
        "vfs=memdb",
        "vfs=unix",
        "vfs=unix-none",
        "vfs=",
        "vfs=nothing",
        "cache=shared",
    ),
    *("immutable=1", "immutable=0", "immutable=yes", "x=y", ":memory:", "..", "é", "%C3%A9", "%FF", " ", "test_"),
]
names = st.lists(st.sampled_from(PIECES), max_size=7).map("".join)


def open_really(name: str, *, uri: bool) -> tuple[str, bool] | None:
    """Return the file that SQLite opened (empty for none) and whether it can be written; None if it opened nothing."""
    try:
        connection = sqlite3.connect(name, uri=uri)
    except sqlite3.Error:
        return None
    connection.text_factory = os.fsdecode
    try:
        connection.execute("SELECT * FROM sqlite_master").fetchall()
        opened = connection.execute("PRAGMA database_list").fetchone()[2]
    except sqlite3.Error:
        return None
    else:
        return opened, _can_write(connection)
    finally:
        connection.close()


def _can_write(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
        connection.commit()
    except sqlite3.OperationalError:
        return False
    return True


@settings(deadline=None, max_examples=400)
@given(names, st.booleans())
@example("?mode=memory&mode=rwc", True)  # noqa: FBT003 - Hypothesis passes by position
@example("a.db?mode=memory", True)  # noqa: FBT003
@example("/shop?vfs=memdb", True)  # noqa: FBT003
@example("a%00b?mode=ro", True)  # noqa: FBT003
def test_sqlite_opens_what_we_read(name: str, prefixed: bool) -> None:
    name = f"file:{name}" if prefixed else name
    address = sqlite_address(name, uri=True)
    if address.database and Path(address.database).is_absolute():
        return  # never outside the directory of this test
    before = Path.cwd()
    with TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            Path("sub").mkdir()
            Path("a.db").touch()
            really = open_really(name, uri=True)
            if really is not None:
                check(address, *really)
        finally:
            os.chdir(before)


def check(address: Address, opened: str, can_write: bool) -> None:
    assert not address.switched, "SQLite opens it, and we could have told what"
    if address.in_memory:
        # A memdb has the name of its URI, which is no file; a real file has a path from the root.
        assert not Path(opened).is_absolute() or not Path(opened).exists()
    else:
        assert os.path.realpath(opened) == os.path.realpath(address.database or "")
    assert not (address.read_only and can_write)


@pytest.mark.parametrize("name", ["a.db", "a.db?mode=memory", "file%3Aa.db", ":memory:", "", "./sub/../a.db"])
def test_without_the_prefix_it_is_a_name_whether_uri_is_asked_for_or_not(name: str) -> None:
    Path("sub").mkdir()
    for uri in (False, True):
        really = open_really(name, uri=uri)
        assert really is not None
        check(sqlite_address(name, uri=uri), *really)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///a.db",
        "sqlite:///sub/../a.db",
        "sqlite:///file:a.db?mode=memory",
        "sqlite:///file:a.db?uri=true",
        "sqlite:///file:a.db?mode=memory&uri=true",
        "sqlite:///file:sub/a.db?mode=rwc&uri=true",
        "sqlite:///file:a%2520b.db?uri=true",
        "sqlite:///a.db?uri=true",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:/a?vfs=memdb&uri=true",
        "sqlite://",
    ],
)
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_an_engine_opens_what_its_url_says(url: str) -> None:
    Path("sub").mkdir()
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        opened = connection.exec_driver_sql("PRAGMA database_list").one()[2] or ""
    check(address_of(make_url(url)), opened, can_write=True)
