"""The step takes longer than a batch: no loader could make this faster."""

import time

import torch
from torch.utils.data import DataLoader, TensorDataset

ROWS = TensorDataset(torch.arange(4096))


def loader() -> DataLoader:
    return DataLoader(ROWS, batch_size=64)


def step(batch: object) -> None:
    time.sleep(0.05)  # stands for forward, backward and update


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
