"""The processes back end: which jobs worker processes serve."""

from collections.abc import Iterator
from typing import Any

from wellfed._engine.process_stream import ProcessStream
from wellfed._engine.refusing import refusal
from wellfed.job import Job
from wellfed.records import Plan

__all__ = ["Processes"]


class Processes:
    """Makes batches in worker processes."""

    name = "processes"

    def refuses(self, job: Job, plan: Plan) -> str | None:
        """Without logical workers all of it is the trainer's own, and threads need consent."""
        return refusal(job, plan)

    def open(self, job: Job, plan: Plan, indices: Iterator[Any]) -> "ProcessStream":
        """Start the workers, and the first epoch."""
        return ProcessStream(job, plan, indices)
