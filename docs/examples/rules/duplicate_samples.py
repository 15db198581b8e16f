"""A stream that does not ask which worker it is in."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, IterableDataset


class Stream(IterableDataset):
    """Every worker yields everything."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        for number in range(100_000):
            yield torch.full((16,), float(number))


def loader() -> DataLoader:
    return DataLoader(Stream(), batch_size=8, num_workers=2)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
