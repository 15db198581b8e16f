"""Fit a small regression on a table that lies in memory: ten numbers a row."""

import argparse
import time
from itertools import islice

import torch
from torch import nn
from torch.utils.data import TensorDataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, help="end each epoch after so many")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--loader", choices=("torch", "wellfed"), default="torch")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--prefetch", type=int)
    parser.add_argument("--pin-memory", action="store_true")
    parser.add_argument("--persistent", action="store_true")
    args = parser.parse_args()
    if args.loader == "wellfed":
        from wellfed import DataLoader
    else:
        from torch.utils.data import DataLoader

    torch.manual_seed(0)
    torch.set_num_threads(1)  # a model of 400 weights has no work for more
    features = torch.randn(args.rows, 10)
    targets = features.square().sum(1, keepdim=True) + 0.1 * torch.randn(args.rows, 1)
    loader = DataLoader(
        TensorDataset(features, targets),
        batch_size=args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        prefetch_factor=args.prefetch,
        pin_memory=args.pin_memory,
        persistent_workers=args.persistent,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)

    for epoch in range(args.epochs):
        began, seen = time.perf_counter(), 0
        total = torch.zeros((), device=device)
        for x, y in islice(loader, args.steps):
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(x)
            seen += len(x)
        mean = total.item() / seen
        rate = seen / (time.perf_counter() - began)
        print(f"epoch {epoch} loss {mean:.4f} {rate:.0f} rows/s")


if __name__ == "__main__":
    main()
