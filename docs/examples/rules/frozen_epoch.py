"""A DistributedSampler that is never told the epoch."""

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class Plain(Dataset):
    """An epoch of some batches."""

    def __len__(self) -> int:
        return 512

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((16,), float(index))


def loader() -> DataLoader:
    data = Plain()
    return DataLoader(data, batch_size=8, sampler=DistributedSampler(data, num_replicas=2, rank=0))


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
