"""Random draws that depend on the place in the epoch alone, for `num_workers="auto"`.

Each sample finds the three global generators seeded by (seed, epoch, its position in the epoch),
and the collate function by (seed, epoch, number of the batch): whoever makes the batch, wherever
and in whatever company, makes the same.
"""

import random
import struct
from hashlib import blake2b
from typing import Any

import torch

from wellfed._engine.randomness import numpy_random_or_none, restore, states
from wellfed.job import BEGINNING, Job

__all__ = ["ByPosition", "Seeds", "samples_in"]

_SAMPLE, _COLLATE = 0, 1
_PLACE = struct.Struct("<qqqB")


class Seeds:
    """What the samples of one batch are seeded with."""

    __slots__ = ("_base_seed", "_epoch", "_number", "_position")

    def __init__(self, base_seed: int, epoch: int, number: int, position: int) -> None:
        """The batch's place.

        Args:
            base_seed: what torch drew for the iterator.
            epoch: how often the iterator was begun before.
            number: of the batch in its epoch.
            position: of its first sample in the epoch.
        """
        self._base_seed, self._epoch = base_seed, epoch
        self._number, self._position = number, position

    def sample(self, place: int) -> None:
        """The sample at this place of the batch comes next."""
        self._seed(self._position + place, _SAMPLE)

    def collate(self) -> None:
        """Collating the batch comes next."""
        self._seed(self._number, _COLLATE)

    def _seed(self, place: int, what: int) -> None:
        packed = _PLACE.pack(self._base_seed, self._epoch, place, what)
        words = struct.unpack("<4I", blake2b(packed, digest_size=16).digest())
        seed = words[0] | (words[1] & 0x7FFFFFFF) << 32
        random.seed(seed)
        torch.default_generator.manual_seed(seed)
        numpy_random = numpy_random_or_none()
        if numpy_random is not None:
            numpy_random.seed(words)


class ByPosition:
    """Makes one batch after the other in the trainer's process, and looks like torch's fetchers.

    What the trainer itself draws goes on as if nothing had been drawn here: the generators are put
    back after each batch.
    """

    def __init__(self, job: Job, epoch: int) -> None:
        """Nothing is fetched yet.

        Args:
            job: a map-style dataset and how to batch it.
            epoch: how often the iterator was begun before.
        """
        self.dataset = job.dataset
        self.collate_fn = job.collate or _as_they_are
        self.auto_collation = job.batched
        self._base_seed, self._epoch = job.base_seed, epoch
        start = job.start if job.start.epoch == epoch else BEGINNING
        self._number, self._position = start.number, start.position

    def fetch(self, indices: Any) -> Any:
        """The batch of these indices, which is the next one."""
        seeds = Seeds(self._base_seed, self._epoch, self._number, self._position)
        self._number += 1
        self._position += samples_in(indices)
        kept = states()
        try:
            samples = self._fetched(indices, seeds)
            seeds.collate()
            return self.collate_fn(samples)
        finally:
            restore(kept)

    def _fetched(self, indices: Any, seeds: Seeds) -> Any:
        dataset = self.dataset
        seeds.sample(0)
        if not self.auto_collation:
            return dataset[indices]
        if hasattr(dataset, "__getitems__") and dataset.__getitems__:
            return dataset.__getitems__(indices)
        samples = []
        for place, index in enumerate(indices):
            seeds.sample(place)
            samples.append(dataset[index])
        return samples


def _as_they_are(samples: Any) -> Any:
    return samples


def samples_in(indices: Any) -> int:
    """How many positions a batch takes: its indices where they can be counted, else one."""
    return len(indices) if isinstance(indices, (list, tuple)) else 1
