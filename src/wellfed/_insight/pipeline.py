"""The pipeline as fitted to one run: what a batch needs, with contention taken off.

    wall of a fetch = off-CPU (storage, network, sleeps) + CPU / speed * shortage

Off-CPU time is the same however many workers there are: they wait side by side. CPU time is
not: it is divided by the speed of busy cores and stretched where cores are short. What run under
which load was measured is known, so both can be taken off and put back for another plan.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wellfed._insight.cores import Cores, cores_of
from wellfed._insight.estimate import Floats
from wellfed._insight.protocol import Delivery, deliver, deliver_shared
from wellfed._insight.stats import is_made_known
from wellfed._insight.steady import find_steady, step_ns
from wellfed._insight.supply import neighbour_cores, release_s
from wellfed._insight.transports import OURS, TORCH, Transport
from wellfed.records import Case, Plan, Span

__all__ = ["Demand", "Way", "demand_of", "play", "prefetch_of"]

# torch's default where workers are set and prefetch_factor is not.
DEFAULT_PREFETCH = 2

# Rounds of the search for the shortage at which demand meets the cores. Where CPU time bounds the
# pipeline its period is nearly proportional to the shortage, so that the first round or two hit.
_ROUNDS = 5

# A stretch of CPU time known to 1 % is known better than anything else here.
_CLOSE_ENOUGH = 0.01


class Way(NamedTuple):
    """What one batch costs between a worker and the trainer."""

    sending_s: float
    """CPU seconds of the worker beyond making the batch in place."""
    receiving_s: float
    """Seconds of the trainer's process to take it."""


class Demand(NamedTuple):
    """What each steady batch needs, on a lone core and without any queueing for cores."""

    fetch_off_s: Floats
    """Seconds of the fetch that need no CPU."""
    fetch_cpu_s: Floats
    """CPU seconds of the fetching thread."""
    native_cpu_s: float
    """CPU seconds per batch of the maker's other threads, which run beside it."""
    torchs: Way
    """With torch's workers."""
    ours: Way
    """With our own."""
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

    def way(self, plan: Plan) -> Way:
        """The way out under a plan; none where the trainer makes its batches itself."""
        if not plan.workers:
            return Way(0.0, 0.0)
        return self.ours if plan.backend == "processes" else self.torchs

    def work_s(self, plan: Plan) -> float:
        """Lone CPU seconds that one batch takes of all processes together."""
        loader_s = float(self.fetch_cpu_s.mean()) + self.native_cpu_s + sum(self.way(plan))
        return loader_s + float(self.step_cpu_s.mean()) * self.step_cores


def demand_of(case: Case, transport: Transport = TORCH) -> Demand | None:
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
    # Letting go of a batch that came from torch's workers: within the step, and no part of it.
    step = np.maximum(0.0, step - release_s(case))
    step_load = case.stats.step_cpu_cores if case.stats.step_cpu_cores is not None else 1.0
    native = float(cpu.mean()) * case.stats.native_cpu_share
    busy = (float(cpu.mean()) + native + float(step.mean()) * step_load) / case.stats.period_s.value
    speed = cores.speed(busy)
    touching_s, torchs, ours = _ways(case, spans, transport)
    touching_s = min(touching_s, 0.5 * float(cpu.mean()))
    return Demand(
        fetch_off_s=np.maximum(0.0, wall - cpu - queued),
        fetch_cpu_s=np.maximum(0.0, cpu - touching_s) * speed,
        native_cpu_s=native * speed,
        **_step(step, step_load, shortage, speed),
        pins="pin" in case.stats.stages or case.trace.device != "cpu",
        torchs=torchs,
        ours=ours,
        pinning_s=_pinning_s(case, transport),
        cores=cores,
    )


def _step(step_s: Floats, load: float, shortage: float, speed: float) -> dict[str, Any]:
    """The step's parts, from how many cores the trainer's process kept busy in it.

    One thread that is short of cores shows less CPU than it would use; what it queued for is in
    the rest of its wall time and no cost of its own. Several threads show fewer cores than they
    wanted.
    """
    if load > 1:
        return {
            "step_off_s": np.zeros_like(step_s),
            "step_cpu_s": step_s * speed / shortage,
            "step_cores": load * shortage,
        }
    return {
        "step_off_s": step_s * max(0.0, 1 - load * shortage),
        "step_cpu_s": step_s * load * speed,
        "step_cores": 1.0,
    }


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
    way = demand.way(plan)
    computing_s = (demand.fetch_cpu_s[places] + way.sending_s) * stretch
    service_s = demand.fetch_off_s[places] + computing_s
    if plan.threads:
        # A worker's threads wait side by side, and compute in turn: it has one interpreter.
        service_s = np.maximum(computing_s, service_s / plan.threads)
    step_s = demand.step_off_s[places] + demand.step_cpu_s[places] * stretch
    receive_s = way.receiving_s * stretch
    if plan.backend == "processes" and plan.workers:
        delivery = deliver_shared(
            service_s,
            step_s,
            workers=plan.workers,
            window=plan.workers * prefetch_of(plan),
            receive_s=receive_s,
            in_order=plan.in_order,
        )
    else:
        pins = plan.pin_memory and demand.pins
        delivery = deliver(
            service_s,
            step_s,
            workers=plan.workers,
            prefetch=prefetch_of(plan),
            receive_s=receive_s + (demand.pinning_s if pins else 0.0),
            pin=pins,
            in_order=plan.in_order,
        )
    return delivery, demand.work_s(plan) / speed / float(delivery.period_s.mean())


def _ways(case: Case, spans: list[Span], torchs: Transport) -> tuple[float, Way, Way]:
    """CPU seconds of first touch within a fetch, and both ways out.

    Torch's is measured where its workers ran, else by default costs. A worker's first touch of
    fresh shared memory lies in its fetch, and none of it is left where a batch is made in place.
    """
    stages = case.stats.stages
    tensors = case.stats.tensors_per_batch if case.stats.tensors_per_batch is not None else 1.0
    payload_bytes = case.stats.payload_bytes or 0.0
    ours = Way(OURS.sending_s(tensors, payload_bytes), OURS.receiving_s(tensors, payload_bytes))
    if not case.plan.workers or case.plan.backend != "torch":
        sending_s = torchs.sending_s(tensors, payload_bytes)
        return 0.0, Way(sending_s, torchs.receiving_s(tensors, payload_bytes)), ours
    touching_s = torchs.worker_per_byte_s * payload_bytes
    sending_s = sum(max(0, span.serialise_ns) for span in spans) / len(spans) * 1e-9
    # Rebuilding a tensor asks its worker for a descriptor, and the answer waits for the GIL
    # that the worker's fetch holds: with a fetch in pure Python, tens of ms. That wait passes
    # while the worker works, so only what the trainer computed is a cost of its own.
    receiving_s = min(stages["receive"].wall_s.value, stages["wait"].cpu_s or math.inf)
    return touching_s, Way(sending_s + touching_s, receiving_s + release_s(case)), ours


def _pinning_s(case: Case, transport: Transport) -> float:
    if "pin" in case.stats.stages:
        return case.stats.stages["pin"].wall_s.value
    return (case.stats.payload_bytes or 0.0) * transport.pin_per_byte_s
