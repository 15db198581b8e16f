import math
from collections.abc import Callable

import numpy as np
import pytest

from wellfed._insight.estimate import (
    Floats,
    add,
    bucket_moments_s,
    bucket_quantiles_s,
    divide,
    mean_estimate,
    ratio_estimate,
    scale,
    student_t,
    widen,
)
from wellfed.records import Estimate, decode, encode

Draw = Callable[[np.random.Generator, int], Floats]


def about(value: float, share: float = 0.1, n: int = 0) -> Estimate:
    return Estimate(value=value, low=value * (1 - share), high=value * (1 + share), n=n)


def autoregressive(r: float) -> Draw:
    def draw(rng: np.random.Generator, size: int) -> Floats:
        noise = rng.normal(size=size + 50)
        series = np.empty_like(noise)
        last = 0.0
        for place, shock in enumerate(noise):
            series[place] = last = r * last + shock
        return 10 + series[50:]

    return draw


def lognormal(sigma: float) -> Draw:
    def draw(rng: np.random.Generator, size: int) -> Floats:
        return 10 * rng.lognormal(-sigma * sigma / 2, sigma, size)

    return draw


@pytest.mark.parametrize("size", [20, 60, 300])
@pytest.mark.parametrize(
    "draw",
    [
        autoregressive(0.0),
        autoregressive(0.5),
        autoregressive(0.8),
        autoregressive(-0.5),
        lognormal(0.3),
        lognormal(1.0),
    ],
    ids=["independent", "r=0.5", "r=0.8", "r=-0.5", "lognormal 0.3", "lognormal 1"],
)
def test_nine_of_ten_intervals_hold_the_true_mean(draw: Draw, size: int) -> None:
    rng = np.random.default_rng(20260)
    estimates = [mean_estimate(draw(rng, size)) for _ in range(400)]

    held = sum(one.low <= 10 <= one.high for one in estimates) / len(estimates)

    # Alternating series too short for batch means get an interval that is too wide, never too
    # narrow.
    at_most = 1.0 if size < 24 else 0.97
    assert 0.82 <= held <= at_most


def test_no_values_are_told_apart_from_nothing_by_n() -> None:
    assert Estimate(value=0.0, low=0.0, high=0.0, n=0) == mean_estimate([])


def test_one_value_is_uncertain_by_its_own_size() -> None:
    assert Estimate(value=3.0, low=0.0, high=6.0, n=1) == mean_estimate([3.0])


def test_two_values_have_a_wide_interval_that_stays_positive() -> None:
    seen = mean_estimate([1.0, 2.0])

    assert (seen.value, seen.low) == (1.5, 0.0)
    assert seen.high == pytest.approx(1.5 + 6.314 * 0.5, rel=1e-3)


def test_a_constant_is_certain() -> None:
    assert Estimate(value=2.0, low=2.0, high=2.0, n=50) == mean_estimate([2.0] * 50)


def test_one_outlier_stays_in_the_mean_and_widens_the_interval() -> None:
    seen = mean_estimate([1.0] * 99 + [101.0])

    assert seen.value == pytest.approx(2.0)
    assert seen.spread > 0.5


def test_correlated_values_count_as_fewer() -> None:
    series = autoregressive(0.8)(np.random.default_rng(1), 600)

    assert mean_estimate(series).n < 200


def test_a_regular_burst_is_known_better_than_independent_values_would_be() -> None:
    bursts = [4.0, 0.0, 0.0, 0.0] * 60

    assert mean_estimate(bursts).spread < 0.01


def test_every_estimate_survives_the_codec() -> None:
    for estimate in (
        mean_estimate([]),
        mean_estimate([1.0]),
        ratio_estimate([1.0], [0.0]),
        divide(about(1.0), Estimate(value=1.0, low=0.0, high=9.0)),
    ):
        assert estimate == decode(encode(estimate), Estimate)


def test_a_ratio_of_sums_knows_what_both_share() -> None:
    rng = np.random.default_rng(3)
    periods = rng.lognormal(0, 1, 300)

    seen = ratio_estimate(0.25 * periods, periods)

    assert seen.value == pytest.approx(0.25)
    assert seen.spread < 1e-9


def test_a_ratio_to_nothing_says_that_nothing_was_seen() -> None:
    assert ratio_estimate([1.0, 2.0], [0.0, 0.0]).n == 0
    assert ratio_estimate([], []).n == 0


def test_scaling_by_a_negative_number_keeps_the_ends_in_order() -> None:
    assert Estimate(value=-2.0, low=-3.0, high=-1.0, n=5) == scale(
        Estimate(value=2.0, low=1.0, high=3.0, n=5), -1
    )


def test_independent_errors_add_in_quadrature() -> None:
    total = add(Estimate(value=10, low=7, high=13), Estimate(value=10, low=6, high=14))

    assert Estimate(value=20, low=15, high=25) == total


def test_division_is_at_least_as_uncertain_as_its_parts() -> None:
    seen = divide(about(6.0, 0.1), about(3.0, 0.05))

    assert seen.value == 2.0
    assert seen.low < 1.8
    assert 2.2 < seen.high < 2.4


def test_zero_divided_is_zero() -> None:
    nothing = Estimate(value=0.0, low=0.0, high=0.0)

    assert nothing == divide(nothing, about(3.0))


def test_widening_keeps_a_positive_quantity_positive() -> None:
    seen = widen(about(1.0, 0.1), 2.0)

    assert seen.low == 0.0
    assert seen.high == pytest.approx(1 + math.hypot(0.1, 2.0))


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 6.3138), (2, 2.9200), (3, 2.3534), (11, 1.7959), (100, 1.6602)]
)
def test_quantiles_of_student_match_the_tables(freedom: int, expected: float) -> None:
    assert student_t(0.90, freedom) == pytest.approx(expected, rel=5e-3)


def test_quantiles_of_buckets_are_durations() -> None:
    # 90 samples of 2**20 ns and 10 of 2**23 ns.
    p50, p99 = bucket_quantiles_s({160: 90, 184: 10}, (0.5, 0.99))

    assert p50 == pytest.approx(2**20 * 1e-9)
    assert p99 == pytest.approx(2**23 * 1e-9)


def test_moments_of_buckets_weigh_by_count() -> None:
    mean_s, cv = bucket_moments_s({160: 1, 168: 1})

    assert mean_s == pytest.approx(1.5 * 2**20 * 1e-9)
    assert cv == pytest.approx(1 / 3)


def test_nothing_counted_has_no_duration() -> None:
    assert bucket_quantiles_s({}, (0.5, 0.9)) == (0.0, 0.0)
    assert bucket_moments_s({}) == (0.0, 0.0)
