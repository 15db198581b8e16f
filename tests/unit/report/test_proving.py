"""A card shows what was measured, what each cost came to, and what was not tested."""

import msgspec
from reports import NOISY, est

from wellfed._report.proving import proof_rows, untested_rows
from wellfed._report.text import render_text
from wellfed.records import Cost, Estimate, Failed, Measured, Proof, Report, Trial, Vetoed


def trial(name: str, kind: str, effect: Estimate) -> Trial:
    outcome = Measured(seconds=est(0.1), effect=effect, batches=48)
    return Trial(name=name, kind=kind, question="", outcome=outcome)


PROOF = Proof(
    period_s=est(0.1),
    fidelity=0.97,
    spent_s=31.0,
    costs=(
        Cost(name="compute+waiting", seconds=est(0.06)),
        Cost(name="collate", seconds=est(0.001, -0.001, 0.003)),
        Cost(name="step", seconds=est(0.039)),
    ),
    trials=(
        trial("in_order=False", "factor", est(1.04, 1.02, 1.06)),
        trial("delay.worker", "delay", est(0.96, 0.8, 1.1)),
        trial("delay.trainer", "delay", est(0.5, 0.1, 0.9)),
        trial("shadow", "shadow", est(1.05, 1.02, 1.08)),
        Trial(name="warm", kind="rung", question="", outcome=Vetoed(why="no files")),
        Trial(name="tiny", kind="rung", question="", outcome=Failed(why="OSError: no")),
        Trial(name="pin_memory=True", kind="factor", question="", outcome=Vetoed(why="no files")),
    ),
)
REPORT: Report = msgspec.structs.replace(NOISY, proof=PROOF)


def test_each_line_says_what_it_costs() -> None:
    rows = {row.label: (row.amount, row.text) for row in proof_rows(REPORT)}

    assert rows["a step, as is"] == ("100 ms", "97 % of the run's; measured in 31 s")
    assert rows["CPU time of samples and samples that wait"][0] == "60 ms"
    assert rows["collating"] == ("1.0 ms", "none to speak of")
    assert rows["in_order=False"] == ("+4 %", "measured, +2 % to +6 %")
    assert rows["a delay in the workers"] == ("96 %", "of it reaches you: they set the pace")
    assert rows["a delay in your loop"][1] == "of it reaches you, which is too uncertain to tell"
    assert rows["your step beside workers"][0] == "105 %"


def test_what_was_not_tested_is_listed_by_reason() -> None:
    assert [(row.text, row.label) for row in untested_rows(REPORT)] == [
        ("warm, pin_memory=True", "no files"),
        ("tiny", "OSError: no"),
    ]


def test_without_experiments_a_card_has_neither() -> None:
    assert proof_rows(NOISY) == untested_rows(NOISY) == ()


def test_a_card_holds_both_on_any_page() -> None:
    for width in (48, 80, 120):
        card = render_text(REPORT, width=width)

        assert "proof" in card
        assert "not tested" in card
        assert max(map(len, card.splitlines())) <= width
