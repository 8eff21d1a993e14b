"""Would a database's own client, started as a child, reach a database that is not disposable?

Knows the clients that write: which of their options name a database, and where else they look for one. Readers such as
``pg_dump`` are not among them, and whatever is none of them is free. Judges before the program is started, and returns
the error; a name that only a shell could tell is unknown, and that means no.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom import _run_files
from engineroom._verdict import Facts
from engineroom.testing._database_files import judge_connect
from engineroom.testing._options import DROPDB, MYSQL, PG_RESTORE, PGBENCH, PSQL, SQLITE_SHELL, read_options
from engineroom.testing._programs import UNKNOWN, programs_of
from engineroom.testing._refusals import refuse_program, refuse_sqlite_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from engineroom._address import Address
    from engineroom._statements import Dialect
    from engineroom.errors import FenceError
    from engineroom.testing._database_files import Terms
    from engineroom.testing._options import Options
    from engineroom.testing._programs import Program

__all__ = ["CLIENTS", "judge_start"]

LONGEST_SCRIPT = 1_000_000
MYSQL_GROUPS = frozenset({"client", "mysql", "mariadb", "client-server", "client-mariadb", "mariadb-client"})
SQLITE_FILES = re.compile(
    r"\b(?:attach(?:\s+database)?|vacuum\s+into)\s*'((?:[^']|'')*)'"
    r"|^\s*\.(?:open|save|backup|clone)\s+(?!.*-readonly)(?:--?\w+\s+|main\s+)*(?:\"([^\"]*)\"|'([^']*)'|(\S+))",
    re.IGNORECASE | re.MULTILINE,
)
SWITCHES = {
    "postgresql": re.compile(r"\\c(?:onnect)?[ \t]+(?:-\S+[ \t]+)*(?:\"([^\"]+)\"|'([^']+)'|([^\s;]+))"),
    "mysql": re.compile(
        r"(?:^|;)\s*(?:use\s|\\u\s)\s*(?:`([^`]+)`|\"([^\"]+)\"|([^\s;]+))", re.IGNORECASE | re.MULTILINE
    ),
}


class Reached(NamedTuple):
    """What a client would reach on a server.

    Attributes:
        address: The database and the hosts.
        settings: What else was said of the connection.
    """

    address: Address
    settings: Mapping[str, Any]


def judge_start(event: str, args: tuple[Any, ...], terms: Terms) -> FenceError | None:
    """Return the error for the programs that an audit event starts, or None where they may run."""
    for program in programs_of(event, args):
        judge = CLIENTS.get(program.name)
        if judge is not None and _is_real(program, terms):
            refusal = judge(program, terms)
            if refusal is not None:
                return refusal
    return None


def _is_real(program: Program, terms: Terms) -> bool:
    """Tell whether there is such a program, and it is no stand-in: made by the run, or a script of the project."""
    file = program.file
    if os.sep not in file:
        file = shutil.which(file, path=program.environ.get("PATH", os.defpath)) or ""
    place = os.path.realpath(os.path.join(program.directory, file)) if file else ""  # noqa: PTH118
    if not place or not os.path.lexists(place) or _run_files.is_run_owned(place):
        return False
    return not (place.startswith(f"{terms.root.rstrip('/')}/") and _is_script(place))


def _is_script(place: str) -> bool:
    try:
        with open(place, "rb") as file:  # noqa: PTH123  # as text
            return file.read(2) == b"#!"
    except OSError:
        return False


# --- SQLite


def _judge_sqlite(program: Program, terms: Terms) -> FenceError | None:
    options = read_options(program.arguments, SQLITE_SHELL)
    if options.has("readonly", "version", "help"):
        return None
    names = options.words[:1]
    for text in (*options.words[1:], *options.values("cmd"), *_scripts(program, options.values("init"))):
        names += [next(filter(None, found)) for found in SQLITE_FILES.findall(text) if any(found)]
    for name in names:
        protected = None if name == ":memory:" else judge_connect(_place(name, program.directory), terms)
        if protected is not None:
            return refuse_sqlite_program(program.name, protected, terms)
    return None


def _place(name: str, directory: str) -> str:
    """Return a file's name as it reads from our working directory; a name that is not known, as one that is nowhere."""
    if name.startswith("file:") and not name.startswith("file:/"):
        return f"file:{os.path.join(directory, name.removeprefix('file:'))}"  # noqa: PTH118
    return name if name.startswith("file:") else os.path.join(directory, name.replace(UNKNOWN, "?"))  # noqa: PTH118


# --- PostgreSQL


def _judge_psql(program: Program, terms: Terms) -> FenceError | None:
    options = read_options(program.arguments, PSQL)
    if options.has("l", "list", "V", "version", "help", "?"):
        return None
    named = [*options.values("d", "dbname"), *options.words]
    reached = _reach_postgresql(program, options, named[0] if named else None)
    texts = [*options.values("c", "command"), *_scripts(program, options.values("f", "file"))]
    return _judge_server(program, reached, terms) or _judge_texts(program, texts, reached, terms)


def _judge_pgbench(program: Program, terms: Terms) -> FenceError | None:
    options = read_options(program.arguments, PGBENCH)
    if options.has("V", "version", "help", "?"):
        return None
    named = [*options.words, *options.values("dbname")]
    return _judge_server(program, _reach_postgresql(program, options, named[0] if named else None), terms)


def _judge_pg_restore(program: Program, terms: Terms) -> FenceError | None:
    options = read_options(program.arguments, PG_RESTORE)
    named = options.values("d", "dbname")
    if not named or options.has("l", "list"):
        return None  # it writes a script, and connects to nothing
    if options.has("C", "create"):
        named = [UNKNOWN]  # the database is the one that the archive names
    return _judge_server(program, _reach_postgresql(program, options, named[-1]), terms)


def _judge_dropdb(program: Program, terms: Terms) -> FenceError | None:
    options = read_options(program.arguments, DROPDB)
    if not options.words:
        return None  # it has nothing to drop
    reached = _reach_postgresql(program, options, options.words[0], is_plain=True)
    return _judge_server(program, reached, terms, drops=True)


def _reach_postgresql(program: Program, options: Options, name: str | None, *, is_plain: bool = False) -> Reached:
    from engineroom._address.conninfo import looks_like_conninfo, read_conninfo  # noqa: PLC0415  # it takes a while
    from engineroom._address.server import server_address  # noqa: PLC0415  # as above

    given = {
        "host": options.last("h", "host"),
        "port": options.last("p", "port"),
        "user": options.last("U", "username"),
    }
    settings: dict[str, Any] = {key: value for key, value in given.items() if value}
    if name and looks_like_conninfo(name) and not is_plain:
        settings |= read_conninfo(name) or {"dbname": UNKNOWN}
    elif name:
        settings["dbname"] = name
    environ = {"PGUSER": program.user or _user_of_this_process(), **program.environ}
    return Reached(server_address("postgresql", "psycopg", (), settings, environ), settings)


def _user_of_this_process() -> str:
    """Return the user whose name libpq takes where it finds none; a user without a name has none."""
    import pwd  # noqa: PLC0415  # most runs never ask

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


# --- MySQL and MariaDB


def _judge_mysql(program: Program, terms: Terms) -> FenceError | None:
    options = read_options(program.arguments, MYSQL)
    if options.has("V", "version", "help", "?", "print-defaults"):
        return None
    named = options.words[:1] or options.values("D", "database")[-1:] or _of_option_files(program, options)
    reached = _reach_mysql(options, named[0] if named else None)
    texts = [*options.values("e", "execute", "init-command")]
    return _judge_server(program, reached, terms) or _judge_texts(program, texts, reached, terms)


def _judge_mysqlimport(program: Program, terms: Terms) -> FenceError | None:
    options = read_options(program.arguments, MYSQL)
    if not options.words:
        return None
    return _judge_server(program, _reach_mysql(options, options.words[0]), terms)


def _judge_mysqladmin(program: Program, terms: Terms) -> FenceError | None:
    options = read_options(program.arguments, MYSQL)
    commands = iter(options.words)
    for command in commands:
        if command.lower() in {"dr", "dro", "drop"}:  # commands may be shortened
            refusal = _judge_server(program, _reach_mysql(options, next(commands, UNKNOWN)), terms, drops=True)
            if refusal is not None:
                return refusal
        elif command.lower() in {"create", "password", "kill", "old-password"}:
            next(commands, None)
    return None


def _reach_mysql(options: Options, name: str | None) -> Reached:
    from engineroom._address import Address  # noqa: PLC0415  # it takes a while

    host = options.last("h", "host") or options.last("S", "socket") or ""
    settings = {"host": host, "port": options.last("P", "port"), "user": options.last("u", "user")}
    known = {key: value for key, value in settings.items() if value}
    return Reached(Address("mysql", "pymysql", name, hosts=(host,) if host else ()), known)


def _of_option_files(program: Program, options: Options) -> list[str]:
    """Return the database that the client takes from its option files; the last one holds."""
    only = options.values("defaults-file")
    home = [] if options.has("no-defaults") else [os.path.join(program.environ.get("HOME", ""), ".my.cnf")]  # noqa: PTH118
    names: list[str] = []
    for text in _scripts(program, only or [*home, *options.values("defaults-extra-file")]):
        group = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("["):
                group = line.strip("[]")
            key, equals, value = line.partition("=")
            if group in MYSQL_GROUPS and equals and key.strip() == "database":
                names.append(value.strip().strip("'\""))
    return names[-1:]


# --- Any server


def _judge_server(program: Program, reached: Reached, terms: Terms, *, drops: bool = False) -> FenceError | None:
    from engineroom._verdict import judge  # noqa: PLC0415  # as in _database_files
    from engineroom.testing._servers import find_allowed, is_maintenance, tell_server  # noqa: PLC0415  # most never ask

    address = reached.address
    facts = Facts(address.backend, None if address.switched else address.database)
    if not (drops or address.switched) and is_maintenance(facts):
        return None
    # "test_$NAME" is a test database's name, whatever the shell puts there.
    if judge(facts, terms.test_names).disposable:
        return None
    if not address.switched and find_allowed(address, reached.settings, terms) is not None:
        return None
    facts = Facts(address.backend, None) if UNKNOWN in (facts.database or "") else facts
    verdict = judge(facts, terms.test_names)
    return refuse_program(program.name, tell_server(address.backend, address.hosts, facts.database), verdict, terms)


def _judge_texts(program: Program, texts: list[str], reached: Reached, terms: Terms) -> FenceError | None:
    """Judge what a client is told to execute by the databases that it writes to; its own one may be reached."""
    from engineroom.testing._statement_fence import judge_statement  # noqa: PLC0415  # it takes a while

    address = reached.address
    backend: Dialect = "postgresql" if address.backend == "postgresql" else "mysql"
    settings = {"host": ",".join(address.hosts), **reached.settings}
    for text in texts:
        for name in (next(filter(None, found)) for found in SWITCHES[backend].findall(text)):
            if name != "-":  # psql: the same one as before
                other = Reached(replace(address, database=name, switched=False), reached.settings)
                refusal = _judge_server(program, other, terms)
                if refusal is not None:
                    return refusal
        refusal = judge_statement(text, backend, address.database, terms, lambda: settings)
        if refusal is not None:
            return refusal
    return None


def _scripts(program: Program, names: list[str]) -> Iterator[str]:
    """Yield the text of the files that a client reads, as far as they are short and can be read."""
    for name in names:
        path = Path(program.directory, name.replace(UNKNOWN, "?"))
        try:
            if path.is_file() and path.stat().st_size <= LONGEST_SCRIPT:
                yield path.read_text(errors="replace")
        except (OSError, ValueError):
            continue


CLIENTS: Mapping[str, Callable[[Program, Terms], FenceError | None]] = {
    "sqlite3": _judge_sqlite,
    "psql": _judge_psql,
    "pg_restore": _judge_pg_restore,
    "pgbench": _judge_pgbench,
    "dropdb": _judge_dropdb,
    "mysql": _judge_mysql,
    "mariadb": _judge_mysql,
    "mysqlimport": _judge_mysqlimport,
    "mariadb-import": _judge_mysqlimport,
    "mysqladmin": _judge_mysqladmin,
    "mariadb-admin": _judge_mysqladmin,
}
"""The programs that write to a database, and who judges each."""
