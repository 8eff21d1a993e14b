"""The line of the user's code that asked for something: the innermost frame that is neither a library's nor ours.

SQLAlchemy runs the synchronous part of an async engine in a greenlet, whose frames do not lead back to the coroutine
that awaits it; the frames of the greenlets above are looked at as well.
"""

from __future__ import annotations

import os
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["Caller", "find_caller"]

OWN_DIRECTORY = str(Path(__file__).parents[1]) + os.sep
MOST_FILES = 4096
PACKAGE_DIRECTORIES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Caller(NamedTuple):
    """A line of the user's code.

    Attributes:
        file: The file; empty if it is not known.
        line: The line; 0 if it is not known.
    """

    file: str
    line: int


def find_caller() -> Caller:
    """Return the innermost line of the user's code that this thread is running."""
    for frame in _frames():
        name = frame.f_code.co_filename
        if _is_user_file(name):
            return Caller(os.path.abspath(name), frame.f_lineno)  # noqa: PTH100  # links stay
    return Caller("", 0)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # inspect.stack() reads the sources of every frame
    while frame is not None:
        yield frame
        frame = frame.f_back
    greenlets = sys.modules.get("greenlet")
    above: Any = greenlets.getcurrent().parent if greenlets is not None else None
    while above is not None:
        frame = above.gr_frame
        while frame is not None:
            yield frame
            frame = frame.f_back
        above = above.parent


@lru_cache(maxsize=MOST_FILES)
def _is_user_file(name: str) -> bool:
    """Tell whether a file is neither generated, nor ours, nor of an installed package, nor of the standard library.

    It is asked for some twenty frames whenever a connection leaves its pool, which is several times a test.
    """
    if name.startswith(("<", OWN_DIRECTORY)) or any(part in name for part in PACKAGE_DIRECTORIES):
        return False
    return not name.startswith(_library_directories())


@cache
def _library_directories() -> tuple[str, ...]:
    """Return where the standard library and the scripts of packages are; it takes as long as a small import."""
    import sysconfig  # noqa: PLC0415

    return tuple({str(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib", "scripts")})
