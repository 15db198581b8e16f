"""What experiments take of the machine: seconds, memory and shared memory. Pure."""

import math

from wellfed._insight.deciding import block_batches
from wellfed._insight.outlook import WORKER_BYTES
from wellfed._insight.supply import stage_s
from wellfed.records import Case, Plan
from wellfed.records.amounts import size

__all__ = ["block_s", "round_s", "starting_s", "too_large"]

# Seconds to start a worker where the run did not show it: a fork, or an interpreter with torch.
FORK_S = 0.05
SPAWN_S = 4.0

# What each worker keeps of samples, and the step of batches: `_engine.experiments.staged`.
KEPT_BATCHES = 10
KEPT_BYTES = 64e6

# What a run may take of what is free: the rest is for the estimate's own error.
MEMORY_SHARE = 0.8


def round_s(case: Case) -> float:
    """Seconds of one way down the ladder and up again."""
    period_s, step_s = case.stats.period_s.value, stage_s(case, "step")
    return 2 * (3 * block_s(case, period_s) + 4 * block_s(case, step_s))


def block_s(case: Case, period_s: float) -> float:
    """Seconds of one stretch of batches, those in flight before it included."""
    return (case.plan.depth + case.plan.workers + block_batches(case)) * period_s


def starting_s(case: Case, plan: Plan | None = None) -> float:
    """Seconds to start the workers of a plan, each as long as one of the run took."""
    ran, plan = case.plan, plan or case.plan
    seen = case.stats.startup_s
    method = plan.start_method or case.machine.start_method.value
    each_s = FORK_S if method == "fork" else SPAWN_S
    if seen is not None and ran.workers and ran.start_method == method:
        each_s = seen.value / ran.workers
    return each_s * plan.workers


def too_large(case: Case, *plans: Plan) -> str:
    """Why loaders under these plans do not fit in memory beside each other; "" if they do."""
    need = sum(_memory_bytes(case, plan) for plan in plans)
    free = _free_bytes(case)
    if free is not None and need > MEMORY_SHARE * free:
        return f"it needs {size(need)} of memory, and {size(free)} is free"
    batches = sum(plan.depth + KEPT_BATCHES for plan in plans)
    shared, room = batches * (case.stats.payload_bytes or 0.0), case.machine.shm_free_bytes.value
    if any(plan.workers for plan in plans) and room is not None and shared > MEMORY_SHARE * room:
        return f"it needs {size(shared)} of /dev/shm, and {size(room)} is free"
    return ""


def _memory_bytes(case: Case, plan: Plan) -> float:
    """Memory of a set of workers, of what is in flight, and of the samples that they keep."""
    ran, batch = case.plan.workers, case.stats.payload_bytes or 0.0
    pss = case.stats.gauges.get("workers_pss_bytes", 0.0)
    each = pss / ran if pss and ran else WORKER_BYTES
    kept = min(KEPT_BATCHES * batch, KEPT_BYTES)
    return plan.workers * (each + kept) + (plan.depth + KEPT_BATCHES) * batch


def _free_bytes(case: Case) -> float | None:
    machine = case.machine
    free = [float(machine.memory_available_bytes.value or 0) or math.inf]
    limit, used = machine.memory_limit_bytes.value, machine.memory_used_bytes.value
    if limit is not None and used is not None:
        free.append(float(max(0, limit - used)))
    least = min(free)
    return None if math.isinf(least) else least
