"""How a file of settings is read, and what is refused instead.

Answers: what does this small text file say? It never blocks, and its errors repeat nothing of the content.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_text_file"]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # Python's codec that removes it would be loaded for that alone


def read_text_file(path: Path) -> str | None:
    """Return the text of a settings file in UTF-8, a byte order mark or not; ``None`` if there is no such file.

    Only a regular file is read. A directory, a named pipe or a socket is an error: a pipe could block for ever, and two
    processes that read one get half of it each. The null device counts as empty: mounting it over a file hides it.

    Raises:
        InvalidSettingError: Something of that name is there and cannot be read.
    """
    text, problem = _try_to_read(path)
    if not problem:
        return text
    from engineroom.errors import InvalidSettingError  # noqa: PLC0415  # pytest is starting, and nearly always goes on

    raise InvalidSettingError(
        f"{path.name} cannot be read.",
        why=f"{path} {problem}.",
        fix=[f"make {path.name} a readable text file in UTF-8", "move it out of the way"],
    )


def _try_to_read(path: Path) -> tuple[str | None, str]:
    """Return the text, or what is wrong. It raises nothing: a traceback would hold the raw text in its frames."""
    try:
        mode = path.stat().st_mode
        if path.samefile(os.devnull):
            return "", ""
        if not stat.S_ISREG(mode):
            return None, f"is {_KINDS_OF_FILE.get(stat.S_IFMT(mode), 'a device')}, not a regular file"
        text = path.read_bytes().removeprefix(BYTE_ORDER_MARK).decode()
    except FileNotFoundError:
        return None, "is a symbolic link to a file that does not exist" if path.is_symlink() else ""
    except OSError as problem:
        return None, f"cannot be opened: {problem.strerror}"
    except UnicodeDecodeError as problem:
        return None, f"is not encoded in UTF-8 (byte {problem.start})"
    return (None, "holds a NUL character: is it UTF-16?") if "\0" in text else (text, "")


_KINDS_OF_FILE = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
