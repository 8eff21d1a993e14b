"""What tests may use from engineroom without its pytest plugin, and what the plugin itself is built from.

Public is only what this module names. Importing it loads the standard library and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engineroom.testing.ledger import expect_refusal

if TYPE_CHECKING:
    from engineroom.testing._record import Refusal
    from engineroom.testing._runs import isolate, start_test_run
    from engineroom.testing._unittest import IsolatedTestCase

__all__ = ["IsolatedTestCase", "Refusal", "expect_refusal", "isolate", "start_test_run"]

_HOMES = {"IsolatedTestCase": "_unittest", "Refusal": "_record", "isolate": "_runs", "start_test_run": "_runs"}


def __getattr__(name: str) -> object:
    """Load what most runs, which have pytest's plugin, do without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
