"""Numbers read as people say them."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellfed.records import Estimate, amounts


def est(value: float, margin: float = 0.0) -> Estimate:
    return Estimate(value=value, low=value - margin, high=value + margin)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (4e-9, "4.0 ns"),
        (0.00031, "310 µs"),
        (0.0021, "2.1 ms"),
        (0.148, "148 ms"),
        (1.94, "1.9 s"),
        (61, "61 s"),
        (720, "12 min"),
        (9000, "2.5 h"),
        (nan, "?"),
    ],
)
def test_a_duration_takes_the_unit_that_fits(seconds: float, said: str) -> None:
    assert said == amounts.duration(seconds)


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(0, "0 B"), (512, "512 B"), (67_108_864, "67 MB"), (1.1e9, "1.1 GB"), (-3e8, "-300 MB")],
)
def test_a_size_is_decimal_and_may_be_negative(n_bytes: float, said: str) -> None:
    assert said == amounts.size(n_bytes)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 %"),
        (0.0001, "<0.1 %"),
        (0.004, "0.4 %"),
        (0.0099, "1 %"),
        (0.7, "70 %"),
        (1, "100 %"),
    ],
)
def test_a_share_has_a_decimal_only_where_it_needs_one(value: float, said: str) -> None:
    assert said == amounts.share(value)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(1.0, "+0 %"), (0.999, "+0 %"), (1.47, "+47 %"), (0.8, "-20 %"), (2.1, "2.1x"), (23, "23x")],
)
def test_a_gain_is_per_cent_while_small_and_times_when_large(ratio: float, said: str) -> None:
    assert said == amounts.gain(ratio)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (Estimate(value=2.1, low=1.9, high=2.3), "1.9–2.3x"),
        (Estimate(value=1.47, low=1.4, high=1.54), "+40 to +54 %"),
        (Estimate(value=2.0, low=2.0, high=2.0), "2.0x"),
        (Estimate(value=3.0, low=2.0, high=inf), "2.0–∞x"),
    ],
)
def test_an_interval_is_said_in_the_form_of_its_value(ratio: Estimate, said: str) -> None:
    assert said == amounts.gain_between(ratio)


def test_the_parts_of_a_step_carry_their_margins_in_one_unit() -> None:
    said = amounts.parts(est(0.2121, 0.0042), est(0.1484, 0.003), est(0.0637, 0.0001))

    assert said == ("212 ± 4 ms", "148 ± 3 ms", "64 ms")


@given(st.floats(1e-6, 1e3), st.floats(0, 1))
def test_the_parts_of_a_step_add_up_as_shown(whole: float, share: float) -> None:
    said = amounts.parts(est(whole), est(whole * share), est(whole * (1 - share)))
    first, second, third = (float(text.split()[0]) for text in said)

    assert first == pytest.approx(second + third)
