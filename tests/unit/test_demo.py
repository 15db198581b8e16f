"""What the demonstration applies, and where it finds its scripts."""

import msgspec
import pytest

from wellfed._demo import as_options, examples_folder, first_remedy
from wellfed.records import Estimate, Finding, Plan, Remedy, Report, Verdict

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


def test_the_scripts_are_found() -> None:
    assert {"train_images.py", "make_jpegs.py"} <= {one.name for one in examples_folder().iterdir()}
