"""Which thread starts which, while a schema is built: those that a builder starts may connect, others wait."""

from __future__ import annotations

import threading
from functools import wraps
from typing import Protocol

__all__ = ["ThreadStarts"]


class Build(Protocol):
    """Something that is built by threads."""

    def admit_child(self, child: threading.Thread) -> None:
        """Let a thread connect, if one that builds starts it."""


class ThreadStarts:
    """Sees which thread starts which; Python keeps no record of it."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._builds: list[Build] = []
        self._mutex = threading.Lock()
        self._start = threading.Thread.start

    def watch(self, build: Build) -> None:
        """Tell a build of each thread that starts from now on."""
        with self._mutex:
            if not self._builds:
                self._start = start = threading.Thread.start

                @wraps(start)
                def start_and_tell(thread: threading.Thread) -> None:
                    for each in tuple(self._builds):
                        each.admit_child(thread)
                    start(thread)

                threading.Thread.start = start_and_tell  # type: ignore[method-assign,assignment]
            self._builds.append(build)

    def release(self, build: Build) -> None:
        """Tell it no more."""
        with self._mutex:
            self._builds.remove(build)
            if not self._builds:
                threading.Thread.start = self._start  # type: ignore[method-assign]
