"""What the demonstration applies, and where it finds its scripts."""

from pathlib import Path

import msgspec
import pytest

from wellfed._demo import as_options, examples_folder, first_remedy, in_short
from wellfed.records import Answer, Estimate, Finding, Plan, Remedy, Report, Tuning, Verdict

GAIN = Estimate(value=1.7, low=1.6, high=1.8)
TWO = Plan(workers=2, prefetch=2, start_method="fork")


def judged(*remedies: Remedy, name: str = "cpu_underprovisioned") -> Report:
    finding = Finding(
        code="WF201", name=name, sentence="so it is", cost_share=GAIN, remedies=remedies
    )
    verdict = Verdict(name="cpu_underprovisioned", headline="so it is", findings=(finding,))

    return msgspec.convert(
        {
            "wellfed_version": "0",
            "created_unix_s": 0.0,
            "machine": {field: {"how": "not looked at"} for field in _machine_fields()},
            "workload": {"dataset": "d", "style": "map"},
            "trace": {"plan": {}},
            "verdict": msgspec.to_builtins(verdict),
        },
        Report,
    )


def _machine_fields() -> tuple[str, ...]:
    from wellfed.records import Machine

    return Machine.__struct_fields__


def test_the_first_remedy_with_a_plan_and_a_gain_is_applied() -> None:
    words = Remedy(change="make samples cheaper")
    setting = Remedy(change="num_workers=2", plan=TWO, gain=GAIN)

    assert first_remedy(judged(words, setting)) == setting


def test_nothing_is_applied_where_no_setting_gains() -> None:
    assert first_remedy(judged(Remedy(change="make samples cheaper"))) is None
    assert first_remedy(judged(name="another")) is None


@pytest.mark.parametrize(
    ("plan", "options"),
    [
        (Plan(), ["--workers", "0"]),
        (TWO, ["--workers", "2", "--prefetch", "2"]),
        (
            msgspec.structs.replace(TWO, persistent=True),
            ["--workers", "2", "--prefetch", "2", "--persistent"],
        ),
    ],
)
def test_a_plan_is_given_to_the_script_as_its_options(plan: Plan, options: list[str]) -> None:
    assert as_options(plan) == options


def answer(loader: str, gain: float) -> Answer:
    won = Estimate(value=gain, low=gain, high=gain)
    return Answer(loader=loader, plan=TWO, seconds=GAIN, gain=won, change="num_workers=2", why="")


def test_it_ends_with_what_all_of_it_came_to() -> None:
    before = judged(Remedy(change="num_workers=2", plan=TWO, gain=GAIN))
    tuning = Tuning(
        present=Plan(), trials=(), answers=(answer("torch", 1.9), answer("wellfed", 2.4))
    )
    tuned = msgspec.structs.replace(before, tuning=tuning)
    remedy = before.verdict.findings[0].remedies[0]

    lines = in_short(before, before, remedy, tuned, [Path("before.html"), Path("tuned.html")])

    assert [line[:18].strip() for line in lines if line] == [
        *("diagnosed", "tuned for torch", "on wellfed", "the reports", ""),
    ]
    assert "1.9x measured" in lines[2]
    assert "2.4x measured" in lines[3]
    assert lines[-1].endswith("tuned.html")


def test_the_scripts_are_found() -> None:
    assert {"train_images.py", "make_jpegs.py"} <= {one.name for one in examples_folder().iterdir()}
