"""Whatever comes back in whatever order, each batch is delivered once, in order, and all are."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wellfed._engine.flow import Deliver, End, Flow, Mode, Send


class Walk:
    """A flow, driven by draws, with what is out noted beside it."""

    def __init__(self, data: Any) -> None:
        self.draw = data.draw
        self.workers = self.draw(st.integers(1, 4), "workers")
        self.batches = self.draw(st.integers(0, 12), "batches")
        self.in_order = self.draw(st.booleans(), "in order")
        mode = self.draw(st.sampled_from([Mode.TRYING, Mode.FREE, Mode.FIXED]), "mode")
        window = self.workers * self.draw(st.integers(1, 3), "prefetch")
        self.flow = Flow(workers=self.workers, window=window, in_order=self.in_order, mode=mode)
        self.flow.split = self.draw(st.integers(0, 3), "split")
        self.unread = self.batches
        self.out: list[Send] = []
        self.sent_home: dict[int, int] = {}
        self.delivered: list[int] = []
        for _ in range(window):
            self.read()

    def read(self) -> None:
        if self.unread:
            self.unread -= 1
            self.flow.add()
        else:
            self.flow.no_more()

    def send(self) -> None:
        for send in self.flow.sends():
            assert send.number not in self.delivered
            if not send.anywhere:
                last = self.sent_home.get(send.home, -1)
                assert send.number > last, "a home was sent its batches out of order"
                self.sent_home[send.home] = send.number
            self.out.append(send)

    def come_back(self) -> None:
        """One part that is out comes back: made, or refused if it was made away."""
        send = self.out.pop(self.draw(st.integers(0, len(self.out) - 1), "which"))
        if send.anywhere and self.draw(st.integers(0, 5), "refused") == 0:
            self.flow.refused(send.number)
        else:
            self.flow.arrived(send.number, send.part, send)

    def deliver(self) -> bool:
        """Whether the epoch goes on."""
        step = self.flow.next()
        if isinstance(step, End):
            return False
        if isinstance(step, Deliver):
            if len(step.parts) > 1 and self.draw(st.booleans(), "does not join"):
                self.flow.unmake(step)
            else:
                self.delivered.append(step.number)
                self.read()
        else:
            self.send()
            assert self.out, "it waits for nothing"
        return True


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_batch_is_delivered_once_and_in_order(data: Any) -> None:
    walk = Walk(data)

    for _ in range(40 * (walk.batches + 1)):
        walk.send()
        walk.flow.check()
        if walk.out:
            walk.come_back()
            walk.flow.check()
        going = walk.deliver()
        walk.flow.check()
        if not going:
            break

    expected = list(range(walk.batches))
    assert sorted(walk.delivered) == expected
    if walk.in_order:
        assert walk.delivered == expected
