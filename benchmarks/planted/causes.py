"""How each cause is planted: a run that loses about a given share of its time to it, and its cure.

Each function draws sizes and gives (planted, cured). What a run really loses is for the oracle to
say; the arithmetic here only aims. A batch takes F seconds to make, W workers make them, and a step
that takes T hides all but the share c of that where T = (1 - c) F / W.

To add a cause: write its function, and name it at the end of `CAUSES` by the verdict that is right.
It is drawn as soon as a rule has that name.
"""

from collections.abc import Callable
from dataclasses import replace
from math import exp
from random import Random
from typing import TypeAlias

from planted.recipe import Recipe

__all__ = ["CAUSES", "Plant", "computing", "log_uniform"]

Pair: TypeAlias = tuple[Recipe, Recipe]
Plant: TypeAlias = Callable[[Random, float, int], Pair]
"""From randomness, the share to lose and the number of cores."""


def log_uniform(random: Random, low: float, high: float) -> float:
    """Between the two, with every factor as likely as any other."""
    return float(low * (high / low) ** random.random())


def computing(random: Random, low_s: float = 0.010, high_s: float = 0.050) -> tuple[Recipe, float]:
    """A dataset that computes, and the seconds of a batch."""
    batch_size = random.choice((4, 8, 16, 32))
    batch_s = log_uniform(random, low_s, high_s)
    sizes = {"cpu_s": batch_s / batch_size, "interpreted": float(random.random() < 0.5)}
    recipe = Recipe(
        dataset="computed",
        sizes=sizes,
        batch_size=batch_size,
        shuffle=random.random() < 0.5,
        prefetch=random.choice((None, None, 4)),
    )
    return recipe, batch_s


def step_s(batch_s: float, workers: int, share: float) -> float:
    """The step beside which batches of so many seconds cost that share of the time."""
    if workers:
        return (1 - share) * batch_s / workers
    return batch_s * (1 - share) / share


def cpu_underprovisioned(random: Random, share: float, cores: int) -> Pair:
    recipe, batch_s = computing(random)
    workers = random.randrange(cores) if cores > 1 else 0
    planted = replace(recipe, workers=workers, step_s=step_s(batch_s, workers, share))
    return planted, replace(planted, workers=cores)


def cpu_saturated(random: Random, share: float, cores: int) -> Pair:
    recipe, batch_s = computing(random)
    workers = cores + random.randrange(3)
    planted = replace(recipe, workers=workers, step_s=step_s(batch_s, cores, share))
    sizes = recipe.sizes | {"cpu_s": recipe.sizes["cpu_s"] / 10}
    return planted, replace(planted, sizes=sizes)


def cpu_quota(random: Random, share: float, cores: int) -> Pair:
    recipe, batch_s = computing(random, 0.010, 0.030)
    planted = replace(
        recipe,
        workers=cores + random.randrange(2),
        step_s=0.5 * batch_s / cores,
        quota_cores=round(cores * (1 - share), 2),
    )
    return planted, replace(planted, quota_cores=0.0)


def thread_oversubscription(random: Random, share: float, cores: int) -> Pair:
    batch_size = random.choice((1, 2, 4))
    planted = Recipe(
        dataset="native",
        # A team of as many threads as cores spins at its barriers; a larger one of libgomp sleeps.
        sizes={"threads": float(cores), "size": float(round(log_uniform(random, 192, 448)))},
        batch_size=batch_size,
        workers=cores + 1 + random.randrange(2),
        start_method="spawn",
        # Teams that wait for a thread without a core take some 8 ms a sample.
        step_s=(1 - share) * 0.008 * batch_size,
    )
    return planted, replace(planted, sizes=planted.sizes | {"threads": 1.0})


def affinity_pinned(random: Random, share: float, cores: int) -> Pair:
    recipe, batch_s = computing(random, 0.010, 0.040)
    workers = cores + random.randrange(2)
    # On one core of so many, no more than this can be lost.
    share = min(share, 1 - 1 / cores)
    planted = replace(
        recipe, workers=workers, pinned=True, step_s=(1 - share) * batch_s, persistent=True
    )
    return planted, replace(planted, pinned=False)


def latency_bound(random: Random, share: float, cores: int) -> Pair:
    batch_size = random.choice((2, 4, 8))
    workers = random.randrange(2 * cores + 1)
    wait_s = log_uniform(random, 0.001, 0.012)
    sizes = {
        "wait_s": wait_s,
        "jitter": random.uniform(0.0, 0.5),
        "cpu_s": wait_s * random.uniform(0.0, 0.15),
    }
    planted = Recipe(
        dataset="computed",
        sizes=sizes,
        batch_size=batch_size,
        shuffle=random.random() < 0.5,
        workers=workers,
        step_s=step_s(batch_size * wait_s, workers, share),
    )
    return planted, replace(planted, sizes=sizes | {"wait_s": wait_s / 50})


def storage_bound(random: Random, share: float, _cores: int) -> Pair:
    file_bytes = round(log_uniform(random, 96_000, 512_000))
    batch_size, workers = random.choice((2, 4, 8)), random.choice((1, 2, 4))
    batch_s = log_uniform(random, 0.015, 0.080)
    sizes = {"file_bytes": float(file_bytes), "files": 96.0, "cold": 1.0}
    planted = Recipe(
        dataset="files",
        sizes=sizes,
        batch_size=batch_size,
        shuffle=random.random() < 0.5,
        workers=workers,
        disk_bytes_per_s=round(batch_size * file_bytes / batch_s),
        # The workers share the disk: it is one maker.
        step_s=step_s(batch_s, 1, share),
    )
    return planted, replace(planted, disk_bytes_per_s=0, sizes=sizes | {"cold": 0.0})


def in_memory_overhead(random: Random, share: float, cores: int) -> Pair:
    planted = Recipe(
        dataset="rows",
        sizes={"columns": float(random.choice((4, 10, 32, 64)))},
        batch_size=random.choice((16, 32, 64)),
        epoch_batches=4_000,
        shuffle=random.random() < 0.5,
        workers=1 + random.randrange(2 * cores),
        step="compute",
        # Handing a batch over takes the trainer some 0.8 ms.
        step_s=step_s(0.0008, 0, share),
    )
    return planted, replace(planted, workers=0)


def per_item_overhead(random: Random, share: float, _cores: int) -> Pair:
    batch_size = random.choice((32, 64, 128, 256, 512))
    planted = Recipe(
        dataset="rows",
        sizes={"columns": float(random.choice((4, 10, 32, 64)))},
        batch_size=batch_size,
        shuffle=random.random() < 0.5,
        epoch_batches=1_000,
        step="compute",
        # A row takes some 6 µs of Python.
        step_s=step_s(6e-6 * batch_size, 0, share),
    )
    return planted, replace(planted, by_rows=True)


def per_batch_overhead(random: Random, share: float, _cores: int) -> Pair:
    workers = random.randrange(3)
    planted = Recipe(
        dataset="tiny",
        sizes={"floats": float(random.choice((4, 10, 32)))},
        batch_size=random.choice((1, 1, 2, 4)),
        epoch_batches=20_000,
        workers=workers,
        step="compute",
        # What a batch costs whatever is in it: to hand it over, or to collate it in place.
        step_s=step_s(500e-6 if workers else 40e-6, 0, share),
    )
    larger = random.choice((16, 32, 64))
    return planted, replace(
        planted,
        batch_size=planted.batch_size * larger,
        epoch_batches=planted.epoch_batches // larger,
        split=larger,
    )


def transport_bytes(random: Random, share: float, _cores: int) -> Pair:
    batch_size, workers = random.choice((2, 4, 8)), random.choice((1, 2))
    payload_bytes = log_uniform(random, 6e6, 48e6)
    planted = Recipe(
        dataset="big",
        sizes={"sample_bytes": float(round(payload_bytes / batch_size))},
        batch_size=batch_size,
        workers=workers,
        # Fresh shared memory is filled at some 1.5 GB/s.
        step_s=step_s(payload_bytes / 1.5e9, workers, share),
    )
    sizes = {"sample_bytes": float(round(payload_bytes / batch_size / 16))}
    return planted, replace(planted, sizes=sizes)


def transport_objects(random: Random, share: float, _cores: int) -> Pair:
    tensors = round(log_uniform(random, 30, 120))
    planted = Recipe(
        dataset="tensors",
        sizes={"tensors": float(tensors)},
        batch_size=random.choice((1, 2, 4)),
        workers=random.choice((1, 2)),
        # To open a descriptor for each tensor takes the trainer some 0.2 ms, and its step waits.
        step_s=step_s(tensors * 0.0002, 0, share),
    )
    return planted, replace(planted, collate="pack")


def serialization_bound(random: Random, share: float, _cores: int) -> Pair:
    objects, batch_size = round(log_uniform(random, 100, 600)), random.choice((8, 16, 32))
    planted = Recipe(
        dataset="objects",
        sizes={"objects": float(objects)},
        batch_size=batch_size,
        workers=random.choice((1, 2)),
        collate="keep",
        # A string takes some 0.3 µs to be made, pickled and unpickled, each.
        step_s=step_s(objects * batch_size * 0.3e-6, 0, share),
    )
    return planted, replace(planted, sizes={"objects": 1.0})


def collate_bound(random: Random, share: float, cores: int) -> Pair:
    recipe, batch_s = computing(random, 0.001, 0.005)
    collate_s = batch_s * random.uniform(3, 8)
    workers = 1 + random.randrange(cores)
    planted = replace(
        recipe,
        sizes=recipe.sizes | {"collate_s": collate_s},
        collate="work",
        workers=workers,
        step_s=step_s(batch_s + collate_s, workers, share),
    )
    return planted, replace(planted, sizes=planted.sizes | {"collate_s": 0.0})


def burst_jitter(random: Random, share: float, _cores: int) -> Pair:
    step, every = log_uniform(random, 0.004, 0.012), random.randrange(30, 61)
    # More than this, and the worker would not keep up in the mean.
    share = min(share, 0.4)
    slow_s = step * (2 + every * share / (1 - share))
    planted = Recipe(
        dataset="one_slow",
        sizes={"usual_s": 0.15 * step, "slow_s": slow_s, "every": float(every)},
        workers=1,
        step_s=step,
    )
    return planted, replace(planted, prefetch=4 * every)


def head_of_line(random: Random, share: float, _cores: int) -> Pair:
    sigma, median_s = random.uniform(0.8, 1.2), log_uniform(random, 0.003, 0.008)
    workers = random.choice((4, 6, 8))
    mean_s = median_s * exp(sigma**2 / 2)
    planted = Recipe(
        dataset="tail",
        sizes={"median_s": median_s, "sigma": sigma},
        workers=workers,
        epoch_batches=5_000,
        # Workers that would keep up, if they never waited for each other's turn.
        step_s=mean_s / workers * (1.7 - 0.6 * share),
    )
    return planted, replace(planted, in_order=False)


def startup_respawn(random: Random, share: float, cores: int) -> Pair:
    workers = 1 + random.randrange(cores + 1)
    batches, batch_size = random.randrange(8, 25), random.choice((2, 4, 8))
    # To fork a worker takes some 15 ms, and the first batch comes late by as much again.
    epoch_s = (0.030 + 0.015 * workers) * (1 - share) / share
    step = epoch_s / batches
    planted = Recipe(
        dataset="computed",
        sizes={"cpu_s": 0.3 * step * min(workers, cores) / batch_size},
        batch_size=batch_size,
        epoch_batches=batches,
        workers=workers,
        step_s=step,
        whole_epochs=True,
    )
    return planted, replace(planted, persistent=True)


CAUSES: dict[str, Plant] = {
    "cpu_underprovisioned": cpu_underprovisioned,
    "cpu_saturated": cpu_saturated,
    "cpu_quota": cpu_quota,
    "thread_oversubscription": thread_oversubscription,
    "affinity_pinned": affinity_pinned,
    "latency_bound": latency_bound,
    "storage_bound": storage_bound,
    "in_memory_overhead": in_memory_overhead,
    "per_item_overhead": per_item_overhead,
    "per_batch_overhead": per_batch_overhead,
    "transport_bytes": transport_bytes,
    "transport_objects": transport_objects,
    "head_of_line": head_of_line,
    "startup_respawn": startup_respawn,
    "serialization_bound": serialization_bound,
    "collate_bound": collate_bound,
    "burst_jitter": burst_jitter,
}
"""By the verdict that is right."""
