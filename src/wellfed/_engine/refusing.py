"""Which jobs worker processes cannot serve under a plan."""

import os

from wellfed.job import Job
from wellfed.records import Plan

__all__ = ["refusal"]


def refusal(job: Job, plan: Plan) -> str | None:
    """Why worker processes cannot make the batches of this job; None if they can."""
    if not job.workers:
        return "num_workers=0 keeps the user's code in the trainer's process."
    if not plan.workers:
        return "The plan has no worker process."
    if plan.threads and not job.thread_safe:
        return "Threads need thread_safe=True, your word that samples may be fetched together."
    if plan.threads and (job.iterable or not job.batched):
        return "Threads fetch the samples of a batch; this dataset is asked for whole ones."
    if plan.threads and hasattr(job.dataset, "__getitems__"):
        return "Threads fetch the samples of a batch; this dataset fetches whole ones itself."
    if not hasattr(os, "pidfd_open"):
        return "This platform has no process descriptors."
    return None
