"""A buffer that is full is not what is waited for, however uneven batches are."""

import msgspec
import numpy as np
import pytest
from insight_traces import case_of, trace_of

from wellfed._insight.outlook import forecasts
from wellfed._insight.rules.order import burst_jitter
from wellfed.records import Case, Plan, Span

MS = 1_000_000


def uneven(unready_share: float) -> Case:
    """One batch in ten takes ten times as long; of each wait, so much is before the batch came."""
    services = [0.15 if number % 10 == 0 else 0.015 for number in range(200)]
    trace = trace_of(Plan(workers=2, prefetch=2), services, [0.03] * 200)

    def came(span: Span) -> Span:
        waited_ns = span.got_ns - span.asked_ns
        arrived_ns = span.asked_ns + round(unready_share * waited_ns)
        return msgspec.structs.replace(span, arrived_ns=arrived_ns)

    trace = msgspec.structs.replace(trace, spans=tuple(map(came, trace.spans)))
    case = case_of(trace, cores=8)
    told = forecasts(case, np.random.default_rng(0))
    return msgspec.structs.replace(case, forecasts=told)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_the_share_of_waiting_before_a_batch_comes_is_told(share: float) -> None:
    assert uneven(share).stats.unready_wait_share == pytest.approx(share, abs=0.01)


def test_a_buffer_that_runs_dry_is_too_short_for_uneven_batches() -> None:
    assert burst_jitter(uneven(0.9)) is not None


def test_a_buffer_that_does_not_is_long_enough() -> None:
    assert burst_jitter(uneven(0.1)) is None
