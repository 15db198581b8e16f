"""The verbs, each a few lines of composition."""

from collections.abc import Callable
from typing import Any

from wellfed._attach import Limits, Observation, Stops
from wellfed.records import Report

__all__ = ["Observation", "diagnose", "observe", "render"]

# Of this, five rounds of the ladder and four other experiments take 50 s at a period of 100 ms.
DEEP_S = 60.0


def observe() -> Observation:
    """Watch every DataLoader that is iterated inside a `with` block.

    Nothing is stopped, replaced or reordered.

    Examples:
        >>> with wellfed.observe() as seen:  # doctest: +SKIP
        ...     train()
        >>> print(wellfed.render(seen.diagnose()))  # doctest: +SKIP
    """
    return Observation(Limits(full=True))


def diagnose(
    loader: Any,
    step: Callable[[Any], object] | None = None,
    *,
    seconds: float = 20.0,
    deep: bool = False,
) -> Report:
    """Iterate a loader, and say which resource bounds it.

    The loader is iterated as often as it takes, so its samplers and generators draw as in
    training. Ranks of a process group stop on their own: call it on one of them with a step that
    asks nothing of the others, or without a step.

    Args:
        loader: any torch.utils.data.DataLoader.
        step: called with each batch, as the training step would be. Without it the batches are
            only drained, and the verdict is about the loader alone.
        seconds: stop after so many seconds, or earlier once enough has been seen.
        deep: confirm the verdict by experiments on a copy of the loader, for at most 60 s more;
            the step then also runs on batches that it has had before. A dataset whose reading has
            side effects sets `wellfed_experiments = False` to be left out.

    Raises:
        NoVerdict: the loader gave no batch.
    """
    with Observation(Limits(seconds=seconds), stops=Stops.ALONE, keep_loaders=deep) as seen:
        while _epoch(loader, step) and seen.watching:
            pass
    report = seen.diagnose()
    return seen.confirm(report, step=step, budget_s=DEEP_S) if deep else report


def _epoch(loader: Any, step: Callable[[Any], object] | None) -> int:
    batches = 0
    for batch in loader:
        batches += 1
        if step is not None:
            step(batch)
    return batches


def render(report: Report, *, width: int = 80, color: bool = False) -> str:
    """The report as the card that the command line prints.

    Args:
        report: from `diagnose`, or from `wellfed.load`.
        width: columns of the page, at least 48.
        color: whether to write ANSI colours.
    """
    from wellfed._report.text import render_text

    return render_text(report, width=width, color=color)
