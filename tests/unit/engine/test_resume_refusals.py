"""A state that a loader cannot take up is refused at once, with what is wrong and what to do."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

import wellfed
from wellfed.errors import UsageError
from wellfed.records import Plan


class Numbers(Dataset[int]):
    def __init__(self, length: int = 12) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


class Drawing(Numbers):
    def __getitem__(self, index: int) -> int:
        return index + int(torch.randint(100, ()))


class Owner(Numbers):
    def __init__(self) -> None:
        super().__init__()
        self.own = torch.Generator().manual_seed(1)

    def __getitem__(self, index: int) -> int:
        return index + int(torch.randint(100, (), generator=self.own))


class Endless(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(100))


def state_after(count: int, dataset: Any = None, **how: Any) -> Any:
    loader = wellfed.DataLoader(dataset or Numbers(), **{"batch_size": 2, **how})
    batches = iter(loader)
    for _ in range(count):
        next(batches)
    return loader.state_dict()


def loading(state: Any, dataset: Any = None, **how: Any) -> wellfed.DataLoader[Any]:
    loader = wellfed.DataLoader(dataset or Numbers(), **{"batch_size": 2, **how})
    loader.load_state_dict(state)
    return loader


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"batch_size": 3}, "batch_size=2, and this one has batch_size=3"),
        ({"drop_last": True}, "drop_last=False"),
        ({"shuffle": True}, "sampler='BatchSampler of SequentialSampler'"),
        ({"dataset": Numbers(13)}, "samples=12, and this one has samples=13"),
        ({"dataset": Endless()}, "iterable=False|samples=12|sampler="),
    ],
)
def test_the_state_of_another_loader_is_refused(how: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        loading(state_after(1), **how)


@pytest.mark.parametrize("state", [None, {}, {"fetcher": 1}, [1], {"format": "another"}])
def test_what_is_no_state_is_refused(state: Any) -> None:
    with pytest.raises(UsageError, match="no state of a wellfed"):
        loading(state)


def test_another_version_is_refused() -> None:
    with pytest.raises(UsageError, match="has version 7, and this wellfed reads version 1"):
        loading({**state_after(1), "version": 7})


@pytest.mark.parametrize("missing", ["loader", "generators", "epoch"])
def test_a_state_with_parts_missing_is_refused(missing: str) -> None:
    state = state_after(1)
    del state[missing]

    with pytest.raises(UsageError, match=f"damaged: .*{missing}"):
        loading(state)


def test_a_state_with_a_wrong_part_is_refused() -> None:
    state = state_after(1)
    state["epoch"]["delivered"] = "three"

    with pytest.raises(UsageError, match=r"damaged: .*epoch\.delivered"):
        loading(state)


def test_a_sampler_with_other_generators_is_refused() -> None:
    state = state_after(1, generator=torch.Generator())

    with pytest.raises(UsageError, match=r"held 1 random generators .* holds 0"):
        loading(state)


def test_draws_of_other_workers_are_refused() -> None:
    state = state_after(2, Drawing(), num_workers=2)

    with pytest.raises(UsageError, match="num_workers=2, and this loader has num_workers=1"):
        loading(state, Drawing(), num_workers=1)


def test_what_later_epochs_changed_cannot_be_made_again() -> None:
    loader = wellfed.DataLoader(
        Owner(), batch_size=2, num_workers=1, persistent_workers=True, generator=torch.Generator()
    )
    list(loader)
    next(iter(loader))
    state = loader.state_dict()

    with pytest.raises(UsageError, match="epoch 1 of persistent workers cannot be made again"):
        loader.load_state_dict(state)
    loader.load_state_dict(state, replay=False)


def test_making_again_is_said(caplog: pytest.LogCaptureFixture) -> None:
    loading(state_after(2, Owner()), Owner())

    assert "2 batches are made again and dropped" in caplog.text
    assert "holds a Generator of its own" in caplog.text


def test_a_loader_that_was_not_begun_has_a_state() -> None:
    loader = wellfed.DataLoader(Numbers(), batch_size=2)

    assert len(list(loading(loader.state_dict()))) == 6


def test_a_state_that_was_loaded_and_not_used_is_the_state() -> None:
    state = state_after(4)

    assert loading(state).state_dict() == state


def test_a_loop_that_was_left_is_gone_on_with() -> None:
    loader = wellfed.DataLoader(Numbers(), batch_size=2)
    for batch in loader:
        if 4 in batch:
            break

    rest = [batch.tolist() for batch in loading(loader.state_dict())]

    assert rest == [[6, 7], [8, 9], [10, 11]]


def test_after_an_epoch_the_next_one_follows() -> None:
    loader = wellfed.DataLoader(Numbers(), batch_size=2)
    list(loader)

    assert loader.state_dict()["epoch"] is None
    assert len(list(loading(loader.state_dict()))) == 6


def test_after_the_last_batch_nothing_is_left() -> None:
    resumed = loading(state_after(6))

    assert list(resumed) == []
    assert len(list(resumed)) == 6


def test_copies_of_a_loader_begin_at_the_beginning() -> None:
    loader = loading(state_after(4))

    for twin in (copy.copy(loader), pickle.loads(pickle.dumps(loader))):
        assert len(list(twin)) == 6
    assert len(list(loader)) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_own_iterator_makes_again_what_was_delivered(workers: int) -> None:
    how: Any = {"num_workers": workers, "plan": Plan(backend="torch"), "shuffle": True}
    torch.manual_seed(2)
    loader: Any = wellfed.DataLoader(Drawing(), batch_size=2, **how)
    batches = iter(loader)
    for _ in range(2):
        next(batches)
    state = loader.state_dict()
    expected = [batch.tolist() for batch in batches]
    torch.manual_seed(9)

    other = loading(state, Drawing(), **how)
    rest = [batch.tolist() for batch in other]

    assert rest == expected if workers else len(rest) == len(expected)


def test_the_state_is_small_and_plain() -> None:
    state = state_after(3, Drawing(200_000), num_workers=2, shuffle=True)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)

    assert torch.load(file, weights_only=True) == state
    assert len(file.getvalue()) < 64_000


def test_only_delivered_batches_out_of_order_are_left_out() -> None:
    state = state_after(3, Numbers(40), num_workers=2, in_order=False)
    delivered = {*range(state["epoch"]["delivered"]), *state["epoch"]["beyond"]}

    rest = list(loading(state, Numbers(40), num_workers=2, in_order=False))

    numbers = {int(batch[0]) // 2 for batch in rest}
    assert len(delivered) == 3
    assert numbers == set(range(20)) - delivered
