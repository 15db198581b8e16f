"""What this wellfed can do of what the soak would do to it: found out by trying, not by version."""

import inspect
import os
import signal

import wellfed
from soaking.cases import Free
from wellfed.records import Plan

__all__ = ["Features", "find"]


class Features:
    """What the soak can do, and what it says that it did not."""

    def __init__(self, *, revives: bool, switches: bool, tunes: str) -> None:
        self.revives = revives
        """A worker that dies costs no batch."""
        self.switches = switches
        """The plan may change while batches come."""
        self.tunes = tunes
        """The argument that has the loader tune itself; "" if there is none."""

    def lacking(self) -> list[str]:
        """What the soak does not do, in words."""
        lacking = []
        if not self.revives:
            lacking.append("dead workers are not replaced: each death is an error, and a new epoch")
        if not self.switches:
            lacking.append("the plan does not change while batches come")
        if not self.tunes:
            lacking.append("the loader does not tune itself")
        return lacking


def find() -> Features:
    """Try each of them once."""
    arguments = inspect.signature(wellfed.DataLoader.__init__).parameters
    tunes = next((name for name in ("autotune", "tune", "live") if name in arguments), "")
    switches = hasattr(wellfed.DataLoader, "switch")
    return Features(revives=_revives(), switches=switches, tunes=tunes)


def _revives() -> bool:
    loader = wellfed.DataLoader(Free(), batch_size=8, num_workers=2, plan=_TWO)
    batches = iter(loader)
    next(batches)
    os.kill(int(batches._workers[0]), signal.SIGKILL)  # type: ignore[attr-defined]
    try:
        return sum(1 for _ in batches) > 0
    except RuntimeError:
        return False


_TWO = Plan(backend="processes", workers=2, prefetch=2)
