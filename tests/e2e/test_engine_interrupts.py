"""A loop that Ctrl-C breaks off may go on: no batch is lost, and none is waited for in vain."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from fault_jobs import Numbers, begun
from torch.utils.data import Sampler

import wellfed
from wellfed._engine.crew import Crew
from wellfed._engine.epoch import Epoch
from wellfed._engine.flow import Flow

PLACES: dict[str, tuple[type, str]] = {
    "a record was read": (Crew, "read"),
    "it was noted": (Flow, "arrived"),
    "a batch left the flow": (Flow, "next"),
    "a batch was asked for": (Flow, "sends"),
    "an index was read": (Epoch, "read"),
}


def interrupted_after(place: Callable[..., Any]) -> Callable[..., Any]:
    """The same, and Ctrl-C the moment it has returned, every third time."""
    calls = iter(range(1_000_000))

    def then_interrupt(*args: Any, **kwargs: Any) -> Any:
        value = place(*args, **kwargs)
        if next(calls) % 3 == 2:
            signal.raise_signal(signal.SIGINT)
        return value

    return then_interrupt


def all_of(iterator: Any) -> tuple[list[float], int]:
    """First numbers of all batches, and how often the loop was broken off."""
    got, interrupts = [], 0
    while True:
        try:
            got.append(float(next(iterator)[0, 0]))
        except KeyboardInterrupt:
            interrupts += 1
        except StopIteration:
            return got, interrupts


@pytest.mark.parametrize("place", PLACES)
def test_no_batch_is_lost(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    iterator = begun(Numbers(), timeout=20)
    kind, name = PLACES[place]
    monkeypatch.setattr(kind, name, interrupted_after(getattr(kind, name)))

    got, interrupts = all_of(iterator)

    assert got == [4.0 * number for number in range(25)]
    assert interrupts


def test_workers_that_persist_serve_the_next_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = wellfed.DataLoader(
        Numbers(), batch_size=4, num_workers=2, persistent_workers=True, timeout=20
    )
    iterator: Any = iter(loader)
    with monkeypatch.context() as patch:
        patch.setattr(Crew, "read", interrupted_after(Crew.read))
        with pytest.raises(KeyboardInterrupt):
            list(iterator)

    assert [float(batch[0, 0]) for batch in loader] == [4.0 * number for number in range(25)]
    iterator._shutdown_workers()


class Endless(Sampler[int]):
    """Never comes to its second index."""

    def __iter__(self) -> Any:
        yield 0
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the interrupt did not reach the sampler")


def test_a_sampler_is_interrupted_where_it_stands() -> None:
    with pytest.raises(KeyboardInterrupt):
        iter(wellfed.DataLoader(Numbers(), num_workers=1, sampler=Endless()))
