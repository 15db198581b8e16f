"""Keeps a stream of worker processes within its limits: looks, has the guard decide, applies.

Everything happens inside the trainer's `__next__`, twice a second at most.

    crew, machine ── Seen ──► guard ──► Flow.most, the slabs' allowance, what kept batches may hold
"""

import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from wellfed._engine.arrivals import Unpacker
from wellfed._engine.board import turn
from wellfed._engine.crew import Crew
from wellfed._engine.epoch import Epoch
from wellfed._engine.flow import Flow
from wellfed._engine.guard import (
    Decision,
    Fewer,
    Keep,
    More,
    Seen,
    State,
    Window,
    kept_bytes,
    step,
)
from wellfed._engine.switching import Switching
from wellfed._limits import Limits
from wellfed.errors import PlanTooLarge
from wellfed.job import Job
from wellfed.records import Plan
from wellfed.records.amounts import size

__all__ = ["Limiter", "check_workers"]

# Reading what the machine leaves took 72 µs, most of a look: twice a second is 0.02 % of the time.
# Other memory moves by some hundred MB in that time, which `FREE_SHARE` leaves free.
LOOK_S = 0.5
SHORT_LOOK_S = 0.05

# A worker's own memory is looked at one worker at a time, and for so small a share of the time.
PRIVATE_S = 0.5
PRIVATE_SHARE = 0.0005

# What a batch that must have room waits for idle workers to give up theirs, all in all.
PATIENCE_S = 0.25
WAIT_S = 0.01

# Most batches come sooner than this, and what they would need is not asked for.
SOON_S = 0.002

# Until the first batch shows what one takes, slabs have so much of what may be taken: making one
# takes samples, too.
FIRST_SHARE = 0.5


def check_workers(job: Job, workers: int, why_each: str | None) -> None:
    """Refuse more worker processes than fit.

    Args:
        job: what is loaded, with its limits.
        workers: how many there are to be.
        why_each: why each logical worker needs a process of its own; None if it needs none.

    Raises:
        PlanTooLarge: they do not fit.
    """
    limits = job.limits
    if limits is None or workers <= limits.most_workers:
        return
    needed = f"; each logical worker needs its own here, since {why_each}" if why_each else ""
    raise PlanTooLarge(
        f"{workers} worker processes do not fit, and {limits.most_workers} do{needed}: "
        f"{limits.binding} Use num_workers={limits.most_workers}"
        f"{', or raise memory_limit' if limits.given else ''}."
    )


class Limiter:
    """The limits of one stream."""

    def __init__(self, limits: Limits | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was seen yet.

        Args:
            limits: what may be taken; None: nothing is limited.
            clock: monotonic seconds.
        """
        self._limits = limits
        self._clock = clock
        self._state: State | None = None
        self._next_look_s = 0.0
        self._next_private_s = 0.0
        self._private: dict[int, float] = {}
        self._turn = self._batch_bytes = 0
        self._wanting_since_s: float | None = None
        self._reduced = 0, 0
        """Workers that there were to be, and that the guard had them reduced to."""
        self._wants = False
        """Whether the workers were told which batch is waited for."""

    def begin(self, crew: Crew, window: int) -> None:
        """Workers have started: before they are sent anything.

        Args:
            crew: the workers.
            window: batches that the plan would have in the making or ready.
        """
        if self._limits is None:
            return
        limit, workers = float(self._limits.memory_bytes), len(crew)
        slabs = max(0.0, limit - workers * self._limits.worker_bytes)
        self._state = State(
            limit_bytes=limit,
            workers=workers,
            full=window,
            window=window,
            slabs_bytes=slabs,
            ranks=self._limits.ranks,
        )
        now_s = self._clock()
        self._next_look_s, self._next_private_s = now_s, now_s + PRIVATE_S
        self._private.clear()
        crew.shelves.allow(int(FIRST_SHARE * slabs), int(limit))

    def due(self, unpacker: Unpacker) -> bool:
        """Whether to look again, after reading what workers have given up."""
        batch_bytes = unpacker.largest_bytes
        if self._state is None or not batch_bytes:
            return False
        return batch_bytes != self._batch_bytes or self._clock() >= self._next_look_s

    def look(self, flow: Flow, crew: Crew, unpacker: Unpacker, switching: Switching) -> Plan | None:
        """Look whether all is within its limits.

        Returns:
            The plan with as many workers as have room, where those that there are have not, or
            where some were taken away that have room again.
        """
        if self._limits is None or self._state is None:
            return None
        now_s = self._clock()
        batch_bytes = self._batch_bytes = unpacker.largest_bytes
        state, window = self._state, switching.window
        self._state = replace(
            state,
            workers=len(crew),
            planned=self._planned(switching),
            full=window,
            window=self._most(window),
        )
        seen = Seen(
            at_s=now_s,
            slabs_bytes=crew.shelves.bytes,
            batch_bytes=batch_bytes,
            kept_bytes=crew.shelves.leased_bytes,
            workers_bytes=self._workers_bytes(crew, now_s),
            room=self._limits.room(),
        )
        before = self._state
        self._state, decision = step(before, seen)
        self._say(before, decision, seen)
        flow.most = self._state.window
        unpacker.kept_bytes = kept_bytes(self._state, seen.batch_bytes)
        crew.shelves.allow(int(self._state.slabs_bytes), self._limits.memory_bytes)
        # Sooner, while workers have not given up yet what they are to.
        over = seen.slabs_bytes > self._state.slabs_bytes
        self._next_look_s = now_s + (SHORT_LOOK_S if over else LOOK_S)
        if not isinstance(decision, Fewer | More):
            return None
        self._reduced = self._state.planned, decision.workers
        return msgspec.structs.replace(switching.plan, workers=decision.workers)

    def _planned(self, switching: Switching) -> int:
        """Workers that there were to be before memory was short, unless others decided since."""
        planned, reduced = self._reduced
        if switching.plan.workers != reduced and not switching.pending:
            planned = switching.plan.workers
            self._reduced = planned, planned
        return planned

    def limited(self, flow: Flow) -> Flow:
        """A new epoch's, with no more in the making than the last one had in the end."""
        flow.most = self._most(flow.most)
        return flow

    def _most(self, window: int) -> int:
        """Batches that may be in the making, where the plan would have so many."""
        state = self._state
        if state is None or state.window == state.full:
            return window
        return min(window, state.window)

    def wait_s(
        self, left_s: float | None, epoch: Epoch, crew: Crew, unpacker: Unpacker
    ) -> float | None:
        """How long to wait for the batch that is due, which is said to be; None: for ever."""
        if self._state is None:
            return left_s
        now_s = self._clock()
        if self._wanting_since_s is None:
            self._wanting_since_s = now_s
        since_s = self._wanting_since_s
        if now_s - since_s < SOON_S:
            return SOON_S if left_s is None else min(left_s, SOON_S)
        slabs, batch = crew.shelves.bytes, unpacker.largest_bytes
        room = self._state.slabs_bytes - slabs
        idle = slabs - crew.shelves.leased_bytes - epoch.flow.ready * batch
        if room >= batch or idle < batch or now_s - since_s > PATIENCE_S:
            crew.shelves.want(turn(epoch.number, epoch.flow.due))
            self._wants = True
            return left_s
        # Others hold free slabs: they give them up, and then there is room.
        crew.shelves.allow(int(self._state.slabs_bytes), int(self._state.limit_bytes))
        return WAIT_S if left_s is None else min(left_s, WAIT_S)

    def came(self, crew: Crew) -> None:
        """The batch that was waited for is here."""
        self._wanting_since_s = None
        if self._wants:
            self._wants = False
            crew.shelves.want(0)

    def _workers_bytes(self, crew: Crew, now_s: float) -> float:
        """Their own memory: as last seen of those that were looked at, the forecast of others."""
        assert self._limits is not None
        pids = crew.met_pids
        if pids and now_s >= self._next_private_s:
            self._turn = (self._turn + 1) % len(pids)
            found = self._limits.private_bytes(pids[self._turn])
            if found is not None:
                self._private[pids[self._turn]] = found
            took_s = self._clock() - now_s
            self._next_private_s = now_s + max(PRIVATE_S, took_s / PRIVATE_SHARE)
        known = [self._private[pid] for pid in pids if pid in self._private]
        # One that has not been seen has its samples, besides what it has at rest.
        rest = self._limits.worker_bytes + self._batch_bytes
        others = sum(known) / len(known) if known else rest
        return sum(known) + (len(crew) - len(known)) * others

    def _say(self, before: State, decision: Decision, seen: Seen) -> None:
        assert self._limits is not None
        if isinstance(decision, Keep):
            return
        if isinstance(decision, More):
            workers = f"{decision.workers} workers, no longer {before.workers}"
            self._limits.say("more", f"Memory is there again: {workers}.")
            return
        if isinstance(decision, Window) and decision.batches >= before.window:
            self._limits.say(
                "more",
                f"Memory is there again: {_of_batches(decision.batches)} in the making, "
                f"no longer {before.window}.",
            )
            return
        batches, workers = self._most(before.full), ""
        if isinstance(decision, Fewer):
            workers = f", {decision.workers} workers instead of {before.workers}"
        left = f", {size(seen.room.left_bytes)} left" if seen.room is not None else ""
        self._limits.say(
            "less",
            f"Memory is short ({decision.why}): {_of_batches(batches)} in the making, no longer "
            f"{before.window}{workers}, at {size(seen.batch_bytes)} each. Workers have "
            f"{size(seen.workers_bytes)} of their own, batches {size(seen.slabs_bytes)}, of "
            f"{size(before.limit_bytes)}{left}.",
        )


def _of_batches(number: int) -> str:
    return f"{number} batch" if number == 1 else f"{number} batches"
