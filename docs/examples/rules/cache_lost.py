"""A cache in the dataset, and new workers for every epoch."""

import time

import torch
from torch.utils.data import DataLoader, Dataset


def burn(seconds: float) -> None:
    """Compute for that long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Caching(Dataset):
    """Works on a sample once, and remembers it."""

    def __init__(self) -> None:
        self.cache: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> torch.Tensor:
        if index not in self.cache:
            burn(0.004)
            self.cache[index] = torch.full((16,), float(index))
        return self.cache[index]


def loader() -> DataLoader:
    return DataLoader(Caching(), batch_size=8, shuffle=True, num_workers=2)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
