import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from wellfed._probes import start_gauges
from wellfed._probes.gauges import GaugeSampler, _gauges

PATIENCE_S = 10.0


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes true within `PATIENCE_S`; looks again at intervals, and gives up."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def mentions(sampler: GaugeSampler) -> int:
    """How often the file has a word on busy cores: first where it is read, then a value a tick."""
    assert sampler._file is not None
    return os.pread(sampler._file.fileno(), 2**20, 0).count(b'"cpu_busy_cores"')


def samplers_of(pid: int) -> list[psutil.Process]:
    """Samplers that watch `pid`, told by the orders they were started with."""
    mark = f"[{pid}, "
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any("_probes.sampler" in word for word in process.info["cmdline"] or ())
        and any(mark in word for word in process.info["cmdline"])
    ]


def test_samples_come_from_another_process_and_are_on_our_clock() -> None:
    zero_ns = time.perf_counter_ns()
    before = psutil.Process().children()
    sampler = start_gauges(os.getpid(), zero_ns, period_s=0.02)

    assert psutil.Process().children() == before  # it is nobody that the script could wait for
    assert eventually(lambda: mentions(sampler) >= 4)
    gauges = {gauge.name: gauge for gauge in sampler.close()}

    busy = gauges["cpu_busy_cores"]
    assert len(busy.values) >= 2
    assert all(0 < at_ns <= time.perf_counter_ns() - zero_ns for at_ns in busy.at_ns)
    assert gauges["trainer_rss_bytes"].values[-1] > 2**20
    assert all(value >= 0 for value in gauges["neighbour_busy_cores"].values)
    assert eventually(lambda: not samplers_of(os.getpid()))


def test_closing_twice_gives_the_same() -> None:
    sampler = start_gauges(os.getpid(), 0, period_s=0.05)

    assert sampler.close() is sampler.close()


def test_a_killed_sampler_leaves_what_it_wrote_and_the_reason() -> None:
    sampler = start_gauges(os.getpid(), 0, period_s=0.02)
    assert eventually(lambda: mentions(sampler) >= 4)
    for process in samplers_of(os.getpid()):
        process.send_signal(signal.SIGKILL)

    busy = {gauge.name: gauge for gauge in sampler.close()}["cpu_busy_cores"]

    assert len(busy.values) >= 1
    assert busy.how.startswith("/proc/stat; the sampler ended early")


def test_it_ends_with_the_trainer_although_a_worker_holds_its_socket() -> None:
    script = (
        "import os, sys, time\n"
        "from wellfed._probes import start_gauges\n"
        "sampler = start_gauges(os.getpid(), 0, period_s=0.02)\n"
        "worker = os.fork()\n"
        "if not worker: sys.stdin.read()\n"  # holds the parent's socket until we let it go
        "else:\n"
        "    print(os.getpid(), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as trainer:
        assert trainer.stdout is not None
        pid = int(trainer.stdout.readline())
        trainer.wait(PATIENCE_S)

        assert eventually(lambda: not samplers_of(pid))


def test_a_forked_child_cannot_stop_it() -> None:
    sampler = start_gauges(os.getpid(), 0, period_s=0.02)
    sampler._owner += 1  # as a child would see it

    assert sampler.close() == ()

    sampler._owner -= 1
    assert len(sampler.close()) > 20


def test_a_process_that_is_not_there_gives_a_reason() -> None:
    gauges = start_gauges(2**22 + 1, 0).close()

    assert all("the sampler did not start" in gauge.how for gauge in gauges)
    assert "cpu_busy_cores" in {gauge.name for gauge in gauges}


def test_an_interpreter_that_is_not_there_gives_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    assert "/nowhere/python" in start_gauges(os.getpid(), 0).close()[0].how


def test_the_sampler_loads_nothing_heavy() -> None:
    source = str(Path(sys.modules["wellfed"].__file__ or "").parents[1])
    program = (
        f"import sys; sys.path.append({source!r}); import wellfed._probes.sampler; "
        "heavy = {'torch', 'numpy', 'psutil', 'msgspec', 'subprocess', 'dataclasses', 'ctypes'}; "
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )

    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_torn_last_line_is_left_out() -> None:
    written = [b'[5, {"a": 1.0}, {"a": "here"}]', b'[6, {"a": 2.0}, {}]', b'[7, {"a"']

    (gauge,) = _gauges(written, "")

    assert (gauge.at_ns, gauge.values, gauge.how) == ((5, 6), (1.0, 2.0), "here")


def test_neighbours_are_what_the_family_did_not_use() -> None:
    hows = '{"cpu_busy_cores": "b", "own_busy_cores": "o"}'
    written = [
        f'[1, {{"cpu_busy_cores": 3.0, "own_busy_cores": 1.0}}, {hows}]'.encode(),
        b'[2, {"cpu_busy_cores": 1.0, "own_busy_cores": 1.1}, {}]',
        b'[3, {"cpu_busy_cores": 1.0}, {}]',
    ]

    neighbours = {gauge.name: gauge for gauge in _gauges(written, "")}["neighbour_busy_cores"]

    assert (
        neighbours.at_ns,
        neighbours.values,
        neighbours.how,
    ) == ((1, 2), (2.0, 0.0), "b less o")


def test_a_series_that_was_read_tells_where_although_it_broke_later() -> None:
    written = [b'[1, {"a": 1.0}, {"a": "here"}]', b'[2, {}, {"a": "cannot be read any more"}]']

    (gauge,) = _gauges(written, "")

    assert (gauge.values, gauge.how) == ((1.0,), "here")
