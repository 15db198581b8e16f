"""Batches of one cheap sample: what a batch costs is not its samples."""

import torch
from torch.utils.data import DataLoader, Dataset


class Cheap(Dataset):
    """Samples that cost next to nothing."""

    def __len__(self) -> int:
        return 65_536

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((16,), float(index))


def loader() -> DataLoader:
    return DataLoader(Cheap(), batch_size=1, num_workers=2)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
