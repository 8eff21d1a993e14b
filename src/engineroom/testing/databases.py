"""The test databases of a run: made and held before they are built, watched afterwards, dropped at the end.

Each database system has a module of its own, which is loaded when a database of it is used.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom._project import get_project
from engineroom._run_files import is_memory_file, note_database
from engineroom._verdict import Facts, judge
from engineroom.testing._keeper import Keeper
from engineroom.testing._left_overs import note_caller
from engineroom.testing._server_databases import LeftOver, Server, claim_database, ensure_database

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.pool import ConnectionPoolEntry

    from engineroom._schema import Build
    from engineroom._schema.place import Place
    from engineroom.testing._kept_schemas import ServerDatabase
    from engineroom.testing._sqlite_files import HeldFile
    from engineroom.testing.baseline import Baseline

__all__ = ["Databases", "LeftOver", "drop_database", "list_left_over_databases"]


class Databases:
    """The test databases that this process holds.

    Args:
        on_checkout: Called with each connection to one of them that leaves its pool.
    """

    def __init__(self, on_checkout: Callable[[ConnectionPoolEntry], object] = note_caller) -> None:
        """Hold none."""
        self._on_checkout = on_checkout
        self._on_servers: dict[Build, ServerDatabase] = {}
        self._files: dict[Build, HeldFile] = {}

    def prepare(self, build: Build) -> bool:
        """Make sure that the database is there, empty and this run's own; return whether it has to be built.

        Raises:
            UnsafeTestDatabaseError: There is no database that this run may have.
        """
        __tracebackhide__ = True
        server = _server_of(build.place)
        if server is not None and not build.is_configured:
            ensure_database(server, build.place)
        elif server is not None:
            build.tell_checkout = self._on_checkout
            from engineroom.testing._kept_schemas import ServerDatabase  # noqa: PLC0415  # only what is used is loaded

            keeper = claim_database(server, build.place, _is_test_name(build.place))
            may_stay = keeper.place.name == build.place.name
            build.kept = self._on_servers[build] = ServerDatabase(server, keeper, build, may_stay=may_stay)
            if not may_stay:
                note_database(repr(build.place.key), keeper.place.name)
                build.rename(keeper.place.name)
        elif build.is_configured:
            build.tell_checkout = self._on_checkout
            if not is_memory_file(os.path.realpath(build.place.name)):
                from engineroom.testing._sqlite_files import HeldFile  # noqa: PLC0415  # as above

                self._files[build] = HeldFile(Path(build.place.name))
        return True

    def open_baseline(self, build: Build) -> Baseline:
        """Take the baseline of a database that was just built."""
        if build in self._on_servers:
            return self._on_servers[build].baseline()
        from engineroom.testing.sqlite import SQLiteBaseline  # noqa: PLC0415  # as above

        if build in self._files:
            self._files[build].mark()
        return SQLiteBaseline(Path(build.place.name), build.connections)

    def close(self, *, is_kept: bool) -> None:
        """Let go of the databases, and drop those on servers, unless they are to be kept."""
        for build, database in self._on_servers.items():
            stays = is_kept
            with contextlib.suppress(Exception):  # somebody still writes, or the server is gone
                stays = stays or database.leave()
            with contextlib.suppress(Exception):
                database.keeper.close()
            if not stays:
                with contextlib.suppress(Exception):  # what stays is recognised by the next run
                    drop_database(build.place)
        for file in self._files.values():
            file.close()
        self._on_servers.clear()
        self._files.clear()


def list_left_over_databases(place: Place) -> list[LeftOver]:
    """Return the test databases on a place's server that engineroom made, whether a run holds them or not."""
    server = _require_server(place)
    keeper = Keeper(place.named(server.maintenance_names()[0]))
    try:
        return server.list_marked(keeper)
    finally:
        keeper.close()


def drop_database(place: Place) -> bool:
    """Drop a test database that engineroom made and no run holds; return whether it was dropped.

    Where the user could not create it again, it is emptied instead.

    Args:
        place: Where it stands.
    """
    server = _require_server(place)
    keeper = Keeper(place.named(server.maintenance_names()[0]))
    try:
        known = {each.name: each.is_held for each in server.list_marked(keeper)}
        if known.get(place.name, True) or not _is_test_name(place)(place.name):
            return False
        if not server.may_create(keeper):
            return _empty(server, place)
        server.drop(keeper, place.name)
    finally:
        keeper.close()
    return True


def _empty(server: Server, place: Place) -> bool:
    keeper = Keeper(place)
    try:
        is_ours = server.hold(keeper, place.name)
        if is_ours:
            server.clear(keeper)
    finally:
        keeper.close()
    return is_ours


def _is_test_name(place: Place) -> Callable[[str], bool]:
    return lambda name: bool(judge(Facts(place.backend, name), get_project().test_names))


def _require_server(place: Place) -> Server:
    server = _server_of(place)
    if server is None:
        raise ValueError(f"{place.backend} is no server.")
    return server


def _server_of(place: Place) -> Server | None:
    if place.backend == "postgresql":
        from engineroom.testing._postgresql_server import PostgreSQLServer  # noqa: PLC0415  # as above

        return PostgreSQLServer()
    if place.backend == "mysql":
        from engineroom.testing._mysql_server import MySQLServer  # noqa: PLC0415  # as above

        return MySQLServer()
    return None
