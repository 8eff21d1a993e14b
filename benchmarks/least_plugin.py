"""The least that a plugin can be which sees files and drivers, knows the running test, and offers four fixtures.

It does nothing: what it costs is the price of being there, which Python and pytest ask of any such plugin.
"""

from __future__ import annotations

import sys

import pytest

EVENTS = frozenset({"sqlite3.connect"})
ran = [""]


def hear(event: str, arguments: tuple[object, ...]) -> None:
    """Look whether an audit event is of interest; none is."""
    if event in EVENTS:
        print(event, arguments)


sys.addaudithook(hear)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid: str) -> None:
    """Note which test is running."""
    ran[0] = nodeid


@pytest.fixture(scope="session")
def db_engine() -> None:
    """Offer a fixture."""


@pytest.fixture
def db_session() -> None:
    """Offer a fixture."""


@pytest.fixture(scope="session")
def async_db_engine() -> None:
    """Offer a fixture."""


@pytest.fixture
def async_db_session() -> None:
    """Offer a fixture."""


def __dir__() -> list[str]:
    """List what pytest needs, as the plugin does."""
    return ["async_db_engine", "async_db_session", "db_engine", "db_session", "pytest_runtest_logstart"]
