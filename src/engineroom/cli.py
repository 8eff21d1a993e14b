"""The command line: ``engineroom clean``.

Answers: what was asked, and how is it told? What it removes was made by engineroom, and is found by the modules that
made it; no command touches a database that is not disposable.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING, NamedTuple

from engineroom.errors import EngineroomError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from engineroom._schema.place import Place

__all__ = ["main"]

HEALTHY, FINDINGS, USAGE = 0, 1, 2
WORDS = {
    "run": "the databases of a killed run",
    "image": "the image of a schema",
    "database": "the test database",
    "server": "what is left on a server that did not answer",
}


class _Item(NamedTuple):
    """Something that engineroom made and left.

    Attributes:
        kind: ``run`` for what a killed run kept in memory, ``image`` for a schema that was kept between runs,
            ``database`` for one on a server, ``server`` for one that could not be asked.
        name: Its path, or its name.
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
        description="Remove the databases in memory of runs that were killed, the images of schemas that are kept "
        "between runs, and the test databases that runs left on the servers which the project's settings name. What a "
        "run uses now stays. Nothing is removed that engineroom did not make.",
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
    for place in _server_places():
        yield from _clean_server(place)


def _server_places() -> Iterator[Place]:
    """Return the test databases on servers that the settings of the project's binds lead to."""
    from engineroom import _binds, _project  # noqa: PLC0415  # as above
    from engineroom._environment import Environment  # noqa: PLC0415
    from engineroom._layers import read_layers  # noqa: PLC0415
    from engineroom._schema.place import Place  # noqa: PLC0415
    from engineroom._verdict import SERVER_BACKENDS  # noqa: PLC0415

    project = _project.get_project()
    layers, outside = (read_layers(project, each) for each in (Environment.TEST, Environment.DEVELOPMENT))
    for bind in (_binds.DEFAULT_BIND, *project.binds):
        with contextlib.suppress(EngineroomError):  # it has no test database, or none that is safe to have
            found = _binds.resolve(
                bind,
                None,
                environment=Environment.TEST,
                project=project,
                layers=layers,
                outside=outside,
                caller="clean",
            )
            if found.url is not None and found.url.get_backend_name() in SERVER_BACKENDS:
                yield Place(found.url, dict(found.connect_args))


def _clean_server(place: Place) -> Iterator[_Item]:
    """Drop what runs left of one test database: itself, and those of other runs and workers beside it."""
    from engineroom.testing.databases import drop_database, list_left_over_databases  # noqa: PLC0415  # as above

    try:
        left = [each.name for each in list_left_over_databases(place) if not each.is_held]
    except Exception:  # noqa: BLE001  # whatever the driver says
        yield _Item("server", repr(place), is_removed=False)
        return
    for name in left:
        if name == place.name or name.startswith(f"{place.name}_"):
            with contextlib.suppress(Exception):  # a run may have taken it meanwhile
                yield _Item("database", name, drop_database(place.named(name)))


def _remove(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _tell(items: Sequence[_Item]) -> None:
    for item in items:
        print(f"{'removed' if item.is_removed else 'could not remove'} {WORDS[item.kind]}: {item.name}")
    if not items:
        print("nothing to remove")
