"""How long a device stood idle while the trainer waited for data, without ever stopping it.

    stream    ...kernels of step k ─┤A           B├─ kernels of step k+1 ...
    trainer        __next__ called ─┘             └─ __next__ returned

Event A is recorded when the trainer asks for a batch and B when it has it. On the device, A
completes when the work queued so far is done; so the time from A to B is the time the device had
nothing to do because of that wait. If the device was still busy, it is near zero, however long
the trainer waited. Events are pooled and resolved by `query()`: nothing is synchronised.
"""

from collections import OrderedDict, deque
from typing import Any

import torch

__all__ = ["StallClock"]

# Pairs in flight before the oldest are given up: a device that is 256 batches behind is not idle.
MOST_PAIRS = 256
MOST_STALLS = 20_000  # as many as a recorder keeps spans


class StallClock:
    """Times device stalls by pairs of pooled events. Costs about 5 µs a batch on a device."""

    def __init__(self) -> None:
        self.stalls_ns: OrderedDict[int, int] = OrderedDict()
        """Device stall by batch key, as far as resolved; of the last batches."""
        self._free: list[Any] = []
        self._open: deque[tuple[int, Any, Any]] = deque()
        self._asked: Any = None

    @staticmethod
    def ready() -> bool:
        """Whether this process uses a device with events; never initialises one."""
        return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]

    def asked(self) -> None:
        """The trainer asks for a batch."""
        self._asked = self._mark() if self.ready() else None

    def got(self, key: int) -> None:
        """The trainer has the batch `key`."""
        if self._asked is None:
            return
        self._open.append((key, self._asked, self._mark()))
        self._asked = None
        self.resolve()
        if len(self._open) > MOST_PAIRS:
            self._open.popleft()

    def resolve(self) -> None:
        """Read the pairs that have completed, oldest first; never waits."""
        while self._open and self._open[0][2].query():
            key, begin, end = self._open.popleft()
            self.stalls_ns[key] = int(begin.elapsed_time(end) * 1e6)
            self._free += [begin, end]
            if len(self.stalls_ns) > MOST_STALLS:
                self.stalls_ns.popitem(last=False)

    @staticmethod
    def _event() -> Any:
        return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def _mark(self) -> Any:
        event = self._free.pop() if self._free else self._event()
        event.record()
        return event
