"""How the clients of databases read their command lines, as far as it tells which database they reach.

Only options that take a value have to be known: where the value is a word of its own, it must not be taken for the name
of a database. Follows the manuals of each client; options that come with later versions are read as flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["DROPDB", "MYSQL", "PGBENCH", "PG_RESTORE", "PSQL", "SQLITE_SHELL", "Options", "Style", "read_options"]


class Style(NamedTuple):
    """How a program reads its options.

    Attributes:
        short: The letters of the short options that take a value.
        long: The long options that take a value, and how many words that is.
        attached: The letters of short options whose value follows without a blank, or not at all.
        is_long_after_one_dash: Whether there are no short options.
    """

    short: str
    long: dict[str, int]
    attached: str = ""
    is_long_after_one_dash: bool = False


class Options(NamedTuple):
    """A command line.

    Attributes:
        pairs: Each option, without its dashes, and its value.
        words: What is no option.
    """

    pairs: tuple[tuple[str, str], ...]
    words: list[str]

    def has(self, *names: str) -> bool:
        """Tell whether one of these options is there."""
        return any(name in names for name, _ in self.pairs)

    def values(self, *names: str) -> list[str]:
        """Return the values of these options, in their order."""
        return [value for name, value in self.pairs if name in names]

    def last(self, *names: str) -> str | None:
        """Return the value of the last one of these options."""
        return next(iter(self.values(*names)[::-1]), None)


def _one(names: str) -> dict[str, int]:
    return dict.fromkeys(names.split(), 1)


CONNECTION = "dbname host port username "
PSQL = Style(
    "cdfFhLopPRTUv",
    _one(f"{CONNECTION} command file set variable pset field-separator record-separator table-attr log-file output"),
)
PG_RESTORE = Style(
    "dfFhIjLnNpPStTU",
    _one(
        f"{CONNECTION} file format index jobs use-list schema exclude-schema function superuser table trigger role "
        "section"
    ),
)
PGBENCH = Style(
    "bcDfFhIjLMpPRstTU",
    _one(
        f"{CONNECTION} builtin client define file fillfactor init-steps jobs latency-limit protocol progress rate "
        "scale transactions time tablespace index-tablespace partitions random-seed aggregate-interval log-prefix"
    ),
)
DROPDB = Style("hpU", _one("host port username maintenance-db"))
MYSQL = Style(
    "DehPSu",
    _one(
        "database execute host port socket user delimiter prompt protocol tee plugin-dir default-auth init-command "
        "default-character-set character-sets-dir connect-timeout max-allowed-packet net-buffer-length select-limit "
        "max-join-size server-arg defaults-file defaults-extra-file defaults-group-suffix login-path ssl-ca ssl-cert "
        "ssl-key ssl-cipher ssl-capath ssl-crl ssl-crlpath ssl-mode ssl-fp ssl-fplist tls-version columns "
        "fields-terminated-by fields-enclosed-by fields-escaped-by lines-terminated-by ignore-lines use-threads "
        "sleep count shutdown-timeout"
    ),
    attached="p",
)
SQLITE_SHELL = Style(
    "",
    _one("cmd init separator newline nullvalue vfs mmap maxsize heap escape") | {"lookaside": 2, "pagecache": 2},
    is_long_after_one_dash=True,
)


def read_options(arguments: Sequence[str], style: Style) -> Options:
    """Read a command line.

    Example:
        >>> read_options(["-Ue", "--dbname=shop", "-c", "DROP TABLE a", "--port", "1", "x"], PSQL)
        Options(pairs=(('U', 'e'), ('dbname', 'shop'), ('c', 'DROP TABLE a'), ('port', '1')), words=['x'])
    """
    pairs: list[tuple[str, str]] = []
    words: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--" and not style.is_long_after_one_dash:
            words += rest
        elif argument.startswith("--") or (style.is_long_after_one_dash and len(argument) > 1 and argument[0] == "-"):
            pairs.append(_read_long(argument.lstrip("-"), rest, style))
        elif argument.startswith("-") and len(argument) > 1:
            pairs += _read_short(argument[1:], rest, style)
        else:
            words.append(argument)
    return Options(tuple(pairs), words)


def _read_long(text: str, rest: Iterator[str], style: Style) -> tuple[str, str]:
    written, equals, value = text.partition("=")
    written = written.replace("_", "-")
    whole = [written] if written in style.long else [name for name in style.long if name.startswith(written)]
    if len(whole) != 1 or (equals and style.is_long_after_one_dash):
        return written, value
    if not equals:
        value = " ".join(next(rest, "") for _ in range(style.long[whole[0]]))
    return whole[0], value


def _read_short(letters: str, rest: Iterator[str], style: Style) -> Iterator[tuple[str, str]]:
    for number, letter in enumerate(letters, 1):
        if letter in style.attached:
            yield letter, letters[number:]
            return
        if letter in style.short:
            yield letter, letters[number:] or next(rest, "")
            return
        yield letter, ""
