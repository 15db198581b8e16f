"""What happens between epochs costs more than a little of them."""

import msgspec

from wellfed._insight.rules.say import with_plan
from wellfed._insight.supply import SIGNIFICANT, forecast, respawn_s, respawn_share
from wellfed.records import Case, Estimate, Evidence, Finding, Remedy
from wellfed.records.amounts import duration, share

__all__ = ["startup_respawn"]


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
        ),
        cost_share=Estimate(value=cost, low=0.8 * cost, high=min(1.0, 1.2 * cost)),
        remedies=(
            with_plan(kept, remedy, "the same workers serve every epoch", note)
            if kept is not None
            else Remedy(change=remedy, why="the same workers serve every epoch"),
        ),
    )
