"""Short epochs, and new workers for each of them."""

import torch
from torch.utils.data import DataLoader, Dataset


class FewSamples(Dataset):
    """An epoch of a few batches."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((16,), float(index))


def loader() -> DataLoader:
    return DataLoader(FewSamples(), batch_size=8, num_workers=2)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
