"""Connections that were open before the fence are found, whichever driver opened them."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from tests.database.direct_drivers import KINDS, opened

from engineroom.errors import BootstrapTooLateError
from engineroom.testing import _early
from engineroom.testing._database_files import Terms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import URL
    from tests.database.conftest import Database


@pytest.fixture
def only_new_objects(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function from whose call on only what is made later is looked at: other tests may hold connections."""

    def begin() -> None:
        gc.collect()
        kept = gc.get_objects()  # held, so that no id is used a second time
        known = {id(one) for one in kept}

        def get_objects() -> list[object]:
            return [one for one in gc.get_objects() if id(one) not in known and kept]

        monkeypatch.setattr(_early, "gc", SimpleNamespace(get_objects=get_objects, get_referrers=gc.get_referrers))

    return begin


@pytest.mark.parametrize("way", ["psycopg", "psycopg2", "asyncpg", "pymysql", "aiomysql", "asyncmy"])
def test_a_connection_of_each_driver_is_found(
    way: str,
    databases: Callable[[str, str], Database],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    only_new_objects: Callable[[], None],
) -> None:
    kind = KINDS[way]
    kept, test = databases(kind, "kept"), databases(kind, "test")
    maintenance: URL = request.getfixturevalue(f"{kind}_url")
    terms = Terms(tmp_path)
    only_new_objects()
    with opened(way, test.url), opened(way, maintenance if kind == "postgresql" else maintenance.set(database="")):
        _early.check_early_connections(terms)
    with opened(way, kept.url), pytest.raises(BootstrapTooLateError, match=kept.name):
        _early.check_early_connections(terms)
    scheme = "postgresql" if kind == "postgresql" else "mysql"
    with opened(way, kept.url):
        _early.check_early_connections(Terms(tmp_path, fence_allow=(f"{scheme}://{kept.url.host}/{kept.name}",)))
    _early.check_early_connections(terms)
