"""Which database stands behind each schema of a connection, and what the judge says of it at that moment."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from engineroom import _project
from engineroom._guard.schemas import UNKNOWN, Schemas, ask, fold
from engineroom._project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two databases that are protected, and one that is not."""
    found = {name: tmp_path.resolve() / f"{name}.db" for name in ("shop", "stock", "test_shop")}
    for path in found.values():
        with closing(sqlite3.connect(path)) as opened:
            opened.execute("CREATE TABLE made (a)")
    return found


@pytest.fixture
def connection(files: dict[str, Path]) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(files["shop"], isolation_level=None)) as opened:
        yield opened


def identified(connection: sqlite3.Connection, *, in_memory: bool = False) -> Schemas:
    schemas = Schemas(in_memory=in_memory)
    assert schemas.is_stale
    schemas.identify(connection)
    assert schemas.is_stale is False
    return schemas


def attach(connection: sqlite3.Connection, file: object, alias: str) -> None:
    connection.execute(f'ATTACH ? AS "{alias}"', (str(file),))


def test_letters_of_ascii_alone_have_no_case() -> None:
    assert fold("MAIN É \ud800") == "main É \ud800"


def test_a_schema_is_found_by_its_name_in_any_case(connection: sqlite3.Connection, files: dict[str, Path]) -> None:
    attach(connection, files["test_shop"], "Att")
    connection.execute("CREATE TEMPORARY TABLE a (b)")
    schemas = identified(connection)
    main, attached = schemas.main, schemas.find("aTT")
    assert main.path == str(files["shop"])
    assert not main.is_disposable
    assert attached is not None
    assert attached.path == str(files["test_shop"])
    assert attached.is_disposable
    assert schemas.find(None) is schemas.find("MAIN") is main
    assert schemas.find("TEMP") is None
    assert list(schemas.databases) == [main, attached]
    assert schemas.protected_names == ["main"]
    assert schemas.protects(None)
    assert schemas.protects("MAIN")
    assert not schemas.protects("att")
    assert not schemas.protects("nobody's")


def test_the_worst_of_what_is_being_attached_counts_for_a_name_that_is_not_known(
    connection: sqlite3.Connection, files: dict[str, Path]
) -> None:
    schemas = identified(connection)
    nobody = schemas.find("att")
    assert nobody is not None
    assert nobody.facts == UNKNOWN
    assert not nobody.is_disposable
    harmless = schemas.attach(str(files["test_shop"]))
    assert harmless.is_disposable
    assert schemas.is_stale
    assert schemas.find("att") is harmless
    schemas.attach(":memory:")
    protected = schemas.attach(str(files["stock"]))
    assert not protected.is_disposable
    assert schemas.find("att") is protected
    assert list(schemas.databases[3:]) == [protected]
    unknown = schemas.attach(None)
    assert unknown.facts == UNKNOWN
    assert not unknown.is_disposable
    schemas.identify(connection)
    assert list(schemas.databases) == [schemas.main]


def test_a_schema_that_goes_is_forgotten(connection: sqlite3.Connection, files: dict[str, Path]) -> None:
    for alias in ("one", "two"):
        attach(connection, files["test_shop"], alias)
    schemas = identified(connection)
    schemas.detach("ONE")
    assert schemas.is_stale
    assert len(schemas.databases) == 2
    assert schemas.find("two") is schemas.databases[1]
    schemas.detach("nobody's")
    schemas.detach(None)
    assert list(schemas.databases) == [schemas.main]
    schemas.identify(connection)
    assert len(schemas.databases) == 3


def test_a_database_is_judged_once_for_each_file(connection: sqlite3.Connection, files: dict[str, Path]) -> None:
    attach(connection, files["test_shop"], "att")
    schemas = identified(connection)
    main, attached = schemas.databases
    connection.execute("DETACH att")
    attach(connection, files["stock"], "att")
    schemas.identify(connection)
    assert schemas.main is main
    assert schemas.databases[1].path == str(files["stock"])
    assert not schemas.databases[1].is_disposable
    assert attached.is_disposable


def test_a_name_for_what_is_in_memory_is_no_file(connection: sqlite3.Connection) -> None:
    schemas = identified(connection, in_memory=True)
    assert schemas.main.path == ""
    assert schemas.main.is_disposable
    assert schemas.main.facts.in_memory


def test_an_exchanged_schema_is_in_memory_until_it_goes(connection: sqlite3.Connection, files: dict[str, Path]) -> None:
    attach(connection, files["stock"], "att")
    schemas = identified(connection)
    schemas.exchange("ATT")
    assert schemas.is_stale
    schemas.identify(connection)
    assert [judged.path for judged in schemas.databases] == [str(files["shop"]), ""]
    assert schemas.databases[1].is_disposable
    schemas.detach("att")
    schemas.identify(connection)
    assert schemas.databases[1].path == str(files["stock"])


class Telling:
    """A connection that tells databases as it is told to; sqlite3 of some platforms has no memdb."""

    text_factory: Any = str

    def __init__(self, **databases: str | None) -> None:
        self.databases = databases
        self.row_factory: Any = None

    def cursor(self) -> Telling:
        return self

    def execute(self, question: str) -> Telling:
        assert question == "PRAGMA database_list"
        return self

    def fetchall(self) -> list[tuple[int, str, str | None]]:
        return [(at, name, file) for at, (name, file) in enumerate(self.databases.items())]

    def close(self) -> None:
        pass


def test_the_literal_of_one_attach_is_better_than_a_name_that_is_no_file(files: dict[str, Path]) -> None:
    known: dict[str, str | None] = {"main": None, "temp": ""}
    schemas = Schemas(in_memory=False)
    schemas.identify(Telling(**known))
    schemas.attach(":memory:")
    schemas.identify(Telling(**known, att="/a memdb"))
    assert [judged.path for judged in schemas.databases] == ["", ""]
    schemas.attach(":memory:")
    schemas.identify(Telling(**known, att="", file=str(files["shop"])))
    assert schemas.databases[2].path == str(files["shop"])
    schemas.attach(":memory:")
    schemas.attach(":memory:")
    schemas.identify(Telling(**known, att="", file=str(files["shop"]), one="/a memdb", two="/a memdb"))
    assert [judged.path for judged in schemas.databases[3:]] == ["/a memdb", "/a memdb"]
    schemas.attach(str(files["stock"]))
    schemas.identify(Telling(**known, three="/a memdb"))
    assert schemas.databases[1].path == "/a memdb"


def test_a_second_name_of_a_file_counts_from_when_it_is_made(
    connection: sqlite3.Connection, files: dict[str, Path], tmp_path: Path
) -> None:
    attach(connection, files["test_shop"], "att")
    attached = identified(connection).databases[1]
    assert attached.is_disposable
    os.link(files["test_shop"], tmp_path / "other.db")
    assert attached.verdict.disposable
    assert not attached.is_disposable
    files["test_shop"].unlink()
    assert attached.is_disposable


def test_a_question_leaves_the_factories_of_the_application(connection: sqlite3.Connection) -> None:
    connection.text_factory = bytes
    connection.row_factory = sqlite3.Row
    assert ask(connection, "SELECT 'a'") == [("a",)]
    assert connection.text_factory is bytes
    assert connection.row_factory is sqlite3.Row
    with pytest.raises(sqlite3.OperationalError):
        ask(connection, "SELECT nothing")
    assert connection.text_factory is bytes


def test_an_attachment_whose_name_cannot_be_read_is_unknown(connection: sqlite3.Connection) -> None:
    schemas = identified(connection)
    assert not schemas.attach("file:%zz?vfs=nobody's&mode=memory&mode=ro").is_disposable


def test_where_the_project_cannot_be_read_an_attachment_is_unknown(
    connection: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas = identified(connection)
    (tmp_path / "pyproject.toml").write_text("[tool.engineroom\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(_project._chosen, "project", raising=False)
    attached = schemas.attach(":memory:")
    assert attached.facts == UNKNOWN
    assert attached.verdict.disposable is False


def test_an_attachment_that_can_be_read_in_two_ways_is_the_worse_one_by_the_projects_own_names(
    connection: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas = identified(connection)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(_project._chosen, "project", Project(root=tmp_path, test_names=("shop_spec.db",)))
    assert schemas.attach("file:shop_spec.db").is_disposable
    (tmp_path / "file:shop_spec.db").touch()
    assert not schemas.attach("file:shop_spec.db").is_disposable


def test_an_applications_own_cursors_answer_no_question(files: dict[str, Path]) -> None:
    class Own(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            raise AssertionError

    with closing(sqlite3.connect(files["shop"], factory=Own)) as connection:
        assert ask(connection, "SELECT 1") == [(1,)]
