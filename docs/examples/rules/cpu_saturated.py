"""Every core computes samples: more workers would only share the same cores."""

import os

import torch
from torch.utils.data import DataLoader, Dataset


class Heavy(Dataset):
    """Samples that cost CPU time."""

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> torch.Tensor:
        total = sum(i * i for i in range(20_000))  # stands for decoding a picture
        return torch.tensor([index, total % 97])


def loader() -> DataLoader:
    return DataLoader(Heavy(), batch_size=16, num_workers=len(os.sched_getaffinity(0)))


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
