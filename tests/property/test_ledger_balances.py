"""Whatever a trace holds, every nanosecond is charged once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellfed._insight.ledger import LINES, account
from wellfed.records import Epoch, LoaderSeen, Plan, Span, Trace

# Up to a day, negative where a signal was not seen, in any order: also nonsense must balance.
MOMENTS = st.integers(-1, 86_400 * 10**9)
DURATIONS = st.integers(-1, 10**10)

SPANS = st.builds(
    Span,
    epoch=st.integers(0, 3),
    number=st.integers(0, 20),
    asked_ns=MOMENTS,
    got_ns=MOMENTS,
    sampler_ns=DURATIONS,
    receive_ns=DURATIONS,
    pin_ns=DURATIONS,
    fetch_ns=DURATIONS,
    collate_ns=DURATIONS,
    paused_ns=DURATIONS,
)
EPOCHS = st.builds(
    Epoch,
    index=st.integers(0, 3),
    iter_ns=MOMENTS,
    ready_ns=MOMENTS,
    first_ns=MOMENTS,
    ended_ns=MOMENTS,
    shutdown_ns=DURATIONS,
)
OTHERS = st.builds(
    LoaderSeen,
    dataset=st.just("Other"),
    workers=st.just(0),
    batches=st.just(1),
    wait_s=st.floats(-1, 1e5),
)
TRACES = st.builds(
    Trace,
    plan=st.builds(Plan, workers=st.integers(0, 3), prefetch=st.just(2), pin_memory=st.booleans()),
    spans=st.lists(SPANS, max_size=12).map(tuple),
    spans_dropped=st.integers(0, 2),
    epochs=st.lists(EPOCHS, max_size=4).map(tuple),
    others=st.lists(OTHERS, max_size=2).map(tuple),
    ended_ns=MOMENTS,
)


@given(TRACES)
def test_the_lines_add_up_to_the_wall(trace: Trace) -> None:
    ledger = account(trace)

    assert pytest.approx(ledger.wall_s, rel=1e-9, abs=1e-12) == sum(
        line.seconds for line in ledger.lines
    )


@given(TRACES)
def test_no_line_is_negative_or_listed_twice(trace: Trace) -> None:
    ledger = account(trace)

    assert all(line.seconds > 0 for line in ledger.lines)
    assert [n for n in LINES if ledger.share(n)] == [line.name for line in ledger.lines]
