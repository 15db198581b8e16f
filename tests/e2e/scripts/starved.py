"""Loads batches where there is little of something: told what by its argument, as JSON.

Prints a checksum of all batches, and what the loader's report says.
"""

import json
import os
import resource
import sys
import tempfile
import warnings
import zlib

import torch

import wellfed
from wellfed._engine import memory


class Rows(torch.utils.data.Dataset):
    """Sample i is 200 KB of i. One of them, the first time, takes all memory that there is."""

    def __init__(self, hungry_at, mark):
        self.hungry_at, self.mark = hungry_at, mark

    def __len__(self):
        return 200

    def __getitem__(self, index):
        if index == self.hungry_at and first_time(self.mark):
            eat()
        return torch.full((50_000,), float(index))


def first_time(mark):
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def eat():
    """Until the kernel kills this process, and no other."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    eaten = []
    while True:
        eaten.append(b"x" * 10_000_000)


def refused():
    raise OSError("no anonymous memory")


def main(asked):
    if "files" in asked:
        resource.setrlimit(resource.RLIMIT_NOFILE, (asked["files"], asked["files"]))
    if asked.get("no_memfd"):
        memory._anonymous = refused
    warnings.filterwarnings("ignore", message="This DataLoader will create 8 worker processes")
    kind = torch.utils.data.DataLoader if asked.get("torch") else wellfed.DataLoader
    workers = asked.get("num_workers", 2)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Rows(asked.get("hungry_at"), os.path.join(folder, "eaten"))
        loader = kind(dataset, batch_size=4, num_workers=workers)
        batches = iter(loader)
        checksum, kept = 0, []
        for batch in batches:
            checksum = zlib.crc32(batch.numpy().tobytes(), checksum)
            if asked.get("keep"):
                kept.append(batch)
        told = {"checksum": checksum}
        if not asked.get("torch"):
            trace = loader.report().trace
            told |= {"deaths": trace.deaths, "workers": trace.plan.workers}
    print(json.dumps(told))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
