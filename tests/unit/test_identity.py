"""What is true of the database that an address names? For SQLite the real file decides, not its spelling."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, create_engine, make_url

from engineroom import _identity, _run_files
from engineroom._verdict import Facts, judge

if TYPE_CHECKING:
    from collections.abc import Callable

NO_ENVIRONMENT: dict[str, str] = {}


def facts_of(text: str, **connect_args: object) -> Facts:
    return _identity.facts_of_url(make_url(text), connect_args, NO_ENVIRONMENT)


def is_disposable(text: str, **connect_args: object) -> bool:
    return bool(judge(facts_of(text, **connect_args)))


# --- SQLite in memory


@pytest.mark.parametrize(
    "text",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:shop.db?mode=memory&cache=shared&uri=true",
        "sqlite:///file:/shop?vfs=memdb&uri=true",
    ],
)
def test_a_database_without_a_file_is_in_memory(text: str) -> None:
    assert facts_of(text) == _identity.IN_MEMORY
    assert is_disposable(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sqlite:///file:shop.db?mode=memory", id="a URI without uri=true is the name of a file"),
        pytest.param("sqlite:///shop.db?mode=memory&uri=true", id="uri=true without file: is a file, too"),
        pytest.param("sqlite:///./:memory:", id="a path that ends in :memory: is a file"),
        pytest.param("sqlite:///:MEMORY:", id="case matters"),
    ],
)
def test_what_only_looks_like_memory_is_a_file(text: str) -> None:
    assert not facts_of(text).in_memory
    assert not is_disposable(text)


# --- SQLite files


def test_the_name_is_the_base_name_of_the_real_file(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    facts = facts_of(f"sqlite:///{tmp_path}/shop.db")
    assert facts == Facts("sqlite", "shop.db", links=1, location=os.path.realpath(tmp_path / "shop.db"))


def test_a_relative_path_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert facts_of("sqlite:///data/../shop.db").location == os.path.realpath(tmp_path / "elsewhere" / "shop.db")
    assert facts_of("sqlite:///file:shop.db?uri=true").location == os.path.realpath(tmp_path / "elsewhere" / "shop.db")


def test_a_file_that_is_not_there_yet_goes_by_its_name() -> None:
    assert facts_of("sqlite:///no/such/directory/test_shop.db").database == "test_shop.db"
    assert is_disposable("sqlite:///no/such/directory/test_shop.db")
    assert not is_disposable("sqlite:///no/such/directory/shop.db")


@pytest.mark.parametrize(
    ("name", "disposable"),
    [
        ("test_shop.db", True),
        ("shop.db", False),
        ("Test_shop.db", False),
        ("mytest_shop.db", False),
        ("test.db", False),
    ],
)
@pytest.mark.parametrize(
    "spelling", ["sqlite:///{}", "sqlite:////{}", "sqlite:///file:{}?uri=true", "sqlite+aiosqlite:///{}"]
)
def test_the_name_decides_in_every_spelling(tmp_path: Path, name: str, spelling: str, disposable: bool) -> None:
    (tmp_path / name).touch()
    assert is_disposable(spelling.format(tmp_path / name)) is disposable


def test_a_directory_with_a_test_name_makes_no_test_database(tmp_path: Path) -> None:
    (tmp_path / "test_data").mkdir()
    assert not is_disposable(f"sqlite:///{tmp_path}/test_data/shop.db")


def opens(database: str, *, uri: bool) -> str:
    """Return the real path of the file that SQLite opens for a name; empty for none."""
    connection = sqlite3.connect(database, uri=uri)
    try:
        return str(connection.execute("PRAGMA database_list").fetchone()[2])
    finally:
        connection.close()


def link_to_file(directory: Path) -> Path:
    (directory / "test_link.db").symlink_to(directory / "shop.db")
    return directory / "test_link.db"


def link_to_link(directory: Path) -> Path:
    (directory / "test_second.db").symlink_to(link_to_file(directory).name)
    return directory / "test_second.db"


def link_of_directory(directory: Path) -> Path:
    (directory / "test_directory").symlink_to(directory)
    return directory / "test_directory" / "shop.db"


def detour_through_link(directory: Path) -> Path:
    # Only the real parent of the link's target holds shop.db: a reading by letters alone would find another file.
    (directory / "far").mkdir()
    (directory / "far" / "away").symlink_to(directory / "target")
    (directory / "target").mkdir()
    return directory / "far" / "away" / ".." / "shop.db"


def by_process_file_system(directory: Path) -> Path:
    return Path("/proc/self/root", *directory.parts[1:], "shop.db")


ALIASES = [link_to_file, link_to_link, link_of_directory, detour_through_link, by_process_file_system]


@pytest.mark.parametrize("alias", ALIASES)
def test_a_symbolic_link_is_judged_by_the_file_that_sqlite_opens(tmp_path: Path, alias: Callable[[Path], Path]) -> None:
    (tmp_path / "shop.db").touch()
    path = alias(tmp_path)
    facts = _identity.facts_of_sqlite_connect(path).facts
    assert facts.location == os.path.realpath(tmp_path / "shop.db")
    assert not judge(facts)
    assert Path(opens(str(path), uri=False)).samefile(tmp_path / "shop.db")


@pytest.mark.parametrize("spelling", ["sqlite:///{}", "sqlite:///file:{}?uri=true"])
@pytest.mark.parametrize("alias", ALIASES)
def test_a_symbolic_link_in_a_url_is_judged_by_the_file_that_the_engine_opens(
    tmp_path: Path, alias: Callable[[Path], Path], spelling: str
) -> None:
    (tmp_path / "shop.db").touch()
    text = spelling.format(alias(tmp_path))
    engine = create_engine(text)
    with engine.connect() as connection:
        reached = connection.exec_driver_sql("PRAGMA database_list").scalars(2).one()
    engine.dispose()
    # SQLAlchemy shortens "link/.." by its letters alone, except in a URI; the facts are those of what it makes of it.
    assert Path(facts_of(text).location).samefile(reached)
    assert not is_disposable(text)


def test_a_link_from_a_real_name_to_a_test_database_is_disposable(tmp_path: Path) -> None:
    (tmp_path / "test_shop.db").touch()
    (tmp_path / "shop.db").symlink_to("test_shop.db")
    assert is_disposable(f"sqlite:///{tmp_path}/shop.db")


def test_a_dangling_link_is_the_file_that_would_be_made(tmp_path: Path) -> None:
    (tmp_path / "test_link.db").symlink_to(tmp_path / "shop.db")
    assert facts_of(f"sqlite:///{tmp_path}/test_link.db").database == "shop.db"


@pytest.mark.parametrize("name", ["test_loop.db", "test_loop.db/test_shop.db"])
def test_a_loop_of_links_is_unknown(tmp_path: Path, name: str) -> None:
    (tmp_path / "test_loop.db").symlink_to(tmp_path / "test_other.db")
    (tmp_path / "test_other.db").symlink_to(tmp_path / "test_loop.db")
    assert facts_of(f"sqlite:///{tmp_path}/{name}").database is None
    assert not is_disposable(f"sqlite:///{tmp_path}/{name}")


def test_a_second_hard_link_is_counted_and_protects(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    (tmp_path / "test_shop.db").hardlink_to(tmp_path / "shop.db")
    assert facts_of(f"sqlite:///{tmp_path}/test_shop.db").links == 2
    assert not is_disposable(f"sqlite:///{tmp_path}/test_shop.db")
    (tmp_path / "shop.db").unlink()
    assert is_disposable(f"sqlite:///{tmp_path}/test_shop.db")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [make_directory, make_pipe])
def test_what_is_no_file_is_unknown(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "test_it.db")
    assert facts_of(f"sqlite:///{tmp_path}/test_it.db").database is None


def test_a_path_below_a_file_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    assert facts_of(f"sqlite:///{tmp_path}/shop.db/test_x.db").database is None


@pytest.mark.skipif(os.getuid() == 0, reason="root may search every directory")
def test_a_file_in_a_directory_that_may_not_be_searched_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert facts_of(f"sqlite:///{tmp_path}/closed/test_x.db").database is None


def test_a_working_directory_that_is_gone_makes_a_relative_path_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert facts_of("sqlite:///test_shop.db").database is None
    assert _identity.facts_of_sqlite_path("test_shop.db").database is None
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["test_\0.db", "test_\ud800.db"])
def test_a_name_that_no_file_can_have_is_unknown(name: str) -> None:
    assert _identity.facts_of_sqlite_path(name).database is None
    assert _identity.facts_of_sqlite_connect(name).facts.database is None
    assert _identity.facts_of_url(URL.create("sqlite", database=name)).database is None


def test_a_name_that_is_no_unicode_is_a_name_all_the_same(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/test_caf\xe9.db"
    facts, _ = _identity.facts_of_sqlite_connect(path)
    assert facts.database == os.fsdecode(b"test_caf\xe9.db")
    assert judge(facts)
    assert facts.location.isprintable()


def test_a_name_cannot_forge_a_line_of_a_message(tmp_path: Path) -> None:
    facts = _identity.facts_of_sqlite_path(f"{tmp_path}/shop.db\nFix: none")
    assert "\n" not in facts.location


@pytest.mark.parametrize("path", [None, ""])
def test_sqlite_names_nothing_for_a_database_in_memory(path: str | None) -> None:
    assert _identity.facts_of_sqlite_path(path) == _identity.IN_MEMORY


def test_a_path_that_sqlite_names_is_a_file_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / ":memory:").touch()
    assert not _identity.facts_of_sqlite_path(str(tmp_path / ":memory:")).in_memory


# --- The run's own files


def test_a_file_that_the_run_made_is_run_owned_and_an_older_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "temporary" / "old.db").touch()
    _run_files.start_run([tmp_path / "temporary"])
    assert judge(facts_of(f"sqlite:///{tmp_path}/temporary/new/shop.db")).rule == "run-owned"
    assert not is_disposable(f"sqlite:///{tmp_path}/temporary/old.db")


def test_a_new_file_with_an_old_files_hard_link_is_protected(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "development.db").touch()
    _run_files.start_run([tmp_path / "temporary"])
    (tmp_path / "temporary" / "new.db").hardlink_to(tmp_path / "development.db")
    assert not is_disposable(f"sqlite:///{tmp_path}/temporary/new.db")


def test_a_new_link_to_an_old_file_is_protected(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "development.db").touch()
    _run_files.start_run([tmp_path / "temporary"])
    (tmp_path / "temporary" / "new.db").symlink_to(tmp_path / "development.db")
    assert not is_disposable(f"sqlite:///{tmp_path}/temporary/new.db")


@pytest.fixture
def memory_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "engineroom-abc"
    directory.mkdir(mode=0o700)
    (directory / "lock").touch()
    monkeypatch.setenv("ENGINEROOM_RUN", str(directory))
    return directory


def test_a_file_of_the_runs_memory_directory_is_in_memory(memory_directory: Path) -> None:
    facts = facts_of(f"sqlite:///{memory_directory}/test_default.db")
    assert facts.in_memory
    assert judge(facts, ("nothing_test",)).rule == "in-memory"
    assert facts.database == "test_default.db"


def test_a_hard_link_to_a_real_database_there_is_not(memory_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    (memory_directory / "test_default.db").hardlink_to(tmp_path / "shop.db")
    assert not facts_of(f"sqlite:///{memory_directory}/test_default.db").in_memory
    assert not is_disposable(f"sqlite:///{memory_directory}/test_default.db")


# --- Servers


@pytest.mark.parametrize(
    ("text", "database", "location"),
    [
        ("postgresql+psycopg://app:s3cret@db.internal/shop", "shop", "db.internal/shop"),
        ("postgresql+asyncpg://localhost/test_shop?database=shop", "shop", "localhost/shop"),
        ("postgresql+psycopg2:///?dbname=shop&host=/run/postgresql", "shop", "/run/postgresql/shop"),
        ("postgres://localhost/shop", "shop", "localhost/shop"),
        ("mysql+pymysql://localhost/shop", "shop", "localhost/shop"),
        ("mysql+pymysql://localhost/test_shop?init_command=USE shop", None, ""),
        ("mysql+pymysql://localhost", None, "localhost"),
        ("oracle+oracledb://localhost/test_shop", None, ""),
        ("postgresql+nosuchdriver://localhost/test_shop", None, ""),
        ("sqlite+libsql://test_shop.example.org", None, ""),
    ],
)
def test_a_server_is_known_by_what_its_driver_gets(text: str, database: str | None, location: str) -> None:
    facts = facts_of(text)
    assert facts.database == database
    assert facts.location == location


def test_connect_args_win_over_the_url() -> None:
    assert facts_of("postgresql+psycopg://localhost/test_shop", dbname="shop").database != "test_shop"
    assert not is_disposable("postgresql+psycopg://localhost/test_shop", dbname="shop")


@pytest.mark.parametrize(
    ("environ", "database"),
    [
        pytest.param({"PGDATABASE": "shop"}, "shop", id="PGDATABASE names it"),
        pytest.param({"PGDATABASE": ""}, "app", id="an empty PGDATABASE leaves the user's name"),
        pytest.param({}, "app", id="so does none"),
        pytest.param({"PGSERVICE": "prod", "PGDATABASE": "test_shop"}, None, id="a service may name another"),
    ],
)
def test_the_process_environment_names_what_the_url_leaves_out(environ: dict[str, str], database: str | None) -> None:
    facts = _identity.facts_of_url(make_url("postgresql+psycopg://app@localhost"), None, environ)
    assert facts.database == database


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATABASE", "shop")
    assert _identity.facts_of_url(make_url("postgresql+psycopg://localhost")).database == "shop"


@pytest.mark.parametrize("value", [["shop"], object(), b"shop", 3, {"a": 1}])
def test_strange_connect_args_are_unknown_and_never_an_error(value: object) -> None:
    for text in ("postgresql+psycopg://localhost/test_shop", "mysql+pymysql://localhost/test_shop", "sqlite:///test_a"):
        for option in ("dbname", "database", "db", "dsn"):
            assert judge(_identity.facts_of_url(make_url(text), {option: value})).rule != "in-memory"


# --- sqlite3.connect, seen by the audit hook


@pytest.mark.parametrize(
    ("database", "disposable", "read_only"),
    [
        (":memory:", True, False),
        ("", True, False),
        ("test_a.db", True, False),
        ("shop.db", False, False),
        (b"shop.db", False, False),
        (b"test_a.db", True, False),
        (Path("test_a.db"), True, False),
        (Path("shop.db"), False, False),
        ("file:test_a.db", True, False),
        ("file:shop.db", False, False),
        ("file:shop.db?mode=ro", False, True),
        ("file:shop.db?immutable=1", False, True),
        ("file:shop.db?mode=rwc", False, False),
        ("file:shop.db?mode=memory", True, False),
        ("file:x/test_a.db?mode=ro", True, True),
        ("FILE:shop.db?mode=ro", False, False),
        (" file:shop.db?mode=ro", False, False),
        ("file:test_a.db%00?shop.db", True, False),
        ("file://remote/test_a.db", False, False),
        (3, False, False),
        (None, False, False),
        (object(), False, False),
    ],
)
def test_an_opening_is_judged_by_its_first_argument(database: object, disposable: bool, read_only: bool) -> None:
    opening = _identity.facts_of_sqlite_connect(database)
    assert bool(judge(opening.facts)) is disposable
    assert opening.read_only is read_only


@pytest.mark.parametrize(
    ("database", "harmful"),
    [
        pytest.param("file:test_a.db", True, id="the URI is a test database, the file of that name is not"),
        pytest.param("file:shop.db?mode=ro", True, id="the URI only reads, the file would be written"),
        pytest.param("file:shop.db?mode=memory", True, id="the URI is memory, the file is not"),
        pytest.param("file:/x/../test_b.db", False, id="both are test databases"),
        pytest.param("file:shop.db?x=/test_c.db", True, id="the file is a test database, the URI is not"),
    ],
)
def test_where_a_file_has_the_literal_name_the_worse_reading_counts(
    tmp_path: Path, database: str, harmful: bool
) -> None:
    literal = tmp_path / database
    literal.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "file:" / "x").mkdir(parents=True, exist_ok=True)
    literal.touch()
    facts, read_only = _identity.facts_of_sqlite_connect(database)
    assert (not judge(facts) and not read_only) is harmful


def test_the_projects_test_names_decide_which_reading_is_worse(tmp_path: Path) -> None:
    (tmp_path / "file:shop_test").touch()
    names = ("*_test",)
    assert judge(_identity.facts_of_sqlite_connect("file:shop_test", names).facts, names)
    (tmp_path / "file:test_a?mode=ro&x=_test").touch()
    facts, read_only = _identity.facts_of_sqlite_connect("file:test_a?mode=ro&x=_test", names)
    assert judge(facts, names) or read_only


@pytest.mark.parametrize("uri", [True, False])
@pytest.mark.parametrize(
    "database",
    [
        "shop.db",
        "file:shop.db",
        "file:sh%6fp.db",
        "file:link.db",
        "file:directory/../shop.db",
        "file:shop.db?mode=rw",
        "file:shop.db#test_a.db",
        "file:shop.db%00test_a",
        "file:///{}/shop.db",
        "file://localhost{}/shop.db",
        "directory/shop.db",
        "./directory//shop.db",
        ":memory:",
        "file::memory:",
        "file:x?mode=memory&cache=shared",
    ],
)
def test_sqlite_itself_opens_nothing_that_was_not_foreseen(tmp_path: Path, database: str, uri: bool) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "shop.db").touch()
    (tmp_path / "real" / "shop.db").touch()
    (tmp_path / "directory").symlink_to("real")
    (tmp_path / "link.db").symlink_to("real/shop.db")
    name = database.format(tmp_path)
    foreseen = _identity.facts_of_sqlite_connect(name).facts
    reached = opens(name, uri=uri)
    # Without uri=True, and where SQLite was not built to read URIs all the same, the name makes a new file.
    is_literal = bool(reached) and Path(reached).name.startswith("file:")
    assert is_literal or (foreseen.location == reached if reached else foreseen.in_memory)


# --- Properties


@given(st.one_of(st.text(), st.binary(), st.text().map("file:{}".format), st.text().map("file:test_a.db?{}".format)))
def test_no_name_makes_an_error(database: str | bytes) -> None:
    opening = _identity.facts_of_sqlite_connect(database)
    assert opening.facts.backend == "sqlite"
    assert opening.facts.location.isprintable()


@given(
    st.text(), st.dictionaries(st.sampled_from(["dbname", "host", "dsn", "uri", "init_command"]), st.text() | st.none())
)
def test_no_url_makes_an_error(database: str, connect_args: dict[str, Any]) -> None:
    for driver in (
        "sqlite",
        "postgresql+psycopg",
        "postgresql+asyncpg",
        "mysql+pymysql",
        "mariadb",
        "mssql",
        "nonsense",
    ):
        facts = _identity.facts_of_url(URL.create(driver, database=database), connect_args, NO_ENVIRONMENT)
        assert facts.location.isprintable()


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_no_spelling_of_a_file_without_a_test_name_is_disposable(name: str) -> None:
    if not name.startswith("test_") and name not in {".", ".."}:
        assert not judge(_identity.facts_of_sqlite_path(f"/no/such/directory/{name}"))
        assert not judge(_identity.facts_of_sqlite_path(f"/test_no/../{name}"))


# --- servers: to the letter


AT_SERVERS = {
    "a database of a host": ("postgresql+psycopg://app@db/shop", {}, Facts("postgresql", "shop", location="db/shop")),
    "several hosts": (
        "postgresql+psycopg://app@/shop?host=a&host=b",
        {},
        Facts("postgresql", "shop", location="a,b/shop"),
    ),
    "letters of all kinds": ("mariadb+pymysql://db/täglich", {}, Facts("mariadb", "täglich", location="db/täglich")),
    "a name that a first command switches": (
        "mysql+pymysql://db/test_shop",
        {"init_command": "USE shop"},
        Facts("mysql", None),
    ),
}


@pytest.mark.parametrize(("text", "connect_args", "facts"), AT_SERVERS.values(), ids=AT_SERVERS)
def test_a_server_url_tells_the_name_and_the_place(text: str, connect_args: dict[str, Any], facts: Facts) -> None:
    assert facts_of(text, **connect_args) == facts


@pytest.mark.parametrize(
    ("password", "host", "database", "name", "location"),
    [
        ("p", "rest@db", "test_shop", None, ""),
        ("p", "db", "test_shop@db/shop", None, ""),
        ("p", "db", "test_shop", "test_shop", "db/test_shop"),
        ("p", None, "test_shop", "test_shop", "test_shop"),
        (None, "rest@db", "test_shop", "test_shop", "rest@db/test_shop"),
    ],
)
def test_a_url_that_a_password_has_torn_tells_nothing(
    password: str | None, host: str | None, database: str, name: str | None, location: str
) -> None:
    url = URL.create("postgresql+psycopg", "app", password, host, None, database)
    assert _identity.facts_of_url(url, None, NO_ENVIRONMENT) == Facts("postgresql", name, location=location)


def test_what_cannot_be_read_is_unknown_and_keeps_its_backend() -> None:
    strange: Any = 5
    url = make_url("postgresql+psycopg://db/shop")
    assert _identity.facts_of_url(url, strange, NO_ENVIRONMENT) == Facts("postgresql", None)
    assert facts_of("sqlite:///shop.db", database=strange) == Facts("sqlite", None)
    assert _identity.facts_of_sqlite_path("/srv/a\0b") == Facts("sqlite", None, location="/srv/a\\x00b")
    assert _identity.facts_of_sqlite_connect(strange) == (Facts("sqlite", None), False)


def test_the_names_of_test_databases_tell_which_reading_does_more_harm() -> None:
    Path("file:dev.db").touch()
    Path("dev.db").touch()
    assert _identity.facts_of_sqlite_connect("file:dev.db", ["dev.db"]).facts.database == "file:dev.db"
    assert _identity.facts_of_sqlite_connect("file:dev.db", ["file:*"]).facts.database == "dev.db"
