"""How tuning goes: on a terminal a bar of the budget with the trial that runs, lines elsewhere.

    12 of 60 s ━━━━━╸━━━━━━━━━━━━━━━━  torch: num_workers=2, prefetch_factor=2
    torch: num_workers=1, prefetch_factor=2: 97.1 batches/s; it took 2.9 s

Guarantees
- no thread of its own: workers are forked meanwhile, and a lock held by a thread would stay held;
- nothing in place of `sys.stdout`: what the user's step prints passes untouched.
"""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

__all__ = ["TrialProgress", "bar"]


class TrialProgress:
    """Draws the bar. Told of trials by the thread that runs them.

    Args:
        budget_s: seconds that all trials may take.
        console: where to draw, a terminal.
    """

    def __init__(self, budget_s: float, console: Console) -> None:
        self._budget_s = budget_s
        self._bar = Progress(
            TextColumn("{task.completed:3.0f} of {task.total:.0f} s"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=budget_s)
        self._bar.start()

    def begins(self, name: str, why: str, spent_s: float) -> None:
        """The trial that runs stands beside the bar."""
        self._move(spent_s, f"{name}: {why}")

    def ended(self, name: str, said: str, took_s: float, spent_s: float) -> None:
        """What it came to stays, above the bar."""
        self._bar.console.print(
            f"{spent_s:3.0f} s  {name}: {said}; it took {took_s:.1f} s",
            markup=False,
            highlight=False,
        )
        self._move(spent_s, "")

    def _move(self, spent_s: float, words: str) -> None:
        self._bar.update(self._task, completed=min(spent_s, self._budget_s), description=words)
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar away. Harmless when called twice."""
        self._bar.stop()


def bar(budget_s: float) -> TrialProgress | None:
    """The bar, where stderr is a terminal that can move its cursor; None elsewhere."""
    console = Console(stderr=True, force_terminal=sys.stderr is not None and sys.stderr.isatty())
    if not console.is_terminal or console.is_dumb_terminal:
        return None
    return TrialProgress(budget_s, console)
