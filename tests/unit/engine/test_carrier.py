"""The thread that copies: what goes in comes out, in order, and it ends however it is left."""

import gc
import os
import threading
import weakref
from typing import Any

import pytest
import torch
from host_copies import HostCopies

from wellfed._engine import carrier as carrier_module
from wellfed._engine.carrier import THREAD_NAME, Carried, Carrier

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def got(carrier: Carrier, count: int) -> list[Carried]:
    """The next so many."""
    came: list[Carried] = []
    while len(came) < count:
        one = carrier.get(None)
        if one is not None:
            came.append(one)
    return came


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == THREAD_NAME]


def test_batches_come_out_in_order_and_copied_by_the_thread() -> None:
    host = HostCopies()
    carrier = Carrier(host)
    batches = [torch.full((3,), number) for number in range(5)]
    for number, batch in enumerate(batches):
        carrier.put(number, {"x": batch})
    came = got(carrier, 5)
    carrier.close()

    assert [one.number for one in came] == list(range(5))
    assert [one.result()["x"].tolist() for one in came] == [batch.tolist() for batch in batches]
    assert host.threads == {THREAD_NAME}
    assert host.entered == [THREAD_NAME]


def test_there_is_no_thread_before_the_first_batch() -> None:
    carrier = Carrier(HostCopies())
    none = carrier.get(0)

    assert none is None
    assert threads() == []
    carrier.close()


def test_a_copy_says_what_the_trainer_is_to_receive() -> None:
    host = HostCopies(marks=True)
    carrier = Carrier(host)
    carrier.put(0, [torch.ones(2), "text", torch.zeros(2)])
    (came,) = got(carrier, 1)
    carrier.close()

    assert came.mark is host.marks[0]  # type: ignore[index]
    assert [one.nbytes for one in came.copies] == [8, 8]


class Broken:
    def pin_memory(self) -> Any:
        raise KeyError("of its own")


def test_an_exception_comes_out_as_torchs_thread_hands_it_over_and_the_next_batch_follows() -> None:
    carrier = Carrier(HostCopies(marks=True))
    carrier.put(0, [torch.ones(1), Broken()])
    carrier.put(1, torch.ones(1))
    failed, fine = got(carrier, 2)
    carrier.close()

    assert failed.mark is not None, "what was queued before may be read still"
    assert fine.result().tolist() == [1]
    with pytest.raises(KeyError) as raised:
        failed.result()
    text = str(raised.value)
    assert text.startswith("Caught KeyError in pin memory thread for device 0.\n")
    assert "of its own" in text


class Exits:
    def pin_memory(self) -> Any:
        raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_by_itself_is_told_of_in_torchs_words() -> None:
    carrier = Carrier(HostCopies())
    carrier.put(0, Exits())

    with pytest.raises(RuntimeError, match=r"^Pin memory thread exited unexpectedly$"):
        got(carrier, 1)
    carrier.close()


def test_closing_ends_the_thread_at_once_also_twice_and_with_batches_left() -> None:
    hold = threading.Event()
    host = HostCopies(hold=hold)
    carrier = Carrier(host)
    for number in range(3):
        carrier.put(number, torch.ones(1))
    (thread,) = threads()
    closing = threading.Thread(target=carrier.close)
    closing.start()
    hold.set()
    closing.join(30)
    carrier.close()

    assert not thread.is_alive()
    assert len(host.received) == 0


def test_a_carrier_that_is_dropped_ends_its_thread() -> None:
    carrier = Carrier(HostCopies())
    carrier.put(0, torch.ones(1))
    got(carrier, 1)
    (thread,) = threads()
    del carrier
    gc.collect()

    assert not thread.is_alive()


class Dropper:
    """Has the last reference to a carrier end in the thread that it is to end."""

    def __init__(self) -> None:
        self.carriers: list[Carrier] = []
        self.alone = threading.Event()

    def pin_memory(self) -> Any:
        assert self.alone.wait(30)
        self.carriers.clear()
        return self


def test_a_thread_may_be_the_one_that_drops_its_carrier() -> None:
    dropper = Dropper()
    carrier = Carrier(HostCopies())
    dropper.carriers.append(carrier)
    carrier.put(0, dropper)
    (thread,) = threads()
    del carrier
    dropper.alone.set()
    thread.join(30)

    assert not thread.is_alive()


def test_a_copy_that_hangs_does_not_keep_a_program_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carrier_module, "END_S", 0.01)
    hold = threading.Event()
    host = HostCopies(hold=hold)
    carrier = Carrier(host)
    carrier.put(0, torch.ones(1))
    (thread,) = threads()
    assert host.begun.wait(30)
    carrier.close()
    hung = thread.is_alive()
    hold.set()
    thread.join(30)

    assert hung
    assert not thread.is_alive()


def test_the_thread_holds_nothing_between_two_batches() -> None:
    carrier = Carrier(HostCopies())
    batch = torch.ones(3)
    gone = weakref.ref(batch)
    carrier.put(0, batch)
    del batch
    came = got(carrier, 1)
    carrier.put(1, 1)
    got(carrier, 1)
    del came

    assert gone() is None
    carrier.close()


def test_a_child_that_inherited_it_leaves_it_alone() -> None:
    carrier = Carrier(HostCopies())
    carrier.put(0, torch.ones(1))
    got(carrier, 1)
    pid = os.fork()
    if not pid:
        carrier.close()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    carrier.put(1, torch.ones(1))
    (after,) = got(carrier, 1)
    carrier.close()

    assert os.waitstatus_to_exitcode(status) == 0
    assert after.number == 1
