"""Two large batches an epoch, and eight workers for them."""

import time

import torch
from torch.utils.data import DataLoader, Dataset


class Remote(Dataset):
    """Samples that are 20 ms away."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(0.02)
        return torch.tensor([index])


def loader() -> DataLoader:
    return DataLoader(Remote(), batch_size=16, num_workers=8, persistent_workers=True)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
