"""Whether a plan still holds: its first batches, timed while they are used.

    drop what was in flight ─► time some batches ─► as measured | said once, and undone

Guarantees
- nothing is started and nothing runs twice: the batches are those that train;
- after the last timed batch the iterator is as it would be without.
"""

import logging
import time
import weakref
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

from wellfed.records import Answer
from wellfed.records.amounts import duration

__all__ = ["prove", "still_holds"]

log = logging.getLogger("wellfed")

TIMED = 16
"""Batches whose median is compared."""

SLOWER = 1.25
"""Beyond the upper end of what was measured by this, and waiting, a plan no longer holds."""

WAITING_SHARE = 0.2
"""Below this the step is the limit, and another plan would gain little."""


def prove(
    iterator: Any,
    answer: Answer,
    file: str,
    failed: Callable[[], None],
    clock: Callable[[], int] = time.perf_counter_ns,
) -> None:
    """Time the first batches of an iterator of the engine.

    Args:
        iterator: it is about to be iterated.
        answer: what was measured when the plan was found.
        file: where the plan is.
        failed: called once if it no longer holds.
        clock: monotonic nanoseconds.
    """
    seen: list[tuple[int, int]] = []
    skipped = answer.plan.depth + answer.plan.workers
    # Not the iterator itself, which would then live until cycles are collected, with its workers.
    own = weakref.ref(iterator)
    take = type(iterator)._next_data

    def timed() -> Any:
        asked = clock()
        here = own()
        assert here is not None  # it is what asks
        batch = take(here)
        seen.append((asked, clock()))
        if len(seen) > skipped + TIMED:
            del here._next_data
            said = still_holds(answer, seen[skipped:])
            if said:
                log.warning("the plan in %s no longer holds: %s.", file, said)
                failed()
        return batch

    iterator._next_data = timed


def still_holds(answer: Answer, seen: list[tuple[int, int]]) -> str:
    """Why the plan does not hold any more, in a clause; "" if it does.

    Args:
        answer: what was measured.
        seen: when each batch was asked for and when it came, in nanoseconds.
    """
    periods = [(after[1] - before[1]) / 1e9 for before, after in pairwise(seen)]
    waits = [(came - asked) / 1e9 for asked, came in seen[1:]]
    if not periods:
        return ""
    period, wait = median(periods), median(waits)
    if period <= SLOWER * answer.seconds.high or wait < WAITING_SHARE * period:
        return ""
    return (
        f"a batch takes {duration(period)}, of which {duration(wait)} are waited for it, and "
        f"{duration(answer.seconds.value)} were measured when it was found"
    )
