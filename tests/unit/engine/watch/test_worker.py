"""A note rides with its batch, and the trainer gets what torch alone would have sent."""

import io
import logging
import pickle
import queue
import sys
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
from torch._utils import ExceptionWrapper
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from wellfed._engine.watch import worker
from wellfed._engine.watch.maker import Maker
from wellfed._engine.watch.note import NOTE_FIELDS
from wellfed._engine.watch.opened_files import OpenedFiles
from wellfed._engine.watch.worker import Envelope, Index, _Inbox, _Outbox
from wellfed.testing import FakeClock, TinyItems


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100)


@pytest.fixture
def maker(clock: FakeClock) -> Maker:
    return Maker(2, OpenedFiles(), clock)


def note() -> list[Any]:
    return [0] * len(NOTE_FIELDS)


def sent(item: Any) -> Any:
    """What arrives when `item` goes through one of torch's queues."""
    message = io.BytesIO()
    ForkingPickler(message, pickle.HIGHEST_PROTOCOL).dump(item)
    return pickle.loads(message.getvalue())


class Line:
    """A queue between two ends of one thread; every message is pickled on the way."""

    def __init__(self, *items: Any) -> None:
        self.items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for item in items:
            self.items.put(item)

    def get(self, timeout: float | None = None) -> Any:
        return self.items.get(timeout=timeout)

    def put(self, item: Any) -> None:
        self.items.put(sent(item))

    def cancel_join_thread(self) -> str:
        return "cancelled"


# -- the envelope


def test_an_envelope_arrives_as_torchs_plain_pair(maker: Maker) -> None:
    pair = sent(Envelope(7, [torch.arange(3), "text"], maker, note(), []))

    assert type(pair) is tuple
    index, batch = pair
    assert index == 7
    assert isinstance(index, int)
    assert hash(index) == hash(7)
    assert {7: "task"}[index] == "task"
    assert batch[0].tolist() == [0, 1, 2]
    assert batch[1] == "text"


def test_the_note_arrives_with_its_serialisation_timed(maker: Maker, clock: FakeClock) -> None:
    class Heavy:
        def __reduce__(self) -> tuple[Any, ...]:
            clock.advance(40)
            return list, ()

    envelope = Envelope(0, Heavy(), maker, note(), ["/data/a.jpg"])
    clock.advance(5)
    index, batch = sent(envelope)
    written = dict(zip(NOTE_FIELDS, index.mail.note, strict=True))

    assert batch == []
    assert written["queued_ns"] == 5
    assert written["serialise_ns"] == 40
    assert written["sent_ns"] == 145
    assert index.mail.paths == ["/data/a.jpg"]
    assert index.mail.begun_ns == 100
    assert index.mail.opening_ns <= index.mail.opened_ns
    assert maker.feeder_cpu_ns == written["serialise_cpu_ns"] > 0


def test_lines_that_were_sampled_ride_along(maker: Maker) -> None:
    lines = [("data.py", 48, "decode", "PIL", 7, 0)]

    index, _ = sent(Envelope(0, None, maker, note(), [], lines))

    assert index.mail.lines == lines


def test_the_length_of_a_message_is_used_once(maker: Maker) -> None:
    worker.current.message_bytes = 123
    first, second = (sent(Envelope(k, None, maker, note(), []))[0] for k in range(2))

    assert (first.mail.message_bytes, second.mail.message_bytes) == (123, 0)


def test_a_note_that_fails_never_loses_the_batch(
    maker: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        index, batch = sent(Envelope(3, "batch", maker, (), []))  # type: ignore[arg-type]

    assert (index, batch) == (3, "batch")
    assert not hasattr(index, "mail")
    assert "the batch is unharmed" in caplog.text


def test_a_batch_that_cannot_be_pickled_fails_as_it_did(maker: Maker) -> None:
    # ForkingPickler's own words differ by Python version; what matters is that they are the same.
    with pytest.raises(Exception) as plain:  # noqa: PT011
        sent((0, lambda: None))
    with pytest.raises(type(plain.value)) as watched:
        sent(Envelope(0, lambda: None, maker, note(), []))

    assert type(watched.value) is type(plain.value)


# -- the two queues of a worker


def test_a_worker_is_idle_from_handing_over_to_the_next_request(
    maker: Maker, clock: FakeClock
) -> None:
    requests, results = Line("r0", "r1"), Line()
    inbox = _Inbox(requests, maker)
    outbox = _Outbox(results, maker, inbox)

    clock.advance(3)
    assert inbox.get(timeout=1) == "r0"
    clock.advance(10)
    outbox.put((0, "batch"))
    clock.advance(4)
    assert inbox.get(timeout=1) == "r1"

    assert (maker._taken_ns, maker._idle_ns) == (117, 4)
    assert outbox.cancel_join_thread() == inbox.cancel_join_thread() == "cancelled"


def test_only_batches_with_a_note_get_an_envelope(maker: Maker) -> None:
    results = Line()
    outbox = _Outbox(results, maker, _Inbox(Line(), maker))

    maker.note = note()
    outbox.put((0, "batch"))
    outbox.put((1, "made unseen"))
    outbox.put((None, None))
    outbox.put("anything")

    first, second = results.get(), results.get()
    assert (first, type(first[0])) == ((0, "batch"), Index)
    assert (second, type(second[0])) == ((1, "made unseen"), int)
    assert results.get() == (None, None)
    assert results.get() == "anything"
    assert maker.note is None


class Bad(TinyItems):
    def __getitem__(self, index: int) -> Any:
        raise ValueError(f"sample {index} is broken")


def raised_in_fetch(maker: Maker | None) -> ExceptionWrapper:
    fetcher: Any = _MapDatasetFetcher(Bad(), True, list, False)
    try:
        if maker is None:
            fetcher.fetch([3])
        else:
            maker.fetch(_MapDatasetFetcher.fetch, fetcher, [3])
    except ValueError:
        return ExceptionWrapper(where="in DataLoader worker process 0")  # type: ignore[no-untyped-call]
    raise AssertionError


def test_the_message_of_a_failed_batch_has_no_frame_of_ours(maker: Maker) -> None:
    results = Line()
    watched = raised_in_fetch(maker)
    assert "wellfed/_engine" in watched.exc_msg

    _Outbox(results, maker, _Inbox(Line(), maker)).put((0, watched))
    index, failed = results.get()

    assert (index, type(index)) == (0, int)
    assert "wellfed/_engine" not in failed.exc_msg
    assert "sample 3 is broken" in failed.exc_msg
    # Two lines differ: this file's own call of fetch.
    if sys.version_info >= (3, 11):
        plain = raised_in_fetch(None).exc_msg.splitlines()
        assert failed.exc_msg.splitlines()[-8:] == plain[-8:]
    with pytest.raises(ValueError, match="sample 3 is broken"):
        failed.reraise()


# -- torch's fetchers, routed


def test_a_fetch_outside_a_watched_thread_is_torchs_own(maker: Maker) -> None:
    fetch = worker.watched_fetch(_MapDatasetFetcher.fetch)
    fetcher = _MapDatasetFetcher(TinyItems(1), True, list, False)

    assert [item.tolist() for item in fetch(fetcher, [4])] == [[4.0]]
    assert maker.note is None


def test_a_fetch_inside_a_fetch_is_part_of_it(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = worker.watched_fetch(_MapDatasetFetcher.fetch)
    monkeypatch.setattr(worker.current, "maker", maker)

    class Nested(TinyItems):
        def __getitem__(self, index: int) -> Any:
            return fetch(_MapDatasetFetcher(TinyItems(1), True, list, False), [index, index])

    fetch(_MapDatasetFetcher(Nested(), True, list, False), [1])
    maker.close()

    assert maker.note is not None
    assert maker.note[NOTE_FIELDS.index("samples")] == 1
    assert worker.current.maker is maker
