"""The judge: is a database disposable, by which rule and why.

Answers from facts alone and asks nobody. The rules are tried in order, the first that holds decides, and the last one
always holds and says no: what is unknown is not disposable. Who gathers the facts, and what is done with the verdict,
is the business of the floors above.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["DEFAULT_TEST_NAMES", "RULES", "SERVER_BACKENDS", "Facts", "Rule", "Verdict", "judge"]

DEFAULT_TEST_NAMES = ("test_*",)
SERVER_BACKENDS = frozenset({"postgresql", "mysql", "mariadb"})
POSTGRESQL_NAME_BYTES = 63


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the judge sees of a database.

    Attributes:
        backend: SQLAlchemy's name of the database system, such as ``sqlite`` or ``postgresql``.
        database: The name of the database that is really reached; for SQLite the base name of the real file, once every
            symbolic link is followed. None where it is not known.
        in_memory: Whether it is a SQLite database without a file, or with a file that stands for one.
        links: How many names (hard links) the file of a SQLite database has.
        run_owned: Whether this test run made the file of the SQLite database below a temporary directory.
        location: Where it is, for people: a path, or a host and a name. Never holds a secret.

    Example:
        >>> Facts("sqlite", "shop.db", location="/srv/shop.db").links
        1
    """

    backend: str
    database: str | None
    in_memory: bool = False
    links: int = 1
    run_owned: bool = False
    location: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a database is disposable, and why.

    A verdict is true where the database is disposable, so that ``if verdict(engine):`` means what it says.

    Attributes:
        disposable: Whether losing everything in it costs nothing.
        rule: The rule that decided: ``in-memory``, ``test-name``, ``run-owned`` or ``none``.
        reason: A clause for messages, without a full stop.
        database: The name of the database; ``:memory:`` for one without a name in memory, empty where it is not known.

    Example:
        >>> bool(judge(Facts("postgresql", "shop")))
        False
    """

    disposable: bool
    rule: str
    reason: str
    database: str

    def __bool__(self) -> bool:
        """Return whether the database is disposable."""
        return self.disposable


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which a database can be judged.

    Attributes:
        name: The name of the rule, as messages and commands show it.
        disposable: What it says where it holds.
        holds: Whether it applies to these facts, under these test names.
        reason: The clause that tells why.

    Example:
        >>> [rule.name for rule in RULES]
        ['in-memory', 'test-name', 'run-owned', 'none']
    """

    name: str
    disposable: bool
    holds: Callable[[Facts, Sequence[str]], bool]
    reason: Callable[[Facts, Sequence[str]], str]


def judge(facts: Facts, test_names: Sequence[str] = DEFAULT_TEST_NAMES) -> Verdict:
    """Return the verdict of the first rule that holds.

    Args:
        facts: What is known of the database.
        test_names: The patterns that the name of a test database matches, exactly and case-sensitively.

    Returns:
        The verdict. Its reason names the database, never its location.

    Raises:
        TypeError: The patterns are one string; its letters would be taken for patterns.

    Example:
        >>> judge(Facts("postgresql", "test_shop")).rule
        'test-name'
        >>> judge(Facts("postgresql", "shop")).reason
        'the database "shop" is not disposable: it is not in memory and its name does not match test_*'
    """
    if isinstance(test_names, str):
        raise TypeError("test_names is a sequence of patterns, not one string.")
    rule = next(rule for rule in RULES if rule.holds(facts, test_names))
    name = facts.database or (":memory:" if rule.name == "in-memory" else "")
    return Verdict(rule.disposable, rule.name, rule.reason(facts, test_names), name)


def _is_one_file(facts: Facts) -> bool:
    """Tell whether a SQLite database has one name at most: a second hard link may be a real database."""
    return facts.backend == "sqlite" and facts.links <= 1


def _is_in_memory(facts: Facts, _test_names: Sequence[str]) -> bool:
    return facts.in_memory and _is_one_file(facts)


def _is_run_owned(facts: Facts, _test_names: Sequence[str]) -> bool:
    return facts.run_owned and _is_one_file(facts) and bool(facts.database)


def _has_test_name(facts: Facts, test_names: Sequence[str]) -> bool:
    if not facts.database or not (_is_one_file(facts) or facts.backend in SERVER_BACKENDS):
        return False
    return all(_matches(reading, test_names) for reading in _readings(facts.backend, facts.database))


def _matches(name: str, test_names: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in test_names)


def _readings(backend: str, database: str) -> tuple[str, ...]:
    """Return every name that the database may turn out to have; all of them must match."""
    if backend == "sqlite":
        # The name of a file is a base name. Should a path arrive nevertheless, its directory must not count.
        return (database, database.replace("\\", "/").rpartition("/")[2])
    if backend == "postgresql":
        # The server cuts a longer name without an error, and with it an ending that made the name match.
        return (database, database.encode(errors="replace")[:POSTGRESQL_NAME_BYTES].decode(errors="ignore"))
    return (database,)


def _always(_facts: Facts, _test_names: Sequence[str]) -> bool:
    return True


def _why_in_memory(_facts: Facts, _test_names: Sequence[str]) -> str:
    return "the database is in memory"


def _why_test_name(facts: Facts, test_names: Sequence[str]) -> str:
    pattern = next(pattern for pattern in test_names if fnmatchcase(facts.database or "", pattern))
    return f"the name of the database {_quote(facts.database)} matches {pattern}"


def _why_run_owned(facts: Facts, _test_names: Sequence[str]) -> str:
    return f"this test run made the file {_quote(facts.database)} below a temporary directory"


def _why_not(facts: Facts, test_names: Sequence[str]) -> str:
    """Explain the last rule: what kept each of the others from holding."""
    subject = f"the database {_quote(facts.database)}" if facts.database else "the database"
    verdict = f"{subject} is not disposable"
    if facts.backend != "sqlite" and facts.backend not in SERVER_BACKENDS:
        backend = f"of {_quote(facts.backend)}" if facts.backend else "without a known backend"
        return f"{verdict}: engineroom does not know how to tell which database a connection {backend} reaches"
    if facts.backend == "sqlite" and facts.links > 1:
        return f"{verdict}: its file has {facts.links} names (hard links), so another name may be a real database"
    if not facts.database:
        return f"{verdict}: its name is not known"
    return f"{verdict}: it is not in memory and its name does not match {' or '.join(test_names) or 'any test name'}"


def _quote(name: str | None) -> str:
    """Return a name in quotes; what cannot be printed is escaped, so that it cannot forge a line of the message."""
    shown = (letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name or "")
    return f'"{"".join(shown)}"'


RULES: tuple[Rule, ...] = (
    Rule("in-memory", disposable=True, holds=_is_in_memory, reason=_why_in_memory),
    Rule("test-name", disposable=True, holds=_has_test_name, reason=_why_test_name),
    Rule("run-owned", disposable=True, holds=_is_run_owned, reason=_why_run_owned),
    Rule("none", disposable=False, holds=_always, reason=_why_not),
)
"""Every rule, in the order in which they are tried. The last one always holds, and says no."""
