"""How tuning goes is shown on a terminal as a bar, and elsewhere as lines."""

from io import StringIO

from rich.console import Console

from wellfed._report.trying import TrialProgress


def test_what_each_trial_came_to_and_cost_stays_above_the_bar() -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    progress = TrialProgress(60.0, console)

    progress.begins("torch: num_workers=2", "round 1", 3.0)
    progress.ended("torch: num_workers=2", "97.1 batches/s", 2.9, 5.9)
    progress.close()
    progress.close()

    drawn = screen.getvalue()
    assert "of 60 s" in drawn
    assert "torch: num_workers=2: 97.1 batches/s; it took 2.9 s" in drawn
