"""The names of all verdicts and their codes. Imports nothing: a command line checks names early."""

import difflib
from collections.abc import Iterable

from wellfed.errors import UsageError

__all__ = ["CODES", "names_of"]

CODES: dict[str, str] = {
    "consumer_bound": "WF101",
    "interference": "WF102",
    "blocking_copy": "WF103",
    "pin_bound": "WF104",
    "cpu_underprovisioned": "WF201",
    "cpu_saturated": "WF202",
    "cpu_quota": "WF203",
    "thread_oversubscription": "WF204",
    "affinity_pinned": "WF205",
    "rank_oversubscription": "WF206",
    "noisy_neighbour": "WF207",
    "latency_bound": "WF301",
    "storage_bound": "WF302",
    "read_amplification": "WF303",
    "cold_cache_transient": "WF304",
    "cache_too_small": "WF305",
    "in_memory_overhead": "WF401",
    "per_item_overhead": "WF402",
    "per_batch_overhead": "WF403",
    "transport_bytes": "WF404",
    "transport_objects": "WF405",
    "serialization_bound": "WF406",
    "collate_bound": "WF407",
    "head_of_line": "WF501",
    "burst_jitter": "WF502",
    "rank_straggler": "WF503",
    "lock_serialised": "WF504",
    "startup_respawn": "WF601",
    "startup_pickle": "WF602",
    "idle_workers": "WF603",
    "too_few_shards": "WF604",
    "sampler_bound": "WF605",
    "cache_lost": "WF606",
    "duplicate_samples": "WF701",
    "equal_seeds": "WF702",
    "frozen_epoch": "WF703",
    "memory_growth_cow": "WF801",
    "memory_risk_prefetch": "WF802",
    "shm_too_small": "WF803",
    "fd_limit": "WF804",
    "swap": "WF805",
    "too_noisy": "WF901",
    "not_enough_evidence": "WF902",
}
"""Every verdict's code. A code is never given to another verdict."""


def names_of(asked: Iterable[str]) -> frozenset[str]:
    """Names of findings, by name or by code.

    Raises:
        UsageError: there is none of that name.
    """
    by_code = {code: name for name, code in CODES.items()}
    names = []
    for one in asked:
        name = by_code.get(one.upper(), one)
        if name not in CODES:
            near = difflib.get_close_matches(one, [*CODES, *by_code], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"there is no finding {one!r} to ignore.{hint} "
                "Give the name or the code that the card shows, such as WF601."
            )
        names.append(name)
    return frozenset(names)
