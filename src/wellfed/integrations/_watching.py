"""What the callbacks of all frameworks do: watch from one call to another, tell, and judge."""

from collections.abc import Callable, Sequence

import wellfed
from wellfed.errors import NoVerdict
from wellfed.records import Report
from wellfed.seams import Sink

__all__ = ["Watching"]


class Watching:
    """One training after the other, watched."""

    def __init__(self) -> None:
        """Nothing is watched yet."""
        self._seen: wellfed.Observation | None = None

    def begin(self, export: Sequence[str | Sink]) -> None:
        """Watch from here on; what was watched before is left."""
        self._leave()
        self._seen = wellfed.observe(export=export)
        self._seen.__enter__()

    def figures(self) -> dict[str, float]:
        """How the loader does just now, by the names that are logged; empty where that is unknown.

        `wellfed/wait_share`, and `wellfed/samples_per_s` where the batch size is known.
        """
        status = self._seen.status if self._seen is not None else None
        if status is None:
            return {}
        ours = {"wellfed/wait_share": status.wait_share}
        if status.samples_per_s is not None:
            ours["wellfed/samples_per_s"] = status.samples_per_s
        return ours

    def end(self, why_not: Callable[[str], object]) -> Report | None:
        """Stop watching, and judge; None if nothing was watched, or there is no verdict.

        Args:
            why_not: told why there is none.
        """
        seen = self._seen
        if seen is None:
            return None
        self._leave()
        try:
            return seen.diagnose()
        except NoVerdict as why:
            why_not(f"no verdict: {why}")
            return None

    def _leave(self) -> None:
        seen, self._seen = self._seen, None
        if seen is not None:
            seen.__exit__(None, None, None)
