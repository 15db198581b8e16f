"""Makes the Report of what was seen: the trace, its workload, and the judgement on both.

Imported late: NumPy comes with it, which a script may want to set up before its own import.
"""

import os
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from wellfed._attach import ranks
from wellfed._insight.diagnose import diagnose
from wellfed._insight.enough import enough
from wellfed._insight.ranks import rank_seen
from wellfed._insight.stats import summarise
from wellfed._probes import survey_machine, survey_sources
from wellfed._version import __version__
from wellfed.records import Gauge, Machine, Report, Trace, Workload

if TYPE_CHECKING:
    from wellfed._engine.watch.recorder import Recorder

__all__ = ["is_enough", "judge", "merged", "rank_seen", "survey", "with_ranks"]


def is_enough(trace: Trace) -> bool:
    """Whether more of the same would not change the judgement."""
    stats = summarise(trace)
    return stats is not None and enough(stats)


def with_ranks(trace: Trace, rank: int, world: int) -> Trace:
    """The trace with its place among the ranks of the run."""
    local_world = ranks.local_world(os.environ, world)
    return msgspec.structs.replace(trace, rank=rank, world=world, local_world=local_world)


def merged(trace: Trace, others: list[Trace]) -> Trace:
    """The trace of one rank with what all ranks of the run saw, which left their traces here."""
    seen = {one.rank: rank_seen(one) for one in others if one.world == trace.world > 1}
    heard = tuple(seen[rank] for rank in sorted(seen))
    ranks = tuple(one for one in heard if one is not None)
    return msgspec.structs.replace(trace, ranks=ranks if len(ranks) > 1 else ())


def survey(recorder: "Recorder", trace: Trace) -> Workload:
    """The workload with what the file system and short trials say about it."""
    from wellfed._engine.measure import time_copies, time_inline

    inline, rows = time_inline(recorder.in_memory_job)
    payloads = [span.payload_bytes for span in trace.spans if span.payload_bytes > 0]
    plain = pinned = None
    if trace.device != "cpu" and payloads:
        plain, pinned = time_copies(sum(payloads) / len(payloads), trace.device)
    return msgspec.structs.replace(
        recorder.workload,
        sources=survey_sources(recorder.paths),
        inline_batch_s=inline,
        batched_fetch_s=rows,
        copy_s=plain,
        copy_pinned_s=pinned,
    )


def judge(
    trace: Trace,
    workload: Workload,
    machine: Machine | None,
    gauges: tuple[Gauge, ...],
    command: list[str] | None,
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
    machine = _with_torch(machine or survey_machine())
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
