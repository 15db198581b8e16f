"""What the machine did during a trial, and what each of its resources says. Pure."""

from collections.abc import Mapping, Sequence

from wellfed.records import Gauge
from wellfed.records.amounts import share, size

__all__ = ["during", "mean_of", "says"]

LATE_NS = 1_200_000_000
"""Gauges read once a second: the first sample so long after a stretch still speaks of it."""

FULL, NEARLY = 0.94, 0.8
"""Busy shares of all usable cores, or of a device, from which one calls it full, or nearly."""

CROWDED = 1.5
"""Tasks for each usable core from which they stand in each other's way."""

IDLE_BYTES_PER_S = 200e3
"""Reading less than this is what any system does by itself."""

SWAPPING_BYTES_PER_S = 100e3
PRESSED = 0.05
NEIGHBOUR_CORES = 0.3


def during(gauges: Sequence[Gauge], began_ns: int, ended_ns: int) -> dict[str, float]:
    """Means of the gauges over a stretch; those without a sample of it are left out."""
    found: dict[str, float] = {}
    for gauge in gauges:
        values = [
            value
            for at_ns, value in zip(gauge.at_ns, gauge.values, strict=True)
            if began_ns < at_ns <= ended_ns
        ]
        if not values:
            values = [
                value
                for at_ns, value in zip(gauge.at_ns, gauge.values, strict=True)
                if ended_ns < at_ns <= ended_ns + LATE_NS
            ][:1]
        if values:
            found[gauge.name] = sum(values) / len(values)
    return found


def mean_of(many: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over several stretches, each gauge over those that have it."""
    names = dict.fromkeys(name for one in many for name in one)
    means = {}
    for name in names:
        values = [one[name] for one in many if name in one]
        means[name] = sum(values) / len(values)
    return means


def says(gauges: Mapping[str, float], cores: float) -> tuple[str, ...]:
    """A clause for each resource that could be read, the one that is short first."""
    short: list[str] = []
    idle: list[str] = []
    for clause, is_short in (
        _cpu(gauges, cores),
        _queue(gauges, cores),
        _quota(gauges),
        _disk(gauges),
        _swap(gauges),
        _memory(gauges),
        _neighbours(gauges),
        _gpu(gauges),
    ):
        if clause:
            (short if is_short else idle).append(clause)
    return (*short, *idle)


Clause = tuple[str, bool]
"""What a resource says, and whether there is too little of it."""

NOTHING: Clause = ("", False)


def _cpu(gauges: Mapping[str, float], cores: float) -> Clause:
    own = gauges.get("own_busy_cores")
    if own is None or cores <= 0:
        return NOTHING
    busy = (own + gauges.get("neighbour_busy_cores", 0.0)) / cores
    number = round(cores)
    words = {1: "the core", 2: "both cores"}.get(number, f"all {number} cores")
    if busy >= FULL:
        return f"{words} full", True
    if busy >= NEARLY:
        return f"{words} nearly full", False
    if number > 1 and abs(own - 1) < 0.08:
        return "one core full, the rest free", False
    return f"CPU {share(busy)} busy", False


def _queue(gauges: Mapping[str, float], cores: float) -> Clause:
    tasks = gauges.get("run_queue")
    if tasks is None or cores <= 0 or tasks < CROWDED * cores or tasks < cores + 1:
        return NOTHING
    return f"{tasks:.1f} tasks for {cores:g} cores", True


def _quota(gauges: Mapping[str, float]) -> Clause:
    throttled = gauges.get("throttled_periods_share", 0.0)
    return (f"CPU quota used up in {share(throttled)}", True) if throttled > PRESSED else NOTHING


def _disk(gauges: Mapping[str, float]) -> Clause:
    read = gauges.get("disk_read_bytes_per_s")
    if read is None:
        return NOTHING
    if read < IDLE_BYTES_PER_S:
        return "disk idle", False
    full = gauges.get("disk_busy_share", 0.0) >= FULL
    return f"disk {'full at ' if full else ''}{size(read)}/s", full


def _swap(gauges: Mapping[str, float]) -> Clause:
    moved = gauges.get("swap_in_bytes_per_s", 0.0) + gauges.get("swap_out_bytes_per_s", 0.0)
    return (f"swapping {size(moved)}/s", True) if moved > SWAPPING_BYTES_PER_S else NOTHING


def _memory(gauges: Mapping[str, float]) -> Clause:
    pressed = gauges.get("psi_memory_some_share", 0.0)
    return (f"waits for memory {share(pressed)}", True) if pressed > PRESSED else NOTHING


def _neighbours(gauges: Mapping[str, float]) -> Clause:
    cores = gauges.get("neighbour_busy_cores", 0.0)
    return (f"others use {cores:.1f} cores", False) if cores > NEIGHBOUR_CORES else NOTHING


def _gpu(gauges: Mapping[str, float]) -> Clause:
    busy = [value for name, value in gauges.items() if name.startswith("gpu_busy_share_")]
    if not busy:
        return NOTHING
    mean = sum(busy) / len(busy)
    return f"GPU {'full' if mean >= FULL else share(mean) + ' busy'}", mean >= FULL
