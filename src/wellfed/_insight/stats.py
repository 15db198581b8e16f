"""From spans to statistics: what a batch costs, stage by stage, in steady state.

A field of a span that was not seen (-1) is left out of its mean, never averaged in; where it was
never seen, the statistic is None. Sums of seen values are divided by sums over the same batches.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest

import numpy as np

from wellfed._insight.estimate import (
    Floats,
    bucket_moments_s,
    bucket_quantiles_s,
    mean_estimate,
    ratio_estimate,
)
from wellfed._insight.ledger import pins
from wellfed._insight.steady import Steady, find_steady
from wellfed.records import Epoch, Estimate, Span, Stage, StageStats, Trace

__all__ = ["is_made_known", "summarise"]

_GENERATORS = ((1, "python"), (2, "numpy"), (4, "torch"))
"""Names of the bits of `Span.drew`."""


def summarise(trace: Trace) -> StageStats | None:
    """What a batch costs in steady state.

    Args:
        trace: what one run of one plan showed.

    Returns:
        The statistics; None if no epoch delivered two batches in a row, so that there is not
        one period to speak of.
    """
    steady = find_steady(trace)
    if not steady.spans:
        return None
    spans = steady.spans
    made = [span for span in spans if is_made_known(span)]
    periods, waits = steady.period_s, steady.wait_s
    fetch_ns = _total(span.fetch_ns for span in made)
    cpu_share, queue_share = _maker_shares(made)
    sample_s, sample_cv, quantiles = _samples(spans)
    allowed = Counter(span.allowed_cpus for span in spans if span.allowed_cpus >= 0)
    cores = {span.cpu_core for span in trace.spans if span.cpu_core >= 0}
    whole = [epoch for epoch in trace.epochs if epoch.complete]
    return StageStats(
        batches=len(spans),
        warmup=steady.warmup,
        window_s=float(periods.sum()),
        period_s=mean_estimate(periods),
        wait_share=ratio_estimate(waits, periods),
        stages=_stages(trace, steady, made),
        samples_per_batch=_mean_seen(spans, lambda span: span.samples),
        tensors_per_batch=_mean_seen(spans, lambda span: span.tensors),
        objects_per_batch=_mean_seen(spans, lambda span: span.objects),
        payload_bytes=_mean_seen(spans, lambda span: span.payload_bytes),
        message_bytes=_mean_seen(spans, lambda span: span.message_bytes or -1),
        sample_s=sample_s,
        sample_cv=sample_cv,
        sample_p50_s=quantiles[0],
        sample_p90_s=quantiles[1],
        sample_p99_s=quantiles[2],
        maker_cpu_share=cpu_share,
        maker_queue_share=queue_share,
        maker_off_share=max(0.0, 1 - cpu_share - queue_share) if fetch_ns else 0.0,
        native_cpu_share=_native_cpu_share(made),
        threads=_mean_seen(spans, lambda span: span.threads),
        step_cpu_cores=_step_cpu_cores(steady),
        step_queue_share=_step_queue_share(steady),
        read_bytes_per_batch=_mean_seen(made, lambda span: span.read_bytes),
        read_chars_per_batch=_mean_seen(made, lambda span: span.read_chars),
        read_calls_per_batch=_mean_seen(made, lambda span: span.read_calls),
        major_faults_per_batch=_mean_seen(made, lambda span: span.major_faults) or 0.0,
        preemptions_per_batch=_mean_seen(made, lambda span: span.preemptions) or 0.0,
        yields_per_batch=_mean_seen(made, lambda span: span.yields) or 0.0,
        ready=_mean_seen(spans, lambda span: span.ready),
        unready_wait_share=_unready_wait_share(spans),
        held_wait_share=_held_wait_share(steady),
        device_stall_share=_device_stall_share(steady),
        drew=_drew(spans),
        allowed_cpus=allowed.most_common(1)[0][0] if allowed else None,
        cores_seen=len(cores) or None,
        cold_batches=steady.cold,
        startup_s=_startup_s(trace.epochs, usual_wait_s=float(waits.mean())),
        shutdown_s=_shutdown_s(trace.epochs),
        epoch_s=_epoch_s(trace.epochs),
        epochs=len(whole),
        watch_s=(_mean_seen(made, lambda span: span.watch_ns) or 0.0) * 1e-9,
        gauges=_gauges(trace, from_ns=spans[0].asked_ns, to_ns=spans[-1].got_ns),
    )


def is_made_known(span: Span) -> bool:
    """Whether the maker's side of the batch was seen: no real fetch takes no time at all."""
    return span.taken_ns >= 0 or span.fetch_ns > 0


def _stages(trace: Trace, steady: Steady, made: Sequence[Span]) -> dict[str, Stage]:
    """The stages that exist under the trace's plan, by name."""
    spans = steady.spans
    stages = [
        _stage("wait", steady.wait_s, cpu_s=_mean_cpu_s(_wait_cpu_ns(span) for span in spans)),
        _stage("step", steady.step_s, cpu_s=_mean_cpu_s(_step_cpu_ns(steady))),
        _stage("sampler", _seconds(span.sampler_ns for span in spans)),
    ]
    if made:
        stages += _maker_stages(made)
    if made and trace.plan.workers:
        stages += _worker_stages(made)
    if trace.plan.workers:
        stages.append(_stage("receive", _seconds(span.receive_ns for span in spans)))
    if pins(trace):
        stages.append(_stage("pin", _seconds(span.pin_ns for span in spans)))
    return {stage.name: stage for stage in stages}


def _maker_stages(made: Sequence[Span]) -> list[Stage]:
    """Fetch, and its two parts: the samples and their collation."""
    fetch_ns = [span.fetch_ns for span in made]
    # A batch that was not watched closely does not tell the two parts apart.
    parted = [span for span in made if span.collate_ns >= 0] or made
    samples_ns = [max(0, span.fetch_ns - max(0, span.collate_ns)) for span in parted]
    cpu_seen = [span for span in parted if span.cpu_ns >= 0]
    samples_cpu_ns = (max(0, span.cpu_ns - max(0, span.collate_cpu_ns)) for span in cpu_seen)
    return [
        _stage("fetch", _seconds(fetch_ns), cpu_s=_mean_cpu_s(span.cpu_ns for span in made)),
        _stage("samples", _seconds(samples_ns), cpu_s=_mean_cpu_s(samples_cpu_ns)),
        _stage(
            "collate",
            _seconds(span.collate_ns for span in made),
            cpu_s=_mean_cpu_s(span.collate_cpu_ns for span in made),
        ),
    ]


def _worker_stages(made: Sequence[Span]) -> list[Stage]:
    """What a worker does with a batch besides making it."""
    return [
        _stage(
            "serialise",
            _seconds(span.serialise_ns for span in made),
            cpu_s=_mean_cpu_s(span.serialise_cpu_ns for span in made),
        ),
        _stage("queued", _seconds(span.queued_ns for span in made)),
        _stage("idle", _seconds(span.idle_ns for span in made)),
    ]


def _stage(name: str, seconds: Floats, cpu_s: float | None = None) -> Stage:
    wall = mean_estimate(seconds)
    if not seconds.size:
        return Stage(name=name, wall_s=wall, cpu_s=cpu_s)
    p50, p90, p99 = (float(q) for q in np.quantile(seconds, (0.5, 0.9, 0.99)))
    cv = float(seconds.std()) / wall.value if wall.value else 0.0
    return Stage(name=name, wall_s=wall, cpu_s=cpu_s, cv=cv, p50_s=p50, p90_s=p90, p99_s=p99)


def _maker_shares(made: Sequence[Span]) -> tuple[float, float]:
    """CPU and run-queue time over fetch time, each over the batches where it was seen.

    A fetch whose CPU time was not seen counts as computing.
    """
    with_cpu = [span for span in made if span.cpu_ns >= 0]
    with_queue = [span for span in made if span.run_queue_ns >= 0]
    cpu = _share(
        _total(span.cpu_ns for span in with_cpu), _total(span.fetch_ns for span in with_cpu)
    )
    queue = _share(
        _total(span.run_queue_ns for span in with_queue),
        _total(span.fetch_ns for span in with_queue),
    )
    if not with_cpu and made:
        return max(0.0, 1.0 - queue), min(1.0, queue)
    return min(1.0, cpu), min(1.0, queue)


def _native_cpu_share(made: Sequence[Span]) -> float:
    seen = [span for span in made if span.native_cpu_ns >= 0 and span.cpu_ns >= 0]
    return _share(_total(s.native_cpu_ns for s in seen), _total(s.cpu_ns for s in seen))


def _samples(
    spans: Sequence[Span],
) -> tuple[float | None, float | None, tuple[float | None, ...]]:
    """Mean seconds, cv and the 50th, 90th and 99th percentile of one sample's time."""
    buckets: Counter[int] = Counter()
    for span in spans:
        buckets.update(span.sample_buckets)
    counted = sum(buckets.values())
    if not counted:
        return None, None, (None, None, None)
    # The sum is exact and the buckets are not: the mean comes from the sum, and the quantiles
    # are scaled by what the buckets miss of it, which takes the bias of their rounding off.
    total_s = _total(span.sample_sum_ns for span in spans if span.sample_buckets) * 1e-9
    rough_s, cv = bucket_moments_s(buckets)
    mean_s = total_s / counted or rough_s
    quantiles = bucket_quantiles_s(buckets, (0.5, 0.9, 0.99))
    return mean_s, cv, tuple(quantile * mean_s / rough_s for quantile in quantiles)


def _wait_cpu_ns(span: Span) -> int:
    seen = span.asked_cpu_ns >= 0 and span.got_cpu_ns >= 0
    return span.got_cpu_ns - span.asked_cpu_ns if seen else -1


def _step_cpu_ns(steady: Steady) -> list[int]:
    """CPU of the trainer's process in the step before each steady batch; -1 where not seen."""
    return [
        span.asked_cpu_ns - before.got_cpu_ns
        if span.asked_cpu_ns >= 0 and before.got_cpu_ns >= 0
        else -1
        for before, span in zip(steady.before, steady.spans, strict=True)
    ]


def _step_cpu_cores(steady: Steady) -> float | None:
    used_ns = np.array(_step_cpu_ns(steady), dtype=np.float64)
    seen = used_ns >= 0
    wall_ns = float(steady.step_s[seen].sum()) * 1e9
    return float(used_ns[seen].sum()) / wall_ns if wall_ns else None


def _step_queue_share(steady: Steady) -> float | None:
    queued_ns = np.array([span.step_queue_ns for span in steady.spans], dtype=np.float64)
    seen = queued_ns >= 0
    wall_ns = float(steady.step_s[seen].sum()) * 1e9
    return min(1.0, float(queued_ns[seen].sum()) / wall_ns) if wall_ns else None


def _unready_wait_share(spans: Sequence[Span]) -> float | None:
    seen = [span for span in spans if span.arrived_ns >= 0]
    waited_ns = sum(span.got_ns - span.asked_ns for span in seen)
    unready_ns = sum(
        min(span.got_ns, max(span.asked_ns, span.arrived_ns)) - span.asked_ns for span in seen
    )
    return unready_ns / waited_ns if waited_ns else None


def _held_wait_share(steady: Steady) -> float:
    held = np.array([span.held > 0 for span in steady.spans])
    return _share(float(steady.wait_s[held].sum()), float(steady.period_s.sum()))


def _device_stall_share(steady: Steady) -> float | None:
    stall_ns = np.array([span.device_stall_ns for span in steady.spans])
    seen = stall_ns >= 0
    if not seen.any():
        return None
    return _share(float(stall_ns[seen].sum()) * 1e-9, float(steady.period_s[seen].sum()))


def _drew(spans: Sequence[Span]) -> tuple[str, ...]:
    bits = 0
    for span in spans:
        bits |= max(0, span.drew)
    return tuple(name for bit, name in _GENERATORS if bits & bit)


def _startup_s(epochs: Sequence[Epoch], usual_wait_s: float) -> Estimate | None:
    """Seconds from `iter()` to the first batch, beyond the wait that any batch has."""
    beyond_s = [
        max(0.0, (epoch.first_ns - epoch.iter_ns) * 1e-9 - usual_wait_s)
        for epoch in epochs
        if epoch.first_ns >= 0
    ]
    return mean_estimate(beyond_s) if beyond_s else None


def _shutdown_s(epochs: Sequence[Epoch]) -> float:
    ended = [epoch.shutdown_ns * 1e-9 for epoch in epochs if epoch.ended_ns >= 0]
    return sum(ended) / len(ended) if ended else 0.0


def _epoch_s(epochs: Sequence[Epoch]) -> float | None:
    """Mean seconds of whole epochs, each from its `iter()` to the next one's.

    What the script does between epochs is in it. An epoch that the script broke off is as long
    as it made it; the last one counts only if it came to its end.
    """
    whole_ns = [
        (later.iter_ns if later else epoch.ended_ns) - epoch.iter_ns
        for epoch, later in zip_longest(epochs, epochs[1:])
        if epoch.complete or later
    ]
    return sum(whole_ns) / len(whole_ns) * 1e-9 if whole_ns else None


def _gauges(trace: Trace, *, from_ns: int, to_ns: int) -> dict[str, float]:
    """Mean of each gauge over its samples in the window; gauges without any are left out."""
    means = {}
    for gauge in trace.gauges:
        inside = [
            value
            for at_ns, value in zip(gauge.at_ns, gauge.values, strict=False)
            if from_ns <= at_ns <= to_ns
        ]
        if inside:
            means[gauge.name] = sum(inside) / len(inside)
    return means


def _mean_seen(spans: Sequence[Span], field: Callable[[Span], int]) -> float | None:
    seen = [value for span in spans if (value := field(span)) >= 0]
    return sum(seen) / len(seen) if seen else None


def _mean_cpu_s(cpu_ns: Iterable[int]) -> float | None:
    seen = [value for value in cpu_ns if value >= 0]
    return sum(seen) / len(seen) * 1e-9 if seen else None


def _seconds(durations_ns: Iterable[int]) -> Floats:
    seen = [duration for duration in durations_ns if duration >= 0]
    return np.array(seen, dtype=np.float64) * 1e-9


def _total(values_ns: Iterable[int]) -> int:
    return sum(value for value in values_ns if value > 0)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
