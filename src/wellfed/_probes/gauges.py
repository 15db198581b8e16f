"""Samples the machine while a script runs, from a process of its own.

Series, all in one time base: nanoseconds since `zero_ns` on the clock of `time.perf_counter_ns`,
which every process of the machine shares. A rate holds for the time since the sample before it.

    name                            unit           what
    cpu_busy_cores                  cores          all CPUs of the host, busy time per second
    cpu_core_<i>                    0 to 1         busy share of logical CPU i
    own_busy_cores                  cores          the trainer and all its descendants
    neighbour_busy_cores            cores          busy time of the CPUs that the trainer may use,
                                                   less own_busy_cores
    steal_share                     0 to 1         CPU time that the hypervisor gave to others
    run_queue                       tasks          running or ready to run, the sampler not counted
    disk_read_bytes_per_s[_<dev>]   bytes/s        from block devices: all, or one; cache hits do
                                                   not count, network file systems neither
    disk_reads_per_s[_<dev>]        requests/s     the same, requests after merging
    disk_busy_share[_<dev>]         0 to 1         time with a request in flight; all: the busiest
    page_cache_bytes                bytes          file pages in memory
    swap_in_bytes_per_s             bytes/s        from swap
    swap_out_bytes_per_s            bytes/s        to swap
    trainer_rss_bytes               bytes          resident memory of the trainer
    workers_rss_bytes               bytes          sum over its descendants; shared pages count anew
                                                   for each
    workers_pss_bytes               bytes          the same with shared pages divided; every 5 s
    workers_private_bytes           bytes          the same without shared pages; every 5 s
    psi_cpu_some_share              0 to 1         time in which some task waited for a CPU
    psi_io_some_share               0 to 1         time in which some task waited for I/O
    psi_io_full_share               0 to 1         time in which all tasks did
    psi_memory_some_share           0 to 1         time in which some task waited for memory
    own_psi_..._share               0 to 1         the same four within the trainer's own cgroup
    throttled_periods_share         0 to 1         periods in which the CPU quota ran out
    throttled_s_per_s               s/s            time so lost, summed over cores: may pass 1
    gpu_busy_share_<i>              0 to 1         time with a kernel running, as NVML has it
    shm_used_bytes                  bytes          in /dev/shm, by everybody
    open_fds                        files          open in the trainer

Memory, swap and /dev/shm of the machine are read once a second, whatever the period. A series
that cannot be read has no values, and its `how` says why.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from wellfed._probes.family import read_start_ticks
from wellfed._probes.files import Unreadable
from wellfed._probes.sampler import Orders
from wellfed.records import Gauge

__all__ = ["GaugeSampler", "start_gauges"]

# The interpreter forks itself away before anything else: its first half ends at once, is waited
# for, and leaves no child that the script's `os.wait()` could meet. (Only where the script is
# process 1 of its container, or a subreaper, does the kernel make it parent of the other half.)
# -I keeps the script's directory off the path, where a file may be called json.py; -S spares the
# time of site-packages. So the two places that are needed are passed, behind the standard library.
BOOTSTRAP = """
import os
if os.fork(): os._exit(0)
import json, sys
places, orders = json.loads(sys.argv[1])
sys.path += places
from wellfed._probes.sampler import Orders, main
main(Orders(*orders))
"""

# An interpreter starts in 10 to 20 ms; a starved machine may need a hundred times that.
START_WITHIN_S = 5.0


class GaugeSampler:
    """A running sampler: owns the file of samples and the socket.

    Belongs to the process that started it; not for several threads at once.
    """

    def __init__(self, file: IO[bytes] | None, control: socket.socket | None, failure: str) -> None:
        """Take over what `start_gauges` opened; `failure` says why the sampler did not start."""
        self._file = file
        self._control = control
        self._failure = failure
        self._allowed = _allowed()
        self._owner = os.getpid()
        self._gauges: tuple[Gauge, ...] | None = None

    def close(self, timeout_s: float = 2.0) -> tuple[Gauge, ...]:
        """Stop the sampler and give all it saw, sorted by name. Never raises.

        Harmless when called twice, and in a forked child, which gets nothing. If the sampler did
        not start, ended early or does not answer within `timeout_s`, the `how` of each gauge says
        so, and what it wrote until then is there.
        """
        if os.getpid() != self._owner:
            return ()
        if self._gauges is None:
            if self._control is not None:
                self._failure = _stop(self._control, timeout_s)
                self._control.close()
            lines: list[bytes] = []
            if self._file is not None:
                self._file.seek(0)
                lines = self._file.read().splitlines()
                self._file.close()
            self._gauges = _gauges(lines, self._failure, self._allowed)
        return self._gauges


def start_gauges(pid: int, zero_ns: int, period_s: float = 0.25) -> GaugeSampler:
    """Start sampling the machine and the process `pid`; returns within tens of milliseconds.

    Never raises: where sampling is not possible the sampler's gauges say why.

    Args:
        pid: the trainer. The sampler ends by itself when that process ends.
        zero_ns: zero of the samples' times, as `time.perf_counter_ns` gives it.
        period_s: time between samples.
    """
    file: IO[bytes] | None = None
    ours: socket.socket | None = None
    try:
        start_ticks = read_start_ticks(Path("/"), pid)
        file = tempfile.TemporaryFile(prefix="wellfed-gauges-")  # noqa: SIM115 - close() closes it
        ours, theirs = socket.socketpair()
        with theirs:
            orders = Orders(pid, start_ticks, zero_ns, period_s, file.fileno(), theirs.fileno())
            _launch(orders)
    except (Unreadable, OSError, ValueError, subprocess.SubprocessError) as error:
        if ours is not None:
            ours.close()
        if file is not None:
            file.close()
        return GaugeSampler(None, None, f"the sampler did not start: {error}")
    return GaugeSampler(file, ours, "")


def _launch(orders: Orders) -> None:
    places = [
        str(Path(spec.origin).parents[depth])
        for name, depth in (("wellfed", 1), ("pynvml", 0))
        if (spec := importlib.util.find_spec(name)) is not None and spec.origin is not None
    ]
    command = [sys.executable, "-I", "-S", "-c", BOOTSTRAP, json.dumps([places, orders])]
    started = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # an inherited pipe would stay open after the script ends
        stderr=subprocess.DEVNULL,
        pass_fds=(orders.file_fd, orders.control_fd),
        cwd="/",
        start_new_session=True,  # Ctrl-C is meant for the script, which then closes the sampler
        timeout=START_WITHIN_S,
        check=False,
    )
    if started.returncode:
        raise OSError(f"{sys.executable} exited with {started.returncode}")


def _stop(control: socket.socket, timeout_s: float) -> str:
    """Ask the sampler to stop and wait until it has; why that failed, "" if it did not."""
    heard = b""
    control.settimeout(timeout_s)
    try:
        # Not a signal that would end the script, should the sampler be gone.
        control.send(b"stop", socket.MSG_NOSIGNAL)
    except OSError as error:
        return f"the sampler ended early ({error.strerror})"
    try:
        while chunk := control.recv(64):  # its end closes when it exits
            heard += chunk
    except TimeoutError:
        return f"the sampler did not end within {timeout_s:g} s"
    except OSError as error:
        return f"the sampler ended early ({error.strerror})"
    pid, _, said = heard.partition(b" ")
    _reap(int(pid or 0))
    return "" if said == b"done" else "the sampler ended early"


def _reap(pid: int) -> None:
    """Wait for the sampler where it fell to this process as the container's process 1."""
    if pid:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _gauges(lines: Iterable[bytes], failure: str, allowed: Iterable[int] = ()) -> tuple[Gauge, ...]:
    """The series from what the sampler wrote."""
    hows: dict[str, str] = {}
    series: dict[str, tuple[list[int], list[float]]] = {}
    for at_ns, samples, news in _parse(lines):
        # A series that was read tells where, even if in the end it could not be read any more.
        hows |= {name: how for name, how in news.items() if name not in series}
        for name, value in samples.items():
            times, values = series.setdefault(name, ([], []))
            times.append(at_ns)
            values.append(value)
    if failure:
        hows = {name: f"{how}; {failure}" for name, how in hows.items()} or dict.fromkeys(
            ("cpu_busy_cores", "own_busy_cores"), failure
        )
    gauges = [
        Gauge(
            name=name,
            how=how,
            at_ns=tuple(series.get(name, ((), ()))[0]),
            values=tuple(series.get(name, ((), ()))[1]),
        )
        for name, how in hows.items()
    ]
    by_name = {gauge.name: gauge for gauge in gauges}
    if {"cpu_busy_cores", "own_busy_cores"} <= by_name.keys():
        shared = _shared_cores(by_name, allowed)
        gauges.append(_neighbours(shared, by_name["own_busy_cores"]))
    return tuple(sorted(gauges, key=lambda gauge: gauge.name))


def _allowed() -> frozenset[int]:
    """The CPUs of this process's affinity mask; empty where the platform has none."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def _parse(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, float], dict[str, str]]]:
    for line in lines:
        try:
            at_ns, samples, news = json.loads(line)
        except ValueError:  # the last line of a sampler that was killed
            continue
        yield at_ns, samples, news


def _shared_cores(by_name: Mapping[str, Gauge], allowed: Iterable[int]) -> Gauge:
    """Busy time of the CPUs that the trainer may use; of all of them where that is not known."""
    host = by_name["cpu_busy_cores"]
    cores = [by_name.get(f"cpu_core_{core}") for core in allowed]
    series = [dict(zip(core.at_ns, core.values, strict=True)) for core in cores if core]
    if not series or len(series) < len(cores):
        return host
    common = sorted(set.intersection(*(set(one) for one in series)))
    return Gauge(
        name=host.name,
        how=host.how,
        at_ns=tuple(common),
        values=tuple(sum(one[at_ns] for one in series) for at_ns in common),
    )


def _neighbours(busy: Gauge, own: Gauge) -> Gauge:
    """What others keep busy, where both were sampled at once.

    Both counters tick in hundredths of a second, so that the difference may dip below 0.
    """
    own_at = dict(zip(own.at_ns, own.values, strict=True))
    pairs = [
        (at_ns, max(0.0, cores - own_at[at_ns]))
        for at_ns, cores in zip(busy.at_ns, busy.values, strict=True)
        if at_ns in own_at
    ]
    blind = next((gauge for gauge in (busy, own) if not gauge.values), None)
    how = f"{busy.how} less {own.how}" if blind is None else blind.how
    return Gauge(
        name="neighbour_busy_cores",
        how=how,
        at_ns=tuple(at_ns for at_ns, _ in pairs),
        values=tuple(value for _, value in pairs),
    )
