"""Machines and workloads that exist as formulas only, with a model that is wrong about them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from wellfed._tuner.readings import Reading
from wellfed._tuner.search import Ask, Stop, ask
from wellfed._tuner.space import Choice, Space
from wellfed.records import Plan

Seconds = Callable[[Plan], float]

COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16)
DEPTHS = (1, 2, 4, 8)


def plans(counts: tuple[int, ...] = COUNTS) -> list[Plan]:
    made = [
        Plan(workers=workers, prefetch=depth, start_method="fork")
        for workers in counts
        for depth in DEPTHS
        if workers
    ]
    return [Plan(), *made]


def computing(sample_s: float, step_s: float, cores: float, hop_s: float = 0.001) -> Seconds:
    """CPU-bound samples: workers help up to the cores, then cost a little each."""

    def seconds(plan: Plan) -> float:
        if not plan.workers:
            return sample_s + step_s
        making = sample_s / min(plan.workers, cores) * (1 + 0.01 * max(0, plan.workers - cores))
        return max(making, step_s) + hop_s

    return seconds


def waiting(sample_s: float, step_s: float) -> Seconds:
    """Latency-bound samples: every worker helps, past the cores too."""
    return lambda plan: (
        sample_s + step_s if not plan.workers else max(sample_s / plan.workers, step_s) + 0.0005
    )


def uneven(sample_s: float, step_s: float, cores: float) -> Seconds:
    """Samples that differ: a deeper buffer helps."""
    even = computing(sample_s, step_s, cores)
    return lambda plan: even(plan) * (1 + 0.6 / (plan.prefetch or 1) if plan.workers else 1.0)


def in_memory(sample_s: float, hop_s: float) -> Seconds:
    """Samples that cost less than their way out of a worker."""
    return lambda plan: hop_s + 0.0001 * plan.workers if plan.workers else sample_s


@dataclass
class World:
    """A truth, a model of it, and a noise."""

    truth: Seconds
    wrong: Seconds
    """Factor by which the model misses, by plan."""
    present: Plan
    cores: float = 4.0
    noise: float = 0.01
    random: Random = field(default_factory=lambda: Random(0))

    def space(self) -> Space:
        everything = [self.present, *(plan for plan in plans() if plan != self.present)]
        known = self.truth(self.present)
        choices = tuple(
            Choice(
                plan=plan,
                seconds=known if plan == self.present else self.truth(plan) * self.wrong(plan),
                memory_bytes=plan.workers * 100_000_000 + plan.depth * 1_000_000,
            )
            for plan in everything
        )
        return Space(choices=choices, cores=self.cores)

    def measure(self, plan: Plan) -> Reading:
        seconds = self.truth(plan) * (1 + self.random.gauss(0, self.noise))
        return Reading(plan=plan, seconds=seconds, error=self.noise)

    def search(self, most: int = 60) -> tuple[Stop, list[Reading]]:
        space, readings = self.space(), list[Reading]()
        for _ in range(most):
            step = ask(space, readings)
            if isinstance(step, Stop):
                return step, readings
            assert isinstance(step, Ask)
            readings.append(self.measure(step.plan))
        raise AssertionError("the search does not end")

    @property
    def fastest(self) -> float:
        return min(self.truth(plan) for plan in plans())
