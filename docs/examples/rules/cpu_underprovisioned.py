"""One worker computes without pause while other cores have nothing to do."""

import torch
from torch.utils.data import DataLoader, Dataset


class Heavy(Dataset):
    """Samples that cost CPU time."""

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> torch.Tensor:
        total = sum(i * i for i in range(20_000))  # stands for decoding a picture
        return torch.tensor([index, total % 97])


def loader() -> DataLoader:
    return DataLoader(Heavy(), batch_size=16, num_workers=1)


def step(batch: object) -> None:
    pass  # nothing to train: all the time is the loader's


if __name__ == "__main__":
    batches = loader()
    for _ in range(1000):
        for batch in batches:
            step(batch)
