"""Workers of later epochs are not looked at as closely as the first ones were."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import wellfed


class Numbers(Dataset[Any]):
    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        return torch.tensor([index])


def looks_by_epoch(method: str, epochs: int) -> list[int]:
    """How many batches of each epoch were looked into."""
    loader = DataLoader(Numbers(), batch_size=4, num_workers=2, multiprocessing_context=method)
    with wellfed.observe() as seen:
        for _ in range(epochs):
            list(loader)
    found = [0] * epochs
    for span in seen.diagnose().trace.spans:
        found[span.epoch] += span.tensors >= 0
    return found


def test_workers_of_each_of_the_first_epochs_are_looked_at_and_now_and_then_later_ones() -> None:
    found = looks_by_epoch("fork", 10)

    assert found[:3] == [6, 6, 6]
    assert found[3:8] == [0] * 5
    assert found[8] == 6


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_spawned_workers_know_nothing_of_the_others() -> None:
    assert looks_by_epoch("spawn", 5) == [6] * 5
