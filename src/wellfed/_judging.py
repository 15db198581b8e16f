"""Makes the Report of what was seen: the trace, its workload, and the judgement on both.

Imported late: NumPy comes with it, which a script may want to set up before its own import.
"""

import os
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from wellfed._insight.diagnose import diagnose
from wellfed._insight.enough import enough
from wellfed._insight.ranks import rank_seen
from wellfed._insight.stats import summarise
from wellfed._probes import survey_machine, survey_sources
from wellfed._version import __version__
from wellfed.records import Gauge, Machine, Report, Trace, Workload

if TYPE_CHECKING:
    from wellfed._engine.watch.recorder import Recorder

__all__ = ["is_enough", "judge", "merged", "rank_seen", "report_of", "survey"]


def is_enough(trace: Trace) -> bool:
    """Whether more of the same would not change the judgement."""
    stats = summarise(trace)
    return stats is not None and enough(stats)


def merged(trace: Trace, others: list[Trace]) -> Trace:
    """The trace of one rank with what all ranks of the run saw, which left their traces here."""
    seen = {one.rank: rank_seen(one) for one in others if one.world == trace.world > 1}
    heard = tuple(seen[rank] for rank in sorted(seen))
    ranks = tuple(one for one in heard if one is not None)
    return msgspec.structs.replace(trace, ranks=ranks if len(ranks) > 1 else ())


def survey(recorder: "Recorder", trace: Trace | None = None) -> Workload:
    """The workload with what the file system and short trials say about it.

    The first is of torch's loader without workers: the engine reads tensors in memory by rows
    anyhow, in the trainer's process.
    """
    from wellfed._engine.measure import time_copies, time_inline, time_release

    torchs = recorder.plan.backend == "torch"
    inline, rows = time_inline(recorder.in_memory_job if torchs else None)
    payloads = (
        [span.payload_bytes for span in trace.spans if span.payload_bytes > 0] if trace else []
    )
    plain = pinned = release = None
    if trace is not None and torchs and trace.plan.workers and payloads:
        release = time_release(sum(payloads) / len(payloads))
    if trace is not None and trace.device != "cpu" and payloads:
        plain, pinned = time_copies(sum(payloads) / len(payloads), trace.device)
    return msgspec.structs.replace(
        recorder.workload,
        sources=survey_sources(recorder.paths),
        inline_batch_s=inline,
        batched_fetch_s=rows,
        copy_s=plain,
        copy_pinned_s=pinned,
        release_s=release,
    )


def judge(
    trace: Trace,
    workload: Workload,
    machine: Machine | None = None,
    gauges: tuple[Gauge, ...] = (),
    command: list[str] | None = None,
) -> Report:
    """Everything in one value, with the verdict on it.

    Args:
        trace: what the loader that matters showed.
        workload: what it loads.
        machine: as surveyed before the run; None to survey it now.
        gauges: what the machine did meanwhile.
        command: what would run it again.
    """
    trace = msgspec.structs.replace(trace, gauges=gauges)
    machine = _with_torch(machine) if machine is not None else survey_machine()
    # The same evidence gives the same verdict: the generator is seeded.
    stats, ledger, verdict = diagnose(machine, workload, trace, np.random.default_rng(0))
    return Report(
        wellfed_version=__version__,
        created_unix_s=time.time(),
        command=tuple(command or ()),
        machine=machine,
        workload=workload,
        trace=trace,
        stats=stats,
        ledger=ledger,
        verdict=verdict,
        unread=(*machine.unread(), *_silent(gauges), *trace.failures),
    )


def report_of(recorder: "Recorder") -> Report:
    """The report on what a loader of the engine has kept of itself.

    Args:
        recorder: of a loader that has delivered a batch.
    """
    now_ns = time.perf_counter_ns()
    zero_ns = recorder.first_ns
    trace = recorder.trace(
        zero_ns,
        now_ns,
        began_unix_s=time.time() - (now_ns - zero_ns) / 1e9,
        pid=os.getpid(),
    )
    return judge(trace, survey(recorder))


def _with_torch(machine: Machine) -> Machine:
    """The facts about torch, which is loaded by now, and the better of two looks at the cores.

    Neighbours only ever lower what the cores were measured to give, and half a second is short
    beside their bursts: of two moments a run apart, the better one is nearer to the machine.
    """
    now = survey_machine()
    before, after = machine.parallel_efficiency, now.parallel_efficiency
    return msgspec.structs.replace(
        machine,
        torch_version=now.torch_version,
        threads_intra_op=now.threads_intra_op,
        parallel_efficiency=max(before, after, key=lambda fact: fact.value or 0.0),
    )


def _silent(gauges: tuple[Gauge, ...]) -> tuple[str, ...]:
    return tuple(
        f"{gauge.name}: {gauge.how}"
        for gauge in gauges
        if not gauge.values and not gauge.how.startswith("none:")
    )
