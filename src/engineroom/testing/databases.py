"""Which module keeps the baseline of a test database: one for each database system.

What the pytest plugin asks for, it asks here; the modules of the systems are loaded when a database of theirs is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engineroom._schema import Build
    from engineroom.testing.baseline import Baseline

__all__ = ["open_baseline"]


def open_baseline(build: Build) -> Baseline:
    """Take the baseline of a database that was just built."""
    from engineroom.testing.sqlite import SQLiteBaseline  # noqa: PLC0415  # only what is used is loaded

    return SQLiteBaseline(Path(build.place.name), build.connections)
