"""The plain experiment: every combination of some settings, in turn, as often as there is time.

num_workers=0,2  prefetch_factor=2,4  ─►  0 · 2×2 · 2×4 · 0 · 2×2 · 2×4 · 0 ...
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import msgspec
import numpy as np

from wellfed._insight.supply import usable_cores
from wellfed._tuner.space import Choice, Space, weigh
from wellfed.errors import UsageError
from wellfed.records import Case, Plan

__all__ = ["KNOBS", "Knobs", "read_knobs", "swept_space"]

Knobs = Mapping[str, Sequence[Any]]
"""Values of each setting, by torch's name for it."""

START_METHODS = ("fork", "spawn", "forkserver")

KNOBS = ("num_workers", "prefetch_factor", "pin_memory", "multiprocessing_context", "loader")
"""What may be swept: torch's arguments, and whose loader."""

_FLAGS = {"0": False, "1": True, "false": False, "true": True}


def read_knobs(words: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """The settings of "num_workers=0,2" and its like.

    Raises:
        UsageError: there is no such setting, or a value is none of it.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for word in words:
        name, _, values = word.partition("=")
        if name in found:
            raise UsageError(f"{name} is given twice. Write its values once: {name}=A,B")
        found[name] = tuple(value.strip() for value in values.split(","))
    return checked_knobs(found)


def checked_knobs(knobs: Knobs) -> dict[str, tuple[Any, ...]]:
    """The settings, each value as torch takes it, without repetition.

    Raises:
        UsageError: there is no such setting, or a value is none of it.
    """
    if not knobs:
        raise UsageError("nothing to sweep was given. Write: --sweep num_workers=0,2,4")
    return {
        name: tuple(dict.fromkeys(_value(name, one) for one in values))
        for name, values in knobs.items()
    }


def _value(name: str, given: Any) -> Any:
    text = str(given).strip()
    if name == "persistent_workers":
        raise UsageError(
            "persistent_workers acts between epochs, and a trial has none. Leave it out."
        )
    if name not in KNOBS:
        raise UsageError(f"{name!r} cannot be swept. Choose from {', '.join(KNOBS)}.")
    if name in ("num_workers", "prefetch_factor") and text.isdecimal():
        value = int(text)
        if value >= (name == "prefetch_factor"):
            return value
    if name == "pin_memory" and text.lower() in _FLAGS:
        return _FLAGS[text.lower()]
    if name == "multiprocessing_context" and text in START_METHODS:
        return text
    if name == "loader" and text in ("torch", "wellfed"):
        return text
    raise UsageError(f"{name}={text!r} is no value of it. See: wellfed tune --help")


def swept_space(
    case: Case,
    knobs: Knobs,
    rng: np.random.Generator,
    *,
    can_pin: bool,
    spare_bytes: float | None = None,
) -> Space:
    """All combinations, the settings that were found first; with those that cannot be run.

    Args:
        case: what was seen of the settings that were found.
        knobs: the values of each setting; those that are not given stay as they were found.
        rng: resamples measured times in forecasts.
        can_pin: whether there is a device to pin memory for.
        spare_bytes: memory that a plan may take beyond the one that ran; None for no limit.
    """
    here = case.plan
    found = [Choice(plan=here, seconds=case.stats.period_s.value, memory_bytes=0)]
    refused: list[tuple[Plan, str]] = []
    for values in product(*knobs.values()):
        for plan, why in _plans(case, dict(zip(knobs, values, strict=True)), can_pin):
            if plan == here or any(one.plan == plan for one in found):
                continue
            weighed = why or weigh(
                case, msgspec.structs.replace(plan, backend="torch"), rng, spare_bytes
            )
            if isinstance(weighed, str):
                if (plan, weighed) not in refused:
                    refused.append((plan, weighed))
            else:
                found.append(msgspec.structs.replace(weighed, plan=plan))
    return Space(choices=tuple(found), refused=tuple(refused), cores=usable_cores(case))


def _plans(case: Case, given: Mapping[str, Any], can_pin: bool) -> list[tuple[Plan, str]]:
    """A combination as a plan, and why it cannot be run, "" if it can.

    Without workers nothing is read ahead: the combination is refused, and what is left of it runs.
    """
    here = case.plan
    workers = given.get("num_workers", here.workers)
    own = given.get("loader", "wellfed" if here.backend != "torch" else "torch") == "wellfed"
    backend = ("processes" if workers else "inline") if own else "torch"
    plan = msgspec.structs.replace(
        here,
        backend=backend,
        workers=workers,
        pin_memory=given.get("pin_memory", here.pin_memory),
        threads=0,
    )
    if plan.pin_memory and not can_pin and not here.pin_memory:
        return [(_with_workers(case, plan, given), "there is no device to pin memory for")]
    if workers and case.workload.style == "iterable" and workers != here.workers:
        return [(_with_workers(case, plan, given), "it would share the stream out otherwise")]
    if workers:
        return [(_with_workers(case, plan, given), "")]
    none = msgspec.structs.replace(plan, prefetch=None, persistent=False, start_method=None)
    left = [
        (msgspec.structs.replace(none, **{field: given[name]}), f"{name} needs workers")
        for name, field in (
            ("prefetch_factor", "prefetch"),
            ("multiprocessing_context", "start_method"),
        )
        if name in given
    ]
    return [*left, (none, "")]


def _with_workers(case: Case, plan: Plan, given: Mapping[str, Any]) -> Plan:
    if not plan.workers:
        return msgspec.structs.replace(plan, prefetch=None, persistent=False, start_method=None)
    start = case.plan.start_method or case.machine.start_method.value or "fork"
    return msgspec.structs.replace(
        plan,
        prefetch=given.get("prefetch_factor", case.plan.prefetch or 2),
        start_method=given.get("multiprocessing_context", start),
    )
