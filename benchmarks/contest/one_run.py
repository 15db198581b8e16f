"""One measured loop in a fresh process: what `engine.py` starts, again and again.

    cd benchmarks && python -m contest.one_run '{"workload": "big", "way": "torch", "workers": 2}'

The protocol, the same for every loader: build the dataset (not timed); build the loader and take
the first batch; warm up; the timed window; go on while the parent looks at the memory, which would
disturb the timing; then a short epoch to its end, the second epoch's first batch, and the end.
Each phase is one line of JSON on the standard output.
"""

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch.utils.data import RandomSampler, SequentialSampler
from workloads import WORKLOADS, Workload

from contest import session
from contest.rivals import RIVALS

PATIENCE_S = 6.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the parent asks for."""

    workload: str
    way: str
    """ "torch", "ours", "plain", or the name of a rival."""
    workers: int = 0
    prefetch: int | None = None
    method: str | None = None
    threads: int = 1
    plan: dict[str, Any] | None = None
    loader: str = "wellfed:DataLoader"
    """The class of ours, as module:name."""
    seconds: float = 2.0
    whole: bool = True
    """Whether memory, a second epoch and the end are looked at, too."""


def workers_of(order: Order) -> int:
    """The worker processes of its loader."""
    return order.plan.get("workers", 0) if order.way == "ours" and order.plan else order.workers


def depth_of(order: Order) -> int:
    """Batches that may be made ahead."""
    prefetch = order.plan.get("prefetch") if order.way == "ours" and order.plan else order.prefetch
    return workers_of(order) * (prefetch or 0)


def say(phase: str, **figures: Any) -> None:
    # In one piece, so that lines of processes side by side do not mix.
    os.write(1, json.dumps({"phase": phase, **figures}).encode() + b"\n")


def torch_options(order: Order) -> dict[str, Any]:
    """The setting as torch's loader takes it; a plan as far as it can."""
    plan = (order.way == "ours" and order.plan) or {}
    workers = workers_of(order)
    return {
        "num_workers": workers,
        "prefetch_factor": plan.get("prefetch", order.prefetch) if workers else None,
        "persistent_workers": workers > 0,
        "multiprocessing_context": plan.get("start_method", order.method) if workers else None,
    }


def our_options(order: Order, workload: Workload) -> dict[str, Any]:
    """The plan as our loader takes it."""
    from wellfed.records import Plan

    plan = Plan(**(order.plan or {}))
    return {
        "num_workers": plan.workers,
        "persistent_workers": plan.workers > 0,
        "multiprocessing_context": plan.start_method,
        "plan": plan,
        "thread_safe": workload.thread_safe,
    }


def loader_class_of(order: Order) -> Any:
    """The class that is measured."""
    name = "torch.utils.data:DataLoader" if order.way == "torch" else order.loader
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(order: Order, workload: Workload, dataset: Any, short: int = 0) -> Any:
    """The loader; with `short`, one whose epoch is so many batches long.

    A short epoch still draws the permutation of the whole dataset, as a long one does.
    """
    if order.way in RIVALS:
        return RIVALS[order.way](workload, dataset, order.workers, order.prefetch)
    loader_class = loader_class_of(order)
    stock = loader_class is torch.utils.data.DataLoader
    how = torch_options(order) if stock else our_options(order, workload)
    samples = short * workload.samples
    if short and workload.shuffle:
        which: dict[str, Any] = {"sampler": RandomSampler(dataset, num_samples=samples)}
    elif short:
        which = {"sampler": SequentialSampler(range(samples))}
    else:
        which = {"shuffle": workload.shuffle}
    return loader_class(dataset, workload.batch_size, collate_fn=workload.collate, **which, **how)


class Loop:
    """A training loop over a loader: one batch and one step after the other, over all epochs."""

    def __init__(self, loader: Any, begun: Iterator[Any], workload: Workload, turn: int) -> None:
        self.loader, self.workload = loader, workload
        self.turn = turn
        """Batches until every worker had its turn. Workers that wait alike deliver in bursts: a
        window of whole turns ends at the phase of the burst in which it began."""
        self.batches = self.train(begun)

    def train(self, begun: Iterator[Any]) -> Generator[int]:
        """Train on a batch, again and again; tells the epoch of each."""
        batches: Iterable[Any] = begun
        for epoch in count():
            for batch in batches:
                if self.workload.step:
                    self.workload.step(batch)
                yield epoch
            batches = self.loader

    def run_epochs(self, epochs: int, seconds: float) -> int:
        """Batches in that many whole epochs, again and again for at least that time."""
        end, number = time.perf_counter() + seconds, 0
        while not number or time.perf_counter() < end:
            number += sum(1 for _ in range(epochs) for _ in self.loader)
        return number

    def run(self, seconds: float) -> int:
        """Batches in a stretch of that time, rounded up to a whole turn."""
        end, number = time.perf_counter() + seconds, 0
        for _ in self.batches:
            number += 1
            if number % self.turn == 0 and time.perf_counter() >= end:
                break
        return number

    def warm_up(self, seconds: float, depth: int) -> None:
        """Run for that time, and until what was made ahead at the start is used up.

        A full buffer would flatter the deepest setting. A slow step keeps it full for good, so
        there is a limit to the patience.
        """
        began, number = time.perf_counter(), self.run(seconds)
        while number < depth and time.perf_counter() - began < PATIENCE_S:
            number += self.run(0)


def timed(loop: Loop, seconds: float, depth: int) -> None:
    """Warm up, then tell the rate and the CPU time of one window."""
    epochs = loop.workload.epochs
    warm_up_s = min(1.0, seconds / 2)
    if epochs:
        loop.run_epochs(1, warm_up_s)
    else:
        loop.warm_up(warm_up_s, depth)
    before_s, began = session.cpu_s(os.getsid(0)), time.perf_counter()
    batches = loop.run_epochs(epochs, seconds) if epochs else loop.run(seconds)
    wall_s = time.perf_counter() - began
    used_s = session.cpu_s(os.getsid(0)) - before_s
    # All epochs have whole batches but for their last one, and a window has few epochs.
    samples = batches * loop.workload.samples
    say(
        "timed",
        wall_s=wall_s,
        samples_per_s=samples / wall_s,
        cpu_s_per_1000=used_s / samples * 1000,
    )


def short_life(order: Order, workload: Workload, dataset: Any) -> None:
    """Tell when the second epoch's first batch comes, and how long the end takes."""
    loader = build(order, workload, dataset, short=2 * max(1, workers_of(order)))
    for _ in loader:
        pass
    began = time.perf_counter()
    iterator = iter(loader)
    next(iterator)
    epoch_start_s = time.perf_counter() - began
    for _ in iterator:
        pass
    began = time.perf_counter()
    del iterator, loader
    say("short", epoch_start_s=epoch_start_s, shutdown_s=time.perf_counter() - began)


def measure(order: Order) -> None:
    workload = WORKLOADS[order.workload]
    dataset = workload.dataset()
    if order.whole:
        say("ready", bare_bytes=session.memory_bytes(os.getsid(0)))
    loader_class_of(order)  # imported once a program, as torch was before
    began = time.perf_counter()
    loader = build(order, workload, dataset)
    iterator = iter(loader)
    next(iterator)
    say("first", first_batch_s=time.perf_counter() - began)
    loop = Loop(loader, iterator, workload, max(1, workers_of(order)))
    del iterator
    timed(loop, order.seconds, depth_of(order))
    if not order.whole:
        return
    say("memory")
    loop.run(0.7)
    say("enough")
    loop.batches.close()
    del loop, loader
    gc.collect()
    if order.way not in RIVALS:
        short_life(order, workload, dataset)


def measure_plain(order: Order) -> None:
    """The plain loop, on every core at once where the work may be spread."""
    workload = WORKLOADS[order.workload]
    dataset = workload.dataset()
    cores = len(os.sched_getaffinity(0)) if workload.plain_everywhere else 1
    for _ in range(1, cores):
        if not os.fork():
            plain(workload, dataset, order.seconds)
            os._exit(0)
    plain(workload, dataset, order.seconds)
    for _ in range(1, cores):
        os.wait()


def plain(workload: Workload, dataset: Any, seconds: float) -> None:
    batches = workload.plain(dataset)

    def run(stretch_s: float) -> int:
        number, end = 0, time.perf_counter() + stretch_s
        while time.perf_counter() < end:
            batch = next(batches)
            if workload.step:
                workload.step(batch)
            number += 1
        return number

    run(min(0.5, seconds / 2))
    before_s, began = time.process_time(), time.perf_counter()
    number = run(seconds)
    wall_s, used_s = time.perf_counter() - began, time.process_time() - before_s
    samples = number * workload.samples
    say("timed", samples_per_s=samples / wall_s, cpu_s_per_1000=used_s / samples * 1000)


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    if os.getsid(0) != os.getpid():
        os.setsid()
    torch.set_num_threads(order.threads)
    torch.manual_seed(0)
    (measure_plain if order.way == "plain" else measure)(order)
    say("done", left_behind=len(session.members(os.getsid(0))) - 1)


if __name__ == "__main__":
    main()
