"""Whether the development database is the same after the run: no change is missed, and none is made up."""

from __future__ import annotations

import json
import os
import sqlite3
import time
import timeit
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom import _lifecycle
from engineroom._environment import Environment
from engineroom._project import Project
from engineroom.testing import proof as proof_module
from engineroom.testing.proof import Proof, Verification, find_development_databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _look_after_each_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_module, "LEAST_SECONDS", 0)


@pytest.fixture(params=["delete", "wal"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return make_database(tmp_path / "shop.db", request.param)


@pytest.fixture
def open_shop(shop: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection that stays open over the run, as a development server's does."""
    with closing(sqlite3.connect(shop, isolation_level=None)) as connection:
        connection.execute("SELECT * FROM articles").fetchall()
        yield connection


def make_database(path: Path, journal_mode: str = "delete") -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.executescript("CREATE TABLE articles (name TEXT); INSERT INTO articles VALUES ('anchor');")
    return path


def insert(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO articles VALUES ('boat')")


def watching(*paths: Path, directory: Path | None = None) -> Proof:
    proof = Proof(directory)
    proof.watch([str(path) for path in paths])
    return proof


def only(proof: Proof, root: Path) -> Verification:
    (verification,) = proof.verify(root)
    return verification


# --- Unchanged


def test_a_database_that_nobody_touched_is_unchanged(shop: Path, tmp_path: Path) -> None:
    verification = only(watching(shop), tmp_path)
    assert (verification.path, verification.is_unchanged, verification.tests) == ("shop.db", True, ())
    assert str(verification) == "the development database shop.db is unchanged."


def read(path: Path) -> None:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT * FROM articles").fetchall()


def open_and_close(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT * FROM articles").fetchall()


def roll_back(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("act", [read, open_and_close, roll_back, Path.read_bytes, Path.stat])
def test_a_reader_changes_nothing(shop: Path, tmp_path: Path, act: Callable[[Path], object]) -> None:
    proof = watching(shop)
    act(shop)
    proof.check("test_a")
    assert only(proof, tmp_path).is_unchanged


def test_a_connection_that_stays_open_changes_nothing(
    shop: Path, tmp_path: Path, open_shop: sqlite3.Connection
) -> None:
    proof = watching(shop)
    open_shop.execute("SELECT * FROM articles").fetchall()
    proof.check("test_a")
    assert only(proof, tmp_path).is_unchanged


# --- Changed


def overwrite(path: Path) -> None:
    path.write_bytes(b"nothing")


def replace(path: Path) -> None:
    make_database(path.with_name("other.db")).replace(path)


@pytest.mark.parametrize("act", [insert, overwrite, replace, Path.unlink])
def test_a_writer_is_noticed(shop: Path, tmp_path: Path, act: Callable[[Path], object]) -> None:
    proof = watching(shop)
    act(shop)
    verification = only(proof, tmp_path)
    assert not verification.is_unchanged
    assert verification.tests == ()
    assert "changed during the run, outside of any test" in str(verification)


def test_a_change_within_the_same_tick_of_the_clock_is_noticed_by_the_counter(tmp_path: Path) -> None:
    shop = make_database(tmp_path / "shop.db")
    proof, before = watching(shop), shop.stat()
    insert(shop)
    os.utime(shop, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not only(proof, tmp_path).is_unchanged


def test_a_writer_whose_connection_stays_open_is_noticed(
    shop: Path, tmp_path: Path, open_shop: sqlite3.Connection
) -> None:
    proof = watching(shop)
    open_shop.execute("INSERT INTO articles VALUES ('boat')")
    assert not only(proof, tmp_path).is_unchanged


def test_the_test_that_ran_is_named(shop: Path, tmp_path: Path) -> None:
    proof = watching(shop)
    proof.check("test_before")
    insert(shop)
    proof.check("test_during")
    proof.check("test_after")
    verification = only(proof, tmp_path)
    assert verification.tests == ("test_during",)
    assert str(verification) == (
        "the development database shop.db changed while test_during ran. Is a development server writing to it?"
    )


def test_each_test_that_ran_is_named(shop: Path, tmp_path: Path) -> None:
    proof = watching(shop)
    for number in range(2):
        insert(shop)
        proof.check(f"test_{number}")
    assert "while test_0 or test_1 ran" in str(only(proof, tmp_path))


def test_of_many_tests_the_first_and_the_last_are_named(shop: Path, tmp_path: Path) -> None:
    proof = watching(shop)
    for number in range(9):
        insert(shop)
        proof.check(f"test_{number}")
    assert "while one of 9 tests ran, from test_0 to test_8." in str(only(proof, tmp_path))


def test_between_short_tests_nobody_looks_and_all_of_them_are_named(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof_module, "LEAST_SECONDS", 60)
    proof = watching(shop)
    proof.check("test_first")
    insert(shop)
    proof.check("test_second")
    assert only(proof, tmp_path).tests == ("test_first", "test_second")


def test_what_changed_and_was_put_back_has_changed(shop: Path, tmp_path: Path) -> None:
    proof = watching(shop)
    content, before = shop.read_bytes(), shop.stat()
    shop.write_bytes(b"")
    proof.check("test_a")
    shop.write_bytes(content)
    os.utime(shop, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert only(proof, tmp_path).tests == ("test_a",)


def test_a_database_that_came_into_being_has_changed(tmp_path: Path) -> None:
    proof = watching(tmp_path / "development.db")
    make_database(tmp_path / "development.db")
    proof.check("test_a")
    assert only(proof, tmp_path).tests == ("test_a",)


# --- Which files


def test_where_there_is_no_database_there_is_nothing_to_tell(tmp_path: Path) -> None:
    proof = watching(tmp_path / "development.db")
    proof.check("test_a")
    assert proof.verify(tmp_path) == []
    assert Proof(None).verify(tmp_path) == []


def test_a_file_that_is_watched_already_stays_as_it_was_remembered(shop: Path, tmp_path: Path) -> None:
    proof = watching(shop)
    insert(shop)
    proof.watch([str(shop)])
    assert not only(proof, tmp_path).is_unchanged


def test_a_file_elsewhere_is_shown_with_its_whole_path(shop: Path, tmp_path: Path) -> None:
    assert only(watching(shop), tmp_path / "project").path == str(shop)


def test_several_databases_are_told_one_by_one(tmp_path: Path) -> None:
    first, second = make_database(tmp_path / "first.db"), make_database(tmp_path / "second.db")
    proof = watching(first, second)
    insert(second)
    assert [(said.path, said.is_unchanged) for said in proof.verify(tmp_path)] == [
        ("first.db", True),
        ("second.db", False),
    ]


# --- Workers


def test_workers_watch_what_the_controller_watches(shop: Path, tmp_path: Path) -> None:
    controller, worker = watching(shop, directory=tmp_path), Proof(tmp_path)
    controller.share()
    worker.join()
    insert(shop)
    worker.check("test_in_the_worker")
    assert only(controller, tmp_path).tests == ("test_in_the_worker",)


def test_what_several_workers_noticed_is_told_once(shop: Path, tmp_path: Path) -> None:
    controller = watching(shop, directory=tmp_path)
    controller.share()
    workers = [Proof(tmp_path) for _ in range(2)]
    for worker in workers:
        worker.join()
    insert(shop)
    for number, worker in enumerate(workers):
        worker.check(f"test_{number}")
        worker.check("test_later")
    assert only(controller, tmp_path).tests == ("test_0", "test_1")


def test_a_second_run_that_watches_nothing_has_its_workers_watch_nothing(shop: Path, tmp_path: Path) -> None:
    watching(shop, directory=tmp_path).share()
    watching(directory=tmp_path).share()
    worker = Proof(tmp_path)
    worker.join()
    insert(shop)
    assert list(worker.verify(tmp_path)) == []


def test_a_second_run_in_the_same_process_starts_afresh(shop: Path, tmp_path: Path) -> None:
    first = watching(shop, directory=tmp_path)
    first.share()
    insert(shop)
    first.check("test_a")
    second = watching(shop, directory=tmp_path)
    second.share()
    assert only(second, tmp_path).is_unchanged


@pytest.mark.parametrize("content", [None, "", "[", '{"a"'])
def test_a_worker_without_a_list_watches_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / proof_module.WATCHED_FILE).write_text(content)
    worker = Proof(tmp_path)
    worker.join()
    worker.check("test_a")
    assert worker.verify(tmp_path) == []


def test_a_run_whose_directory_is_gone_still_tells(shop: Path, tmp_path: Path) -> None:
    proof = watching(shop, directory=tmp_path / "gone")
    insert(shop)
    proof.check("test_a")
    assert only(proof, tmp_path).tests == ("test_a",)


def test_looking_is_not_felt(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_module, "LEAST_SECONDS", 0.01)
    proof = watching(shop)
    started = time.perf_counter()
    seconds = timeit.timeit(lambda: proof.check("test_a"), number=10_000)
    assert seconds < 0.2, f"{seconds / 10_000 * 1e6:.1f} µs a test"
    assert time.perf_counter() - started < 1


# --- What the settings name

SETTINGS: list[tuple[dict[str, str], dict[str, str], list[str]]] = [
    ({}, {}, []),
    ({}, {"DATABASE_URL": "sqlite:///shop.db"}, ["shop.db"]),
    ({}, {"DATABASE_URL": "sqlite+aiosqlite:///data/shop.db"}, ["data/shop.db"]),
    ({}, {"DATABASE_URL": "sqlite:////srv/shop.db"}, ["/srv/shop.db"]),
    ({}, {"DATABASE_URL": "sqlite:///file:shop.db?uri=true"}, ["shop.db"]),
    ({}, {"DATABASE_URL": "sqlite:///my%20shop.db"}, ["my%20shop.db", "my shop.db"]),
    ({}, {"DATABASE_URL": "sqlite://"}, []),
    ({}, {"DATABASE_URL": "sqlite:///:memory:"}, []),
    ({}, {"DATABASE_URL": "postgresql://app:geheim@db.internal/shop"}, []),
    ({}, {"DATABASE_URL": "no url"}, []),
    ({}, {"ANALYTICS_DATABASE_URL": "sqlite:///analytics.db"}, ["analytics.db"]),
    ({}, {"TEST_DATABASE_URL": "sqlite:///shop.db"}, []),
    ({}, {"DATABASE_URL": "sqlite:///test_shop.db"}, []),
    ({".env": "DATABASE_URL=sqlite:///shop.db"}, {}, ["shop.db"]),
    ({".env": "DATABASE_URL='sqlite:///shop.db'  # here"}, {}, ["shop.db"]),
    ({".env.local": "DATABASE_URL=sqlite:///mine.db"}, {}, ["mine.db"]),
    ({".env.development": "database_url=sqlite:///shop.db"}, {}, ["shop.db"]),
    ({".env.staging": "DATABASE_URL=sqlite:///staging.db"}, {"APP_ENV": "staging"}, ["staging.db"]),
    ({".env.staging": "DATABASE_URL=sqlite:///staging.db"}, {}, []),
    ({".env.test": "DATABASE_URL=sqlite:///shop.db"}, {"APP_ENV": "test"}, []),
    ({".env": "DATABASE_URL=sqlite:///shop.db"}, {"APP_ENV": "test"}, ["shop.db"]),
    ({".env": "DATABASE_URL=sqlite:///one.db"}, {"DATABASE_URL": "sqlite:///two.db"}, ["one.db", "two.db"]),
    ({".env": "DATABASE_URL=sqlite:///shop.db"}, {"APP_ENV": "no such word"}, ["shop.db"]),
    ({".env": "this is no setting"}, {"DATABASE_URL": "sqlite:///shop.db"}, []),
]


@pytest.mark.parametrize(
    ("files", "environ", "databases"), SETTINGS, ids=[f"{files} {environ}" for files, environ, _ in SETTINGS]
)
def test_the_files_are_those_that_the_application_would_use(
    tmp_path: Path, files: dict[str, str], environ: dict[str, str], databases: list[str]
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    found = find_development_databases(Project(root=tmp_path), environ)
    default = str(tmp_path / "development.db")
    assert found[0] == default
    assert {os.path.relpath(path) if path.startswith(str(tmp_path)) else path for path in found[1:]} == set(databases)


def test_the_default_database_stands_in_the_root_of_the_project(tmp_path: Path) -> None:
    assert find_development_databases(Project(root=tmp_path / "shop"), {}) == [
        str(tmp_path / "shop" / "development.db")
    ]


def test_the_names_of_test_databases_are_the_projects(tmp_path: Path) -> None:
    project = Project(root=tmp_path, test_names=("*test", "*_Tests.db"))
    environ = {"A_DATABASE_URL": "sqlite:///shop_Tests.db", "B_DATABASE_URL": "sqlite:///test", "X": "sqlite:///x.db"}
    assert find_development_databases(project, environ) == [str(tmp_path / "development.db")]


def test_the_variable_that_selects_the_environment_is_the_projects(tmp_path: Path) -> None:
    (tmp_path / ".env.staging").write_text("DATABASE_URL=sqlite:///staging.db")
    project = Project(root=tmp_path, environment_variable="FLASK_ENV", environments={"qa": Environment.STAGING})
    found = find_development_databases(project, {"FLASK_ENV": "qa"})
    assert [Path(path).name for path in found] == ["development.db", "staging.db"]


def test_to_look_for_the_databases_freezes_nothing(tmp_path: Path) -> None:
    find_development_databases(Project(root=tmp_path), {"APP_ENV": "production"})
    assert _lifecycle.frozen_by() is None


@given(st.text())
def test_no_setting_is_too_strange(text: str) -> None:
    found = find_development_databases(Project(root=Path("/srv/shop")), {"DATABASE_URL": text})
    assert all(os.path.isabs(path) for path in found)  # noqa: PTH117  # as text


@given(st.text())
def test_no_path_is_too_strange(path: str) -> None:
    proof = Proof(None)
    proof.watch([path])
    proof.check("test_a")
    assert all(said.is_unchanged for said in proof.verify("/srv"))


def test_the_list_for_the_workers_is_plain_json(shop: Path, tmp_path: Path) -> None:
    watching(shop, directory=tmp_path).share()
    assert json.loads((tmp_path / proof_module.WATCHED_FILE).read_text()) == [str(shop)]
