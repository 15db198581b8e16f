"""A report as a timeline in the Trace Event format, which Perfetto and chrome://tracing open.

    process            thread            slices                          arrows
    the trainer        your loop         wait, receive, step, start-up   ◄─┐
                       pinning           pin                               │ from the worker's last
    worker 0 .. n      making batches    fetch, collate ───────────────────┘ fetch to the wait's end
                       sending           pack, by the queue's own thread
    counters           ready batches, held batches, gauges of the machine

The clock is that of `torch.profiler`: times are microseconds after `baseTimeNanoseconds`, which is
nanoseconds since 1970. So a trace exported by it can be merged, and its slices lie where they were.

Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from wellfed.errors import ReportError
from wellfed.records import Epoch, Report, Span, Trace

__all__ = ["merge_profile", "save_timeline", "timeline"]

Event = dict[str, Any]

LOOP, PINNING = "your loop", "pinning thread"

# Threads are told apart by number; these are ours, so that they meet no real thread's id.
LOOP_TID, PIN_TID, MAKER_TID, SENDER_TID = 1, 2, 3, 4

MOST_BATCHES = 50_000
"""Batches drawn: some 300,000 events, which browsers still scroll through. The last ones are kept,
and the metadata says how many were left out."""

COUNTED = (
    "cpu_busy_cores",
    "own_busy_cores",
    "neighbour_busy_cores",
    "run_queue",
    "disk_read_bytes_per_s",
    "trainer_rss_bytes",
    "workers_rss_bytes",
)
"""Gauges that are drawn; the rest are in the report."""


def timeline(report: Report) -> dict[str, Any]:
    """The run as a Trace Event object, ready for JSON.

    Args:
        report: whose trace is drawn.

    Returns:
        An object with `traceEvents`, times in microseconds after `baseTimeNanoseconds`.
    """
    trace = msgspec.structs.replace(report.trace, spans=report.trace.spans[-MOST_BATCHES:])
    events = [*_names(trace), *_epochs(trace), *_batches(trace), *_counters(trace)]
    return {
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": round(trace.began_unix_s * 1e9),
        "traceEvents": events,
        "metadata": {
            "wellfed": report.wellfed_version,
            "verdict": report.verdict.name,
            "headline": report.verdict.headline,
            "spans_dropped": trace.spans_dropped,
            "batches_left_out": len(report.trace.spans) - len(trace.spans),
        },
    }


def merge_profile(ours: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """Our timeline with the slices of a trace that `torch.profiler` exported, on one clock.

    Args:
        ours: what `timeline` returned.
        profile: what `export_chrome_trace` wrote, read back.

    Raises:
        ReportError: it is not such a trace, or does not say when its clock began.
    """
    events, base_ns = profile.get("traceEvents"), profile.get("baseTimeNanoseconds")
    if not isinstance(events, list) or not isinstance(base_ns, int):
        raise ReportError(
            "this is not a trace of torch.profiler: it has no traceEvents or no "
            "baseTimeNanoseconds. Make one with: profile.export_chrome_trace(FILE)"
        )
    shift_us = (base_ns - ours["baseTimeNanoseconds"]) / 1000
    moved = [{**one, "ts": one["ts"] + shift_us} if "ts" in one else one for one in events]
    return {**ours, "traceEvents": [*ours["traceEvents"], *moved]}


def save_timeline(report: Report, path: str | Path, profile: str | Path | None = None) -> None:
    """Write the timeline; gzip-compressed if the name ends in ".gz".

    Args:
        report: whose trace is drawn.
        path: the file; Perfetto opens .json and .json.gz alike.
        profile: a trace exported by `torch.profiler` to merge into it.

    Raises:
        ReportError: a file cannot be read or written, or `profile` is not such a trace.
    """
    drawn = timeline(report)
    if profile is not None:
        drawn = merge_profile(drawn, _read(Path(profile)))
    data = json.dumps(drawn, separators=(",", ":"), allow_nan=False).encode()
    path = Path(path)
    try:
        path.write_bytes(gzip.compress(data, 6, mtime=0) if path.suffix == ".gz" else data)
    except OSError as error:
        raise ReportError(f"cannot write the timeline to {path}: {error.strerror}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        read = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (OSError, ValueError, EOFError) as error:
        raise ReportError(f"cannot read a trace from {path}: {error}") from error
    return read if isinstance(read, dict) else {}


def _names(trace: Trace) -> Iterator[Event]:
    """What each process and thread is called, in the order they are shown."""
    plan = trace.plan
    yield from _process(trace.pid, f"trainer (rank {trace.rank} of {trace.world})", 0)
    yield _thread(trace.pid, LOOP_TID, LOOP)
    if any(span.pin_ns for span in trace.spans):
        yield _thread(trace.pid, PIN_TID, PINNING)
    makers = {span.pid: span.worker for span in trace.spans if span.worker >= 0 and span.pid > 0}
    for pid, worker in sorted(makers.items(), key=lambda one: (one[1], one[0])):
        yield from _process(pid, f"worker {worker} of {plan.workers}", 1 + worker)
        yield _thread(pid, MAKER_TID, "making batches")
        yield _thread(pid, SENDER_TID, "sending")


def _process(pid: int, name: str, order: int) -> Iterator[Event]:
    about = {"ph": "M", "pid": pid, "tid": 0}
    yield {**about, "name": "process_name", "args": {"name": name}}
    yield {**about, "name": "process_sort_index", "args": {"sort_index": order}}


def _thread(pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}


def _epochs(trace: Trace) -> Iterator[Event]:
    """The start of each epoch: making the iterator, and the workers it starts."""
    for epoch in trace.epochs:
        if epoch.ready_ns > epoch.iter_ns:
            yield _slice(
                trace.pid,
                LOOP_TID,
                f"start of epoch {epoch.index}",
                "startup",
                epoch.iter_ns,
                epoch.ready_ns - epoch.iter_ns,
                {"started_workers": epoch.started_workers},
            )
        yield from _shutdown(trace.pid, epoch)


def _shutdown(pid: int, epoch: Epoch) -> Iterator[Event]:
    if epoch.shutdown_ns > 0 and epoch.ended_ns >= 0:
        begin_ns = epoch.ended_ns - epoch.shutdown_ns
        name = f"end of epoch {epoch.index}"
        yield _slice(pid, LOOP_TID, name, "shutdown", begin_ns, epoch.shutdown_ns, {})


def _batches(trace: Trace) -> Iterator[Event]:
    spans = trace.spans
    for place, span in enumerate(spans):
        after = spans[place + 1] if place + 1 < len(spans) else None
        yield from _taking(trace.pid, span, after)
        if span.worker >= 0 and span.pid > 0 and span.taken_ns >= 0:
            yield from _making(span)
            yield from _arrow(trace.pid, span, place)


def _taking(pid: int, span: Span, after: Span | None) -> Iterator[Event]:
    """The trainer's side: the wait, unpacking and pinning within it, and the step after it."""
    name, about = f"batch {span.number}", _about(span)
    waited_ns = span.got_ns - span.asked_ns
    yield _slice(pid, LOOP_TID, f"wait for {name}", "wait", span.asked_ns, waited_ns, about)
    if 0 < span.receive_ns <= waited_ns and not span.pin_ns:
        begin_ns = span.got_ns - span.receive_ns
        yield _slice(pid, LOOP_TID, "unpack", "receive", begin_ns, span.receive_ns, {})
    if span.pin_ns > 0 and span.arrived_ns >= 0:
        begin_ns = span.arrived_ns + span.receive_ns
        yield _slice(pid, PIN_TID, f"pin {name}", "pin", begin_ns, span.pin_ns, {})
    if after is not None and after.epoch == span.epoch:
        step_ns = after.asked_ns - span.got_ns - after.paused_ns
        yield _slice(pid, LOOP_TID, f"step on {name}", "step", span.got_ns, step_ns, {})


def _making(span: Span) -> Iterator[Event]:
    """The worker's side: fetch, with collate at its end, and packing."""
    name = f"fetch batch {span.number}"
    yield _slice(span.pid, MAKER_TID, name, "fetch", span.taken_ns, span.fetch_ns, _about(span))
    if 0 < span.collate_ns <= span.fetch_ns:
        begin_ns = span.taken_ns + span.fetch_ns - span.collate_ns
        yield _slice(span.pid, MAKER_TID, "collate", "collate", begin_ns, span.collate_ns, {})
    if span.serialise_ns > 0 and span.sent_ns >= 0:
        begin_ns = span.sent_ns - span.serialise_ns
        packed = {"message_bytes": span.message_bytes}
        yield _slice(span.pid, SENDER_TID, "pack", "pack", begin_ns, span.serialise_ns, packed)


def _arrow(trainer: int, span: Span, number: int) -> Iterator[Event]:
    """From the end of the worker's work to the loop's taking of the batch."""
    about = {"name": "delivery", "cat": "delivery", "id": number}
    made_ns = span.taken_ns + span.fetch_ns - 1
    yield {**about, "ph": "s", "pid": span.pid, "tid": MAKER_TID, "ts": made_ns / 1000}
    taken_us = max(span.asked_ns, span.got_ns - 1) / 1000
    yield {**about, "ph": "f", "bp": "e", "pid": trainer, "tid": LOOP_TID, "ts": taken_us}


def _about(span: Span) -> dict[str, Any]:
    """What is worth reading in the panel of a slice."""
    told: dict[str, float] = {
        "epoch": span.epoch,
        "batch": span.number,
        "samples": span.samples,
        "tensors": span.tensors,
        "payload_bytes": span.payload_bytes,
        "read_bytes": span.read_bytes,
        "major_faults": span.major_faults,
        "ready_when_asked": span.ready,
        "held_back": span.held,
    }
    if span.fetch_ns > 0:
        told["computing_share"] = round(span.cpu_ns / span.fetch_ns, 3)
        if span.run_queue_ns >= 0:
            told["without_core_share"] = round(span.run_queue_ns / span.fetch_ns, 3)
    return {name: value for name, value in told.items() if value != -1}


def _counters(trace: Trace) -> Iterator[Event]:
    for span in trace.spans:
        if span.ready >= 0:
            yield _count(
                trace.pid, "batches", span.asked_ns, {"ready": span.ready, "held back": span.held}
            )
    for gauge in trace.gauges:
        if gauge.name in COUNTED:
            for at_ns, value in zip(gauge.at_ns, gauge.values, strict=True):
                yield _count(trace.pid, gauge.name, at_ns, {gauge.name: value})


def _count(pid: int, name: str, at_ns: int, values: dict[str, float]) -> Event:
    return {"ph": "C", "pid": pid, "tid": 0, "name": name, "ts": at_ns / 1000, "args": values}


def _slice(
    pid: int, tid: int, name: str, kind: str, begin_ns: int, ns: int, about: dict[str, Any]
) -> Event:
    return {
        "ph": "X",
        "pid": pid,
        "tid": tid,
        "name": name,
        "cat": kind,
        "ts": begin_ns / 1000,
        "dur": max(0, ns) / 1000,
        "args": about,
    }
