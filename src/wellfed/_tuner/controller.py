"""What a loader does about its plan while it trains. Pure: a window in, a decision out.

    waits? ──► more of one thing ──► did the wait shrink? ──► it stays
    idle?  ──► fewer workers ──────► still no wait?              └──► or the earlier plan is back
    short of memory? ──► fewer at once

The target is the consumer's demand: as many batches as its quicker steps ask for, and no more.

Guarantees
- one thing changes at a time; one that did not help, or made the step slower, is undone at the next
  window that can tell, and not tried again before the work itself has changed (`DRIFT`);
- no plan goes beyond the bounds, nor above what memory has room for;
- at most `AT_ONCE` switches in a row, then one a minute, until the work changes; on constant input
  there comes an end;
- nothing is changed that would not pay before the epoch ends.
"""

from typing import TypeAlias

from msgspec.structs import replace

from wellfed._tuner.moves import Move, fewer, more, out_of_reach
from wellfed._tuner.window import Bounds, Window, allowed_workers
from wellfed.records import Plan
from wellfed.records._record import Record
from wellfed.records.amounts import duration

__all__ = ["Decision", "Keep", "State", "Switch", "Undo", "step"]

# Share of the time spent waiting from which more is wanted, and up to which less is: apart, so
# that what is taken by one is not given back by the other.
WAITS, IDLE = 0.05, 0.01

# Windows in a row that must say the same; giving back is in no hurry.
EVIDENCE, PATIENCE = 2, 4

# What a change must bring to stay, as a share of the time per batch, and by how much a step may
# become slower meanwhile.
HELPED, SLOWER = 0.03, 0.05

# After fewer workers, a wait of this share is as good as none.
STILL_IDLE = 0.02

# The work has changed: a batch or a step takes this much longer, or shorter.
DRIFT = 1.5

# And by no less than this share of the time per batch: what is quick varies by more than that.
SEEN = 0.1

# Switches that may follow each other closely: from one worker to 32 by doubling, and one more.
AT_ONCE = 6
EVERY_S = 60.0

# A change must be expected to save so many times what it costs.
PAYS = 2.0


class Keep(Record, frozen=True, kw_only=True):
    """Go on."""

    why: str = ""
    """What is out of reach, as a sentence; "" if nothing is to be said."""


class Switch(Record, frozen=True, kw_only=True):
    """Go on with another plan."""

    plan: Plan
    why: str


class Undo(Record, frozen=True, kw_only=True):
    """Go back to the plan before the last switch."""

    plan: Plan
    why: str


Decision: TypeAlias = Keep | Switch | Undo


class Trying(Record, frozen=True, kw_only=True):
    """A switch that is not judged yet."""

    move: Move
    before: Plan
    seen: Window
    """The window that led to it."""
    settling: int = 1
    """Windows to pass over first: workers start, and others leave."""


class State(Record, frozen=True, kw_only=True):
    """What was decided so far, and what is being tried."""

    plan: Plan
    bounds: Bounds
    trying: Trying | None = None
    waits: int = 0
    """Windows in a row in which the consumer waited."""
    idle: int = 0
    """Windows in a row in which it did not, and workers were idle."""
    gave_up: tuple[str, ...] = ()
    """Kinds of moves that did not help."""
    fetch_s: float | None = None
    gap_s: float = 0.0
    """What a batch and a step take under this plan; None before that was seen."""
    allowed: float = AT_ONCE
    """Switches that may be made by now."""
    elapsed_s: float = 0.0
    drifted_s: float = -EVERY_S
    """When the work had changed so that many switches may follow each other again."""


def step(state: State, window: Window) -> tuple[State, Decision]:
    """Decide, from what was decided and what was seen since."""
    state = _later(state, window)
    guarded = _guard(state, window)
    if guarded is not None:
        return guarded
    if state.trying is not None:
        return _judge(state, state.trying, window)
    state = _counted(state, window)
    if state.waits >= EVIDENCE:
        return _want_more(state, window)
    if state.idle >= PATIENCE:
        return _give_back(state, window)
    return state, Keep()


def _later(state: State, window: Window) -> State:
    """Time has passed; and the work may have changed, so that what did not help then may now."""
    allowed = min(AT_ONCE, state.allowed + window.seconds / EVERY_S)
    state = replace(state, allowed=allowed, elapsed_s=state.elapsed_s + window.seconds)
    if state.fetch_s is None:
        return _under_this_plan(state, window)
    if state.trying is not None or not _drifted(state, window):
        return state
    state = replace(_under_this_plan(state, window), gave_up=())
    if state.elapsed_s - state.drifted_s < EVERY_S:
        return state
    return replace(state, allowed=AT_ONCE, drifted_s=state.elapsed_s)


def _under_this_plan(state: State, window: Window) -> State:
    """What work is compared with from here on: more workers slow their own batches down."""
    return replace(state, fetch_s=window.fetch_s or state.fetch_s, gap_s=window.gap_s)


def _drifted(state: State, window: Window) -> bool:
    least_s = SEEN * window.period_s
    then_s = state.fetch_s or 0.0
    fetch_s = window.fetch_s or then_s
    return _apart(window.gap_s, state.gap_s, least_s) or _apart(fetch_s, then_s, least_s)


def _apart(now: float, then: float, least: float) -> bool:
    return max(now, then) > DRIFT * min(now, then) and abs(now - then) > least


def _counted(state: State, window: Window) -> State:
    waits = state.waits + 1 if window.wait_share > WAITS else 0
    idle = state.idle + 1 if window.wait_share < IDLE else 0
    return replace(state, waits=waits, idle=idle)


# -- memory ---------------------------------------------------------------------------------------


def _guard(state: State, window: Window) -> tuple[State, Decision] | None:
    """Fewer workers where memory has no room for those that are there."""
    room = window.room_workers
    fixed = bool(state.bounds.why_fixed)
    if fixed or room is None or room >= state.plan.workers or state.plan.workers <= 1:
        return None
    room = max(1, room)
    # For good: what memory did not have room for once, it may lack again.
    state = replace(state, bounds=replace(state.bounds, most_workers=room), trying=None)
    plan = replace(state.plan, workers=room)
    return replace(state, plan=plan, waits=0, idle=0), Switch(
        plan=plan, why=f"memory has room for {room} workers"
    )


# -- one thing at a time --------------------------------------------------------------------------


def _want_more(state: State, window: Window) -> tuple[State, Decision]:
    moves = [
        one
        for one in more(state.plan, window, state.bounds)
        if one.kind not in state.gave_up and _pays(state, one, window)
    ]
    if not moves:
        # Said once they were seen to wait for a while, and not for what was tried in vain.
        short = state.gave_up or not _long_enough(state, window)
        return state, Keep(why="" if short else out_of_reach(state.plan, window, state.bounds))
    return _switch(state, moves[0], window)


def _give_back(state: State, window: Window) -> tuple[State, Decision]:
    move = fewer(state.plan, window, state.bounds)
    if move is None or move.kind in state.gave_up or not _long_enough(state, window):
        return state, Keep()
    return _switch(state, move, window)


def _switch(state: State, move: Move, window: Window) -> tuple[State, Decision]:
    if state.allowed < 1:
        return state, Keep()
    trying = Trying(move=move, before=state.plan, seen=window)
    state = replace(state, plan=move.plan, trying=trying, waits=0, idle=0)
    return replace(state, allowed=state.allowed - 1), Switch(plan=move.plan, why=move.why)


def _pays(state: State, move: Move, window: Window) -> bool:
    saved_s = move.gain_s / window.period_s * _left_s(state, window)
    return saved_s > PAYS * state.bounds.switch_s


def _long_enough(state: State, window: Window) -> bool:
    return _left_s(state, window) > 10 * state.bounds.switch_s


def _left_s(state: State, window: Window) -> float:
    """What is left of the epoch; where nobody knows, as much as has passed."""
    return state.elapsed_s if window.left_s is None else window.left_s


# -- did it help? ---------------------------------------------------------------------------------


def _judge(state: State, trying: Trying, window: Window) -> tuple[State, Decision]:
    if trying.settling:
        return replace(state, trying=replace(trying, settling=trying.settling - 1)), Keep()
    against = _against(trying, window)
    if not against:
        # What helped may help further: one more window of the same is evidence enough.
        state = _under_this_plan(state, window)
        return replace(state, trying=None, waits=EVIDENCE - 1), Keep()
    state = replace(
        _under_this_plan(state, trying.seen),
        plan=_within(trying.before, state, window),
        trying=None,
        gave_up=(*state.gave_up, trying.move.kind),
    )
    return state, Undo(plan=state.plan, why=against)


def _within(plan: Plan, state: State, window: Window) -> Plan:
    """The earlier plan, less what memory has no room for by now."""
    room = allowed_workers(state.bounds, window)
    fits = plan.workers <= room or state.bounds.why_fixed
    return plan if fits else replace(plan, workers=max(1, room))


def _against(trying: Trying, window: Window) -> str:
    """What speaks against a change, in a clause; "" if it was worth it."""
    seen = trying.seen
    if trying.move.kind == "fewer":
        waits = window.wait_share > max(STILL_IDLE, seen.wait_share + IDLE)
        return f"{window.wait_share:.0%} of the time was spent waiting" if waits else ""
    before, after = duration(seen.period_s), duration(window.period_s)
    saved = seen.wait_s / seen.batches - window.wait_s / window.batches
    if saved < HELPED * seen.period_s:
        return f"it did not help: {after} from batch to batch, {before} before"
    slower = window.gap_s > seen.gap_s * (1 + SLOWER)
    if slower and window.period_s > seen.period_s * (1 - HELPED):
        return (
            f"the step became slower, {duration(window.gap_s)} and not {duration(seen.gap_s)}, "
            "and with it the whole"
        )
    return ""
