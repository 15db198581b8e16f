"""The stand-in leaves out what its stage says, and calls the rest as torch does."""

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from wellfed._engine.experiments.staged import Ask, Init, Staged


class Numbers(Dataset[Tensor]):
    """Counts its reads."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Tensor:
        self.reads += 1
        return torch.tensor([float(index)])


class Rows(Numbers):
    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        self.reads += 1
        return [torch.tensor([float(index)]) for index in indices]


def staged(dataset: Any, collate: Any = default_collate) -> Staged:
    return Staged(dataset, collate, batched=True)


@pytest.mark.parametrize(("kind", "reads"), [(Numbers, 3), (Rows, 1)])
def test_as_is_the_dataset_is_read_as_torch_reads_it(kind: type[Numbers], reads: int) -> None:
    dataset = kind()

    batch = staged(dataset)[Ask("as_is", [4, 5, 6])]

    assert torch.equal(batch, torch.tensor([[4.0], [5.0], [6.0]]))
    assert dataset.reads == reads


def test_without_automatic_batching_an_index_is_a_batch() -> None:
    one = Staged(Numbers(), lambda sample: sample, batched=False)

    assert torch.equal(one[Ask("as_is", 7)], torch.tensor([7.0]))


@pytest.mark.parametrize("stage", ["waits", "memoised"])
def test_from_memory_nothing_is_read_and_the_batch_is_whole(stage: str) -> None:
    dataset = Numbers()
    one = staged(dataset)
    first = one[Ask("as_is", [1, 2])]

    again = one[Ask(stage, [8, 9])]

    assert dataset.reads == 2
    assert torch.equal(first, again)


def test_waits_are_those_of_warm_reads_once_there_are_some() -> None:
    one = staged(Numbers())
    for stage, waits in (("as_is", 1), ("as_is", 2), ("warm", 1), ("as_is", 1), ("warm", 2)):
        one[Ask(stage, [1])]

        assert len(one._waits_s) == waits


@pytest.mark.parametrize("stage", ["collated", "tiny"])
def test_a_tiny_batch_stands_for_the_one_not_handed_over(stage: str) -> None:
    collated: list[Any] = []
    one = staged(Numbers(), collated.append)
    one[Ask("as_is", [1])]

    batch = one[Ask(stage, [2])]

    assert batch.numel() == 1
    assert len(collated) == (2 if stage == "collated" else 1)


def test_a_collate_function_may_take_its_samples_apart_each_time() -> None:
    def collate(samples: list[dict[str, int]]) -> list[int]:
        return [sample.pop("x") for sample in samples]

    one = staged([{"x": 3}], collate)
    one[Ask("as_is", [0])]

    assert [one[Ask("memoised", [0])] for _ in range(3)] == [[3]] * 3


def test_the_files_that_reading_opens_are_told_once(tmp_path: Path) -> None:
    class Files(Dataset[bytes]):
        def __getitem__(self, index: int) -> bytes:
            return (tmp_path / str(index)).read_bytes()

    for index in range(2):
        (tmp_path / str(index)).write_bytes(b"x")
    one = staged(Files())

    assert one[Ask("files", [0])] == (str(tmp_path / "0"),)
    assert one[Ask("files", [0, 1])] == (str(tmp_path / "1"),)


def test_it_travels_without_what_it_keeps() -> None:
    one = staged(Numbers())
    one[Ask("as_is", [1, 2])]

    sent = pickle.loads(pickle.dumps(one))

    assert sent.dataset.reads == 2
    assert len(pickle.dumps(one)) == len(pickle.dumps(sent))


def test_what_is_kept_is_bounded() -> None:
    one = staged(Numbers())
    for index in range(40):
        one[Ask("as_is", [index])]

    assert len(one._kept) == 10
    one.close()
    assert len(one._kept) == 0


class Remember:
    """A worker_init_fn that leaves the class of the dataset it sees in the dataset."""

    def __call__(self, worker: int) -> None:
        info = get_worker_info()
        assert info is not None
        dataset: Any = info.dataset
        dataset.reads = 1000


def test_user_code_in_a_worker_sees_the_users_dataset() -> None:
    counting: Any = Counting()
    asks: Any = [Ask("as_is", 0)]
    loader: Any = DataLoader(
        counting, sampler=asks, batch_size=None, num_workers=1, worker_init_fn=Init(Remember())
    )

    (batch,) = list(loader)

    assert batch == 1000


class Counting(Staged):
    """A stand-in whose samples say how often the dataset was read."""

    def __init__(self) -> None:
        super().__init__(Told(), _same, batched=False)


class Told(Numbers):
    def __getitem__(self, index: int) -> Any:
        return self.reads


def _same(sample: Any) -> Any:
    return sample


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    staged(Numbers())[Ask("as_is", [1])]

    assert threading.active_count() == before
