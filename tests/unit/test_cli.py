"""The command line: what ``engineroom clean`` removes, what stays, and how it is told."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from engineroom import _memory
from engineroom._schema.place import Place
from engineroom.cli import main
from engineroom.testing import databases
from engineroom.testing._server_databases import claim_database
from engineroom.testing.databases import drop_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import URL


class Places:
    """Where runs and images are kept, and what is there."""

    def __init__(self, root: Path) -> None:
        self.runs, self.images = root / "shm", root / "cache" / "engineroom"
        self.runs.mkdir()
        self.images.mkdir(parents=True, mode=0o700)

    def add_run(self, name: str) -> Path:
        directory = self.runs / f"engineroom-{name}"
        directory.mkdir(mode=0o700)
        (directory / "lock").write_bytes(_memory.LOCK_TEXT)
        (directory / "test_default.db").write_bytes(b"SQLite format 3")
        return directory

    def clean(self) -> list[dict[str, object]]:
        """Return what the command says as JSON."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main(["clean", "--json"])
        items: list[dict[str, object]] = json.loads(out.getvalue())["items"]
        return items

    def add_image(self, name: str) -> Path:
        path = self.images / f"schema-{name}.image"
        path.write_bytes(b"engineroom image 1")
        return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    places = Places(tmp_path)
    monkeypatch.setattr(_memory, "storage_directories", lambda: (places.runs,))
    yield places
    places.images.chmod(stat.S_IRWXU)


def test_what_killed_runs_and_earlier_builds_left_is_removed(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    run, image = places.add_run("killed"), places.add_image("a")
    assert main(["clean"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"removed the databases of a killed run: {run}",
        f"removed the image of a schema: {image}",
    ]
    assert not run.exists()
    assert not image.exists()
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_a_run_that_goes_on_and_what_is_not_ours_stays(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    live = _memory.start_run()
    stranger = places.runs / "engineroom-notes"
    stranger.mkdir(mode=0o755)
    (places.images / "notes.txt").write_text("mine")
    (places.images / "schema-link.image").symlink_to(places.images / "notes.txt")
    assert live.parent == places.runs
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    assert live.exists()
    assert stranger.exists()
    assert (places.images / "notes.txt").exists()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_databases_that_runs_left_on_a_server_are_removed(
    places: Places, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url: URL = request.getfixturevalue(f"{kind}_url")
    name = f"test_clean_{secrets.token_hex(4)}"
    wanted = Place(url.set(database=name))
    monkeypatch.setenv("TEST_DATABASE_URL", wanted.url.render_as_string(hide_password=False))
    server = databases._server_of(wanted)
    assert server is not None
    first = claim_database(server, wanted, lambda _: True)
    second = claim_database(server, wanted, lambda _: True)
    try:
        second.close()
        assert places.clean() == [{"kind": "database", "name": f"{name}_r2", "is_removed": True}]
        first.close()
        assert places.clean() == [{"kind": "database", "name": name, "is_removed": True}]
        assert places.clean() == []
    finally:
        first.close()
        drop_database(wanted)


def test_a_server_that_does_not_answer_is_a_finding(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql+psycopg://app:secret@127.0.0.1:1/test_shop")
    assert places.images.exists()
    assert main(["clean"]) == 1
    out = capsys.readouterr().out
    assert "could not remove what is left on a server that did not answer" in out
    assert "secret" not in out


def test_json_is_for_programs(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    run, image = places.add_run("killed"), places.add_image("a")
    assert main(["clean", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "items": [
            {"kind": "run", "name": str(run), "is_removed": True},
            {"kind": "image", "name": str(image), "is_removed": True},
        ]
    }
    assert main(["clean", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": []}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_what_cannot_be_removed_is_a_finding(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    image = places.add_image("a")
    places.images.chmod(0o500)
    assert main(["clean"]) == 1
    assert capsys.readouterr().out == f"could not remove the image of a schema: {image}\n"


@pytest.mark.parametrize("arguments", [[], ["clear"], ["clean", "--now"], ["clean", "more"]])
def test_wrong_usage_exits_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: engineroom" in capsys.readouterr().err


def test_help_says_what_is_removed_and_loads_no_sqlalchemy() -> None:
    code = (
        "import sys\nfrom engineroom.cli import main\ntry:\n    main(['clean', '--help'])\nfinally:\n"
        "    assert 'sqlalchemy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Nothing is removed that engineroom did not make" in " ".join(done.stdout.split())
