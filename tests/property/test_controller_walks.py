"""Whatever is measured, the live controller keeps its guarantees."""

from hypothesis import given, settings
from hypothesis import strategies as st

from wellfed._tuner.controller import AT_ONCE, EVERY_S, Keep, State, Switch, Undo, step
from wellfed._tuner.window import Bounds, Window
from wellfed.records import Plan

share = st.floats(0.0, 1.0)
some = st.floats(1e-5, 2.0)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Anything that may be measured."""
    batches = draw(st.integers(1, 500))
    seconds = draw(st.floats(0.5, 8.0))
    wait_s = seconds * draw(share)
    fetch_s = draw(st.none() | some)
    return Window(
        batches=batches,
        seconds=seconds,
        wait_s=wait_s,
        gap_s=(seconds - wait_s) / batches,
        gap_deviation_s=draw(some),
        fetch_s=fetch_s,
        cpu_s=draw(st.none() | share.map(lambda part: part * (fetch_s or 1.0))),
        busy_share=draw(st.none() | share),
        pressure_share=draw(st.none() | share),
        throttled_share=draw(st.none() | share),
        room_workers=draw(st.none() | st.integers(0, 20)),
        left_s=draw(st.none() | st.floats(0.0, 1e4)),
    )


bounds = st.builds(
    Bounds,
    cpus=st.integers(1, 16),
    most_workers=st.integers(1, 16),
    most_threads=st.sampled_from([0, 16]),
    why_fixed=st.sampled_from(["", "a sample draws"]),
    why_read_so=st.sampled_from(["", "the sampler is the user's own"]),
    backends=st.sampled_from([(), ("inline", "processes")]),
    inline_s=st.just(0.0003),
    switch_s=st.floats(0.01, 5.0),
)


def begun(workers: int, prefetch: int, within: Bounds) -> Plan:
    """In the trainer's process, or with so many workers."""
    if not workers:
        return Plan(backend="inline")
    workers = min(workers, within.most_workers)
    return Plan(backend="processes", workers=workers, prefetch=prefetch)


def changed(before: Plan, after: Plan) -> set[str]:
    names = ("backend", "workers", "threads", "prefetch", "in_order", "pin_memory")
    return {name for name in names if getattr(before, name) != getattr(after, name)}


@settings(max_examples=100)
@given(
    seen=st.lists(windows(), max_size=40),
    within=bounds,
    workers=st.integers(0, 16),
    prefetch=st.integers(1, 8),
)
def test_every_trace_keeps_the_guarantees(
    seen: list[Window], within: Bounds, workers: int, prefetch: int
) -> None:
    plan = begun(workers, prefetch, within)
    state = State(plan=plan, bounds=within)
    before: Plan | None = None
    switches, elapsed_s = 0, 0.0
    for window in seen:
        elapsed_s += window.seconds
        state, decision = step(state, window)
        if isinstance(decision, Keep):
            assert state.plan == plan
            continue
        assert decision.plan == state.plan
        assert decision.why
        after = decision.plan
        room = max(1, window.room_workers) if window.room_workers is not None else 16
        moved = changed(plan, after)
        least = 0 if after.backend == "inline" else 1
        assert least <= after.workers <= max(within.most_workers, 1) * least
        assert "backend" not in moved or within.backends
        assert after.workers <= room or within.why_fixed or "workers" not in moved
        assert 1 <= (after.prefetch or 2) <= max(within.most_prefetch, prefetch)
        assert after.threads <= within.most_threads
        if "backend" not in moved:
            assert not (moved & {"workers", "threads"} and within.why_fixed)
            assert not ("prefetch" in moved and within.why_read_so)
        if isinstance(decision, Undo):
            assert before is not None, "nothing is there to be undone"
            assert not changed(before, after) - {"workers"}
            assert after.workers <= before.workers
            before = None
        else:
            assert isinstance(decision, Switch)
            assert len(moved) == 1 or "backend" in moved
            if "memory" not in decision.why:
                switches += 1
                before = plan
        plan = after
    # Work that changes at every window is followed anew once a minute.
    assert switches <= 2 * AT_ONCE + (AT_ONCE + 1) * elapsed_s / EVERY_S


@settings(max_examples=50)
@given(one=windows(), within=bounds, workers=st.integers(0, 16))
def test_the_same_window_for_ever_comes_to_an_end(
    one: Window, within: Bounds, workers: int
) -> None:
    """Also where nothing that is tried shows: each thing is tried once, and undone.

    However late: where nobody knows how long the epoch is, a small gain pays only after a while.
    """
    plan = begun(workers, 2, within)
    state = State(plan=plan, bounds=within)
    decisions = []
    for _ in range(2_000):
        state, decision = step(state, one)
        decisions.append(decision)

    done = [one for one in decisions if not isinstance(one, Keep)]
    # Workers, threads, prefetch and the back end there and back; and one worker less at a time, and
    # back once.
    assert len(done) <= 2 * 4 + max(workers, within.most_workers) + 1
    assert len([one for one in done if isinstance(one, Undo)]) <= 5
