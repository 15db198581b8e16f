"""The training itself runs in a process that the script starts."""

import multiprocessing
import sys

import torch
from torch.utils.data import DataLoader, TensorDataset


def train(queue) -> None:
    loader = DataLoader(TensorDataset(torch.randn(64, 2)), batch_size=2)  # here
    try:
        for _ in range(10):
            for (batch,) in loader:
                batch.sum().item()
    finally:
        queue.put("cleaned up")


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    child = context.Process(target=train, args=(queue,))
    child.start()
    print(queue.get())
    child.join()
    print("ended with", child.exitcode)
