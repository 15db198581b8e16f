"""The consumer of an experiment: the script's own step times again, or the step handed over.

A script's model is never run by us. Its steps were timed, with the CPU they used: the replay
computes for as long as they computed and sleeps for as long as they waited (for a device).
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wellfed._engine.experiments.staged import rest, spin
from wellfed._engine.watch.content import look

__all__ = ["HandedOver", "Replay", "Step"]

# Cached batches take turns, so that the step does not find its input in a core's cache.
MOST_BATCHES = 10
MOST_BYTES = 256 * 2**20


class Step(Protocol):
    """Takes a batch, as the training step would."""

    def __call__(self, batch: Any) -> None:
        """With None, the step runs without a new batch: on a cached one, or on none."""

    def close(self) -> None:
        """Let go of what is kept."""


class Replay:
    """Takes the time of the script's own steps, in their order, over and over."""

    def __init__(self, steps: Sequence[tuple[float, float]]) -> None:
        """Prepare.

        Args:
            steps: seconds of waiting and seconds of CPU, step by step.
        """
        self._steps = steps
        self._turn = 0

    def __call__(self, batch: Any) -> None:  # noqa: ARG002 - what is replayed needs no data
        if not self._steps:
            return
        off_s, cpu_s = self._steps[self._turn % len(self._steps)]
        self._turn += 1
        if cpu_s > 0:
            spin(cpu_s)
        rest(off_s)

    def close(self) -> None:
        """Nothing is kept."""


class HandedOver:
    """The user's own step, on the batches that come, or on earlier ones once there are some."""

    def __init__(self, step: Callable[[Any], object]) -> None:
        self._step = step
        self._kept: deque[Any] = deque(maxlen=MOST_BATCHES)
        self._kept_bytes = 0
        self._turn = 0

    def __call__(self, batch: Any) -> None:
        if batch is None:
            if not self._kept:
                return
            self._turn += 1
            batch = self._kept[self._turn % len(self._kept)]
        else:
            self._keep(batch)
        self._step(batch)

    def _keep(self, batch: Any) -> None:
        if len(self._kept) == MOST_BATCHES:
            return
        payload_bytes = max(0, look(batch)[1])
        if not self._kept or self._kept_bytes + payload_bytes <= MOST_BYTES:
            self._kept_bytes += payload_bytes
            self._kept.append(batch)

    def close(self) -> None:
        """Let go of the cached batches."""
        self._kept.clear()
