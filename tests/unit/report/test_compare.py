"""Before and after say what was gained, and whether the prediction held."""

import msgspec
import pytest
from reports import FASTER, STARVED, est

from wellfed._report.compare import Change, contrast, render_compare


def test_the_gain_is_measured_with_an_interval() -> None:
    measured = contrast(STARVED, FASTER).measured

    assert measured is not None
    assert measured.value == pytest.approx(0.2121 / 0.101)
    assert measured.low < measured.value < measured.high
    assert measured.spread == pytest.approx(0.02 * 2**0.5, rel=0.01)


def test_a_larger_batch_counts_by_its_samples() -> None:
    assert FASTER.stats is not None
    stats = msgspec.structs.replace(FASTER.stats, samples_per_batch=128)
    measured = contrast(STARVED, msgspec.structs.replace(FASTER, stats=stats)).measured

    assert measured is not None
    assert measured.value == pytest.approx(2 * 0.2121 / 0.101)


def test_only_settings_that_differ_are_listed() -> None:
    assert contrast(STARVED, FASTER).changed == (
        Change(label="num_workers", before="4", after="7"),
        Change(label="persistent_workers", before="False", after="True"),
    )


def test_a_prediction_that_holds_is_said_to_hold() -> None:
    seen = contrast(STARVED, FASTER, est(2.1, 1.9, 2.3))

    assert seen.holds is True
    assert seen.sentence == "The prediction held: 2.1x lies inside 1.9–2.3x."


def test_a_prediction_that_misses_is_said_to_miss() -> None:
    seen = contrast(STARVED, FASTER, est(2.8, 2.5, 3.3))

    assert seen.holds is False
    assert seen.sentence == "The prediction missed: 2.1x lies outside 2.5–3.3x."


def test_without_statistics_nothing_is_claimed() -> None:
    seen = contrast(msgspec.structs.replace(STARVED, stats=None), FASTER, est(2.0))

    assert seen.measured is None
    assert seen.holds is None
    assert seen.sentence == "Too few batches were seen to compare the two runs."
    assert "●" in render_compare(STARVED, FASTER, est(2.0))


@pytest.mark.parametrize("width", [48, 60, 80])
def test_the_page_is_kept(width: int) -> None:
    text = render_compare(STARVED, FASTER, est(2.8, 2.5, 3.3), width=width, unicode=False)

    assert text.isascii()
    assert max(map(len, text.splitlines())) == width


def test_both_intervals_are_drawn_on_one_scale() -> None:
    lines = render_compare(STARVED, FASTER, est(2.8, 2.5, 3.3)).splitlines()
    measured = next(line for line in lines if line.startswith("measured"))
    predicted = next(line for line in lines if line.startswith("predicted"))

    assert measured.index("│") == predicted.index("│")
    assert measured.index("┤") < predicted.index("├")
