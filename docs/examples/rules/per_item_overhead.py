"""Rows of a tensor in memory, taken one by one in the trainer's process."""

import torch
from torch.utils.data import DataLoader, TensorDataset

ROWS = TensorDataset(torch.rand(65_536, 16))


def loader() -> DataLoader:
    return DataLoader(ROWS, batch_size=256)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
