"""Connections that were open before the plugin: the run stops and names who was too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

HOLDERS = {
    "a variable": "import sqlite3\nconnection = sqlite3.connect('shop.db')",
    "a subclass": "import sqlite3\nclass Ours(sqlite3.Connection): pass\none = [Ours('shop.db')]",
    "an engine": "from sqlalchemy import create_engine\nengine = create_engine('sqlite:///shop.db')\nengine.connect().close()",
    "an open connection of an engine": "from sqlalchemy import create_engine\n"
    "connection = create_engine('sqlite:///shop.db').connect()",
    "an object": "import sqlite3\nclass Repository:\n    def __init__(self): self.one = sqlite3.connect('shop.db')\n"
    "repository = Repository()",
}
FREE = {
    "memory": "import sqlite3\nconnection = sqlite3.connect(':memory:')",
    "a test database": "import sqlite3\nconnection = sqlite3.connect('test_shop.db')",
    "a closed one": "import sqlite3\nconnection = sqlite3.connect('shop.db')\nconnection.close()",
    "one that reads": "import sqlite3\nconnection = sqlite3.connect('file:shop.db?mode=ro', uri=True)",
    "an engine that never connected": "from sqlalchemy import create_engine\nengine = create_engine('sqlite:///shop.db')",
}
TEST = "def test_nothing():\n    pass\n"


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=list(HOLDERS))
def test_the_run_stops(lone_project: SmallProject, holder: str) -> None:
    before = lone_project.digest()
    lone_project.write_text("early.py", f"{holder}\n").write_text("test_it.py", TEST)
    outcome = lone_project.pytest("-p", "early", PYTHONPATH=str(lone_project.root))
    assert outcome.code == 4
    assert f"A connection to sqlite:///{lone_project.database} was opened before the test environment" in outcome.err
    assert "the module early keeps it" in outcome.err
    assert "pytest -p engineroom -p early" in outcome.err
    assert lone_project.digest() == before


def test_a_run_goes_on_with_what_does_no_harm(lone_project: SmallProject) -> None:
    names = []
    for number, text in enumerate(FREE.values()):
        lone_project.write_text(f"early_{number}.py", f"{text}\n")
        names += ["-p", f"early_{number}"]
    lone_project.write_text("test_it.py", TEST)
    assert lone_project.pytest(*names, PYTHONPATH=str(lone_project.root)).counts == {"passed": 1}


def test_the_plugin_loaded_first_is_a_way_out(lone_project: SmallProject) -> None:
    lone_project.write_text("early.py", f"try:\n    {HOLDERS['a variable'].splitlines()[0]}\nfinally: pass\n")
    lone_project.write_text("test_it.py", TEST)
    outcome = lone_project.pytest("-p", "engineroom", "-p", "early", PYTHONPATH=str(lone_project.root))
    assert outcome.counts == {"passed": 1}
