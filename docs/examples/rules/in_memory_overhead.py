"""Rows of a tensor in memory, sent through worker processes."""

import torch
from torch.utils.data import DataLoader, TensorDataset

ROWS = TensorDataset(torch.rand(65_536, 16))


def loader() -> DataLoader:
    return DataLoader(ROWS, batch_size=64, num_workers=2)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
