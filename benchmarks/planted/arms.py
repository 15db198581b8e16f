"""The oracle's measurements: variants of one run, in turn, in a process of their own.

    cd benchmarks && python -m planted.arms SECONDS <<< '{"planted": RECIPE, "cured": RECIPE, ...}'

Each variant is run there and back again (A B C, C B A), so that a drift of the machine's speed
meets all alike. `free` is the planted loop with data that costs nothing: the same batch again and
again. Prints, for each variant, the samples per second of each of its windows.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from planted.limits import joined
from planted.recipe import Recipe
from planted.train import build, slices, step_of

__all__ = ["rates"]

WARM_UP_S = 0.15
PATIENCE_S = 1.5


class Loop:
    """The training loop of a recipe, that can be run for a while and on from there."""

    def __init__(self, recipe: Recipe, batches: Callable[[], Iterator[Any]]) -> None:
        self.recipe = recipe
        self._fresh = batches
        self._step = step_of(recipe)
        self._batches = batches()

    def run(self, seconds: float, batches: int = 1) -> tuple[int, float]:
        """At least so many batches and so long; tells the batches and the seconds."""
        began = time.perf_counter()
        taken = 0
        while taken < batches or time.perf_counter() - began < seconds:
            batch = next(self._batches, None)
            if batch is None:
                self._batches = self._fresh()
                continue
            for _part in slices(batch, self.recipe):
                self._step()
            taken += 1
        return taken, time.perf_counter() - began

    def run_epochs(self, seconds: float, epochs: int) -> tuple[int, float]:
        """At least so many whole epochs and so long."""
        began = time.perf_counter()
        taken = 0
        while epochs > 0 or time.perf_counter() - began < seconds:
            self._batches = iter(())
            for batch in self._fresh():
                for _part in slices(batch, self.recipe):
                    self._step()
                taken += 1
            epochs -= 1
        return taken, time.perf_counter() - began


def rate(recipe: Recipe, seconds: float, batch: Any = None) -> float:
    """Samples per second in one window, once what was made ahead is used up."""
    if recipe.start_method == "spawn":
        # The torch of this process has one thread, so nothing that a fork could break is running.
        recipe = replace(recipe, start_method="fork")
    with joined(recipe.groups):
        if batch is not None:
            loop = Loop(recipe, lambda: iter([batch] * recipe.epoch_batches))
        else:
            loader = build(recipe)
            loop = Loop(recipe, lambda: iter(loader))
        if recipe.whole_epochs:
            loop.run_epochs(0.0, 1)
            taken, took_s = loop.run_epochs(seconds, 2)
        else:
            began = time.perf_counter()
            ahead = recipe.depth + recipe.workers
            loop.run(WARM_UP_S, 2)
            while ahead > 0 and time.perf_counter() - began < PATIENCE_S and batch is None:
                ahead -= loop.run(0.0)[0]
            # Workers that wait alike deliver in bursts: a window is several turns of them all.
            taken, took_s = loop.run(seconds, 4 * max(1, recipe.workers))
        del loop
    return round(taken * recipe.batch_size / took_s, 2)


def rates(arms: dict[str, Recipe], seconds: float) -> dict[str, list[float]]:
    """Samples per second of each variant, there and back again."""
    told: dict[str, list[float]] = {name: [] for name in arms}
    first = next(iter(build(replace(arms["planted"], workers=0, persistent=False))))
    # A remedy that is the cure is measured once.
    different = [name for name in arms if name != "mended" or arms[name] != arms.get("cured")]
    for name in [*different, *reversed(different)]:
        batch = first if name == "free" else None
        # Nothing to load takes no time to know: its window may be short.
        told[name].append(rate(arms[name], seconds / 2 if name == "free" else seconds, batch))
    return {name: rates or told["cured"] for name, rates in told.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    told = json.loads(sys.stdin.read())
    arms = {name: Recipe(**{**one, "groups": tuple(one["groups"])}) for name, one in told.items()}
    print(json.dumps(rates(arms, float(sys.argv[1]))), flush=True)
    os._exit(0)  # a device's thread would be waited for


if __name__ == "__main__":
    main()
