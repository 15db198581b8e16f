"""The card says what the report holds, in the order that a reader needs."""

import msgspec
import pytest
from reports import FED, NOISY, STARVED, est

from wellfed._report.figures import Advice, Row
from wellfed._report.titles import VERDICTS
from wellfed._report.view import view
from wellfed.records import Finding, Ledger, Line, Report, Verdict


def with_verdict(report: Report, **changes: object) -> Report:
    verdict = msgspec.structs.replace(report.verdict, **changes)
    return msgspec.structs.replace(report, verdict=verdict)


def test_the_verdict_has_plain_words_and_its_code() -> None:
    card = view(STARVED)

    assert card.title == "Too few workers: cores idle while you wait"
    assert card.code == "WF201"
    assert card.tone == "bad"
    assert card.confidence == 0.93


def test_a_name_without_a_title_is_said_in_its_own_words() -> None:
    card = view(with_verdict(STARVED, name="moon_phase"))

    assert card.title == "Moon phase"
    assert card.code == ""


@pytest.mark.parametrize("words", VERDICTS.values())
def test_every_title_fits_on_one_line_of_the_card(words: str) -> None:
    assert len(words) <= 55


def test_the_step_is_waiting_and_yours() -> None:
    split = view(STARVED).split

    assert split is not None
    assert split.period.value == pytest.approx(split.waiting.value + split.yours.value)
    assert split.samples_per_s == pytest.approx(64 / 0.2121)


def test_without_stages_the_step_is_split_by_its_share_of_waiting() -> None:
    assert STARVED.stats is not None
    stats = msgspec.structs.replace(STARVED.stats, stages={}, samples_per_batch=None)
    split = view(msgspec.structs.replace(STARVED, stats=stats)).split

    assert split is not None
    assert split.waiting.value == pytest.approx(0.1484)
    assert split.yours.value == pytest.approx(0.2121 - 0.1484)
    assert split.yours.low < split.yours.value < split.yours.high
    assert split.samples_per_s is None


def test_bars_are_sorted_and_slivers_are_gathered() -> None:
    bars = view(STARVED).bars

    assert [(bar.label, bar.role) for bar in bars] == [
        ("waiting for data", "waiting"),
        ("your step", "yours"),
        ("starting workers", "waiting"),
        ("everything else", "rest"),
    ]
    assert sum(bar.share for bar in bars) == pytest.approx(1)
    assert sum(bar.seconds for bar in bars) == pytest.approx(view(STARVED).wall_s)


def test_waiting_keeps_its_bar_however_small() -> None:
    assert [bar.label for bar in view(FED).bars][:2] == ["your step", "waiting for data"]


def test_an_empty_ledger_has_bars_of_no_length() -> None:
    ledger = Ledger(wall_s=0.0, lines=(Line(name="wait", seconds=0.0),))
    card = view(msgspec.structs.replace(STARVED, ledger=ledger))

    assert [bar.share for bar in card.bars] == [0.0]


def test_advice_has_the_text_to_paste_its_gain_and_its_side_effects() -> None:
    assert view(STARVED).advice == (
        Advice(
            change="num_workers=7, persistent_workers=True",
            gain="2.1x predicted, 1.9–2.3x",
            side_effects=("RAM +1.1 GB", "same samples, same order"),
            why="one core stays free for the trainer",
        ),
        Advice(
            change='img.draft("RGB", (256, 256))  # in your loader function, first',
            gain="+47 % measured, +40 to +54 %",
            side_effects=("pixels differ slightly from a full decode",),
            why="decoding is 71 % of a sample, and JPEG decodes to a half for less",
        ),
    )


def test_settings_that_gain_nothing_are_not_worth_changing() -> None:
    assert view(STARVED).not_worth == (
        Row(
            label="prefetch_factor",
            amount="+0 %",
            text="a deeper buffer only delays the first wait: supply is too slow",
        ),
        Row(label="pin_memory", amount="+1 %", text="the copy already overlaps with your step"),
    )


def test_a_setting_that_the_advice_changes_is_never_called_not_worth_it() -> None:
    knob = msgspec.structs.replace(STARVED.verdict.knobs[0], gain=est(1.0), best="4")
    card = view(with_verdict(STARVED, knobs=(knob,)))

    assert card.not_worth == ()


def test_a_setting_that_does_gain_is_not_called_not_worth_it() -> None:
    knob = msgspec.structs.replace(
        STARVED.verdict.knobs[1], name="in_order", best="False", gain=est(1.2, 1.15, 1.25)
    )

    assert view(with_verdict(STARVED, knobs=(knob,))).not_worth == ()


def test_other_findings_have_a_line_with_their_cost_and_remedy() -> None:
    assert view(STARVED).also == (
        Row(
            label="WF601",
            amount="costs 2 %",
            text="Every epoch starts 4 workers anew: 1.3 s each time. → persistent_workers=True",
        ),
    )


def test_a_finding_that_costs_nothing_yet_names_no_cost() -> None:
    risk = Finding(code="WF704", name="fd_limit", sentence="Near.", cost_share=est(0.0))
    card = view(with_verdict(STARVED, findings=(risk,)))

    assert card.also == (Row(label="WF704", text="Near."),)


def test_nothing_to_fix_is_good_news_without_advice() -> None:
    card = view(FED)

    assert card.tone == "good"
    assert card.advice == ()
    assert [row.label for row in card.not_worth] == ["num_workers", "prefetch_factor"]


def test_an_abstention_says_why_and_what_to_run_and_claims_nothing() -> None:
    card = view(NOISY)

    assert card.tone == "unsure"
    assert card.headline == NOISY.verdict.abstains
    assert card.confidence is None
    assert card.ceiling is None
    assert [one.change for one in card.advice] == [
        "wellfed diagnose --seconds 120 train.py --epochs 1"
    ]


def test_after_a_long_run_an_abstention_asks_for_twice_as_long() -> None:
    trace = msgspec.structs.replace(NOISY.trace, ended_ns=100_000_000_000)
    card = view(msgspec.structs.replace(NOISY, trace=trace))

    assert "--seconds 240" in card.advice[0].change


@pytest.mark.parametrize(
    "command", [(), ("wellfed", "diagnose", "--steps", "5", "train.py"), ("python", "train.py")]
)
def test_an_abstention_without_a_usual_command_names_the_usual_one(
    command: tuple[str, ...],
) -> None:
    card = view(msgspec.structs.replace(NOISY, command=command))

    assert card.advice[0].change == "wellfed diagnose --seconds 120 train.py"


def test_too_little_seen_is_a_card_too() -> None:
    verdict = Verdict(name="not_enough_evidence", headline="", abstains="Only 3 batches came.")
    card = view(msgspec.structs.replace(STARVED, stats=None, ledger=None, verdict=verdict))

    assert card.split is None
    assert card.bars == ()
    assert card.small_print[0] == Row(label="watched", text="291 batches, too few to time a step")


def test_the_loader_is_written_as_one_would_write_it() -> None:
    card = view(STARVED)

    assert card.site == "/home/ana/vision/train.py:41"
    assert card.call == (
        "DataLoader(ImageFolder, batch_size=64, num_workers=4, prefetch_factor=2, pin_memory=True)"
    )


def test_the_small_print_names_warm_up_cold_batches_and_the_cost_of_watching() -> None:
    rows = {row.label: row.text for row in view(STARVED).small_print}

    assert rows["watched"] == "279 batches in 59 s, after 12 of warm-up"
    assert rows["cold"].startswith("the first 40 batches came from storage")
    assert rows["overhead"] == "watching cost 210 µs a batch (0.1 % of the step)"
    assert rows["others"] == ("1 other loader, 1.2 s of waiting: /home/ana/vision/train.py:47")


def test_three_unread_signals_are_named_and_the_rest_counted() -> None:
    unread = [row.text for row in view(STARVED).small_print if row.label == "unread"]

    assert unread == [*STARVED.unread[:3], "and 2 more: --json"]


def test_ranks_and_a_failed_script_are_mentioned() -> None:
    trace = msgspec.structs.replace(STARVED.trace, rank=3, world=8, ended_because="raised")
    card = view(msgspec.structs.replace(STARVED, trace=trace))

    assert card.small_print[0].text.endswith("on rank 3 of 8; then the script failed")
