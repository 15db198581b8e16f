"""Distributed ranks stop after the same batch, so that none waits in a collective for another.

    rank 0   wants to stop ── "stop = the loader's name" ──►  all
    rank r   at its next batch n_r of that loader ── "seen/r = n_r" ──►  0
    rank 0   has them all ── "at = max(n) + margin" ──►  all
    every rank stops when it asks for batch `at` of that loader

Batches are counted for one loader, told by its recorder's name, because ranks may differ in the
others: often only rank 0 validates.

The messages go through the key-value store that the process group already has; nothing is ever
waited for. A rank that never answers leaves `at` unset: then nobody stops, and the script runs to
its end.
"""

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Agreement", "Store", "group", "local_world"]

# The fewest batches between the agreement and the stop. Ranks that accumulate gradients run apart
# by as many batches as they accumulate; eight covers the usual numbers.
LEAST_MARGIN = 8


class Store(Protocol):
    """The part of torch's distributed store that is used; none of it blocks."""

    def add(self, key: str, amount: int) -> int:
        """Count up, and say how far that is now."""

    def set(self, key: str, value: str) -> None:
        """Publish."""

    def check(self, keys: list[str]) -> bool:
        """Whether all the keys are there."""

    def get(self, key: str) -> bytes:
        """The value of a key that is there."""


class Agreement:
    """One rank's side of one agreement. Call `poll` at every batch, in every rank."""

    def __init__(self, rank: int, world: int, store: Store) -> None:
        self._rank = rank
        self._world = world
        self._store = store
        # A process may watch several times. Each rank counts its own agreements, so that the
        # words of an earlier one are not taken for those of this one.
        self._key = f"wellfed/{store.add(f'wellfed/agreements/{rank}', 1)}"
        self._loader: str | None = None
        self._answered = False
        self.stop_at: int | None = None
        """The batch at which every rank stops, once it is settled."""

    def unanswered(self, loader: str) -> bool:
        """Whether this rank has asked or answered about that loader, and nothing is settled yet."""
        return self._answered and loader == self._loader and self.stop_at is None

    def poll(self, loader: str, batches: int, wants_stop: str | None) -> bool:
        """Whether this rank stops now.

        Args:
            loader: name of the loader of which a batch is about to be asked for.
            batches: batches of it that this rank has had so far.
            wants_stop: the loader of which its own pacer has seen enough, or None; only rank 0's
                wish counts.
        """
        if self._loader is None:
            self._open(wants_stop)
        if loader != self._loader:
            return False
        if self.stop_at is None:
            self._talk(batches)
        return self.stop_at is not None and batches >= self.stop_at

    def _open(self, wants_stop: str | None) -> None:
        if self._rank == 0 and wants_stop is not None:
            self._loader = wants_stop
            self._store.set(f"{self._key}/stop", wants_stop)
        elif self._rank != 0 and self._there("stop"):
            self._loader = self._store.get(f"{self._key}/stop").decode()

    def _talk(self, batches: int) -> None:
        if not self._answered:
            self._store.set(f"{self._key}/seen/{self._rank}", str(batches))
            self._answered = True
        if self._rank == 0:
            self._settle(batches)
        elif self._there("at"):
            self.stop_at = int(self._store.get(f"{self._key}/at"))

    def _settle(self, batches: int) -> None:
        names = [f"seen/{rank}" for rank in range(self._world)]
        if not self._there(*names):
            return
        seen = [int(self._store.get(f"{self._key}/{name}")) for name in names]
        # A rank may run ahead of rank 0 by as much as it did before, and by one more, until it
        # next polls; twice that is the margin.
        margin = max(LEAST_MARGIN, 2 * (max(seen) - min(seen) + 1))
        self.stop_at = max(batches, *seen) + margin
        self._store.set(f"{self._key}/at", str(self.stop_at))

    def _there(self, *names: str) -> bool:
        return self._store.check([f"{self._key}/{name}" for name in names])


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


def local_world(environment: Mapping[str, str], world: int) -> int:
    """Ranks of the run on this machine, of `world` in all; 1 where that cannot be told."""
    told = environment.get("LOCAL_WORLD_SIZE", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    # A group that meets at the loopback address is all on one machine.
    at_home = environment.get("MASTER_ADDR") in ("localhost", "127.0.0.1", "::1")
    return world if at_home else 1
