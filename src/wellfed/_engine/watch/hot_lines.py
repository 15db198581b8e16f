"""In which line of the user's code fetches are spent: sampled, from a thread beside their maker.

    fetching thread   ──fetch────────────fetch──────        (a worker's, or the trainer itself)
    this thread         ^     ^     ^      ^     ^          some 50 times a second
                        └ the deepest frame of the user's, and whether the thread waits for a lock

Guarantees
- it runs in the trainer only where that makes the batches itself, and somebody observes it; a
  worker has a second thread already, torch's queue feeder, by the time it starts;
- nothing of the fetching thread is stopped, traced or changed; its frames are only looked at;
- it ends after `MOST_LOOKS` looks, some ten seconds of fetching; from then on it costs nothing;
- at most `MOST_LINES` lines are kept and `MOST_SENT` sent at a time.

NOTE [The switch interval]
To look, this thread needs the GIL, and gets it where the other one lets go of it: around a read or
a decoder, or after Python's switch interval, 5 ms. Lines that let go would be seen far too often,
and fetches of less than 5 ms hardly at all. So while it looks the worker's interval is 0.5 ms,
unless somebody has set another than Python's; the trainer's stays, and there only fetches that
last some intervals are looked at. Threads of a dataset's own take turns more often
meanwhile. C code that holds the GIL is still seen too seldom.
"""

import itertools
import os
import sys
import threading
import time
from types import CodeType, FrameType

from torch.utils.data._utils import fetch as _torch_fetch

from wellfed._engine.watch.frames import is_ours, is_users

__all__ = ["HotLines", "Seen", "Where"]

# Fifty looks a second, of 10 to 30 µs each: 0.15 % of a core at most. The pauses differ, so that
# fetches of a regular length are not met at the same place again and again.
PAUSES_S = (0.013, 0.021, 0.027, 0.017, 0.023)

# A share of a half is then known within 4 points. Where fetches are rare, it ends after a minute.
MOST_LOOKS = 500
MOST_PAUSES = 3_000

USUAL_SWITCH_S, SHORT_SWITCH_S = 0.005, 0.0005

MOST_LINES = 64
MOST_SENT = 12

# A thread that has used a fifth of the time since the last look was computing: if it waits now,
# it may be for the GIL that this very look holds.
COMPUTING_SHARE = 0.2

# Where the kernel says a thread sleeps that waits for a lock: of memory, or of a file.
_LOCKS = (b"futex", b"lock_inode", b"flock")

_USERS, _LIBRARY, _TORCHS = 0, 1, 2
_BELOW = _torch_fetch._MapDatasetFetcher.__init__.__code__.co_filename
_TORCH = os.sep + "torch" + os.sep

Where = tuple[str, int, str, str]
"""File, line and function; and the package that it was in from there, "" for none."""

Seen = tuple[str, int, str, str, int, int]
"""Those four, samples there, and how many of them waited for a lock."""


class HotLines:
    """Samples the thread that made it; `fetching` says when that is worth while."""

    def __init__(self, *, often: bool = True) -> None:
        """Looks begin.

        Args:
            often: whether this process may take turns more often than it does.
        """
        self._often = often
        self.fetching = False
        self.cpu_ns = 0
        """CPU time of the looking, which is not the dataset's."""
        self._closed = False
        self._thread = threading.get_ident()
        self._task = f"/proc/self/task/{threading.get_native_id()}"
        self._kinds: dict[CodeType, int] = {}
        self._counts: dict[Where, list[int]] = {}
        self._cpu_ns = self._at_ns = 0
        self._wchan = _open(f"{self._task}/wchan")
        self._schedstat = _open(f"{self._task}/schedstat")
        threading.Thread(target=self._run, name="wellfed-lines", daemon=True).start()

    def take(self) -> list[Seen]:
        """What was sampled since the last time, the hottest lines first."""
        counts, self._counts = self._counts, {}
        lines = sorted(counts.items(), key=lambda one: -one[1][0])
        return [(*where, *seen) for where, seen in lines[:MOST_SENT]]  # type: ignore[misc]

    def close(self) -> None:
        """No more looks; the thread ends after its pause. A process that ends need not ask."""
        self._closed = True

    def _run(self) -> None:
        usual = self._often and sys.getswitchinterval() == USUAL_SWITCH_S
        if usual:
            sys.setswitchinterval(SHORT_SWITCH_S)
        looks = 0
        for pause_s in itertools.islice(itertools.cycle(PAUSES_S), MOST_PAUSES):
            time.sleep(pause_s)
            if self._closed or looks >= MOST_LOOKS:
                break
            if self.fetching:
                self.look()
                looks += 1
            self.cpu_ns = time.thread_time_ns()
        if usual and sys.getswitchinterval() == SHORT_SWITCH_S:
            sys.setswitchinterval(USUAL_SWITCH_S)
        for descriptor in (self._wchan, self._schedstat):
            if descriptor is not None:
                os.close(descriptor)

    def look(self) -> None:
        """See where the thread is now."""
        frame = sys._current_frames().get(self._thread)
        if frame is None:
            return
        found = self._where(frame)
        del frame
        if found is None:
            return
        where, locks = found
        locked = self._waits_for_lock() and locks
        counts = self._counts
        if where in counts or len(counts) < MOST_LINES:
            seen = counts.setdefault(where, [0, 0])
            seen[0] += 1
            seen[1] += locked

    def _where(self, leaf: FrameType) -> tuple[Where, bool] | None:
        """The deepest frame of the user's, else of a library's, else the deepest.

        Returns:
            Where that is, and whether a wait there may be for a lock: one for a result of another
            thread (`Condition.wait`) looks the same to the kernel. None just beside the fetch,
            where the frames are those of the worker's loop and of the script that forked it.
        """
        best, best_kind, library = leaf, _TORCHS, ""
        frame: FrameType | None = leaf
        while frame is not None and frame.f_code.co_filename != _BELOW:
            kind = self._kind(frame.f_code)
            if kind < best_kind:
                best, best_kind = frame, kind
            if kind == best_kind == _LIBRARY:  # that which the user's code calls, not what it uses
                library = _package(frame.f_code.co_filename)
            frame = frame.f_back
        if frame is None:
            return None
        code = best.f_code
        waits = leaf.f_code.co_name == "wait" and leaf.f_code.co_filename == threading.__file__
        return (code.co_filename, best.f_lineno, code.co_name, library), not waits

    def _kind(self, code: CodeType) -> int:
        kind = self._kinds.get(code)
        if kind is None:
            file = code.co_filename
            if is_users(file):
                kind = _USERS
            elif is_ours(file) or _TORCH in file or "-packages" not in file:
                kind = _TORCHS
            else:
                kind = _LIBRARY
            self._kinds[code] = kind
        return kind

    def _waits_for_lock(self) -> bool:
        if self._wchan is None or self._schedstat is None:
            return False
        now_ns, cpu_ns = time.perf_counter_ns(), int(os.pread(self._schedstat, 96, 0).split()[0])
        used, passed = cpu_ns - self._cpu_ns, now_ns - self._at_ns
        self._cpu_ns, self._at_ns = cpu_ns, now_ns
        if used > COMPUTING_SHARE * passed:
            return False
        where = os.pread(self._wchan, 64, 0)
        return any(mark in where for mark in _LOCKS)


def _package(file: str) -> str:
    return file.rpartition("-packages" + os.sep)[2].partition(os.sep)[0].removesuffix(".py")


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
