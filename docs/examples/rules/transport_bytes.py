"""Large batches: moving the bytes costs more than making them."""

import torch
from torch.utils.data import DataLoader, Dataset

VOLUME = torch.zeros(4, 128, 128, 16)


class Volumes(Dataset):
    """Large samples that are ready at once."""

    def __len__(self) -> int:
        return 1024

    def __getitem__(self, index: int) -> torch.Tensor:
        return VOLUME


def loader() -> DataLoader:
    return DataLoader(Volumes(), batch_size=8, num_workers=2)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
