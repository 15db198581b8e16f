"""All workers may use one core only, the same one."""

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


def pin(worker: int) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # what some libraries do unasked


def loader() -> DataLoader:
    return DataLoader(Heavy(), batch_size=16, num_workers=2, worker_init_fn=pin)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
