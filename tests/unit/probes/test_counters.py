import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planting import STAT, mountinfo, plant, process_stat

from wellfed._probes import counters
from wellfed._probes.cgroups import Limit
from wellfed._probes.family import Family, lives, read_start_ticks
from wellfed._probes.files import Unreadable
from wellfed._probes.readings import Differences, Level, Peak, Rate, Ratio, Reader, Reading
from wellfed._probes.sampler import Sampler, readers

S = 1_000_000_000


def test_counters_give_growth_per_second_from_the_second_time_on() -> None:
    differences = Differences()

    first = differences.samples(0, [Level("l", 5), Rate("r", 10), Ratio("q", 1, 2)])
    second = differences.samples(2 * S, [Level("l", 6), Rate("r", 14), Ratio("q", 2, 6)])

    assert first == {"l": 5}
    assert second == {"l": 6, "r": 2.0, "q": 0.25}


def test_a_counter_that_goes_back_or_does_not_pair_gives_no_sample() -> None:
    differences = Differences()
    differences.samples(0, [Rate("r", 10), Peak("p", (1, 2))])

    assert differences.samples(S, [Rate("r", 3), Peak("p", (1, 2, 3))]) == {}
    assert differences.samples(2 * S, [Rate("r", 4), Peak("p", (1, 7, 3))]) == {"r": 1, "p": 5}


def test_no_periods_mean_that_none_was_throttled() -> None:
    differences = Differences()
    differences.samples(0, [Ratio("q", 1, 2)])

    assert differences.samples(S, [Ratio("q", 1, 2)]) == {"q": 0.0}


def test_cpu_time_is_counted_in_cores(tmp_path: Path) -> None:
    differences = Differences()
    plant(tmp_path, {"/proc/stat": STAT.format(busy=0, steal=0)})
    differences.samples(0, counters.read_cpus(tmp_path))
    plant(tmp_path, {"/proc/stat": STAT.format(busy=75, steal=25)})

    samples = differences.samples(S, counters.read_cpus(tmp_path))

    cores = 75 / counters.TICKS_PER_S
    assert {"cpu_busy_cores": cores, "cpu_core_0": cores, "cpu_core_1": 0} == {
        name: value for name, value in samples.items() if name.startswith("cpu")
    }
    assert (samples["steal_share"], samples["run_queue"]) == (0.25, 2)


def test_partitions_and_stacked_devices_are_not_counted_again(tmp_path: Path) -> None:
    disks = ("sda", "sda1", "nvme0n1", "nvme0n1p2", "nvme0n2", "dm-0", "loop1", "zram0")
    line = "8 0 {} 10 0 4 0 0 0 0 0 0 500 0\n"
    plant(tmp_path, {"/proc/diskstats": "".join(map(line.format, disks))})

    readings = {reading.name: reading for reading in counters.read_disks(tmp_path)}

    assert readings["disk_reads_per_s"] == Rate("disk_reads_per_s", 30)
    assert readings["disk_read_bytes_per_s_sda"] == Rate("disk_read_bytes_per_s_sda", 2048)
    assert readings["disk_busy_share"] == Peak("disk_busy_share", (0.5, 0.5, 0.5))


def test_shared_memory_is_no_page_cache(tmp_path: Path) -> None:
    plant(tmp_path, {"/proc/meminfo": "Cached: 10 kB\nBuffers: 2 kB\nShmem: 4 kB\n"})

    assert [Level("page_cache_bytes", 8192)] == list(counters.read_memory(tmp_path))


@pytest.mark.parametrize(
    ("version", "line"), [(1, "throttled_time 3000000000"), (2, "throttled_usec 3000000")]
)
def test_throttled_time_is_in_seconds(tmp_path: Path, version: int, line: str) -> None:
    plant(tmp_path, {"/cg/cpu.stat": f"nr_periods 10\nnr_throttled 4\n{line}\n"})

    readings = counters.read_throttling(tmp_path, Limit(1.5, "/cg", "cpu.max", version))

    assert [Ratio("throttled_periods_share", 4, 10), Rate("throttled_s_per_s", 3.0)] == [*readings]


def test_pressure_is_in_seconds(tmp_path: Path) -> None:
    text = "some avg10=0.00 avg60=0.0 total=2000000\nfull avg10=0.00 total=500000\n"
    plant(tmp_path, {"/io": text})

    readings = counters.read_pressure(tmp_path, "/io", {"some": "a", "full": "b"})

    assert [Rate("a", 2.0), Rate("b", 0.5)] == [*readings]


def test_the_family_is_the_trainer_and_all_below_it(tmp_path: Path) -> None:
    page = counters.PAGE_BYTES
    parents = {10: 1, 11: 10, 5: 11, 20: 1, 21: 20, 99: 10}  # 5 is a grandchild with a lower pid
    for pid, parent in parents.items():
        plant(tmp_path, {f"/proc/{pid}/stat": process_stat(pid, parent, 100)})
        plant(tmp_path, {f"/proc/{pid}/fd/0": ""})
        rollup = "00 [rollup]\nRss: 9 kB\nPss: 2 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 3 kB\n"
        plant(tmp_path, {f"/proc/{pid}/smaps_rollup": rollup})
    family = Family(tmp_path, 10, without=99)

    readings = {reading.name: reading for reading in family.read()}

    assert readings["own_busy_cores"] == Rate("own_busy_cores", 300 / counters.TICKS_PER_S)
    assert readings["trainer_rss_bytes"] == Level("trainer_rss_bytes", 3 * page)
    assert readings["workers_rss_bytes"] == Level("workers_rss_bytes", 6 * page)
    assert [*family.read_pss()] == [
        Level("workers_pss_bytes", 2 * 2048),
        Level("workers_private_bytes", 2 * 4096),
    ]


def test_a_worker_that_vanishes_takes_no_time_away(tmp_path: Path) -> None:
    plant(tmp_path, {"/proc/10/stat": process_stat(10, 1, 0)})
    plant(tmp_path, {"/proc/11/stat": process_stat(11, 10, 500)})
    plant(tmp_path, {"/proc/10/fd/0": ""})
    family = Family(tmp_path, 10, without=99)
    before = next(iter(family.read()))
    (tmp_path / "proc/11/stat").unlink()

    assert before == next(iter(family.read()))


def test_the_start_time_stands_behind_any_name(tmp_path: Path) -> None:
    plant(tmp_path, {"/proc/10/stat": process_stat(10, 1, 0, start_ticks=4711)})

    assert read_start_ticks(tmp_path, 10) == 4711


def test_a_reader_that_is_dear_is_asked_less_often() -> None:
    cpu_ns = 0

    def read() -> list[Reading]:
        nonlocal cpu_ns
        cpu_ns += 3_000_000  # 0.3 % of one second
        return [Level("dear", 1)]

    sampler = Sampler((Reader(("dear",), "here", read),), lambda: cpu_ns)

    asked = [bool(sampler.tick(quarter * S // 4)[0]) for quarter in range(8)]

    assert asked == [True, True, False, False, False, True, False, False]


def test_a_reader_that_fails_leaves_the_others_alone_and_says_why_once() -> None:
    def refuse() -> list[Reading]:
        raise Unreadable("none: no such thing")

    def break_down() -> list[Reading]:
        raise RuntimeError("odd")

    sampler = Sampler(
        (
            Reader(("a",), "", refuse),
            Reader(("b",), "", break_down),
            Reader(("c",), "here", lambda: [Level("c", 1)]),
        ),
        lambda: 0,
    )

    hows = {"a": "none: no such thing", "b": "cannot be read: RuntimeError: odd", "c": "here"}
    assert ({"c": 1}, hows) == sampler.tick(0)
    assert sampler.tick(S) == ({"c": 1}, {})


def test_an_empty_tree_gives_every_series_a_reason(tmp_path: Path) -> None:
    samples, news = Sampler(readers(tmp_path, 10), lambda: 0).tick(0)

    assert samples == {}
    assert {"cpu_busy_cores", "own_psi_io_full_share", "throttled_s_per_s"} <= news.keys()
    assert all(news.values())


def test_a_quota_is_watched_where_it_is_set(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "/proc/10/cgroup": "0::/a\n",
            "/proc/self/mountinfo": mountinfo(("/", "/cg", "cgroup2", "rw")),
            "/cg/a/io.pressure": "some total=0\nfull total=0\n",
            "/cg/cpu.max": "100000 100000\n",
        },
    )

    hows = Sampler(readers(tmp_path, 10), lambda: 0).tick(0)[1]

    assert hows["own_psi_io_full_share"] == "/cg/a/io.pressure"
    assert hows["throttled_s_per_s"] == "cannot read /cg/cpu.stat: No such file or directory"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    garbage=st.one_of(
        st.binary(max_size=80),
        st.from_regex(rb"(cpu\d? |8 0 sd|some |pswpin |Cached: )[0-9a-z =-]*", fullmatch=True),
    )
)
def test_garbage_raises_nothing_but_unreadable(tmp_path: Path, garbage: bytes) -> None:
    names = ("stat", "diskstats", "vmstat", "meminfo", "10/stat", "cpu.stat")
    plant(tmp_path, dict.fromkeys((f"/proc/{name}" for name in names), ""))
    for name in names:
        (tmp_path / "proc" / name).write_bytes(garbage)
    quota = Limit(1.0, "/proc", "cpu.max", 2)

    for read in (
        partial(counters.read_cpus, tmp_path),
        partial(counters.read_disks, tmp_path),
        partial(counters.read_swap, tmp_path),
        partial(counters.read_memory, tmp_path),
        partial(counters.read_pressure, tmp_path, "/proc/stat", {"some": "a"}),
        partial(counters.read_throttling, tmp_path, quota),
        Family(tmp_path, 10, without=99).read,
    ):
        with suppress(Unreadable):
            assert all(reading.name for reading in read())


def test_a_zombie_does_not_live(tmp_path: Path) -> None:
    plant(tmp_path, {"/proc/10/stat": process_stat(10, 1, 0, start_ticks=5)})
    alive = [lives(tmp_path, 10, 5), lives(tmp_path, 10, 6), lives(tmp_path, 11, 5)]
    text = (tmp_path / "proc/10/stat").read_text().replace(") S 1 0", ") Z 1 0")
    plant(tmp_path, {"/proc/10/stat": text})

    assert [*alive, lives(tmp_path, 10, 5)] == [True, False, False, False]


def test_each_gpu_is_read_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def utilisation(device: int) -> SimpleNamespace:
        if device == 1:
            raise RuntimeError("Not Supported")
        return SimpleNamespace(gpu=40)

    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=utilisation,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    plant(tmp_path, {"/dev/nvidiactl": ""})

    samples, news = Sampler(readers(tmp_path, 10), lambda: 0).tick(0)

    assert samples == {"gpu_busy_share_0": 0.4}
    assert news["gpu_busy_share_1"] == "cannot be read: RuntimeError: Not Supported"
