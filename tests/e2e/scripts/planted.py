"""Trains for ever on samples that are far away, with a dataset class of its own."""

import time

import torch
from torch.utils.data import DataLoader, Dataset


class Far(Dataset):
    """Samples that a round trip brings."""

    def __len__(self):
        return 100_000

    def __getitem__(self, index):
        time.sleep(0.004)
        return torch.tensor(index)


def train():
    loader = DataLoader(Far(), batch_size=4, shuffle=True, num_workers=1)
    while True:
        for _ in loader:
            time.sleep(0.001)


if __name__ == "__main__":
    print("trains", flush=True)
    train()
