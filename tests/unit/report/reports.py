"""Reports made by hand, as a diagnosis would make them: only for drawing."""

import msgspec

from wellfed.records import (
    Epoch,
    Estimate,
    Evidence,
    Fact,
    Finding,
    Gpu,
    Knob,
    Ledger,
    Line,
    LoaderSeen,
    Machine,
    Plan,
    Remedy,
    Report,
    Site,
    Stage,
    StageStats,
    Trace,
    Verdict,
    Workload,
)


def est(value: float, low: float | None = None, high: float | None = None, n: int = 40) -> Estimate:
    """An estimate; within two per cent where no interval is given."""
    return Estimate(
        value=value,
        low=value * 0.98 if low is None else low,
        high=value * 1.02 if high is None else high,
        n=n,
    )


MACHINE = Machine(
    platform=Fact(value="Linux 6.8 x86_64", how="platform.uname()"),
    python_version=Fact(value="3.12.4", how="sys.version_info"),
    torch_version=Fact(value="2.13.0+cu128", how="torch.__version__"),
    cpus_host=Fact(value=96, how="os.cpu_count()"),
    cpus_affinity=Fact(value=16, how="sched_getaffinity: a cpuset or taskset leaves 16 of 96"),
    cpus_quota=Fact(value=8.0, how="cpu.max of /kubepods/pod7f: 800000 100000"),
    cpus_slurm=Fact(how="none: not under Slurm"),
    cpus_usable=Fact(value=8.0, how="the smallest: the quota"),
    parallel_efficiency=Fact(value=0.62, how="8 busy processes against one, 40 ms each"),
    threads_intra_op=Fact(value=8, how="torch.get_num_threads()"),
    memory_total_bytes=Fact(value=540_000_000_000, how="MemTotal"),
    memory_available_bytes=Fact(value=390_000_000_000, how="MemAvailable"),
    memory_limit_bytes=Fact(value=64_000_000_000, how="memory.max of /kubepods/pod7f"),
    memory_used_bytes=Fact(value=21_300_000_000, how="memory.current, page cache included"),
    swap_total_bytes=Fact(value=0, how="SwapTotal"),
    swap_free_bytes=Fact(value=0, how="SwapFree"),
    shm_total_bytes=Fact(value=67_108_864, how="statvfs(/dev/shm)"),
    shm_free_bytes=Fact(value=67_108_864, how="statvfs(/dev/shm)"),
    fd_limit=Fact(value=1024, how="RLIMIT_NOFILE, soft"),
    start_method=Fact(value="fork", how="multiprocessing.get_start_method()"),
    gpus=Fact(how="NVML: driver and library versions differ; reload the driver"),
)

BUSY_MACHINE = msgspec.structs.replace(
    MACHINE,
    gpus=Fact(
        value=(
            Gpu(index=0, name="NVIDIA H100 80GB HBM3", memory_bytes=85_000_000_000, busy_share=0.3),
        ),
        how="NVML",
    ),
)

WORKLOAD = Workload(
    dataset="torchvision.datasets.folder.ImageFolder",
    style="map",
    length=1_281_167,
    batch_size=64,
    batches_per_epoch=20_019,
)

TRACE = Trace(
    plan=Plan(workers=4, prefetch=2, pin_memory=True, start_method="fork"),
    site=Site(file="/home/ana/vision/train.py", line=41),
    epochs=(Epoch(index=0, iter_ns=0, ready_ns=1, batches=291),),
    others=(
        LoaderSeen(
            site=Site(file="/home/ana/vision/train.py", line=47),
            dataset="ImageFolder",
            workers=4,
            batches=3,
            wait_s=1.2,
        ),
    ),
)


def stats(period_s: float, wait_s: float, batches: int = 279) -> StageStats:
    """Statistics of a run with that period, of which so much was waiting."""
    return StageStats(
        batches=batches,
        warmup=12,
        window_s=batches * period_s,
        period_s=est(period_s),
        wait_share=est(wait_s / period_s),
        stages={
            "wait": Stage(name="wait", wall_s=est(wait_s)),
            "step": Stage(name="step", wall_s=est(period_s - wait_s)),
        },
        samples_per_batch=64,
        cold_batches=40,
        watch_s=0.00021,
    )


def ledger(**seconds: float) -> Ledger:
    """A ledger with those lines."""
    return Ledger(
        wall_s=sum(seconds.values()),
        lines=tuple(Line(name=name, seconds=value) for name, value in seconds.items()),
    )


STARVED = Report(
    wellfed_version="0.1.0",
    created_unix_s=1_790_000_000.0,
    command=("wellfed", "diagnose", "train.py", "--epochs", "1"),
    machine=MACHINE,
    workload=WORKLOAD,
    trace=TRACE,
    stats=stats(0.2121, 0.1484),
    ledger=ledger(startup=1.3, wait=41.4, receive=0.2, step=17.8, other=0.6),
    verdict=Verdict(
        name="cpu_underprovisioned",
        headline=(
            "Your 4 workers are busy decoding all the time and 4 of 8 cores are idle: "
            "set num_workers=7."
        ),
        findings=(
            Finding(
                code="WF201",
                name="cpu_underprovisioned",
                sentence="4 workers use 3.9 of 8 cores, and the step waits 148 ms of 212 ms.",
                evidence=(
                    Evidence(text="workers on CPU 98 % of a fetch", value=0.98),
                    Evidence(text="4 of 8 cores busy", value=4),
                    Evidence(text="0 MB/s read, all cached", value=0),
                    Evidence(text="no batch ready at 97 % of asks", value=0.97),
                ),
                cost_share=est(0.7),
                remedies=(
                    Remedy(
                        change="num_workers=7, persistent_workers=True",
                        why="one core stays free for the trainer",
                        plan=Plan(workers=7, prefetch=2, pin_memory=True, persistent=True),
                        gain=est(2.1, 1.9, 2.3),
                        memory_bytes=1_100_000_000,
                    ),
                    Remedy(
                        change='img.draft("RGB", (256, 256))  # in your loader function, first',
                        why="decoding is 71 % of a sample, and JPEG decodes to a half for less",
                        gain=est(1.47, 1.40, 1.54),
                        measured=True,
                        reproducibility="pixels differ slightly from a full decode",
                    ),
                ),
            ),
            Finding(
                code="WF601",
                name="startup_respawn",
                sentence="Every epoch starts 4 workers anew: 1.3 s each time.",
                cost_share=est(0.021),
                remedies=(Remedy(change="persistent_workers=True"),),
            ),
        ),
        knobs=(
            Knob(
                name="num_workers",
                now="4",
                best="7",
                gain=est(2.1, 1.9, 2.3),
                sentence="more of the idle cores decode",
            ),
            Knob(
                name="prefetch_factor",
                now="2",
                best="2",
                gain=est(1.0, 1.0, 1.0),
                sentence="a deeper buffer only delays the first wait: supply is too slow",
            ),
            Knob(
                name="pin_memory",
                now="True",
                best="True",
                gain=est(1.01, 0.99, 1.03),
                sentence="the copy already overlaps with your step",
            ),
        ),
        ceiling=est(3.33, 3.1, 3.5),
        confidence=0.93,
    ),
    unread=(
        "device_stall: no accelerator was seen",
        "gpus: NVML: driver and library versions differ",
        "disk_read_bytes_per_s: /proc/diskstats is not readable here",
        "cpu_pressure: this kernel has no PSI",
        "run_queue: /proc/self/schedstat is empty",
    ),
)

FED = msgspec.structs.replace(
    STARVED,
    stats=msgspec.structs.replace(stats(0.0641, 0.00026, batches=930), cold_batches=0),
    ledger=ledger(startup=0.2, wait=0.24, step=59.4, other=0.15),
    unread=(),
    verdict=Verdict(
        name="consumer_bound",
        headline="Your step takes 64 ms and waits 0.3 ms for data: leave the loader as it is.",
        findings=(
            Finding(
                code="WF101",
                name="consumer_bound",
                sentence="The step waits 0.4 % of its time.",
                evidence=(
                    Evidence(text="waiting 0.4 % of the step", value=0.004),
                    Evidence(text="7.8 of 8 batches ready when asked", value=7.8),
                ),
                cost_share=est(0.004),
            ),
        ),
        knobs=(
            Knob(
                name="num_workers",
                now="4",
                best="4",
                gain=est(1.0, 1.0, 1.004),
                sentence="the buffer is full already",
            ),
            Knob(
                name="prefetch_factor",
                now="2",
                best="2",
                gain=est(1.0, 1.0, 1.004),
                sentence="the buffer is full already",
            ),
        ),
        ceiling=est(1.004, 1.003, 1.005),
        confidence=0.997,
    ),
)

NOISY = msgspec.structs.replace(
    STARVED,
    stats=msgspec.structs.replace(
        stats(0.18, 0.09), period_s=est(0.18, 0.11, 0.25), warmup=0, cold_batches=0, watch_s=0.0
    ),
    trace=msgspec.structs.replace(TRACE, others=()),
    unread=(),
    verdict=Verdict(
        name="too_noisy",
        headline="No verdict.",
        abstains=(
            "The step takes 180 ms ± 39 %: that is more than any cause would change. "
            "Other processes used 5.2 of 8 cores meanwhile."
        ),
    ),
)

FASTER = msgspec.structs.replace(
    STARVED,
    trace=msgspec.structs.replace(
        TRACE, plan=Plan(workers=7, prefetch=2, pin_memory=True, persistent=True)
    ),
    stats=stats(0.101, 0.0373),
)
