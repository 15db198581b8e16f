"""When a maker looks more closely at a batch, and what it writes down of it.

    batch of the epoch   0  1  2  3   16    64    256 ...
                         |--prints--|  entries only, of caches

Guarantees
- at most `MOST_LOOKS` a process, about 0.3 ms each, which `watch_ns` counts
- the user's generators, samples and dataset stay as they are
"""

import os
from typing import Any

from wellfed._engine.watch.fingerprints import global_generators, of_sample
from wellfed._engine.watch.holdings import holdings
from wellfed.records import Look

__all__ = ["Looking"]

# The first batches tell copies of a stream apart: four batches of sixteen samples that are all
# equal are no accident.
FIRST = 4
MOST_PRINTS = 16
# Later ones only to see caches fill, ever more rarely.
LATER = frozenset({16, 64, 256, 1024, 4096})
MOST_LOOKS = 64


class Looking:
    """Decides for one maker which batches are looked at; holds the look at the present one."""

    def __init__(self, worker: int, *, known: bool = False) -> None:
        """Nothing was made yet.

        Args:
            worker: number of the worker; -1 in the trainer's process.
            known: others like it were looked at before, and their first batches told enough.
        """
        self.samples = 0
        """Samples made so far."""
        self._worker = worker
        self._batches = FIRST if known else 0
        self._looks = 0
        self._before: tuple[dict[str, int], Any] | None = None
        self._prints: tuple[int, ...] = ()

    def resumed(self) -> None:
        """A new epoch begins in the same process."""
        self._batches = 0

    def begin(self, dataset: Any) -> None:
        """A batch is about to be made."""
        self._before, self._prints = None, ()
        due = self._batches < FIRST or self._batches in LATER
        if due and self._looks < MOST_LOOKS:
            self._before = global_generators(), holdings(dataset)

    def saw(self, samples: Any) -> None:
        """The samples of the batch, before they are collated."""
        if self._before is not None and self._batches < FIRST:
            several = samples if type(samples) is list else [samples]
            self._prints = tuple(of_sample(one) for one in several[:MOST_PRINTS])

    @property
    def on(self) -> bool:
        """Whether the present batch is looked at."""
        return self._before is not None

    def end(self, dataset: Any, samples: int) -> Look | None:
        """The batch was made; what was seen of it, if it was looked at."""
        before, self._before = self._before, None
        made, self.samples = self.samples, self.samples + max(0, samples)
        self._batches += 1
        if before is None:
            return None
        self._looks += 1
        generators, held = before
        after = global_generators() | holdings(dataset).generators
        stood = generators | held.generators
        return Look(
            worker=self._worker,
            pid=os.getpid(),
            samples_before=made,
            prints=self._prints,
            generators=stood,
            drawn=tuple(name for name, place in stood.items() if after.get(name, place) != place),
            numbers=held.numbers,
            entries=held.entries,
        )
