"""Whatever comes in whatever order, the flow of batches keeps its guarantees."""

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wellfed._engine.flow import Deliver, End, Flow, Mode, Send, Wait

# More steps than any walk needs, so that one that makes no progress fails and does not hang.
MOST_STEPS = 2_000


class Walk:
    """A driver, and workers that answer as `data` decides."""

    def __init__(self, data: st.DataObject, **options: Any) -> None:
        self.data = data
        self.in_order: bool = options["in_order"]
        self.batches: int = options.pop("batches")
        split: int = options.pop("split")
        self.streams: bool = options.pop("streams")
        if self.streams:
            options["mode"] = Mode.FIXED
        self.window: int = options["window"]
        self.widest = self.window
        self.flow = Flow(**options)
        self.flow.split = split
        self.flow.most = data.draw(st.integers(0, self.window), label="most")
        self.sizes: bool = self.data.draw(st.booleans(), label="sizes") and not self.streams
        self.read = 0
        self.home: dict[int, int] = {}
        self.out: list[Send] = []
        self.at_home: dict[int, list[int]] = defaultdict(list)
        """For each home the batches it was sent for good, in order."""
        self.delivered: list[int] = []
        self.ended: set[int] = set()

    def choose(self, several: list[Any], label: str) -> Any:
        return several[self.data.draw(st.integers(0, len(several) - 1), label=label)]

    def chance(self, label: str) -> bool:
        return self.data.draw(st.integers(0, 7), label=label) == 0

    def read_index(self) -> None:
        if self.read == self.batches:
            self.flow.no_more()
            return
        self.read += 1
        number = self.flow.add()
        if number is None:
            assert len(self.ended) == len(set(self.home.values()) | self.ended)

    def dispatch(self) -> None:
        sends = self.flow.sends()
        self.flow.check()
        for send in sends:
            self.home[send.number] = send.home
            if not send.anywhere:
                self.at_home[send.home].append(send.number)
        self.out += sends
        busy = {send.number for send in self.out if send.home not in self.ended}
        # What was out when the window shrank comes back first.
        assert len(busy) <= max(1, self.flow.most) or self.window < self.widest
        assert self.flow.undelivered <= self.widest

    def answer(self) -> None:
        """One of the parts that are out comes back; those of one home do so in order."""
        firsts: dict[Any, Send] = {}
        for send in self.out:
            if send.anywhere:
                firsts[send.number, send.part] = send
            else:
                firsts.setdefault(("home", send.home), send)
        send = self.choose(list(firsts.values()), "who")
        self.out.remove(send)
        if self.streams and (send.home in self.ended or self.chance("exhausted")):
            if send.home not in self.ended:
                self.read_index()
            self.ended.add(send.home)
            self.flow.exhausted(send.home, send.number)
        elif send.anywhere and self.chance("refused"):
            self.flow.refused(send.number)
        else:
            if send.trial and not send.anywhere and self.chance("found"):
                self.flow.stay()
            if self.flow.arrived(send.number, send.part, (send.number, send.part)):
                assert not self.flow.arrived(send.number, send.part, "twice")
        self.flow.check()

    def step(self) -> bool:
        """What the driver does inside `__next__`; whether the epoch goes on."""
        self.dispatch()
        step = self.flow.next()
        self.flow.check()
        if isinstance(step, End):
            return False
        if isinstance(step, Wait):
            assert self.out, "nothing is out, and nothing will ever come"
            self.answer()
            return True
        self.deliver(step)
        return True

    def deliver(self, step: Deliver) -> None:
        if len(step.parts) > 1 and self.chance("unfit"):
            self.flow.unmake(step)
            self.flow.check()
            return
        parts = [(step.number, part) for part in range(len(step.parts))]
        assert list(step.parts) == parts
        self.delivered.append(step.number)
        if self.sizes and self.chance("another window"):
            self.window = self.data.draw(st.integers(1, 2 * self.widest), label="window")
            self.widest = max(self.widest, self.window)
            self.flow.resize(self.window)
        for _ in range(self.flow.reads()):
            self.read_index()
        self.flow.check()
        if not self.flow.reads_less:
            assert self.flow.undelivered <= self.window
        if self.out and self.chance("answered meanwhile"):
            self.answer()


@settings(max_examples=400)
@given(
    data=st.data(),
    workers=st.integers(1, 4),
    prefetch=st.integers(1, 3),
    batches=st.integers(0, 15),
    in_order=st.booleans(),
    split=st.integers(0, 4),
    streams=st.booleans(),
    mode=st.sampled_from([Mode.TRYING, Mode.FREE, Mode.FIXED]),
)
def test_every_walk_keeps_the_guarantees(
    data: st.DataObject, workers: int, prefetch: int, **options: Any
) -> None:
    walk = Walk(data, workers=workers, window=workers * prefetch, **options)
    for _ in range(walk.window):
        walk.read_index()

    for _ in range(MOST_STEPS):
        if not walk.step():
            break
    else:
        raise AssertionError("the epoch does not end")

    # Each number once, and in order; what is missing belongs to a worker that had no more.
    assert len(set(walk.delivered)) == len(walk.delivered)
    if walk.in_order:
        assert walk.delivered == sorted(walk.delivered)
    missing = set(walk.home) - set(walk.delivered)
    assert all(walk.home[number] in walk.ended for number in missing)
    if not walk.streams:
        assert sorted(walk.delivered) == list(range(walk.batches))
    # Random streams go on in order: no home was ever sent an earlier batch after a later one.
    assert all(numbers == sorted(numbers) for numbers in walk.at_home.values())
