"""Names of the records in plain words: what a reader who knows none of our names understands."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["LEDGER", "VERDICTS", "title"]

VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        # the model or the loop
        "consumer_bound": "Nothing to fix: the loader keeps up with your step",
        "interference": "The loader's workers slow your step down",
        "blocking_copy": "The copy to the device blocks your loop",
        "pin_bound": "Pinning memory cannot keep up",
        # CPU
        "cpu_underprovisioned": "Too few workers: cores idle while you wait",
        "cpu_saturated": "Out of CPU: every usable core is busy",
        "cpu_quota": "A CPU quota throttles this process",
        "thread_oversubscription": "Too many threads share the cores",
        "affinity_pinned": "Workers are confined to too few cores",
        "rank_oversubscription": "The workers of all ranks outnumber the cores",
        "noisy_neighbour": "Other processes take the cores",
        # storage
        "latency_bound": "Workers sit waiting for storage or the network",
        "storage_bound": "The storage device is at its limit",
        "read_amplification": "Far more is read than is used",
        "cold_cache_transient": "Cold files: only this first pass is slow",
        "cache_too_small": "The dataset does not fit in the page cache",
        # the way out of the worker
        "in_memory_overhead": "Samples so cheap that workers cost more than they save",
        "per_item_overhead": "Python work per sample costs more than the data",
        "per_batch_overhead": "A fixed cost per batch dominates",
        "transport_bytes": "Moving batches out of the workers takes longest",
        "transport_objects": "Too many small objects in each batch",
        "serialization_bound": "Pickling batches takes longest",
        "collate_bound": "Collating samples into batches takes longest",
        # order and variance
        "head_of_line": "One slow batch holds back others that are ready",
        "burst_jitter": "Uneven batches: the buffer runs dry now and then",
        "rank_straggler": "One slow rank keeps the others waiting",
        # epochs and structure
        "startup_respawn": "Starting workers anew for every epoch",
        "startup_pickle": "Sending the dataset to every worker takes long",
        "idle_workers": "Some workers have nothing to do",
        "too_few_shards": "Fewer shards than workers",
        "sampler_bound": "Choosing the samples takes longest",
        "lock_serialised": "Workers take turns at one lock",
        "cache_lost": "A cache in the dataset is lost with its workers",
        "duplicate_samples": "Samples are delivered more than once",
        "equal_seeds": "Workers draw the same random numbers",
        "frozen_epoch": "An epoch repeats the one before",
        # limits, before they bite
        "memory_growth_cow": "The workers' memory keeps growing",
        "memory_risk_prefetch": "Prefetched batches may not fit in memory",
        "shm_too_small": "Shared memory (/dev/shm) is too small",
        "fd_limit": "The limit of open files is near",
        "swap": "The machine is swapping",
        # no verdict
        "too_noisy": "No verdict: the timings are too noisy",
        "not_enough_evidence": "No verdict: the evidence is not enough",
    }
)

LEDGER: Mapping[str, str] = MappingProxyType(
    {
        "startup": "starting workers",
        "wait": "waiting for data",
        "fetch": "loading, no workers",
        "receive": "unpacking batches",
        "sampler": "choosing samples",
        "step": "your step",
        "shutdown": "ending workers",
        "other_loaders": "other loaders",
        "other": "everything else",
    }
)


def title(name: str) -> str:
    """The verdict or finding in plain words; of a name not known here, its own words."""
    return VERDICTS.get(name) or name.replace("_", " ").capitalize()
