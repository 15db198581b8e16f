"""Without workers, the line in which the trainer itself makes its samples is named."""

import threading
import time
from typing import Any

from torch.utils.data import DataLoader, Dataset

import wellfed

BATCHES = 40


class Computing(Dataset[Any]):
    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> Any:
        end = time.perf_counter() + 0.03
        while time.perf_counter() < end:
            index += 1
        return index


def test_the_function_that_takes_the_time_is_named() -> None:
    with wellfed.observe() as seen:
        list(DataLoader(Computing()))
    lines = seen.diagnose().trace.hot_lines

    spent = sum(line.samples for line in lines)
    there = [line for line in lines if line.function == "__getitem__"]
    assert spent >= 20
    assert sum(line.samples for line in there) > 0.8 * spent
    assert {line.file for line in there} == {__file__}


def test_quick_batches_are_left_alone_and_no_thread_stays() -> None:
    before = threading.active_count()
    with wellfed.observe() as seen:
        for _ in range(3):
            list(DataLoader(Computing(), batch_size=BATCHES, collate_fn=len))
            list(DataLoader(range(2_000), batch_size=4))  # type: ignore[arg-type]

    seen.diagnose()
    for thread in threading.enumerate():
        if thread.name == "wellfed-lines":
            thread.join(5.0)
    assert threading.active_count() == before
