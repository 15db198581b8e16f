"""Ranks that the script spawns, and a child of another start method, say who made their batches."""

import multiprocessing
import sys

import torch
import torch.multiprocessing
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index**2])


def train(rank: int, name: str) -> None:
    torch.manual_seed(rank)
    batches = iter(DataLoader(Squares(), batch_size=4, num_workers=2, shuffle=True))
    made_by = getattr(batches, "backend", "torch")
    squares = [batch.flatten().tolist() for batch in batches]
    # One write, so that the lines of two ranks do not mix.
    sys.stdout.write(f"{name} {rank}: {made_by} {squares}\n")
    sys.stdout.flush()


def spawn_another(rank: int, name: str) -> None:
    child = multiprocessing.get_context("spawn").Process(target=train, args=(rank, name))
    child.start()
    child.join()


if __name__ == "__main__":
    torch.multiprocessing.spawn(train, args=("spawned",), nprocs=2)
    for method in ("fork", "forkserver"):
        context = multiprocessing.get_context(method)
        child = context.Process(target=train, args=(2, method))
        child.start()
        child.join()
    child = multiprocessing.get_context("spawn").Process(
        target=spawn_another, args=(3, "of a child")
    )
    child.start()
    child.join()
