"""The samples are cheap; what is done with them inside the worker is not: collating, pickling."""

from wellfed._insight.estimate import scale
from wellfed._insight.rules.cpu import TINY_SAMPLE_S
from wellfed._insight.rules.say import (
    best_first,
    cpu_evidence,
    more_workers,
    of_gain,
    use_none,
    waiting,
)
from wellfed._insight.rules.transport import MANY_OBJECTS, MANY_TENSORS, moving_s
from wellfed._insight.supply import MANY_BYTES, lost_share, makers_set_the_pace, stage_s, waits
from wellfed.records import Case, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share, size

__all__ = ["collate_bound", "serialization_bound"]

# Below a half of the fetch, the samples are the dearer part and their rules speak.
MOST_OF_FETCH = 0.5

# A message of tensors is some hundred bytes each, since their contents travel beside it. One of
# this size carries the contents itself; to pickle and unpickle it takes about a millisecond.
LARGE_MESSAGE_BYTES = 256 * 1024


def collate_bound(case: Case) -> Finding | None:
    """WF407: stacking the samples into a batch computes longer than reading them."""
    stats = case.stats
    collate_s, fetch_s = stage_s(case, "collate"), stage_s(case, "fetch")
    if not waits(case) or not fetch_s or collate_s < MOST_OF_FETCH * fetch_s:
        return None
    # Bytes that are only copied are transport_bytes where workers copy them.
    if case.plan.workers and (stats.payload_bytes or 0.0) >= MANY_BYTES:
        return None
    samples = stats.samples_per_batch or 1.0
    if collate_s / samples < TINY_SAMPLE_S or not makers_set_the_pace(case):
        return None
    collate = stats.stages["collate"]
    if collate.cpu_s is not None and collate.cpu_s < 0.5 * collate_s:
        return None
    part = collate_s / fetch_s
    own = "" if case.workload.default_collate else " your collate_fn,"
    return Finding(
        code="WF407",
        name="collate_bound",
        sentence=(
            f"Collating a batch takes{own} {duration(collate_s)} of the {duration(fetch_s)} that "
            f"making it takes: {duration(collate_s / samples)} a sample."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"collate is {share(part)} of the fetch", value=part),
            cpu_evidence(case),
        ),
        cost_share=scale(lost_share(case), min(1.0, part)),
        remedies=(
            Remedy(
                change="fill one preallocated tensor a field in collate_fn, without Python loops",
                why="one copy a sample; torch.nn.utils.rnn.pad_sequence pads so",
                gain=of_gain(case, 0.8 * collate_s / max(1, case.plan.workers)),
                reproducibility="the same batches, if padding stays as it is",
            ),
            *more_workers(case, "they collate side by side"),
            Remedy(
                change="def __getitems__(self, indices): return the batch from arrays, at once",
                why="collate_fn is then handed whole arrays",
            ),
        ),
    )


def serialization_bound(case: Case) -> Finding | None:
    """WF406: a batch holds Python objects, and pickling them outweighs making them."""
    stats, moving = case.stats, moving_s(case)
    objects, message = stats.objects_per_batch or 0.0, stats.message_bytes or 0.0
    if case.plan.workers == 0 or not waits(case):
        return None
    if (stats.tensors_per_batch or 0.0) >= MANY_TENSORS:  # transport_objects
        return None
    if objects < MANY_OBJECTS and message < LARGE_MESSAGE_BYTES:
        return None
    # A batch that waits for others to be pickled is waiting for pickling.
    if moving + stage_s(case, "queued") < 0.5 * stage_s(case, "fetch"):
        return None
    serialise_s, receive_s = stage_s(case, "serialise"), stage_s(case, "receive")
    return Finding(
        code="WF406",
        name="serialization_bound",
        sentence=(
            f"Pickling a batch takes {duration(serialise_s)} in the worker and "
            f"{duration(receive_s)} in the trainer, {size(message)} of Python objects; making it "
            f"takes {duration(stage_s(case, 'fetch'))}."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"{size(message)} pickled a batch", value=message),
            Evidence(text=f"at least {objects:.0f} Python objects a batch", value=objects),
            Evidence(text=f"unpickling {duration(receive_s)} in the trainer", value=receive_s),
        ),
        cost_share=lost_share(case),
        remedies=best_first(
            Remedy(
                change="return tensors or NumPy arrays from the dataset, one a field",
                why="their contents go through shared memory and are not pickled",
                gain=of_gain(case, 0.9 * receive_s),
            ),
            Remedy(
                change="keep what the step does not use (names, dicts) in the dataset, by index",
                why="an index is eight bytes; look the rest up when it is needed",
            ),
            *use_none(case),
        ),
    )
