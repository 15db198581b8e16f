"""Whoever dies, and whenever: each batch is delivered once, and random streams go on in order."""

from collections import defaultdict, deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wellfed._engine.board import key_of
from wellfed._engine.flow import Deliver, End, Flow, Mode, Send
from wellfed._engine.owed import Dead, GiveUp, Owed
from wellfed._engine.wire import Record, Task

# More steps than any walk needs, so that one that makes no progress fails and does not hang.
MOST_STEPS = 5_000


class Process:
    """A worker, as far as the trainer's bookkeeping goes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.queue: deque[Task] = deque()
        self.hands: list[Task] = []
        self.unnoted: list[Task] = []
        """Taken, but not on its page yet."""

    def page(self) -> Dead:
        held = tuple(key_of(task) for task in self.hands)
        return Dead(self.number, held, bool(self.unnoted))


class Walk:
    """A trainer and its workers; `data` decides who does something next, or dies."""

    def __init__(
        self, data: st.DataObject, flow: Flow, *, seats: int, homes: int, batches: int, threads: int
    ) -> None:
        self.data = data
        self.flow = flow
        self.owed = Owed()
        self.batches, self.threads = batches, threads
        self.shared: deque[Task] = deque()
        self.seats = [Process(number) for number in range(seats)]
        self.started = seats
        self.at_home: dict[int, list[int]] = defaultdict(list)
        """For each home the batches that came of it, made by itself, in order."""
        self.deaths_of: dict[int, int] = defaultdict(int)
        self.delivered: list[int] = []
        self.given_up: GiveUp | None = None
        self.read = 0
        for _ in range(flow.most):
            self.read_index()

    def read_index(self) -> None:
        if self.read == self.batches:
            self.flow.no_more()
            return
        self.read += 1
        self.flow.add()

    def choose(self, several: list[Any], label: str) -> Any:
        return several[self.data.draw(st.integers(0, len(several) - 1), label=label)]

    def chance(self, label: str, of: int = 8) -> bool:
        return self.data.draw(st.integers(0, of), label=label) == 0

    # -- the trainer

    def dispatch(self) -> None:
        for send in self.flow.sends():
            seat = send.home % len(self.seats)
            anyone = send.anywhere and len(self.seats) > 1
            self.send(task_of(send), None if anyone else seat)
        self.check()

    def send(self, task: Task, seat: int | None) -> None:
        queue = self.shared if seat is None else self.seats[seat].queue
        queue.append(task)
        self.owed.sent(task, None if seat is None else self.seats[seat].number)

    def step(self) -> bool:
        """Whether the epoch goes on."""
        self.dispatch()
        step = self.flow.next()
        if isinstance(step, End):
            return False
        if isinstance(step, Deliver):
            self.delivered.append(step.number)
            self.read_index()
        for seat in range(len(self.seats)):
            if self.given_up is None and self.chance("works", of=1):
                self.work(seat)
        if self.chance("somebody dies"):
            self.die()
        self.flow.check()
        return self.given_up is None

    def check(self) -> None:
        """No task is in two places."""
        places = [*self.shared]
        for one in self.seats:
            places += [*one.queue, *one.hands, *one.unnoted]
        keys = [key_of(task) for task in places]
        assert len(keys) == len(set(keys))
        assert len(places) == self.flow.out

    # -- the workers

    def work(self, seat: int) -> None:
        one = self.seats[seat]
        if one.unnoted:
            one.hands.append(one.unnoted.pop())
            return
        together = all(task.moved and not task.trial for task in one.hands)
        if one.hands and not (together and len(one.hands) < self.threads and self.chance("takes")):
            self.answer(one, self.choose(one.hands, "which") if together else one.hands[0])
        elif one.queue and (not one.hands or one.queue[0].moved):
            one.unnoted.append(one.queue.popleft())
        elif self.shared and (not one.hands or not self.shared[0].trial):
            one.unnoted.append(self.shared.popleft())

    def answer(self, one: Process, task: Task) -> None:
        one.hands.remove(task)
        self.owed.came(one.number, record_of(task))
        if task.moved and self.chance("refused", of=16):
            self.flow.refused(task.number)
            return
        if not task.moved:
            self.at_home[task.home].append(task.number)
        wanted = self.flow.arrived(task.number, task.part, None)
        assert wanted or task.parts > 1, "of a batch one part of which was refused"

    def die(self) -> None:
        dead = [one for one in self.seats if self.chance("who", of=1)]
        if not dead:
            return
        for one in dead:
            for task in (*one.hands, *one.unnoted):
                self.deaths_of[task.number] += 1
        queued = len(self.shared)
        self.shared.clear()
        living = [one for one in self.seats if one not in dead]
        for one in living:  # they are waited for
            one.hands += one.unnoted
            one.unnoted.clear()
        held = {key_of(task) for one in living for task in one.hands}
        pages = [one.page() for one in dead]
        again = self.owed.died(pages, living=len(living), queued=queued, held=held)
        if isinstance(again, GiveUp):
            self.given_up = again
            return
        for one in dead:
            seat = self.seats.index(one)
            self.seats[seat] = Process(self.started)
            self.started += 1
            for task in again.own[one.number]:
                self.send(task, seat)
        for task in again.shared:
            self.send(task, None)
        self.check()


def task_of(send: Send) -> Task:
    moved, trial = send.anywhere, send.trial
    return Task(0, send.number, send.home, send.part, send.parts, moved, trial, 0, [send.number])


def record_of(task: Task) -> Record:
    nothing = Record._make([0] * len(Record._fields))
    return nothing._replace(epoch=task.epoch, number=task.number, part=task.part)


@settings(max_examples=300)
@given(
    data=st.data(),
    homes=st.integers(1, 4),
    seats=st.integers(1, 4),
    prefetch=st.integers(1, 3),
    batches=st.integers(0, 15),
    threads=st.integers(1, 3),
    split=st.booleans(),
    mode=st.sampled_from([Mode.TRYING, Mode.FREE, Mode.FIXED]),
)
def test_deaths_lose_nothing_and_repeat_nothing(
    data: st.DataObject,
    homes: int,
    seats: int,
    prefetch: int,
    split: bool,
    mode: Mode,
    **options: Any,
) -> None:
    seats = min(seats, homes)
    flow = Flow(workers=homes, window=homes * prefetch, mode=mode)
    flow.split = seats if split and seats > 1 else 0
    walk = Walk(data, flow, seats=seats, homes=homes, **options)

    for _ in range(MOST_STEPS):
        if not walk.step():
            break
    else:
        raise AssertionError("the epoch does not end")

    assert walk.delivered == list(range(len(walk.delivered)))
    for numbers in walk.at_home.values():
        assert numbers == sorted(set(numbers)), "random streams go on in order"
    if walk.given_up is None:
        assert len(walk.delivered) == walk.batches
    else:
        # Only what was there at two deaths is blamed.
        assert all(walk.deaths_of[task.number] >= 2 for task in walk.given_up.killers)
