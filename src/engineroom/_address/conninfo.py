"""Connection strings of PostgreSQL: the two forms that libpq reads, and the one that asyncpg reads.

Follows https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING. A string that does not parse gives
None; the caller takes it for unknown.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["looks_like_conninfo", "read_asyncpg_dsn", "read_conninfo"]

SCHEMES = ("postgresql://", "postgres://")
PAIR = re.compile(
    r"\s*(?P<key>[^\s=]+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<plain>(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|))(?=\s|$)",
    re.DOTALL,
)
URI = re.compile(
    r"""
    (?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?
    (?P<hosts>[^/?]*)
    (?:/(?P<dbname>[^?]*))?
    (?:\?(?P<query>.*))?
    """,
    re.VERBOSE | re.DOTALL,
)
HOST = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<host>[^:]*))(?::(?P<port>\d*))?")
UNCLEAR = re.compile(r"%(?![0-9A-Fa-f]{2})|%00|\s")
"""What makes a URI invalid; and blanks, which some versions of libpq strip and others keep."""


def looks_like_conninfo(name: str) -> bool:
    """Tell whether a database name may be expanded into a whole connection string."""
    return "=" in name or name.startswith(SCHEMES)


def read_conninfo(text: str) -> dict[str, str] | None:
    """Return the settings of a connection string as libpq reads it: of several values the last one holds.

    Example:
        >>> read_conninfo("host=localhost dbname='my shop'")
        {'host': 'localhost', 'dbname': 'my shop'}
        >>> read_conninfo("postgresql://localhost/shop?dbname=other")
        {'host': 'localhost', 'dbname': 'other'}
        >>> read_conninfo("no sense") is None
        True
    """
    scheme = next((scheme for scheme in SCHEMES if text.startswith(scheme)), None)
    return _read_uri(text.removeprefix(scheme)) if scheme else _read_pairs(text)


def _read_pairs(text: str) -> dict[str, str] | None:
    settings: dict[str, str] = {}
    position = 0
    while text[position:].strip():
        pair = PAIR.match(text, position)
        if pair is None:
            return None
        value = pair["plain"] if pair["quoted"] is None else pair["quoted"]
        settings[pair["key"]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        position = pair.end()
    return settings


def _read_uri(rest: str) -> dict[str, str] | None:
    parts = URI.fullmatch(rest)
    if parts is None or UNCLEAR.search(rest):
        return None
    hosts = [HOST.fullmatch(host) for host in parts["hosts"].split(",")]
    if not all(hosts):
        return None
    settings = {
        "user": unquote(parts["user"] or ""),
        "password": unquote(parts["password"] or ""),
        "host": ",".join(unquote(host["ipv6"] or host["host"] or "") for host in hosts if host),
        "port": ",".join(host["port"] or "" for host in hosts if host),
        "dbname": unquote(parts["dbname"] or ""),
    }
    settings = {key: value for key, value in settings.items() if value.strip(",")}
    for option in (parts["query"] or "").split("&"):
        key, equals, value = option.partition("=")
        if option and not (key and equals and "=" not in value):
            return None
        if option:
            settings[unquote(key)] = unquote(value)
    return settings


def read_asyncpg_dsn(text: str) -> dict[str, str] | None:
    """Return the settings of a connection string as asyncpg reads it, or None where readings differ.

    Example:
        >>> read_asyncpg_dsn("postgres://app@localhost:5432/shop")
        {'user': 'app', 'database': 'shop', 'host': 'localhost'}
    """
    try:
        parts = urlsplit(text)
        query = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
    except ValueError:
        return None
    if parts.scheme not in {"postgresql", "postgres"} or parts.netloc.count("@") > 1:
        return None
    credentials, _, place = parts.netloc.rpartition("@")
    settings = {"user": unquote(credentials.partition(":")[0]), "database": unquote(parts.path.removeprefix("/"))}
    settings = {key: value for key, value in settings.items() if value}
    for key, value in [("host", unquote(place)), *query] if place else query:
        name = "database" if key == "dbname" else key
        shown = _hosts_of(value) if key == "host" else value
        # In this driver the first part wins, in libpq the last one. Where they differ, say nothing.
        if shown is None or settings.setdefault(name, shown) != shown:
            return None
    return settings


def _hosts_of(specs: str) -> str | None:
    """Return the hosts of ``host:port,/path/of/socket``, or None where one of them is neither."""
    hosts = []
    for spec in specs.split(","):
        parts = HOST.fullmatch(spec)
        host = spec if spec.startswith("/") else parts and (parts["ipv6"] or parts["host"])
        if not host:
            return None
        hosts.append(host)
    return ",".join(hosts)
