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


PASSED_BY = ("sqlalchemy.", "engineroom.")
"""What stands between a connection's pool and who asked for it, several times a test."""

_modules_passed_by: set[str] = set()


class Caller(NamedTuple):
    """A line of the user's code.

    Attributes:
        file: The file; empty if it is not known.
        line: The line; 0 if it is not known.
    """

    file: str
    line: int


UNKNOWN = Caller("", 0)


def find_caller() -> Caller:
    """Return the innermost line of the user's code that this thread is running."""
    frame = _beyond_libraries(sys._getframe(1))  # noqa: SLF001  # inspect.stack() reads the sources of every frame
    while frame is not None:
        if (caller := _caller_in(frame)) is not None:
            return caller
        frame = _beyond_libraries(frame.f_back)
    return next((caller for frame in _frames_of_greenlets() if (caller := _caller_in(frame)) is not None), UNKNOWN)


def _beyond_libraries(frame: FrameType | None) -> FrameType | None:
    """Return the first frame, from one on, that is not of a module that was passed by before."""
    passed_by = _modules_passed_by
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if not (isinstance(module, str) and module in passed_by):
            break
        frame = frame.f_back
    return frame


def _caller_in(frame: FrameType) -> Caller | None:
    """Return the line that a frame is at, if it is the user's."""
    file = _user_file(frame.f_code.co_filename)  # Python calls each audit hook for f_code
    if file:
        return Caller(file, frame.f_lineno)
    module = frame.f_globals.get("__name__")
    if isinstance(module, str) and module.startswith(PASSED_BY):
        _modules_passed_by.add(module)
    return None


def _frames_of_greenlets() -> Iterator[FrameType]:
    """Yield the frames of the greenlets above, from the innermost on."""
    greenlets = sys.modules.get("greenlet")
    above: Any = greenlets.getcurrent().parent if greenlets is not None else None
    while above is not None:
        frame = above.gr_frame
        while frame is not None:
            yield frame
            frame = frame.f_back
        above = above.parent


@lru_cache(maxsize=MOST_FILES)
def _user_file(name: str) -> str:
    """Return a file's whole name, or nothing if it is generated, ours, or of the standard library or a package."""
    if name.startswith(("<", OWN_DIRECTORY)) or any(part in name for part in PACKAGE_DIRECTORIES):
        return ""
    return "" if name.startswith(_library_directories()) else os.path.abspath(name)  # noqa: PTH100  # links stay


@cache
def _library_directories() -> tuple[str, ...]:
    """Return where the standard library and the scripts of packages are; it takes as long as a small import."""
    import sysconfig  # noqa: PLC0415

    return tuple({str(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib", "scripts")})
