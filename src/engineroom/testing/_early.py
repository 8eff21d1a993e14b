"""Connections that were open before the fence: who opened them was too early, and goes on with them unseen.

Looks for the connections of the drivers that are loaded, wherever they are kept: in a variable, in a pool, by an engine
of SQLAlchemy. They are told apart by what they say of themselves; nothing is sent to a server. A suite that loads no
driver before the plugin does not pay for it.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom.errors import BootstrapTooLateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

    from engineroom.testing._database_files import Terms

__all__ = ["check_early_connections"]

MOST_REFERRERS = 3000
MOST_STEPS = 8


class _Driver(NamedTuple):
    """How to know the connections of a driver, and what they say of themselves.

    Attributes:
        backend: SQLAlchemy's name of the database system.
        classes: The names of the connections' classes, in the module.
        is_closed: Tells whether a connection is closed.
        address: Returns the database, and what else tells where it is.
    """

    backend: str
    classes: tuple[str, ...]
    is_closed: Callable[[Any], Any]
    address: Callable[[Any], Mapping[str, Any]]


def _mysql(prefix: str) -> Callable[[Any], Mapping[str, Any]]:
    names = {"host": "host", "port": "port", "user": "user", "unix_socket": "unix_socket", "database": "db"}
    return lambda connection: {key: getattr(connection, f"{prefix}{name}", None) for key, name in names.items()}


def _asyncpg(connection: Any) -> Mapping[str, Any]:
    address, params = connection._addr, connection._params  # noqa: SLF001  # there is no public way to them
    host, port = (address.rpartition("/")[0], None) if isinstance(address, str) else address[:2]
    return {"host": host, "port": port, "user": params.user, "database": params.database}


def _libpq(connection: Any) -> Mapping[str, Any]:
    info = connection.info
    return {"host": info.host, "port": info.port, "user": info.user, "database": info.dbname}


DRIVERS: Mapping[str, _Driver] = {
    "psycopg": _Driver("postgresql", ("Connection", "AsyncConnection"), lambda one: one.closed, _libpq),
    "psycopg2.extensions": _Driver("postgresql", ("connection",), lambda one: one.closed, _libpq),
    "asyncpg.connection": _Driver("postgresql", ("Connection",), lambda one: one.is_closed(), _asyncpg),
    "pymysql.connections": _Driver("mysql", ("Connection",), lambda one: not one.open, _mysql("")),
    "aiomysql.connection": _Driver("mysql", ("Connection",), lambda one: one.closed, _mysql("_")),
    "asyncmy.connection": _Driver("mysql", ("Connection",), lambda one: not one.connected, _mysql("_")),
}


def check_early_connections(terms: Terms) -> None:
    """Look for connections to databases that are not disposable.

    Args:
        terms: On which terms the fence will judge.

    Raises:
        BootstrapTooLateError: There is one.
    """
    families: dict[type, _Driver | None] = dict(_loaded_kinds())
    if not families:
        return
    for candidate in gc.get_objects():
        driver = _driver_of(type(candidate), families)
        if driver is not None:
            target = _find_target(candidate, driver, terms)
            if target:
                raise _too_late(target, _holder_of(candidate))


def _loaded_kinds() -> Iterator[tuple[type, _Driver | None]]:
    if "sqlite3" in sys.modules:
        yield sys.modules["sqlite3"].Connection, SQLITE
    for name, driver in DRIVERS.items():
        module = sys.modules.get(name)
        for kind in filter(None, (getattr(module, spelled, None) for spelled in driver.classes)):
            yield kind, driver


def _driver_of(kind: type, families: dict[type, _Driver | None]) -> _Driver | None:
    """Return the driver of a class, which may be a subclass of its own; each class is asked once."""
    if kind in families:
        return families[kind]
    found = next((families[parent] for parent in type.mro(kind)[1:] if families.get(parent)), None)
    families[kind] = found
    return found


def _find_target(connection: Any, driver: _Driver, terms: Terms) -> str:
    """Return the database of an open connection that is not disposable, for people; else nothing."""
    try:
        if driver.is_closed(connection):
            return ""
        address = dict(driver.address(connection))
    except Exception:  # noqa: BLE001  # another thread's, half made, or of a version that is built in another way
        return ""
    if driver is SQLITE:
        return _find_sqlite(connection, str(address["database"] or ""), terms)
    from engineroom._address import Address  # noqa: PLC0415  # most runs have no such connection
    from engineroom._verdict import Facts, judge  # noqa: PLC0415
    from engineroom.testing._servers import find_allowed, is_maintenance, tell_server  # noqa: PLC0415

    texts = {key: value.decode() if isinstance(value, bytes) else value for key, value in address.items()}
    facts = Facts(driver.backend, texts["database"] or None)
    hosts = tuple(filter(None, [str(texts.get("unix_socket") or texts["host"] or "")]))
    if is_maintenance(facts) or judge(facts, terms.test_names).disposable:
        return ""
    if find_allowed(Address(driver.backend, "", facts.database, hosts=hosts), texts, terms) is not None:
        return ""
    return tell_server(driver.backend, hosts, facts.database)


def _sqlite_file(connection: Any) -> Mapping[str, Any]:
    rows = connection.execute("PRAGMA database_list").fetchall()
    return {"database": next((row[2] for row in rows if row[1] in {"main", b"main"}), "")}


SQLITE = _Driver("sqlite", ("Connection",), lambda _: False, _sqlite_file)


def _find_sqlite(connection: Any, file: str, terms: Terms) -> str:
    from engineroom.testing._database_files import judge_connect  # noqa: PLC0415  # as above

    protected = judge_connect(file, terms)
    return f"sqlite:///{protected.path}" if protected is not None and not _only_reads(connection) else ""


def _only_reads(connection: Any) -> bool:
    """Tell whether a SQLite connection was opened for reading; nothing else tells than beginning to write."""
    if connection.in_transaction:
        return False
    try:
        connection.execute("BEGIN")
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        connection.execute(f"PRAGMA user_version = {int(version)}")
    except Exception as problem:  # noqa: BLE001  # busy, or of another kind
        return "readonly" in str(problem)
    finally:
        connection.rollback()
    return False


def _holder_of(connection: object) -> str:
    """Return the name of the module that keeps a connection, over whatever objects; empty where none is found."""
    spaces = {id(vars(module)): name for name, module in list(sys.modules.items()) if _is_of_user(name, module)}
    seen, edge = {id(connection)}, [connection]
    for _ in range(MOST_STEPS):
        ignored = {id(edge), id(seen), id(sys._getframe()), id(spaces)}  # noqa: SLF001  # what this function itself holds
        found = [one for one in gc.get_referrers(*edge) if id(one) not in seen and id(one) not in ignored]
        names = [spaces[id(one)] for one in found if id(one) in spaces]
        if names:
            return names[0]
        edge = found[:MOST_REFERRERS]
        seen.update(map(id, edge))
        if not edge:
            break
    return ""


def _is_of_user(name: str, module: ModuleType | None) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or name.startswith("engineroom"):
        return False
    return not any(part in file for part in ("site-packages", "dist-packages", "/lib/python"))


def _too_late(target: str, holder: str) -> BootstrapTooLateError:
    kept = f"the module {holder} keeps it" if holder else "it is not known who keeps it"
    return BootstrapTooLateError(
        f"A connection to {target} was opened before the test environment was selected.",
        why=f"{kept}; the pytest plugin started after that, and who has the connection could go on using it.",
        fix=_ways_out(holder),
    )


def _ways_out(holder: str) -> Sequence[str]:
    if not holder:
        return ["open it in a conftest.py, a fixture or a test, not in a plugin that -p or addopts loads"]
    return [
        f"import {holder} in a conftest.py or in a test, not in a plugin that -p or addopts loads",
        f"load this plugin first: pytest -p engineroom -p {holder}",
    ]
