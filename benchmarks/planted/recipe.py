"""A training run as data: what is loaded, how, and what a step is."""

import json
from dataclasses import asdict, dataclass, field

__all__ = ["Recipe", "dumped", "parsed"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that makes one run; `train.py` and the oracle build the same run from it."""

    dataset: str
    """Name in `works.DATASETS`."""
    sizes: dict[str, float] = field(default_factory=dict)
    """Its parameters."""
    batch_size: int = 1
    epoch_batches: int = 2_000
    """Batches in an epoch."""
    shuffle: bool = False
    workers: int = 0
    prefetch: int | None = None
    persistent: bool = False
    in_order: bool = True
    start_method: str | None = None

    by_rows: bool = False
    """A batch is fetched with one call, by a list of indices."""
    collate: str = ""
    """Name of its `collate_fn` in `works.COLLATES`; "" for torch's own."""
    split: int = 1
    """The loop cuts each batch into so many and takes a step for each."""
    pinned: bool = False
    """Every worker is tied to one core."""

    step: str = "wait"
    """`wait`: for a device, with the CPU free. `compute`: on the CPU. `queue`: handed to a device
    that works through a short queue meanwhile."""
    step_s: float = 0.0
    pause_every: int = 0
    """A step in so many takes a pause besides: a checkpoint, a validation."""
    pause_s: float = 0.0

    unit_s: float = 0.0
    """CPU seconds that a unit of work takes on this machine: see `works.calibrated_s`."""
    folder: str = ""
    """Where its files lie, if it has any."""
    quota_cores: float = 0.0
    """CPU limit of its control group; 0: none."""
    disk_bytes_per_s: int = 0
    """Reading limit of its control group; 0: none."""
    groups: tuple[str, ...] = ()
    """The control groups' folders, once they are made."""
    whole_epochs: bool = False
    """Its throughput is that of whole epochs, since what happens between them is the matter."""

    @property
    def length(self) -> int:
        """Samples in the dataset."""
        return self.batch_size * self.epoch_batches

    @property
    def samples(self) -> float:
        """Samples in a step of the loop."""
        return self.batch_size / self.split

    @property
    def depth(self) -> int:
        """Batches that may be made ahead."""
        return self.workers * (self.prefetch or 2)


def dumped(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe))


def parsed(text: str) -> Recipe:
    told = json.loads(text)
    return Recipe(**{**told, "groups": tuple(told["groups"])})
