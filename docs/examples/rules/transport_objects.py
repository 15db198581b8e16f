"""Batches of many small tensors: each one is sent by itself."""

import torch
from torch.utils.data import DataLoader, Dataset


class ManyParts(Dataset):
    """Samples with a tensor for each of many fields."""

    def __len__(self) -> int:
        return 16_384

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {f"field_{n}": torch.tensor([index, n]) for n in range(64)}


def loader() -> DataLoader:
    return DataLoader(ManyParts(), batch_size=8, num_workers=2)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
