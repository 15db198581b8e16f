"""In how many parts the first batch is made, by which is seen whether batches may move."""

from typing import Any

from torch.utils.data import default_collate

from wellfed.job import Job
from wellfed.records import Plan

__all__ = ["parts_of_trial"]


def parts_of_trial(job: Job, plan: Plan, first: Any, processes: int) -> int:
    """Parts of the first batch; 0: its home makes it as a whole.

    Args:
        job: what is loaded.
        plan: how.
        first: the index of the first batch.
        processes: workers that may make a part each.
    """
    can_join = job.collate is default_collate and job.batched
    # What threads are for begins once batches may move.
    parts = 1 if plan.threads else 0
    if can_join and type(first) is list and not hasattr(job.dataset, "__getitems__"):
        share = -(-len(first) // max(1, min(processes, len(first))))
        # As many as have a sample each: of five samples three workers get two, two and one.
        parts = max(parts, -(-len(first) // max(1, share)))
    return parts if parts > 1 or plan.threads else 0
