"""Trains until it is ended, on wellfed's loader; says when its loader can be seen."""

import sys
import time

import wellfed
from wellfed.testing import CpuBurn

if __name__ == "__main__":
    loader = wellfed.DataLoader(CpuBurn(0.001, length=400), batch_size=4, num_workers=2)
    began, said = time.monotonic(), False
    while time.monotonic() - began < 60:
        for _ in loader:
            if not said and time.monotonic() - began > 1:
                said = True
                print("shown", flush=True)
            time.sleep(0.002)
    sys.exit("nobody ended it")
