"""Copies to the device, overlapped or not: our loader against torch's, with steps of known length.

    python benchmarks/device.py [--mb 64] [--batches 200] [--step-ms 4] [--workers 4] [--rounds 5]

Each way runs the same loop: a batch, a step of that length on the device, and at last one wait for
the device. The ways take turns, and every other round in the opposite order; a figure is the
median over the rounds. Where all copies are hidden, a batch takes as long as its step.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

import wellfed


class Zeros(Dataset[Any]):
    """Samples that cost next to nothing to make, so that the way to the device is all there is."""

    def __init__(self, length: int, nbytes: int) -> None:
        self.length = length
        self.nbytes = nbytes

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(self.nbytes, dtype=torch.uint8)


def moved(loader: Iterable[Any], *, non_blocking: bool) -> Iterable[Any]:
    """As training loops do it by hand."""
    for batch in loader:
        yield batch.to("cuda", non_blocking=non_blocking)


WAYS: dict[str, Callable[..., Iterable[Any]]] = {
    "torch, pageable": lambda **to: moved(DataLoader(**to), non_blocking=False),
    "torch, pin_memory": lambda **to: moved(DataLoader(pin_memory=True, **to), non_blocking=True),
    "ours, pin_memory": lambda **to: moved(
        wellfed.DataLoader(pin_memory=True, **to), non_blocking=True
    ),
    "ours, device": lambda **to: wellfed.DataLoader(device="cuda", **to),
}


def sleeper() -> Callable[[float], None]:
    """Queues so many seconds of work on the device."""
    cuda: Any = torch.cuda  # half of it has no types
    cycles = 100_000_000
    for _ in range(2):  # the first launch loads the kernel
        cuda.synchronize()
        began = time.perf_counter()
        cuda._sleep(cycles)
        cuda.synchronize()
    per_second = cycles / (time.perf_counter() - began)
    return lambda seconds: cuda._sleep(int(seconds * per_second))


def ms_per_batch(batches: Iterable[Any], step: Callable[[], None], warm: int) -> float:
    """Wall time of a batch, after so many that are not timed."""
    began, timed = 0.0, 0
    for number, batch in enumerate(batches):
        if number == warm:
            torch.cuda.synchronize()
            began = time.perf_counter()
        step()
        batch[0, :16].sum()
        timed = number + 1 - warm
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / timed * 1000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=float, default=64, help="of a batch")
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--step-ms", type=float, default=4)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if not torch.cuda.is_available():
        print("no CUDA device on this machine: nothing was measured")
        return
    sleep = sleeper()
    size, warm = 8, 10
    dataset = Zeros(size * (args.batches + warm), int(args.mb * 1e6) // size)
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(args.rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            batches = WAYS[way](dataset=dataset, batch_size=size, num_workers=args.workers)
            taken[way].append(ms_per_batch(batches, lambda: sleep(args.step_ms / 1000), warm))
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"{args.mb:g} MB a batch, {args.workers} workers, {args.step_ms:g} ms a step")
    for way, times in taken.items():
        print(f"  {way:20s} {median(times):8.2f} ms/batch ({min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    main()
