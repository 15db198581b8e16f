"""Train on small objects in a remote store, each of them one round trip away."""

import argparse
import time
import zlib
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

SHAPE = (3, 32, 32)


class RemoteStore:
    """Stands for an object store: every `get` takes one round trip, however small the object."""

    def __init__(self, objects: int, classes: int, latency_s: float) -> None:
        self.latency_s = latency_s
        rng = np.random.default_rng(0)
        self.labels = rng.integers(0, classes, objects).tolist()
        colours = rng.integers(64, 192, (classes, 3, 1, 1))
        noise = rng.integers(-64, 64, (objects, *SHAPE))
        pictures = (colours[self.labels] + noise).astype(np.uint8)
        self.blobs = [zlib.compress(picture.tobytes()) for picture in pictures]

    def get(self, key: int) -> bytes:
        """The object's bytes, one round trip later."""
        time.sleep(self.latency_s)
        return self.blobs[key]


class RemoteImages(Dataset[tuple[Tensor, int]]):
    """Fetches one object a sample and decodes it."""

    def __init__(self, store: RemoteStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        raw = bytearray(zlib.decompress(self.store.get(index)))
        pixels = torch.frombuffer(raw, dtype=torch.uint8).view(SHAPE)
        return pixels.float() / 128 - 1, self.store.labels[index]


def number_or_auto(said: str) -> int | str:
    """What `--workers` may be; only wellfed's loader knows "auto"."""
    return said if said == "auto" else int(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--latency-ms", type=float, default=20, help="one round trip")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, help="end each epoch after so many")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--loader", choices=("torch", "wellfed"), default="torch")
    parser.add_argument("--workers", type=number_or_auto, default=2)
    parser.add_argument("--prefetch", type=int)
    parser.add_argument("--pin-memory", action="store_true")
    parser.add_argument("--persistent", action="store_true")
    args = parser.parse_args()
    more = {}
    if args.loader == "wellfed":
        from wellfed import DataLoader

        more["thread_safe"] = True  # the store may be asked for several objects at once
    else:
        from torch.utils.data import DataLoader

    torch.manual_seed(0)
    classes = 10
    loader = DataLoader(
        RemoteImages(RemoteStore(args.objects, classes, args.latency_ms / 1e3)),
        batch_size=args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        prefetch_factor=args.prefetch,
        pin_memory=args.pin_memory,
        persistent_workers=args.persistent,
        **more,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, classes),
    ).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    for epoch in range(args.epochs):
        began, seen = time.perf_counter(), 0
        for step, (images, labels) in enumerate(islice(loader, args.steps)):
            images, labels = images.to(device), labels.to(device)
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(labels)
            if step % 10 == 0:
                rate = seen / (time.perf_counter() - began)
                print(f"epoch {epoch} step {step:3d} loss {loss.item():.4f} {rate:.0f} imgs/s")


if __name__ == "__main__":
    main()
