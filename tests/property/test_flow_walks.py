"""Whatever the workers do, and in whatever order: a Flow loses no batch and never stands still."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellfed._engine.flow import Deliver, End, Flow, Mode, Send

SETTINGS = settings(max_examples=150, deadline=None)

Choose = Callable[[int], int]
"""A number below this one."""


class Walk:
    """A driver as it should be, over workers that do as they please."""

    def __init__(self, flow: Flow, length: int, choose: Choose, *, refusing: bool) -> None:
        self.flow = flow
        self.window = flow.most
        self.left = length
        self.choose = choose
        self.refusing = refusing
        self.out: list[Send] = []
        self.homes: dict[int, int] = {}
        self.made_again: dict[int, bool] = {}
        """Numbers to be made again by their home, and whether they were sent for that."""
        self.delivered: list[Deliver] = []

    def run(self) -> None:
        for _ in range(self.window):
            self.read()
        while not self.step():
            self.flow.check()

    def read(self) -> None:
        if not self.left:
            self.flow.no_more()
            return
        self.left -= 1
        number = self.flow.add()
        if number is not None:
            self.homes[number] = -1

    def step(self) -> bool:
        """One step; returns whether the epoch ended."""
        self.send()
        step = self.flow.next()
        if isinstance(step, End):
            return True
        if isinstance(step, Deliver):
            self.deliver(step)
            return False
        assert self.out, "nothing is out, nothing ready and nothing to send"
        self.hear(self.out.pop(self.choose(len(self.out))))
        return False

    def send(self) -> None:
        for send in self.flow.sends():
            for number, sent in self.made_again.items():
                if number < send.number and self.homes[number] == send.home:
                    assert sent, "a refused batch waits behind a later one of its home"
            if send.number in self.made_again:
                assert not send.anywhere
                assert send.parts == 1
                self.made_again[send.number] = True
            self.homes[send.number] = send.home
            self.out.append(send)
            self.flow.check()
        busy = {send.number for send in self.out}
        assert len(busy) <= max(1, self.flow.most)
        assert self.flow.undelivered <= self.window

    def hear(self, send: Send) -> None:
        """One part comes back: made, or refused where that is allowed."""
        if self.refusing and (send.anywhere or send.parts > 1) and not self.choose(4):
            self.flow.refused(send.number)
            self.made_again.setdefault(send.number, False)
        else:
            if self.refusing and send.trial and not self.choose(3):
                self.flow.stay()
            self.flow.arrived(send.number, send.part, send)
            if not self.choose(5):
                assert not self.flow.arrived(send.number, send.part, "a duplicate")

    def deliver(self, batch: Deliver) -> None:
        if len(batch.parts) > 1 and self.refusing and not self.choose(2):
            self.flow.unmake(batch)
            self.made_again[batch.number] = False
            return
        self.delivered.append(batch)
        self.read()


@pytest.mark.parametrize("refusing", [False, True], ids=["all free", "some refused"])
@SETTINGS
@given(
    data=st.data(),
    workers=st.integers(1, 4),
    prefetch=st.integers(1, 3),
    length=st.integers(0, 20),
    split=st.integers(1, 3),
    in_order=st.booleans(),
    mode=st.sampled_from([Mode.TRYING, Mode.FREE, Mode.FIXED]),
    less=st.integers(0, 3),
)
def test_each_batch_is_delivered_once_and_whole(
    data: Any,
    refusing: bool,
    workers: int,
    prefetch: int,
    length: int,
    split: int,
    in_order: bool,
    mode: Mode,
    less: int,
) -> None:
    flow = Flow(workers=workers, window=workers * prefetch, in_order=in_order, mode=mode)
    flow.split = split
    walk = Walk(flow, length, below(data), refusing=refusing)
    flow.most = max(0, flow.most - less)

    walk.run()

    numbers = [batch.number for batch in walk.delivered]
    assert sorted(numbers) == list(range(length))
    if in_order:
        assert numbers == sorted(numbers)
    for batch in walk.delivered:
        assert batch.home == batch.number % workers
        assert [send.part for send in batch.parts] == list(range(len(batch.parts)))
        assert {send.number for send in batch.parts} == {batch.number}


@SETTINGS
@given(
    data=st.data(),
    workers=st.integers(1, 4),
    prefetch=st.integers(1, 3),
    shards=st.lists(st.integers(0, 6), min_size=4, max_size=4),
    in_order=st.booleans(),
)
def test_a_stream_gives_all_that_its_workers_have(
    data: Any, workers: int, prefetch: int, shards: list[int], in_order: bool
) -> None:
    flow = Flow(workers=workers, window=workers * prefetch, in_order=in_order)
    queues: list[list[Send]] = [[] for _ in range(workers)]
    left = shards[:workers]
    gone: list[int] = []
    came: list[tuple[int, int]] = []
    choose = below(data)
    for _ in range(workers * prefetch):
        flow.add()

    while True:
        for send in flow.sends():
            queues[send.home].append(send)
        flow.check()
        step = flow.next()
        if isinstance(step, End):
            break
        if isinstance(step, Deliver):
            came.append((step.number, step.home))
            flow.add()
            continue
        busy = [queue for queue in queues if queue]
        assert busy, "nothing is out, nothing ready and nothing to send"
        send = busy[choose(len(busy))].pop(0)
        if left[send.home]:
            left[send.home] -= 1
            assert flow.arrived(send.number, 0, None)
        else:
            flow.exhausted(send.home, send.number)
            gone.append(send.home)
            flow.add()

    assert sorted(set(gone)) == list(range(workers))
    for worker in range(workers):
        its = [number for number, home in came if home == worker]
        assert its == sorted(its)
        assert len(its) == shards[worker]
    if in_order:
        assert came == sorted(came)


def below(data: Any) -> Choose:
    return lambda bound: data.draw(st.integers(0, bound - 1))
