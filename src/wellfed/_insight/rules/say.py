"""The sentences and remedies that several rules need, said in one way."""

from wellfed._insight.supply import best_workers, lost_share, stage_s, without_workers
from wellfed.records import Case, Estimate, Evidence, Forecast, Remedy
from wellfed.records.amounts import duration, share

__all__ = [
    "best_first",
    "cpu_evidence",
    "more_workers",
    "of_gain",
    "other_streams",
    "samples_s",
    "use_none",
    "waiting",
    "with_plan",
]


def waiting(case: Case) -> Evidence:
    """How much of each step waits."""
    lost = lost_share(case)
    wait_s = case.stats.period_s.value * case.stats.wait_share.value
    return Evidence(
        text=f"waits {duration(wait_s)} of each {duration(case.stats.period_s.value)} step",
        value=lost.value,
        low=lost.low,
        high=lost.high,
    )


def cpu_evidence(case: Case) -> Evidence:
    """How the maker of batches spends its time."""
    stats = case.stats
    who = "worker" if case.plan.workers else "loading"
    queue = f", ready without a core {share(stats.maker_queue_share)}"
    return Evidence(
        text=f"{who} cpu/wall {stats.maker_cpu_share:.2f}"
        + (queue if stats.maker_queue_share >= 0.02 else ""),
        value=stats.maker_cpu_share,
    )


def with_plan(one: Forecast, change: str, why: str, reproducibility: str = "") -> Remedy:
    """A remedy that is a plan the model has an expectation of."""
    return Remedy(
        change=change,
        why=why,
        plan=one.plan,
        gain=one.gain,
        memory_bytes=one.memory_bytes,
        reproducibility=reproducibility,
    )


def more_workers(case: Case, why: str) -> tuple[Remedy, ...]:
    """The best number of workers as a remedy; none if no number gains."""
    best = best_workers(case)
    if best is None:
        return ()
    return (with_plan(best, f"num_workers={best.plan.workers}", why, other_streams(case)),)


def best_first(*remedies: Remedy) -> tuple[Remedy, ...]:
    """The one that gains most first; those whose gain is not known come last, as they were."""
    return tuple(sorted(remedies, key=lambda one: -(one.gain.value if one.gain else 0.0)))


def use_none(case: Case) -> tuple[Remedy, ...]:
    """No workers as a remedy; none if that gains nothing."""
    alone = without_workers(case)
    if alone is None or alone.gain.value < 1.05:
        return ()
    return (
        with_plan(alone, "num_workers=0", "nothing has to be handed over", other_streams(case)),
    )


def other_streams(case: Case) -> str:
    """What another worker count would do to samples, their order or their randomness here."""
    if case.workload.style == "iterable":
        return (
            "the order changes, and a dataset that does not share itself out by get_worker_info() "
            "is repeated by every worker"
        )
    if not case.stats.drew:
        return ""
    generators = " and ".join(case.stats.drew)
    return f"augmentation draws from {generators}: another worker count draws other numbers"


def of_gain(case: Case, saved_s: float) -> Estimate:
    """The gain of saving so many seconds of each step, at most all of its wait.

    The interval carries over the interval of the wait.
    """
    period = case.stats.period_s.value
    lost = lost_share(case)
    part = min(1.0, saved_s / (period * lost.value)) if period * lost.value > 0 else 0.0
    shares = [min(0.99, part * one) for one in (lost.value, lost.low, lost.high)]
    value, low, high = (1 / (1 - one) for one in shares)
    return Estimate(value=value, low=low, high=high)


def samples_s(case: Case) -> float:
    """Seconds per batch spent on the samples themselves: the fetch without its collate."""
    return max(0.0, stage_s(case, "fetch") - stage_s(case, "collate"))
