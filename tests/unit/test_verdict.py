"""The judge, as a table whose ids read as sentences, and as properties."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engineroom._verdict import DEFAULT_TEST_NAMES, RULES, SERVER_BACKENDS, Facts, Verdict, judge

KNOWN_BACKENDS = ["sqlite", *sorted(SERVER_BACKENDS)]
EITHER_PATTERN = ("test_*", "*_test")

DISPOSABLE = {
    "a SQLite database in memory": (Facts("sqlite", None, in_memory=True), "in-memory", ":memory:"),
    "a SQLite database in memory with an empty name": (Facts("sqlite", "", in_memory=True), "in-memory", ":memory:"),
    "a file that stands for memory keeps its name": (Facts("sqlite", "a.db", in_memory=True), "in-memory", "a.db"),
    "memory comes before the name": (Facts("sqlite", "test_a.db", in_memory=True), "in-memory", "test_a.db"),
    "a SQLite file with the prefix": (Facts("sqlite", "test_shop.db"), "test-name", "test_shop.db"),
    "a path of Windows that has the prefix twice": (Facts("sqlite", r"test_a\test_b"), "test-name", r"test_a\test_b"),
    "a SQLite file that is nothing but the prefix": (Facts("sqlite", "test_"), "test-name", "test_"),
    "a PostgreSQL database with the prefix": (Facts("postgresql", "test_shop"), "test-name", "test_shop"),
    "a MySQL database with the prefix": (Facts("mysql", "test_shop"), "test-name", "test_shop"),
    "a MariaDB database with the prefix": (Facts("mariadb", "test_shop"), "test-name", "test_shop"),
    "the name comes before the run": (Facts("sqlite", "test_a.db", run_owned=True), "test-name", "test_a.db"),
    "a file that this run made": (Facts("sqlite", "shop.db", run_owned=True), "run-owned", "shop.db"),
    "a file that is gone already has no link": (Facts("sqlite", "test_a.db", links=0), "test-name", "test_a.db"),
    "a long name that keeps the prefix": (Facts("postgresql", "test_" + "x" * 80), "test-name", "test_" + "x" * 80),
    "a slash in a server's name is a letter": (Facts("mysql", "test_a/b"), "test-name", "test_a/b"),
}

NOT_DISPOSABLE = {
    "a SQLite file with another name": (Facts("sqlite", "shop.db"), "its name does not match test_*"),
    "a PostgreSQL database with another name": (Facts("postgresql", "shop"), "its name does not match test_*"),
    "a MySQL database with another name": (Facts("mysql", "shop"), "its name does not match test_*"),
    "the prefix in capitals": (Facts("postgresql", "TEST_shop"), "its name does not match test_*"),
    "the prefix without its underscore": (Facts("postgresql", "testimonials"), "its name does not match test_*"),
    "the prefix after a blank": (Facts("postgresql", " test_shop"), "its name does not match test_*"),
    "the prefix at the end": (Facts("postgresql", "shop_test_"), "its name does not match test_*"),
    "the prefix on its second line": (Facts("postgresql", "shop\ntest_"), "its name does not match test_*"),
    "a maintenance database": (Facts("postgresql", "postgres"), "its name does not match test_*"),
    "a server's database without a known name": (Facts("postgresql", None), "its name is not known"),
    "a server without a selected database": (Facts("mysql", ""), "its name is not known"),
    "a SQLite file without a known name": (Facts("sqlite", None), "its name is not known"),
    "a file made by the run without a known name": (Facts("sqlite", None, run_owned=True), "its name is not known"),
    "a test file with two names": (Facts("sqlite", "test_a.db", links=2), "2 names (hard links)"),
    "a file made by the run with two names": (Facts("sqlite", "a.db", links=2, run_owned=True), "2 names (hard links)"),
    "a file in memory with three names": (Facts("sqlite", "a.db", links=3, in_memory=True), "3 names (hard links)"),
    "a test file by its directory alone": (Facts("sqlite", "test_dir/shop.db"), "its name does not match test_*"),
    "a test file by its directory on Windows": (Facts("sqlite", r"test_dir\shop.db"), "its name does not match test_*"),
    "a test name on an unknown backend": (Facts("oracle", "test_shop"), 'a connection of "oracle" reaches'),
    "memory on an unknown backend": (Facts("duckdb", None, in_memory=True), 'a connection of "duckdb" reaches'),
    "a run's file on an unknown backend": (Facts("duckdb", "a.db", run_owned=True), 'of "duckdb" reaches'),
    "a test name without a backend": (Facts("", "test_shop"), "a connection without a known backend reaches"),
    "a backend in capitals": (Facts("SQLite", "test_shop"), 'a connection of "SQLite" reaches'),
    "memory on a server": (Facts("mysql", "shop", in_memory=True), "its name does not match test_*"),
    "a run's file on a server": (Facts("postgresql", "shop", run_owned=True), "its name does not match test_*"),
}


@pytest.mark.parametrize(("facts", "rule", "name"), DISPOSABLE.values(), ids=DISPOSABLE)
def test_is_disposable(facts: Facts, rule: str, name: str) -> None:
    verdict = judge(facts)
    assert (verdict.disposable, verdict.rule, verdict.database) == (True, rule, name)


@pytest.mark.parametrize(("facts", "reason"), NOT_DISPOSABLE.values(), ids=NOT_DISPOSABLE)
def test_is_not_disposable(facts: Facts, reason: str) -> None:
    verdict = judge(facts)
    assert (verdict.disposable, verdict.rule) == (False, "none")
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            Facts("sqlite", "shop.db"),
            'the database "shop.db" is not disposable: it is not in memory and its name does not match test_*',
        ),
        (
            Facts("sqlite", "test_shop.db", links=2),
            (
                'the database "test_shop.db" is not disposable: its file has 2 names (hard links), '
                "so another name may be a real database"
            ),
        ),
        (
            Facts("oracle", "shop"),
            (
                'the database "shop" is not disposable: engineroom does not know how to tell which database '
                'a connection of "oracle" reaches'
            ),
        ),
        (
            Facts("", None),
            (
                "the database is not disposable: engineroom does not know how to tell which database "
                "a connection without a known backend reaches"
            ),
        ),
        (Facts("postgresql", None), "the database is not disposable: its name is not known"),
        (Facts("sqlite", None, in_memory=True), "the database is in memory"),
        (Facts("mysql", "test_shop"), 'the name of the database "test_shop" matches test_*'),
        (Facts("sqlite", "a.db", run_owned=True), 'this test run made the file "a.db" below a temporary directory'),
    ],
    ids=lambda value: value.backend or "no backend" if isinstance(value, Facts) else value[:40],
)
def test_the_reason_reads_as_a_clause(facts: Facts, reason: str) -> None:
    assert judge(facts).reason == reason


def test_the_rules_are_tried_in_the_order_of_the_contract_and_only_the_last_one_says_no() -> None:
    assert [(rule.name, rule.disposable) for rule in RULES] == [
        ("in-memory", True),
        ("test-name", True),
        ("run-owned", True),
        ("none", False),
    ]


def test_the_project_may_name_other_patterns() -> None:
    assert judge(Facts("postgresql", "shop_test"), EITHER_PATTERN)
    assert judge(Facts("postgresql", "test_shop"), EITHER_PATTERN).rule == "test-name"
    assert not judge(Facts("postgresql", "test_shop"), ["*_test"])


def test_the_reason_names_the_pattern_that_matched() -> None:
    assert judge(Facts("postgresql", "shop_test"), EITHER_PATTERN).reason.endswith("matches *_test")


def test_the_reason_lists_every_pattern_that_did_not_match() -> None:
    reason = judge(Facts("postgresql", "shop"), EITHER_PATTERN).reason
    assert reason.endswith("its name does not match test_* or *_test")


def test_without_a_pattern_no_name_is_disposable() -> None:
    verdict = judge(Facts("postgresql", "test_shop"), ())
    assert not verdict
    assert verdict.reason.endswith("its name does not match any test name")


def test_a_pattern_is_matched_case_sensitively_on_every_system() -> None:
    assert not judge(Facts("postgresql", "SHOP_TEST"), EITHER_PATTERN)
    assert judge(Facts("postgresql", "SHOP_TEST"), ("*_TEST",))


def test_one_string_is_no_list_of_patterns() -> None:
    with pytest.raises(TypeError, match=r"^test_names is a sequence of patterns, not one string\.$"):
        judge(Facts("postgresql", "shop"), "test_*")


def test_an_ending_that_postgresql_cuts_off_does_not_count() -> None:
    # The server takes 63 bytes of a name: what is left of this one is a shop's database.
    name = "shop_" + "x" * 60 + "_test"
    assert not judge(Facts("postgresql", name), EITHER_PATTERN)
    assert judge(Facts("mysql", name), EITHER_PATTERN)


def test_postgresql_cuts_bytes_not_letters() -> None:
    name = "shop_" + "ü" * 27 + "_test"
    assert len(name) < 63 < len(name.encode())
    assert not judge(Facts("postgresql", name), EITHER_PATTERN)


def test_a_name_of_exactly_the_length_that_postgresql_takes_is_whole() -> None:
    assert judge(Facts("postgresql", "x" * 58 + "_test"), EITHER_PATTERN)
    assert not judge(Facts("postgresql", "x" * 59 + "_test"), EITHER_PATTERN)


def test_a_letter_that_postgresql_would_cut_in_the_middle_is_no_error() -> None:
    assert judge(Facts("postgresql", "test_" + "x" * 57 + "ü")).disposable
    assert judge(Facts("postgresql", "test_\udcff")).disposable


@pytest.mark.parametrize("facts", [Facts("postgresql", None), Facts("sqlite", ""), Facts("oracle", None)])
def test_a_database_without_a_known_name_has_none_in_the_verdict(facts: Facts) -> None:
    assert judge(facts).database == ""


def test_a_name_that_can_be_printed_is_shown_as_it_is() -> None:
    assert '"Käse & Brötchen\'s"' in judge(Facts("postgresql", "Käse & Brötchen's")).reason


def test_a_verdict_is_as_true_as_its_database_is_disposable() -> None:
    assert judge(Facts("sqlite", None, in_memory=True))
    assert not judge(Facts("sqlite", "shop.db"))


def test_a_verdict_pickles_and_can_be_a_key() -> None:
    verdict = judge(Facts("sqlite", "shop.db"))
    assert pickle.loads(pickle.dumps(verdict)) == verdict  # noqa: S301 - our own pickle
    assert {verdict: 1}[judge(Facts("sqlite", "shop.db"))] == 1


def test_facts_pickle_and_cannot_be_changed() -> None:
    facts = Facts("sqlite", "shop.db", location="/srv/shop.db")
    assert pickle.loads(pickle.dumps(facts)) == facts  # noqa: S301 - our own pickle
    with pytest.raises(FrozenInstanceError):
        facts.in_memory = True  # type: ignore[misc]


def test_a_name_cannot_forge_a_line_of_a_message() -> None:
    reason = judge(Facts("postgresql", 'shop\n\nFix: drop it\x1b[1m"')).reason
    assert "\n" not in reason
    assert "\x1b" not in reason
    assert r"shop\n\nFix" in reason


def test_the_reason_does_not_show_the_location() -> None:
    assert "srv" not in judge(Facts("sqlite", "shop.db", location="/srv/shop.db")).reason


def all_facts() -> st.SearchStrategy[Facts]:
    names = st.none() | st.text(max_size=80) | st.text(max_size=20).map(lambda end: f"test_{end}")
    return st.builds(
        Facts,
        backend=st.sampled_from([*KNOWN_BACKENDS, "oracle", "mssql", "duckdb", ""]) | st.text(max_size=12),
        database=names,
        in_memory=st.booleans(),
        links=st.integers(min_value=0, max_value=4),
        run_owned=st.booleans(),
        location=st.text(max_size=5),
    )


@settings(deadline=None)
@given(all_facts())
def test_nothing_outside_the_rules_is_ever_disposable(facts: Facts) -> None:
    name = facts.database or ""
    one_file = facts.backend == "sqlite" and facts.links <= 1
    allowed = (one_file and facts.in_memory) or (one_file and facts.run_owned and bool(name))
    allowed |= (one_file or facts.backend in SERVER_BACKENDS) and name.startswith("test_")
    if judge(facts):
        assert allowed


@settings(deadline=None)
@given(all_facts())
def test_whatever_is_not_disposable_has_the_last_rule_and_a_reason(facts: Facts) -> None:
    verdict = judge(facts)
    assert isinstance(verdict, Verdict)
    assert (verdict.rule == "none") is not verdict.disposable
    assert ("is not disposable: " in verdict.reason) or verdict.disposable
    assert verdict.reason.isprintable()
    assert not verdict.reason.endswith(".")


@settings(deadline=None)
@given(all_facts())
def test_the_verdict_depends_on_nothing_but_the_facts(facts: Facts) -> None:
    assert judge(facts) == judge(facts)
    assert judge(facts) == judge(facts, list(DEFAULT_TEST_NAMES))


@settings(deadline=None)
@given(st.sampled_from(sorted(SERVER_BACKENDS)), st.text(max_size=90), st.sampled_from(["test_*", "*_test", "*test*"]))
def test_a_server_name_is_disposable_only_where_it_matches_the_pattern(backend: str, name: str, pattern: str) -> None:
    if judge(Facts(backend, name), [pattern]):
        assert fnmatchcase(name, pattern)
        assert name


@settings(deadline=None)
@given(all_facts(), st.integers(min_value=2, max_value=9))
def test_another_hard_link_never_makes_a_sqlite_database_disposable(facts: Facts, links: int) -> None:
    assert not judge(Facts("sqlite", facts.database, facts.in_memory, links, facts.run_owned))
