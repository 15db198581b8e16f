"""A script that a dead worker has ended is told of that death once."""

import subprocess
import sys
from pathlib import Path

CODE = """
import os, signal, subprocess, sys
from torch.utils.data import DataLoader

class Dying:
    def __len__(self): return 100
    def __getitem__(self, index):
        if index == 20: os.kill(os.getpid(), signal.SIGKILL)
        return index

batches = iter(DataLoader(Dying(), num_workers=1))
for batch in batches: pass
"""
AROUND = """
import signal, subprocess, sys
from wellfed._attach.script import run_script
ended = run_script(sys.argv[1], [])
# Another child ends, while the iterator of the script is still known.
subprocess.run([sys.executable, "-c", ""], check=True)
print(type(ended.error).__name__, signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL)
"""


def test_another_child_that_ends_raises_nothing_after_the_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CODE)

    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AROUND, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.stdout == "RuntimeError True\n", ran.stderr
