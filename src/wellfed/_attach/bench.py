"""Runs chosen experiments on a copy of a loader, one after another, and hands back their proof.

    index batches ─► ladder ─► shadow, delays (on the same workers) ─► factors (a loader each)

Guarantees
- an experiment that raises is listed with what it said, and the others go on;
- nothing is asked for after the time is over, and all workers are ended.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from wellfed._engine.experiments.course import Beats, Course, OutOfTime
from wellfed._engine.experiments.replay import Step
from wellfed._engine.experiments.running import Climbed, climb, in_turn, said_by
from wellfed._engine.experiments.staged import Init
from wellfed._engine.experiments.twin import index_batches
from wellfed._insight.deciding import (
    block_batches,
    decided,
    delay_decided,
    delay_share,
    epoch_gain,
    factor_decided,
    slope,
)
from wellfed._insight.estimate import divide, mean_estimate
from wellfed._insight.experiments import Experiment, not_run
from wellfed._insight.ladder import costs_of, is_clear, name_of
from wellfed._insight.spending import starting_s
from wellfed._insight.supply import computes, stage_s
from wellfed._probes.residency import drop_pages
from wellfed.records import Case, Estimate, Measured, Plan, Proof, Trial
from wellfed.records.amounts import duration

__all__ = ["Bench"]

# Of the budget, for the ladder: what it names is what the other experiments are about.
LADDER_SHARE = 0.6

OUT_OF_TIME = "the time for experiments was over"

# Starts of an epoch that are timed.
STARTS = 4


class Bench:
    """What the experiments of one report share. Used once, by one thread."""

    def __init__(
        self,
        case: Case,
        loader: Any,
        step: Step,
        *,
        budget_s: float,
        tell: Callable[[str], None],
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            case: what was seen.
            loader: the user's loader.
            step: the consumer.
            budget_s: seconds for all experiments.
            tell: shown what is going on, a line at a time.
            clock: monotonic nanoseconds.
        """
        self._case = case
        self._loader = loader
        self._step = step
        self._tell = tell
        self._batches = block_batches(case)
        self._clock = clock
        self._began_ns = clock()
        self._budget_ns = round(budget_s * 1e9)
        self._indices: list[Any] = []
        self._files: tuple[str, ...] = ()
        self._unread = 0

    def run(
        self,
        chosen: Sequence[Experiment],
        beyond: Callable[[Proof], Sequence[Experiment]],
    ) -> Proof:
        """Run those without a veto; all of them are in the proof.

        Args:
            chosen: as it looks before anything ran.
            beyond: what to do beyond the ladder, once that has run.
        """
        rungs = [one for one in chosen if one.kind == "rung"]
        course = None
        try:
            self._indices = index_batches(self._loader)
            course = self._course(self._case.plan, LADDER_SHARE)
            proof, level = self._ladder(course, rungs)
            course.until_ns = self._until_ns(1.0)
            trials = [self._one(one, course, level) for one in beyond(proof)]
        except Exception as error:
            return _none_ran(chosen, error)
        finally:
            if course is not None:
                course.close()
            self._step.close()
        return msgspec.structs.replace(proof, trials=(*proof.trials, *trials))

    # -- the ladder ---------------------------------------------------------------------------

    def _ladder(self, course: Course, rungs: Sequence[Experiment]) -> tuple[Proof, Estimate]:
        self._tell("taking costs away, one after another")
        reads = bool(self._case.stats.read_bytes_per_batch)
        climbed = climb(
            course,
            [one.name for one in rungs if not one.veto],
            self._batches,
            enough=lambda seen: is_clear(seen) or decided(seen),
            forget=drop_pages if reads else None,
        )
        if "as_is" not in climbed.beats:
            raise OutOfTime("not one run as it is came to its end within the time")
        self._files, self._unread = climbed.files, climbed.unread
        readings = {name: beats.periods_s for name, beats in climbed.beats.items()}
        period, costs = costs_of(readings, climbed.failed)
        proof = Proof(
            trials=tuple(_rung(one, climbed) for one in rungs),
            period_s=period,
            costs=costs,
            named=name_of(period, costs),
            fidelity=period.value / self._case.stats.period_s.value,
        )
        return proof, period

    # -- the others ---------------------------------------------------------------------------

    def _one(self, one: Experiment, course: Course, period: Estimate) -> Trial:
        late = "" if one.veto else self._too_late(one)
        if one.veto or late:
            return not_run(one, late)
        self._tell(one.question)
        try:
            if one.kind == "shadow":
                outcome = self._shadow(course)
            elif one.kind == "delay":
                outcome = self._delay(course, period, worker=one.name == "delay.worker")
            elif one.kind == "start":
                outcome = self._start(one)
            else:
                outcome = self._factor(course, one)
        except OutOfTime:
            return not_run(one, OUT_OF_TIME)
        except Exception as error:
            course.close()
            return not_run(one, said_by(error), failed=True)
        return Trial(
            name=one.name, kind=one.kind, question=one.question, plan=one.plan, outcome=outcome
        )

    def _too_late(self, one: Experiment) -> str:
        """Why there is no time left for it; "" if there is. A start cannot be cut short."""
        left_s = (self._until_ns(1.0) - self._clock()) / 1e9
        if left_s <= 0:
            return OUT_OF_TIME
        own = one.kind in ("factor", "start")
        start_s = starting_s(self._case, one.plan) if own else 0.0
        if start_s > left_s:
            return f"starting its workers takes {duration(start_s)}, and {duration(left_s)} is left"
        return ""

    def _shadow(self, course: Course) -> Measured:
        beside, alone = in_turn(
            lambda: self._as_is(course, "shadow"),
            lambda: course.run("cached", self._batches),
            lambda one, other: factor_decided(one.steps_s, other.steps_s),
        )
        seconds, against = mean_estimate(beside.steps_s), mean_estimate(alone.steps_s)
        return Measured(
            seconds=seconds,
            against_s=against,
            effect=divide(seconds, against) if against.value else None,
            batches=len(beside.steps_s),
        )

    def _delay(self, course: Course, period: Estimate, *, worker: bool) -> Measured:
        """A delay that would lengthen the period by that much if its stage set the pace."""
        added_s = delay_share(period) * period.value
        cpu = computes(self._case)
        where: dict[str, Any] = (
            # Each worker makes one batch in so many periods.
            {"delay_s": added_s * max(1, self._case.plan.workers), "computes": cpu}
            if worker
            else {"then_s": added_s}
        )
        base, delayed = in_turn(
            lambda: self._as_is(course),
            lambda: self._as_is(course, **where),
            lambda one, other: delay_decided(one.periods_s, other.periods_s, added_s),
        )
        return Measured(
            seconds=mean_estimate(delayed.periods_s),
            against_s=mean_estimate(base.periods_s),
            effect=slope(base.periods_s, delayed.periods_s, added_s),
            batches=len(delayed.periods_s),
        )

    def _factor(self, course: Course, one: Experiment) -> Measured:
        other = self._course(one.plan, 1.0, self._init(one.change))
        try:
            before, after = in_turn(
                lambda: self._as_is(course),
                lambda: self._as_is(other),
                lambda one, other: factor_decided(one.periods_s, other.periods_s),
            )
        finally:
            other.close()
        old, new = mean_estimate(before.periods_s), mean_estimate(after.periods_s)
        return Measured(
            seconds=new, against_s=old, effect=divide(old, new), batches=len(after.periods_s)
        )

    def _start(self, one: Experiment) -> Measured:
        """What an epoch gains by another start; workers that stay leave its first fetch alone."""
        own, other = self._course(self._case.plan, 1.0), self._course(one.plan, 1.0)
        stays = one.plan is not None and one.plan.persistent
        fetch_s = stage_s(self._case, "fetch")
        try:
            pairs = [(own.start_s(), fetch_s if stays else other.start_s()) for _ in range(STARTS)]
        finally:
            own.close()
            other.close()
        old, new = (mean_estimate(taken) for taken in zip(*pairs, strict=True))
        return Measured(
            seconds=new,
            against_s=old,
            effect=epoch_gain(self._case.stats.epoch_s or old.value, old, new),
            batches=STARTS,
        )

    # -- what they are made of ----------------------------------------------------------------

    def _course(self, plan: Plan | None, share: float, init: Init | None = None) -> Course:
        return Course(
            self._loader,
            plan if plan is not None else self._case.plan,
            self._indices,
            self._step,
            until_ns=self._until_ns(share),
            init=init,
        )

    def _until_ns(self, share: float) -> int:
        return self._began_ns + round(self._budget_ns * share)

    def _init(self, change: str) -> Init:
        cpus = sorted(os.sched_getaffinity(0)) if change == "affinity" else None
        return Init(self._loader.worker_init_fn, cpus=cpus, one_thread=change == "one_thread")

    def _as_is(self, course: Course, stage: str = "as_is", **added: Any) -> Beats:
        """A stretch that nobody read yet; where the run read from storage, one dropped from memory.

        Where all batches have been read, the first ones come again.
        """
        place = 0
        if self._files:
            drop_pages(self._files)
        else:
            place = self._unread
            self._unread += self._batches + 2 * course.in_flight
        return course.run(stage, self._batches, place=place, **added)


def _rung(one: Experiment, climbed: Climbed) -> Trial:
    beats = climbed.beats.get(one.name)
    if beats is None:
        why = climbed.failed.get(one.name, "")
        late = "" if why or one.veto else OUT_OF_TIME
        return not_run(one, why or late, failed=bool(why))
    outcome = Measured(seconds=mean_estimate(beats.periods_s), batches=len(beats.periods_s))
    return Trial(name=one.name, kind=one.kind, question=one.question, outcome=outcome)


def _none_ran(chosen: Sequence[Experiment], error: Exception) -> Proof:
    """The copy of the loader could not be made, or does not run as it is."""
    return Proof(
        trials=tuple(
            not_run(one) if one.veto else not_run(one, said_by(error), failed=True)
            for one in chosen
        )
    )
