"""The pipeline as fitted to one run: what a batch needs, with contention taken off.

    wall of a fetch = off-CPU (storage, network, sleeps) + CPU / speed * shortage

Off-CPU time is the same however many workers there are: they wait side by side. CPU time is
not: it is divided by the speed of busy cores and stretched where cores are short. What run under
which load was measured is known, so both can be taken off and put back for another plan.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wellfed._insight.cores import Cores, cores_of
from wellfed._insight.estimate import Floats
from wellfed._insight.protocol import Delivery, deliver
from wellfed._insight.stats import is_made_known
from wellfed._insight.steady import find_steady, step_ns
from wellfed._insight.supply import neighbour_cores
from wellfed.records import Case, Plan, Span

__all__ = ["ENGINES", "Demand", "Transport", "demand_of", "play", "prefetch_of", "transport_of"]

# torch's default where workers are set and prefetch_factor is not.
DEFAULT_PREFETCH = 2

# Rounds of the search for the shortage at which demand meets the cores. Where CPU time bounds the
# pipeline its period is nearly proportional to the shortage, so that the first round or two hit.
_ROUNDS = 5

# A stretch of CPU time known to 1 % is known better than anything else here.
_CLOSE_ENOUGH = 0.01


class Transport(NamedTuple):
    """What a batch costs on its way from a worker to the trainer, beyond making it in place.

    The worker collates into fresh shared memory, whose pages must be made, and pickles; the
    trainer fetches a descriptor for each tensor from the worker, maps it, and touches new pages.
    Defaults for torch's own queues; where workers ran, what was measured is used instead.
    """

    # benchmarks/transport.py, 2 cores of an AMD EPYC, torch 2.13, file_descriptor sharing.
    worker_fixed_s: float = 170e-6
    worker_per_tensor_s: float = 100e-6
    worker_per_byte_s: float = 0.7e-9
    trainer_fixed_s: float = 240e-6
    trainer_per_tensor_s: float = 500e-6
    trainer_per_byte_s: float = 0.2e-9
    # A copy by one thread at 10 GB/s, which memory of servers of the last ten years reaches.
    pin_per_byte_s: float = 0.1e-9

    def sending_s(self, tensors: float, payload_bytes: float) -> float:
        """CPU seconds of the worker for one batch."""
        return (
            self.worker_fixed_s
            + self.worker_per_tensor_s * tensors
            + self.worker_per_byte_s * payload_bytes
        )

    def receiving_s(self, tensors: float, payload_bytes: float) -> float:
        """Seconds of the trainer's process for one batch."""
        return (
            self.trainer_fixed_s
            + self.trainer_per_tensor_s * tensors
            + self.trainer_per_byte_s * payload_bytes
        )


# Of our own engine: slabs that are there already, one message a batch and no descriptors. Fixed and
# per byte are what a hop takes (benchmarks/RESULTS.md, remarks on hop_1mb: 35 µs on either side, 20
# to 25 µs for a copy of 1 MB). Per tensor is an estimate, to be fitted anew by
# `benchmarks/transport.py --loader wellfed`: calls of the pickler, and views at the other end.
ENGINES = Transport(
    worker_fixed_s=35e-6,
    worker_per_tensor_s=5e-6,
    worker_per_byte_s=0.025e-9,
    trainer_fixed_s=35e-6,
    trainer_per_tensor_s=5e-6,
    trainer_per_byte_s=0.0,
)


def transport_of(plan: Plan) -> Transport:
    """The costs of the way from a worker to the trainer, by who makes the batches."""
    return Transport() if plan.backend == "torch" else ENGINES


class Demand(NamedTuple):
    """What each steady batch needs, on a lone core and without any queueing for cores."""

    fetch_off_s: Floats
    """Seconds of the fetch that need no CPU."""
    fetch_cpu_s: Floats
    """CPU seconds of the fetching thread."""
    native_cpu_s: float
    """CPU seconds per batch of the maker's other threads, which run beside it."""
    sending_s: float
    """CPU seconds of a worker to hand the batch over."""
    receiving_s: float
    """Seconds of the trainer's process to take it."""
    pinning_s: float
    """Seconds to pin it, if the plan pins."""
    pins: bool
    """Whether `pin_memory=True` does anything here: torch ignores it without an accelerator."""
    step_off_s: Floats
    """Seconds of the trainer's step that need no CPU (a GPU works, or nothing does)."""
    step_cpu_s: Floats
    """Seconds of the step that advance only with CPU, the sampler's included."""
    step_cores: float
    """Cores that the step's CPU part keeps busy while it runs, 1 or more."""
    cores: Cores

    def work_s(self, plan: Plan) -> float:
        """Lone CPU seconds that one batch takes of all processes together."""
        loader_s = float(self.fetch_cpu_s.mean()) + self.native_cpu_s
        if plan.workers:
            loader_s += self.sending_s + self.receiving_s
        return loader_s + float(self.step_cpu_s.mean()) * self.step_cores


def demand_of(case: Case, transport: Transport) -> Demand | None:
    """Fits the pipeline to the run of a case; None if no fetch was seen.

    Shortage during the run is read from the workers' run-queue time. Where the system does not
    tell that, it stays within the off-CPU part, and adding workers looks too good by it; the
    conservation of work still limits the prediction.
    """
    steady = find_steady(case.trace)
    pairs = [
        pair for pair in zip(steady.before, steady.spans, strict=True) if is_made_known(pair[1])
    ]
    if not pairs:
        return None
    spans = [span for _, span in pairs]
    cores = cores_of(case.machine, neighbour_cores(case), case.trace.local_world)
    wall = np.array([span.fetch_ns for span in spans]) * 1e-9
    # A fetch whose CPU time was not seen counts as computing: that promises least of workers.
    cpu_ns = [span.cpu_ns if span.cpu_ns >= 0 else span.fetch_ns for span in spans]
    cpu = np.minimum(wall, np.array(cpu_ns) * 1e-9)
    # It is read for some of the batches only where they are quick: the others had their share.
    queue_ns = (
        span.run_queue_ns
        if span.run_queue_ns >= 0
        else span.fetch_ns * case.stats.maker_queue_share
        for span in spans
    )
    queued = np.fromiter(queue_ns, dtype=np.float64) * 1e-9
    shortage = 1 + float(queued.sum()) / float(cpu.sum()) if cpu.sum() else 1.0
    step = np.array([step_ns(a, b) + b.sampler_ns for a, b in pairs]) * 1e-9
    step_load = case.stats.step_cpu_cores if case.stats.step_cpu_cores is not None else 1.0
    native = float(cpu.mean()) * case.stats.native_cpu_share
    busy = (float(cpu.mean()) + native + float(step.mean()) * step_load) / case.stats.period_s.value
    speed = cores.speed(busy)
    return Demand(
        fetch_off_s=np.maximum(0.0, wall - cpu - queued),
        fetch_cpu_s=cpu * speed,
        native_cpu_s=native * speed,
        step_off_s=step * (1 - min(1.0, step_load)),
        step_cpu_s=step * min(1.0, step_load) * speed / shortage,
        # A step that was short of cores used fewer than it wanted.
        step_cores=max(1.0, step_load * shortage) if step_load > 1 else 1.0,
        pins="pin" in case.stats.stages or case.trace.device != "cpu",
        cores=cores,
        **_way_out(case, spans, transport),
    )


def prefetch_of(plan: Plan) -> int:
    """Batches in the making per worker, with torch's default where none is set."""
    return plan.prefetch or DEFAULT_PREFETCH


def play(demand: Demand, plan: Plan, places: NDArray[np.int64]) -> Delivery:
    """Delivers batches under a plan, drawn from the measured ones by their places.

    The shortage of cores is found by search: it is the stretch of CPU time at which the pipeline
    asks for no more than there is. At 1 nothing is short.
    """
    shortage = speed = 1.0
    delivery, busy = _deliver_at(demand, plan, places, shortage, speed)
    for _ in range(_ROUNDS):
        stretch = shortage / speed
        speed = demand.cores.speed(busy)
        shortage = max(1.0, shortage * busy / demand.cores.usable)
        if abs(shortage / speed / stretch - 1) < _CLOSE_ENOUGH:
            break
        delivery, busy = _deliver_at(demand, plan, places, shortage, speed)
    return delivery


def _deliver_at(
    demand: Demand,
    plan: Plan,
    places: NDArray[np.int64],
    shortage: float,
    speed: float,
) -> tuple[Delivery, float]:
    """The delivery when CPU time is stretched by that much, and the cores it keeps busy."""
    stretch = shortage / speed
    pins = plan.pin_memory and demand.pins
    cpu_s = demand.fetch_cpu_s[places] + (demand.sending_s if plan.workers else 0.0)
    receive_s = demand.receiving_s * stretch if plan.workers else 0.0
    delivery = deliver(
        demand.fetch_off_s[places] + cpu_s * stretch,
        demand.step_off_s[places] + demand.step_cpu_s[places] * stretch,
        workers=plan.workers,
        prefetch=prefetch_of(plan),
        receive_s=receive_s + (demand.pinning_s if pins else 0.0),
        pin=pins,
        in_order=plan.in_order,
    )
    return delivery, demand.work_s(plan) / speed / float(delivery.period_s.mean())


def _way_out(case: Case, spans: list[Span], transport: Transport) -> dict[str, float]:
    """Sending, receiving and pinning: measured where they happened, else by default costs."""
    stages = case.stats.stages
    tensors = case.stats.tensors_per_batch if case.stats.tensors_per_batch is not None else 1.0
    payload_bytes = case.stats.payload_bytes or 0.0
    if case.plan.workers:
        sending_s = sum(max(0, span.serialise_ns) for span in spans) / len(spans) * 1e-9
        # Rebuilding a tensor asks its worker for a descriptor, and the answer waits for the GIL
        # that the worker's fetch holds: with a fetch in pure Python, tens of ms. That wait passes
        # while the worker works, so only what the trainer computed is a cost of its own.
        receiving_s = min(stages["receive"].wall_s.value, stages["wait"].cpu_s or math.inf)
    else:
        sending_s = transport.sending_s(tensors, payload_bytes)
        receiving_s = transport.receiving_s(tensors, payload_bytes)
    if "pin" in stages:
        pinning_s = stages["pin"].wall_s.value
    else:
        pinning_s = payload_bytes * transport.pin_per_byte_s
    return {"sending_s": sending_s, "receiving_s": receiving_s, "pinning_s": pinning_s}
