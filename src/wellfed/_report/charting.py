"""Pictures of what the run amounted to: its stages, other settings, memory."""

from wellfed._report.charts import Curve, Heat, Kind, Level, Part, Point, Stack, Stacked
from wellfed._report.proving import COSTS
from wellfed._report.sayings import about_map, about_memory, about_supply, about_workers
from wellfed.records import Bound, Estimate, Forecast, Measured, Report, Stage, StageStats
from wellfed.records.amounts import change, duration, gain, gain_between, size

__all__ = ["costs", "memory", "settings_map", "stages", "workers_curve"]

# What is done with a batch after it was fetched, by other threads: the next one is fetched
# meanwhile. That it lay in a queue is left out.
MOVING: tuple[tuple[str, str, Kind], ...] = (
    ("serialise", "packing", "moving"),
    ("receive", "unpacking", "unpacking"),
    ("pin", "pinning", "pinning"),
)

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
    stacks = [
        Stack(label=who, parts=tuple(maker)),
        Stack(label="handing it over", parts=tuple(_handing_over(stats))),
        Stack(label="the loop takes a batch", parts=tuple(p for p in loop if p)),
    ]
    return Stacked(
        name="stages",
        title="Where the time of one batch goes",
        saying=about_supply(report),
        reading=_reading(report.trace.plan.workers),
        unit="s",
        stacks=tuple(stack for stack in stacks if stack.parts),
    )


def _reading(workers: int) -> str:
    if not workers:
        return "Without workers the loop itself makes each batch, so the upper bar is in the wait."
    keeps = (
        f"{workers} workers make batches side by side: data keep up while the upper bar is "
        f"shorter than {workers} times the step."
        if workers > 1
        else "The worker keeps up while the upper bar is shorter than the step."
    )
    return f"{keeps} Batches are handed over while the next ones are made."


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
    return [
        Part(
            label=label,
            amount=share * seconds,
            kind=kind,
            text=f"{duration(share * seconds)} {label}",
        )
        for label, share, kind in shares
        if share * seconds > SLIVER * seconds
    ]


def _handing_over(stats: StageStats) -> list[Part]:
    parts = [_part(label, stats.stages.get(name), kind) for name, label, kind in MOVING]
    longest = stats.period_s.value
    return [part for part in parts if part and part.amount > SLIVER * longest]


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
    points = sorted(
        [here, *(_forecast_point(one, now, unit) for one in others)], key=lambda one: one.at
    )
    levels = [_level(one, _samples(report), unit) for one in report.verdict.bounds]
    told = "" if report.verdict.abstains else about_workers(points, levels, plan.workers, unit)
    best = report.tuning.answer("torch") if report.tuning is not None else None
    if best is not None:
        told = f"The best of torch's settings is {best.change}: {gain(best.gain.value)} measured."
    return Curve(
        name="workers",
        title="Speed against num_workers",
        saying=told,
        reading=(
            "The line is the model's forecast, the band its 90 % interval, diamonds what was "
            "measured. Dashed lines are what a single resource allows: where the forecast runs "
            "into one, more workers gain nothing."
        ),
        across="num_workers",
        unit=unit,
        points=tuple(points),
        measured=(here, *_tried(report, unit)),
        levels=tuple(levels),
    )


def _tried(report: Report, unit: str) -> list[Point]:
    """Other settings of torch's loader that tuning measured."""
    per = _samples(report)
    return [
        Point(
            at=one.plan.workers,
            value=per / one.outcome.seconds.value,
            low=per / one.outcome.seconds.high,
            high=per / max(1e-12, one.outcome.seconds.low),
            text=f"{one.name}: {per / one.outcome.seconds.value:,.0f} {unit} measured",
        )
        for one in (report.tuning.trials if report.tuning is not None else ())
        if isinstance(one.outcome, Measured) and one.plan is not None
        if one.plan.backend == "torch" and one.plan != report.trace.plan
    ]


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
    values = tuple(tuple(gain_at(cell) for cell in row) for row in grid)
    told = ""
    if plan.workers and not report.verdict.abstains:
        told = about_map([gain_at((plan.workers, prefetch)) for prefetch in rows], plan.workers)
    return Heat(
        name="settings",
        title="num_workers × prefetch_factor",
        saying=told,
        reading=(
            "Colour: speed against the run that was watched, as predicted. Contours: memory "
            "beyond it, in bytes. A column of one colour: prefetch_factor changes nothing there."
        ),
        across="num_workers",
        up="prefetch_factor",
        columns=tuple(columns),
        rows=tuple(rows),
        values=values,
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
    named: dict[str, tuple[str, Kind]] = {
        "trainer_rss_bytes": ("the trainer", "yours"),
        workers: (
            "the workers" + (" (shared pages divided)" if "pss" in workers else ""),
            "memory",
        ),
        "shm_used_bytes": ("/dev/shm, everybody's", "queueing"),
    }
    parts = tuple(
        Part(label=label, amount=peaks[name], kind=kind, text=f"{label}: {size(peaks[name])}")
        for name, (label, kind) in named.items()
        if peaks.get(name)
    )
    if not parts:
        return None
    levels = _memory_limits(report)
    held = sum(part.amount for part in parts)
    return Stacked(
        name="memory",
        title="Memory at its peak",
        saying=about_memory(held, levels[0].value if levels else None),
        reading="What the run held at most, part by part, against what it may use.",
        unit="B",
        stacks=(Stack(label="in use", parts=parts),),
        levels=levels,
    )


def _memory_limits(report: Report) -> tuple[Level, ...]:
    limit = report.machine.memory_limit_bytes.value
    total = report.machine.memory_total_bytes.value
    label, value = ("control group's limit", limit) if limit else ("the machine's memory", total)
    return (Level(label=label, value=value, text=f"{label}: {size(value)}"),) if value else ()


COST_KINDS: dict[str, Kind] = {
    "storage": "blocked",
    "compute": "computing",
    "waiting": "queueing",
    "hand_over": "moving",
    "collate": "unpacking",
    "floor": "pinning",
    "step": "yours",
}


def costs(report: Report) -> Stacked | None:
    """What a step is made of, as the experiments took it apart."""
    proof = report.proof
    if proof is None or proof.period_s is None or not proof.costs:
        return None
    parts = [(one, max(0.0, one.seconds.value)) for one in proof.costs]
    most, most_s = max(parts, key=lambda one: one[1])
    return Stacked(
        name="costs",
        title="A step, taken apart by experiments",
        saying=f"Most of it is {_cost_words(most.name)}: {duration(most_s)} of a step.",
        reading=(
            "Each part is what the step got faster by when that cost was taken away, on a copy "
            "of the loader. This is measured, not predicted."
        ),
        unit="s",
        stacks=(
            Stack(
                label="a step",
                parts=tuple(
                    Part(
                        label=_cost_words(one.name),
                        amount=seconds,
                        kind=COST_KINDS.get(one.name.partition("+")[0], "idle"),
                        text=f"{_cost_words(one.name)}: {duration(seconds)}",
                    )
                    for one, seconds in parts
                    if seconds > SLIVER * proof.period_s.value
                ),
            ),
        ),
    )


def _cost_words(name: str) -> str:
    return " and ".join(COSTS.get(part, part) for part in name.split("+"))
