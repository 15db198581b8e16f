"""What `wellfed.tune` finds, against every setting of a grid and against rules of thumb.

    python benchmarks/tuning.py [--only NAME ...] [--budget 30] [--json FILE] [--write]

For each workload: the tuner is run, then the whole grid of num_workers × prefetch_factor of torch's
loader, in an order of its own in each of several rounds, with the same trials. "Found" is the speed
of the tuner's answer over that of the fastest of the grid, both from the grid's own rounds, so
that the tuner does not grade itself. Rules of thumb are looked up in the same grid.

With --json, results are added to those of the file, so that workloads can be run one by one; with
--write, the table goes into docs/explanation/tuning.md.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset
from workloads import datasets

import wellfed
from wellfed._attach.trying import Trier
from wellfed._engine.experiments.replay import HandedOver
from wellfed._engine.experiments.twin import index_batches
from wellfed.records import Measured, Plan
from wellfed.testing import BigTensors, CpuBurn, HeavyTail, Latency, ManyTensors

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "tuning.md"
BEGIN, END = "<!-- tuning: begin -->", "<!-- tuning: end -->"

WORKERS, DEPTHS = (0, 1, 2, 3, 4, 6, 8), (2, 8)
STRETCH_S = 0.5
ROUNDS = 3

Step = Callable[[Any], object]


def wait(seconds: float) -> Step:
    """A step on a device: the CPU is free meanwhile."""
    return lambda _: time.sleep(seconds)


def compute(seconds: float) -> Step:
    """A step on the CPU."""

    def step(_: Any) -> None:
        end_ns = time.thread_time_ns() + round(seconds * 1e9)
        while time.thread_time_ns() < end_ns:
            pass

    return step


WORKLOADS: dict[str, tuple[Callable[[], Any], int, Step]] = {
    "jpeg": (datasets.jpegs, 16, wait(0.004)),
    "cpu": (lambda: CpuBurn(0.002, length=4000), 8, wait(0.004)),
    "cpu, heavy step": (lambda: CpuBurn(0.001, length=4000), 8, wait(0.03)),
    "cpu, step on the CPU": (lambda: CpuBurn(0.001, length=4000), 8, compute(0.006)),
    "latency": (lambda: Latency(0.004, length=4000), 8, wait(0.002)),
    "latency, remote": (datasets.latency, 16, wait(0.004)),
    "uneven": (lambda: HeavyTail(0.004, sigma=1.2, length=4000), 2, wait(0.003)),
    "rows": (lambda: datasets.rows(20_000, 32), 32, wait(0.0)),
    "big": (lambda: BigTensors(1_000_000, length=2000), 8, wait(0.002)),
    "many tensors": (lambda: ManyTensors(60), 4, wait(0.001)),
    "tokens": (datasets.Tokens, 16, wait(0.001)),
    "model": (lambda: CpuBurn(0.0005, length=4000), 8, wait(0.05)),
}


def grid() -> list[Plan]:
    """Every setting that is measured."""
    some = [
        Plan(workers=workers, prefetch=depth, start_method="fork")
        for workers in WORKERS
        for depth in DEPTHS
        if workers
    ]
    return [Plan(), *some]


def rules() -> dict[str, list[Plan]]:
    """What people set without measuring, or measure by hand; of several the best is taken."""
    cpus = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0))
    gpus = torch.cuda.device_count()
    counts = {
        "os.cpu_count()": [cpus],
        "min(8, cpus)": [min(8, cpus)],
        # lightning.pytorch.utilities.data: one less than the usable CPUs of each device.
        "cpus - 1 (Lightning)": [max(1, usable - 1)],
        "torch's default (0)": [0],
        "num_workers=4": [4],
        "best of 0, 2, 4, 8": [0, 2, 4, 8],
    }
    if gpus:
        counts["4 × GPUs"] = [4 * gpus]
    return {
        name: [Plan(workers=one, prefetch=2, start_method="fork") if one else Plan() for one in own]
        for name, own in counts.items()
    }


def measured_grid(loader: Any, step: Step, also: Plan) -> tuple[dict[Plan, float], float]:
    """Seconds per batch of every plan and of `also`, over all rounds; and what measuring took."""
    trier = Trier(loader, index_batches(loader), HandedOver(step), stretch_s=STRETCH_S)
    seconds: dict[Plan, list[float]] = {plan: [] for plan in [*grid(), also]}
    began = time.perf_counter()
    for number in range(ROUNDS):
        order = list(seconds)
        random.Random(number).shuffle(order)
        for plan in order:
            reading = trier.try_out(plan).reading
            if not reading.failed:
                seconds[plan].append(reading.seconds)
    took_s = time.perf_counter() - began
    return {plan: statistics.median(own) for plan, own in seconds.items() if own}, took_s


def nearest(plan: Plan, known: dict[Plan, float]) -> float:
    """Seconds of a plan; of the nearest in the grid where it is not in it."""
    key = min(
        known,
        key=lambda one: (
            abs(one.workers - plan.workers),
            abs((one.prefetch or 0) - (plan.prefetch or 0)),
        ),
    )
    return known[key]


def one(name: str, budget_s: float) -> dict[str, Any]:
    """The result of one workload."""
    make, batch_size, step = WORKLOADS[name]
    dataset = make()
    shuffle = isinstance(dataset, TensorDataset)
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=shuffle)
    began = time.perf_counter()
    report = wellfed.tune(loader, step, budget_s=budget_s)
    took_s = time.perf_counter() - began
    tuning = report.tuning
    assert tuning is not None
    answer = tuning.answer("torch")
    assert answer is not None
    probes = [one for one in tuning.trials if one.name.startswith("torch")]
    known, grid_s = measured_grid(loader, step, answer.plan)
    best = min(known.values())
    ours = tuning.answer("wellfed")
    return {
        "found": best / nearest(answer.plan, known),
        "answer": f"{answer.plan.workers} × {answer.plan.prefetch or 0}",
        "best": min(known, key=lambda plan: known[plan]).workers,
        "probes": sum(isinstance(one.outcome, Measured) for one in probes),
        "took_s": took_s,
        "grid_s": grid_s,
        "wellfed": ours.gain.value / answer.gain.value if ours is not None else None,
        "rules": {
            rule: max(best / nearest(plan, known) for plan in plans)
            for rule, plans in rules().items()
        },
        "grid": {f"{plan.workers} × {plan.prefetch or 0}": known[plan] for plan in known},
    }


def table(results: dict[str, Any]) -> str:
    """All results as a table, with medians and worst."""
    names = list(rules())
    lines = [
        "| Workload | Tuner's answer | of the grid's best | plans tried | seconds | "
        + " | ".join(names)
        + " | wellfed's loader over torch's best |",
        "| --- " * (6 + len(names)) + "|",
    ]
    for name, got in results.items():
        shares = [
            f"{100 * got['rules'][rule]:.0f} %" if rule in got["rules"] else "" for rule in names
        ]
        ours = f"{got['wellfed']:.2f} ×" if got["wellfed"] else ""
        spent = f"{got['took_s']:.0f} of the grid's {got['grid_s']:.0f}"
        found = f"**{100 * got['found']:.0f} %**"
        cells = [name, got["answer"], found, str(got["probes"]), spent, *shares, ours]
        lines.append(f"| {' | '.join(cells)} |")
    for label, pick in (("median", statistics.median), ("worst", min)):
        found = pick([got["found"] for got in results.values()])
        known = [
            [got["rules"][rule] for got in results.values() if rule in got["rules"]]
            for rule in names
        ]
        shares = [f"{100 * pick(own):.0f} %" if own else "" for own in known]
        lines.append(f"| *{label}* | | **{100 * found:.0f} %** | | | {' | '.join(shares)} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--budget", type=float, default=30.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    results = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    for name in args.only:
        results[name] = one(name, args.budget)
        print(name, results[name], flush=True)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))
    print(table(results))
    if args.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
