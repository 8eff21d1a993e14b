"""Test databases on servers: made where they are missing, held for one run, marked as ours, emptied, dropped.

Answers: which database does this run get, and may it be emptied? The first free name is held by a lock of the server,
which goes with the keeper's connection: a killed run holds nothing. Only a database that carries the mark may be
emptied; one that holds nothing gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from engineroom._address import fit_name
from engineroom.errors import UnsafeTestDatabaseError
from engineroom.testing._keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from engineroom._schema.place import Place
    from engineroom.testing._server_rows import Rows

__all__ = ["MARK", "LeftOver", "Server", "claim_database", "ensure_database"]

MARK = "engineroom: a test database; it may be emptied and dropped at any time"
MOST_RUNS = 100


class LeftOver(NamedTuple):
    """A test database that carries engineroom's mark.

    Attributes:
        name: Its name.
        is_held: Whether a run holds it now.
    """

    name: str
    is_held: bool


class Server(Protocol):
    """What a database system does for its databases. Each function takes a keeper, of whichever database."""

    def maintenance_names(self) -> tuple[str, ...]:
        """Return the databases that hold no data and can be connected to, best first."""

    def has_database(self, keeper: Keeper, name: str) -> bool:
        """Tell whether there is a database of this name."""

    def create(self, keeper: Keeper, name: str) -> None:
        """Create a database; that somebody else just did it is no error."""

    def may_create(self, keeper: Keeper) -> bool:
        """Tell whether the user could create a database again that was dropped."""

    def drop(self, keeper: Keeper, name: str) -> None:
        """Drop a database, whoever is connected to it."""

    def hold(self, keeper: Keeper, name: str) -> bool:
        """Hold a database until the keeper's connection closes; False where somebody else does."""

    def is_marked(self, keeper: Keeper, name: str) -> bool:
        """Tell whether a database carries the mark."""

    def mark(self, keeper: Keeper, name: str) -> None:
        """Put the mark on a database."""

    def count_objects(self, keeper: Keeper, name: str) -> int:
        """Count what a database holds: tables, views, functions and their like."""

    def describe(self, keeper: Keeper) -> str:
        """Return what a schema in the keeper's database depends on, besides what it is built from."""

    def take_record(self, keeper: Keeper, name: str) -> str:
        """Return what an earlier run recorded in a database, or nothing, and remove it.

        Nothing is returned where it is known that somebody wrote since.
        """

    def record(self, keeper: Keeper, name: str, text: str) -> None:
        """Record something in a database for the next run: letters, digits and spaces."""

    def list_marked(self, keeper: Keeper) -> list[LeftOver]:
        """Return the databases of the server that carry the mark."""

    def rows(self, keeper: Keeper) -> Rows:
        """Return what keeps and restores the rows of the database that the keeper holds."""

    def clear(self, keeper: Keeper) -> None:
        """Drop everything that the keeper's database holds."""


def claim_database(server: Server, place: Place, is_test_name: Callable[[str], bool]) -> Keeper:
    """Return a keeper of the first database of a place's names that no other run holds; it is marked.

    Args:
        server: The database system.
        place: The database that is wanted.
        is_test_name: Tells whether a database of a name is disposable.

    Raises:
        UnsafeTestDatabaseError: It cannot be created, or it holds something that engineroom did not make.
    """
    __tracebackhide__ = True
    for number in range(1, MOST_RUNS):
        name = place.name if number == 1 else fit_name(f"{place.name}_r{number}", place.backend)
        if not is_test_name(name):
            break
        wanted = place.named(name)
        ensure_database(server, wanted, held=place.name if number > 1 else "")
        keeper = Keeper(wanted)
        try:
            if server.hold(keeper, name):
                _make_ours(server, keeper, name)
                return keeper
        except BaseException:
            keeper.close()
            raise
        keeper.close()
    raise _tell_all_held(place)


def ensure_database(server: Server, place: Place, *, held: str = "") -> None:
    """Create a database, if it is missing.

    Args:
        server: The database system.
        place: Where the database stands.
        held: The one that was wanted in the first place, which another run holds.

    Raises:
        UnsafeTestDatabaseError: The server does not let us.
    """
    __tracebackhide__ = True
    with_server = _connect_for_maintenance(server, place)
    if with_server is None:
        return  # only the test database itself lets us in: it is there, or the error tells
    try:
        if not server.has_database(with_server, place.name):
            try:
                server.create(with_server, place.name)
            except Exception as error:  # noqa: BLE001  # whatever the driver says
                raise _tell_no_right(place, error, held=held) from None
    finally:
        with_server.close()


def _connect_for_maintenance(server: Server, place: Place) -> Keeper | None:
    names = server.maintenance_names()
    for name in names:
        try:
            return Keeper(place.named(name))
        except Exception as error:
            if name == names[-1] and not _can_connect(place):
                raise error from None
    return None


def _can_connect(place: Place) -> bool:
    try:
        Keeper(place).close()
    except Exception:  # noqa: BLE001  # whatever the driver says
        return False
    return True


def _make_ours(server: Server, keeper: Keeper, name: str) -> None:
    if server.is_marked(keeper, name):
        return
    count = server.count_objects(keeper, name)
    if count:
        raise _tell_not_ours(name, count)
    try:
        server.mark(keeper, name)
    except Exception as error:  # noqa: BLE001  # as above
        raise _tell_no_right(keeper.place, error) from None


def _tell_not_ours(name: str, count: int) -> UnsafeTestDatabaseError:
    return UnsafeTestDatabaseError(
        f'Refused to build the schema in the database "{name}": it is not empty, and engineroom did not make it.',
        why=f"it holds {count} {'object' if count == 1 else 'objects'} and does not carry engineroom's mark, so it may "
        "be somebody's, whatever its name says. Nothing in it was changed.",
        fix=[
            f'drop it yourself, if nobody needs it: DROP DATABASE "{name}"',
            "name another test database: TEST_DATABASE_URL=...",
        ],
    )


def _tell_no_right(place: Place, error: Exception, *, held: str = "") -> UnsafeTestDatabaseError:
    said = str(error).strip().splitlines()[:1]
    failed = f'"{place.name}" could not be created and marked.'
    return UnsafeTestDatabaseError(
        f'Another run holds the test database "{held}", and {failed}' if held else f"The test database {failed}",
        why=f"the server said: {said[0] if said else type(error).__name__}",
        fix=[
            *(["wait until the other run has ended"] if held else []),
            "let the user of the database URL create databases (PostgreSQL: ALTER ROLE name CREATEDB)",
            f'create it once, owned by that user, and leave it empty: CREATE DATABASE "{place.name}"',
        ],
    )


def _tell_all_held(place: Place) -> UnsafeTestDatabaseError:
    return UnsafeTestDatabaseError(
        f'Other runs hold the test database "{place.name}" and all that come after it.',
        why="each run on a server holds a database of its own, and no further name is a test name.",
        fix=["wait until another run has ended", "let test_names in [tool.engineroom] match further names"],
    )
