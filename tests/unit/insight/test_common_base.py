"""Costs are compared as shares of the same time."""

import pytest

from wellfed._insight.diagnose import _of_all_time
from wellfed.records import Estimate, Finding

HALF = Estimate(value=0.5, low=0.4, high=0.6)


def finding(code: str, stakes: str = "time") -> Finding:
    return Finding(code=code, name="some", sentence="So.", cost_share=HALF, stakes=stakes)


def test_what_a_step_costs_is_less_of_an_epoch_that_starts_workers() -> None:
    cost = _of_all_time(finding("WF403"), 0.25).cost_share

    assert (cost.value, cost.low, cost.high) == pytest.approx((0.375, 0.3, 0.45))


@pytest.mark.parametrize("one", [finding("WF601"), finding("WF701", "data")])
def test_what_starting_costs_is_a_share_of_the_epoch_already(one: Finding) -> None:
    assert _of_all_time(one, 0.25) == one
