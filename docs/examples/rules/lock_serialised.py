"""All workers share one connection, and a lock lets one of them in at a time."""

import multiprocessing
import time

import torch
from torch.utils.data import DataLoader, Dataset


class OneConnection(Dataset):
    """Samples of a server that is asked over one connection."""

    def __init__(self) -> None:
        self.lock = multiprocessing.Lock()

    def __len__(self) -> int:
        return 16_384

    def __getitem__(self, index: int) -> torch.Tensor:
        with self.lock:
            time.sleep(0.004)  # stands for a request and its answer
        return torch.tensor([index])


def loader() -> DataLoader:
    return DataLoader(OneConnection(), batch_size=8, num_workers=3)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
