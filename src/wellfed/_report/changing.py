"""What a loader did about its plan while it trained, in a line or two."""

from wellfed._report.figures import Row
from wellfed.records import Change, Plan, Report

__all__ = ["changed"]


def changed(report: Report) -> tuple[Row, ...]:
    """The plan that it came to and why; then what was out of reach, the last of it."""
    done = [one for one in report.changes if one.before != one.after]
    beyond = [one for one in report.changes if one.before == one.after]
    rows = []
    if done:
        rows.append(Row(label="tuned", text=_came_to(done)))
    if beyond:
        rows.append(Row(label="tuned", text=f"not changed: {beyond[-1].why}"))
    return tuple(rows)


def _came_to(done: list[Change]) -> str:
    first, last = done[0], done[-1]
    several = f", {len(done)} changes" if len(done) > 1 else ""
    back = "back to " if last.kind == "undo" else ""
    found = f"{back}{_named(last.after)} since batch {last.batch:,}"
    return f"{found}, from {_named(first.before)}{several}: {last.why}"


def _named(plan: Plan) -> str:
    named = f"{plan.workers} workers" if plan.workers != 1 else "1 worker"
    threads = f" with {plan.threads} threads each" if plan.threads else ""
    return f"{named}{threads} × prefetch {2 if plan.prefetch is None else plan.prefetch}"
