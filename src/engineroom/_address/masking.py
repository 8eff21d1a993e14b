"""Shows a database URL without its secrets.

What is known to be harmless is shown, everything else is not: a new option of a driver is masked until it is listed.
The URL may have been taken apart wrongly, since its password holds letters that should have been encoded. So a part
that looks as if a piece of a password had strayed into it is masked too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL

__all__ = ["mask_url"]

MASK = "***"
MOST_PORT = 65535
SHOWN_KEYS = frozenset(
    {
        *("host", "hostaddr", "port", "user", "dbname", "database", "db", "service", "unix_socket", "unix_sock"),
        *("uri", "mode", "cache", "vfs", "immutable", "nolock", "timeout", "isolation_level", "check_same_thread"),
        *("detect_types", "cached_statements", "driver", "charset", "collation", "use_unicode", "autocommit"),
        *("ssl", "sslmode", "sslrootcert", "sslcert", "sslcrl", "sslnegotiation", "channel_binding", "gssencmode"),
        *("ssl_ca", "ssl_cert", "ssl_capath", "ssl_check_hostname", "ssl_disabled", "ssl_verify_cert", "direct_tls"),
        *("application_name", "client_encoding", "target_session_attrs", "load_balance_hosts", "command_timeout"),
        *("connect_timeout", "read_timeout", "write_timeout", "local_infile", "statement_cache_size", "compress"),
        *("prepared_statement_cache_size", "keepalives", "keepalives_idle", "read_default_file", "program_name"),
    },
)
SUSPECT = re.compile(r"[@=]|://")
PLAIN_KEY = re.compile(r"[\w.-]+")
PLAIN_HOST = re.compile(r"[\w.:/%,-]*")
OPTIONS_OF_A_FILE = re.compile(r"\?|%3f", re.IGNORECASE)


def mask_url(url: URL | str) -> str:
    """Return a database URL for people: password, secrets in the query and strays of them are ``***``. Never raises.

    Args:
        url: The URL, parsed or not.

    Returns:
        The URL for messages; ``***`` where it cannot be parsed.

    Example:
        >>> mask_url("postgresql://app:geheim@db.internal/shop?sslmode=require&password=geheim")
        'postgresql://app:***@db.internal/shop?sslmode=require&password=***'
        >>> mask_url("geheim")
        '***'
    """
    from sqlalchemy.engine import make_url  # noqa: PLC0415  # the fence asks about a driver without it
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    try:
        parsed = make_url(url)
        is_torn = _is_torn(parsed) or (isinstance(url, str) and url.count("@") > 1 and not _is_file(parsed))
        return f"{parsed.drivername}://{MASK}" if is_torn else _render(parsed)
    except (SQLAlchemyError, ValueError, TypeError, AttributeError):
        return MASK


def _render(url: URL) -> str:
    text = f"{url.drivername}://{_credentials(url)}{_place(url)}"
    if url.database is not None:
        text += f"/{_database(url)}"
    query = "&".join(_query(url))
    return _printable(f"{text}?{query}" if query else text)


def _is_torn(url: URL) -> bool:
    """Tell whether the parts of the URL look as if a password had been cut in the middle."""
    if _is_file(url):
        return False
    strays = [url.host or "", url.database or ""]
    if url.password is not None:
        strays += [part for key, values in url.normalized_query.items() for part in (key, *values)]
    return (
        any("@" in stray for stray in strays)
        or not PLAIN_HOST.fullmatch(url.host or "")
        or not 0 <= (url.port or 0) <= MOST_PORT
    )


def _is_file(url: URL) -> bool:
    """Tell whether the URL names a file and has no place for a password."""
    return url.get_backend_name() == "sqlite" and not (url.username or url.password or url.host)


def _looks_like_conninfo(text: str) -> bool:
    """Tell whether a text may be a connection string, however often it was percent-encoded."""
    while (decoded := unquote(text)) != text:
        text = decoded
    return SUSPECT.search(text) is not None


def _credentials(url: URL) -> str:
    if url.username is None and url.password is None:
        return ""
    user = url.username or ""
    shown = MASK if ":" in user or "@" in user else quote(user, safe=" +")
    return f"{shown}:{MASK}@" if url.password is not None else f"{shown}@"


def _place(url: URL) -> str:
    host = url.host or ""
    shown = f"[{host}]" if ":" in host else host
    return shown if url.port is None else f"{shown}:{url.port}"


def _database(url: URL) -> str:
    database = url.database or ""
    if url.get_backend_name() == "sqlite":
        path, *options = OPTIONS_OF_A_FILE.split(database, maxsplit=1)
        return f"{path}?{MASK}" if options else path
    return MASK if _looks_like_conninfo(database) else database


def _query(url: URL) -> Iterator[str]:
    for key, values in url.normalized_query.items():
        for value in values:
            is_shown = key.lower() in SHOWN_KEYS and not _looks_like_conninfo(value)
            name = key if PLAIN_KEY.fullmatch(key) else MASK
            yield f"{name}={value if is_shown else MASK}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
