"""Who takes part, and one run of it: a fresh process, listened to from outside."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from workloads import WORKLOADS, Setting

from contest import session

__all__ = ["Contender", "Failed", "Run"]

HERE = Path(__file__).parents[1]
TIME_LIMIT_S = 120
LOOKS_PER_S = 4

Run = dict[str, float]
"""The figures of one run by name."""


class Failed(Exception):
    """A run ended without its figures."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way of loading one workload."""

    workload: str
    way: str
    """ "torch", "ours", "plain", or a rival."""
    setting: Setting = field(default_factory=Setting)
    plan: dict[str, Any] | None = None
    loader: str = "wellfed:DataLoader"

    def __str__(self) -> str:
        return f"{self.way} {self.setting}" if self.way not in ("ours", "plain") else self.way

    def run(self, seconds: float, *, whole: bool = True) -> Run:
        """Run once, in a process of its own."""
        order = {
            "workload": self.workload,
            "way": self.way,
            **asdict(self.setting),
            "plan": self.plan,
            "loader": self.loader,
            "seconds": seconds,
            "whole": whole,
        }
        path = os.pathsep.join([str(HERE), *sys.path[1:]])
        child = subprocess.Popen(
            [sys.executable, "-m", "contest.one_run", json.dumps(order)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            return listen(child)
        except Failed as failed:
            raise Failed(f"{self.workload}, {self}: {failed}") from None
        finally:
            for pid in session.members(child.pid):
                os.kill(pid, signal.SIGKILL)
            child.communicate()


def listen(child: subprocess.Popen[bytes]) -> Run:
    """The run's figures as it tells them; its memory is looked at in the phase made for that."""
    assert child.stdout is not None
    deadline = time.monotonic() + TIME_LIMIT_S
    figures: dict[str, list[float]] = {}
    phase, text = "", b""
    while phase != "done":
        if time.monotonic() > deadline:
            raise Failed(f"no end after {TIME_LIMIT_S} s, last heard of in phase {phase!r}")
        ready, _, _ = select.select([child.stdout], [], [], 1 / LOOKS_PER_S)
        if phase == "memory":
            figures.setdefault("memory_bytes", []).append(session.memory_bytes(child.pid))
        if not ready:
            continue
        piece = os.read(child.stdout.fileno(), 65_536)
        if not piece:
            raise Failed(last_words(child))
        *lines, text = (text + piece).split(b"\n")
        for line in lines:
            told = json.loads(line)
            phase = told.pop("phase")
            for name, value in told.items():
                figures.setdefault(name, []).append(value)
    run = {name: together(name, values) for name, values in figures.items()}
    if "memory_bytes" in run:
        # The trainer with torch and the dataset is there whoever loads.
        run["extra_memory_bytes"] = run["memory_bytes"] - run["bare_bytes"]
    return run


def together(name: str, values: list[float]) -> float:
    """One figure of several: plain loops side by side add up, memory has its peak."""
    if name == "memory_bytes":
        return max(values)
    return sum(values) if name == "samples_per_s" else median(values)


def last_words(child: subprocess.Popen[bytes]) -> str:
    """What a run that failed said last."""
    _, errors = child.communicate()
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"ended with code {child.returncode}"


def torch_at(workload: str, setting: Setting) -> Contender:
    """Torch's loader at that setting."""
    return Contender(workload=workload, way="torch", setting=setting)


def named(workload: str, text: str) -> Setting:
    """The setting of the grid that prints like this."""
    return next(one for one in WORKLOADS[workload].grid if str(one) == text)
