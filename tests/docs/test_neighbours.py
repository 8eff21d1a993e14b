"""The page of neighbours says what the runs of their suites found, and each neighbour has been run to its end."""

from __future__ import annotations

from neighbours.page import PAGE, read_results, read_table, write_page


def test_the_page_is_written_from_the_results() -> None:
    assert PAGE.read_text() == write_page(), "run: python neighbours/page.py"


def test_each_neighbour_was_run_to_its_end_and_noticed_nothing() -> None:
    versions = {name: (row["version"], "same") for name, row in read_table().items()}
    assert {name: (row["version"], row["result"]) for name, row in read_results().items()} == versions


def test_there_are_a_dozen_of_them_and_they_run_many_tests() -> None:
    tests = {name: row["tests"] for name, row in read_results().items()}
    assert len(tests) >= 12
    assert min(tests.values()) >= 20, tests
