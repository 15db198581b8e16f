"""The demonstration: real JPEG files, a common bad setting, the remedy, and what it gained.

    make pictures ─► diagnose the training script ─► card, page
                     ├ apply the first remedy ─► diagnose again ─► predicted against measured, page
                     └ tune the script as it was ─► torch's best, wellfed's best, page ─► in short

All runs are plain `wellfed` commands on the shipped script, in processes of their own.
"""

import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

from wellfed._report.compare import contrast
from wellfed._report.files import Files
from wellfed.errors import MissingExtra, NoVerdict
from wellfed.records import Plan, Remedy, Report, load
from wellfed.records.amounts import gain

__all__ = ["examples_folder", "in_short", "run_demo"]

Tell = Callable[[str], None]

# Of the two minutes that all of it may take: watching, and trials for both loaders. Where each run
# is watched for less, so are they.
TUNE_WATCHED_S = 8.0
TUNE_BUDGET_S = 35.0


def run_demo(
    folder: Path | None,
    seconds: float,
    *,
    card: Callable[[Report], None],
    compare: Callable[[Report, Report, Remedy], None],
    tell: Tell,
    say: Tell,
) -> int:
    """Run the demonstration and return its exit code.

    Args:
        folder: where the pictures are made and kept; None takes the script's own default.
        seconds: at most so long each run is watched after its first batch.
        card: shows the report of the first run.
        compare: shows both runs side by side, with the remedy that was applied.
        tell: says a line while it goes on.
        say: prints a line of what came of it.

    Raises:
        MissingExtra: Pillow is not installed.
        NoVerdict: a run could not be judged.
    """
    examples = examples_folder()
    data = ["--data", str(folder)] if folder is not None else []
    tell("wellfed: making 1,200 JPEG files, once; then three runs of the same training script.")
    _make_pictures(examples, folder)
    with tempfile.TemporaryDirectory(prefix="wellfed-demo-") as reports:
        before = _diagnosed(examples, data, Path(reports) / "before.json", seconds, tell)
        if before.verdict.abstains:
            tell(f"wellfed: once more, because {before.verdict.abstains}")
            before = _diagnosed(examples, data, Path(reports) / "before.json", seconds, tell)
        card(before)
        pages = _pages(folder)
        Files(html=pages / "before.html").write(before, tell)
        remedy = first_remedy(before)
        if remedy is None or remedy.plan is None:
            why = before.verdict.abstains or "no setting of the loader would gain here."
            tell(f"wellfed: there is nothing to apply: {why}")
            return 3 if before.verdict.abstains else 0
        options = as_options(remedy.plan)
        tell(f"wellfed: applying the remedy: train_images.py {' '.join(options)}")
        after = _diagnosed(examples, [*data, *options], Path(reports) / "after.json", seconds, tell)
        compare(before, after, remedy)
        Files(html=pages / "after.html").write(after, tell)
        tuned = _tuned(examples, data, Path(reports) / "tuned.json", seconds, tell)
    files = [pages / "before.html", pages / "after.html"]
    if tuned is not None:
        card(tuned)
        Files(html=pages / "tuned.html").write(tuned, tell)
        files.append(pages / "tuned.html")
    for line in in_short(before, after, remedy, tuned, files):
        say(line)
    return 0


def in_short(
    before: Report, after: Report, remedy: Remedy, tuned: Report | None, files: list[Path]
) -> list[str]:
    """What all of it came to, an entry each. Gains are over the script as it was.

    Args:
        before: the first run.
        after: the run with the remedy.
        remedy: what was applied.
        tuned: the report of tuning the script as it was; None if that was not possible.
        files: the pages.
    """
    lines = ["", f"diagnosed         {before.verdict.name}: {before.verdict.headline}"]
    seen = contrast(before, after).measured
    if remedy.gain is not None and seen is not None:
        told = f"{gain(seen.value)} measured, {gain(remedy.gain.value)} predicted"
        lines.append(f"as advised        {told}: {remedy.change}")
    for loader, label in (("torch", "tuned for torch"), ("wellfed", "on wellfed")):
        answer = tuned.tuning.answer(loader) if tuned is not None and tuned.tuning else None
        if answer is not None:
            lines.append(f"{label:<18}{gain(answer.gain.value)} measured: {answer.change}")
    folded = [textwrap.fill(line, 80, subsequent_indent=" " * 18) for line in lines]
    labels = ["the reports"] + [""] * len(files)
    return folded + [f"{label:<18}{file}" for label, file in zip(labels, files, strict=False)]


def _pages(pictures: Path | None) -> Path:
    """Where the pages of both runs are kept: beside the pictures."""
    folder = pictures or Path(tempfile.gettempdir()) / "demo-jpegs"
    pages = folder.with_name(f"{folder.name}-reports")
    pages.mkdir(parents=True, exist_ok=True)
    return pages


def first_remedy(report: Report) -> Remedy | None:
    """The first remedy of the binding finding that is a setting with an expected gain."""
    bound = next((one for one in report.verdict.findings if one.name == report.verdict.name), None)
    if bound is None:
        return None
    return next((one for one in bound.remedies if one.plan is not None and one.gain), None)


def as_options(plan: Plan) -> list[str]:
    """The plan as command-line options of the shipped script."""
    options = ["--workers", str(plan.workers)]
    if plan.workers and plan.prefetch is not None:
        options += ["--prefetch", str(plan.prefetch)]
    if plan.persistent:
        options.append("--persistent")
    return options


def examples_folder() -> Path:
    """Where the shipped scripts are: inside an installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_examples", here.parents[1] / "examples"):
        if (folder / "train_images.py").exists():
            return folder
    raise NoVerdict("the example scripts are not in this installation. Install wellfed again.")


def _make_pictures(examples: Path, folder: Path | None) -> None:
    command = [sys.executable, str(examples / "make_jpegs.py")]
    made = subprocess.run([*command, *([str(folder)] if folder is not None else [])], check=False)
    if made.returncode:
        raise MissingExtra(
            "the pictures could not be made; the demonstration needs Pillow: "
            "pip install 'wellfed[demo]'"
        )


def _diagnosed(
    examples: Path, options: list[str], report: Path, seconds: float, tell: Tell
) -> Report:
    """The report of one run; the script's own prints and the run's card are left out."""
    return _watched(["diagnose", "--seconds", f"{seconds:g}"], examples, options, report, tell)


def _tuned(
    examples: Path, data: list[str], report: Path, seconds: float, tell: Tell
) -> Report | None:
    """The report of tuning the script as it was; None, and said, where that was not possible."""
    tell("wellfed: tuning the script as it was, for at most a minute.")
    watched_s, budget_s = min(TUNE_WATCHED_S, seconds), min(TUNE_BUDGET_S, 2 * seconds)
    verb = ["tune", "--seconds", f"{watched_s:g}", "--budget", f"{budget_s:g}"]
    try:
        return _watched(verb, examples, data, report, tell)
    except NoVerdict as error:
        tell(f"wellfed: {error}")
        return None


def _watched(
    verb: list[str], examples: Path, options: list[str], report: Path, tell: Tell
) -> Report:
    script = [str(examples / "train_images.py"), "--epochs", "1000", *options]
    watch = ["-m", "wellfed", *verb, "--json", str(report)]
    ran = subprocess.run([sys.executable, *watch, *script], stdout=subprocess.PIPE, check=False)
    if not report.exists():
        tell(ran.stdout.decode(errors="replace"))
        raise NoVerdict(f"the training script ended with exit code {ran.returncode}.")
    return load(report)
