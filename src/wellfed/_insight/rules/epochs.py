"""What happens between epochs costs more than a little of them."""

import msgspec

from wellfed._insight.rules.say import with_plan
from wellfed._insight.startup import epoch_curve_of
from wellfed._insight.supply import SIGNIFICANT, forecast, respawn_s, respawn_share
from wellfed.records import Case, Estimate, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share, size

__all__ = ["startup_pickle", "startup_respawn"]

# A dataset that is pickled to less than this starts no slower than an empty one: what takes the
# time is the interpreter and its imports.
MANY_PICKLED_BYTES = 1_000_000
# A fork that takes longer copies the page tables of several GB.
SLOW_FORK_S = 0.02
# Ends that take this part of what changing epochs costs are worth naming.
SLOW_END = 0.5


def startup_respawn(case: Case) -> Finding | None:
    """WF601: workers are started anew for every epoch, and that takes a good part of it."""
    stats, plan = case.stats, case.plan
    cost, lost_s, epoch_s = respawn_share(case), respawn_s(case), stats.epoch_s
    if cost < SIGNIFICANT or stats.startup_s is None or epoch_s is None:
        return None
    respawned = [epoch for epoch in case.trace.epochs if epoch.started_workers]
    kept = forecast(case, msgspec.structs.replace(plan, persistent=True))
    remedy = "persistent_workers=True"
    # torch draws a base seed for each new iterator; one that stays draws none from then on.
    note = (
        "from the second epoch on the shuffle is another one (torch draws one seed less), and a "
        "dataset's set_epoch no longer reaches its workers"
    )
    return Finding(
        code="WF601",
        name="startup_respawn",
        sentence=(
            f"{plan.workers} workers start and end anew each epoch: {duration(lost_s)} of every "
            f"{duration(epoch_s)}, seen {len(respawned)} times."
        ),
        evidence=(
            Evidence(
                text=f"{duration(stats.startup_s.value)} from iter() to the first batch",
                value=stats.startup_s.value,
                low=stats.startup_s.low,
                high=stats.startup_s.high,
            ),
            Evidence(text=f"{duration(stats.shutdown_s)} to end them", value=stats.shutdown_s),
            Evidence(text=f"start method {plan.start_method}"),
            Evidence(text=f"{share(cost)} of the epoch", value=cost),
            *_slow_forks(case),
            *_fewer(case),
        ),
        cost_share=Estimate(value=cost, low=0.8 * cost, high=min(1.0, 1.2 * cost)),
        remedies=(
            with_plan(kept, remedy, "the same workers serve every epoch", note)
            if kept is not None
            else Remedy(change=remedy, why="the same workers serve every epoch"),
            *(
                (
                    Remedy(
                        change="let go of the iterator where the epoch ends: del batches",
                        why=f"ending the workers takes {duration(stats.shutdown_s)}; each that "
                        "does not answer is waited for",
                    ),
                )
                if stats.shutdown_s > SLOW_END * lost_s
                else ()
            ),
        ),
    )


def startup_pickle(case: Case) -> Finding | None:
    """WF602: the dataset is pickled to each worker, one after the other, for every epoch."""
    stats, plan = case.stats, case.plan
    started = [epoch for epoch in case.trace.epochs if epoch.pickled_bytes]
    if not started or plan.persistent or not stats.epoch_s or len(started) < 2:
        return None
    n_bytes = max(max(epoch.pickled_bytes) for epoch in started)
    starting_s = sum(sum(epoch.start_ns) for epoch in started) / len(started) * 1e-9
    pickling_s = sum(sum(epoch.pickle_ns) for epoch in started) / len(started) * 1e-9
    cost = min(0.95, starting_s / stats.epoch_s)
    if n_bytes < MANY_PICKLED_BYTES or cost < SIGNIFICANT:
        return None
    kept = forecast(case, msgspec.structs.replace(plan, persistent=True))
    note = "from the second epoch on the shuffle is another one (torch draws one seed less)"
    gain = 1 / (1 - cost)
    why = "the dataset is sent once instead of for every epoch"
    return Finding(
        code="WF602",
        name="startup_pickle",
        sentence=(
            f"With {plan.start_method}, {size(n_bytes)} are pickled to each of {plan.workers} "
            f"workers, one after the other: {duration(starting_s)} of every "
            f"{duration(stats.epoch_s)}."
        ),
        evidence=(
            Evidence(text=f"{size(n_bytes)} pickled for each worker", value=n_bytes),
            Evidence(text=f"pickling takes {duration(pickling_s)} an epoch", value=pickling_s),
            Evidence(
                text=f"each start takes {duration(starting_s / plan.workers)}, in series",
                value=starting_s / plan.workers,
            ),
            Evidence(text=f"{share(cost)} of the epoch", value=cost),
        ),
        cost_share=Estimate(value=cost, low=0.8 * cost, high=min(1.0, 1.2 * cost)),
        remedies=(
            with_plan(kept, "persistent_workers=True", why, note)
            if kept is not None
            else Remedy(change="persistent_workers=True", why=why, reproducibility=note),
            Remedy(
                change="def __getstate__(self): leave out what a worker can open for itself",
                why="a path is pickled in microseconds; arrays in files (np.load with mmap_mode) "
                "are shared by all workers",
                gain=Estimate(value=gain, low=1 + 0.3 * (gain - 1), high=gain),
            ),
            Remedy(
                change='multiprocessing_context="fork"',
                why="nothing is pickled; only where the trainer has no threads and no device yet",
            ),
        ),
    )


def _slow_forks(case: Case) -> tuple[Evidence, ...]:
    """A fork of a large process takes time of its own."""
    starts = [ns * 1e-9 for epoch in case.trace.epochs for ns in epoch.start_ns]
    mean_s = sum(starts) / len(starts) if starts else 0.0
    if case.plan.start_method != "fork" or mean_s < SLOW_FORK_S:
        return ()
    resident = case.stats.gauges.get("trainer_rss_bytes")
    of = f" of a trainer of {size(resident)}" if resident else ""
    return (Evidence(text=f"each fork{of} takes {duration(mean_s)}", value=mean_s),)


def _fewer(case: Case) -> tuple[Evidence, ...]:
    """Starting more workers than so short an epoch repays costs more than it saves."""
    found = epoch_curve_of(case)
    if found is None:
        return ()
    curve, most = found
    best = curve.best_workers(most)
    if best >= case.plan.workers or curve.seconds(best) > curve.seconds(case.plan.workers):
        return ()
    text = f"as long as every epoch starts them anew, {best} would be the quickest"
    return (Evidence(text=f"{text}: each takes {duration(curve.each_s)} to start", value=best),)
