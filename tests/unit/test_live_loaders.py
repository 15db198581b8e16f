"""A loader whose workers live on is copied, and refuses to be pickled, as torch's does."""

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

import wellfed


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        return index**2


def values(loader: Any) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


@pytest.fixture(params=[DataLoader, wellfed.DataLoader], ids=["torch", "wellfed"])
def living(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A loader after an epoch, its workers waiting for the next."""
    loader = request.param(Squares(), batch_size=2, num_workers=1, persistent_workers=True)
    assert values(loader) == [[0, 1], [4, 9], [16, 25], [36, 49]]
    yield loader
    loader._iterator._shutdown_workers()


def test_a_shallow_copy_shares_the_workers(living: Any) -> None:
    another = copy.copy(living)

    assert type(another) is type(living)
    assert iter(another) is iter(living)
    assert values(another) == values(living)


@pytest.mark.parametrize("way", [pickle.dumps, copy.deepcopy])
def test_what_would_copy_the_workers_is_refused(living: Any, way: Callable[[Any], Any]) -> None:
    with pytest.raises(NotImplementedError, match="cannot be pickled"):
        way(living)

    assert len(values(living)) == 4


def test_a_loader_without_living_workers_is_pickled() -> None:
    loader = wellfed.DataLoader(Squares(), batch_size=2, num_workers=1)
    expected = values(loader)

    assert values(pickle.loads(pickle.dumps(loader))) == expected
