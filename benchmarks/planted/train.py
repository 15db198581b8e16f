"""A plain training script: `python -m planted.train RECIPE`, the recipe as JSON.

It knows nothing of wellfed; `wellfed diagnose -m planted.train RECIPE` watches it as any other.
"""

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from planted.recipe import Recipe, parsed
from planted.works import COLLATES, DATASETS, work
from wellfed.testing import PinnedWorkers

__all__ = ["build", "slices", "step_of"]


def build(recipe: Recipe) -> DataLoader[Any]:
    """The loader of a recipe."""
    dataset: Any = DATASETS[recipe.dataset](recipe)
    how: dict[str, Any] = {"batch_size": recipe.batch_size, "shuffle": recipe.shuffle}
    if recipe.by_rows:
        sampler = RandomSampler(dataset) if recipe.shuffle else SequentialSampler(dataset)
        how = {
            "sampler": BatchSampler(sampler, recipe.batch_size, drop_last=False),
            "batch_size": None,
        }
    if recipe.workers:
        how |= {
            "prefetch_factor": recipe.prefetch,
            "persistent_workers": recipe.persistent,
            "multiprocessing_context": recipe.start_method,
            "worker_init_fn": PinnedWorkers() if recipe.pinned else None,
        }
    return DataLoader(
        dataset,
        num_workers=recipe.workers,
        in_order=recipe.in_order,
        collate_fn=COLLATES[recipe.collate](recipe),
        **how,
    )


class Device:
    """Stands for an accelerator: works through what it is handed, two steps at most ahead."""

    def __init__(self) -> None:
        self._steps: queue.Queue[float] = queue.Queue(maxsize=2)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._steps.get())

    def step(self, seconds: float) -> None:
        self._steps.put(seconds)


def step_of(recipe: Recipe) -> Callable[[], None]:
    """What the loop does with a batch, or with its part of one."""
    units = round(recipe.step_s / recipe.unit_s) if recipe.step == "compute" else 0
    interpreted = bool(recipe.sizes.get("interpreted"))  # what `unit_s` was measured of
    device = Device() if recipe.step == "queue" else None
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1
        if recipe.pause_every and taken % recipe.pause_every == 0:
            time.sleep(recipe.pause_s)
        if device is not None:
            device.step(recipe.step_s)
        elif units:
            work(units, interpreted)
        elif recipe.step == "wait" and recipe.step_s:
            time.sleep(recipe.step_s)

    return step


def slices(batch: Any, recipe: Recipe) -> Iterator[Any]:
    """The parts of a batch that the loop takes steps for."""
    if recipe.split == 1:
        yield batch
    else:
        yield from batch.split(max(1, recipe.batch_size // recipe.split))


def main() -> None:
    recipe = parsed(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loader, step = build(recipe), step_of(recipe)
    for _epoch in range(100_000):
        for batch in loader:
            for _part in slices(batch, recipe):
                step()


if __name__ == "__main__":
    main()
