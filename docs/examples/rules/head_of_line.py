"""Now and then one batch is slow, and finished ones wait behind it."""

import time

import torch
from torch.utils.data import DataLoader, Dataset


class Uneven(Dataset):
    """Samples of which a few take far longer than the rest."""

    def __len__(self) -> int:
        return 16_384

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(0.2 if index % 97 == 0 else 0.001)
        return torch.tensor([index])


def loader() -> DataLoader:
    return DataLoader(Uneven(), batch_size=8, num_workers=4)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
