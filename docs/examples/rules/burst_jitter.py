"""Every tenth batch opens a shard: the worker keeps up on average, the buffer does not last."""

import time

import torch
from torch.utils.data import DataLoader, Dataset


class Shards(Dataset):
    """Samples in shards of forty; to open one takes long."""

    def __len__(self) -> int:
        return 40_000

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(0.12 if index % 40 == 0 else 0.001)
        return torch.tensor([index])


def loader() -> DataLoader:
    return DataLoader(Shards(), batch_size=4, num_workers=1)


def step(batch: object) -> None:
    time.sleep(0.022)  # stands for a step on a device


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
