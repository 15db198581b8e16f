"""Samples of lines amount to a function with its share; a rank's wait to who waits for whom."""

from dataclasses import dataclass

import msgspec
from insight_traces import case_of, trace_of

from wellfed._insight.hot import FEWEST_SAMPLES, hottest, locked_share
from wellfed._insight.ranks import rank_seen, straggler
from wellfed._insight.rules.locks import lock_serialised
from wellfed._insight.rules.ranks import rank_straggler
from wellfed._insight.rules.samples import cheaper_samples, sample_evidence
from wellfed.records import Case, HotLine, Plan, RankSeen


@dataclass(frozen=True)
class Sampled:
    """Two workers that compute, and where they were seen."""

    lines: tuple[HotLine, ...]
    workers: int = 2

    @property
    def case(self) -> Case:
        plan = Plan(workers=self.workers, prefetch=2)
        trace = trace_of(plan, [0.020] * 60, [0.001] * 60)
        return case_of(msgspec.structs.replace(trace, hot_lines=self.lines))


def line(number: int, samples: int, *, locked: int = 0, library: str = "") -> HotLine:
    function = "decode" if number < 60 else "other"
    return HotLine(
        file="/work/data.py",
        line=number,
        function=function,
        library=library,
        samples=samples,
        locked=locked,
    )


def test_lines_of_one_function_count_together_and_the_hottest_is_its_place() -> None:
    hot = hottest(Sampled((line(40, 30), line(48, 41, library="PIL"), line(70, 29))).case)

    assert hot is not None
    assert hot == ("decode", "data.py:48", "PIL", 0.71)


def test_too_few_samples_name_no_line() -> None:
    few = Sampled((line(48, FEWEST_SAMPLES - 1),)).case

    assert hottest(few) is None
    assert locked_share(few) is None
    assert sample_evidence(few) == ()
    assert cheaper_samples(few).change.startswith("make samples cheaper: do once")


def test_a_library_that_decodes_brings_the_advice_for_decoding() -> None:
    case = Sampled((line(48, 71, library="PIL"), line(70, 29))).case

    assert [one.text for one in sample_evidence(case)] == [
        "71 % of worker time in decode() at data.py:48, inside PIL"
    ]
    remedy = cheaper_samples(case)
    assert remedy.change.startswith("data.py:48: make decode() cheaper: Image.draft()")
    assert remedy.gain is not None
    assert 1 < remedy.gain.low <= remedy.gain.value <= remedy.gain.high


def test_all_workers_but_one_at_a_lock_are_a_finding() -> None:
    assert lock_serialised(Sampled((line(48, 100, locked=70),), workers=3).case) is not None


def test_some_at_a_lock_or_all_of_them_are_none() -> None:
    for locked in (20, 100):
        assert lock_serialised(Sampled((line(48, 100, locked=locked),), workers=3).case) is None


def rank(number: int, wait_s: float, step_s: float) -> RankSeen:
    return RankSeen(
        rank=number,
        batches=100,
        period_s=wait_s + step_s,
        wait_s=wait_s,
        workers=1,
        busy_cores=1.0,
    )


def judged(*ranks: RankSeen) -> Case:
    case = Sampled(()).case
    return msgspec.structs.replace(case, trace=msgspec.structs.replace(case.trace, ranks=ranks))


def test_the_rank_that_waits_for_data_is_named_by_those_that_wait_for_it() -> None:
    finding = rank_straggler(judged(rank(0, 0.0, 0.040), rank(1, 0.0, 0.040), rank(2, 0.03, 0.01)))

    assert finding is not None
    assert finding.sentence.startswith("Rank 2 waits 30 ms a step")
    assert 0.7 < finding.cost_share.value < 0.8


def test_ranks_that_wait_alike_are_no_stragglers() -> None:
    assert rank_straggler(judged(rank(0, 0.030, 0.010), rank(1, 0.031, 0.010))) is None


def test_a_rank_that_is_late_for_another_reason_is_not_blamed_on_its_data() -> None:
    assert rank_straggler(judged(rank(0, 0.0, 0.100), rank(1, 0.012, 0.030))) is None


def test_one_rank_is_compared_with_nobody() -> None:
    assert straggler((rank(0, 0.1, 0.1),)) is None
    assert rank_straggler(judged()) is None


def test_a_rank_tells_its_own_means() -> None:
    case = Sampled(()).case
    told = rank_seen(case.trace)

    assert told is not None
    assert told.workers == 2
    assert told.period_s == case.stats.period_s.value
    assert abs(told.wait_s + told.step_s - told.period_s) < 1e-12
