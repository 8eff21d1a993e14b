"""The command line: ``engineroom clean``.

Answers: what was asked, and how is it told? What it removes was made by engineroom, and is found by the modules that
made it; no command touches a database that is not disposable.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

from engineroom.errors import EngineroomError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["main"]

HEALTHY, FINDINGS, USAGE = 0, 1, 2


class _Item(NamedTuple):
    """Something that engineroom made and left.

    Attributes:
        kind: ``run`` for what a killed run kept in memory, ``image`` for a schema that was kept between runs.
        name: Its path.
        is_removed: Whether it is gone.
    """

    kind: str
    name: str
    is_removed: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What was written behind the program's name; by default that of this process.

    Returns:
        The exit code: 0 where all is well, 1 where something is left to do. Wrong usage exits with 2.
    """
    options = _parser().parse_args(arguments)
    try:
        items = list(_clean())
    except EngineroomError as error:
        print(f"engineroom: {error}", file=sys.stderr)
        return USAGE
    if options.json:
        print(json.dumps({"items": [item._asdict() for item in items]}, indent=2))
    else:
        _tell(items)
    return HEALTHY if all(item.is_removed for item in items) else FINDINGS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="engineroom", description="Look after the databases of tests.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    clean = commands.add_parser(
        "clean",
        help="remove what runs of tests left behind",
        description="Remove the databases in memory of runs that were killed, and the images of schemas that are kept "
        "between runs. What a run uses now stays. Nothing is removed that engineroom did not make.",
    )
    clean.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def _clean() -> Iterator[_Item]:
    from engineroom._memory import sweep  # noqa: PLC0415  # --help loads nothing
    from engineroom._schema.images import kept_images  # noqa: PLC0415

    for directory in sweep():
        yield _Item("run", str(directory), not directory.exists())
    for path in kept_images():
        yield _Item("image", str(path), _remove(path))


def _remove(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _tell(items: Sequence[_Item]) -> None:
    for item in items:
        what = "the databases of a killed run" if item.kind == "run" else "the image of a schema"
        print(f"{'removed' if item.is_removed else 'could not remove'} {what}: {item.name}")
    if not items:
        print("nothing to remove")
