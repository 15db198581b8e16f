"""Each worker starts a thread per core, so they all wait for each other."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.utils.data import DataLoader, Dataset

CORES = max(2, len(os.sched_getaffinity(0)))
BLOCK = bytes(250_000)


class ManyThreads(Dataset):
    """Samples whose library runs a thread per core, as OpenCV and BLAS do by themselves."""

    pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> torch.Tensor:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(CORES)
        hashes = list(self.pool.map(hashlib.sha256, [BLOCK] * CORES))
        return torch.tensor([index, len(hashes)])


def loader() -> DataLoader:
    return DataLoader(ManyThreads(), batch_size=16, num_workers=CORES)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
