"""Before and after say what was gained, and whether the prediction held."""

import msgspec
import pytest
from reports import FASTER, STARVED, est

from wellfed._report.compare import contrast, render_compare, slower_than
from wellfed._report.figures import Change


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


def test_what_else_differs_is_listed_and_what_fluctuates_is_not() -> None:
    quota = msgspec.structs.replace(STARVED.machine.cpus_quota, value=4.0)
    free = msgspec.structs.replace(STARVED.machine.memory_available_bytes, value=1)
    machine = msgspec.structs.replace(
        STARVED.machine, cpus_quota=quota, memory_available_bytes=free
    )
    after = msgspec.structs.replace(STARVED, machine=machine)

    assert contrast(STARVED, after).surroundings == (Change(label="quota", before="8", after="4"),)
    assert "8 → 4" in render_compare(STARVED, after)


def test_another_batch_size_is_said_to_be_another() -> None:
    workload = msgspec.structs.replace(FASTER.workload, batch_size=128)
    seen = contrast(STARVED, msgspec.structs.replace(FASTER, workload=workload))

    assert seen.caveats == (
        "The batch size differs: 64, then 128; speeds are compared by samples.",
    )


def test_the_same_run_twice_does_not_differ() -> None:
    seen = contrast(STARVED, STARVED)

    assert seen.differs is False
    assert seen.sentence.startswith("No difference beyond the noise")
    assert seen.surroundings == ()
    assert seen.caveats == ()


@pytest.mark.parametrize(("share", "slower"), [(0.05, True), (0.5, True), (0.6, False)])
def test_slower_is_beyond_the_threshold_and_the_noise(share: float, slower: bool) -> None:
    assert slower_than(contrast(FASTER, STARVED), share) is slower
    assert not slower_than(contrast(STARVED, FASTER), share)


def test_noise_is_not_called_slower() -> None:
    assert STARVED.stats is not None
    stats = msgspec.structs.replace(STARVED.stats, period_s=est(0.23, 0.15, 0.35))

    assert not slower_than(contrast(STARVED, msgspec.structs.replace(STARVED, stats=stats)), 0.05)
