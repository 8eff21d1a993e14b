"""Write the page of the documentation that tells how the neighbours' suites ended: ``docs/reference/neighbours.md``.

It is made from ``neighbours.toml`` and from ``results.json``, where each run writes what it found.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "reference" / "neighbours.md"
HEAD = """\
# Suites of well-known packages

A fence that refuses what harms nobody is switched off sooner or later. So `nox -s neighbours` takes the suites of
packages that use `sqlite3` or SQLAlchemy, from their sdists on PyPI, and runs each of them without engineroom and with
it, as it is. Each test has to end in the same way, nothing may be refused, and engineroom may warn of nothing.

"""
FOOT = """
*tests*
: Those that were run both ways; of some large suites only what uses databases is run. `neighbours/neighbours.toml`
  says how each suite is started. What is neither passed nor failed was skipped, or failed as its author expects.

*failed*
: Tests that fail without engineroom as well, since a server that they ask for is not there, or a newer release of
  something that they use is. They fail with it in the same way.

*allowed*
: What the project had to say in its `pyproject.toml`, as `fence_allow` in `[tool.engineroom]`. In each case the suite
  makes databases in its working directory or in the user's home, where the fence cannot know that nobody's work is in
  them.

The table is written by `nox -s neighbours`, or `nox -s neighbours -- NAME` for one of them.
"""


def read_table() -> dict[str, dict[str, Any]]:
    """Read what there is to run: the rows of ``neighbours.toml`` by the names of the packages."""
    return tomllib.loads((HERE / "neighbours.toml").read_text())


def read_results() -> dict[str, dict[str, Any]]:
    """Read how each suite ended when it was run last."""
    results: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return results


def write_results(new: dict[str, dict[str, Any]]) -> None:
    """Put the results of a run beside those of earlier ones, and write the page anew."""
    known = read_results() | new
    RESULTS.write_text(json.dumps({name: known[name] for name in read_table() if name in known}, indent=1) + "\n")
    PAGE.write_text(write_page())


def write_page() -> str:
    """Return the text of the page."""
    table, results = read_table(), read_results()
    lines = [
        "| package | what its suite does | tests | passed | failed | with engineroom | allowed |",
        "|---|---|--:|--:|--:|---|---|",
    ]
    for name, row in table.items():
        result = results.get(name, {})
        allowed = ", ".join(f"`{entry}`" for entry in row.get("fence_allow", ())) or "nothing"
        numbers = " | ".join(f"{result[key]:,}" if key in result else "?" for key in ("tests", "passed", "failed"))
        lines.append(
            f"| {name} {row['version']} | {row['why']} | {numbers} | {result.get('result', 'not run')} | {allowed} |"
        )
    return HEAD + "\n".join(lines) + "\n" + FOOT


if __name__ == "__main__":
    PAGE.write_text(write_page())
