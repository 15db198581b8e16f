"""Short trials after a run: of data whose fetching is known to be harmless, and of copies.

Nothing is drawn from a global generator: indices and seeds come from one made here.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from wellfed.job import Job
from wellfed.records import Fact

__all__ = ["time_copies", "time_inline", "time_release"]

# Batches of each way, in turn: the medians of 300 settle within 2 %, and the whole trial ends
# after MOST_S at the latest.
ROUNDS = 300
MOST_S = 1.0

# A copy is timed so often; of a batch larger than this, a part stands for the whole.
COPIES = 9
MOST_COPIED_BYTES = 64 * 2**20


def time_copies(payload_bytes: float, device: str = "cuda") -> tuple[Fact[float], Fact[float]]:
    """Seconds to copy so many bytes to a device: from ordinary and from page-locked memory.

    The device is asked to finish around each copy, so this is for after a run. Takes up to
    64 MiB of the host's memory and of the device's, and gives them back.
    """
    try:
        return _time_copy(payload_bytes, device, pin=False), _time_copy(
            payload_bytes, device, pin=True
        )
    except Exception as error:
        failed = Fact[float](how=f"the trial failed: {error!r}")
        return failed, failed


def _time_copy(payload_bytes: float, device: str, *, pin: bool) -> Fact[float]:
    length = int(min(max(1.0, payload_bytes), MOST_COPIED_BYTES))
    source = torch.zeros(length, dtype=torch.uint8, pin_memory=pin)
    target = torch.empty(length, dtype=torch.uint8, device=device)
    spent_ns = []
    for _ in range(COPIES):
        _finish(device)
        began = time.perf_counter_ns()
        target.copy_(source, non_blocking=pin)
        _finish(device)
        spent_ns.append(time.perf_counter_ns() - began)
    median_s = sorted(spent_ns)[COPIES // 2] / 1e9
    return Fact(
        value=median_s * payload_bytes / length, how=f"median of {COPIES} copies after the run"
    )


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def time_release(payload_bytes: float) -> Fact[float]:
    """Seconds that the kernel takes to free the shared memory of a batch, with its last owner.

    What nobody has mapped is the least of it: a step that read the batch pays for that, too.
    """
    length = int(min(max(1.0, payload_bytes), MOST_COPIED_BYTES))
    spent_ns = []
    try:
        for _ in range(COPIES):
            descriptor = os.memfd_create("wellfed-trial", os.MFD_CLOEXEC)
            try:
                os.posix_fallocate(descriptor, 0, length)
            finally:
                began = time.perf_counter_ns()
                os.close(descriptor)
            spent_ns.append(time.perf_counter_ns() - began)
    except (OSError, AttributeError) as error:
        return Fact(how=f"the trial failed: {error!r}")
    median_s = sorted(spent_ns)[COPIES // 2] / 1e9
    return Fact(
        value=median_s * payload_bytes / length, how=f"median of {COPIES} trials after the run"
    )


def time_inline(job: Job | None) -> tuple[Fact[float], Fact[float]]:
    """Seconds per batch of torch's loader without workers: sample by sample, and by rows.

    By rows means `sampler=BatchSampler(...), batch_size=None`, where the dataset is indexed with
    a list. The two run in turn; both figures are medians.

    Args:
        job: what is loaded; None if it may not be fetched a second time.
    """
    if job is None or not job.batch_size or not len(job.dataset):
        none = Fact[float](how="none: only tensors in memory may be fetched a second time")
        return none, none
    try:
        return _race(job)
    except Exception as error:
        failed = Fact[float](how=f"the trial failed: {error!r}")
        return failed, failed


def _race(job: Job) -> tuple[Fact[float], Fact[float]]:
    generator = torch.Generator().manual_seed(0)
    size = min(int(job.batch_size or 1), len(job.dataset))
    indices = torch.randint(len(job.dataset), (ROUNDS, size), generator=generator).tolist()
    one_by_one = iter(
        DataLoader(job.dataset, batch_sampler=indices, collate_fn=job.collate, generator=generator)
    )
    rows: Iterator[Any] = iter(())
    if not _has_parts(job.dataset):
        by_rows = DataLoader(job.dataset, sampler=indices, batch_size=None, generator=generator)
        rows = iter(by_rows)
    times: tuple[list[int], list[int]] = ([], [])
    deadline = time.perf_counter() + MOST_S
    while time.perf_counter() < deadline:
        taken = [_take(one, spent) for one, spent in zip((one_by_one, rows), times, strict=True)]
        if not any(taken):
            break
    return _fact(times[0]), _fact(times[1])


def _take(batches: Iterator[Any], spent_ns: list[int]) -> bool:
    began = time.perf_counter_ns()
    try:
        next(batches)
    except StopIteration:
        return False
    spent_ns.append(time.perf_counter_ns() - began)
    return True


def _fact(spent_ns: list[int]) -> Fact[float]:
    if not spent_ns:
        return Fact(how="none: this dataset cannot be indexed with a list")
    median = sorted(spent_ns)[len(spent_ns) // 2] / 1e9
    return Fact(value=median, how=f"median of {len(spent_ns)} batches after the run")


def _has_parts(dataset: Any) -> bool:
    """Whether a ConcatDataset is in it, which takes single indices only."""
    if isinstance(dataset, Subset):
        return _has_parts(dataset.dataset)
    return isinstance(dataset, ConcatDataset)
