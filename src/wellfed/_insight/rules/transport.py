"""Getting batches out of the workers outweighs making them: by their bytes or by their parts."""

from wellfed._insight.rules.say import (
    best_first,
    more_workers,
    of_gain,
    samples_s,
    use_none,
    waiting,
)
from wellfed._insight.supply import MANY_BYTES, lost_share, release_s, stage_s, waits
from wellfed.records import Case, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, size

__all__ = [
    "MANY_OBJECTS",
    "MANY_TENSORS",
    "many_parts",
    "moving_s",
    "transport_bytes",
    "transport_objects",
]

# From here on the parts of a batch, not its bytes, set the cost of moving it: in torch each tensor
# takes a file descriptor, a shared-memory file and a message of its own.
MANY_TENSORS = 24
MANY_OBJECTS = 1_000


def transport_bytes(case: Case) -> Finding | None:
    """WF404: moving the bytes of a batch takes longer than reading its samples."""
    stats = case.stats
    payload = stats.payload_bytes or 0.0
    if case.plan.workers == 0 or payload < MANY_BYTES or many_parts(case) or not waits(case):
        return None
    moving = stage_s(case, "collate") + moving_s(case) + release_s(case)
    if moving < samples_s(case):
        return None
    return Finding(
        code="WF404",
        name="transport_bytes",
        sentence=(
            f"Copying {size(payload)} a batch out of the workers takes {duration(moving)}; reading "
            f"its samples takes {duration(samples_s(case))}."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{size(payload)} a batch", value=payload),
            Evidence(
                text=f"{payload / moving / 1e9:.1f} GB/s while copying", value=payload / moving
            ),
            *_moves(case),
            *_release(case),
        ),
        cost_share=lost_share(case),
        remedies=best_first(
            Remedy(
                change="return the smallest dtype that holds the data, convert after the loader",
                why="pictures as uint8 are a quarter of the bytes of float32 to copy and share",
                reproducibility="the same values if the conversion is the same",
            ),
            *more_workers(case, "they copy side by side"),
            *use_none(case),
        ),
    )


def transport_objects(case: Case) -> Finding | None:
    """WF405: a batch is made of so many tensors that moving each is the cost."""
    stats = case.stats
    tensors = stats.tensors_per_batch or 0.0
    if case.plan.workers == 0 or tensors < MANY_TENSORS or not waits(case):
        return None
    moving = moving_s(case)
    if moving < 0.5 * stage_s(case, "fetch"):
        return None
    what, each = f"{tensors:.0f} tensors", moving / tensors
    return Finding(
        code="WF405",
        name="transport_objects",
        sentence=(
            f"A batch is {what}, {duration(each)} each to move: {duration(moving)} a batch, "
            f"against {duration(stage_s(case, 'fetch'))} to make it."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{what}, {size(stats.payload_bytes or 0)} a batch", value=tensors),
            *_moves(case),
        ),
        cost_share=lost_share(case),
        remedies=best_first(
            Remedy(
                change="pack them in collate_fn: one tensor of all values and one of lengths",
                why=f"one object to move instead of {what}",
                gain=of_gain(case, 0.9 * stage_s(case, "receive")),
            ),
            *use_none(case),
        ),
    )


def many_parts(case: Case) -> bool:
    """Whether its tensors and objects, not its bytes, set the cost of moving a batch.

    Their number says so of torch's queues; of the engine's slabs only what moving really took.
    """
    stats = case.stats
    if case.plan.backend != "torch" and moving_s(case) < 0.5 * stage_s(case, "fetch"):
        return False
    return (stats.tensors_per_batch or 0) >= MANY_TENSORS or (
        (stats.objects_per_batch or 0) >= MANY_OBJECTS
    )


def moving_s(case: Case) -> float:
    """Seconds per batch to serialise it in the worker and rebuild it in the trainer."""
    return stage_s(case, "serialise") + stage_s(case, "receive")


def _release(case: Case) -> tuple[Evidence, ...]:
    freeing_s = release_s(case)
    if not freeing_s:
        return ()
    text = f"letting go of it takes {duration(freeing_s)} of your step (timed after the run)"
    return (Evidence(text=text, value=freeing_s),)


def _moves(case: Case) -> tuple[Evidence, ...]:
    return (
        Evidence(
            text=f"serialise {duration(stage_s(case, 'serialise'))} in the worker, rebuild "
            f"{duration(stage_s(case, 'receive'))} in the trainer",
            value=moving_s(case),
        ),
        Evidence(
            text=f"making it takes {duration(stage_s(case, 'fetch'))}",
            value=stage_s(case, "fetch"),
        ),
    )
