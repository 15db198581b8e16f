"""Traces as torch's loader would leave them, from the recursion and known costs."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wellfed._insight.ledger import account
from wellfed._insight.protocol import deliver
from wellfed._insight.stats import summarise
from wellfed.records import Case, Epoch, Fact, Gpu, Machine, Plan, Span, Trace, Workload

MS = 1_000_000


def trace_of(
    plan: Plan,
    service_s: ArrayLike,
    step_s: ArrayLike,
    *,
    cpu_share: float = 1.0,
    step_cores: float = 1.0,
    epochs: int = 1,
    startup_s: float = 0.0,
    **fields: Any,
) -> Trace:
    """A trace of `epochs` equal epochs; `fields` are set on every span."""
    service = np.asarray(service_s, dtype=float)
    steps = np.asarray(step_s, dtype=float)
    played = deliver(
        service,
        steps,
        workers=plan.workers,
        prefetch=plan.prefetch or 2,
        receive_s=fields.get("receive_ns", 0) * 1e-9,
    )
    spans, passes, zero_ns = [], [], 0
    for epoch in range(epochs):
        began_ns = zero_ns + round(startup_s * 1e9)
        for number, returned_s in enumerate(played.returned_s):
            got_ns = began_ns + round(returned_s * 1e9)
            asked_ns = got_ns - round(float(played.wait_s[number]) * 1e9)
            cpu_ns = round(got_ns * step_cores)
            spans.append(
                Span(
                    epoch=epoch,
                    number=number,
                    asked_ns=asked_ns,
                    got_ns=got_ns,
                    asked_cpu_ns=round(asked_ns * step_cores),
                    got_cpu_ns=cpu_ns,
                    taken_ns=0,
                    fetch_ns=round(float(service[number]) * 1e9),
                    cpu_ns=round(float(service[number]) * 1e9 * cpu_share),
                    **fields,
                )
            )
        ended_ns = spans[-1].got_ns + round(float(steps[-1]) * 1e9)
        passes.append(
            Epoch(
                index=epoch,
                iter_ns=zero_ns,
                ready_ns=began_ns,
                first_ns=began_ns + round(float(played.returned_s[0]) * 1e9),
                ended_ns=ended_ns,
                started_workers=plan.workers,
                batches=service.size,
                complete=True,
            )
        )
        zero_ns = ended_ns
    return Trace(plan=plan, spans=tuple(spans), epochs=tuple(passes), ended_ns=zero_ns)


def case_of(trace: Trace, *, cores: float = 8.0, efficiency: float = 1.0) -> Case:
    """A case on a machine with that many cores."""
    stats = summarise(trace)
    assert stats is not None
    return Case(
        machine=machine_of(cores, efficiency),
        workload=Workload(dataset="Synthetic", style="map"),
        trace=trace,
        stats=stats,
        ledger=account(trace),
    )


def machine_of(cores: float, efficiency: float) -> Machine:
    unread: dict[str, Any] = {
        name: Fact(how="not looked at")
        for name in Machine.__struct_fields__
        if name not in ("cpus_usable", "parallel_efficiency", "gpus")
    }
    no_gpus: Fact[tuple[Gpu, ...]] = Fact(value=(), how="test")
    return Machine(
        cpus_usable=Fact(value=cores, how="test"),
        parallel_efficiency=Fact(value=efficiency, how="test"),
        gpus=no_gpus,
        **unread,
    )
