"""Which tasks are out, with whom, and what is to be made again when a worker dies. Pure.

    sent ──► in the queue of all ──taken──► in the hands of a worker ──came──► no longer owed
        └──► in a worker's own queue ───────────────▲        │
                       └───────────── died ─────────┴────────┴──► lost: sent again

Nobody says that it takes a task from the queue of all. What is out, not in that queue any more and
in the hands of none of the living was in those of the dead.

Guarantees
- a task that was lost is sent again, once for each death; no other is ever out twice;
- a home's tasks are sent again in the order in which they were sent, before any later one;
- a task that was in the hands of the dead is a suspect: made alone the next time, and not a third
  time if a worker dies of it again;
- workers that die faster than batches come back are not replaced for ever.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from wellfed._engine.board import key_of
from wellfed._engine.wire import Record, Task

__all__ = ["Again", "Dead", "GiveUp", "Owed"]

# Once by chance, as when the kernel is short of memory; what is there again at the second death is
# taken for its cause.
MOST_DEATHS_OF_A_TASK = 2

# Arbitrary: whoever starts badly is not started for ever, and an epoch of days may lose a worker
# every few minutes.
DEATHS_PER_WORKER = 4
BATCHES_PER_DEATH = 10


@dataclass(frozen=True, slots=True)
class Dead:
    """What a dead worker's page shows."""

    process: int
    held: tuple[int, ...]
    """Keys of the tasks in its hands."""
    taking: bool
    """Whether it was about to take one, and may have had it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Send these again, in this order."""

    shared: tuple[Task, ...]
    """To the queue of all, which is empty."""
    own: dict[int, tuple[Task, ...]]
    """By the number of the dead process, to that which replaces it."""
    suspects: tuple[Task, ...]
    """Those among them that were in the hands of the dead."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Make nothing again."""

    killers: tuple[Task, ...]
    """Tasks that were in the hands of two workers when they died; none: too many have died."""


class Owed:
    """All tasks of a crew that have not come back."""

    def __init__(self) -> None:
        self._shared: dict[int, Task] = {}
        """Sent to the queue of all, in that order."""
        self._own: dict[int, dict[int, Task]] = {}
        self._deaths_of: dict[int, int] = {}
        """How many workers died with a task in their hands, by its key."""
        self._deaths = 0
        self._came = 0

    def sent(self, task: Task, process: int | None) -> None:
        """A task is on its way to a process, or to the queue of all."""
        if process is None:
            self._shared[key_of(task)] = task
        else:
            self._own.setdefault(process, {})[key_of(task)] = task

    def came(self, process: int, record: Record) -> None:
        """A process has told what came of a task."""
        key = key_of(record)
        if self._shared.pop(key, None) is None and process in self._own:
            self._own[process].pop(key, None)
        if self._deaths:
            self._recover(key)

    def _recover(self, key: int) -> None:
        self._deaths_of.pop(key, None)
        self._came += 1
        if self._came >= BATCHES_PER_DEATH:
            self._came = 0
            self._deaths -= 1

    def shared(self, task: Task, process: int) -> None:
        """A task that was on its way to a process is sent to the queue of all instead."""
        self._own.get(process, {}).pop(key_of(task), None)
        self._shared[key_of(task)] = task

    def of(self, process: int) -> list[Task]:
        """What it was sent for itself and has not given back."""
        return list(self._own.get(process, {}).values())

    def find(self, key: int) -> Task | None:
        """The task of that key, if it is out."""
        for queue in (self._shared, *self._own.values()):
            if key in queue:
                return queue[key]
        return None

    def clear(self) -> None:
        """Nothing is out: all processes have gone, and others come."""
        self._shared.clear()
        self._own.clear()

    def died(
        self, dead: Iterable[Dead], *, living: int, queued: int, held: Collection[int]
    ) -> Again | GiveUp:
        """Some processes have died; all that they had sent has come.

        Args:
            dead: each of them.
            living: how many live on.
            queued: tasks that nobody had taken from the queue of all, which were taken out of it.
            held: keys of the tasks in the hands of the living.
        """
        dead = list(dead)
        lost = self._lost_from_shared(queued, held)
        suspects = lost | self._held_of_their_own(dead, lost)
        self._deaths += len(dead)
        killers = self._killers(suspects)
        if killers or self._deaths > DEATHS_PER_WORKER * (living + len(dead)):
            return GiveUp(killers)
        return self._again(dead, lost, suspects, queued)

    def _lost_from_shared(self, queued: int, held: Collection[int]) -> dict[int, Task]:
        # The queue is first in, first out: what is still there was sent last.
        taken = list(self._shared)[: len(self._shared) - queued]
        return {key: self._shared[key] for key in taken if key not in held}

    def _held_of_their_own(self, dead: list[Dead], lost: dict[int, Task]) -> dict[int, Task]:
        found: dict[int, Task] = {}
        unseen = len(lost.keys() - {key for one in dead for key in one.held})
        for one in dead:
            own = self._own.get(one.process, {})
            found |= {key: own[key] for key in one.held if key in own}
            left = [key for key in own if key not in found]
            if one.taking and left and not unseen:
                found[left[0]] = own[left[0]]
        return found

    def _killers(self, suspects: dict[int, Task]) -> tuple[Task, ...]:
        for key in suspects:
            self._deaths_of[key] = self._deaths_of.get(key, 0) + 1
        return tuple(
            task for key, task in suspects.items() if self._deaths_of[key] >= MOST_DEATHS_OF_A_TASK
        )

    def _again(
        self, dead: list[Dead], lost: dict[int, Task], suspects: dict[int, Task], queued: int
    ) -> Again:
        waiting = list(self._shared)[len(self._shared) - queued :]
        again = {key: self._shared.pop(key) for key in (*lost, *waiting)}
        own = {one.process: self._own.pop(one.process, {}) for one in dead}
        return Again(
            shared=tuple(_alone(again[key], key in suspects) for key in sorted(again)),
            own={
                process: tuple(_alone(task, key in suspects) for key, task in tasks.items())
                for process, tasks in own.items()
            },
            suspects=tuple(suspects.values()),
        )


def _alone(task: Task, suspect: bool) -> Task:
    """Where batches may move, one under trial is made with no other beside it."""
    return task._replace(trial=True) if suspect and task.moved else task
