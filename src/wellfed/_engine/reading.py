"""Reads what one of torch's loaders is from its attributes: its plan, its workload, its job."""

import inspect
import multiprocessing
from typing import Any

from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from wellfed._engine.auto_workers import AutoWorkers
from wellfed.job import Job
from wellfed.records import Plan, Workload

__all__ = [
    "ahead",
    "batches_per_epoch",
    "in_memory",
    "length_of",
    "read_job",
    "read_plan",
    "read_workload",
]


def read_plan(loader: Any) -> Plan:
    """The plan of one of torch's loaders, from its attributes."""
    workers = int(loader.num_workers)
    context = loader.multiprocessing_context
    if workers == 0:
        method = None
    elif context is not None:
        method = context.get_start_method()
    else:
        # Not get_start_method(): asking for the default fixes it for the rest of the script.
        method = multiprocessing.get_start_method(allow_none=True)
        method = method or multiprocessing.get_all_start_methods()[0]
    return Plan(
        workers=workers,
        prefetch=loader.prefetch_factor if workers else None,
        pin_memory=bool(loader.pin_memory),
        persistent=bool(loader.persistent_workers),
        in_order=bool(getattr(loader, "in_order", True)),
        start_method=method,
    )


def ahead(plan: Plan) -> int:
    """Batches read ahead for each logical worker: torch's `prefetch_factor`.

    With 0, which torch accepts and then fails on, each worker has the one batch that it makes.
    """
    return 2 if plan.prefetch is None else max(1, plan.prefetch)


def read_workload(loader: Any) -> Workload:
    """What the loader loads, from its attributes alone: nothing of the user's is called."""
    dataset = loader.dataset
    return Workload(
        dataset=_class_of(dataset),
        style="iterable" if isinstance(dataset, IterableDataset) else "map",
        batch_size=loader.batch_size,
        batched_fetch=inspect.getattr_static(dataset, "__getitems__", None) is not None,
        in_memory=in_memory(dataset),
        default_collate=loader.collate_fn is default_collate,
        sampler=_class_of(loader.sampler),
        sampler_shuffles=_shuffles_by_epoch(loader.sampler),
    )


def _class_of(one: Any) -> str:
    return f"{type(one).__module__}.{type(one).__qualname__}"


def _shuffles_by_epoch(sampler: Any) -> bool:
    """Whether it shuffles, but anew only where it is told the epoch, as DistributedSampler."""
    told = inspect.getattr_static(sampler, "set_epoch", None) is not None
    return told and inspect.getattr_static(sampler, "shuffle", False) is True


def read_job(loader: Any) -> Job:
    """What the loader loads, as the live objects of the script."""
    return Job(
        dataset=loader.dataset,
        batch_sampler=loader.batch_sampler,
        sampler=loader.sampler,
        batch_size=loader.batch_size,
        drop_last=loader.drop_last,
        collate=loader.collate_fn,
        iterable=isinstance(loader.dataset, IterableDataset),
        by_position=isinstance(loader.num_workers, AutoWorkers)
        and not isinstance(loader.dataset, IterableDataset),
        workers=int(loader.num_workers),
        worker_init=loader.worker_init_fn,
        timeout_s=loader.timeout,  # as it was given: torch's text shows it
        context=loader.multiprocessing_context,
        thread_safe=bool(getattr(loader, "thread_safe", False)),
        asks_dataset_every=getattr(loader, "snapshot_every_n_steps", 0) or 0,
    )


def in_memory(dataset: Any) -> bool:
    """Whether it is exactly torch's TensorDataset, or a Subset or ConcatDataset of such."""
    if type(dataset) is Subset:
        return in_memory(dataset.dataset)
    if type(dataset) is ConcatDataset:
        return all(in_memory(part) for part in dataset.datasets)
    return type(dataset) is TensorDataset


def batches_per_epoch(loader: Any, length: int | None) -> int | None:
    """Batches in an epoch where torch's own samplers decide it; a user's sampler is not asked."""
    # Not the loader's own batch_size, which is None where it was handed a BatchSampler.
    batches = loader.batch_sampler if loader is not None else None
    if length is None or type(batches) is not BatchSampler:
        return None
    if type(batches.sampler) not in (RandomSampler, SequentialSampler):
        return None
    return length // batches.batch_size if batches.drop_last else -(-length // batches.batch_size)


def length_of(dataset: Any) -> int | None:
    """Samples in a map-style dataset; None for one that has no length."""
    if isinstance(dataset, IterableDataset):
        return None
    try:
        return len(dataset)
    except Exception:  # a user's own: whatever it raises, its length is not known
        return None
