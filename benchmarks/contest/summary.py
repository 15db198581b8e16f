"""Medians, ratios within a round, and whether a target was met. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from workloads import WORKLOADS, Target

from contest.contender import Run, torch_at
from contest.search import Search

__all__ = ["Score", "Summary", "summarise"]


@dataclass(frozen=True)
class Score:
    """A target, and the ratio that was measured."""

    target: Target
    ratio: float
    low: float
    high: float

    @property
    def met(self) -> bool:
        """Whether the median ratio is as aimed at."""
        return self.target.met(self.ratio)

    def __str__(self) -> str:
        verdict = "met" if self.met else "missed"
        return f"{self.ratio:.3g} ({self.low:.3g} to {self.high:.3g}), {verdict}: {self.target}"


@dataclass(frozen=True)
class Summary:
    """What came out for one workload."""

    workload: str
    best: str
    """Which contender was torch's best."""
    medians: dict[str, Run]
    scores: tuple[Score, ...]
    rounds: int


def ratios(figure: str, ours: list[Run], theirs: list[Run]) -> list[float]:
    """Of the same round, whatever the machine did meanwhile to both."""
    pairs = zip(ours, theirs, strict=False)  # one that failed has no rounds
    return [a[figure] / b[figure] for a, b in pairs if b.get(figure) and figure in a]


def summarise(workload: str, search: Search, runs: dict[str, list[Run]]) -> Summary:
    """Medians of all that ran to the end, and the score of each target."""
    medians = {name: over_rounds(mine, median) for name, mine in runs.items() if mine}
    finalists = [str(torch_at(workload, one)) for one in search.finalists]
    best = max(
        (name for name in finalists if name in medians),
        key=lambda name: medians[name]["samples_per_s"],
        default="",
    )
    scores = []
    for target in WORKLOADS[workload].targets:
        rival = {"best": best, "limit": "plain"}.get(target.against, f"torch {target.against}")
        seen = ratios(target.figure, runs.get("ours", []), runs.get(rival, []))
        if seen:
            scores.append(Score(target, median(seen), min(seen), max(seen)))
    return Summary(workload, best, medians, tuple(scores), max(map(len, runs.values()), default=0))


def over_rounds(runs: list[Run], take: Callable[[list[float]], float]) -> Run:
    """One figure of each name."""
    return {name: take([run[name] for run in runs if name in run]) for name in runs[0]}
