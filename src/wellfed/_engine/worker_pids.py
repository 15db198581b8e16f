"""A worker process as torch's iterator shows its own: by `_workers`, which others look at.

torch lists multiprocessing's processes there. The engine's workers are children of their template:
how they ended, the kernel says since Linux 6.15, and not before.
"""

import contextlib
import fcntl
import os
import select
import signal
import struct
from collections.abc import Callable

__all__ = ["WorkerPid", "exit_code_of"]

# PIDFD_GET_INFO of linux/pidfd.h, its first version: a mask, then up to 56 bytes of facts, of which
# the last four are the status that wait(2) gave to the parent.
_GET_INFO = 0xC040FF0B
_INFO = struct.Struct("<Q52xi")
_EXIT = 1 << 3


class WorkerPid(int):
    """The pid of a worker, which can be asked and told what one of torch's can."""

    _descriptor = -1
    _exit_code: int | None = None

    def __init__(self, pid: int) -> None:
        # Of the process and not of its number, which may be another's once it has ended.
        with contextlib.suppress(ProcessLookupError):
            self._descriptor = os.pidfd_open(pid)

    @classmethod
    def ended(cls, pid: int, exit_code: int | None) -> "WorkerPid":
        """One that has ended: its number may be another's by now."""
        one = cls.__new__(cls, pid)
        one._exit_code = exit_code
        return one

    @property
    def pid(self) -> int:
        """The process."""
        return int(self)

    @property
    def exitcode(self) -> int | None:
        """0, its exit code, or minus its signal; None while it runs, or where that is not known."""
        if self._descriptor < 0:
            return self._exit_code
        return None if self.is_alive() else exit_code_of(self._descriptor)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return not self._ends_within(0)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most `timeout` seconds."""
        self._ends_within(timeout)

    def terminate(self) -> None:
        """End it by SIGTERM. Harmless when it has ended."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL. Harmless when it has ended."""
        self._send(signal.SIGKILL)

    def _ends_within(self, seconds: float | None) -> bool:
        if self._descriptor < 0:
            return True
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLIN)
        return bool(waiting.poll(None if seconds is None else seconds * 1000))

    def _send(self, number: signal.Signals) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Its own: when the interpreter ends there may be no `os` any more.
        if self._descriptor >= 0:
            close(self._descriptor)
            self._descriptor = -1


def exit_code_of(descriptor: int) -> int | None:
    """How a process ended; None before its parent knows, and on older kernels."""
    try:
        told = fcntl.ioctl(descriptor, _GET_INFO, _INFO.pack(_EXIT, 0))
    except OSError:
        return None
    mask, status = _INFO.unpack(told)
    return os.waitstatus_to_exitcode(status) if mask & _EXIT else None
