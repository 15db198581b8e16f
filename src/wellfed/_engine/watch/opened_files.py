"""Which files a dataset opens, so that their file systems and sizes can be looked up."""

import os
import sys
import threading
from typing import Any

__all__ = ["OpenedFiles"]

# Enough to learn the file systems and sizes, no more.
MOST_PATHS = 64

# An open with any of these makes or fills a file: a cache, a log. Reading and changing in place
# (NumPy's memmap) counts as reading.
WRITES = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Thread(threading.local):
    listening = False


class OpenedFiles:
    """Paths that a thread opens for reading while it makes a batch, by Python's audit hook.

    An audit hook cannot be removed, so there is one a process, idle unless `listening`.
    Files opened inside C libraries (HDF5, LMDB), or by threads of the dataset's own, do not show.
    """

    def __init__(self, most: int = MOST_PATHS) -> None:
        self._most = most
        self._thread = _Thread()
        self._paths: dict[str, None] = {}
        self._hooked = False

    @property
    def listening(self) -> bool:
        """Whether the calling thread is making a batch."""
        return self._thread.listening

    @listening.setter
    def listening(self, on: bool) -> None:
        self._thread.listening = on

    def hook(self) -> None:
        """Begin to be called for audit events. Idempotent."""
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and self._thread.listening and len(self._paths) < self._most:
            # Anybody may raise an event of this name, and must not hear of it if it is odd.
            path, flags = args[0], args[-1]
            if isinstance(path, str) and isinstance(flags, int) and not flags & WRITES:
                # A subclass of str may not unpickle in the trainer, and would lose the batch.
                self._paths[str.__str__(path)] = None

    def new_since(self, count: int) -> list[str]:
        """The paths noticed after the first `count`."""
        return list(self._paths)[count:] if len(self._paths) > count else []
