"""Runs with nothing to fix in the loader, many of which look as if there were.

Each function draws sizes and gives a run that free data would speed up by next to nothing. Whether
that is so is for the oracle to say.
"""

from collections.abc import Callable
from dataclasses import replace
from math import exp
from random import Random
from typing import TypeAlias

from planted.causes import computing, log_uniform
from planted.recipe import Recipe

__all__ = ["CONTROLS", "Control"]

Control: TypeAlias = Callable[[Random, int], Recipe]
"""From randomness and the number of cores."""


def model_on_a_device(random: Random, cores: int) -> Recipe:
    """The loader could be half as fast again."""
    recipe, batch_s = computing(random)
    workers = 1 + random.randrange(cores)
    return replace(
        recipe, workers=workers, step_s=random.uniform(1.6, 3.0) * batch_s / min(workers, cores)
    )


def model_on_the_cpu(random: Random, _cores: int) -> Recipe:
    recipe, batch_s = computing(random, 0.005, 0.020)
    return replace(recipe, workers=1, step="compute", step_s=random.uniform(2.0, 4.0) * batch_s)


def one_worker_is_enough(random: Random, cores: int) -> Recipe:
    """More workers than needed, of which one would do."""
    recipe, batch_s = computing(random, 0.004, 0.016)
    return replace(recipe, workers=2 * cores, step_s=random.uniform(1.5, 2.5) * batch_s)


def queue_of_a_device(random: Random, cores: int) -> Recipe:
    """Steps are handed over and return at once: the loop runs ahead of its device."""
    recipe, batch_s = computing(random, 0.005, 0.020)
    return replace(
        recipe,
        workers=1 + random.randrange(cores),
        step="queue",
        step_s=random.uniform(1.6, 2.5) * batch_s,
    )


def hidden_behind_a_device(random: Random, _cores: int) -> Recipe:
    """No workers, and the trainer loads while the device still works: its waits cost nothing."""
    recipe, batch_s = computing(random, 0.005, 0.020)
    return replace(
        recipe, workers=0, prefetch=None, step="queue", step_s=random.uniform(1.6, 2.5) * batch_s
    )


def rows_at_once(random: Random, _cores: int) -> Recipe:
    """Data in memory, taken by rows."""
    return Recipe(
        dataset="rows",
        sizes={"columns": float(random.choice((4, 32, 64)))},
        batch_size=random.choice((32, 64, 128)),
        epoch_batches=2_000,
        by_rows=True,
        step="compute",
        step_s=log_uniform(random, 0.002, 0.006),
    )


def rows_one_by_one(random: Random, _cores: int) -> Recipe:
    """Data in memory, one row after the other, beside a step that is much longer."""
    batch_size = random.choice((8, 16, 32))
    return Recipe(
        dataset="rows",
        sizes={"columns": 10.0},
        batch_size=batch_size,
        step="compute",
        step_s=batch_size * 6e-6 * random.uniform(40, 80),
    )


def far_away_but_early(random: Random, cores: int) -> Recipe:
    """A slow store, and workers enough to have asked in time."""
    wait_s, batch_size = log_uniform(random, 0.002, 0.008), random.choice((2, 4, 8))
    workers = random.randrange(2 * cores, 4 * cores + 1)
    return Recipe(
        dataset="computed",
        sizes={"wait_s": wait_s, "jitter": 0.3, "cpu_s": 0.0},
        batch_size=batch_size,
        workers=workers,
        step_s=random.uniform(1.6, 2.5) * wait_s * batch_size / workers,
    )


def uneven_but_deep(random: Random, _cores: int) -> Recipe:
    """Batches of very different cost, that a deep buffer rides out."""
    sigma, median_s = random.uniform(0.5, 0.9), log_uniform(random, 0.003, 0.008)
    workers = random.choice((4, 6))
    return Recipe(
        dataset="tail",
        sizes={"median_s": median_s, "sigma": sigma},
        workers=workers,
        prefetch=8,
        epoch_batches=5_000,
        step_s=random.uniform(1.8, 2.5) * median_s * exp(sigma**2 / 2) / workers,
    )


def cached_files(random: Random, cores: int) -> Recipe:
    """A slow disk, whose files are all in the page cache."""
    return Recipe(
        dataset="files",
        sizes={"file_bytes": 256_000.0, "files": 64.0, "cold": 0.0},
        batch_size=random.choice((4, 8)),
        workers=1 + random.randrange(cores),
        disk_bytes_per_s=10_000_000,
        step_s=log_uniform(random, 0.008, 0.020),
    )


def unused_quota(random: Random, cores: int) -> Recipe:
    """A quota that is there, and leaves enough."""
    recipe, batch_s = computing(random, 0.005, 0.020)
    return replace(
        recipe,
        workers=1,
        quota_cores=0.9 * cores,
        step_s=random.uniform(1.8, 3.0) * batch_s,
    )


def many_tensors_long_step(random: Random, _cores: int) -> Recipe:
    tensors = round(log_uniform(random, 30, 80))
    return Recipe(
        dataset="tensors",
        sizes={"tensors": float(tensors)},
        batch_size=2,
        workers=1,
        step_s=tensors * 0.0005 * random.uniform(12, 20),
    )


def big_batches_long_step(random: Random, _cores: int) -> Recipe:
    payload_bytes = log_uniform(random, 6e6, 24e6)
    return Recipe(
        dataset="big",
        sizes={"sample_bytes": float(round(payload_bytes / 4))},
        batch_size=4,
        workers=2,
        step_s=payload_bytes / 1e9 * random.uniform(3, 5),
    )


def checkpoints(random: Random, cores: int) -> Recipe:
    """A long pause now and then that is the loop's own."""
    recipe, batch_s = computing(random, 0.005, 0.015)
    return replace(
        recipe,
        workers=cores,
        step_s=2.0 * batch_s / cores,
        pause_every=random.randrange(15, 40),
        pause_s=random.uniform(5, 15) * batch_s,
    )


def long_epochs(random: Random, cores: int) -> Recipe:
    """Workers start anew each epoch, seldom enough not to matter."""
    workers = 1 + random.randrange(cores)
    return Recipe(
        dataset="computed",
        sizes={"cpu_s": 0.001, "interpreted": 0.0},
        batch_size=4,
        epoch_batches=round(3.0 / 0.012),
        workers=workers,
        step_s=0.012,
        whole_epochs=True,
    )


CONTROLS: dict[str, Control] = {
    "model_on_a_device": model_on_a_device,
    "model_on_the_cpu": model_on_the_cpu,
    "queue_of_a_device": queue_of_a_device,
    "rows_at_once": rows_at_once,
    "one_worker_is_enough": one_worker_is_enough,
    "far_away_but_early": far_away_but_early,
    "many_tensors_long_step": many_tensors_long_step,
    "checkpoints": checkpoints,
    "rows_one_by_one": rows_one_by_one,
    "cached_files": cached_files,
    "uneven_but_deep": uneven_but_deep,
    "unused_quota": unused_quota,
    "big_batches_long_step": big_batches_long_step,
    "long_epochs": long_epochs,
    "hidden_behind_a_device": hidden_behind_a_device,
}
