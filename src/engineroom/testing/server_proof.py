"""Whether a development database on a server of this machine is the same after the run as before it.

Answers from the server's own counters, read over a maintenance connection: PostgreSQL's of rows written, MariaDB's and
MySQL's times of the last change. Asks only where a driver is loaded anyway, and only this machine: a production server
whose URL happens to be exported is nobody's to log in to. Silent where anything cannot be read.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["ServerProof", "ServerVerification"]

SECONDS = 1
SERVER_URL = re.compile(r"(?P<backend>postgres(?:ql)?|mysql|mariadb)(?:\+\w+)?://", re.IGNORECASE)
QUESTIONS = {
    "postgresql": (
        "SELECT datid, tup_inserted, tup_updated, tup_deleted, stats_reset FROM pg_stat_database WHERE datname = %s"
    ),
    "mysql": (
        "SELECT count(*), max(create_time), max(update_time), sum(coalesce(auto_increment, 0)) "
        "FROM information_schema.tables WHERE table_schema = %s"
    ),
}


class ServerVerification(NamedTuple):
    """What can be said of one development database on a server.

    Attributes:
        path: The database, as it is shown.
        is_unchanged: Whether the server counted the same before the run and after it.
    """

    path: str
    is_unchanged: bool

    def __str__(self) -> str:
        """Return the line of the summary."""
        if self.is_unchanged:
            return f"the development database {self.path} is unchanged, as its server counts."
        return f"the development database {self.path} changed during the run. Is a development server writing to it?"


class ServerProof:
    """Reads the counters of the development databases of one run.

    Args:
        path: The file that the workers of the run share; None keeps everything in this process.
    """

    def __init__(self, path: Path | None) -> None:
        """Watch nothing yet."""
        self._path = path
        self._urls: list[str] = []
        self._readings: list[tuple[str, str]] = []

    def watch(self, urls: Iterable[str], is_disposable: Any) -> None:
        """Read the counters of these databases for the first time, but for those that any run may change.

        Args:
            urls: Database URLs of the application outside of a test run, of whatever kind.
            is_disposable: Tells of a backend and a name whether that database is disposable.
        """
        for url in dict.fromkeys(urls):
            target = _target_of(url)
            if target is not None and url not in self._urls and not is_disposable(target.backend, target.name):
                self._urls.append(url)
        self.read()

    def read(self) -> None:
        """Read the counters now."""
        for url in self._urls:
            target = _target_of(url)
            counters = None if target is None else _count(target, url)
            if target is not None and counters is not None:
                self._note(str(target), counters)

    def verify(self) -> list[ServerVerification]:
        """Return what can be said of each database whose counters were read more than once, by whichever process."""
        readings: dict[str, list[str]] = {}
        for target, counters in self._all_readings():
            readings.setdefault(target, []).append(counters)
        return [ServerVerification(target, len(set(read)) == 1) for target, read in readings.items() if len(read) > 1]

    def _note(self, target: str, counters: str) -> None:
        self._readings.append((target, counters))
        if self._path is not None:
            with contextlib.suppress(OSError), self._path.open("a") as file:
                file.write(json.dumps([target, counters]) + "\n")

    def _all_readings(self) -> list[tuple[str, str]]:
        if self._path is not None:
            with contextlib.suppress(OSError, ValueError):
                lines = self._path.read_text().splitlines()
                return [(target, counters) for target, counters in map(json.loads, lines)]
        return self._readings


class _Target(NamedTuple):
    backend: str
    host: str
    name: str

    def __str__(self) -> str:
        return f"{self.backend}://{self.host}/{self.name}"


def _target_of(url: str) -> _Target | None:
    """Return the database that a URL names, if it is on this machine."""
    match = SERVER_URL.match(url.strip())
    if match is None:
        return None
    from engineroom._address.server import is_local_host  # noqa: PLC0415  # most runs find no such URL

    try:
        parts = urlsplit(url.strip())
        host, name, query = parts.hostname or "", unquote(parts.path.removeprefix("/")), parts.query
    except ValueError:
        return None
    backend = "postgresql" if match["backend"].lower().startswith("postgres") else "mysql"
    is_plain = name and not any(word in query for word in ("host", "dbname", "database", "service", "socket"))
    return _Target(backend, host, name) if is_plain and (not host or is_local_host(host)) else None


def _count(target: _Target, url: str) -> str | None:
    """Return the counters as a text; None where they cannot be read."""
    try:
        connect = _connect_postgresql if target.backend == "postgresql" else _connect_mysql
        connection = connect(urlsplit(url.strip()))
        if connection is None:
            return None
        with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(QUESTIONS[target.backend], (target.name,))
            row = cursor.fetchone()
    except Exception:  # noqa: BLE001  # no server, no right, no such database: there is nothing to tell
        return None
    return None if row is None else json.dumps(row, default=str)


def _connect_postgresql(parts: Any) -> Any:
    driver: Any = sys.modules.get("psycopg") or sys.modules.get("psycopg2")
    if driver is None:
        return None
    options = {**_credentials(parts), "dbname": "postgres", "connect_timeout": SECONDS}
    return driver.connect(**options, options=f"-c statement_timeout={SECONDS * 1000}")


def _connect_mysql(parts: Any) -> Any:
    driver: Any = sys.modules.get("pymysql")
    if driver is None or not hasattr(driver, "connect"):
        return None
    return driver.connect(**_credentials(parts), connect_timeout=SECONDS, read_timeout=SECONDS)


def _credentials(parts: Any) -> Mapping[str, Any]:
    options = {
        "host": parts.hostname,
        "port": parts.port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    return {key: value for key, value in options.items() if value}
