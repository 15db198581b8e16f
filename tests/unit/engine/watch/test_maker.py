"""A maker leaves torch's fetch as it was, and notes what the fetch took."""

import logging
import math
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset
from torch.utils.data._utils.fetch import _IterableDatasetFetcher, _MapDatasetFetcher

from wellfed._engine.watch import maker as maker_module
from wellfed._engine.watch.maker import Maker
from wellfed._engine.watch.note import MANY_SAMPLES, NOTE_FIELDS, buckets
from wellfed._engine.watch.opened_files import OpenedFiles
from wellfed.records.trace import BUCKETS_PER_OCTAVE
from wellfed.testing import FakeClock, keep

BLOCK = list(range(4))


class Slow(Dataset[int]):
    """Sample i takes i milliseconds of a clock that stands still otherwise."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[Any] = []

    def __getitem__(self, index: int) -> int:
        self.asked.append(index)
        self.clock.advance(index * 1_000_000)
        return 10 * index


class Blocks(Slow):
    """Also fetches a whole batch at once, as Hugging Face's datasets do."""

    def __getitems__(self, indices: list[int]) -> list[int]:
        self.asked.append(indices)
        return [10 * index for index in indices]


class Counting(IterableDataset[int]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.length))


def map_fetcher(dataset: Any, collate: Callable[[Any], Any] = keep) -> Any:
    return _MapDatasetFetcher(dataset, True, collate, False)


def fetch(maker: Maker, fetcher: Any, index: Any) -> Any:
    return maker.fetch(type(fetcher).fetch, fetcher, index)


def noted(maker: Maker) -> dict[str, Any]:
    assert maker.note is not None
    return dict(zip(NOTE_FIELDS, maker.note, strict=True))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(5)


@pytest.fixture
def maker(clock: FakeClock) -> Iterator[Maker]:
    made = Maker(-1, OpenedFiles(), clock)
    yield made
    made.close()


# -- torch's fetch is as it was


def test_the_stand_ins_come_out_again(maker: Maker, clock: FakeClock) -> None:
    dataset = Slow(clock)
    fetcher = map_fetcher(dataset)

    assert fetch(maker, fetcher, BLOCK) == [0, 10, 20, 30]
    assert vars(fetcher) == vars(map_fetcher(dataset))


@pytest.mark.parametrize("error", [KeyError("k"), StopIteration(), KeyboardInterrupt()])
def test_the_stand_ins_come_out_when_a_sample_raises(maker: Maker, error: BaseException) -> None:
    class Bad(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            raise error

    dataset = Bad()
    fetcher = map_fetcher(dataset)

    with pytest.raises(type(error)) as caught:
        fetch(maker, fetcher, BLOCK)

    assert caught.value is error
    assert vars(fetcher) == vars(map_fetcher(dataset))
    assert maker.note is None


def test_the_stand_ins_come_out_when_collating_raises(maker: Maker, clock: FakeClock) -> None:
    def collate(samples: Any) -> Any:
        raise ValueError(samples)

    dataset = Slow(clock)
    fetcher = map_fetcher(dataset, collate)

    with pytest.raises(ValueError, match="30"):
        fetch(maker, fetcher, BLOCK)

    assert vars(fetcher) == vars(map_fetcher(dataset, collate))


def test_an_exhausted_iterator_ends_as_it_did(maker: Maker) -> None:
    fetcher = _IterableDatasetFetcher(Counting(6), True, keep, False)
    iterator = fetcher.dataset_iter

    assert fetch(maker, fetcher, BLOCK) == [0, 1, 2, 3]
    assert fetch(maker, fetcher, BLOCK) == [4, 5]
    assert noted(maker)["samples"] == 2
    assert fetcher.ended
    assert fetcher.dataset_iter is iterator
    with pytest.raises(StopIteration):
        fetch(maker, fetcher, BLOCK)
    assert maker.note is None


def test_an_iterator_may_hand_over_whole_batches(maker: Maker) -> None:
    fetcher = _IterableDatasetFetcher(Counting(2), False, lambda batch: -batch, False)

    assert [fetch(maker, fetcher, None) for _ in range(2)] == [0, -1]
    assert noted(maker)["samples"] == -1


def test_getitems_is_found_and_called_once(maker: Maker, clock: FakeClock) -> None:
    dataset = Blocks(clock)

    assert fetch(maker, map_fetcher(dataset), BLOCK) == [0, 10, 20, 30]
    assert dataset.asked == [BLOCK]
    assert dataset.asked[0] is BLOCK
    assert noted(maker)["samples"] == 4
    assert noted(maker)["sample_buckets"] == {}


def test_getitems_that_is_none_is_not_called(maker: Maker, clock: FakeClock) -> None:
    dataset = Slow(clock)
    dataset.__getitems__ = None  # type: ignore[attr-defined]

    assert fetch(maker, map_fetcher(dataset), BLOCK) == [0, 10, 20, 30]
    assert dataset.asked == BLOCK


def test_what_the_dataset_is_asked_for_is_the_same(maker: Maker) -> None:
    class Telling:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def __getattr__(self, name: str) -> Any:
            self.__dict__.setdefault("asked", []).append(name)
            raise AttributeError(name)

        def __getitem__(self, index: Any) -> Any:
            self.asked.append(str(index))
            return index

    plain, watched = Telling(), Telling()
    map_fetcher(plain).fetch(BLOCK)
    fetch(maker, map_fetcher(watched), BLOCK)

    assert watched.asked == plain.asked


def test_no_generator_is_touched(maker: Maker, clock: FakeClock) -> None:
    def states() -> tuple[Any, ...]:
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()

    before = states()
    fetch(maker, map_fetcher(Slow(clock)), BLOCK)

    assert states() == before


# -- what is noted


def test_times_and_counts_are_noted(maker: Maker, clock: FakeClock) -> None:
    def collate(samples: list[int]) -> torch.Tensor:
        clock.advance(7_000_000)
        return torch.tensor(samples)

    maker.took(3, 2)
    fetch(maker, map_fetcher(Slow(clock), collate), BLOCK)
    note = noted(maker)

    assert note["fetch_ns"] == (0 + 1 + 2 + 3 + 7) * 1_000_000
    assert note["collate_ns"] == 7_000_000
    assert note["sample_sum_ns"] == 6_000_000
    assert note["sample_max_ns"] == 3_000_000
    assert sum(note["sample_buckets"].values()) == note["samples"] == 4
    assert (note["taken_ns"], note["idle_ns"], note["worker"]) == (3, 2, -1)
    assert (note["tensors"], note["payload_bytes"], note["objects"]) == (1, 32, 0)
    assert note["watch_ns"] == 0  # the clock stood still while we watched


def test_a_batch_that_says_nothing_of_its_length_is_not_counted(maker: Maker) -> None:
    fetcher = _IterableDatasetFetcher(Counting(3), False, lambda sample: sample, False)

    assert fetch(maker, fetcher, None) == 0
    assert noted(maker)["samples"] == -1


PICTURE = torch.zeros(3, 8, 8)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (2, 1),
        ("name", 1),
        (np.int64(2), 1),
        (torch.tensor(2), 1),
        ([0, 1], 2),
        ((0, 1), 2),
        (slice(0, 3), 3),
        (np.arange(3), 3),
        (torch.arange(3), 3),
    ],
    ids=str,
)
def test_a_single_index_is_a_single_sample_whatever_its_shape(
    maker: Maker, index: Any, expected: int
) -> None:
    class Pictures:
        def __getitem__(self, index: Any) -> torch.Tensor:
            return PICTURE

    fetch(maker, _MapDatasetFetcher(Pictures(), False, keep, False), index)

    assert noted(maker)["samples"] == expected


def test_of_whole_batches_the_samples_are_counted_and_not_timed(maker: Maker) -> None:
    batch = {"names": ["a", "b"], "pixels": torch.zeros(16, 3), "label": torch.zeros(7)}
    fetcher = _IterableDatasetFetcher([batch] * 2, False, keep, False)

    assert fetch(maker, fetcher, None) is batch
    note = noted(maker)
    assert note["samples"] == 16
    assert note["fetch_ns"] >= 0
    assert (note["sample_sum_ns"], note["sample_max_ns"], note["sample_buckets"]) == (0, 0, {})
    assert note["read_calls"] >= 0


DRAWS: list[tuple[Callable[[], object], int]] = [
    (lambda: None, 0),
    (random.random, 1),
    (lambda: np.random.rand(), 2),
    (lambda: torch.rand(()), 4),
    (lambda: (random.random(), torch.rand(())), 5),
]


@pytest.mark.parametrize(("draw", "bits"), DRAWS)
def test_generators_that_moved_are_told_apart(
    maker: Maker, draw: Callable[[], object], bits: int
) -> None:
    class Drawing(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            draw()
            return index

    fetch(maker, map_fetcher(Drawing()), BLOCK)

    assert noted(maker)["drew"] == bits


def test_a_batch_is_looked_into_at_first_and_then_now_and_again(
    maker: Maker, clock: FakeClock
) -> None:
    fetcher = map_fetcher(Slow(clock))
    looked, drew = [], []
    for batch in range(33):
        fetch(maker, fetcher, BLOCK)
        if noted(maker)["objects"] >= 0:
            looked.append(batch)
        if noted(maker)["drew"] >= 0:
            drew.append(batch)

    assert looked == [0, 1, 2, 3, 16, 32]
    assert drew == [0, 1]


class Cheap(Slow):
    """Next to no work: its time is below what watching it closely would cost."""

    def __getitem__(self, index: int) -> int:
        self.clock.advance(1_000)
        return 10 * index


def closely_watched(maker: Maker, fetcher: Any, batches: int) -> list[int]:
    closely = []
    for batch in range(batches):
        assert fetch(maker, fetcher, BLOCK) == [0, 10, 20, 30]
        note = noted(maker)
        assert note["samples"] == 4
        assert note["fetch_ns"] > 0
        assert note["minor_faults"] >= 0
        if note["sample_buckets"]:
            assert note["sample_sum_ns"] > 0
            closely.append(batch)
        else:
            assert note["sample_sum_ns"] == note["sample_max_ns"] == 0
        assert (note["read_calls"] >= 0) is bool(note["sample_buckets"])
    return closely


def test_of_cheap_batches_one_in_five_is_watched_closely(maker: Maker, clock: FakeClock) -> None:
    assert closely_watched(maker, map_fetcher(Cheap(clock)), 21) == [0, 1, 2, 3, 5, 10, 15, 20]


def test_batches_that_take_time_are_all_watched_closely(maker: Maker, clock: FakeClock) -> None:
    assert closely_watched(maker, map_fetcher(Slow(clock)), 21) == list(range(21))


def test_samples_of_an_iterator_are_counted_where_they_are_not_timed(maker: Maker) -> None:
    fetcher = _IterableDatasetFetcher(Counting(30), True, keep, False)
    counts = []
    for _ in range(8):
        fetch(maker, fetcher, BLOCK)
        counts.append(noted(maker)["samples"])

    assert counts == [4] * 7 + [2]


def test_a_fetch_by_rows_counts_its_rows(maker: Maker) -> None:
    rows: Any = torch.arange(40)
    fetcher = _MapDatasetFetcher(rows, False, lambda batch: batch, False)

    assert fetch(maker, fetcher, [3, 5]).tolist() == [3, 5]
    assert noted(maker)["samples"] == 2


@given(st.lists(st.integers(0, 10**12), max_size=MANY_SAMPLES + 30))
def test_each_sample_is_in_the_bucket_nearest_to_it(took_ns: list[int]) -> None:
    counts = buckets(took_ns)

    assert sum(counts.values()) == len(took_ns)
    for ns in took_ns:
        exact = BUCKETS_PER_OCTAVE * math.log2(ns or 1)
        assert any(abs(exact - bucket) <= 0.5 + 1e-9 for bucket in counts)


@given(st.lists(st.integers(0, 10**12), min_size=MANY_SAMPLES, max_size=MANY_SAMPLES + 30))
def test_many_samples_are_counted_as_few_are(took_ns: list[int]) -> None:
    singly = [bucket for ns in took_ns for bucket in buckets([ns])]

    assert buckets(took_ns) == {bucket: singly.count(bucket) for bucket in set(singly)}


def test_each_thread_reads_its_own_counters(maker: Maker, clock: FakeClock) -> None:
    fetcher = map_fetcher(Slow(clock))
    fetch(maker, fetcher, BLOCK)
    first = maker._counters
    assert first is not None

    def elsewhere() -> None:
        fetch(maker, fetcher, BLOCK)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()

    second = maker._counters
    assert second is not None
    assert second.thread == thread.native_id != first.thread
    assert noted(maker)["cpu_ns"] >= 0


def test_native_threads_cpu_does_not_count_the_feeder(
    maker: Maker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.thread_time_ns", lambda: 0)
    cpu = FakeClock()
    monkeypatch.setattr("time.process_time_ns", cpu)

    class Feeding(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            cpu.advance(500)
            return index

    fetcher = map_fetcher(Feeding())
    maker.feeder_cpu_ns += 300
    fetch(maker, fetcher, [0])
    assert noted(maker)["native_cpu_ns"] == 200

    fetch(maker, fetcher, [0])
    assert noted(maker)["native_cpu_ns"] == 500


# -- files


def test_opened_files_are_noted_once_and_only_during_a_fetch(tmp_path: Path) -> None:
    opened = OpenedFiles()
    opened.hook()
    opened.hook()
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for file in (inside, outside):
        file.touch()

    class Reading(Dataset[bytes]):
        def __getitem__(self, index: int) -> bytes:
            return inside.read_bytes()

    maker = Maker(-1, opened)
    outside.read_bytes()
    fetch(maker, map_fetcher(Reading()), BLOCK)
    first = maker.paths
    outside.read_bytes()
    fetch(maker, map_fetcher(Reading()), BLOCK)
    maker.close()

    assert first == [str(inside)]
    assert maker.paths == []


def test_only_files_that_are_read_are_noted(tmp_path: Path) -> None:
    class Caching(Dataset[bytes]):
        def __getitem__(self, index: int) -> bytes:
            (tmp_path / "cache").write_text("new")
            with (tmp_path / "log").open("a") as log:
                log.write("line")
            os.close(os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR))
            with (tmp_path / "changed in place").open("r+b") as file:
                return file.read() + (tmp_path / "cache").read_bytes()

    (tmp_path / "changed in place").touch()
    opened = OpenedFiles()
    opened.hook()
    maker = Maker(-1, opened)
    fetch(maker, map_fetcher(Caching()), BLOCK)
    maker.close()

    assert maker.paths == [str(tmp_path / "changed in place"), str(tmp_path / "cache")]


def test_another_thread_of_the_trainer_is_not_listened_to(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").touch()

    class Reading(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            thread = threading.Thread(target=(tmp_path / "checkpoint").read_bytes)
            thread.start()
            thread.join()
            return index

    opened = OpenedFiles()
    opened.hook()
    maker = Maker(-1, opened)
    fetch(maker, map_fetcher(Reading()), BLOCK)
    maker.close()

    assert maker.paths == []


def test_odd_events_of_others_are_passed_over() -> None:
    opened = OpenedFiles()
    opened.listening = True
    for args in (("file",), ("file", "r", None), (3, "r", 0)):
        opened._heard("open", args)

    assert opened.new_since(0) == []


def test_nothing_is_listened_to_after_a_fetch_that_raised(maker: Maker) -> None:
    class Bad(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - it has no message
        fetch(maker, map_fetcher(Bad()), BLOCK)

    assert not maker._opened.listening


def test_a_path_of_a_users_own_type_becomes_a_plain_one() -> None:
    class Odd(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise RuntimeError

    opened = OpenedFiles()
    opened.listening = True
    opened._heard("open", (Odd("file"), "r", 0))

    assert [type(path) for path in opened.new_since(0)] == [str]


# -- watching that fails


@pytest.mark.parametrize("broken", ["look", "Counters", "states", "buckets"])
def test_a_failure_of_ours_never_costs_a_batch(
    maker: Maker,
    clock: FakeClock,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(maker_module, broken, fail)
    dataset = Slow(clock)
    fetcher = map_fetcher(dataset)

    with caplog.at_level(logging.WARNING):
        batches = [fetch(maker, fetcher, BLOCK) for _ in range(3)]

    assert batches == [[0, 10, 20, 30]] * 3
    assert dataset.asked == 3 * BLOCK
    assert vars(fetcher) == vars(map_fetcher(dataset))
    assert maker.note is None
    assert not maker._opened.listening
    assert [record.levelname for record in caplog.records] == ["WARNING"]
