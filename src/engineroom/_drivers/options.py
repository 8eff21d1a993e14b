"""How each driver takes the options of its siblings: the tables, and the translation that follows them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["DRIVER_OPTIONS", "Option", "Untranslatable", "translate"]

Query = dict[str, "str | Sequence[str]"]

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
NO_SUCH_OPTION = "it has no such option"
TRUE_WORDS = {"1", "true", "yes", "on", "y", "t"}
PLAIN_KEY = re.compile(r"\w{1,40}")
POSTGRESQL_PORT = "5432"
SYSTEM_AUTHORITIES = "sslrootcert=system"
MYSQL_NAMES = {"pymysql": "database", "aiomysql": "db", "asyncmy": "db"}
"""What the drivers of MySQL and MariaDB call the database, as their dialects hand it over."""


class Untranslatable(Exception):  # noqa: N818 - no error of ours: it never leaves the package
    """An option that the target driver cannot take.

    Attributes:
        shown_key: The option's name, as messages may show it.
        reason: A clause that tells why.
    """

    def __init__(self, key: str, reason: str) -> None:
        """Keep the key only where it looks like one; a stray piece of a password must not be repeated."""
        super().__init__(reason)
        self.shown_key = key if PLAIN_KEY.fullmatch(key) else "of an odd name"
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Option:
    """How a driver takes one option.

    Attributes:
        place: Where it goes: the query, ``connect_args``, asyncpg's server settings or connection string, or nowhere.
        name: What it is called there; empty for the same name.
        convert: Makes the value from the text in the URL; raises ``ValueError`` where it cannot.
        harmless: The values that mean what the driver does anyway, where the place is nowhere; None for all.
        reason: Why other values cannot be taken.
    """

    place: Literal["query", "argument", "server_settings", "dsn", "nowhere"] = "query"
    name: str = ""
    convert: Callable[[str], object] = str
    harmless: frozenset[str] | None = None
    reason: str = NO_SUCH_OPTION


def translate(
    query: Mapping[str, str | Sequence[str]], source: str, target: str, *, host: str | None = None
) -> tuple[Query, dict[str, Any]]:
    """Return the query and the ``connect_args`` that say to the target what the query says to the source.

    Args:
        query: The query of the URL.
        source: The driver that it was written for; empty where it names none.
        target: The driver that it shall serve.
        host: The host that the URL names outside the query.

    Returns:
        The query and the arguments.

    Raises:
        Untranslatable: The target cannot take an option.

    Example:
        >>> translate({"sslmode": "require", "connect_timeout": "5"}, "psycopg", "asyncpg")
        ({'ssl': 'require'}, {'timeout': 5.0})
    """
    options = DRIVER_OPTIONS[target]
    places: dict[str, dict[str, Any]] = {"query": {}, "argument": {}, "server_settings": {}, "dsn": {}, "nowhere": {}}
    for key, value in _prepared(query, source, target, host).items():
        option = options.get(key)
        if option is None and source not in {target, ""}:
            raise Untranslatable(key, "engineroom does not know what it calls this option")
        if option is None:
            places["query"][key] = value  # written for this driver: what it means is the driver's business
            continue
        place, name, said = places[option.place], option.name or key, _value(key, value, option)
        if place.setdefault(name, said) != said:
            raise Untranslatable(key, "another option of the URL says something else")
    arguments = places["argument"]
    if places["server_settings"]:
        arguments["server_settings"] = places["server_settings"]
    if places["dsn"]:
        arguments["dsn"] = f"postgresql://?{urlencode(places['dsn'])}"
    return places["query"], arguments


def _value(key: str, value: str | Sequence[str], option: Option) -> object:
    if not isinstance(value, str):
        if key in {"host", "port", "plugin"}:
            return value
        raise Untranslatable(key, "it is given more than once")
    if option.place == "nowhere" and option.harmless is not None and value.lower() not in option.harmless:
        raise Untranslatable(key, option.reason)
    try:
        return option.convert(value)
    except (ValueError, OverflowError):
        raise Untranslatable(key, option.reason) from None


def _prepared(query: Mapping[str, str | Sequence[str]], source: str, target: str, host: str | None) -> Query:
    """Return the query with what takes more than one option to tell put right."""
    if target == "asyncpg":
        return _prepared_for_asyncpg(dict(query))
    if target in {"psycopg", "psycopg2"}:
        return _prepared_for_libpq(dict(query))
    if target in MYSQL_NAMES and target != source:
        return _prepared_for_mysql(dict(query), source, target, host)
    return dict(query)


def _prepared_for_asyncpg(query: Query) -> Query:
    if "application_name" in query:
        query.pop("fallback_application_name", None)
    if address := query.pop("hostaddr", None):
        if query.get("sslmode", query.get("ssl")) == "verify-full":
            raise Untranslatable("hostaddr", "it would compare the server's certificate with the numeric address")
        query["host"] = address
    if query.get("sslrootcert") == "system":
        # libpq means: the authorities of the system, and the host must match. asyncpg calls that ssl=True.
        query = {key: value for key, value in query.items() if key not in {"sslrootcert", "sslmode", "ssl"}}
        query[SYSTEM_AUTHORITIES] = "true"
    hosts = query.get("host", "")
    if not isinstance(hosts, str):
        query["host"] = tuple(host if ":" in host else f"{host}:{POSTGRESQL_PORT}" for host in hosts)
    elif "," in hosts and "port" not in query:
        query["port"] = ",".join([POSTGRESQL_PORT] * len(hosts.split(",")))
    return query


def _prepared_for_libpq(query: Query) -> Query:
    if _is_true(query.get("direct_tls")) and "sslmode" not in query:
        # libpq insists on a mode that enforces TLS; asyncpg takes direct TLS for one.
        query.setdefault("ssl", "require")
    # A cache of size 0 means: prepare nothing, as a pooler in between needs it. Another size is nothing but tuning.
    tuned = {key for key in ("statement_cache_size", "prepared_statement_cache_size") if query.get(key, "0") != "0"}
    return {key: value for key, value in query.items() if key not in tuned}


def _prepared_for_mysql(query: Query, source: str, target: str, host: str | None) -> Query:
    if "unix_socket" in query and source in {"", "mysqldb"} and query.get("host", host) not in {None, "", "localhost"}:
        raise Untranslatable("unix_socket", "it would dial the socket, while mysqldb dials the host")
    for key in query.keys() & {"read_default_file", "read_default_group"}:
        if (source == "aiomysql") != (target == "aiomysql"):
            raise Untranslatable(key, "for aiomysql alone the file wins over the URL")
    for key in query.keys() & {"db", "database", "passwd"}:
        if key != MYSQL_NAMES.get(source):
            raise Untranslatable(key, "the drivers differ in what they make of it; the path of the URL is clear to all")
    if source in MYSQL_NAMES and MYSQL_NAMES[source] in query:
        query[MYSQL_NAMES[target]] = query.pop(MYSQL_NAMES[source])
    return query


def _is_true(value: object) -> bool:
    return str(value).lower() in TRUE_WORDS


def _ssl_mode(value: str) -> str:
    if value not in SSL_MODES:
        raise ValueError
    return value


def _seconds(value: str) -> float | None:
    """Return libpq's time limit as asyncpg has it: no limit is None."""
    seconds = int(value)
    return float(seconds) if seconds > 0 else None


def _time_limit(value: str) -> float:
    seconds = float(value)
    if not 0 < seconds < math.inf:
        raise ValueError
    return seconds


def _whole_seconds(value: str) -> str:
    return str(math.ceil(_time_limit(value)))


def _nowhere(keys: Iterable[str], *harmless: str, reason: str = NO_SUCH_OPTION) -> dict[str, Option]:
    """Return options that the driver does not have; with values, only these may be dropped."""
    option = Option("nowhere", harmless=frozenset(harmless), reason=reason)
    return dict.fromkeys(keys, option)


def _dropped(*keys: str) -> dict[str, Option]:
    """Return options that tune what the driver does not have, such as the size of its cache."""
    return dict.fromkeys(keys, Option("nowhere"))


LIBPQ_KEYS = (
    *("host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "servicefile", "options"),
    *("application_name", "fallback_application_name", "client_encoding", "connect_timeout", "tcp_user_timeout"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "replication", "channel_binding"),
    *("sslmode", "sslnegotiation", "sslcompression", "sslcert", "sslkey", "sslpassword", "sslcertmode", "sslrootcert"),
    *("sslcrl", "sslcrldir", "sslsni", "sslkeylogfile", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    *("min_protocol_version", "max_protocol_version", "requirepeer", "require_auth", "gssencmode", "gssdelegation"),
    *("krbsrvname", "gsslib", "target_session_attrs", "load_balance_hosts", "scram_client_key", "scram_server_key"),
    *("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"),
)
"""The options of libpq: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS."""

SSL_REASON = f"it takes one of {', '.join(SSL_MODES)}"
NUMBER_REASON = "it takes a number"
CHANNEL_REASON = "it cannot bind the login to the TLS channel"
CACHE_KEYS = ("max_cached_statement_lifetime", "max_cacheable_statement_size")

ASYNCPG_OPTIONS: Mapping[str, Option] = {
    **_nowhere(LIBPQ_KEYS),
    **dict.fromkeys(("host", "port", "user", "password", "passfile", "database", "plugin"), Option()),
    **dict.fromkeys(("krbsrvname", "gsslib", "target_session_attrs", "prepared_statement_cache_size"), Option()),
    "dbname": Option(name="database"),
    "ssl": Option(convert=_ssl_mode, reason=SSL_REASON),
    "sslmode": Option(name="ssl", convert=_ssl_mode, reason=SSL_REASON),
    SYSTEM_AUTHORITIES: Option("argument", name="ssl", convert=_is_true),
    **dict.fromkeys(("sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl"), Option("dsn")),
    **dict.fromkeys(("ssl_min_protocol_version", "ssl_max_protocol_version"), Option("dsn")),
    **_nowhere(["service", "servicefile"], reason="it leaves out a part of what a connection service file may say"),
    "sslnegotiation": Option("argument", name="direct_tls", convert=lambda word: word == "direct"),
    "direct_tls": Option("argument", convert=_is_true),
    "connect_timeout": Option("argument", name="timeout", convert=_seconds, reason=NUMBER_REASON),
    **dict.fromkeys(("timeout", "command_timeout"), Option("argument", convert=_time_limit, reason=NUMBER_REASON)),
    **dict.fromkeys(("statement_cache_size", *CACHE_KEYS), Option("argument", convert=int, reason=NUMBER_REASON)),
    "options": Option("server_settings"),
    **dict.fromkeys(
        ("application_name", "fallback_application_name"), Option("server_settings", name="application_name")
    ),
    **_nowhere(["client_encoding"], "utf8", "utf-8", "unicode", "auto", reason="it always speaks UTF-8"),
    **_nowhere(["channel_binding"], "disable", "prefer", reason=CHANNEL_REASON),
    **_nowhere(["gssencmode"], "disable", "prefer", reason="it cannot encrypt by GSSAPI"),
    **_nowhere(["load_balance_hosts"], "disable", reason="it tries hosts in the order in which they are written"),
    **_nowhere(["keepalives", "tcp_user_timeout", "sslcompression"], "0"),
    **_nowhere(["sslsni"], "1"),
    **_nowhere(["sslcertmode"], "allow"),
    **_nowhere(["replication"], "0", "false", "off", "no"),
}

PSYCOPG2_OPTIONS: Mapping[str, Option] = {
    **dict.fromkeys((*LIBPQ_KEYS, "plugin"), Option()),
    "database": Option(name="dbname"),
    "ssl": Option(name="sslmode", convert=_ssl_mode, reason=SSL_REASON),
    "direct_tls": Option(name="sslnegotiation", convert=lambda word: "direct" if _is_true(word) else "postgres"),
    "timeout": Option(name="connect_timeout", convert=_whole_seconds, reason=NUMBER_REASON),
    **_nowhere(["command_timeout"], reason="it has no time limit for a statement on the client's side"),
    **_dropped("statement_cache_size", "prepared_statement_cache_size", *CACHE_KEYS),
}

PSYCOPG_OPTIONS: Mapping[str, Option] = {
    **PSYCOPG2_OPTIONS,
    **dict.fromkeys(
        ("statement_cache_size", "prepared_statement_cache_size"),
        Option("argument", name="prepare_threshold", convert=lambda _size: None),
    ),
}

MYSQL_KEYS = (
    *("host", "port", "user", "password", "unix_socket", "charset", "use_unicode", "sql_mode", "init_command"),
    *("connect_timeout", "autocommit", "local_infile", "client_flag", "program_name", "server_public_key"),
    *("read_default_file", "read_default_group", "plugin"),
)
MYSQL_SSL_KEYS = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_capath", "ssl_cipher", "ssl_check_hostname")

AIOMYSQL_OPTIONS: Mapping[str, Option] = {
    **dict.fromkeys((*MYSQL_KEYS, "db"), Option()),
    **_nowhere(("ssl", *MYSQL_SSL_KEYS), reason="it takes only an ssl.SSLContext, which cannot stand in a URL"),
    **_dropped("ssl_disabled", "max_allowed_packet", "stmt_cache_size"),
}

ASYNCMY_OPTIONS: Mapping[str, Option] = {
    **dict.fromkeys((*MYSQL_KEYS, *MYSQL_SSL_KEYS, "db", "read_timeout", "max_allowed_packet"), Option()),
    **_dropped("ssl_disabled"),
}

PYMYSQL_OPTIONS: Mapping[str, Option] = {
    **dict.fromkeys((*MYSQL_KEYS, *MYSQL_SSL_KEYS, "database", "read_timeout", "max_allowed_packet"), Option()),
    **_dropped("echo", "stmt_cache_size"),
}

DRIVER_OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "asyncpg": ASYNCPG_OPTIONS,
    "psycopg": PSYCOPG_OPTIONS,
    "psycopg2": PSYCOPG2_OPTIONS,
    "aiomysql": AIOMYSQL_OPTIONS,
    "asyncmy": ASYNCMY_OPTIONS,
    "pymysql": PYMYSQL_OPTIONS,
}
"""How each driver takes the options that it may meet in a URL."""
