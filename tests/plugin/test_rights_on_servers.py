"""Users who may not create databases, nor ask the server what it counts: one database of theirs is enough."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.plugin.server_shop import CONFIGURATION, MODELS, Shop, one_of_each_server, shop_on_server
from tests.plugin.test_isolation_on_servers import TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import Outcome, SmallProject

MORE_TESTS = """
    import threading
    import pytest
    from sqlalchemy import delete
    from app.db import Session, names
    from app.models import Post, User

    @pytest.mark.parametrize("times", [1, 2])
    def test_numbers_go_on_where_the_seed_ended(times):
        with Session.begin() as session:
            session.add(user := User(name="new"))
            session.flush()
            assert user.id == 3

    @pytest.mark.parametrize("name", ["a", "b"], indirect=True)
    class TestAFixtureThatIsSetUpAgain:
        @pytest.fixture(scope="class")
        @classmethod
        def name(cls, request):
            with Session.begin() as session:
                session.add(User(name="of a fixture"))
            return request.param

        def test_it_is_there(self, name):
            assert names() == ["seed", "of a fixture"]

    def test_a_thread_that_stays():
        event = threading.Event()
        threading.Thread(target=event.wait, args=(20,), daemon=True).start()
        with Session.begin() as session:
            session.execute(delete(Post))

    kept = []

    def test_what_is_left_open():
        kept.append(session := Session())
        session.add(User(name="open"))
        session.flush()

    def test_last():
        assert names() == ["seed"]
"""
SEED = """
    def fill(session):
        session.add_all([User(name="seed"), User(name="gone")])
        session.flush()
        session.query(User).filter_by(name="gone").delete()
        session.add(Post(user_id=1))

    def init_db(session):
        Base.metadata.create_all(session.connection())
"""


@contextmanager
def few_rights(shop: Shop) -> Iterator[None]:
    """Let the application connect as somebody who has rights on the test database alone."""
    name, database = f"engineroom_{shop.name[-8:]}", shop.place.name
    if shop.is_postgresql:
        shop.send(f"CREATE ROLE {name} LOGIN", f"CREATE DATABASE {database} OWNER {name}")
    else:
        escaped = database.replace("_", "\\_")
        shop.send(
            f"CREATE USER {name}@'%%'", f"GRANT ALL ON `{escaped}`.* TO {name}@'%%'", f"CREATE DATABASE {database}"
        )
    shop.project.environ["DATABASE_URL"] = shop.url.set(username=name).render_as_string(hide_password=False)
    yield
    if shop.is_postgresql:
        shop.send(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"DROP ROLE {name}")
    else:
        shop.send(f"DROP USER {name}@'%%'")


@pytest.fixture
def shop(request: pytest.FixtureRequest, lone_project: SmallProject) -> Iterator[Shop]:
    with shop_on_server(request, lone_project) as made, few_rights(made):
        tests = TESTS.replace("user.id == 2", "user.id == 3")
        made.project.write(
            app__models=MODELS.partition("async def fill")[0] + SEED, test_more=MORE_TESTS, test_shop=tests
        )
        yield made


def run(shop: Shop, schema: str, *arguments: str) -> Outcome:
    shop.project.write_text("pyproject.toml", CONFIGURATION.replace("models:Base", f"models:{schema}"))
    return shop.project.pytest("-p", "no:randomly", *arguments)


@one_of_each_server
def test_one_empty_database_is_enough(shop: Shop) -> None:
    outcome = run(shop, "init_db")
    assert outcome.counts == {"passed": 17, "error": 1}, outcome.out
    assert outcome.failed == {"test_what_is_left_open"}
    assert re.search(r"taken at \S+test_more\.py", outcome.out)
    if shop.is_postgresql:
        assert shop.databases() == {shop.place.name}, "it was emptied: nobody could make it again"
    outcome = run(shop, "Base", "-k", "numbers")
    assert outcome.counts["passed"] == 2, outcome.out
    with shop.held():
        outcome = run(shop, "Base")
    assert outcome.counts == {"error": 1}, outcome.out
    assert f'Another run holds the test database "{shop.place.name}"' in outcome.out


@one_of_each_server
def test_without_a_database_the_run_stops_once(shop: Shop) -> None:
    other = f"{shop.name}_other"
    head, _, _ = shop.project.environ["DATABASE_URL"].rpartition("/")
    shop.project.environ["DATABASE_URL"] = f"{head}/{other}"
    outcome = run(shop, "Base")
    assert outcome.counts == {"error": 1}, outcome.out
    assert f'The test database "test_{other}" could not be created and marked.' in outcome.out
    assert "CREATE DATABASE" in outcome.out
