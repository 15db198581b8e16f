"""The sampler's own process: reads the machine a few times a second and writes down what it saw.

    trainer (gauges.py)                                  sampler
        | starts an interpreter, which forks itself away --> |
        |                                                    | reads /proc, /sys, NVML
        | <----------------------------- its pid, by socket -|
        |                unlinked file, one JSON line a tick <--|
        |-- "stop" ----------------------------------------> |
        | <---------------------------------------- "done" --| last tick written; exits

Guarantees
- nothing runs in the trainer: no thread, no signal, no lock
- no reader takes more than `Reader.most_cpu_share` of one core: a slow one is asked less often
- it ends when told to, and when the trainer ends, however that happens; the end of the socket
  alone would not tell, because forked workers hold the trainer's end of it open too
- samples lie apart by at least the period, so the file grows by a few KB/s; the period doubles
  after each `SAMPLES_PER_PERIOD`, so that after days the file is still small

Imports the standard library only, and pynvml where there is an NVIDIA driver.
"""

import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wellfed._probes import counters
from wellfed._probes.cgroups import cpu_quota, find_group
from wellfed._probes.family import Family, lives
from wellfed._probes.files import Unreadable, locate
from wellfed._probes.readings import Differences, Level, Reader, Reading

__all__ = ["Orders", "Sampler", "main", "readers"]

# 17 minutes at 4 Hz: longer than a diagnosis. Then a day makes only 7 times as many samples.
SAMPLES_PER_PERIOD = 4096

# Machine-wide memory moves slowly, and vmstat and meminfo are dear for what they say.
MEMORY_EVERY_S = 1.0

# The kernel walks the page tables of each worker for this: 10 ms for one of 600 MB. Growth wants
# three samples of a run of eight seconds, so that it may take more of a core than others.
PSS_EVERY_S = 2.0
PSS_CPU_SHARE = 0.01


class Orders(NamedTuple):
    """What the trainer's side asks for."""

    pid: int
    """Process to follow."""
    start_ticks: int
    """When it started, as /proc/<pid>/stat has it."""
    zero_ns: int
    """Zero of the samples' times, on the clock of `time.perf_counter_ns`."""
    period_s: float
    file_fd: int
    """Where the samples go."""
    control_fd: int
    """Socket that says when to stop."""


class Sampler:
    """Asks each reader when it is due and turns what it says into samples."""

    def __init__(self, readers: tuple[Reader, ...], cpu_ns: Callable[[], int]) -> None:
        """Sample `readers`; `cpu_ns` is the clock of this process's CPU time."""
        self._readers = readers
        self._cpu_ns = cpu_ns
        self._due_ns: list[int | None] = [None] * len(readers)
        self._differences = Differences()
        self._said: dict[str, str] = {}

    def tick(self, at_ns: int) -> tuple[dict[str, float], dict[str, str]]:
        """One look at everything that is due.

        Returns:
            The samples by series; and of those series that are new, or newly unreadable, how
            they are read or why they cannot be.
        """
        samples: dict[str, float] = {}
        news: dict[str, str] = {}
        for number, reader in enumerate(self._readers):
            due_ns = self._due_ns[number]
            if due_ns is not None and at_ns < due_ns:
                continue
            began_ns = self._cpu_ns()
            names, how = reader.names, reader.how
            try:
                found = self._differences.samples(at_ns, reader.read())
                samples |= found
                names = (*names, *found)
            except Unreadable as error:
                how = str(error)
            except Exception as error:
                # A driver in an odd state must not take the other gauges along.
                how = f"cannot be read: {type(error).__name__}: {error}"
            news |= {name: how for name in names if self._said.get(name) != how}
            # The first look is much dearer than the others: caches fill, strangers are met.
            cost_ns = 0 if due_ns is None else self._cpu_ns() - began_ns
            # A little less than asked for, so that a tick that comes early misses no reader.
            wait_ns = max(0.95e9 * reader.every_s, cost_ns / reader.most_cpu_share)
            self._due_ns[number] = at_ns + round(wait_ns)
        self._said |= news
        return samples, news


def readers(root: Path, pid: int) -> tuple[Reader, ...]:
    """All that is sampled for the process `pid`."""
    family = Family(root, pid, without=os.getpid())
    own = ("own_busy_cores", "trainer_rss_bytes", "workers_rss_bytes", "open_fds")
    disks = ("disk_read_bytes_per_s", "disk_reads_per_s", "disk_busy_share")
    swap = ("swap_in_bytes_per_s", "swap_out_bytes_per_s")
    return (
        # Next to each other, because their difference is what the neighbours do.
        Reader(
            ("cpu_busy_cores", "steal_share", "run_queue"),
            "/proc/stat",
            partial(counters.read_cpus, root),
        ),
        Reader(own, "/proc/<pid>/stat and fd of the trainer and its descendants", family.read),
        Reader(disks, "/proc/diskstats", partial(counters.read_disks, root)),
        Reader(swap, "/proc/vmstat", partial(counters.read_swap, root), MEMORY_EVERY_S),
        Reader(
            ("page_cache_bytes",),
            "/proc/meminfo",
            partial(counters.read_memory, root),
            MEMORY_EVERY_S,
        ),
        Reader(
            ("shm_used_bytes",),
            "statvfs /dev/shm",
            partial(counters.read_shm, root),
            MEMORY_EVERY_S,
        ),
        *_pressure(root, "psi", "/proc/pressure", ""),
        *_own_pressure(root, pid),
        _throttling(root, pid),
        Reader(
            ("workers_pss_bytes", "workers_private_bytes"),
            "/proc/<pid>/smaps_rollup of the trainer's descendants",
            family.read_pss,
            PSS_EVERY_S,
            PSS_CPU_SHARE,
        ),
        *_gpus(root),
    )


def _pressure(root: Path, prefix: str, directory: str, suffix: str) -> Iterator[Reader]:
    for resource, lines in (("cpu", ("some",)), ("io", ("some", "full")), ("memory", ("some",))):
        path = f"{directory}/{resource}{suffix}"
        series = {line: f"{prefix}_{resource}_{line}_share" for line in lines}
        read = partial(counters.read_pressure, root, path, series)
        yield Reader(tuple(series.values()), path, read)


def _own_pressure(root: Path, pid: int) -> Iterator[Reader]:
    try:
        # No controller is named so: what is found is the group in the v2 hierarchy, which alone
        # accounts pressure.
        directory = find_group(root, "pressure", str(pid)).directories[0]
    except Unreadable as error:
        names = tuple(name for each in _pressure(root, "own_psi", "", "") for name in each.names)
        yield _unreadable(names, error)
        return
    yield from _pressure(root, "own_psi", directory, ".pressure")


def _throttling(root: Path, pid: int) -> Reader:
    names = ("throttled_periods_share", "throttled_s_per_s")
    try:
        quota = cpu_quota(root, str(pid))
    except Unreadable as error:
        return _unreadable(names, error)
    return Reader(
        names, f"{quota.directory}/cpu.stat", partial(counters.read_throttling, root, quota)
    )


def _gpus(root: Path) -> Iterator[Reader]:
    names = ("gpu_busy_share_0",)
    # Looked for first, because importing pynvml costs more CPU time than a minute of sampling.
    if not any(os.path.exists(locate(root, path)) for path in ("/dev/nvidiactl", "/dev/dxg")):
        yield _unreadable(names, Unreadable("none: no NVIDIA driver is loaded"))
        return
    try:
        import pynvml

        pynvml.nvmlInit()
        devices = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
    except Exception as error:
        yield _unreadable(names, Unreadable(f"cannot ask NVML: {error}"))
        return
    for index, device in enumerate(devices):
        yield Reader(
            (f"gpu_busy_share_{index}",), "NVML", partial(_read_gpu, pynvml, index, device)
        )


def _read_gpu(nvml: Any, index: int, device: Any) -> Iterator[Reading]:
    yield Level(f"gpu_busy_share_{index}", nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)


def _unreadable(names: tuple[str, ...], reason: Unreadable) -> Reader:
    def read() -> Iterator[Reading]:
        raise reason

    # Asked once: what is missing at the start does not come.
    return Reader(names, "", read, every_s=float("1e9"))


def main(orders: Orders, root: Path = Path("/")) -> None:
    """Sample until told to stop or until the trainer is gone."""
    control = socket.socket(fileno=orders.control_fd)
    control.sendall(b"%d " % os.getpid())
    sampler = Sampler(readers(root, orders.pid), time.process_time_ns)
    ticks = 0
    stopping = False
    with open(orders.file_fd, "ab", buffering=0) as file:
        while not stopping and lives(root, orders.pid, orders.start_ticks):
            began_ns = time.perf_counter_ns()
            _write(file.write, began_ns - orders.zero_ns, sampler)
            ticks += 1
            period_s = orders.period_s * 2 ** (ticks // SAMPLES_PER_PERIOD)
            spent_s = (time.perf_counter_ns() - began_ns) / 1e9
            stopping = bool(select.select([control], [], [], max(0.0, period_s - spent_s))[0])
            # What was seen since the last tick, unless that is too short: the kernel counts CPU
            # time in hundredths of a second, which over a millisecond would look like ten cores.
            ended_ns = time.perf_counter_ns()
            if stopping and ended_ns - began_ns > period_s * 1e9 / 2:
                _write(file.write, ended_ns - orders.zero_ns, sampler)
    if stopping:
        control.recv(64)  # left unread, the word would turn the other side's answer into an error
    control.sendall(b"done")
    control.detach()  # stays open until the process has ended, which is what the other side awaits


def _write(write: Callable[[bytes], int | None], at_ns: int, sampler: Sampler) -> None:
    samples, news = sampler.tick(at_ns)
    rounded = {name: float(f"{value:.6g}") for name, value in samples.items()}
    write(json.dumps([at_ns, rounded, news]).encode() + b"\n")
