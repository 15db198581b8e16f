"""What worker processes take before they have made anything, and how many fit.

What a batch takes is not known yet: from the first ones on, the engine keeps to that by itself.
"""

from typing import NamedTuple

from wellfed._insight.memory import SPAWNED_BYTES, at_rest_bytes
from wellfed.records import Plan
from wellfed.records.amounts import size

__all__ = ["FILES_A_WORKER", "FILES_BESIDE", "Fitting", "fitting"]

# Descriptors that the trainer keeps open for each worker of the engine: its socket and its process.
FILES_A_WORKER = 2
# And for all of them: what waits, the template, the socket that all read from; then those that are
# on their way with a message, and what the script opens meanwhile.
FILES_BESIDE = 40

# What batches are to have at the least, of what may be taken in all.
BATCHES_SHARE = 0.25


class Fitting(NamedTuple):
    """How many workers fit."""

    workers: int
    binding: str
    """What limits their number, with the numbers, as a sentence."""
    worker_bytes: float
    """Memory that each is forecast to have of its own."""


def fitting(plan: Plan, memory_bytes: float, files: float | None) -> Fitting:
    """How many workers of the engine's could be started.

    Args:
        plan: how they are started.
        memory_bytes: what they and their batches may take.
        files: how many more files the trainer may open; None: as many as it likes.
    """
    each = at_rest_bytes(plan)
    forked = plan.start_method in (None, "fork")
    template = 0.0 if forked else SPAWNED_BYTES
    room = (1 - BATCHES_SHARE) * memory_bytes - template
    by_memory = max(0, int(room // each))
    said = (
        f"each has {size(each)} of its own before it makes anything, and {size(memory_bytes)} "
        "are there for workers and batches."
    )
    if files is None:
        return Fitting(by_memory, said, each)
    by_files = max(0, int((files - FILES_BESIDE) // FILES_A_WORKER))
    if by_memory <= by_files:
        return Fitting(by_memory, said, each)
    said = (
        f"each takes {FILES_A_WORKER} open files, all together {FILES_BESIDE} more, and "
        f"{files:.0f} more may be opened (ulimit -n)."
    )
    return Fitting(by_files, said, each)
