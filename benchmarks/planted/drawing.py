"""Which runs there are: every cause at one severity a round, and some controls; sizes are drawn.

    round 0   cause 1 at severity 0, cause 2 at severity 1, ...   and three controls
    round 1   cause 1 at severity 1, ...

A run depends on the seed, the round and its own name alone, so that any of them can be drawn again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from planted.causes import CAUSES
from planted.controls import CONTROLS
from planted.recipe import Recipe
from wellfed._insight.codes import CODES

__all__ = ["CONTROLS_A_ROUND", "SEVERITIES", "Planted", "Sizes", "draw", "drawn"]

SEVERITIES = (0.20, 0.35, 0.50, 0.65, 0.80)
"""About which share of its time a run shall lose to what is planted."""
SPREAD = 0.05
CONTROLS_A_ROUND = 3


@dataclass(frozen=True)
class Planted:
    """One drawn run, and the same one without what was planted."""

    key: str
    """Round and name: "2/latency_bound"."""
    cause: str
    """The planted cause; "" for a control."""
    severity: float
    planted: Recipe
    cured: Recipe | None
    """None for a control, which has nothing to cure."""


@dataclass(frozen=True)
class Sizes:
    """What the drawing needs to know of the machine."""

    cores: int
    may_limit: bool = True
    """Whether control groups can be made."""


LIMITED = frozenset({"cpu_quota", "storage_bound"})
"""Causes, and controls, that a control group makes."""


def draw(seed: int, number: int, machine: Sizes) -> Iterator[Planted]:
    """The runs of one round: of the causes that a rule knows."""
    for place, (cause, plant) in enumerate(CAUSES.items()):
        if cause not in CODES or (cause in LIMITED and not machine.may_limit):
            continue
        random = Random(f"{seed}/{number}/{cause}")
        about = SEVERITIES[(number + place) % len(SEVERITIES)]
        severity = round(about + random.uniform(-SPREAD, SPREAD), 3)
        planted, cured = plant(random, severity, machine.cores)
        yield Planted(f"{number}/{cause}", cause, severity, planted, cured)
    names = list(CONTROLS)
    for place in range(CONTROLS_A_ROUND):
        name = names[(number * CONTROLS_A_ROUND + place) % len(names)]
        recipe = CONTROLS[name](Random(f"{seed}/{number}/{name}"), machine.cores)
        if machine.may_limit or not (recipe.quota_cores or recipe.disk_bytes_per_s):
            yield Planted(f"{number}/{name}", "", 0.0, recipe, None)


def drawn(seed: int, rounds: int, machine: Sizes) -> Iterator[Planted]:
    """The runs of so many rounds."""
    for number in range(rounds):
        yield from draw(seed, number, machine)
