"""The recursion for our engine against its own `Flow`, driven event by event."""

import heapq
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellfed._engine.flow import Deliver, End, Flow, Mode
from wellfed._insight.protocol import deliver_shared


class Engine:
    """Workers that all read from one queue, and a trainer: what `ProcessStream` does in one."""

    def __init__(
        self,
        service_s: list[float],
        *,
        workers: int,
        window: int,
        receive_s: float,
        in_order: bool,
        parts: int,
    ) -> None:
        self._service_s, self._receive_s = service_s, receive_s
        mode = Mode.TRYING if parts else Mode.FREE
        self._flow = Flow(workers=workers, window=window, in_order=in_order, mode=mode)
        self._flow.split = parts
        self._unread = len(service_s)
        self._idle = workers
        self._queue: deque[tuple[int, int, int]] = deque()
        self._events: list[tuple[float, int, int]] = []
        self._came: deque[tuple[float, int, int]] = deque()
        self._now_s = 0.0
        for _ in range(window):
            self._read()
        self._dispatch()

    def run(self, step_s: list[float]) -> tuple[list[float], list[float], list[int]]:
        """When each batch was returned, how long that took, and which it was."""
        returned_s, wait_s, order = [], [], []
        for step in step_s:
            asked_s = self._now_s
            batch = self._next()
            returned_s.append(self._now_s)
            wait_s.append(self._now_s - asked_s)
            order.append(batch.number)
            self._advance(self._now_s + step)
        assert isinstance(self._flow.next(), End)
        return returned_s, wait_s, order

    def _next(self) -> Deliver:
        while not isinstance(step := self._flow.next(), Deliver):
            came_s, number, part = self._came.popleft() if self._came else self._happen()
            self._now_s = max(self._now_s, came_s)
            self._flow.arrived(number, part, None)
            self._dispatch()
        # What came while the trainer was busy is unpacked when it is its turn.
        self._advance(self._now_s + self._receive_s)
        self._read()
        self._dispatch()
        return step

    def _advance(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self._came.append(self._happen())
        self._now_s = until_s

    def _happen(self) -> tuple[float, int, int]:
        came_s, number, part = heapq.heappop(self._events)
        self._idle += 1
        self._start(came_s)
        return came_s, number, part

    def _read(self) -> None:
        if not self._unread:
            self._flow.no_more()
            return
        self._unread -= 1
        self._flow.add()

    def _dispatch(self) -> None:
        for send in self._flow.sends():
            self._queue.append((send.number, send.part, send.parts))
        self._start(self._now_s)

    def _start(self, now_s: float) -> None:
        while self._idle and self._queue:
            number, part, parts = self._queue.popleft()
            self._idle -= 1
            heapq.heappush(self._events, (now_s + self._service_s[number] / parts, number, part))


@given(
    seed=st.integers(0, 2**32 - 1),
    batches=st.integers(1, 60),
    workers=st.integers(1, 5),
    window=st.integers(1, 12),
    receive_s=st.sampled_from([0.0, 0.05, 0.7]),
    step_scale=st.sampled_from([0.0, 0.2, 1.0, 3.0]),
    in_order=st.booleans(),
    split=st.booleans(),
)
def test_the_recursion_is_our_engine_event_for_event(
    seed: int,
    batches: int,
    workers: int,
    window: int,
    receive_s: float,
    step_scale: float,
    in_order: bool,
    split: bool,
) -> None:
    rng = np.random.default_rng(seed)
    service_s = rng.lognormal(0, 1, batches)
    step_s = rng.lognormal(0, 0.5, batches) * step_scale
    parts = workers if split and workers > 1 else 0
    engine = Engine(
        service_s.tolist(),
        workers=workers,
        window=window,
        receive_s=receive_s,
        in_order=in_order,
        parts=parts,
    )
    returned_s, wait_s, order = engine.run(step_s.tolist())

    ours = deliver_shared(
        service_s,
        step_s,
        workers=workers,
        window=window,
        receive_s=receive_s,
        in_order=in_order,
        parts=parts,
    )

    assert order == ours.order.tolist()
    assert ours.returned_s == pytest.approx(returned_s, abs=1e-9)
    assert ours.wait_s == pytest.approx(wait_s, abs=1e-9)
