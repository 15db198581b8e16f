"""Rules about the device fire on what a device would show, and never without one."""

import msgspec
import pytest
from insight_traces import MS, case_of, trace_of

from wellfed._insight.rules.device import blocking_copy, pin_bound
from wellfed._insight.untested import untested
from wellfed.records import Case, Fact, Plan


def copied(
    *, device: str = "cuda", plain_s: float = 0.004, pinned_s: float = 0.001, pinned: int = 0
) -> Case:
    """Steps of 20 ms that wait for nothing, and a batch whose copy was tried."""
    plan = Plan(workers=2, prefetch=2)
    trace = trace_of(plan, [0.005] * 60, [0.020] * 60, pinned=pinned, payload_bytes=10_000_000)
    case = case_of(msgspec.structs.replace(trace, device=device))
    workload = msgspec.structs.replace(
        case.workload,
        copy_s=Fact(value=plain_s, how="test"),
        copy_pinned_s=Fact(value=pinned_s, how="test"),
    )
    return msgspec.structs.replace(case, workload=workload)


def test_a_copy_from_ordinary_memory_costs_its_part_of_the_step() -> None:
    finding = blocking_copy(copied())

    assert finding is not None
    assert finding.cost_share.value == pytest.approx(0.2, rel=0.05)
    assert finding.remedies[0].plan == Plan(workers=2, prefetch=2, pin_memory=True)
    assert finding.remedies[0].memory_bytes == 40_000_000


@pytest.mark.parametrize(
    "case",
    [
        copied(device="cpu"),
        copied(pinned=1),
        copied(pinned=-1),
        copied(plain_s=0.0003),
        copied(plain_s=0.001, pinned_s=0.0012),
    ],
    ids=["no device", "pinned", "not looked at", "quick", "pinning gains nothing"],
)
def test_a_copy_is_no_finding_without_its_evidence(case: Case) -> None:
    assert blocking_copy(case) is None


def pinning(pin_ms: float, *, device: str = "cuda", fetch_s: float = 0.004) -> Case:
    """Batches that one thread pins; the recursion's receiving stands for it."""
    plan = Plan(workers=4, prefetch=2, pin_memory=True)
    trace = trace_of(
        plan,
        [fetch_s] * 80,
        [0.002] * 80,
        receive_ns=round(pin_ms * MS),
        pin_ns=round(pin_ms * MS),
        tensors=40,
        payload_bytes=1_000_000,
    )
    spans = tuple(
        msgspec.structs.replace(span, receive_ns=MS // 10, sent_ns=0) for span in trace.spans
    )
    return case_of(msgspec.structs.replace(trace, device=device, spans=spans))


def test_the_pinning_thread_is_the_limit_where_it_never_rests() -> None:
    finding = pin_bound(pinning(10.0))

    assert finding is not None
    assert finding.cost_share.value > 0.5


@pytest.mark.parametrize(
    "case",
    [pinning(10.0, device="cpu"), pinning(0.5), pinning(10.0, fetch_s=0.060)],
    ids=["no device", "quick", "the workers are the limit"],
)
def test_pinning_is_no_finding_where_something_else_is_the_limit(case: Case) -> None:
    assert pin_bound(case) is None


def test_a_run_without_a_device_says_what_it_did_not_test() -> None:
    (said,) = (one for one in untested(copied(device="cpu")) if "blocking_copy" in one)

    assert "pin_bound" in said
    assert "no accelerator" in said
    assert not any("blocking_copy" in one for one in untested(copied()))
