"""How far to read ahead, so that memory lasts. Pure: readings in, a decision out.

    what the loader may take  ┐
    its slabs and workers     ├──► step ──► Keep | Window | Fewer
    what the machine leaves   │
    waiting for memory, kills ┘                     ─► and back: Window, then More

Batches in the making are what can be given up at once and cost least speed, so they go first. Once
each worker has no more than the batch it makes, the rest takes fewer workers. When memory is there
again, batches come back first, and then workers, one at a time.

Guarantees
- less at once, more slowly: up by a quarter, or by one worker, and only after `CALM_S` in which
  nothing was short
- a worker that comes back has room for all that it will take, and for a quarter of that besides
- what is decided from the same readings twice is kept the second time
- at least one batch is always in the making
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

from wellfed._limits import Room

__all__ = [
    "CALM_S",
    "Decision",
    "Fewer",
    "Keep",
    "More",
    "Seen",
    "State",
    "Window",
    "kept_bytes",
    "step",
]

# Of the tightest limit this is left to the script, whose own memory moves between two looks.
FREE_SHARE = 0.1
MOST_FREE_BYTES = 1 << 30

# Slabs of a worker besides those of the batches ahead: one in the trainer's hands and one on its
# way back. As measured for `SLABS_AHEAD` of the forecasts.
SPARE_SLABS = 2

# The kernel's own measure of "some task waited for memory". A tenth of the time is what tools that
# end processes early act on (systemd-oomd: 60 % of the time, over 30 s; here nothing is ended).
STALLED_SHARE = 0.1

# A step of training or an evaluation that needs more memory now and then comes back within that.
CALM_S = 10.0
GROWTH = 1.25


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read, at one moment."""

    at_s: float
    slabs_bytes: float
    """All slabs, kept ones too."""
    batch_bytes: float
    """Slabs of the largest batch so far; 0 before the first."""
    kept_bytes: float
    """How much of the slabs batches hold which are with the trainer."""
    workers_bytes: float
    """Memory of the workers that they share with no other process."""
    room: Room | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What was decided so far."""

    limit_bytes: float
    workers: int
    """Worker processes."""
    full: int
    """The window that the plan asks for."""
    window: int
    """Most batches out or ready at once, as decided."""
    slabs_bytes: float
    """What all slabs may take, as decided."""
    ranks: int = 1
    planned: int = 0
    """Worker processes that there would be if memory had room."""
    calm_since_s: float | None = None
    last: Seen | None = None


class Keep:
    """As it is."""


@dataclass(frozen=True, slots=True)
class Window:
    """Have so many batches in the making or ready."""

    batches: int
    why: str


@dataclass(frozen=True, slots=True)
class Fewer:
    """Have so many worker processes: one batch in the making each is too much already."""

    workers: int
    why: str


@dataclass(frozen=True, slots=True)
class More:
    """Have so many worker processes: there is room for those that were taken away."""

    workers: int


Decision: TypeAlias = Keep | Window | Fewer | More


def step(state: State, seen: Seen) -> tuple[State, Decision]:
    """Decide, from what was seen last and now."""
    allowed, why = _allowed_bytes(state, seen)
    pressed = _pressed(state.last, seen)
    wanted = _fitting(state, seen, allowed)
    if pressed:
        why, wanted = pressed, min(wanted, max(1, int(state.window / GROWTH)))
    calm = state.calm_since_s
    short = wanted < state.window
    calm = None if short or pressed else seen.at_s if calm is None else calm
    # A pressed machine lends no more than it has lent; calm, growth follows `wanted`.
    slabs = min(allowed, max(seen.slabs_bytes, seen.batch_bytes)) if pressed else allowed
    after = replace(state, slabs_bytes=slabs, calm_since_s=calm, last=seen)
    if short:
        after = replace(after, window=wanted)
        # What is pressed may pass; only what does not fit takes workers away.
        fewer = _fewer(after, seen, allowed)
        return after, Window(wanted, why) if fewer is None else Fewer(fewer, why)
    if calm is None or seen.at_s - calm < CALM_S:
        return after, Keep()
    if wanted > state.window:
        grown = min(wanted, max(state.window + 1, int(state.window * GROWTH)))
        return replace(after, window=grown, calm_since_s=seen.at_s), Window(grown, "")
    if state.workers < state.planned and state.workers < _most_workers(state, seen, allowed):
        return replace(after, calm_since_s=seen.at_s), More(state.workers + 1)
    return after, Keep()


def kept_bytes(state: State, batch_bytes: float) -> float:
    """How much of the slabs batches that the user keeps may hold, before others are copied out."""
    return max(0.0, state.slabs_bytes - (state.window + state.workers) * batch_bytes)


def _allowed_bytes(state: State, seen: Seen) -> tuple[float, str]:
    """What slabs may take, and what says so."""
    allowed, why = state.limit_bytes - seen.workers_bytes, "memory_limit"
    if seen.room is not None:
        free = min(FREE_SHARE * seen.room.total_bytes, MOST_FREE_BYTES)
        more = (seen.room.left_bytes - free) / state.ranks
        if seen.slabs_bytes + more < allowed:
            allowed, why = seen.slabs_bytes + more, "the machine"
    return max(0.0, allowed), why


def _pressed(last: Seen | None, now: Seen) -> str:
    """What says that memory is short, whatever the numbers say; "" if nothing does."""
    if last is None or last.room is None or now.room is None:
        return ""
    if now.room.kills > last.room.kills:
        return "a process was ended for want of memory"
    stalled_s = now.room.stalled_s - last.room.stalled_s
    if stalled_s > STALLED_SHARE * max(1e-3, now.at_s - last.at_s):
        return "processes wait for memory"
    return ""


def _fitting(state: State, seen: Seen, allowed: float) -> int:
    """The window that fits into so many bytes."""
    if seen.batch_bytes <= 0:
        return state.window
    # One each is with the trainer at any time; what it keeps beyond that is not to be had.
    kept = max(0.0, seen.kept_bytes - state.workers * seen.batch_bytes)
    slabs = int(max(0.0, allowed - kept) / seen.batch_bytes)
    beside = slabs - SPARE_SLABS * state.workers
    # Short of spare ones a worker waits for its slab; one that makes nothing serves nobody.
    each = min(state.workers, slabs - state.workers)
    return max(1, min(state.full, max(beside, each)))


def _fewer(state: State, seen: Seen, allowed: float) -> int | None:
    """Workers that have room for the batch they make, with their own memory; None for all."""
    if state.window >= state.workers or state.workers == 1 or seen.batch_bytes <= 0:
        return None
    fit = int((allowed + seen.workers_bytes) / _worker_bytes(state, seen))
    return max(1, min(fit, state.workers - 1)) if fit < state.workers else None


def _most_workers(state: State, seen: Seen, allowed: float) -> int:
    """Workers that have room for that, and for a quarter more."""
    if seen.batch_bytes <= 0:
        return state.workers
    return int((allowed + seen.workers_bytes) / (GROWTH * _worker_bytes(state, seen)))


def _worker_bytes(state: State, seen: Seen) -> float:
    """What one takes: its own memory, and the batches that it cannot do without."""
    return SPARE_SLABS * seen.batch_bytes + seen.workers_bytes / state.workers
