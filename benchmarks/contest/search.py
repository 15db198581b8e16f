"""Torch's best setting for a workload, by successive halving over its grid.

First every number of workers at torch's own prefetch of 2, in short windows; then the other
prefetches of those worker counts that came near the best; then the three best again, longer and in
turn. Worker counts below NEAR_SHARE of the best at prefetch 2 are not looked at further.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from workloads import WORKLOADS, Setting

from contest.contender import Failed, torch_at

__all__ = ["Search", "find_best"]

COARSE_S = 0.6

# With the same workers, the best prefetch was twice as fast as prefetch 2 on "stragglers", and at
# most 1.4 times on the others ("seen" in the JSON of a search with --torch-only, two cores).
NEAR_SHARE = 0.5

FINALISTS = 3
ROUNDS = 2


@dataclass(frozen=True)
class Search:
    """What the search saw."""

    finalists: tuple[Setting, ...]
    """The best first."""
    seen: dict[str, float]
    """Samples per second of each setting that was run."""
    skipped: tuple[str, ...]
    """Settings that were not run, since their neighbours were far from the best."""
    failed: dict[str, str]


def find_best(workload: str, seconds: float) -> Search:
    """Run the grid, coarse to fine."""
    grid = WORKLOADS[workload].grid
    rates: dict[Setting, list[float]] = {}
    failed: dict[str, str] = {}

    def run(settings: Iterable[Setting], window_s: float) -> None:
        for setting in settings:
            try:
                figures = torch_at(workload, setting).run(window_s, whole=False)
            except Failed as why:
                failed[str(setting)] = str(why)
            else:
                rates.setdefault(setting, []).append(figures["samples_per_s"])

    def best(number: int) -> list[Setting]:
        return sorted(rates, key=lambda one: -median(rates[one]))[:number]

    run((one for one in grid if one.prefetch in (None, 2)), COARSE_S)
    far = NEAR_SHARE * max(rate for seen in rates.values() for rate in seen)
    near = {one.workers for one, seen in rates.items() if median(seen) >= far}
    rest = [one for one in grid if one not in rates and str(one) not in failed]
    run((one for one in rest if one.workers in near), COARSE_S)
    seen = {str(one): median(values) for one, values in rates.items()}
    coarse = best(FINALISTS)
    if len(coarse) > 1:
        rates = {}
        for _ in range(ROUNDS):
            run(coarse, seconds)
        seen |= {str(one): median(values) for one, values in rates.items()}
    return Search(
        finalists=tuple(best(FINALISTS - 1)),
        seen=seen,
        skipped=tuple(str(one) for one in grid if str(one) not in seen | failed),
        failed=failed,
    )
