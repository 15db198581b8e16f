"""Running loaders as a panel of text: what `wellfed top` shows, four times a second.

A trainer gets a paragraph while all of them fit the screen, and a line in a table where they do
not. Numbers keep their places from one panel to the next, so that only what changes moves.
"""

from collections.abc import Sequence

from wellfed._report.sheet import Page, Part, Sheet
from wellfed.records import LoaderStatus, TrainerStatus, WorkerStatus
from wellfed.records._record import Record
from wellfed.records.amounts import duration, share, size

__all__ = ["Seen", "panel"]

BAR_MOST = 30
MOST_WORKERS = 16
"""Workers in a paragraph; the others are counted."""

# A loader that gave no batch for so long, and for three of its periods, stands still.
STILL_S = 3.0
STILL_PERIODS = 3

# From here on waiting is drawn as waiting (see `LoaderStatus.wait_share`).
WORTH_A_LOOK = 0.05


class Seen(Record, frozen=True, kw_only=True):
    """A trainer, with what it takes of the machine."""

    loaders: tuple[TrainerStatus, ...]
    """Its loaders, the one that gave a batch last first."""
    lives: bool = True
    busy_cores: float | None = None
    """Cores that it and its workers keep busy; None if not known."""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    """What they may have: of the loader, of the control group, or of the machine."""

    @property
    def first(self) -> TrainerStatus:
        """The loader that gave a batch last."""
        return self.loaders[0]


def panel(
    seen: Sequence[Seen],
    *,
    now_unix_s: float,
    clock: str = "",
    width: int = 80,
    height: int | None = None,
    color: bool = False,
    unicode: bool = True,
) -> str:
    """The panel.

    Args:
        seen: trainers, those that run first.
        now_unix_s: seconds of the wall clock.
        clock: the same as people say it, and what else is to stand at the upper right.
        width: columns of the page.
        height: lines of it; None: as many as it takes.
        color: whether to write ANSI colours.
        unicode: whether the reader's terminal can show more than ASCII.
    """
    page = Page(width=width, color=color, unicode=unicode)
    whole = _drawn(page, seen, now_unix_s, clock, in_full=True)
    if height is None or whole.count("\n") <= height:
        return whole
    table = _drawn(page, seen, now_unix_s, clock, in_full=len(seen) < 2).splitlines(keepends=True)
    return "".join(table[:height])


def _drawn(
    page: Page, seen: Sequence[Seen], now_unix_s: float, clock: str, *, in_full: bool
) -> str:
    sheet = Sheet(page) if in_full else Sheet(page, gutter=1)
    sheet.rule("wellfed top", clock)
    if not seen:
        sheet.blank()
        sheet.row("", "No loader of yours runs here that can be seen.")
        sheet.row(
            "",
            (
                "Seen are wellfed's own DataLoader, and all loaders of a run under wellfed run, "
                "wellfed diagnose or wellfed.observe(), from a quarter of a second on.",
                "small",
            ),
        )
    if seen and not in_full:
        sheet.blank()
        _table(sheet, seen, now_unix_s)
    elif seen:
        for one in seen:
            sheet.blank()
            _paragraph(sheet, one, now_unix_s)
    sheet.rule()
    return str(sheet)


# -- a trainer in full


def _paragraph(sheet: Sheet, seen: Seen, now_unix_s: float) -> None:
    loader = seen.first.loader
    _head(sheet, seen)
    if not seen.lives:
        sheet.row("ended", (f"after {loader.batches:,} batches of {_name(loader)}", "small"))
        return
    _loader(sheet, loader)
    _speed(sheet, loader, now_unix_s)
    _shares(sheet, seen)
    _workers(sheet, loader.worker_status)
    for place, sentence in enumerate(reversed(loader.decisions)):
        sheet.row("" if place else "decided", (sentence, "" if not place else "small"))
    for place, other in enumerate(seen.loaders[1:]):
        sheet.row("" if place else "also", (_other(other.loader, now_unix_s), "small"))


def _head(sheet: Sheet, seen: Seen) -> None:
    status = seen.first
    rank = f" · rank {status.rank}" if status.rank else ""
    words = f"pid {status.pid}{rank}"
    script = sheet.plain(_script(status.command))
    room = sheet.room - len(words) - 3
    script = script if len(script) <= room else script[: max(0, room - 1)] + "…"
    sheet.row("trainer", (words, "strong"), " · ", (script, "small"))


def _loader(sheet: Sheet, loader: LoaderStatus) -> None:
    made = f"{loader.backend}, {_plural(loader.workers, 'worker')}"
    if not loader.workers:
        made = "in the trainer's process"
    if loader.depth:
        made += f", {loader.depth} batches ahead"
    sheet.row("loader", _name(loader))
    sheet.row("", (f"{_class(loader)} · {made}" if loader.site else made, "small"))
    of = f" of {loader.batches_per_epoch:,}" if loader.batches_per_epoch else ""
    sheet.flow(
        "batch",
        [f"epoch {loader.epoch + 1}", f"{loader.number + 1:,}{of}", f"{loader.batches:,} in all"],
    )


def _speed(sheet: Sheet, loader: LoaderStatus, now_unix_s: float) -> None:
    still_s = _still_s(loader, now_unix_s)
    rate = f"{_rate(loader.batches_per_s)} batches/s"
    pieces: list[Part] = [rate]
    if loader.samples_per_s is not None:
        pieces = [(f"{_rate(loader.samples_per_s)} samples/s", "strong"), rate]
    if still_s:
        pieces = [(f"no batch for {duration(still_s)}", "unsure"), (f"before: {rate}", "small")]
    sheet.flow("speed", pieces)
    sheet.row(
        "step",
        f"{duration(loader.wait_s + loader.step_s)} = ",
        (f"{duration(loader.wait_s)} waiting for data", "waiting"),
        " + ",
        (f"{duration(loader.step_s)} yours", "yours"),
    )


def _shares(sheet: Sheet, seen: Seen) -> None:
    loader = seen.first.loader
    style = "waiting" if loader.wait_share >= WORTH_A_LOOK else "yours"
    _bar(sheet, "waiting", "of the time", loader.wait_share, style)
    if loader.ready_share is not None:
        _bar(sheet, "ready", "when asked for", loader.ready_share, "rest")
    if seen.memory_bytes is not None:
        words, limit = size(seen.memory_bytes), seen.memory_limit_bytes
        if limit:
            _bar(sheet, "memory", f"{words} of {size(limit)}", seen.memory_bytes / limit, "rest")
        else:
            sheet.row("memory", words)
    if seen.busy_cores is not None:
        sheet.row("cores", f"{seen.busy_cores:.1f} busy")


def _bar(sheet: Sheet, label: str, words: str, of_one: float, style: str) -> None:
    text = f"{share(of_one):>6} {words:<20} "
    sheet.bar(label, text, min(1.0, of_one), min(BAR_MOST, sheet.room - len(text)), style)


def _workers(sheet: Sheet, workers: Sequence[WorkerStatus]) -> None:
    if not workers:
        return
    sheet.row("worker", ("  made    in    on CPU   busy", "small"))
    for one in workers[:MOST_WORKERS]:
        cpu = "?" if one.cpu_share is None else share(one.cpu_share)
        words = (
            f"{one.last + 1:>6,} {duration(one.fetch_s):>7} {cpu:>7} {share(one.busy_share):>7}  "
        )
        columns = min(BAR_MOST, sheet.room - len(words))
        label = "trainer" if one.worker < 0 else f"{one.worker:>6}"
        sheet.bar(label, words, one.busy_share, columns, "rest")
    if len(workers) > MOST_WORKERS:
        sheet.row("", (f"and {len(workers) - MOST_WORKERS} more", "small"))


def _other(loader: LoaderStatus, now_unix_s: float) -> str:
    still_s = _still_s(loader, now_unix_s)
    how = f"no batch for {duration(still_s)}" if still_s else f"{share(loader.wait_share)} waiting"
    return f"{_name(loader)} · {loader.batches:,} batches · {how}"


# -- all trainers in a table

_COLUMNS = "{:>8} {:>4}  {:>11} {:>8} {:>7} {:>6} {:>8}  "


def _table(sheet: Sheet, seen: Sequence[Seen], now_unix_s: float) -> None:
    names = ("pid", "rank", "samples/s", "waiting", "ready", "cores", "memory")
    sheet.code("", _COLUMNS.format(*names) + "loader", style="small")
    for one in seen:
        loader = one.first.loader
        per_s = loader.samples_per_s if loader.samples_per_s is not None else loader.batches_per_s
        still_s = _still_s(loader, now_unix_s)
        words = _COLUMNS.format(
            one.first.pid,
            one.first.rank,
            "ended" if not one.lives else "still" if still_s else _rate(per_s),
            share(loader.wait_share),
            "" if loader.ready_share is None else share(loader.ready_share),
            "" if one.busy_cores is None else f"{one.busy_cores:.1f}",
            "" if one.memory_bytes is None else size(one.memory_bytes),
        )
        sheet.code("", words + _tail(_name(loader), sheet.room - len(words)), style="")


# -- words


def _still_s(loader: LoaderStatus, now_unix_s: float) -> float:
    """Seconds without a batch; 0 while it goes on."""
    still_s = now_unix_s - loader.at_unix_s
    period_s = loader.wait_s + loader.step_s
    return still_s if still_s > max(STILL_S, STILL_PERIODS * period_s) else 0.0


def _name(loader: LoaderStatus) -> str:
    return loader.site or _class(loader)


def _script(command: Sequence[str]) -> str:
    """The command as people call it: from its script on, without folders."""
    words = list(command[1:])
    while words and words[0].startswith("-") and words[0] != "-m":
        words.pop(0)
    if words[:1] == ["-m"]:
        return " ".join(words[1:])
    return " ".join((words[0].rpartition("/")[2], *words[1:])) if words else " ".join(command)


def _class(loader: LoaderStatus) -> str:
    return loader.dataset.rpartition(".")[2]


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.2f}"


def _plural(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def _tail(words: str, room: int) -> str:
    """The end of it, which tells more than its beginning."""
    return words if len(words) <= room else "…" + words[-max(0, room - 1) :]
