"""Workers that could run side by side take turns."""

from wellfed._insight.hot import locked_share
from wellfed._insight.rules.say import of_gain, waiting
from wellfed._insight.supply import lost_share, makers_set_the_pace, stage_s, waits
from wellfed.records import Case, Evidence, Finding, Remedy
from wellfed.records.amounts import share

__all__ = ["lock_serialised"]

# Of W workers at one lock, W - 1 wait. Samples may miss some of the waits, not most.
MOST_WAIT = 0.6

# Together they do the work of one; more than this and something else runs beside the lock.
LIKE_ONE = 1.4


def lock_serialised(case: Case) -> Finding | None:
    """WF504: all workers but one wait for a lock: a handle, a database, a file that they share."""
    workers, seen = case.plan.workers, locked_share(case)
    if workers < 2 or seen is None or not waits(case):
        return None
    locked, line = seen
    active = workers * (1 - locked)
    if locked < MOST_WAIT * (workers - 1) / workers or active > LIKE_ONE:
        return None
    # Where all wait at once, it is for something else: threads of their own, say.
    if active < 0.5 or not makers_set_the_pace(case):
        return None
    place = f"{line.file.rpartition('/')[2]}:{line.line}"
    saved_s = stage_s(case, "fetch") * locked / workers
    return Finding(
        code="WF504",
        name="lock_serialised",
        sentence=(
            f"{workers} workers do the work of {active:.1f}: {share(locked)} of their time they "
            f"wait for a lock, mostly in {line.function}() at {place}."
        ),
        evidence=(
            waiting(case),
            Evidence(text=f"waits for a lock {share(locked)} of fetch time", value=locked),
            Evidence(text=f"{active:.1f} of {workers} workers at work", value=active),
        ),
        cost_share=lost_share(case),
        remedies=(
            Remedy(
                change=f"{place}: open a handle of its own in each worker (worker_init_fn, or at "
                "the first sample), without the lock",
                why="one handle a worker needs no lock",
                gain=of_gain(case, saved_s),
            ),
            Remedy(
                change="num_workers=1",
                why="if the lock must stay, more workers add nothing but memory",
            ),
        ),
    )
