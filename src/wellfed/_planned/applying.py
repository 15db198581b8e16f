"""A plan from a file as arguments of the loader, or why it is not applied.

    num_workers        becomes
    0, the default     the plan's, as if its line had been pasted
    N                  stays: batches belong to N logical workers; the plan's processes make them
    "auto"             stays: draws depend on positions alone; the plan says who makes batches

Nothing of a file changes which batches are made. `persistent_workers` and the start method stay
the caller's, and threads are used with the caller's `thread_safe=True` only.
"""

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from wellfed._engine.auto_workers import AutoWorkers
from wellfed._planned.key import key_of
from wellfed.records import Answer, Plan, TunedPlan, load

__all__ = ["Applied", "apply"]

log = logging.getLogger("wellfed")


class Applied(NamedTuple):
    """The loader's arguments, and what they came from."""

    num_workers: int
    prefetch_factor: int | None
    pin_memory: bool
    plan: Plan | None
    """Who makes the batches, by hand; None where that follows from `num_workers`."""
    answer: Answer | None = None
    """What was measured of it; None where the file's plan is not applied."""
    file: str = ""


def apply(
    file: "str | os.PathLike[str]",
    dataset: Any,
    collate_fn: Any,
    batch_size: int | None,
    given: Applied,
    *,
    thread_safe: bool,
) -> Applied:
    """What the loader is to be made with.

    Where the plan does not hold here that is said, and the caller's own settings stand.

    Args:
        file: written by `wellfed tune --plan`.
        dataset: the loader's.
        collate_fn: the loader's.
        batch_size: the loader's.
        given: the caller's own settings.
        thread_safe: the caller's consent to threads.

    Raises:
        ReportError: it is no such file, or is damaged; the message says which.
        NewerReport: a later version wrote it.
    """
    path = Path(file)
    kept = load(path, TunedPlan, made_by="wellfed tune --plan FILE train.py")
    answer = kept.answer("wellfed") or kept.answer("torch")
    differing = kept.key.differences(key_of(dataset, collate_fn, batch_size))
    why = "; ".join(differing)
    if answer is None:
        why = "it holds no answer"
    elif answer.plan.threads and not thread_safe:
        why = "it has threads fetch samples, and thread_safe=True was not given"
    if why or answer is None:
        _say(path, why, "chosen anew" if _auto(given) else "what num_workers says")
        return given
    plan = answer.plan
    if plan.backend == "torch":
        plan = replace(plan, backend="processes" if plan.workers else "inline")
    made = _applied(plan, given)
    return made._replace(answer=answer, file=str(path))


def _applied(plan: Plan, given: Applied) -> Applied:
    pinned = given.pin_memory or plan.pin_memory
    if _auto(given):
        return given._replace(plan=plan, pin_memory=pinned)
    depth = given.prefetch_factor or plan.prefetch
    if given.num_workers:
        # Logical workers stay; that none of them has a process is theirs alone to say.
        by_hand = plan if plan.workers else None
        return given._replace(plan=by_hand, prefetch_factor=depth, pin_memory=pinned)
    if not plan.workers:
        return given._replace(pin_memory=pinned)
    threaded = plan if plan.threads else None
    return given._replace(
        num_workers=plan.workers, prefetch_factor=depth, pin_memory=pinned, plan=threaded
    )


def _auto(given: Applied) -> bool:
    return isinstance(given.num_workers, AutoWorkers)


def _say(path: Path, why: str, instead: str) -> None:
    log.warning(
        "the plan in %s does not hold here: %s. Used instead: %s. Tune again with: "
        "wellfed tune --plan %s train.py",
        path, why, instead, path,
    )  # fmt: skip
