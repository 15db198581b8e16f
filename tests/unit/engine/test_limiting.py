"""What the limiter asks the stream for, with a crew and a machine that exist as numbers only."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from wellfed._engine.guard import CALM_S
from wellfed._engine.limiting import Limiter
from wellfed._limits import Limits, Room
from wellfed.records import Plan

MB = 1_000_000
WINDOW = 4


@dataclass
class Machine:
    """Workers of 100 MB, batches of 10 MB, and what is left beside them."""

    left_bytes: float = 5_000 * MB
    now_s: float = 0.0
    workers: int = 4
    plan: Plan = field(default_factory=lambda: Plan(workers=4, prefetch=1))
    pending: bool = False
    bytes: int = 60 * MB
    leased_bytes: int = 0
    largest_bytes: int = 10 * MB
    kept_bytes: float | None = None
    most: int = WINDOW
    met_pids: tuple[int, ...] = ()
    said: list[str] = field(default_factory=list)

    @property
    def shelves(self) -> "Machine":
        return self

    @property
    def window(self) -> int:
        return self.plan.workers

    def allow(self, slabs_bytes: int, ceiling_bytes: int) -> None: ...

    def __len__(self) -> int:
        return self.workers

    def room(self) -> Room:
        return Room(self.left_bytes, 10_000 * MB, 0.0, 0)

    def go_on_with(self, plan: Plan) -> None:
        self.plan, self.workers = plan, plan.workers


def limiter_of(machine: Machine) -> Limiter:
    limits = Limits(
        memory_bytes=2_000 * MB,
        given=False,
        most_workers=8,
        binding="",
        worker_bytes=100 * MB,
        room=machine.room,
        private_bytes=lambda _pid: None,
        say=lambda _topic, text: machine.said.append(text),
    )
    one = Limiter(limits, clock=lambda: machine.now_s)
    it: Any = machine
    one.begin(it, WINDOW)
    return one


def looked(limiter: Limiter, machine: Machine, seconds: float) -> list[int]:
    """Numbers of workers that it asks for within so many seconds, each given at once."""
    asked = []
    it: Any = machine
    until_s = machine.now_s + seconds
    while machine.now_s < until_s:
        machine.now_s += 0.5
        other = limiter.look(it, it, it, it)
        if other is not None:
            asked.append(other.workers)
            machine.go_on_with(other)
    return asked


def test_workers_that_memory_took_away_come_back_with_it() -> None:
    machine = Machine()
    limiter = limiter_of(machine)
    assert looked(limiter, machine, 2.0) == []

    machine.left_bytes = 800 * MB  # a tenth of the machine stays free
    taken = looked(limiter, machine, 5.0)
    machine.left_bytes = 5_000 * MB
    given = looked(limiter, machine, 20 * CALM_S)

    assert taken
    assert taken[-1] < 4
    assert given == list(range(taken[-1] + 1, 5))
    assert machine.said[0].startswith("Memory is short")
    assert "Memory is there again: 4 workers, no longer 3." in machine.said


@pytest.mark.parametrize("workers", [1, 2, 6])
def test_what_others_decided_since_is_left_as_it_is(workers: int) -> None:
    machine = Machine()
    limiter = limiter_of(machine)
    machine.left_bytes = 0
    assert looked(limiter, machine, 5.0) == [3]
    machine.go_on_with(Plan(workers=workers, prefetch=1))

    machine.left_bytes = 5_000 * MB

    assert looked(limiter, machine, 20 * CALM_S) == []
