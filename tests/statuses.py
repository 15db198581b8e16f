"""Statuses made by hand, as a running loader would write them."""

from typing import Any

from wellfed.records import LoaderStatus, TrainerStatus, WorkerStatus

NOW_UNIX_S = 1_700_000_000.0


def loader_status(**more: Any) -> LoaderStatus:
    """A loader that keeps its trainer waiting."""
    values: dict[str, Any] = {
        "site": "/home/ana/train.py:41",
        "dataset": "torchvision.datasets.ImageFolder",
        "backend": "processes",
        "workers": 2,
        "depth": 4,
        "at_unix_s": NOW_UNIX_S,
        "epoch": 1,
        "number": 112,
        "batches": 513,
        "batches_per_epoch": 400,
        "window_s": 2.0,
        "window_batches": 36,
        "batches_per_s": 18.2,
        "samples_per_s": 582.4,
        "wait_share": 0.69,
        "wait_s": 0.038,
        "step_s": 0.017,
        "ready_share": 0.12,
        "worker_status": (
            WorkerStatus(worker=0, last=112, fetch_s=0.108, cpu_share=0.98, busy_share=1.0),
            WorkerStatus(worker=1, last=111, fetch_s=0.104, cpu_share=None, busy_share=0.5),
        ),
    }
    return LoaderStatus(**{**values, **more})


def trainer_status(pid: int = 4242, rank: str = "", **more: Any) -> TrainerStatus:
    """A process with such a loader."""
    return TrainerStatus(
        pid=pid,
        start_ticks=99,
        command=("python", "train.py", "--epochs", "3"),
        rank=rank,
        loader=loader_status(**more),
    )
