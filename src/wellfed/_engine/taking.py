"""Batches that are taken from a stream before they are handed over, and how long that may take."""

import time
from typing import Any, NamedTuple, Protocol, runtime_checkable

from wellfed._engine.failures import raise_failure
from wellfed._engine.watch.letters import Delivery
from wellfed.seams import Stream

__all__ = ["Taken", "Takes", "deadline_after", "left_s"]


UNTOLD = Delivery(())
"""Of how a batch came nothing is known."""


class Taken(NamedTuple):
    """A batch that is not handed over yet, or what is raised in its place."""

    value: Any = None
    failure: bytes = b""
    """An exception of a worker's, packed."""
    error: Exception | None = None
    """One that was raised when the batch was unpacked."""
    delivery: Delivery = UNTOLD
    """How it came."""

    @property
    def raises(self) -> bool:
        """Whether there is no batch."""
        return bool(self.failure) or self.error is not None

    def result(self) -> Any:
        """The batch.

        Raises:
            Exception: what came in its place.
        """
        if self.failure:
            raise_failure(self.failure)
        if self.error is not None:
            raise self.error
        return self.value


@runtime_checkable
class Takes(Stream, Protocol):
    """A stream whose batches can be taken ahead of the trainer, while the sampler is not."""

    ended: bool
    """Whether all batches of the epoch were taken."""

    def take(self, deadline: float | None) -> Taken:
        """The next batch; `handed_over` is to follow, once for each.

        Args:
            deadline: how long to wait, on the monotonic clock; None: for ever.

        Raises:
            StopIteration: all batches of the epoch were taken.
            RuntimeError: a worker died, or the time is over.
        """

    def take_arrived(self) -> Taken | None:
        """The same, without waiting: None if the next batch has not come."""

    def handed_over(self) -> None:
        """A batch that was taken is about to be the user's: read one more index, and send it.

        Raises:
            Exception: of the sampler; the batch is then lost, as it is in torch.
        """


def deadline_after(timeout_s: float) -> float | None:
    """When a wait that begins now must end; None: never."""
    return time.monotonic() + timeout_s if timeout_s else None


def left_s(deadline: float | None, timeout_s: float) -> float | None:
    """How long to wait still; None: for ever.

    Raises:
        RuntimeError: no longer, in torch's words.
    """
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise RuntimeError(f"DataLoader timed out after {timeout_s} seconds")
    return left
