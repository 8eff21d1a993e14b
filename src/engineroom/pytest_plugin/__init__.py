"""The pytest plugin, named ``engineroom``: installing the package is enough.

It loads neither SQLAlchemy nor pydantic: a suite that does not use them does not pay for them.
"""

from __future__ import annotations

import sys

# pytest rewrites the assertions of every package that has a plugin, and asks of each module whether it is such a one,
# which takes as long as all the rest of this plugin. There are none here to explain: it may read them as they are.
# This module it has read already, word by word, for 3,000 instructions each: hence it holds no more than names.
_finders = sys.meta_path
for _finder in _finders:
    getattr(_finder, "_must_rewrite", set()).discard("engineroom")
sys.meta_path = [_finder for _finder in _finders if not hasattr(_finder, "_must_rewrite")]
try:
    from engineroom.pytest_plugin._found import (
        async_db_engine,
        async_db_session,
        db_engine,
        db_session,
        pytest_addoption,
        pytest_collection_finish,
        pytest_configure,
        pytest_report_header,
        pytest_sessionfinish,
        pytest_sessionstart,
        pytest_terminal_summary,
    )
finally:
    sys.meta_path = _finders

__all__ = [
    "async_db_engine",
    "async_db_session",
    "db_engine",
    "db_session",
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_configure",
    "pytest_report_header",
    "pytest_sessionfinish",
    "pytest_sessionstart",
    "pytest_terminal_summary",
]


def __dir__() -> list[str]:
    """List hooks and fixtures alone: pytest looks at each name three times, for some 50,000 instructions a name."""
    return __all__
