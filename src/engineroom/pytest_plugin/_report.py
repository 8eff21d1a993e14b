"""What a run tells of itself: the lines of the header, the text of a refusal, the section of the summary.

Only words are chosen here. Nothing is imported for them: what was not loaded by the project has nothing to tell.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from engineroom._project import Project
    from engineroom.pytest_plugin._switch import Run
    from engineroom.testing._record import Refusal

__all__ = ["bind_lines", "header_lines", "refusal_lines", "test_failure"]

MOST_WORD_LETTERS = 24
FENCE = 'engineroom: fence: on (a project that does not want it: addopts = "-p no:engineroom")'


def header_lines(run: Run) -> list[str]:
    """Return the lines of the header: the environment, each bind that is made already, and whether isolation is on."""
    variable = run.project.environment_variable
    replaced = "" if run.replaced in {None, "", "test"} else f" (replaces {_show_word(run.replaced)} from the shell)"
    return [f"engineroom: {variable}=test{replaced}", FENCE, *bind_lines(), *_isolation_lines(run.project)]


def bind_lines(known: Sequence[str] = ()) -> list[str]:
    """Return a line for each engine that the factory made, but for those that are known."""
    lines = dict.fromkeys(line for record in _made_engines() for line in _lines_of_engine(record))
    return [line for line in lines if line not in known]


def application_files() -> list[str]:
    """Return the SQLite files that the engines of the factory would use outside of a test run."""
    urls = [record.resolution.application_url for record in _made_engines()]
    return [
        url.database.removeprefix("file:")
        for url in urls
        if url is not None and url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
    ]


def refusal_lines(refusals: Sequence[Refusal], root: Path) -> Iterator[str]:
    """Yield the lines of the summary that list each refusal once."""
    places = Counter((refusal.test, refusal.file, refusal.line, refusal.what) for refusal in refusals)
    shown: set[tuple[str, str, int, str]] = set()
    for refusal in refusals:
        key = (refusal.test, refusal.file, refusal.line, refusal.what)
        if key in shown:
            continue
        shown.add(key)
        times = f" ({places[key]} times)" if places[key] > 1 else ""
        yield f"{_place_of(refusal, root)}{f' in {refusal.test}' if refusal.test else ''}{times}"
        yield f"    {refusal.what}"
        yield f"    Why: {refusal.why} (rule: {refusal.rule})"
        yield f"    Fix: {refusal.remedy}."


def test_failure(refusals: Iterable[Refusal], root: Path) -> str:
    """Return the text of a test that passed although something was refused while it ran."""
    lines = refusal_lines(list(refusals), root)
    return "\n".join(
        ["The fence refused something in this test, and the test went on as if nothing had happened:", *lines]
    )


test_failure.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _made_engines() -> Sequence[Any]:
    engines = sys.modules.get("engineroom._engines")
    return () if engines is None else engines.made_engines()


def _lines_of_engine(record: Any) -> Iterator[str]:  # the class lives in a module that is not loaded for it
    resolution = record.resolution
    masked = sys.modules["engineroom._address"].mask_url(record.engine.url)
    judged = f"; {resolution.verdict.rule}" if resolution.verdict is not None else ""
    yield f"engineroom: bind {record.bind}: {masked} ({resolution.rule}, {resolution.origin}{judged})"
    yield from (f"engineroom: bind {record.bind}: {note}" for note in record.notes)
    schema = sys.modules["engineroom._schema"]
    configured = schema.configuration_of(sys.modules["engineroom._project"].get_project(), record.bind).schema
    names = {build.place.name for build in schema.known_builds()}
    if configured and names.isdisjoint({record.engine.url.database, os.path.abspath(str(record.engine.url.database))}):  # noqa: PTH100
        yield (
            f"engineroom: bind {record.bind}: isolation: off (this database is named by more than its path; this "
            f"release does not build {configured} there)"
        )


def _isolation_lines(project: Project) -> Iterator[str]:
    schemas = {"default": project.schema, **{name: bind.schema for name, bind in project.binds.items()}}
    configured = [f"{name}: {schema}" for name, schema in schemas.items() if schema]
    if configured:
        yield f"engineroom: schema {', '.join(configured)}"
    else:
        yield 'engineroom: isolation: off (no schema in [tool.engineroom]; add schema = "app.models:Base")'


def _place_of(refusal: Refusal, root: Path) -> str:
    if not refusal.file:
        return "unknown line"
    path = Path(refusal.file)
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return f"{shown}:{refusal.line}"


def _show_word(word: str | None) -> str:
    """Return the replaced word; a secret that was pasted into the wrong variable is not repeated."""
    is_word = bool(word) and str(word).strip().isidentifier() and len(str(word)) <= MOST_WORD_LETTERS
    return f'"{str(word).strip()}"' if is_word else "a value"
