"""A dataset of many small objects, pickled to each worker for every epoch."""

import torch
from torch.utils.data import DataLoader, Dataset


class Annotated(Dataset):
    """Few samples here, and annotations of very many."""

    def __init__(self) -> None:
        self.annotations = [(number, str(number), float(number)) for number in range(400_000)]

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(self.annotations[index][2])


def loader() -> DataLoader:
    return DataLoader(Annotated(), batch_size=8, num_workers=2, multiprocessing_context="spawn")


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
