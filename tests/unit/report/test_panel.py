"""The live panel says how each trainer does, within the page it is given."""

from io import StringIO

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from statuses import NOW_UNIX_S, trainer_status
from wellfed._report.panel import MOST_WORKERS, Seen, panel
from wellfed.records import WorkerStatus

SEEN = Seen(
    loaders=(trainer_status(decisions=("2 workers to 4 would need 9 GB, and 8 GB are allowed",)),),
    busy_cores=2.04,
    memory_bytes=2_100_000_000,
    memory_limit_bytes=8_000_000_000,
)

AT_80 = """\
── wellfed top ─────────────────────────────────────────── 14:03:22 · q quits ──

trainer    pid 4242 · train.py --epochs 3
loader     /home/ana/train.py:41
           ImageFolder · processes, 2 workers, 4 batches ahead
batch      epoch 2 · 113 of 400 · 513 in all
speed      582 samples/s · 18 batches/s
step       55 ms = 38 ms waiting for data + 17 ms yours
waiting      69 % of the time          ████████████████████▊
ready        12 % when asked for       ███▋
memory       26 % 2.1 GB of 8.0 GB     ███████▉
cores      2.0 busy
worker       made    in    on CPU   busy
     0        113  108 ms    98 %   100 %  ██████████████████████████████
     1        112  104 ms       ?    50 %  ███████████████
decided    2 workers to 4 would need 9 GB, and 8 GB are allowed
────────────────────────────────────────────────────────────────────────────────
"""


def drawn(*seen: Seen, width: int = 80, height: int | None = None, color: bool = False) -> str:
    return panel(
        seen,
        now_unix_s=NOW_UNIX_S,
        clock="14:03:22 · q quits",
        width=width,
        height=height,
        color=color,
    )


def recorded(text: str, width: int) -> list[str]:
    """The lines that a terminal of so many columns shows."""
    console = Console(record=True, width=width, force_terminal=True, file=StringIO())
    console.print(Text.from_ansi(text), end="")
    return console.export_text().splitlines()


def test_a_trainer_at_80_columns() -> None:
    assert drawn(SEEN) == AT_80


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_each_line_as_it_was_drawn(width: int) -> None:
    plain = drawn(SEEN, width=width)

    assert recorded(drawn(SEEN, width=width, color=True), width) == plain.splitlines()
    assert max(cell_len(line) for line in plain.splitlines()) == width


def test_what_changes_leaves_all_else_in_its_place() -> None:
    loader = trainer_status(wait_share=0.04, wait_s=0.0021, step_s=0.9, samples_per_s=12_345.0)
    other = Seen(loaders=(loader,), busy_cores=0.3, memory_bytes=900_000, memory_limit_bytes=None)

    labels = [line[:11].rstrip() for line in drawn(other).splitlines()]

    assert labels[:12] == [line[:11].rstrip() for line in AT_80.splitlines()][:12]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("/usr/bin/python3", "-u", "/home/ana/train.py", "--lr", "1"), "train.py --lr 1"),
        (("python", "-m", "wellfed", "run", "train.py"), "wellfed run train.py"),
        (("jupyter",), "jupyter"),
        ((), ""),
        (("python", "train.py", "x" * 90), "train.py " + "x" * 48 + "…"),
    ],
)
def test_a_trainer_is_called_as_people_call_it(command: tuple[str, ...], said: str) -> None:
    status = replace(trainer_status(), command=command)

    assert f"trainer    pid 4242 · {said}".rstrip() in drawn(Seen(loaders=(status,))).splitlines()


def test_no_loader_says_what_would_be_seen() -> None:
    assert "No loader of yours runs here" in drawn()


def test_one_that_ended_says_so() -> None:
    text = drawn(Seen(loaders=SEEN.loaders, lives=False))

    assert "ended      after 513 batches of /home/ana/train.py:41" in text
    assert "samples/s" not in text


def test_a_loader_that_stands_still_says_for_how_long() -> None:
    still = Seen(loaders=(trainer_status(at_unix_s=NOW_UNIX_S - 12),))

    assert "no batch for 12 s · before: 18 batches/s" in drawn(still)


def test_a_loader_whose_steps_are_long_does_not_stand_still() -> None:
    slow = Seen(loaders=(trainer_status(at_unix_s=NOW_UNIX_S - 12, step_s=10.0),))

    assert "no batch" not in drawn(slow)


def test_other_loaders_of_the_process_have_a_line_each() -> None:
    both = Seen(loaders=(trainer_status(), trainer_status(site="/home/ana/train.py:60")))

    assert "also       /home/ana/train.py:60 · 513 batches · 69 % waiting" in drawn(both)


def test_workers_beyond_those_that_fit_are_counted() -> None:
    many = tuple(WorkerStatus(worker=n, last=n, fetch_s=0.1, busy_share=1.0) for n in range(40))

    assert f"and {40 - MOST_WORKERS} more" in drawn(
        Seen(loaders=(trainer_status(worker_status=many),))
    )


def test_trainers_that_do_not_fit_have_a_line_each() -> None:
    ranks = [
        Seen(loaders=(trainer_status(pid=100 + rank, rank=str(rank)),), lives=rank != 3)
        for rank in range(8)
    ]

    lines = drawn(*ranks, height=20).splitlines()

    assert len(lines) <= 20
    assert lines[3].split() == ["100", "0", "582", "69", "%", "12", "%", "…e/ana/train.py:41"]
    assert lines[6].split()[:3] == ["103", "3", "ended"]


def test_a_panel_never_has_more_lines_than_there_are() -> None:
    ranks = [Seen(loaders=(trainer_status(pid=100 + rank),)) for rank in range(80)]

    assert drawn(*ranks, height=10).count("\n") == 10
    assert drawn(SEEN, height=5).count("\n") == 5


def test_no_text_of_a_run_moves_the_cursor() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\r\n\x9b31m"
    status = trainer_status(site=evil, dataset=evil, backend=evil, decisions=(evil,), rank=evil)
    hostile = Seen(loaders=(status, status))

    for text in (drawn(hostile), drawn(hostile, hostile, hostile, height=4)):
        assert "\x1b" not in text
        assert not set(text) & {"\r", "\x07", "\x9b"}
