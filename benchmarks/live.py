"""How well a loader tunes itself while it trains: from the worst start, in steady state, on drift.

    python benchmarks/live.py [start|steady|drift] [--seconds 30] [--json FILE]

`start`: each world begins with one worker and the least prefetch; its speed over the last fifth of
the time is compared with the best of a grid of fixed plans, each measured alone on the same world.
`steady`: drained, with the circle on and off, in turn: what it costs.
`drift`: storage slows five times, the step takes twice as long, a neighbour takes a core, or data
that were in memory have to be waited for, with num_workers="auto": the time until the loader is
within 90 % of what it settles at, and how often it switched.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

import wellfed

GRID = (1, 2, 4, 8, 16)
BATCH = 8


class Samples(Dataset[Any]):
    """Samples that wait for storage and compute for as long as is told, also while they run."""

    def __init__(self, wait_s: float, compute_s: float) -> None:
        self.compute_s = compute_s
        self.wait_s = multiprocessing.Value("d", wait_s, lock=False)

    def __len__(self) -> int:
        return 10_000_000

    def __getitem__(self, index: int) -> Any:
        time.sleep(self.wait_s.value)
        spin(self.compute_s)
        return torch.full((3_000,), float(index))


@dataclass(frozen=True)
class World:
    """What a sample takes, and a step."""

    wait_s: float = 0.0
    compute_s: float = 0.0
    step_s: float = 0.0


WORLDS = {
    "latency": World(wait_s=0.005, step_s=0.004),
    "latency, slow step": World(wait_s=0.005, step_s=0.02),
    "cpu": World(compute_s=0.001, step_s=0.001),
    "both": World(wait_s=0.003, compute_s=0.0005, step_s=0.004),
    "model": World(wait_s=0.0005, step_s=0.05),
    "in memory": World(step_s=0.004),
}


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def loader(world: World, workers: int | str, **options: Any) -> tuple[Any, Samples]:
    samples = Samples(world.wait_s, world.compute_s)
    fixed = {"prefetch_factor": 2, **options}
    return wellfed.DataLoader(samples, batch_size=BATCH, num_workers=workers, **fixed), samples


def speeds(
    iterator: Any, seconds: float, step: Callable[[], float], every_s: float = 1.0
) -> list[float]:
    """Batches a second, second by second."""
    seen, began = [], time.perf_counter()
    while (since := time.perf_counter()) - began < seconds:
        batches = 0
        while time.perf_counter() - since < every_s:
            next(iterator)
            time.sleep(step())
            batches += 1
        seen.append(batches / (time.perf_counter() - since))
    return seen


def told(changes: tuple[Any, ...]) -> list[str]:
    return [
        f"{one.at_s:5.1f} s  {one.kind}: {one.before.workers} × {one.before.prefetch} -> "
        f"{one.after.workers} × {one.after.prefetch} ({one.after.backend}), {one.why}"
        for one in changes
    ]


def start(name: str, seconds: float) -> dict[str, Any]:
    """The speed that is reached from the worst start, over that of the best fixed plan."""
    world = WORLDS[name]
    fixed = {}
    for workers in GRID:
        one, _ = loader(world, workers, autotune=False)
        fixed[workers] = statistics.median(speeds(iter(one), 4.0, lambda: world.step_s)[1:])
    tuned, _ = loader(world, 1, prefetch_factor=1)
    iterator: Any = iter(tuned)
    seen = speeds(iterator, seconds, lambda: world.step_s)
    reached = statistics.median(seen[-max(3, len(seen) // 5) :])
    best = max(fixed.values())
    changes = tuned.report().changes
    last = max((one.at_s for one in changes if one.before != one.after), default=0.0)
    return {
        "world": name,
        "best": f"{max(fixed, key=lambda one: fixed[one])} workers, {best:.0f} batches/s",
        "share_of_best": reached / best,
        "worst_start_share": fixed[1] / best,
        "last_change_s": last,
        "plan": f"{iterator.plan.workers} × {iterator.plan.prefetch}",
        "changes": told(changes),
    }


def steady(seconds: float) -> dict[str, Any]:
    """What the circle costs, drained, in turn with a loader that has none."""
    iterators = [iter(loader(World(), 2, autotune=on)[0]) for on in (False, True)]
    taken: list[list[float]] = [[], []]
    for turn in range(max(6, int(seconds / 4))):
        for on in (0, 1) if turn % 2 else (1, 0):
            taken[on] += speeds(iterators[on], 2.0, lambda: 0.0, every_s=2.0)
    pairs = [off / on - 1 for off, on in zip(*taken, strict=True)]
    return {
        "batches_per_s": statistics.median(taken[0]),
        "lost_share": statistics.median(pairs),
        "lost_shares": sorted(pairs),
    }


def drift(kind: str, seconds: float) -> dict[str, Any]:
    """How long it takes to settle again."""
    cached = kind == "a cache is lost"
    world = WORLDS["in memory" if cached else "latency"]
    tuned, samples = loader(world, "auto" if cached else 2)
    iterator = iter(tuned)
    step_s = [world.step_s]
    before = speeds(iterator, seconds / 2, lambda: step_s[0])
    neighbour = None
    if cached:
        samples.wait_s.value = WORLDS["latency"].wait_s
    elif kind == "storage slows 5 times":
        samples.wait_s.value *= 5
    elif kind == "the step doubles":
        step_s[0] *= 2
    else:
        neighbour = multiprocessing.get_context("fork").Process(target=spin, args=(1e9,))
        neighbour.start()
    switched_before = len(tuned.report().changes)
    after = speeds(iterator, seconds, lambda: step_s[0])
    if neighbour is not None:
        neighbour.kill()
        neighbour.join()
    settled = statistics.median(after[-5:])
    late = [second for second, speed in enumerate(after) if speed < 0.9 * settled]
    changes = tuned.report().changes
    return {
        "drift": kind,
        "before": statistics.median(before[-5:]),
        "first_seconds": statistics.median(after[:3]),
        "after": settled,
        "settled_after_s": max(late, default=-1) + 1,
        "switches": len([one for one in changes[switched_before:] if one.before != one.after]),
        "changes": told(changes),
    }


DRIFTS = (
    "storage slows 5 times",
    "the step doubles",
    "a neighbour takes a core",
    "a cache is lost",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["start", "steady", "drift"])
    parser.add_argument("names", nargs="*", help="worlds or drifts; all by default")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "start":
        found = [start(name, args.seconds) for name in args.names or WORLDS]
    elif args.what == "drift":
        found = [drift(kind, args.seconds) for kind in args.names or DRIFTS]
    else:
        found = [steady(args.seconds)]
    print(json.dumps(found, indent=2))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
