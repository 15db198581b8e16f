"""How long a device stood idle while the trainer waited for data, without ever stopping it.

    stream    ...kernels of step k ─┤A           B├─ kernels of step k+1 ...
    trainer        __next__ called ─┘             └─ __next__ returned

Event A is recorded when the trainer asks for a batch and B when it has it. On the device, A
completes when the work queued so far is done; so the time from A to B is the time the device had
nothing to do because of that wait. If the device was still busy, it is near zero, however long
the trainer waited. Events are pooled and resolved by `query()`: nothing is synchronised.

Guarantees
- a device that the process does not use is left alone: no context is made on it;
- of several devices and streams the one that stalled least counts: a side stream for copies, or
  the display's card, stands idle without anybody waiting;
- nothing is recorded while a graph is captured, into which it would go.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["StallClock"]

# Pairs in flight before the oldest are given up: a device that is 256 batches behind is not idle.
MOST_PAIRS = 256
MOST_STALLS = 20_000  # as many as a recorder keeps spans

Marks = dict[Any, Any]
"""An event by the stream that it was recorded on."""


class StallClock:
    """Times device stalls by pairs of pooled events. Costs about 5 µs a batch and stream."""

    def __init__(self) -> None:
        self.stalls_ns: OrderedDict[int, int] = OrderedDict()
        """Device stall by batch key, as far as resolved; of the last batches."""
        # An event belongs to the device that it was first recorded on.
        self._free: defaultdict[Any, list[Any]] = defaultdict(list)
        self._open: deque[tuple[int, Marks, Marks]] = deque()
        self._asked: Marks = {}

    @staticmethod
    def ready() -> bool:
        """Whether events can be recorded; never initialises a device."""
        return bool(
            torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
            and not torch.cuda.is_current_stream_capturing()
        )

    def asked(self) -> None:
        """The trainer asks for a batch."""
        self._asked = self._mark(_streams()) if self.ready() else {}

    def got(self, key: int) -> None:
        """The trainer has the batch `key`."""
        begun, self._asked = self._asked, {}
        if not begun or not self.ready():
            return
        self._open.append((key, begun, self._mark(begun)))
        self.resolve()
        if len(self._open) > MOST_PAIRS:
            self._open.popleft()

    def resolve(self) -> None:
        """Read the pairs that have completed, oldest first; never waits."""
        while self._open and all(end.query() for end in self._open[0][2].values()):
            key, begun, ended = self._open.popleft()
            least_ms = min(one.elapsed_time(ended[stream]) for stream, one in begun.items())
            self.stalls_ns[key] = int(least_ms * 1e6)
            for stream, one in begun.items():
                self._free[stream.device] += [one, ended[stream]]
            if len(self.stalls_ns) > MOST_STALLS:
                self.stalls_ns.popitem(last=False)

    @staticmethod
    def _event() -> Any:
        return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def _mark(self, streams: Iterable[Any]) -> Marks:
        marks = {}
        for stream in streams:
            free = self._free[stream.device]
            marks[stream] = event = free.pop() if free else self._event()
            event.record(stream)
        return marks


def _streams() -> set[Any]:
    """The streams that may hold the trainer's work, of the devices that this process uses."""
    cuda: Any = torch.cuda  # half of it has no types
    return {
        stream(device)
        for device in _devices()
        for stream in (cuda.default_stream, cuda.current_stream)
    }


def _devices() -> list[int]:
    """Devices on which this process has a context; the current one where torch cannot tell."""
    is_used = getattr(torch._C, "_cuda_hasPrimaryContext", None)
    if is_used is None:
        return [torch.cuda.current_device()]
    return [device for device in range(torch.cuda.device_count()) if is_used(device)]
