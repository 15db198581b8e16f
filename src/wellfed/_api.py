"""The verbs, each a few lines of composition."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wellfed._attach import Limits, Observation, Stops, Wanted
from wellfed._attach.observation import Watcher
from wellfed._budgets import DEEP_S, TUNE_S
from wellfed.records import Report
from wellfed.seams import Sink

__all__ = ["Observation", "diagnose", "observe", "render", "tune"]


def observe(*, export: Sequence[str | Sink] = (), progress: bool = False) -> Observation:
    """Watch every DataLoader that is iterated inside a `with` block.

    Nothing is stopped, replaced or reordered.

    Args:
        export: where to send how loaders do, once a second, and the verdict at the end:
            "jsonl:FILE", "tensorboard:FOLDER", "prometheus:[ADDRESS:]PORT", "wandb[:PROJECT]",
            or a `wellfed.seams.Sink` of your own. Each has a thread of its own; one that fails is
            switched off, with a warning.
        progress: show how it goes: a line below the cell of a notebook, or on a terminal's stderr.

    Raises:
        UsageError: an exporter is not known, or cannot be opened.
        MissingExtra: what one needs is not installed.

    Examples:
        >>> with wellfed.observe() as seen:  # doctest: +SKIP
        ...     train()
        >>> print(wellfed.render(seen.diagnose()))  # doctest: +SKIP
    """
    shown = _progress() if progress else None
    return Observation(Limits(full=True), export=export, progress=shown)


def diagnose(
    loader: Any,
    step: Callable[[Any], object] | None = None,
    *,
    seconds: float = 20.0,
    deep: bool = False,
    progress: bool = False,
    ignore: Sequence[str] = (),
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
        progress: show how it goes, as in `observe`.
        ignore: names or codes of findings that are known and meant to be so: "startup_respawn" or
            "WF601".

    Raises:
        NoVerdict: the loader gave no batch.
        UsageError: there is no such finding to ignore.
    """
    from wellfed._insight.codes import names_of
    from wellfed._insight.ignoring import ignoring

    names_of(ignore)
    shown = _progress() if progress else None
    with Observation(
        Limits(seconds=seconds), stops=Stops.ALONE, keep_loaders=deep, progress=shown
    ) as seen:
        while _epoch(loader, step) and seen.watching:
            pass
    report = seen.diagnose()
    if deep:
        report = seen.confirm(report, step=step, budget_s=DEEP_S)
    return ignoring(report, ignore)


def tune(
    loader: Any,
    step: Callable[[Any], object] | None = None,
    *,
    budget_s: float = TUNE_S,
    memory_bytes: int | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Find the best settings of a loader by a few measured trials.

    Trials run on copies of the loader: its iterators, samplers and generators are not drawn from,
    and random states are put back. Only how batches are made is tried, never which.

    Args:
        loader: any DataLoader of torch.
        step: called with each batch, as the training step would be; it runs on batches of all
            trials, so give it a model that may be trained away. Without it batches are only
            drained, and the answer is the fastest loader there is.
        budget_s: seconds that the trials may take; the watching before them takes up to a fifth
            of it more.
        memory_bytes: what the workers of a plan may take in all; None for no limit.
        sweep: instead of a search, run every combination of these values in turn, several times:
            `{"num_workers": [0, 2], "prefetch_factor": [2, 4], "pin_memory": [False, True]}`,
            also "multiprocessing_context", and "loader" of "torch" and "wellfed".
        tell: shown what each trial came to, a line at a time.

    Returns:
        A report with `tuning`: an answer for torch's loader, one for wellfed's, and all trials.

    Raises:
        NoVerdict: nothing can be tried on this loader; says why.
        UsageError: what is to be swept is no setting.
    """
    limits = Limits(seconds=max(1.0, budget_s / 5))
    with Observation(limits, stops=Stops.ALONE, keep_loaders=True) as seen:
        while _epoch(loader, step) and seen.watching:
            pass
    report = seen.diagnose()
    wanted = Wanted(budget_s=budget_s, memory_bytes=memory_bytes, sweep=sweep, tell=tell)
    return seen.tune(report, wanted, step=step)


def _progress() -> Watcher:
    from wellfed._report.live import Progress
    from wellfed._report.notebook import NotebookProgress, in_notebook

    return NotebookProgress() if in_notebook() else Progress()


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
