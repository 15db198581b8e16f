"""What a run could not show, so that silence about it is not taken for an answer."""

from wellfed._insight.supply import MANY_BYTES
from wellfed.records import Case

__all__ = ["untested"]


def untested(case: Case) -> tuple[str, ...]:
    """The causes that nothing in this run could have proved, each with why."""
    trace, said = case.trace, []
    if trace.device == "cpu":
        said.append("blocking_copy, pin_bound: no accelerator was used")
    if trace.world > 1 and not trace.ranks:
        said.append(f"rank_straggler: none of the other {trace.world - 1} ranks was heard")
    if len({span.epoch for span in trace.spans}) < 2 and case.stats.read_bytes_per_batch:
        said.append("cache_too_small: only one epoch was seen")
    if trace.plan.workers and not trace.hot_lines:
        said.append("lock_serialised: no worker was sampled")
    if trace.plan.workers and (case.stats.payload_bytes or 0) >= MANY_BYTES:
        said.append(
            "interference: whether moving such batches slows the step beside it, --deep measures"
        )
    return tuple(said)
