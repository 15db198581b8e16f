"""Loads batches that are large for the limit: told how by its arguments, as JSON.

Prints a checksum of all batches, and what the loader did.
"""

import json
import resource
import sys
import time
import zlib

import torch

import wellfed


class Large(torch.utils.data.Dataset):
    """Sample i is 4 MB of i."""

    def __len__(self):
        return 240

    def __getitem__(self, index):
        return torch.full((1_000_000,), float(index))


def main(asked):
    if "files" in asked:
        resource.setrlimit(resource.RLIMIT_NOFILE, (asked["files"], asked["files"]))
    kind = torch.utils.data.DataLoader if asked.get("torch") else wellfed.DataLoader
    loader = kind(Large(), batch_size=4, **asked["options"])
    checksum, windows, workers, peak, slabs, own = 0, [], 0, 0, 0, []
    batches = iter(loader)
    for number, batch in enumerate(batches):
        checksum = zlib.crc32(batch[:, ::1000].numpy().tobytes(), checksum)
        if not asked.get("torch") and batches.is_open:
            crew, flow = batches._stream._crew, batches._stream._flow
            windows.append(flow.most)
            workers, slabs = len(crew), crew.shelves.bytes
            peak = max(peak, slabs)
        if number == asked.get("pause_at"):
            print(json.dumps({"slabs": crew.shelves.bytes}), flush=True)
            sys.stdin.readline()
        if number > asked.get("pause_at", 999):  # from here on the trainer itself grows
            own.append(b"x" * asked["grows"])
        time.sleep(asked.get("step_s", 0.005))
    limited = () if asked.get("torch") else loader.report().trace.limited
    print(
        json.dumps(
            {
                "checksum": checksum,
                "windows": windows,
                "workers": workers,
                "peak": peak,
                "slabs": slabs,
                "limited": limited,
            }
        )
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
