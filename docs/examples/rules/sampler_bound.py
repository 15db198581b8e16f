"""Short epochs, each drawn from a new order of millions of samples."""

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler


class Many(Dataset):
    """Two million samples."""

    def __len__(self) -> int:
        return 2_000_000

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((16,), float(index))


def loader() -> DataLoader:
    data = Many()
    return DataLoader(data, batch_size=8, sampler=RandomSampler(data, num_samples=256))


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
