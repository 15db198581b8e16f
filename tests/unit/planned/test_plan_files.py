"""A plan from a file is applied where it holds, and said once where it does not."""

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import Dataset

import wellfed
from wellfed._planned.key import key_of
from wellfed._planned.proving import still_holds
from wellfed.errors import NewerReport, ReportError
from wellfed.records import Answer, Estimate, Plan, PlanKey, TunedPlan, save

MS = 1_000_000
TWO = Plan(backend="processes", workers=2, prefetch=3, start_method="fork")


def flip(row: torch.Tensor) -> torch.Tensor:
    return row.flip(0)


def turn(row: torch.Tensor) -> torch.Tensor:
    return -row


class Rows(Dataset[torch.Tensor]):
    def __init__(self, transform: Any = flip, length: int = 64) -> None:
        self.transform = transform
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        row: torch.Tensor = self.transform(torch.full((4,), float(index)))
        return row


def answer(plan: Plan, seconds: float = 1.0) -> Answer:
    took = Estimate(value=seconds, low=0.9 * seconds, high=1.1 * seconds, n=100)
    own = "torch" if plan.backend == "torch" else "wellfed"
    return Answer(loader=own, plan=plan, seconds=took, gain=took, change="", why="test")


def kept(folder: Path, plan: Plan = TWO, key: PlanKey | None = None, batch_size: int = 8) -> Path:
    file = folder / "tuned.json"
    found = key or key_of(Rows(), None, batch_size)
    answers = (answer(plan),)
    save(TunedPlan(wellfed_version="0", created_unix_s=0.0, key=found, answers=answers), file)
    return file


def test_without_workers_of_ones_own_its_line_is_applied(tmp_path: Path) -> None:
    file = kept(tmp_path)

    loader = wellfed.DataLoader(Rows(), batch_size=8, plan=file)

    assert (loader.num_workers, loader.prefetch_factor) == (2, 3)
    assert [len(batch) for batch in loader] == [8] * 8


def test_workers_that_were_asked_for_stay_and_so_do_their_draws(tmp_path: Path) -> None:
    def batches(loader: TorchLoader[Any]) -> list[torch.Tensor]:
        return list(loader)

    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    planned = wellfed.DataLoader(
        Rows(), 8, True, num_workers=3, generator=generators[0], plan=str(kept(tmp_path))
    )
    plain = TorchLoader(Rows(), 8, True, num_workers=3, generator=generators[1])

    assert planned.num_workers == 3
    assert planned.plan == TWO
    for ours, torchs in zip(batches(planned), batches(plain), strict=True):
        assert torch.equal(ours, torchs)


def test_auto_follows_the_plan(tmp_path: Path) -> None:
    loader = wellfed.DataLoader(Rows(), 8, num_workers="auto", plan=kept(tmp_path))
    iterator: Any = iter(loader)

    assert iterator.backend == "processes"
    assert iterator.plan.workers == 2
    iterator._shutdown_workers()


@pytest.mark.parametrize(
    ("dataset", "batch_size", "differs"),
    [
        (Rows(length=32), 8, "dataset was"),
        (Rows(), 4, "batches of 8"),
        (Rows(transform=turn), 8, "transform was"),
    ],
)
def test_another_job_is_said_once_and_num_workers_decides(
    dataset: Rows, batch_size: int, differs: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = kept(tmp_path)
    with caplog.at_level(logging.WARNING):
        loader = wellfed.DataLoader(dataset, batch_size, plan=file)
        assert list(loader)

    assert loader.num_workers == 0
    assert loader.plan is None
    (said,) = caplog.messages
    assert differs in said
    assert "wellfed tune --plan" in said


@pytest.mark.parametrize("field", ["machine", "limits", "torch"])
def test_another_place_is_said(
    field: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = msgspec.structs.replace(key_of(Rows(), None, 8), **{field: "another"})
    with caplog.at_level(logging.WARNING):
        loader = wellfed.DataLoader(Rows(), 8, num_workers="auto", plan=kept(tmp_path, key=key))

    assert loader.plan is None
    assert f"{field} was another" in caplog.messages[0]
    assert "chosen anew" in caplog.messages[0]


def test_threads_need_the_callers_consent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = kept(tmp_path, msgspec.structs.replace(TWO, threads=4))
    with caplog.at_level(logging.WARNING):
        refused = wellfed.DataLoader(Rows(), 8, plan=file)
    consented = wellfed.DataLoader(Rows(), 8, plan=file, thread_safe=True)

    assert refused.num_workers == 0
    assert "thread_safe=True" in caplog.messages[0]
    assert consented.plan is not None
    assert consented.plan.threads == 4
    assert len(list(consented)) == 8


def test_a_file_that_is_none_says_how_to_make_one(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"plan": 1}')

    with pytest.raises(ReportError, match="wellfed tune --plan"):
        wellfed.DataLoader(Rows(), 8, plan=broken)
    with pytest.raises(ReportError, match="cannot read"):
        wellfed.DataLoader(Rows(), 8, plan=tmp_path / "none.json")


def test_a_later_version_is_said(tmp_path: Path) -> None:
    later = tmp_path / "later.json"
    text = kept(tmp_path).read_text().replace('"wellfed_schema":1', '"wellfed_schema":99')
    later.write_text(text)

    with pytest.raises(NewerReport, match="Upgrade"):
        wellfed.DataLoader(Rows(), 8, plan=later)


def test_a_report_without_a_tuning_has_no_plan_to_save(tmp_path: Path) -> None:
    from recorded import recorded

    with pytest.raises(ReportError, match="nothing was tuned"):
        recorded("one_worker_computes").save_plan(str(tmp_path / "plan.json"))


def beats(period_ms: float, wait_ms: float, count: int = 20) -> list[tuple[int, int]]:
    ends = [round(number * period_ms * MS) for number in range(1, count)]
    return [(end - round(wait_ms * MS), end) for end in ends]


@pytest.mark.parametrize(
    ("period_ms", "wait_ms", "holds"),
    [(10.0, 9.0, True), (30.0, 1.0, True), (30.0, 25.0, False), (13.0, 13.0, True)],
)
def test_a_plan_fails_where_its_batches_are_waited_for_longer_than_measured(
    period_ms: float, wait_ms: float, holds: bool
) -> None:
    said = still_holds(answer(TWO, seconds=0.010), beats(period_ms, wait_ms))

    assert (said == "") == holds


def test_a_plan_that_fails_in_use_is_said_once_and_auto_chooses_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tuned.json"
    key = key_of(Rows(length=512), None, 8)
    fast = (answer(TWO, seconds=1e-9),)
    save(TunedPlan(wellfed_version="0", created_unix_s=0.0, key=key, answers=fast), file)
    loader = wellfed.DataLoader(Rows(length=512), 8, num_workers="auto", plan=file)

    with caplog.at_level(logging.WARNING):
        first = list(loader)
        again = list(loader)

    (said,) = [one for one in caplog.messages if "no longer holds" in one]
    assert "were measured when it was found" in said
    assert loader.plan is None
    assert len(first) == len(again) == 64
