"""What a workload is: the same samples for every loader, what to compare, and what is aimed at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import Dataset

__all__ = ["GRID", "Setting", "Target", "Workload"]

WORKERS = (1, 2, 4, 8, 16, 32)
PREFETCH = (1, 2, 4, 8)


@dataclass(frozen=True)
class Setting:
    """What a user of torch's loader can set, and the threads of the trainer's own operators."""

    workers: int = 0
    prefetch: int | None = None
    method: str | None = None
    threads: int = 1

    def __str__(self) -> str:
        if not self.workers:
            return f"0 workers, {self.threads} thread" + "s" * (self.threads > 1)
        method = f", {self.method}" if self.method else ""
        return f"{self.workers} × {self.prefetch}{method}"


GRID = (
    # With two threads of its own, collating in the trainer's process is fast or slow by turns.
    Setting(0, threads=1),
    Setting(0, threads=2),
    *(Setting(workers, prefetch) for workers in WORKERS for prefetch in PREFETCH),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A figure of ours over (or under) the same figure of something else."""

    ratio: float
    figure: str = "samples_per_s"
    against: str = "best"
    """ "best", torch's best; "limit", no loader at all; else a setting of torch, as it prints."""

    @property
    def at_least(self) -> bool:
        """Whether more is better: of samples yes, of seconds and bytes no."""
        return self.figure == "samples_per_s"

    def met(self, ratio: float) -> bool:
        """Whether the measured ratio is as aimed at."""
        return ratio >= self.ratio if self.at_least else ratio <= self.ratio

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        what = "" if self.at_least else f" in {self.figure}"
        names = {"best": "torch's best", "limit": "the limit"}
        return (
            f"{sign} {self.ratio:g} × {names.get(self.against, f'torch at {self.against}')}{what}"
        )


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Samples, batches and a step; and how they are made with our loader and with none."""

    about: str
    dataset: Callable[[], Dataset[Any]]
    plain: Callable[[Dataset[Any]], Iterator[Any]]
    """The same batches from a plain loop, for ever: what a loader cannot beat."""
    plan: dict[str, Any]
    """Fields of the `wellfed.records.Plan` of ours."""
    targets: tuple[Target, ...]
    batch_size: int | None = 32
    shuffle: bool = True
    collate: Callable[[Any], Any] | None = None
    step: Callable[[Any], None] | None = None
    """What the trainer does with a batch; nothing, by default."""
    thread_safe: bool = False
    plain_everywhere: bool = True
    """Whether the plain loop runs on every core at once: its work is not bound to the trainer."""
    epochs: int | None = None
    """Measured are so many whole epochs, after one to warm up; by default, a stretch of time."""
    grid: tuple[Setting, ...] = field(default=GRID)

    @property
    def samples(self) -> int:
        """Samples in a full batch."""
        return self.batch_size or 1
