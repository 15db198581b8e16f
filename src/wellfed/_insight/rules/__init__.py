"""All rules, each a pure function from a Case to a Finding or nothing.

A rule fires only on its own evidence; that several fire at once is normal. The order is that of
precedence among findings that cost about the same: the more specific cause comes first.
To add one: write the function in the file of its group, add it here and to `codes`, add its page
under docs/reference/rules, and record a trace on which it fires and one on which it must not.
"""

from wellfed._insight.rules.cache import (
    cache_too_small,
    cold_cache_transient,
    read_amplification,
)
from wellfed._insight.rules.consumer import consumer_bound
from wellfed._insight.rules.correctness import duplicate_samples, equal_seeds, frozen_epoch
from wellfed._insight.rules.cpu import (
    affinity_pinned,
    cpu_quota,
    cpu_saturated,
    cpu_underprovisioned,
    thread_oversubscription,
)
from wellfed._insight.rules.device import blocking_copy, pin_bound
from wellfed._insight.rules.epochs import startup_pickle, startup_respawn
from wellfed._insight.rules.growth import memory_growth_cow
from wellfed._insight.rules.limits import fd_limit, memory_risk_prefetch, shm_too_small, swap
from wellfed._insight.rules.locks import lock_serialised
from wellfed._insight.rules.making import collate_bound, serialization_bound
from wellfed._insight.rules.neighbours import noisy_neighbour
from wellfed._insight.rules.order import burst_jitter, head_of_line
from wellfed._insight.rules.overhead import (
    in_memory_overhead,
    per_batch_overhead,
    per_item_overhead,
)
from wellfed._insight.rules.ranks import rank_oversubscription, rank_straggler
from wellfed._insight.rules.step import interference
from wellfed._insight.rules.storage import latency_bound, storage_bound
from wellfed._insight.rules.structure import (
    cache_lost,
    idle_workers,
    sampler_bound,
    too_few_shards,
)
from wellfed._insight.rules.transport import transport_bytes, transport_objects
from wellfed.seams import Rule

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    # what is not as it is meant to be: these come first, whatever they cost
    duplicate_samples,  # WF701
    equal_seeds,  # WF702
    frozen_epoch,  # WF703
    # what would end the run: these come next
    memory_growth_cow,  # WF801
    memory_risk_prefetch,  # WF802
    shm_too_small,  # WF803
    fd_limit,  # WF804
    # what costs time
    swap,  # WF805
    sampler_bound,  # WF605
    too_few_shards,  # WF604
    idle_workers,  # WF603
    cache_lost,  # WF606
    startup_pickle,  # WF602
    rank_straggler,  # WF503
    lock_serialised,  # WF504
    affinity_pinned,  # WF205
    thread_oversubscription,  # WF204
    cpu_quota,  # WF203
    rank_oversubscription,  # WF206
    noisy_neighbour,  # WF207
    pin_bound,  # WF104
    transport_objects,  # WF405
    serialization_bound,  # WF406
    per_batch_overhead,  # WF403
    transport_bytes,  # WF404
    collate_bound,  # WF407
    in_memory_overhead,  # WF401
    per_item_overhead,  # WF402
    head_of_line,  # WF501
    burst_jitter,  # WF502
    cold_cache_transient,  # WF304
    read_amplification,  # WF303
    cache_too_small,  # WF305
    storage_bound,  # WF302
    latency_bound,  # WF301
    interference,  # WF102
    cpu_underprovisioned,  # WF201
    cpu_saturated,  # WF202
    startup_respawn,  # WF601
    blocking_copy,  # WF103
    consumer_bound,  # WF101
)
