"""The ranks of a run tell rank 0 what each of them saw, so that one report speaks for all.

    every rank   its first batch ─── "watched/r" ──────────────► store
    rank r       leaves the watched code ── "saw/r" = RankSeen ► store
    rank 0       leaves it, and reads what those say that are watched; waits a bounded time

Guarantees
- a rank that is not watched is not waited for; one that is gone is waited for `WITHIN_S` at most;
- whatever the store does, it costs the report the other ranks, and the script nothing.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

from wellfed._attach.ranks import Store
from wellfed.records import RankSeen, decode, encode

__all__ = ["WITHIN_S", "Hearing"]

# Ranks stop after the same batch; what parts them then is what each script still does at its end.
WITHIN_S = 10.0
LOOK_AGAIN_S = 0.02


class Hearing:
    """One rank's side of it, for one watching."""

    def __init__(
        self,
        rank: int,
        world: int,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Say that this rank is watched.

        Args:
            rank: of this process.
            world: ranks in all.
            store: of the process group.
            clock: monotonic seconds.
            sleep: between two looks into the store.
        """
        self._rank, self._world, self._store = rank, world, store
        self._clock, self._sleep = clock, sleep
        # A process may watch several times; each rank counts its own watchings.
        self._key = ""
        with _harmless():
            self._key = f"wellfed/heard/{store.add(f'wellfed/watchings/{rank}', 1)}"
            store.set(f"{self._key}/watched/{rank}", "1")

    def tell(self, seen: RankSeen | None) -> None:
        """Leave for rank 0 what this rank saw; None if that was too little."""
        with _harmless():
            self._store.set(f"{self._key}/saw/{self._rank}", _text(seen))

    def hear(self, own: RankSeen | None, within_s: float = WITHIN_S) -> tuple[RankSeen, ...]:
        """What all ranks that were heard saw, in their order; empty if no other was."""
        seen = [own] if own is not None else []
        until_s = self._clock() + within_s
        for rank in range(self._world):
            if rank != self._rank:
                with _harmless():
                    other = self._read(rank, until_s)
                    seen += [other] if other is not None else []
        return tuple(sorted(seen, key=lambda one: one.rank)) if len(seen) > 1 else ()

    def _read(self, rank: int, until_s: float) -> RankSeen | None:
        if not self._store.check([f"{self._key}/watched/{rank}"]):
            return None
        while not self._store.check([f"{self._key}/saw/{rank}"]):
            if self._clock() >= until_s:
                return None
            self._sleep(LOOK_AGAIN_S)
        said = self._store.get(f"{self._key}/saw/{rank}")
        return decode(said, RankSeen) if said != _text(None).encode() else None


def _text(seen: RankSeen | None) -> str:
    return encode(seen).decode() if seen is not None else "nothing"


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    """A store whose server has gone raises, and what it raises differs with its kind."""
    with contextlib.suppress(Exception):
        yield
