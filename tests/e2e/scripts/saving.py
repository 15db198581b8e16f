"""Has a handler for everything that may end training, and says which of them ran."""

import atexit
import contextlib
import sys

import torch
from torch.utils.data import DataLoader, TensorDataset


@contextlib.contextmanager
def logging():
    try:
        yield
    finally:
        print("with")


def train(loader: DataLoader) -> None:
    try:
        with logging():
            for _ in range(1000):
                for (batch,) in loader:
                    batch.sum().item()
    except KeyboardInterrupt:
        print("saved on Ctrl-C")
    except Exception:
        print("saved on a failure")
    else:
        print("trained to the end")
    finally:
        print("finally")
        if "fail" in sys.argv:
            raise RuntimeError("while it was being stopped")


atexit.register(lambda: print("atexit"))
train(DataLoader(TensorDataset(torch.randn(64, 2)), batch_size=2))  # here
