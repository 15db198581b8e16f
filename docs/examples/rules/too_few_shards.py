"""A stream in one shard, and four workers for it."""

import time
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

SHARDS = 1


class Stream(IterableDataset):
    """Each worker reads its share of the shards, one after the other."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for shard in range(first, SHARDS, step):
            for number in range(100_000):
                time.sleep(0.005)
                yield torch.tensor([shard, number])


def loader() -> DataLoader:
    return DataLoader(Stream(), batch_size=8, num_workers=4)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
