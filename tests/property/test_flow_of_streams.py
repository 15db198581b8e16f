"""Workers of a stream end when they like: all that they have comes, and nothing stands still."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wellfed._engine.flow import Deliver, End, Flow, Send


class Walk:
    """A driver as it should be, over workers that have so many batches each."""

    def __init__(self, flow: Flow, shards: list[int], data: Any) -> None:
        self.flow = flow
        self.left = shards
        self.data = data
        self.queues: list[list[Send]] = [[] for _ in shards]
        self.came: list[tuple[int, int]] = []
        """Number and home."""

    def run(self) -> None:
        """Until the flow says that it ends."""
        for _ in range(self.flow.most):
            self.flow.add()
        while True:
            for send in self.flow.sends():
                self.queues[send.home].append(send)
            self.flow.check()
            step = self.flow.next()
            if isinstance(step, End):
                return
            if isinstance(step, Deliver):
                self.came.append((step.number, step.home))
                self.flow.add()
            else:
                self.hear()

    def hear(self) -> None:
        """Some worker answers what it was sent first."""
        busy = [queue for queue in self.queues if queue]
        assert busy, "nothing is out, nothing ready and nothing to send"
        send = busy[self.data.draw(st.integers(0, len(busy) - 1))].pop(0)
        if self.left[send.home]:
            self.left[send.home] -= 1
            assert self.flow.arrived(send.number, 0, None)
        else:
            self.flow.exhausted(send.home, send.number)
            self.flow.add()


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    prefetch=st.integers(1, 3),
    shards=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    in_order=st.booleans(),
)
def test_a_stream_gives_all_that_its_workers_have(
    data: Any, prefetch: int, shards: list[int], in_order: bool
) -> None:
    workers = len(shards)
    flow = Flow(workers=workers, window=workers * prefetch, in_order=in_order)
    walk = Walk(flow, list(shards), data)

    walk.run()

    for worker, length in enumerate(shards):
        its = [number for number, home in walk.came if home == worker]
        assert its == sorted(its)
        assert len(its) == length
    if in_order:
        assert walk.came == sorted(walk.came)
