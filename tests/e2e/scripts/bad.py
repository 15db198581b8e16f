"""Goes wrong in the way that its argument names."""

import os
import sys

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Dying(Dataset):
    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> int:
        if index == 90:
            os._exit(9)
        return index


def train(loader: DataLoader, most: int = 1000) -> None:
    for number, _ in enumerate(loader):
        if number == most:
            raise ArithmeticError("the loss is not a number")


if __name__ == "__main__":
    way = sys.argv[1]
    if way == "empty":
        train(DataLoader(TensorDataset(torch.empty(0))))  # empty
    elif way == "raises":
        train(DataLoader(TensorDataset(torch.zeros(200, 2)), batch_size=2), most=60)  # raises
    elif way == "raises at once":
        train(DataLoader(TensorDataset(torch.zeros(200, 2))), most=0)
    elif way == "worker dies":
        # Nothing in shared memory: torch asks a worker for each descriptor, and this one is dead.
        train(DataLoader(Dying(), num_workers=1, collate_fn=list))  # worker dies
