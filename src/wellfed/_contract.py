"""What every back end must keep: inherit it, give a `backend` and a `plan`, and let pytest run it.

class TestMine(BackendContract):
    @pytest.fixture
    def backend(self): return Mine()

    @pytest.fixture
    def plan(self): return Plan(backend="mine", workers=2, prefetch=2)

    workers = 2                 # logical workers of the jobs; 0 where all is the trainer's
"""

import gc
import os
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

import torch
from torch.utils.data import Dataset, default_collate

from wellfed.job import Job
from wellfed.records import Plan
from wellfed.seams import Backend, Stream

__all__ = ["BackendContract"]


# A batch of four of these takes 32 MB: more than any back end would set aside in advance.
LARGE_FLOATS = 2_000_000


class _Samples(Dataset[Any]):
    """Samples that tell their index; one of them raises."""

    def __init__(self, raises_at: int = -1, large_at: int = -1) -> None:
        self.raises_at = raises_at
        self.large_at = large_at

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        if index == self.raises_at:
            raise ValueError(f"sample {index} is broken")
        # 40 KB: more than what is copied out of shared memory as a matter of course.
        floats = LARGE_FLOATS if index // 4 == self.large_at // 4 else 10_000
        return {"x": torch.full((floats,), float(index)), "index": index, "name": str(index)}


class BackendContract:
    """Tests that any `wellfed.seams.Backend` must pass."""

    workers = 0
    """Logical workers of the jobs."""

    def job(self, raises_at: int = -1, large_at: int = -1) -> Job:
        """What is loaded in these tests.

        Args:
            raises_at: the index of a sample that raises.
            large_at: the index of a sample that is large, as all of its batch are.
        """
        return Job(
            dataset=_Samples(raises_at, large_at),
            batch_sampler=(),
            batch_size=4,
            collate=default_collate,
            workers=self.workers,
        )

    def stream(self, backend: Backend, plan: Plan, batches: int, raises_at: int = -1) -> Stream:
        """An open stream of so many batches of four."""
        job = self.job(raises_at)
        assert backend.refuses(job, plan) is None
        return backend.open(job, plan, indices(batches))

    def test_same_batches_as_a_plain_loop(self, backend: Backend, plan: Plan) -> None:
        """In order, bit for bit."""
        data = _Samples()
        expected = [default_collate([data[at] for at in batch]) for batch in indices(12)]

        with_backend = list(closing(self.stream(backend, plan, 12)))

        assert len(with_backend) == len(expected)
        for ours, theirs in zip(with_backend, expected, strict=True):
            assert list(ours) == list(theirs)
            assert torch.equal(ours["x"], theirs["x"])
            assert torch.equal(ours["index"], theirs["index"])
            assert ours["name"] == theirs["name"]

    def test_an_empty_epoch_ends_at_once(self, backend: Backend, plan: Plan) -> None:
        """Nothing to make, nothing made."""
        assert list(closing(self.stream(backend, plan, 0))) == []

    def test_a_failing_sample_raises_in_the_consumer_and_the_next_batch_follows(
        self, backend: Backend, plan: Plan
    ) -> None:
        """The user's own type and text; the batch alone is lost."""
        stream = self.stream(backend, plan, 6, raises_at=9)
        firsts: list[int] = []
        raised: list[ValueError] = []
        try:
            for _ in range(6):
                try:
                    firsts.append(int(next(stream)["index"][0]))
                except ValueError as error:
                    raised.append(error)
        finally:
            stream.close()

        assert firsts == [0, 4, 12, 16, 20]
        assert len(raised) == 1
        assert "sample 9 is broken" in str(raised[0])

    def test_another_epoch_begins_in_the_middle_of_one(self, backend: Backend, plan: Plan) -> None:
        """What is left of the first is dropped."""
        stream = self.stream(backend, plan, 12)
        next(stream)
        others = [[40, 3], [17, 18, 19, 20], [5]]
        stream.restart(iter(others))

        assert [batch["index"].tolist() for batch in closing(stream)] == others

    def test_a_batch_far_larger_than_those_before_it_arrives(
        self, backend: Backend, plan: Plan
    ) -> None:
        """Whatever room was made for them."""
        stream = backend.open(self.job(large_at=20), plan, indices(8))

        batches = [batch["x"] for batch in closing(stream)]

        assert [batch.shape[1] == LARGE_FLOATS for batch in batches] == [n == 5 for n in range(8)]
        for number, batch in enumerate(batches):
            for place in range(4):
                assert bool((batch[place] == 4 * number + place).all())

    def test_a_kept_batch_is_never_overwritten(self, backend: Backend, plan: Plan) -> None:
        """However many follow it."""
        kept = [batch["x"] for batch in closing(self.stream(backend, plan, 16))]

        assert [float(one[0, 0]) for one in kept] == [4.0 * number for number in range(16)]

    def test_indices_are_read_in_order_by_the_calling_thread(
        self, backend: Backend, plan: Plan
    ) -> None:
        """A sampler may draw from a generator of the trainer's."""
        readers: list[int] = []

        def noted() -> Iterator[list[int]]:
            for batch in indices(8):
                readers.append(threading.get_ident())
                yield batch

        batches = list(closing(backend.open(self.job(), plan, noted())))

        assert len(batches) == 8
        assert set(readers) == {threading.get_ident()}

    def test_closing_twice_is_harmless(self, backend: Backend, plan: Plan) -> None:
        """Also in the middle of an epoch."""
        stream = self.stream(backend, plan, 12)
        next(stream)

        stream.close()
        stream.close()

    def test_closing_leaves_no_descriptor_and_no_thread(self, backend: Backend, plan: Plan) -> None:
        """Whether at the end or in the middle, once the batches are let go of."""
        resource_tracker.ensure_running()  # Python's own, which stays
        list(closing(self.stream(backend, plan, 2)))  # what is made at first use counts for none
        before = _held()

        list(closing(self.stream(backend, plan, 8)))
        stream = self.stream(backend, plan, 8)
        next(stream)
        stream.close()
        del stream

        assert _held() == before


def _held() -> tuple[int, int]:
    """Open descriptors and running threads."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def indices(batches: int) -> Iterator[list[int]]:
    """So many batches of four indices."""
    return iter([list(range(4 * number, 4 * number + 4)) for number in range(batches)])


def closing(stream: Stream) -> Iterator[Any]:
    """The batches of a stream, which is closed after the last."""
    try:
        yield from stream
    finally:
        stream.close()
