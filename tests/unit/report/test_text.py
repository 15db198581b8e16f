"""The card reads well on any page: wide, narrow, coloured, plain, ASCII."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from reports import FED, NOISY, STARVED
from rich.cells import cell_len

from wellfed._report.sheet import Page, Sheet
from wellfed._report.text import TextRenderer, _is_code, render_text
from wellfed.records import Report, Site
from wellfed.seams import Renderer

CARDS = Path(__file__).parents[2] / "golden" / "cards"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
ALL = pytest.mark.parametrize("report", [STARVED, FED, NOISY], ids=lambda r: r.verdict.name)


def golden() -> dict[str, Report]:
    spec = importlib.util.spec_from_file_location("make_cards", CARDS / "make_cards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, Report] = module.reports()
    return made


@pytest.mark.parametrize("name", ["cpu_underprovisioned", "consumer_bound", "too_noisy"])
def test_the_card_is_the_golden_one(name: str) -> None:
    """If a change is meant: python tests/golden/cards/make_cards.py, and look at the diff."""
    expected = (CARDS / f"{name}.txt").read_text(encoding="utf-8")

    assert expected == render_text(golden()[name])


@ALL
@pytest.mark.parametrize("width", [48, 60, 80, 100, 160])
def test_no_line_is_wider_than_the_page(report: Report, width: int) -> None:
    lines = render_text(report, width=width).splitlines()

    assert max(cell_len(line) for line in lines) == width
    assert all(line == line.rstrip() for line in lines)


@ALL
def test_without_colour_there_is_no_escape_sequence(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert "\x1b" not in render_text(report)


@ALL
def test_colour_changes_no_word(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = render_text(report, color=True)

    assert ANSI.search(coloured)
    assert ANSI.sub("", coloured) == render_text(report)


@ALL
def test_without_unicode_all_is_ascii(report: Report) -> None:
    text = render_text(report, unicode=False)

    assert text.isascii()
    assert max(map(len, text.splitlines())) == 80
    assert "\\x" not in text
    assert "\\u" not in text


def test_text_to_paste_stays_on_its_line_where_there_is_room() -> None:
    lines = [line.strip() for line in render_text(STARVED, width=60).splitlines()]

    assert "DO         num_workers=7, persistent_workers=True" in lines
    assert 'img.draft("RGB", (256, 256))' in lines


def test_a_number_stays_with_its_unit_at_every_width() -> None:
    for width in range(48, 100):
        for line in render_text(STARVED, width=width).splitlines():
            assert not re.match(r"\s*(ms|s|GB|%|µs)\b", line)
            assert not line.endswith(("±", "·"))


def test_a_long_path_loses_its_first_folders_not_its_line() -> None:
    site = Site(file="/very" * 20 + "/train.py", line=41)
    trace = msgspec.structs.replace(STARVED.trace, site=site)
    text = render_text(msgspec.structs.replace(STARVED, trace=trace))

    assert re.search(r"loader     …/very.*/train.py:41\n", text)


def test_a_card_without_site_or_numbers_still_draws() -> None:
    trace = msgspec.structs.replace(STARVED.trace, site=None)
    bare = msgspec.structs.replace(STARVED, trace=trace, stats=None, ledger=None)

    assert "loader     DataLoader(ImageFolder" in render_text(bare)


def test_the_renderer_keeps_its_seam() -> None:
    renderer: Renderer = TextRenderer(width=60)

    assert renderer.render(FED) == render_text(FED, width=60)


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        (
            "DataLoader(dataset, batch_size=64, num_workers=7, persistent_workers=True)",
            ["DataLoader(dataset, batch_size=64,", "num_workers=7, persistent_workers=True)"],
        ),
        (
            "srun --cpus-per-task=16 --gres=gpu:1 wellfed diagnose train.py",
            ["srun --cpus-per-task=16 --gres=gpu:1 \\", "wellfed diagnose train.py"],
        ),
        (
            "transform = Compose([Resize(256)])  # in the dataset, before decoding it all",
            ["# in the dataset, before decoding it", "# all", "transform = Compose([Resize(256)])"],
        ),
        ('open("a name, that, is, long, and, quoted, and, so, whole")', None),
        ("if slow:\n    faster()", ["if slow:", "    faster()"]),
    ],
)
def test_code_is_broken_only_where_it_still_means_the_same(
    code: str, lines: list[str] | None
) -> None:
    sheet = Sheet(Page(width=50))
    sheet.code("DO", code)

    assert [line[11:] for line in str(sheet).splitlines()] == (lines or [code])


def test_a_word_that_fits_no_line_is_cut() -> None:
    sheet = Sheet(Page(width=50))
    sheet.row("x", "w" * 100)

    assert [len(line) for line in str(sheet).splitlines()] == [50, 50, 33]


def test_wide_characters_count_as_two_columns() -> None:
    sheet = Sheet(Page(width=50))
    sheet.row("x", "数据" * 40)

    assert max(cell_len(line) for line in str(sheet).splitlines()) <= 50


def test_control_characters_in_a_name_do_not_reach_the_terminal() -> None:
    sheet = Sheet(Page())
    sheet.row("x", "tr\x1b[31main\x07.py\r")

    assert str(sheet) == "x          tr[31main.py\n"


def test_the_report_room_opens_without_torch() -> None:
    code = (
        "import sys, wellfed._report.text, wellfed._report.machine, wellfed._report.live, "
        "wellfed._report.compare; sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("num_workers=2", True),
        ("torch.set_num_threads(1)  # before the loop", True),
        ("leave the loader as it is", False),
        ("data.py:48: make decode() cheaper: do once what does not change", False),
        ("pack them in collate_fn: one tensor of all values", False),
        ("a name that is no UTF-8 \udcff", False),
        ("no\0text", False),
    ],
)
def test_only_what_can_be_pasted_is_broken_like_code(change: str, code: bool) -> None:
    assert _is_code(change) == code
