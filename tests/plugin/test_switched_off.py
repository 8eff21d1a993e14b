"""What is left where the plugin is not there: ``get_engine`` under pytest, and the guard under every other runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import SmallProject

TESTS = """
    import sqlite3, unittest
    from sqlalchemy import text
    import engineroom

    class Tests(unittest.TestCase):
        def test_get_engine(self):
            with self.assertRaises(engineroom.RefusalError):
                with engineroom.get_engine("sqlite:///shop.db").begin() as connection:
                    connection.execute(text("DROP TABLE articles"))

        def test_another_connection(self):  # nobody stops it, as the threat model says
            sqlite3.connect("shop.db").close()
"""
SWITCHED_OFF = {
    "by an option": (("-m", "pytest", "-p", "no:engineroom"), {}),
    "by a variable": (("-m", "pytest"), {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
    "under unittest": (("-m", "unittest"), {}),
}


@pytest.mark.parametrize(("command", "environ"), SWITCHED_OFF.values(), ids=SWITCHED_OFF.keys())
def test_without_the_plugin_the_factory_loses_nothing(
    lone_project: SmallProject, command: tuple[str, ...], environ: dict[str, str]
) -> None:
    lone_project.write(test_a=TESTS)
    before = lone_project.digest()
    outcome = lone_project.python(*command, APP_ENV="production", **environ)
    assert outcome.code == 0, outcome.out + outcome.err
    assert lone_project.digest() == before


def test_the_plugin_can_be_switched_off_for_a_project(lone_project: SmallProject) -> None:
    lone_project.write_text("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '-p no:engineroom'\n")
    lone_project.write(
        test_a="import os\ndef test_a(): assert not [n for n in os.environ if n.startswith('ENGINEROOM')]"
    )
    assert lone_project.pytest().counts == {"passed": 1}
