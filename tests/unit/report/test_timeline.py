"""The timeline is a valid Trace Event file, loses no batch, and shares the profiler's clock."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recorded import NAMES, recorded
from wellfed._report.timeline import MOST_BATCHES, merge_profile, save_timeline, timeline
from wellfed.errors import ReportError

NEEDS = {
    "X": {"name", "cat", "ts", "dur", "args"},
    "M": {"name", "args"},
    "C": {"name", "ts", "args"},
    "s": {"name", "cat", "id", "ts"},
    "f": {"name", "cat", "id", "ts", "bp"},
}
"""Fields that the Trace Event format asks for, by phase."""


def events(name: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = timeline(recorded(name))["traceEvents"]
    return told


@pytest.mark.parametrize("name", NAMES)
def test_every_event_has_the_fields_of_its_phase(name: str) -> None:
    for event in events(name):
        assert set(event) - {"ph", "pid", "tid"} == NEEDS[event["ph"]]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert event.get("dur", 0) >= 0
        if event["ph"] == "C":
            assert all(isinstance(one, int | float) for one in event["args"].values())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_json_without_special_numbers(name: str) -> None:
    json.dumps(timeline(recorded(name)), allow_nan=False)


@pytest.mark.parametrize("name", ["uneven_batches", "rows_no_workers", "short_epochs"])
def test_slices_of_a_lane_lie_side_by_side_or_within_each_other(name: str) -> None:
    lanes: dict[tuple[int, int], list[tuple[float, float, str]]] = {}
    for event in events(name):
        if event["ph"] == "X":
            place = (event["pid"], event["tid"])
            end = event["ts"] + event["dur"]
            lanes.setdefault(place, []).append((event["ts"], -end, event["name"]))
    assert lanes
    for lane in lanes.values():
        open_until: list[float] = []
        for begin, minus_end, what in sorted(lane):
            while open_until and open_until[-1] <= begin + 1e-3:
                open_until.pop()
            assert not open_until or -minus_end <= open_until[-1] + 1e-3, what
            open_until.append(-minus_end)


def test_every_batch_that_a_worker_made_has_an_arrow_to_the_loop() -> None:
    report = recorded("uneven_batches")
    told = events("uneven_batches")
    ends = Counter((event["ph"], event["id"]) for event in told if event["ph"] in "sf")
    made = [n for n, span in enumerate(report.trace.spans) if span.taken_ns >= 0]

    assert ends == {(phase, number): 1 for phase in "sf" for number in made}
    at = {(event["ph"], event["id"]): event["ts"] for event in told if event["ph"] in "sf"}
    assert all(at["s", number] <= at["f", number] for number in made)


def test_of_very_many_batches_the_last_are_drawn_and_the_rest_counted() -> None:
    report = recorded("remote")
    last = report.trace.spans[-1]
    spans = tuple(msgspec.structs.replace(last, number=n) for n in range(MOST_BATCHES + 7))
    drawn = timeline(
        msgspec.structs.replace(report, trace=msgspec.structs.replace(report.trace, spans=spans))
    )

    waits = [one["name"] for one in drawn["traceEvents"] if one.get("cat") == "wait"]
    assert waits[0] == "wait for batch 7"
    assert len(waits) == MOST_BATCHES
    assert drawn["metadata"]["batches_left_out"] == 7


def test_every_process_is_named() -> None:
    told = events("uneven_batches")
    named = {event["pid"] for event in told if event["name"] == "process_name"}

    assert named == {event["pid"] for event in told}
    assert len(named) == 5


def test_a_trace_of_the_profiler_lands_on_the_same_clock(tmp_path: Path) -> None:
    import time

    from torch.profiler import ProfilerActivity, profile, record_function

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        before_s = time.time()
        with record_function("marked"):
            time.sleep(0.01)
        after_s = time.time()
    profiler.export_chrome_trace(str(tmp_path / "profile.json"))
    report = recorded("remote")
    trace = msgspec.structs.replace(report.trace, began_unix_s=before_s - 5.0)
    report = msgspec.structs.replace(report, trace=trace)

    save_timeline(report, tmp_path / "merged.json.gz", tmp_path / "profile.json")

    merged = json.loads(gzip.decompress((tmp_path / "merged.json.gz").read_bytes()))
    (marked,) = [one for one in merged["traceEvents"] if one["name"] == "marked"]
    # Two clocks of the kernel are compared, which agree within far less than this.
    assert 5.0 - 0.02 <= marked["ts"] / 1e6 <= 5.0 + (after_s - before_s) + 0.02
    assert len(merged["traceEvents"]) > len(timeline(report)["traceEvents"])


@pytest.mark.parametrize("profile", [{}, {"traceEvents": []}, {"traceEvents": 1}])
def test_what_is_no_trace_of_the_profiler_is_refused(profile: dict[str, Any]) -> None:
    with pytest.raises(ReportError, match="export_chrome_trace"):
        merge_profile(timeline(recorded("remote")), profile)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")

    with pytest.raises(ReportError, match=r"cannot read a trace from .*x\.json"):
        save_timeline(recorded("remote"), tmp_path / "out.json", tmp_path / "x.json")


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot write the timeline"):
        save_timeline(recorded("remote"), tmp_path / "none" / "out.json")
