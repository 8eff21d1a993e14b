"""Show what one line of ``app/db/database.py`` is worth.

The tests of this example are run twice, each time beside a freshly seeded development database: once with the engine of
an ordinary application, once with engineroom's. Both runs happen in copies of the example, in a temporary directory
that is removed at the end (``TMPDIR`` says where it is made); nothing outside of it is changed. The demo itself needs
nothing but the standard library, the example needs its ``requirements.txt``.
"""

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
DATABASE = Path("data", "battle.db")
ENGINE_MODULE = Path("app", "db", "database.py")
SEEDED = {"users": 3, "dancers": 40, "tournaments": 2}
NEEDED = ("engineroom", "sqlalchemy", "aiosqlite", "fastapi", "httpx", "pytest", "pytest_asyncio")
RAM_STORAGE = Path("/dev/shm")  # noqa: S108  # the directory made there is private
LEAST_FREE_BYTES = 32 * 1024 * 1024
WIDTH = 100
MOST_SECONDS = 120  # for one command; a demo that hangs is worse than one that fails

ORDINARY = {
    "from engineroom import get_async_engine": "from sqlalchemy.ext.asyncio import create_async_engine",
    "engine = get_async_engine(": "engine = create_async_engine(",
}
"""What an ordinary application has in place of the example's one line, and of the import for it."""

DROP_DB = "import asyncio; from app.db.database import drop_db; asyncio.run(drop_db())"
REFUSAL = "DestructiveOperationError"


class StepError(Exception):
    """A step failed that the rest of the demo needs."""


class Claim(NamedTuple):
    """What the demo says, and whether it was seen to be true."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Snapshot:
    """The development database at one moment.

    Attributes:
        rows: How many rows each table has; None where the table is gone.
        sha256: Of the file.
        files: The names of all files beside it, itself included.
    """

    rows: dict[str, int | None]
    sha256: str
    files: tuple[str, ...]

    @property
    def is_lost(self) -> bool:
        return not any(self.rows.values())


@dataclass(frozen=True)
class Outcome:
    """How a command ended, what it printed, and the database before and after it."""

    status: int
    output: str
    before: Snapshot
    after: Snapshot

    @property
    def is_harmless(self) -> bool:
        return self.before == self.after and self.after.rows == SEEDED


def main() -> int:
    """Run the demo. The exit status is 0 only if all that it claims was seen."""
    options = parse_arguments()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        say(f"Not installed: {', '.join(missing)}.", f"Install them:  pip install -r {HERE / 'requirements.txt'}")
        return 2
    started = time.monotonic()
    try:
        with open_work_directory(keep=options.keep) as work:
            claims = [
                *run_ordinary(work / "ordinary"),
                *run_example(work / "example", ordinary=work / "ordinary"),
                *drop_by_hand(work / "example"),
            ]
    except StepError as error:
        say(str(error))
        return 1
    say("What was seen", "")
    for claim in claims:
        say(f"  {'yes' if claim.holds else 'NO ':3}  {claim.text}")
    say("", f"It took {time.monotonic() - started:.0f} s.")
    return 0 if all(claim.holds for claim in claims) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py",
        description="Run the example's tests with an ordinary engine and with engineroom's, each time beside a freshly "
        "seeded development database, and show what is left of it. Then drop its tables by hand.",
        epilog="Exit status: 0 if everything was as claimed, 1 if not, 2 if a package is missing.",
    )
    parser.add_argument("--keep", action="store_true", help="keep the temporary directory, and say where it is")
    return parser.parse_args()


# The three parts


def run_ordinary(project: Path) -> list[Claim]:
    """Run the tests on SQLAlchemy's own engine, in a world without engineroom."""
    say("1. An ordinary application: SQLAlchemy's create_async_engine, engineroom switched off", "")
    copy_example(project)
    replace_engine(project / ENGINE_MODULE)
    seed(project)
    outcome = watch(project, "-m", "pytest", "-p", "no:engineroom")
    show(outcome, command="pytest -p no:engineroom", lines=[find_summary(outcome.output)])
    return check(
        outcome,
        Claim("Without engineroom every test passes ...", outcome.status == 0),
        Claim("... and the development database is lost.", outcome.after.is_lost),
    )


def run_example(project: Path, *, ordinary: Path) -> list[Claim]:
    """Run the same tests on engineroom's engine."""
    say("2. The same application with engineroom's get_async_engine", "")
    copy_example(project)
    show_diff(ordinary / ENGINE_MODULE, project / ENGINE_MODULE)
    seed(project)
    outcome = watch(project, "-m", "pytest")
    show(outcome, command="pytest", lines=[*find_reports(outcome.output), find_summary(outcome.output)])
    return check(
        outcome,
        Claim("With engineroom every test passes ...", outcome.status == 0),
        Claim("... and the development database is the same, byte for byte.", outcome.is_harmless),
    )


def drop_by_hand(project: Path) -> list[Claim]:
    """Call ``drop_db()`` in development, outside of any test."""
    say("3. drop_db() typed by hand in development", "")
    outcome = watch(project, "-c", DROP_DB)
    message = find_refusal(outcome.output)
    show(outcome, command=f'python -c "{DROP_DB}"', lines=message)
    return check(
        outcome,
        Claim("In development drop_db() is refused ...", outcome.status != 0 and bool(message)),
        Claim("... and the development database is still the same.", outcome.is_harmless),
    )


# What they do


@contextmanager
def open_work_directory(*, keep: bool) -> Iterator[Path]:
    """Make a temporary directory, and remove it even if the demo is interrupted or terminated."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    work = Path(tempfile.mkdtemp(prefix="battle-demo-", dir=choose_storage()))
    try:
        yield work
    finally:
        if keep:
            say(f"Kept: {work}", "")
        else:
            shutil.rmtree(work, ignore_errors=True)


def choose_storage() -> Path | None:
    """Return storage in RAM, where a commit need not wait for a disk; None for the system's temporary directory.

    The tests create and drop all tables more than a hundred times: on a busy disk that takes a minute.
    """
    if "TMPDIR" in os.environ or not os.access(RAM_STORAGE, os.W_OK):
        return None
    return RAM_STORAGE if shutil.disk_usage(RAM_STORAGE).free > LEAST_FREE_BYTES else None


def copy_example(project: Path) -> None:
    """Copy the example without anything that using it has left behind."""
    shutil.copytree(HERE, project, ignore=shutil.ignore_patterns("__pycache__", ".*cache", "*.db*", ".env*", ".venv"))
    (project / DATABASE).parent.mkdir(exist_ok=True)


def replace_engine(module: Path) -> None:
    """Give a copy the engine of an ordinary application."""
    text = module.read_text()
    for ours, ordinary in ORDINARY.items():
        if text.count(ours) != 1:
            raise StepError(f'"{ours}" should stand once in {module}.')
        text = text.replace(ours, ordinary)
    module.write_text(text)


def seed(project: Path) -> None:
    """Write the development database of a copy."""
    status, output = run(project, "-m", "app.seed")
    if status != 0 or take_snapshot(project / DATABASE).rows != SEEDED:
        raise StepError(f"The database could not be seeded.\n\n{quote(output)}")


def watch(project: Path, *arguments: str) -> Outcome:
    """Run Python in a copy, and look at its development database before and after."""
    before = take_snapshot(project / DATABASE)
    status, output = run(project, *arguments)
    return Outcome(status, output, before, take_snapshot(project / DATABASE))


def run(project: Path, *arguments: str) -> tuple[int, str]:
    """Run Python in a copy; return its exit status and everything that it printed."""
    try:
        child = subprocess.run(  # noqa: S603  # our own interpreter, on a copy of our own files
            [sys.executable, *arguments],
            cwd=project,
            env=make_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        raise StepError(f"No end after {MOST_SECONDS} s: python {' '.join(arguments)}\n\n{quote(output)}") from None
    return child.returncode, child.stdout


def make_environment() -> dict[str, str]:
    """Return this process's environment without what would change the outcome: a shell like a newcomer's."""
    decides = re.compile(
        r"APP_ENV|SECRET_KEY|.*DATABASE_URL|ENGINEROOM_.*|PYTEST_.*|PYTHONSAFEPATH|FORCE_COLOR", re.IGNORECASE
    )
    return {name: value for name, value in os.environ.items() if not decides.fullmatch(name)} | {"NO_COLOR": "1"}


def take_snapshot(database: Path) -> Snapshot:
    """Look at a database without writing to it."""
    rows = dict.fromkeys(SEEDED, None) if not database.exists() else count_rows(database)
    sha256 = hashlib.sha256(database.read_bytes()).hexdigest() if database.exists() else "no file"
    return Snapshot(rows, sha256, tuple(sorted(path.name for path in database.parent.iterdir())))


def count_rows(database: Path) -> dict[str, int | None]:
    rows: dict[str, int | None] = {}
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        for table in SEEDED:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [table])
            query = f"SELECT count(*) FROM {table}"  # noqa: S608  # one of the three names above
            rows[table] = connection.execute(query).fetchone()[0] if known.fetchone() else None
    return rows


# What they print


def say(*lines: str) -> None:
    for line in lines or [""]:
        print(line, flush=True)  # noqa: T201  # a command talks to its user


def quote(text: str) -> str:
    """Set off what a command printed, and fold its long lines."""
    lines = [fold(line) or [""] for line in text.rstrip().splitlines()]
    return "\n".join(f"  | {line}".rstrip() for folded in lines for line in folded)


def fold(line: str) -> list[str]:
    """Break a line between words; what follows stands below its text, behind a label or a dash."""
    label = re.match(r"\s*(?:\w+: )?(?:- )?", line)
    hanging = " " * (label.end() if label else 0)
    return wrap(line, WIDTH, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def show_diff(before: Path, after: Path) -> None:
    """Print the lines in which two modules differ."""
    lines = unified_diff(before.read_text().splitlines(), after.read_text().splitlines(), n=0, lineterm="")
    changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    say(f"  {ENGINE_MODULE}", *(f"    {line}" for line in changed), "")


def show(outcome: Outcome, *, command: str, lines: list[str]) -> None:
    """Print a command with what matters of its output, and a table of before and after."""
    say(f"  $ {command}", quote("\n".join(lines)), f"  exit status {outcome.status}", "")
    say("  " + f"{DATABASE}".ljust(16) + "".join(table.rjust(13) for table in SEEDED))
    for label, snapshot in (("before", outcome.before), ("after", outcome.after)):
        cells = ("no table" if count is None else str(count) for count in snapshot.rows.values())
        say("  " + label.ljust(16) + "".join(cell.rjust(13) for cell in cells))
    say("", "  SHA-256")
    say(f"  before  {outcome.before.sha256}", f"  after   {outcome.after.sha256}", "")


def check(outcome: Outcome, *claims: Claim) -> list[Claim]:
    """Print all that the command printed, if one of the claims about it does not hold."""
    if not all(claim.holds for claim in claims):
        say("  This is not what was expected. The whole output:", "", quote(outcome.output), "")
    return list(claims)


def find_summary(output: str) -> str:
    """Return pytest's last line without its frame."""
    return re.sub(r"^=+ | =+$", "", (output.strip().splitlines() or ["(no output)"])[-1])


def find_reports(output: str) -> list[str]:
    """Return what engineroom says in pytest's header and summary."""
    return [line for line in output.splitlines() if line.startswith("engineroom")]


def find_refusal(output: str) -> list[str]:
    """Return the message of the refusal, without the traceback before it."""
    lines = output.rstrip().splitlines()
    starts = [number for number, line in enumerate(lines) if f"{REFUSAL}: " in line]
    return lines[starts[-1] :] if starts else []


if __name__ == "__main__":
    sys.exit(main())
