"""A plugin of pytest for mutation testing: all parameter sets of a test run as one test.

pytest's own share of a test is a hundred times that of a row of a table, and each change of the code runs them anew.
Only tests that take nothing but their parameters are joined; what they assert stays the same.
"""

from __future__ import annotations

from inspect import isfunction, signature
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: Any) -> pytest.Item | None:
    """Make one item of a test function that takes nothing but parameters."""
    marks: list[pytest.Mark] = getattr(obj, "pytestmark", []) if isfunction(obj) and name.startswith("test_") else []
    is_plain = marks and all(mark.name == "parametrize" and "indirect" not in mark.kwargs for mark in marks)
    if not is_plain or hasattr(obj, "hypothesis"):
        return None
    tables = [list(_read_table(mark)) for mark in marks]
    if {name for table in tables for row in table[:1] for name in row} != set(signature(obj).parameters):
        return None

    def run_all() -> None:
        for rows in product(*tables):
            obj(**{name: value for row in rows for name, value in row.items()})

    item: pytest.Item = pytest.Function.from_parent(collector, name=name, callobj=run_all)
    return item


def _read_table(mark: pytest.Mark) -> Iterator[dict[str, Any]]:
    """Return the parameters of each set by their names."""
    names, rows = mark.args[:2]
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for row in rows:
        values: Sequence[Any] = (
            row.values if type(row).__name__ == "ParameterSet" else row if len(listed) > 1 else (row,)
        )
        yield dict(zip(listed, values, strict=True))
