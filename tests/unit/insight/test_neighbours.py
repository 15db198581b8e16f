"""Others are named where what they take costs something, and not for what the run does itself."""

import msgspec
import pytest
from insight_traces import case_of, trace_of

from wellfed._insight.rules.neighbours import noisy_neighbour
from wellfed.records import Case, Plan


def queueing(workers: int, cores: int, **gauges: float) -> Case:
    """Workers that wait for a core a third of their time, while the trainer waits for them."""
    trace = trace_of(Plan(workers=workers, prefetch=2), [0.1] * 100, [0.01] * 100)
    case = case_of(trace, cores=cores)
    stats = msgspec.structs.replace(case.stats, maker_queue_share=0.33, gauges=gauges)
    return msgspec.structs.replace(case, stats=stats)


def test_a_neighbour_that_takes_the_cores_is_named() -> None:
    found = noisy_neighbour(queueing(1, 4, neighbour_busy_cores=3.0))

    assert found is not None
    assert found.cost_share.value > 0.2


@pytest.mark.parametrize("stolen", [0.0, 0.07])
def test_what_the_run_queues_for_among_itself_is_not_the_neighbours(stolen: float) -> None:
    assert noisy_neighbour(queueing(4, 2, steal_share=stolen)) is None
