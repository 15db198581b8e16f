"""A loop that keeps what it was given, and with it an open file for each tensor."""

import resource

import torch
from torch.utils.data import DataLoader, Dataset

kept = []


class Fields(Dataset):
    """Samples of many small tensors."""

    def __len__(self) -> int:
        return 65_536

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        return tuple(torch.full((4,), float(index)) for _ in range(20))


def loader() -> DataLoader:
    return DataLoader(Fields(), batch_size=4, num_workers=2)


def step(batch: object) -> None:
    kept.append(batch)


if __name__ == "__main__":
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    for batch in loader():
        step(batch)
