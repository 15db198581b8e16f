"""Draw how a batch travels, for docs/explanation/how-batches-travel.md.

Usage:
    python docs/img/make_journey.py
"""

from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT = 920, 600
INK, PAPER, FAINT, ACCENT, SHARED = "#263238", "#ffffff", "#eceff1", "#00796b", "#fff3e0"
WIDE, HIGH = 240, 58
"""Of a box."""


class Box(NamedTuple):
    """Something that does a part of the work."""

    x: int
    y: int
    title: str
    says: str
    fill: str = PAPER
    high: int = HIGH

    @property
    def left(self) -> tuple[int, int]:
        """The middle of its left side."""
        return self.x, self.y + self.high // 2

    @property
    def right(self) -> tuple[int, int]:
        """The middle of its right side."""
        return self.x + WIDE, self.y + self.high // 2

    @property
    def top(self) -> tuple[int, int]:
        """The middle of its upper side."""
        return self.x + WIDE // 2, self.y

    @property
    def bottom(self) -> tuple[int, int]:
        """The middle of its lower side."""
        return self.x + WIDE // 2, self.y + self.high


TRAINER, BETWEEN, WORKER = 30, 340, 650

SAMPLER = Box(TRAINER, 65, "sampler", "the indices of batch k")
FLOW = Box(TRAINER, 160, "flow", "who makes it, and when")
UNPACK = Box(TRAINER, 345, "unpack", "tensors on the slab: a lease")
LOOP = Box(TRAINER, 430, "your loop", "uses the batch, or keeps it")
ENDED = Box(TRAINER, 515, "lease ends", "the last alias is gone")
SLAB = Box(BETWEEN, 262, "slab", "memory that both have mapped", SHARED)
BOARD = Box(BETWEEN, 515, "board", "a byte a slab: it is free", SHARED)
TEMPLATE = Box(BETWEEN, 65, "template", "a process that forks workers")
START = Box(WORKER, 65, "start", "seeds, worker_init_fn")
MAKER = Box(WORKER, 160, "maker", "fetches the samples")
COLLATE = Box(WORKER, 262, "collate", "stacks them where they travel")
HANDOVER = Box(WORKER, 345, "handover", "says where in the slab it lies")
AGAIN = Box(WORKER, 515, "slabs", "it is written again, as in 4")
BOXES = (SAMPLER, FLOW, UNPACK, LOOP, ENDED, SLAB, BOARD)
BOXES += (TEMPLATE, START, MAKER, COLLATE, HANDOVER, AGAIN)


def picture() -> str:
    """The whole drawing."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" role="img" '
        'aria-label="The way of a batch from its indices to the training loop and back">',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{ACCENT}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{PAPER}"/>',
        *(lane(x, name) for x, name in ((TRAINER, "trainer"), (WORKER, "worker"))),
        *(box(one) for one in BOXES),
        arrow(SAMPLER.bottom, FLOW.top, "1"),
        arrow(FLOW.right, MAKER.left, "2  Task, on the worker's socket or on the shared one"),
        arrow(TEMPLATE.right, START.left, "fork", dashed=True),
        arrow(START.bottom, MAKER.top, ""),
        arrow(MAKER.bottom, COLLATE.top, "3"),
        arrow(COLLATE.left, SLAB.right, "4"),
        arrow(COLLATE.bottom, HANDOVER.top, ""),
        arrow(HANDOVER.left, UNPACK.right, "5  Record, one message a batch"),
        arrow(SLAB.left, (UNPACK.x + WIDE - 30, UNPACK.y), "", dashed=True),
        arrow(UNPACK.bottom, LOOP.top, "6"),
        arrow(LOOP.bottom, ENDED.top, "7"),
        arrow(ENDED.right, BOARD.left, "8"),
        arrow(BOARD.right, AGAIN.left, ""),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def lane(x: int, name: str) -> str:
    return (
        f'<rect x="{x - 15}" y="15" width="{WIDE + 30}" height="{HEIGHT - 30}" rx="8" '
        f'fill="{FAINT}"/>' + text(x + WIDE // 2, 42, f"{name}'s process", 15, INK)
    )


def box(one: Box) -> str:
    middle = one.x + WIDE // 2
    return (
        f'<rect x="{one.x}" y="{one.y}" width="{WIDE}" height="{one.high}" rx="6" '
        f'fill="{one.fill}" stroke="{INK}"/>'
        + text(middle, one.y + 24, one.title, 15, ACCENT)
        + text(middle, one.y + 45, one.says, 13, INK)
    )


def arrow(start: tuple[int, int], end: tuple[int, int], says: str, *, dashed: bool = False) -> str:
    (x1, y1), (x2, y2) = start, end
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    upright = x1 == x2
    at = (x1 + 16 + 3 * len(says), (y1 + y2) // 2 + 5) if upright else ((x1 + x2) // 2, y1 - 8)
    line = (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{ACCENT}" stroke-width="2"'
        f'{dashes} marker-end="url(#tip)"/>'
    )
    return line + (text(*at, says, 13, INK) if says else "")


def text(x: int, y: int, says: str, size: int, fill: str) -> str:
    where = f'x="{x}" y="{y}" text-anchor="middle"'
    return f'<text {where} font-size="{size}" fill="{fill}">{says}</text>'


if __name__ == "__main__":
    Path(__file__).with_name("journey.svg").write_text(picture())
