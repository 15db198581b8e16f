"""Ranks that a launcher starts under `wellfed run` train on the engine, as they do without."""

import sys
from pathlib import Path

from runs import SCRIPTS, run

LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPT = str(SCRIPTS / "ranks_that_end.py")


def test_ranks_come_to_the_same_losses_on_the_engine(tmp_path: Path) -> None:
    plain = run([*LAUNCHER, SCRIPT], tmp_path)
    served = run([*LAUNCHER, "-m", "wellfed", "run", SCRIPT], tmp_path)

    assert (plain.code, served.code) == (0, 0), served
    assert "Traceback" not in served.said
    lines = sorted(served.out.splitlines())
    assert [line.split(" ", 2)[1] for line in lines] == ["0", "1"]
    assert all("['processes', 'processes']" in line for line in lines)
    assert [line.replace("processes", "torch") for line in lines] == sorted(plain.out.splitlines())
