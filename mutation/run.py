"""Mutation testing of the judge and the guard: change the code in small ways, and see whether a test notices.

Each module is mutated by itself, in a working directory of its own below ``--work``, with the tests that are meant for
it. A run that was stopped goes on where it left off; survivors are tried again, since a new test may kill them. What
survives must stand in ``survivors.toml`` with a reason: anything else ends the program with an error, in a form that
can be pasted there. Usage: ``nox -s mutation -- [MODULE ...]``, where ``_statements`` means all modules of the package.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).parent.parent
PACKAGE = Path("src/engineroom")
LISTED = Path(__file__).parent / "survivors.toml"
COPIED = ("src", "tests", "mutation", "README.md")
CERTAIN = frozenset({"killed", "caught by type check"})
KILLED = CERTAIN | {"timeout"}
UNDECIDED = frozenset({"not checked", "check was interrupted by user"})

ONE_DRIVER_EACH = "not asyncpg and not aiomysql and not asyncmy and not psycopg_async"
"""What a change breaks, it breaks for every driver: psycopg, psycopg2 and PyMySQL stand for the others."""
_STATEMENTS = (
    "tests/unit/test_statements.py",
    "tests/unit/test_statements_lexer.py",
    "tests/unit/test_statements_words.py",
)
_WRITES = (
    "--deselect",
    "tests/unit/test_statements_writes.py::test_no_text_is_too_much",  # it only looks for what crashes
    "tests/unit/test_statements_writes.py",
)
_ADDRESS = ("tests/unit/test_address.py", "tests/unit/test_masking.py")
ONE_WAY_EACH = "not run_sync and not aiosqlite and not async and not pooled and not driver and not taken"
"""A statement on SQLite is judged whichever way it came: text(), a raw cursor and creator= stand for all."""
_SQLITE_CONNECTIONS = (
    "-k",
    f"{ONE_WAY_EACH} or test_live or test_guard or test_watch_from_outside",
    "tests/database/sqlite/test_watch_from_outside.py",
    "tests/database/sqlite/test_live_identity.py",
    "tests/database/sqlite/test_guard_from_outside.py",
    "tests/database/sqlite/test_watch_over_a_connection.py",
    "tests/database/sqlite/test_creations_of_a_connection.py",
)
"""All ways in which connections are opened and used; what they may do is the judges' business."""
_SQLITE_JUDGES = (
    "-k",
    ONE_WAY_EACH,
    "tests/database/sqlite/test_answers_to_sqlite.py",
    "tests/database/sqlite/test_creations_of_a_connection.py",
    "tests/database/sqlite/test_schemas_of_a_connection.py",
    "tests/database/sqlite/test_watch_over_a_connection.py",
    "tests/database/sqlite/test_guard_on_sqlite.py",
    "tests/database/sqlite/test_guard_targets.py",
    "tests/database/sqlite/test_guard_from_outside.py",
    "tests/database/sqlite/test_drop_all.py",
    "tests/database/sqlite/test_permit.py",
)
_SQLITE_SCHEMAS = (
    "-k",
    ONE_WAY_EACH,
    "tests/database/sqlite/test_schemas_of_a_connection.py",
    "tests/database/sqlite/test_live_identity.py",
    "tests/database/sqlite/test_guard_targets.py",
)
_SQLITE_WATCH = (
    "-k",
    f"({ONE_WAY_EACH}) or test_guard_from_outside or test_watch_from_outside",
    "tests/database/sqlite/test_watch_over_a_connection.py",
    "tests/database/sqlite/test_guarded_connection.py",
    "tests/database/sqlite/test_watch_from_outside.py",
    "tests/database/sqlite/test_creations_of_a_connection.py",
    "tests/database/sqlite/test_guard_from_outside.py",
    "tests/database/sqlite/test_permit.py",
)
_SERVERS = (
    "tests/unit/test_executors.py",
    "tests/database/test_guard_catalogue.py",
    "tests/database/test_guard_server_watch.py",
    "tests/database/test_guard_server.py",
)
"""The guard on servers, asked directly: whole statements by each driver would take a minute for each change."""
TESTS: dict[str, tuple[str, ...]] = {
    "_verdict": ("tests/unit/test_verdict.py",),
    **{f"_address/{name}": _ADDRESS for name in ("_model", "_reading", "conninfo", "masking", "server", "sqlite")},
    # mutmut's own frames hold what the test must not find in ours.
    "_address/twin": (
        "--deselect",
        f"{_ADDRESS[0]}::test_the_error_about_a_twin_shows_no_secret_in_its_frames",
        *_ADDRESS,
    ),
    **{
        f"_statements/{name}": _STATEMENTS
        for name in (
            *("__init__", "cursor", "destruction", "lexer", "words", "sqlite"),
            *("postgresql", "postgresql_schema", "mysql", "mysql_definitions", "mysql_schema"),
        )
    },
    "_statements/creations": ("tests/unit/test_creations.py",),
    "_statements/files": ("tests/unit/test_statements_files.py",),
    **{f"_statements/{name}": _WRITES for name in ("writes", "mysql_writes", "postgresql_writes")},
    "_identity": ("tests/unit/test_identity.py",),
    "_permit": (
        "-k",
        ONE_DRIVER_EACH,
        "tests/database/sqlite/test_permit.py",
        "tests/database/test_permit_on_servers.py",
    ),
    "_guard/refusals": ("tests/unit/test_refusals.py",),
    **{f"_guard/{name}": _SERVERS for name in ("server", "server_watch", "catalogue")},
    **{f"_guard/{name}": _SQLITE_JUDGES for name in ("answers", "creations")},
    "_guard/schemas": _SQLITE_SCHEMAS,
    "_guard/watch": _SQLITE_WATCH,
    "_guard/outside": _SQLITE_CONNECTIONS,
    "_guard/sqlite_connection": (*_SQLITE_CONNECTIONS, "tests/database/sqlite/test_guarded_connection.py"),
    "_guard/__init__": ("tests/database/test_guard_put_on.py", *_SQLITE_CONNECTIONS),
    "_guard/live": ("tests/database/test_live_facts.py", *_SQLITE_CONNECTIONS),
    "_guard/drop_all": (
        "-k",
        "test_drop_all or (of_the_metadata and psycopg2)",
        "tests/database/sqlite/test_drop_all.py",
        "tests/database/test_guard_on_servers.py",
        "tests/database/test_guard_targets_on_servers.py",
    ),
}
"""The tests that are meant to notice a change of each module; the first ones should be the fast ones."""


class Survivor(NamedTuple):
    """A change that no test noticed, known by what it does and not by its number, which moves with the code."""

    module: str
    function: str
    was: str
    becomes: str


def main() -> int:
    """Mutate the modules that are named, or all, and compare what survived with the list."""
    arguments = _parse_arguments()
    if arguments.table:
        _print_table(arguments.work)
        return 0
    unknown: list[Survivor] = []
    known = {Survivor(*(entry[field] for field in Survivor._fields)) for entry in _read_list()}
    for module in _choose(arguments.modules):
        counts, survivors = _mutate(module, arguments.work / module.replace("/", "."))
        new = [survivor for survivor in survivors if survivor not in known]
        gone = [survivor for survivor in known if survivor.module == module and survivor not in survivors]
        print(f"{module}: {_tell(counts)}; {len(survivors) - len(new)} survivors listed, {len(new)} not", flush=True)
        for survivor in gone:
            print(f"  listed, but killed or changed: {survivor.function}: {survivor.becomes!r}")
        unknown += new
    for survivor in unknown:
        print(_write_entry(survivor))
    return 1 if unknown else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "modules", nargs="*", help="modules below src/engineroom, such as _verdict or _statements/lexer"
    )
    parser.add_argument(
        "--table", action="store_true", help="only print what former runs found, as a table for the docs"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "mutants", help="where the working directories are kept")
    return parser.parse_args()


def _choose(wanted: list[str]) -> list[str]:
    chosen = [module for module in TESTS if not wanted or any(_is_part(module, word) for word in wanted)]
    if not chosen:
        sys.exit(f"No such module; there are: {', '.join(TESTS)}")
    return chosen


def _is_part(module: str, word: str) -> bool:
    return module == word.rstrip("/") or module.startswith(f"{word.rstrip('/')}/")


def _mutate(module: str, work: Path) -> tuple[Counter[str], list[Survivor]]:
    """Run mutmut on one module; return how many mutants there are of each status, and the survivors."""
    _prepare(module, work)
    path = PACKAGE / f"{module}.py"
    before = _statuses(work, path)
    _run_mutmut(work)
    # mutmut lets an old result stand, but a test may be new, and a timeout the fault of a busy machine.
    again = [name for name, status in before.items() if status not in CERTAIN | UNDECIDED]
    after = _statuses(work, path)
    again = [name for name in again if after.get(name) == before[name]]
    if again:
        _run_mutmut(work, *again)
        after = _statuses(work, path)
    survivors = [_describe(work, path, module, name) for name, status in after.items() if status not in KILLED]
    return Counter(after.values()), survivors


def _prepare(module: str, work: Path) -> None:
    """Bring the working directory up to date; times of change are kept, by which mutmut knows what is new."""
    work.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.rmtree(work / name, ignore_errors=True)
            shutil.copytree(source, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, work / name)
    settings = {
        "only_mutate": [str(PACKAGE / f"{module}.py")],
        "pytest_add_cli_args_test_selection": TESTS[module],
        # mutmut does not count what it takes to make a database, and to drop it.
        "timeout_constant": 8.0 if TESTS[module] is _SERVERS else 1.0,
    }
    text = (ROOT / "pyproject.toml").read_text().rstrip()
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    # [tool.mutmut] is the last table of the file, so that these lines belong to it.
    (work / "pyproject.toml").write_text("\n".join([text, *lines, ""]))


def _run_mutmut(work: Path, *names: str) -> None:
    mutmut = Path(sys.executable).with_name("mutmut")
    done = subprocess.run([mutmut, "run", "--max-children", "1", *names], cwd=work, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"mutmut ended with {done.returncode} in {work}")


def _statuses(work: Path, path: Path) -> dict[str, str]:
    if not (work / "mutants" / f"{path}.meta").exists():
        return {}
    with chdir(work):
        data = SourceFileMutationData(path=path)
        data.load()
    return {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}


def _describe(work: Path, path: Path, module: str, name: str) -> Survivor:
    """Return what a mutant changes: its number would be another one after the next change of the function."""
    with chdir(work):
        lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
    was, becomes = ("\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    # engineroom._guard.server.xǁClassǁmethod__mutmut_7, or ...x_function__mutmut_7
    mangled = name.rpartition(".")[2].rpartition("__mutmut_")[0]
    return Survivor(module, mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", "."), was, becomes)


def _print_table(work: Path) -> None:
    print("| module | changes | noticed | survived | not tried |")
    print("|---|---|---|---|---|")
    for module in TESTS:
        counts = Counter(_statuses(work / module.replace("/", "."), PACKAGE / f"{module}.py").values())
        noticed, untried = (sum(counts[status] for status in statuses) for statuses in (KILLED, UNDECIDED))
        if counts.total() > untried:
            survived = counts.total() - noticed - untried
            print(f"| `{module}` | {counts.total()} | {noticed} | {survived} | {untried} |")


def _read_list() -> list[dict[str, str]]:
    entries: list[dict[str, str]] = tomllib.loads(LISTED.read_text()).get("survivor", [])
    for entry in entries:
        if not entry["why"].strip():
            sys.exit(f"A survivor of {entry['module']} has no reason: {entry['becomes']!r}")
    return entries


def _tell(counts: Counter[str]) -> str:
    return ", ".join([f"{counts.total()} mutants", *(f"{count} {status}" for status, count in counts.most_common())])


def _write_entry(survivor: Survivor) -> str:
    """Return an entry of the list, without its reason."""
    fields = [f"{field} = {json.dumps(value, ensure_ascii=False)}" for field, value in survivor._asdict().items()]
    return "\n".join(["[[survivor]]", *fields, 'why = ""', ""])


if __name__ == "__main__":
    os.nice(10)  # a long run gives way to others
    sys.exit(main())
