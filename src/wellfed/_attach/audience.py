"""Who is told how the loaders of an observation do: `wellfed top`, and exporters if asked for.

Imports neither torch nor NumPy before the watched code does.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from wellfed._status import StatusFile
from wellfed.errors import NoVerdict
from wellfed.records import Report

if TYPE_CHECKING:
    from wellfed._engine.watch.showing import Showing
    from wellfed._sinks.outlet import Outlet
    from wellfed.seams import Sink

__all__ = ["Audience"]


class Audience:
    """Opened before the watched code runs, and closed after it."""

    def __init__(self, export: "Sequence[str | Sink]" = ()) -> None:
        """Prepare; nothing is opened yet.

        Args:
            export: sinks, or words that name one, such as "jsonl:run.jsonl".
        """
        self._export = export
        self._outlet: Outlet | None = None

    def open(self) -> None:
        """Open the sinks.

        Raises:
            UsageError: one of them is not known, or cannot be opened.
            MissingExtra: what one needs is not installed.
        """
        if self._export:
            from wellfed._sinks.naming import sinks_of
            from wellfed._sinks.outlet import Outlet

            self._outlet = Outlet(sinks_of(self._export))

    def showing(self) -> "Showing":
        """Who is told of one more loader."""
        from wellfed._engine.watch.showing import Seldom, Showing

        more = [] if self._outlet is None else [Seldom(self._outlet.put)]
        return Showing([StatusFile(), *more])

    def close(self, report: Callable[[], Report]) -> None:
        """Send the report to the sinks, if there are any, and close them.

        Args:
            report: makes it; may raise NoVerdict.
        """
        outlet, self._outlet = self._outlet, None
        if outlet is None:
            return
        try:
            with suppress(NoVerdict):
                outlet.put(report())
        finally:
            outlet.close()
