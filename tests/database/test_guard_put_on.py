"""How the guard is put on an engine: what it listens to, and what an engine that was used before gets besides."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import MetaData, create_engine, event, text

from engineroom import _project, allow_destructive, guard, verdict
from engineroom._guard import guard_new
from engineroom._guard.drop_all import before_drop_all
from engineroom._permit import WATCH_KEY, permits_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_permit_holds_for_a_connection_that_a_server_gave_before_the_guard_came(
    databases: Callable[[str, str], Any],
) -> None:
    kept = databases("postgresql", "kept")
    kept.rebuild()
    engine = create_engine(kept.url)
    engine.connect().close()
    guard(engine)
    with allow_destructive(engine, database=kept.name, reason="a test"), engine.begin() as connection:
        connection.execute(text("DROP TABLE orders"))
    assert "orders" not in kept.relations()
    engine.dispose()


@pytest.mark.parametrize("put_on", [guard, guard_new])
@pytest.mark.parametrize("url", ["sqlite:///shop.db", "postgresql+psycopg://127.0.0.1/shop"])
def test_an_engine_that_was_not_used_yet_pays_nothing_when_a_connection_is_taken(put_on: Any, url: str) -> None:
    engine = create_engine(url)
    put_on(engine)
    assert engine.pool.dispatch.connect
    assert list(engine.pool.dispatch.checkout) == list(create_engine(url).pool.dispatch.checkout)


def test_the_first_guard_listens_to_every_metadata() -> None:
    guard(create_engine("sqlite://"))
    event.remove(MetaData, "before_drop", before_drop_all)
    guard(create_engine("sqlite://"))
    assert event.contains(MetaData, "before_drop", before_drop_all)
    guard(create_engine("sqlite://"))
    assert list(MetaData().dispatch.before_drop) == [before_drop_all]


def test_the_watch_of_a_connection_knows_the_permits_of_its_engine(tmp_path: Path) -> None:
    engine = guard(create_engine(f"sqlite:///{tmp_path}/shop.db"))
    with engine.connect() as connection:
        assert connection.info[WATCH_KEY].grants.permits is permits_of(engine.dialect)
    engine.dispose()


def test_the_verdict_goes_by_the_names_that_the_project_gives(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.engineroom]\ntest_names = ["*_test.db"]\n')
    _project.reset()
    assert verdict("sqlite:///shop_test.db").disposable
    assert not verdict("sqlite:///test_shop.db").disposable


def test_what_reads_statements_for_servers_is_not_loaded_for_sqlite() -> None:
    code = (
        "import sys; from sqlalchemy import MetaData, create_engine; import engineroom\n"
        "engine = engineroom.guard(create_engine('sqlite://'))\n"
        "MetaData().drop_all(engine)\n"
        "with engine.connect() as connection: assert engineroom.verdict(connection).disposable\n"
        "assert 'engineroom._statements' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
