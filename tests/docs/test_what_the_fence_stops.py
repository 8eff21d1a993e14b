"""The page of scenarios says what the table says, whose rows are run."""

from __future__ import annotations

from tests.plugin.scenarios import GROUPS, PAGE, SCENARIOS, write_page


def test_the_page_is_written_from_the_table() -> None:
    assert PAGE.read_text() == write_page(), "run: python tests/plugin/scenarios.py"


def test_the_page_names_the_command_that_writes_it() -> None:
    assert "`python tests/plugin/scenarios.py`" in PAGE.read_text()


def test_every_row_has_a_sentence_of_its_own() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len(set(names))
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "what a test tries" not in line]
    assert len(rows) == len(names)
    assert sum(map(len, GROUPS.values())) == len(names)
