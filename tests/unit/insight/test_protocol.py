import numpy as np
import pytest

from wellfed._insight.protocol import deliver


def test_without_workers_every_fetch_is_waited_for() -> None:
    seen = deliver([0.3, 0.2], [1.0, 1.0], workers=0)

    assert seen.wait_s == pytest.approx([0.3, 0.2])
    assert seen.returned_s == pytest.approx([0.3, 1.5])
    assert seen.period_s == pytest.approx([1.2])


def test_with_enough_workers_the_step_sets_the_pace() -> None:
    seen = deliver([0.3] * 50, [0.2] * 50, workers=3, prefetch=2)

    assert seen.period_s.mean() == pytest.approx(0.2)


def test_too_few_workers_set_the_pace_themselves() -> None:
    seen = deliver([0.3] * 50, [0.01] * 50, workers=3, prefetch=2)

    assert seen.period_s[6:48].mean() == pytest.approx(0.1)


def test_the_trainer_s_own_thread_receives_unless_batches_are_pinned() -> None:
    fast, steps = [0.001] * 50, [0.2] * 50

    loose = deliver(fast, steps, workers=2, receive_s=0.05)
    pinned = deliver(fast, steps, workers=2, receive_s=0.05, pin=True)

    assert loose.period_s[6:].mean() == pytest.approx(0.25)
    assert pinned.period_s[6:].mean() == pytest.approx(0.20)


def test_a_slow_batch_holds_back_those_behind_it_only_in_order() -> None:
    service_s = [0.1] * 40
    service_s[0] = 1.0
    steps = [0.0] * 40

    in_order = deliver(service_s, steps, workers=4, prefetch=1)
    as_ready = deliver(service_s, steps, workers=4, prefetch=1, in_order=False)

    assert in_order.returned_s[0] == 1.0
    assert as_ready.returned_s[0] == pytest.approx(0.1)
    assert list(range(40)) == in_order.order.tolist()
    assert sorted(as_ready.order) == in_order.order.tolist() != as_ready.order.tolist()


@pytest.mark.parametrize(
    ("cv", "workers", "prefetch", "efficiency"),
    # A table from long simulations: lognormal times, no step. It came from single runs, which
    # differ by up to 0.04 from the long one here.
    [
        (0.1, 8, 2, 0.99),
        (0.5, 8, 1, 0.67),
        (0.5, 8, 2, 0.82),
        (1.0, 8, 2, 0.64),
        (1.0, 16, 2, 0.52),
    ],
)
def test_in_order_delivery_costs_what_was_published(
    cv: float, workers: int, prefetch: int, efficiency: float
) -> None:
    sigma = np.sqrt(np.log1p(cv * cv))
    service_s = np.random.default_rng(5).lognormal(0, sigma, 20_000)

    seen = deliver(service_s, np.zeros(20_000), workers=workers, prefetch=prefetch)

    without_loss_s = service_s.mean() / workers
    assert without_loss_s / seen.period_s.mean() == pytest.approx(efficiency, abs=0.04)


def test_no_batches_are_no_delivery() -> None:
    for workers in (0, 2):
        seen = deliver([], [], workers=workers)

        assert 0 == seen.returned_s.size == seen.wait_s.size == seen.period_s.size


def test_service_and_step_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="need as many"):
        deliver([0.1], [0.1, 0.2], workers=1)
