"""What this process may really use, each number with how it was found."""

from collections.abc import Callable
from typing import Any

from wellfed._report.figures import Row
from wellfed._report.sheet import Page, Sheet
from wellfed.records import Fact, Gpu, Machine
from wellfed.records.amounts import share, size

__all__ = ["machine_rows", "render_machine", "say"]

# A fact that is absent by nature, not by failure, says so with this word (see `Machine.unread`).
NONE = "none:"

GUTTER = 26
"""Columns before what was found out: the longest label, its value and the blanks between."""


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _gpus(gpus: tuple[Gpu, ...]) -> str:
    return str(len(gpus)) if gpus else "none"


_Shown = tuple[str, str, Callable[[Any], str]]
"""Field of `Machine`, its label, and how its value is said."""

GROUPS: tuple[tuple[_Shown, ...], ...] = (
    (
        ("cpus_usable", "CPUs you may use", _plain),
        ("cpus_host", "  on the host", _plain),
        ("cpus_affinity", "  affinity", _plain),
        ("cpus_quota", "  quota", _plain),
        ("cpus_slurm", "  Slurm", _plain),
        ("parallel_efficiency", "  each, all busy", share),
        ("threads_intra_op", "torch threads", _plain),
    ),
    (
        ("memory_available_bytes", "memory free", size),
        ("memory_total_bytes", "  on the host", size),
        ("memory_limit_bytes", "  limit", size),
        ("memory_used_bytes", "  used of limit", size),
        ("swap_free_bytes", "swap free", size),
        ("swap_total_bytes", "  in all", size),
        ("shm_free_bytes", "/dev/shm free", size),
        ("shm_total_bytes", "  in all", size),
        ("fd_limit", "open files", _plain),
    ),
    (("gpus", "GPUs", _gpus),),
    (
        ("start_method", "workers start", _plain),
        ("torch_version", "torch", _plain),
        ("python_version", "Python", _plain),
        ("platform", "platform", _plain),
    ),
)
"""All facts of a `Machine`, in the order of what usually limits a loader first."""


def render_machine(
    machine: Machine, *, width: int = 80, color: bool = False, unicode: bool = True
) -> str:
    """The machine as this process sees it.

    Args:
        machine: what was found.
        width: columns of the page.
        color: whether to write ANSI colours.
        unicode: whether the reader's terminal can show more than ASCII.
    """
    sheet = Sheet(Page(width=width, color=color, unicode=unicode), gutter=GUTTER)
    sheet.rule("wellfed", "machine")
    for rows in machine_rows(machine):
        sheet.blank()
        for row in rows:
            sheet.row(f"{row.label:<16}{row.amount:>8}", (row.text, "small"))
    unread = machine.unread()
    if unread:
        sheet.blank()
        for number, fact in enumerate(unread):
            sheet.row("" if number else "not readable", (fact, "small"))
    sheet.rule()
    return str(sheet)


def machine_rows(machine: Machine) -> tuple[tuple[Row, ...], ...]:
    """The facts that were read, in groups: label, value, and how it was found."""
    groups = (
        tuple(
            row for name, label, say in shown for row in _rows(label, getattr(machine, name), say)
        )
        for shown in GROUPS
    )
    return tuple(group for group in groups if group)


def say(name: str, fact: Fact[Any]) -> tuple[str, str]:
    """The label of a field of `Machine` and its value in words; "unknown" if it was not read."""
    label, words = next(
        (label, words) for group in GROUPS for field, label, words in group if field == name
    )
    if fact.value is None:
        return label.strip(), "none" if fact.how.startswith(NONE) else "unknown"
    return label.strip(), words(fact.value)


def _rows(label: str, fact: Fact[Any], say: Callable[[Any], str]) -> list[Row]:
    """The fact's row; none if it could not be read."""
    if fact.value is None and not fact.how.startswith(NONE):
        return []
    if fact.value is None:
        return [Row(label=label, amount="none", text=fact.how.removeprefix(NONE).strip())]
    if isinstance(fact.value, str):
        return [Row(label=label, text=f"{fact.value} · {fact.how}")]
    rows = [Row(label=label, amount=say(fact.value), text=fact.how)]
    if say is _gpus:
        rows += [_gpu(gpu) for gpu in fact.value]
    return rows


def _gpu(gpu: Gpu) -> Row:
    busy = "" if gpu.busy_share is None else f", {share(gpu.busy_share)} busy"
    text = f"{gpu.name}, {size(gpu.memory_bytes)}{busy}"
    return Row(label=f"  GPU {gpu.index}", text=text)
