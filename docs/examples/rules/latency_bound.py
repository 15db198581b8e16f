"""Every sample waits for something far away and hardly computes."""

import time

import torch
from torch.utils.data import DataLoader, Dataset


class FarAway(Dataset):
    """Samples behind a round trip."""

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(0.01)  # stands for a request to an object store
        return torch.full((64,), float(index))


def loader() -> DataLoader:
    return DataLoader(FarAway(), batch_size=16, num_workers=2)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
