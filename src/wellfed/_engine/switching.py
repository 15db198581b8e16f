"""Another plan while batches come: none lost, none made twice, their order and draws kept.

    switch ──► may it? ──► new workers are asked for ──► they are warm ──► the others leave
                  │                                         (those make what they have taken)
                  └──► no: why, in one sentence

What may change, and when:

    prefetch            where reading the sampler further ahead cannot be noticed
    processes, threads  where batches are functions of their indices (`Mode.FREE`): no stream of a
                        home has moved, so that any process can be any home's
    neither             where each batch is made by its own worker: its streams and its dataset
                        live in that worker's process, and nobody else's

Over an iterable dataset, indices only ask for more: its prefetch changes between two epochs.
"""

from msgspec.structs import replace
from torch.utils.data import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    sampler,
)
from torch.utils.data.distributed import DistributedSampler

from wellfed._engine.crew import Crew
from wellfed._engine.flow import Flow, Mode
from wellfed._engine.reading import ahead
from wellfed._engine.torchs import is_its_own
from wellfed.job import Job
from wellfed.records import Plan

__all__ = ["Switching", "merged", "read_unnoticed", "why_not"]

_DRAWN_AT_ONCE = (SequentialSampler, SubsetRandomSampler, WeightedRandomSampler)
"""Torch's samplers that draw all that they ever draw when they are first asked."""


def merged(now: Plan, asked: Plan) -> Plan:
    """The plan that is asked for, in what a switch changes; all else stays as it is."""
    return replace(
        now,
        backend=asked.backend,
        workers=asked.workers,
        threads=asked.threads,
        prefetch=now.prefetch if asked.prefetch is None else asked.prefetch,
    )


def read_unnoticed(job: Job) -> bool:
    """Whether nobody can tell how far ahead the sampler is read.

    Not where it is the user's own, and not where a permutation is drawn late in the epoch from a
    generator of the user's: torch's RandomSampler draws one more at its end.
    """
    order = job.sampler
    if job.batched:
        if type(job.batch_sampler) is not BatchSampler:
            return False
        order = job.batch_sampler.sampler
        if not is_its_own(job.batch_sampler, "__iter__", sampler):
            return False
    if type(order) is DistributedSampler:
        return True
    if type(order) is RandomSampler:
        return order.generator is None and is_its_own(order, "__iter__", sampler)
    return type(order) in _DRAWN_AT_ONCE and is_its_own(order, "__iter__", sampler)


def why_not(job: Job, now: Plan, asked: Plan, fixed_because: str | None) -> str | None:
    """Why batches cannot be made by another plan from here on; None if they can.

    Args:
        job: what is loaded.
        now: how.
        asked: the other plan, as `merged` makes it.
        fixed_because: why each batch is made by its own worker; None if any may make it.
    """
    if fixed_because and _moves(now, asked):
        return f"Each batch is made by its own worker, because {fixed_because}."
    if asked.prefetch != now.prefetch and not job.iterable and not read_unnoticed(job):
        return "How far ahead the sampler is read may change what it yields."
    return None


class Switching:
    """The plan of a stream of processes, and another one that it is on the way to."""

    def __init__(self, job: Job, plan: Plan) -> None:
        """Nothing changes yet.

        Args:
            job: what is loaded.
            plan: how.
        """
        self.plan = plan
        """How batches are made; its `workers` are the processes that there are."""
        self.refused: str | None = None
        """Why the last switch that was under way came to nothing."""
        self._job = job
        self._wider = False
        """Whether more processes than logical workers have batches read ahead for them."""
        self._asked: Plan | None = None
        """A plan that waits until it may be."""
        self._leaving = 0
        """Processes that leave once those on the seats behind theirs are warm."""

    @property
    def pending(self) -> bool:
        """Whether a plan waits until it may be."""
        return self._asked is not None

    @property
    def window(self) -> int:
        """Batches read ahead: torch's, and after a switch more for more processes."""
        workers = max(self._job.workers, self.plan.workers if self._wider else 0)
        return workers * ahead(self.plan)

    def ask(self, plan: Plan, fixed_because: str | None) -> str | None:
        """Go on to another plan as soon as that changes no batch.

        Returns:
            Why that cannot be; None if it is under way.
        """
        asked = merged(self.plan, plan)
        why = why_not(self._job, self.plan, asked, fixed_because)
        if why is None:
            self._asked, self.refused = asked, None
        return why

    def begin(
        self, flow: Flow, crew: Crew, fixed_because: str | None, *, between_epochs: bool = False
    ) -> None:
        """Begin with what was asked for, if it may be by now."""
        if self._asked is None or (self._job.iterable and not between_epochs):
            return
        now, asked = self.plan, self._asked
        self.refused = why_not(self._job, now, asked, fixed_because)
        if self.refused is None and _moves(now, asked) and not flow.rootless:
            return
        self._asked = None
        if self.refused is None:
            self.plan, self._wider = asked, read_unnoticed(self._job)
            flow.resize(self.window)
            if _moves(now, asked):
                self._turn_over(crew, now)

    def _turn_over(self, crew: Crew, before: Plan) -> None:
        """Ask for the processes that are lacking; those that are too many leave."""
        self._end(crew)
        there, wanted, threads = len(crew), self.plan.workers, self.plan.threads
        anew = threads != before.threads
        for seat in range(0 if anew else there, wanted):
            # Whom else it may stand for, it learns when it is asked to.
            crew.add((seat % self._job.workers,), threads)
        if anew:
            self._leaving = there
        elif there > wanted:
            crew.leave(slice(wanted, there))
        crew.house(self._job.workers)

    def go_on(self, flow: Flow, crew: Crew) -> None:
        """Have those leave that others stand in for by now."""
        # Once batches stay at home, nobody comes or goes.
        if self._leaving and (flow.mode is not Mode.FREE or crew.warm(self._leaving)):
            self._end(crew)

    def _end(self, crew: Crew) -> None:
        leaving, self._leaving = self._leaving, 0
        if leaving:
            crew.leave(slice(leaving))
            crew.house(self._job.workers)


def _moves(now: Plan, asked: Plan) -> bool:
    """Whether other processes are to make the batches."""
    return (now.workers, now.threads) != (asked.workers, asked.threads)
