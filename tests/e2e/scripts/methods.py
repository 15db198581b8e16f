"""Workers start in the way that the argument names; all they need is defined here."""

import sys

import torch
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index])


def collate(samples):
    return torch.stack(samples), type(samples[0]).__name__


if __name__ == "__main__":
    loader = DataLoader(  # here
        Numbers(),
        batch_size=2,
        collate_fn=collate,
        num_workers=2,
        multiprocessing_context=sys.argv[1],
    )
    assert [int(batch[0]) for batch, _ in loader] == list(range(0, 48, 2))
    print("whole")
