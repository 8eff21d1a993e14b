"""May a test run reach this database of a server?

Judges what a driver is about to dial, whoever tells it to: an engine of SQLAlchemy, or the application itself. Opens
nothing and hooks into nothing. Whoever calls it has hidden what is secret from tracebacks, so it raises nothing either:
it returns the error.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from engineroom._verdict import SERVER_BACKENDS, Facts, judge
from engineroom.testing._refusals import refuse, tell_test_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.engine import URL

    from engineroom._address import Address
    from engineroom.errors import FenceError
    from engineroom.testing._database_files import Terms

__all__ = ["MAINTENANCE", "find_allowed", "is_maintenance", "judge_driver", "judge_server", "tell_server"]

MAINTENANCE = {"postgresql": frozenset({"postgres", "template1"})}
"""The databases of a server that hold no data; what is done from there is judged by its target."""

PORTS = {"postgresql": 5432, "mysql": 3306}
MAKE_ENGINE = "make the engine with engineroom.get_engine(...), which selects the test database under pytest"
ASK_URL = "connect to the URL that engineroom.database_url() returns, which is the test database's under pytest"


def judge_driver(
    backend: str, driver: str, args: Sequence[object], kwargs: Mapping[str, Any], terms: Terms
) -> FenceError | None:
    """Return the error for a driver's final arguments, or None where it may connect.

    Args:
        backend: SQLAlchemy's name of the database system.
        driver: SQLAlchemy's name of the driver.
        args: The positional arguments.
        kwargs: The keyword arguments.
        terms: On which terms to judge.
    """
    from engineroom._address import address_of_arguments  # noqa: PLC0415  # it may be what SQLAlchemy arrives for

    try:
        address = address_of_arguments(backend, driver, args, kwargs, os.environ)
    except Exception:  # noqa: BLE001  # strange arguments are unknown, and that means no
        return judge_server(Facts(backend, None), terms, target=tell_server(backend, (), None), switched=True)
    if not address.switched and find_allowed(address, kwargs, terms) is not None:
        return None
    facts = Facts(backend, None if address.switched else address.database)
    target = tell_server(backend, address.hosts, facts.database)
    return judge_server(facts, terms, target=target, switched=address.switched, instead=ASK_URL)


def judge_server(
    facts: Facts, terms: Terms, *, target: str, switched: bool, instead: str = MAKE_ENGINE
) -> FenceError | None:
    """Return the error for a database of a server, or None where it may be reached.

    Args:
        facts: What is known of it.
        terms: On which terms to judge.
        target: The database for people.
        switched: Whether another database than the one named may be reached in the end.
        instead: What to do instead of connecting to it.
    """
    if not switched and facts.backend in SERVER_BACKENDS and is_maintenance(facts):
        return None
    verdict = judge(facts, terms.test_names)
    if verdict.disposable:
        return None
    return refuse(
        f"Refused to connect to {target}",
        why=verdict.reason,
        fix=[
            instead,
            f"use a database whose name {tell_test_names(terms)}",
            f'if every test run may change it, say so in pyproject.toml: [tool.engineroom] fence_allow = ["{target}"]',
        ],
        target=target,
        rule=verdict.rule,
    )


def is_maintenance(facts: Facts) -> bool:
    """Tell whether a connection serves to look after the server, and holds no data of its own."""
    if facts.database is None:
        return facts.backend != "postgresql"  # on PostgreSQL there is no connection without a database
    return facts.database in MAINTENANCE.get(facts.backend, ())


def find_allowed(address: Address, settings: Mapping[str, Any], terms: Terms) -> str | None:
    """Return the database of the URL in ``fence_allow`` that is about to be reached, or None.

    A URL without a host means the driver's default, which is this machine whatever the driver calls it.
    """
    name, family = str(address.database or ""), _family(address.backend)
    for url in _urls(terms):
        if (_family(url.get_backend_name()), url.database or "") != (family, name):
            continue
        if not _is_host(url.host or "", address.hosts) or not _is_same(url.username, settings.get("user")):
            continue
        if _is_same(url.port, settings.get("port") or PORTS.get(family)):
            return name
    return None


def _urls(terms: Terms) -> Iterator[URL]:
    if not terms.allowances.urls:
        return
    from sqlalchemy.engine import make_url  # noqa: PLC0415  # it takes longer than a refusal may
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    for entry in terms.allowances.urls:
        with contextlib.suppress(ArgumentError, ValueError):
            yield make_url(entry)


def tell_server(backend: str, hosts: Sequence[str], database: str | None) -> str:
    """Return the address for people, and for ``fence_allow``: nothing of it is secret."""
    text = f"{backend}://{','.join(hosts)}/{database or ''}"
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _family(backend: str) -> str:
    return {"mariadb": "mysql", "postgres": "postgresql"}.get(backend, backend)  # one driver reaches either


def _is_host(wanted: str, hosts: Sequence[str]) -> bool:
    if not wanted:
        from engineroom._address.server import is_local_host  # noqa: PLC0415  # as in judge_driver

        return all(host == "" or is_local_host(host) for host in hosts)
    return tuple(hosts) == (wanted,)


def _is_same(wanted: object, given: object) -> bool:
    return wanted is None or str(wanted) == str(given)
