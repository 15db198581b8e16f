"""What it takes to hand over a batch from one process to another: by slabs, and as torch does.

A worker process makes the same batch again and again in normal memory; what packing takes there
and unpacking here is timed, the median of many, and beside them one plain copy of the bytes.

    python benchmarks/parcels.py
"""

import argparse
import multiprocessing
import pickle
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from wellfed._engine.leases import Shelf
from wellfed._engine.parcel import Parcel, pack, unpack
from wellfed._engine.slabs import Slabs

BATCHES: dict[str, Callable[[], Any]] = {
    "one tensor of 1 KB": lambda: torch.ones(256),
    "one tensor of 1 MB": lambda: torch.ones(262_144),
    "one tensor of 50 MB": lambda: torch.ones(50 * 262_144),
    "512 tensors of 100 floats": lambda: [torch.ones(100) for _ in range(512)],
    "dict of 8 tensors, 8 strings": lambda: {
        "tensors": {f"field {n}": torch.ones(100) for n in range(8)},
        "names": [f"name {n}" for n in range(8)],
    },
}

Seconds = tuple[float, float]
"""Of packing, and of unpacking."""


def worker_by_slabs(make: Callable[[], Any], rounds: int, wire: socket.socket) -> None:
    slabs = Slabs()
    took = []
    for _ in range(rounds):
        value = make()
        began = time.perf_counter()
        slabs.begin()
        parcel = pack(value, slabs)
        took.append(time.perf_counter() - began)
        fresh = slabs.fresh()
        record = pickle.dumps((tuple(parcel), [entry[:2] for entry in fresh]))
        if fresh:
            socket.send_fds(wire, [record], [entry[2] for entry in fresh])
        else:
            wire.send(record)
        slabs.told()
        for slab in pickle.loads(wire.recv(4096)):
            slabs.give_back(slab)
    wire.send(pickle.dumps(statistics.median(took)))


def by_slabs(make: Callable[[], Any], rounds: int) -> Seconds:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    forked = multiprocessing.get_context("fork")
    worker = forked.Process(target=worker_by_slabs, args=(make, rounds, theirs))
    worker.start()
    shelf = Shelf()
    took = []
    for _ in range(rounds):
        record, descriptors, _, _ = socket.recv_fds(ours, 4096, 16)
        parcel, fresh = pickle.loads(record)
        for (slab, nbytes), descriptor in zip(fresh, descriptors, strict=True):
            shelf.adopt(slab, nbytes, descriptor)
        began = time.perf_counter()
        batch = unpack(Parcel(*parcel), shelf)
        took.append(time.perf_counter() - began)
        del batch
        ours.send(pickle.dumps(shelf.freed()))
    packing: float = pickle.loads(ours.recv(4096))
    worker.join()
    return packing, statistics.median(took)


def worker_by_torch(make: Callable[[], Any], rounds: int, wire: "Connection[Any, Any]") -> None:
    took = []
    for _ in range(rounds):
        value = make()
        began = time.perf_counter()
        record = ForkingPickler.dumps(value)
        took.append(time.perf_counter() - began)
        wire.send_bytes(record)
        wire.recv()
    wire.send(statistics.median(took))


def by_torch(make: Callable[[], Any], rounds: int) -> Seconds:
    ours, theirs = multiprocessing.Pipe()
    forked = multiprocessing.get_context("fork")
    worker = forked.Process(target=worker_by_torch, args=(make, rounds, theirs))
    worker.start()
    took = []
    for _ in range(rounds):
        record = ours.recv_bytes()
        began = time.perf_counter()
        batch = pickle.loads(record)
        took.append(time.perf_counter() - began)
        del batch
        ours.send(None)
    packing: float = ours.recv()
    worker.join()
    return packing, statistics.median(took)


def by_copy(make: Callable[[], Any], rounds: int) -> float | None:
    """One copy between two buffers that are in use already, where the batch is one tensor."""
    source = make()
    if not isinstance(source, torch.Tensor):
        return None
    target = source.clone()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        target.copy_(source)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'microseconds':30s} {'slabs':>19s} {'torch':>23s} {'copy':>9s}")
    print(f"{'':30s} {'pack':>9s} {'unpack':>9s} {'pack':>11s} {'unpack':>11s}")
    for name, make in BATCHES.items():
        rounds = args.rounds if "50" not in name else args.rounds // 5
        ours, theirs = by_slabs(make, rounds), by_torch(make, rounds)
        copy = by_copy(make, rounds)
        print(
            f"{name:30s} {ours[0] * 1e6:9.1f} {ours[1] * 1e6:9.1f} "
            f"{theirs[0] * 1e6:11.1f} {theirs[1] * 1e6:11.1f} "
            + (f"{copy * 1e6:9.1f}" if copy is not None else f"{'':9s}")
        )


if __name__ == "__main__":
    main()
