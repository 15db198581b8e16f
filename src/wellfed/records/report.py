"""All of it in one value that can be saved, and opened without torch."""

from wellfed.records._record import Record
from wellfed.records.changes import Change
from wellfed.records.facts import Machine, Workload
from wellfed.records.proof import Proof
from wellfed.records.stats import Ledger, StageStats
from wellfed.records.trace import Trace
from wellfed.records.tuning import TunedPlan, Tuning
from wellfed.records.verdict import Verdict

__all__ = ["Report"]


class Report(Record, frozen=True, kw_only=True):
    """One run, seen and judged."""

    wellfed_version: str
    created_unix_s: float
    command: tuple[str, ...] = ()
    """What was run, as typed."""
    machine: Machine
    workload: Workload
    trace: Trace
    stats: StageStats | None = None
    """None if too few batches were seen to say anything."""
    ledger: Ledger | None = None
    verdict: Verdict
    unread: tuple[str, ...] = ()
    """Facts and signals that could not be read, one sentence each."""
    proof: Proof | None = None
    """What the confirming experiments showed; None if none were asked for."""
    tuning: Tuning | None = None
    """The settings that were tried, and the best of them; None if that was not asked for."""

    changes: tuple[Change, ...] = ()
    """What the loader did about its plan while it trained, in order; wellfed's own loader only."""

    def __str__(self) -> str:
        """The verdict in one line; `wellfed.render(report)` is the whole card."""
        return f"{self.verdict.name}: {self.verdict.headline}"

    def _repr_html_(self) -> str:
        """The card, as a notebook shows it."""
        # The one step up from this floor, named as such in the walls of pyproject.toml: whoever
        # holds a report in a notebook sees it, and nothing is drawn anywhere else.
        from wellfed._report.notebook import card_html

        return card_html(self)

    def save(self, path: str) -> None:
        """Write the report to `path` as JSON; gzip-compressed if the name ends in ".gz".

        Raises:
            ReportError: the file cannot be written.
        """
        from wellfed.records.codec import save

        save(self, path)

    def save_plan(self, path: str) -> None:
        """Write the answers of the tuning to `path`, for `DataLoader(..., plan=path)`.

        Raises:
            ReportError: nothing was tuned, or the file cannot be written.
        """
        from wellfed.errors import ReportError
        from wellfed.records.codec import save

        tuning = self.tuning
        if tuning is None or tuning.key is None or not tuning.answers:
            raise ReportError("there is no plan to save: nothing was tuned. Tune first.")
        kept = TunedPlan(
            wellfed_version=self.wellfed_version,
            created_unix_s=self.created_unix_s,
            key=tuning.key,
            answers=tuning.answers,
        )
        save(kept, path)
