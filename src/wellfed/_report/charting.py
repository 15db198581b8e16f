"""Pictures of what the run amounted to: its stages, other settings, memory."""

from wellfed._report.charts import Curve, Heat, Kind, Level, Part, Point, Stack, Stacked
from wellfed.records import Bound, Estimate, Forecast, Report, Stage, StageStats
from wellfed.records.amounts import change, duration, gain, gain_between, size

__all__ = ["memory", "settings_map", "stages", "workers_curve"]

# What a worker does with a batch beside fetching it, and what the trainer does to take it. That a
# batch lay in a queue is left out: the next one is made meanwhile.
MOVING = {
    "serialise": "packing",
    "receive": "unpacking",
    "pin": "pinning",
}

# Parts below this share of the longest bar cannot be seen and only crowd the legend.
SLIVER = 0.002


def stages(report: Report) -> Stacked | None:
    """Where the time of one batch goes, in who makes it and in the loop."""
    stats = report.stats
    if stats is None:
        return None
    maker = _maker(stats)
    loop = [
        _part("waiting for data", stats.stages.get("wait"), "waiting"),
        _part("your step", stats.stages.get("step"), "yours"),
    ]
    who = "a worker makes a batch" if report.trace.plan.workers else "making a batch"
    stacks = [Stack(label=who, parts=tuple(maker))] if maker else []
    stacks.append(Stack(label="the loop takes a batch", parts=tuple(p for p in loop if p)))
    return Stacked(
        name="stages",
        title="Where the time of one batch goes",
        reading=_reading(report.trace.plan.workers),
        unit="s",
        stacks=tuple(stacks),
    )


def _reading(workers: int) -> str:
    if not workers:
        return "Without workers the loop itself makes each batch, so the upper bar is in the wait."
    return (
        f"{workers} workers make batches side by side: data keep up while the upper bar is "
        f"shorter than {workers} times the step."
        if workers > 1
        else "The worker keeps up while the upper bar is shorter than the step."
    )


def _maker(stats: StageStats) -> list[Part]:
    fetch = stats.stages.get("fetch")
    if fetch is None:
        return []
    seconds = fetch.wall_s.value
    computing = min(1.0, stats.maker_cpu_share)
    queueing = min(1.0 - computing, stats.maker_queue_share)
    shares: list[tuple[str, float, Kind]] = [
        ("computing", computing, "computing"),
        ("ready, without a core", queueing, "queueing"),
        ("blocked: storage, network, locks", 1.0 - computing - queueing, "blocked"),
    ]
    parts = [
        Part(
            label=label,
            amount=share * seconds,
            kind=kind,
            text=f"{duration(share * seconds)} {label}",
        )
        for label, share, kind in shares
        if share * seconds > SLIVER * seconds
    ]
    moving = [_part(label, stats.stages.get(name), "moving") for name, label in MOVING.items()]
    longest = seconds + sum(part.amount for part in moving if part)
    return parts + [part for part in moving if part and part.amount > SLIVER * longest]


def _part(label: str, stage: Stage | None, kind: Kind) -> Part | None:
    if stage is None:
        return None
    seconds = stage.wall_s.value
    return Part(label=label, amount=seconds, kind=kind, text=f"{duration(seconds)} {label}")


def workers_curve(report: Report) -> Curve | None:
    """Speed against the number of workers: the model, the run, and what bounds them."""
    now = _rate(report)
    if now is None:
        return None
    plan = report.trace.plan
    others = [
        one
        for one in report.verdict.forecasts
        if one.plan.in_order == plan.in_order
        and (one.plan.workers == 0 or one.plan.persistent == plan.persistent)
        and one.plan.prefetch in (None, plan.prefetch or 2)
        and one.plan.workers != plan.workers
    ]
    if not others:
        return None
    unit = "samples/s" if report.stats and report.stats.samples_per_batch else "batches/s"
    here = Point(
        at=plan.workers,
        value=now.value,
        low=now.low,
        high=now.high,
        text=f"num_workers={plan.workers}: {now.value:,.0f} {unit} measured",
    )
    points = [_forecast_point(one, now, unit) for one in others]
    return Curve(
        name="workers",
        title="Speed against num_workers",
        reading=(
            "The line is the model's forecast, the band its 90 % interval, the dot what ran. "
            "Dashed lines are what a single resource allows: where the forecast runs into one, "
            "more workers gain nothing."
        ),
        across="num_workers",
        unit=unit,
        points=tuple(sorted([*points, here], key=lambda one: one.at)),
        measured=(here,),
        levels=tuple(_level(one, _samples(report), unit) for one in report.verdict.bounds),
    )


def _samples(report: Report) -> float:
    return (report.stats and report.stats.samples_per_batch) or 1.0


def _rate(report: Report) -> Estimate | None:
    """Samples a second of the run, batches where samples are not known."""
    stats = report.stats
    if stats is None or stats.period_s.value <= 0:
        return None
    per, period = _samples(report), stats.period_s
    low, high = per / period.high, per / max(period.low, 1e-12)
    return Estimate(value=per / period.value, low=low, high=high, n=period.n)


def _forecast_point(one: Forecast, now: Estimate, unit: str) -> Point:
    value = one.gain.value * now.value
    return Point(
        at=one.plan.workers,
        value=value,
        low=one.gain.low * now.value,
        high=one.gain.high * now.value,
        text=(
            f"num_workers={one.plan.workers}: {value:,.0f} {unit} predicted, "
            f"{gain(one.gain.value)} ({gain_between(one.gain)})"
        ),
    )


BOUNDS = {"step": "your step", "cpu": "the cores", "storage": "storage"}


def _level(bound: Bound, per: float, unit: str) -> Level:
    value = bound.batches_per_s.value * per
    label = BOUNDS.get(bound.name, bound.name)
    return Level(
        label=label, value=value, text=f"{label}: at most {value:,.0f} {unit}, {bound.sentence}"
    )


def settings_map(report: Report) -> Heat | None:
    """The forecast for each pair of num_workers and prefetch_factor, and its memory."""
    plan, now = report.trace.plan, _rate(report)
    cells = {
        (one.plan.workers, one.plan.prefetch or 0): one
        for one in report.verdict.forecasts
        if one.plan.workers
        and one.plan.in_order == plan.in_order
        and one.plan.persistent == plan.persistent
    }
    columns = sorted({workers for workers, _ in cells} | ({plan.workers} - {0}))
    rows = sorted({prefetch for _, prefetch in cells})
    if now is None or len(rows) < 2 or len(columns) < 2:
        return None
    here = (plan.workers, plan.prefetch or 0)

    def gain_at(cell: tuple[int, int]) -> float | None:
        return 1.0 if cell == here else cells[cell].gain.value if cell in cells else None

    def bytes_at(cell: tuple[int, int]) -> float | None:
        return 0.0 if cell == here else cells[cell].memory_bytes if cell in cells else None

    def text_at(cell: tuple[int, int]) -> str:
        ratio, more = gain_at(cell), bytes_at(cell)
        settings = f"num_workers={cell[0]}, prefetch_factor={cell[1]}"
        if ratio is None:
            return f"{settings}: no forecast"
        memory = f", memory {'+' if more and more > 0 else ''}{size(more)}" if more else ""
        what = "what ran" if cell == here else f"{change(ratio)} predicted"
        return f"{settings}: {what}{memory}"

    grid = [[(workers, prefetch) for workers in columns] for prefetch in rows]
    return Heat(
        name="settings",
        title="num_workers × prefetch_factor",
        reading=(
            "Colour: speed against the run that was watched, as predicted. Contours: memory "
            "beyond it. Rows of one colour mean that prefetch_factor changes nothing."
        ),
        across="num_workers",
        up="prefetch_factor",
        columns=tuple(columns),
        rows=tuple(rows),
        values=tuple(tuple(gain_at(cell) for cell in row) for row in grid),
        texts=tuple(tuple(text_at(cell) for cell in row) for row in grid),
        unit="× the run",
        contours=tuple(tuple(bytes_at(cell) for cell in row) for row in grid),
        contour_unit="B",
        here=here if plan.workers else None,
    )


def memory(report: Report) -> Stacked | None:
    """Memory by part beside the limit that would end the run."""
    peaks = {gauge.name: max(gauge.values) for gauge in report.trace.gauges if gauge.values}
    workers = "workers_pss_bytes" if "workers_pss_bytes" in peaks else "workers_rss_bytes"
    named = {
        "trainer_rss_bytes": "the trainer",
        workers: "the workers" + (" (shared pages divided)" if "pss" in workers else ""),
        "shm_used_bytes": "/dev/shm, everybody's",
    }
    parts = tuple(
        Part(label=label, amount=peaks[name], kind="memory", text=f"{label}: {size(peaks[name])}")
        for name, label in named.items()
        if peaks.get(name)
    )
    if not parts:
        return None
    return Stacked(
        name="memory",
        title="Memory at its peak",
        reading="What the run held at most, part by part, against what it may use.",
        unit="B",
        stacks=(Stack(label="in use", parts=parts),),
        levels=_memory_limits(report),
    )


def _memory_limits(report: Report) -> tuple[Level, ...]:
    limit = report.machine.memory_limit_bytes.value
    total = report.machine.memory_total_bytes.value
    label, value = ("control group's limit", limit) if limit else ("the machine's memory", total)
    return (Level(label=label, value=value, text=f"{label}: {size(value)}"),) if value else ()
