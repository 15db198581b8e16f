"""Distributed ranks stop after the same batch, so that none waits in a collective for another.

    rank 0   wants to stop ── "stop" ──►  all
    rank r   at its next batch n_r ── "seen/r = n_r" ──►  0
    rank 0   has them all ── "at = max(n) + margin" ──►  all
    every rank stops when it has delivered batch `at`

The messages go through the key-value store that the process group already has; nothing is ever
waited for. A rank that never answers leaves `at` unset: then nobody stops, and the script runs to
its end.
"""

from typing import Any, Protocol

__all__ = ["Agreement", "Store", "group"]

_KEY = "wellfed"


class Store(Protocol):
    """The part of torch's distributed store that is used; none of it blocks."""

    def set(self, key: str, value: str) -> None:
        """Publish."""

    def check(self, keys: list[str]) -> bool:
        """Whether all the keys are there."""

    def get(self, key: str) -> bytes:
        """The value of a key that is there."""


class Agreement:
    """One rank's side of the agreement. Call `poll` at every batch, in every rank."""

    def __init__(self, rank: int, world: int, store: Store) -> None:
        self._rank = rank
        self._world = world
        self._store = store
        self._asked = False
        self._answered = False
        self.stop_at: int | None = None
        """The batch after which every rank stops, once it is settled."""

    def poll(self, batches: int, wants_stop: bool) -> bool:
        """Whether this rank stops now.

        Args:
            batches: batches this rank has asked for so far.
            wants_stop: whether its own pacer has seen enough; only rank 0's wish counts.
        """
        if self.stop_at is None:
            self._talk(batches, wants_stop)
        return self.stop_at is not None and batches >= self.stop_at

    def _talk(self, batches: int, wants_stop: bool) -> None:
        if self._rank == 0 and wants_stop and not self._asked:
            self._store.set(f"{_KEY}/stop", "1")
            self._asked = True
        if not self._answered and (self._asked or self._there("stop")):
            self._store.set(f"{_KEY}/seen/{self._rank}", str(batches))
            self._answered = True
        if not self._answered:
            return
        if self._rank == 0:
            self._settle(batches)
        elif self._there("at"):
            self.stop_at = int(self._store.get(f"{_KEY}/at"))

    def _settle(self, batches: int) -> None:
        names = [f"seen/{rank}" for rank in range(self._world)]
        if not self._there(*names):
            return
        seen = [int(self._store.get(f"{_KEY}/{name}")) for name in names]
        # A rank may run ahead of rank 0 by as much as it did before, and by one more, until it
        # next polls; twice that is the margin.
        margin = 2 * (max(seen) - min(seen) + 1)
        self.stop_at = max(batches, *seen) + margin
        self._store.set(f"{_KEY}/at", str(self.stop_at))

    def _there(self, *names: str) -> bool:
        return self._store.check([f"{_KEY}/{name}" for name in names])


def group() -> tuple[int, int, Any] | None:
    """Rank, world size and store of this process's default group; None outside one."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return None
    try:
        store = dist.distributed_c10d._get_default_store()
    except (AttributeError, RuntimeError, ValueError):
        return None
    return dist.get_rank(), dist.get_world_size(), store
