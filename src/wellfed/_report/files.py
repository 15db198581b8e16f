"""The files that a command was asked to write a report to, and their names on the command line."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wellfed.errors import ReportError, UsageError

if TYPE_CHECKING:
    from wellfed.records import Report

__all__ = ["Files"]


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where a report goes besides the terminal."""

    json: Path | None = None
    html: Path | None = None
    timeline: Path | None = None
    plan: Path | None = None
    """Where the answers of a tuning go, for `DataLoader(..., plan=FILE)`."""
    profile: Path | None = None
    """A trace of torch.profiler to merge into the timeline."""

    @property
    def asked(self) -> bool:
        """Whether any was asked for."""
        return any((self.json, self.html, self.timeline))

    def check_writable(self) -> None:
        """Better now than after a minute of training.

        Raises:
            UsageError: one of them cannot be written.
        """
        for option in ("json", "html", "timeline", "plan"):
            path: Path | None = getattr(self, option)
            if path is None:
                continue
            if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
                raise UsageError(
                    f"cannot write {path}. Give --{option} a file in a folder that you may write."
                )
        if self.profile is not None and self.timeline is None:
            raise UsageError("--profile is merged into a timeline: give --timeline FILE as well.")

    def write(self, report: "Report", tell: Callable[[str], None]) -> None:
        """Write those that were asked for, and say how to open each."""
        if self.json is not None:
            report.save(str(self.json))
            tell(f"wellfed: the report is in {self.json}; open it with: wellfed report {self.json}")
        if self.plan is not None:
            report.save_plan(str(self.plan))
            use = f'DataLoader(..., plan="{self.plan}")'
            tell(f"wellfed: the plan is in {self.plan}; use it with: {use}")
        if self.html is not None:
            from wellfed._report.html import render_html

            _write_text(self.html, render_html(report))
            tell(f"wellfed: the page is in {self.html}; any browser opens it, without a network.")
        if self.timeline is not None:
            from wellfed._report.timeline import save_timeline

            save_timeline(report, self.timeline, self.profile)
            tell(f"wellfed: the timeline is in {self.timeline}; open it at https://ui.perfetto.dev")

    def write_compared(
        self, before: "Report", after: "Report", tell: Callable[[str], None]
    ) -> None:
        """Write the page of two runs side by side, if one was asked for."""
        if self.html is not None:
            from wellfed._report.html import render_compare_html

            _write_text(self.html, render_compare_html(before, after))
            tell(f"wellfed: the page is in {self.html}; any browser opens it, without a network.")


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write the page to {path}: {error.strerror}") from error
