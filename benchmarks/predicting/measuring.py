"""All cells of one load in one process, in an order of its own: each a fresh loader.

    cd benchmarks && python -m predicting.measuring '{"load": "jpeg", "seconds": 1, "seed": 0}'

The probes run watched; then every cell runs as a script would, once, and again in the opposite
order. One line of JSON a run on the standard output: what was asked for, what it came to, and of a
watched one the Case, so that predictions can be made from it later.
"""

import gc
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.utils.data import DataLoader

import wellfed
from predicting.loads import LOADS, Load
from wellfed._engine.watch.loaders import Watch
from wellfed._insight.ledger import account
from wellfed._insight.stats import summarise
from wellfed._probes import survey_machine
from wellfed.records import Case, Machine, Plan, Trace, Workload

__all__ = ["DISTURBED_CORES", "GRID", "PROBES", "Cell", "Order", "Outcome"]

# Enough for every statistic, and little enough to keep.
MOST_SPANS = 400
WARM_UP_S = 0.15
# Other processes on more of a core than this disturb a run.
DISTURBED_CORES = 0.15
MOST_TRIES = 3
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting."""

    workers: int
    prefetch: int | None = None
    way: str = "torch"
    """ "torch" or "ours"."""

    def __str__(self) -> str:
        ours = "ours " if self.way == "ours" else ""
        return f"{ours}{self.workers} × {self.prefetch or '-'}"

    @property
    def plan(self) -> Plan:
        """The same as a Plan."""
        backend = "torch" if self.way == "torch" else "processes"
        method = "fork" if self.workers else None
        return Plan(
            backend=backend, workers=self.workers, prefetch=self.prefetch, start_method=method
        )


PROBES = (
    Cell(workers=0),
    Cell(workers=1, prefetch=4),
    Cell(workers=2, prefetch=2),
    Cell(workers=6, prefetch=2),
)
"""What predictions are made from: no workers, one, as many as cores, and more than cores."""

GRID = (
    Cell(workers=0),
    *(
        Cell(workers=workers, prefetch=prefetch)
        for workers in (1, 2, 3, 4, 6)
        for prefetch in (1, 2, 4)
    ),
    *(Cell(workers=workers, prefetch=2, way="ours") for workers in (1, 2, 4)),
)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the parent asks for."""

    load: str
    seconds: float
    seed: int
    memory: bool = False
    """Whether memory is looked at, which disturbs the timing."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One measured cell."""

    load: str
    cell: Cell
    seed: int
    period_s: float
    batches: int
    neighbour_cores: float
    """Cores that other processes kept busy meanwhile."""
    memory_bytes: dict[str, float]
    case: Case | None


def loader_of(load: Load, dataset: Any, cell: Cell) -> Any:
    options: dict[str, Any] = {"batch_size": load.batch_size, "collate_fn": load.collate}
    if cell.workers:
        options |= {"num_workers": cell.workers, "multiprocessing_context": "fork"}
    if cell.way == "ours":
        return wellfed.DataLoader(dataset, plan=cell.plan, **options)
    return DataLoader(dataset, prefetch_factor=cell.prefetch, **options)


def batches_of(load: Load, loader: Any) -> Iterator[Any]:
    """Batches, each with its step done."""
    while True:
        for batch in loader:
            if load.step is not None:
                load.step(batch)
            yield batch


def timed(batches: Iterator[Any], cell: Cell, seconds: float) -> tuple[int, float, float]:
    """Batches of a window of whole turns of the workers, its seconds, and the neighbours' cores."""
    depth = cell.workers * (cell.prefetch or 0) + cell.workers
    warm_from = time.perf_counter()
    for number, _ in enumerate(batches):
        if number >= depth and time.perf_counter() - warm_from > WARM_UP_S:
            break
    # Workers in step with each other deliver in bursts: a whole number of rounds ends in phase.
    turn = max(1, cell.workers)
    began, others_s = time.perf_counter(), busy_s() - own_s()
    for number, _ in enumerate(batches, 1):
        if number % turn == 0 and time.perf_counter() - began > seconds:
            break
    took_s = time.perf_counter() - began
    return number, took_s, max(0.0, busy_s() - own_s() - others_s) / took_s


def busy_s() -> float:
    """CPU seconds of the whole machine, those included that its host took for others."""
    ticks = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / TICKS_PER_S


def own_s() -> float:
    """CPU seconds of this process and its descendants, those that ended included."""
    ticks = 0
    for pid in family():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


def measure(
    order: Order, dataset: Any, cell: Cell, *, machine: Machine | None, memory: bool = False
) -> Outcome:
    """One run of a cell; watched where the machine is given."""
    load = LOADS[order.load]
    before = memory_of([os.getpid()]) if memory else {}
    watch = Watch()
    zero_ns = time.perf_counter_ns()
    if machine is not None:
        watch.install()
    try:
        loader = loader_of(load, dataset, cell)
        batches = batches_of(load, loader)
        number, took_s, neighbours = timed(batches, cell, order.seconds)
        seen = peak(batches, cell, before) if memory else {}
        case = None
        if machine is not None:
            recorder = next(iter(watch.recorders.values()))
            case = case_of(order, recorder, zero_ns, machine, seen)
    finally:
        watch.undo()
    del batches, loader
    gc.collect()
    return Outcome(
        load=order.load,
        cell=cell,
        seed=order.seed,
        period_s=took_s / number,
        batches=number,
        neighbour_cores=neighbours,
        memory_bytes=seen,
        case=case,
    )


def case_of(
    order: Order, recorder: Any, zero_ns: int, machine: Machine, memory: dict[str, float]
) -> Case | None:
    """What a watched run showed."""
    trace = trimmed(recorder, zero_ns)
    stats = summarise(trace)
    if stats is None:
        return None
    gauges = {
        name: memory[name] for name in ("workers_pss_bytes", "workers_private_bytes") if memory
    }
    workload = Workload(dataset=order.load, style="map", batch_size=LOADS[order.load].batch_size)
    return Case(
        machine=machine,
        workload=workload,
        trace=trace,
        stats=msgspec.structs.replace(stats, gauges=gauges),
        ledger=account(trace),
    )


def trimmed(recorder: Any, zero_ns: int) -> Trace:
    trace: Trace = recorder.trace(zero_ns, time.perf_counter_ns())
    return msgspec.structs.replace(trace, spans=trace.spans[-MOST_SPANS:])


def peak(batches: Iterator[Any], cell: Cell, before: dict[str, float]) -> dict[str, float]:
    """The largest of a few looks at all processes, between batches; and what was there before."""
    looks = []
    for _ in range(3):
        for _, _ in zip(range(2 * max(1, cell.workers)), batches, strict=False):
            pass
        looks.append(memory_of(family()))
    most = max(looks, key=lambda look: look["total_bytes"])
    return {**most, "before_bytes": before["total_bytes"]}


def family() -> list[int]:
    """This process and its descendants."""
    found = [os.getpid()]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(one) for one in task.read_text().split()]
    return found


def memory_of(pids: list[int]) -> dict[str, float]:
    """Proportional set sizes, with shared memory that nobody has mapped, in bytes."""
    parts = {"Pss_Anon": 0.0, "Pss_File": 0.0, "Pss_Shmem": 0.0}
    workers = private = 0.0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        sizes = {line.split(":")[0]: 1024.0 * int(line.split()[1]) for line in lines}
        for name in parts:
            parts[name] += sizes.get(name, 0.0)
        if pid != os.getpid():
            private += sizes["Private_Clean"] + sizes["Private_Dirty"]
            workers += sizes["Pss"]
    meminfo = Path("/proc/meminfo").read_text().splitlines()
    shmem = next(1024.0 * int(line.split()[1]) for line in meminfo if line.startswith("Shmem:"))
    return {
        "total_bytes": parts["Pss_Anon"] + parts["Pss_File"] + shmem,
        "pss_bytes": sum(parts.values()),
        "workers_pss_bytes": workers,
        "workers_private_bytes": private,
        "shared_bytes": shmem,
        "descriptors": float(len(os.listdir("/proc/self/fd"))),
    }


def undisturbed() -> Machine:
    """The better of two looks: neighbours only ever lower what the cores are measured to give."""
    looks = [survey_machine(), survey_machine()]
    return max(looks, key=lambda look: look.parallel_efficiency.value or 0.0)


def probe(order: Order, dataset: Any, cell: Cell, machine: Machine) -> Outcome:
    """One watched run; run again where other processes took part of the cores."""
    tries = []
    while len(tries) < MOST_TRIES:
        tries.append(measure(order, dataset, cell, machine=machine, memory=order.memory))
        if tries[-1].neighbour_cores <= DISTURBED_CORES:
            break
    return min(tries, key=lambda one: one.neighbour_cores)


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dataset = LOADS[order.load].dataset()
    machine = undisturbed()
    cells = list(GRID)
    random.Random(order.seed).shuffle(cells)
    again = [] if order.memory else list(reversed(cells))
    for cell, watched in [
        *((one, True) for one in PROBES),
        *((one, False) for one in cells + again),
    ]:
        try:
            if watched:
                outcome = probe(order, dataset, cell, machine)
            else:
                outcome = measure(order, dataset, cell, machine=None, memory=order.memory)
        except Exception as error:
            print(f"{order.load} {cell}: {error!r}", file=sys.stderr)
            continue
        line = msgspec.json.encode({**msgspec.structs.asdict(outcome), "cell": asdict(cell)})
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
