"""On a device: pinned batches are torch's, and batches on it are right whenever they are used.

Steps are kernels that wait on the device's own clock, so that they last as long on any of them.
"""

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset

import wellfed
from wellfed._engine.carrier import THREAD_NAME
from wellfed.errors import UsageError

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("nothing_left_behind")]

LARGE = 1_000_000


@pytest.fixture(scope="module", autouse=True)
def _context() -> None:
    """Made before descriptors are counted: it keeps some for good."""
    torch.ones(1, device="cuda").cpu()
    torch.ones(1).pin_memory()


@pytest.fixture(scope="module")
def sleep() -> Callable[[float], None]:
    """Queues so many seconds of work on the device, and returns at once."""
    cuda: Any = torch.cuda  # half of it has no types
    cycles = 100_000_000
    cuda._sleep(cycles)  # the first launch loads the kernel
    cuda.synchronize()
    began = time.perf_counter()
    cuda._sleep(cycles)
    cuda.synchronize()
    per_second = cycles / (time.perf_counter() - began)
    return lambda seconds: cuda._sleep(int(seconds * per_second))


class Numbered(Dataset[Any]):
    """Samples that are their index all over."""

    def __init__(self, length: int, numbers: int = LARGE) -> None:
        self.length = length
        self.numbers = numbers

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return torch.full((self.numbers,), float(index)), index, str(index)


def aliased(samples: list[Any]) -> dict[str, Any]:
    """A batch with views, strides, a sequence and what is no tensor."""
    x = torch.stack([x for x, *_ in samples])
    return {
        "x": x,
        "view": x[:, 1:],
        "transposed": x.T,
        "labels": torch.tensor([index for _, index, _ in samples]),
        "packed": pack_sequence([torch.ones(3), torch.ones(2)]),
        "texts": [text for *_, text in samples],
    }


class Pins:
    """As in torch's documentation."""

    def __init__(self, samples: list[Any]) -> None:
        self.x = torch.stack([x for x, *_ in samples])
        self.pinned = 0

    def pin_memory(self) -> "Pins":
        self.x = self.x.pin_memory()
        self.pinned += 1
        return self


class Broken:
    def __init__(self, samples: list[Any]) -> None:
        pass

    def pin_memory(self) -> Any:
        raise KeyError("of its own")


def ours(**options: Any) -> Any:
    loader = wellfed.DataLoader(**options)
    iterator = iter(loader)
    assert getattr(iterator, "backend", "torch") != "torch"
    return iterator


# -- pinned memory


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_batches_are_torchs(workers: int) -> None:
    options: dict[str, Any] = {
        "dataset": Numbered(12, 5_000),
        "batch_size": 4,
        "num_workers": workers,
        "collate_fn": aliased,
        "pin_memory": True,
    }
    pairs = zip(ours(**options), DataLoader(**options), strict=True)

    for our, their in pairs:
        assert list(our) == list(their)
        for name in ("x", "view", "transposed", "labels"):
            assert our[name].is_pinned()
            assert their[name].is_pinned()
            assert torch.equal(our[name], their[name])
        for name in ("x", "transposed", "labels"):
            assert our[name].stride() == their[name].stride()
        assert isinstance(our["packed"], PackedSequence)
        assert our["packed"].data.is_pinned()
        assert our["packed"].batch_sizes.is_pinned() == their["packed"].batch_sizes.is_pinned()
        assert our["texts"] == their["texts"]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_one_memory_is_one_pinned_memory(workers: int) -> None:
    batch = next(
        ours(
            dataset=Numbered(4, 5_000),
            batch_size=4,
            num_workers=workers,
            collate_fn=aliased,
            pin_memory=True,
        )
    )

    batch["x"][1, 2] = -1
    assert batch["view"][1, 1] == batch["transposed"][2, 1] == -1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_class_pins_itself(workers: int) -> None:
    for batch in ours(
        dataset=Numbered(4, 50), num_workers=workers, collate_fn=Pins, pin_memory=True
    ):
        assert batch.x.is_pinned()
        assert batch.pinned == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_while_pinning_is_torchs(workers: int) -> None:
    said = []
    for kind in (wellfed.DataLoader, DataLoader):
        loader = kind(Numbered(4, 50), num_workers=workers, collate_fn=Broken, pin_memory=True)
        with pytest.raises(KeyError) as raised:
            next(iter(loader))
        said.append(str(raised.value).splitlines()[0])

    assert said[0] == said[1]


def test_a_device_for_pinning_is_ignored_with_torchs_warning() -> None:
    for kind in (wellfed.DataLoader, DataLoader):
        loader = kind(Numbered(2, 50), pin_memory=True, pin_memory_device="cuda")
        with pytest.warns(UserWarning, match="pin_memory_device is deprecated"):
            batch = next(iter(loader))
        assert batch[0].is_pinned()


def test_pinned_batches_that_are_kept_are_not_overwritten() -> None:
    kept = list(ours(dataset=Numbered(40), batch_size=2, num_workers=2, pin_memory=True))

    assert [int(x[0, 0]) for x, *_ in kept] == list(range(0, 40, 2))


def test_queued_copies_of_pinned_batches_read_the_batch_they_were_queued_for(
    sleep: Callable[[float], None],
) -> None:
    """The batch is dropped while its copy waits; its pinned block is not used again before."""
    copies: list[Tensor] = []
    for x, *_ in ours(dataset=Numbered(40), batch_size=2, num_workers=2, pin_memory=True):
        sleep(0.005)
        copies.append(x.to("cuda", non_blocking=True)[:, ::1000].clone())

    assert [int(one.min()) for one in copies] == list(range(0, 40, 2))
    assert [int(one.max()) for one in copies] == list(range(1, 40, 2))


# -- batches on the device


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda", 0)], ids=str)
def test_batches_arrive_on_the_device(device: Any, workers: int) -> None:
    options: dict[str, Any] = {
        "dataset": Numbered(12, 5_000),
        "batch_size": 4,
        "num_workers": workers,
        "collate_fn": aliased,
    }

    for our, their in zip(ours(device=device, **options), DataLoader(**options), strict=True):
        for name in ("x", "view", "transposed", "labels"):
            assert our[name].device == torch.device("cuda", 0)
            assert torch.equal(our[name].cpu(), their[name])
        assert our["x"].stride() == their["x"].stride()
        assert our["x"].untyped_storage().data_ptr() == our["view"].untyped_storage().data_ptr()
        assert our["packed"].data.is_cuda
        assert our["packed"].batch_sizes.device.type == "cpu"
        assert our["texts"] == their["texts"]


def test_batches_are_right_while_the_step_runs_on_another_stream(
    sleep: Callable[[float], None],
) -> None:
    """Each is used late, on a stream of the trainer's own, and dropped at once."""
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    lowest: list[Tensor] = []
    highest: list[Tensor] = []
    with torch.cuda.stream(stream):
        for x, *_ in ours(dataset=Numbered(60), batch_size=2, num_workers=2, device="cuda"):
            sleep(0.005)
            lowest.append(x.min())
            highest.append(x.max())
            del x
        stream.synchronize()

    assert [int(one) for one in lowest] == list(range(0, 60, 2))
    assert [int(one) for one in highest] == list(range(1, 60, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_on_the_device_that_are_kept_are_not_overwritten(workers: int) -> None:
    kept = list(ours(dataset=Numbered(40), batch_size=2, num_workers=workers, device="cuda"))

    assert [int(x.min()) for x, *_ in kept] == list(range(0, 40, 2))
    assert [int(x.max()) for x, *_ in kept] == list(range(1, 40, 2))


def test_rows_of_tensors_arrive_too() -> None:
    data = torch.arange(1_000.0).reshape(100, 10)
    batches = list(ours(dataset=TensorDataset(data), batch_size=30, num_workers=2, device="cuda"))

    assert torch.equal(torch.cat([x for (x,) in batches]).cpu(), data)


def test_sparse_batches_and_leaves_of_graphs_arrive() -> None:
    def unusual(samples: list[Any]) -> list[Tensor]:
        x = torch.stack([x for x, *_ in samples])
        return [x.to_sparse(), x.clone().requires_grad_(), torch.empty(0, 3)]

    for sparse, leaf, empty in ours(
        dataset=Numbered(4, 50), batch_size=2, num_workers=1, collate_fn=unusual, device="cuda"
    ):
        assert sparse.is_cuda
        assert torch.equal(sparse.to_dense(), leaf)
        assert leaf.is_cuda
        assert empty.is_cuda


def test_asking_for_a_batch_does_not_wait_for_the_device(sleep: Callable[[float], None]) -> None:
    iterator = ours(dataset=Numbered(40, 1_000), batch_size=2, num_workers=2, device="cuda")
    for _ in range(5):  # until its memory is at hand
        next(iterator)
    torch.cuda.synchronize()
    sleep(2.0)
    began = time.perf_counter()
    for _ in range(10):
        next(iterator)

    assert time.perf_counter() - began < 1.0
    torch.cuda.synchronize()


def test_copies_run_while_the_device_computes(sleep: Callable[[float], None]) -> None:
    """The side stream's copy has ended before the step that was queued first has."""
    iterator = ours(dataset=Numbered(60), batch_size=4, num_workers=2, device="cuda")
    for _ in range(6):  # until its memory is at hand: asking the driver for more may wait
        next(iterator)
    torch.cuda.synchronize()
    sleep(1.0)
    busy = torch.Event("cuda")
    busy.record()
    x, *_ = next(iterator)
    side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(side):
        y, *_ = next(iterator)
        lowest = int(y.min())  # waits for this stream alone
    early = not busy.query()
    torch.cuda.synchronize()

    assert lowest == 28
    assert int(x.min()) == 24
    assert early, "the copy waited for the step"


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="counted from 0"):
        wellfed.DataLoader(Numbered(2), device=f"cuda:{torch.cuda.device_count()}")


# -- ends


@pytest.fixture(params=[{"pin_memory": True}, {"device": "cuda"}], ids=str)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"dataset": Numbered(40), "batch_size": 2, "num_workers": 2, **request.param}


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_an_iterator_that_is_dropped_ends_its_thread(options: dict[str, Any], taken: int) -> None:
    iterator = ours(**options)
    kept = [next(iterator) for _ in range(taken)]
    del iterator
    gc.collect()

    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    assert [int(x[0, 0]) for x, *_ in kept] == [2 * number for number in range(taken)]


def test_persistent_workers_begin_again_in_the_middle(options: dict[str, Any]) -> None:
    loader = wellfed.DataLoader(persistent_workers=True, **options)
    for _, _ in zip(range(3), loader, strict=False):
        pass

    assert [int(x[0, 0]) for x, *_ in loader] == list(range(0, 40, 2))
    del loader
    gc.collect()
