"""What a worker told is read as it was written; parts make up a whole, and nothing is guessed."""

from typing import Any

from wellfed._engine.watch.letters import Brief, Letter, in_whole, opened, side_by_side, written
from wellfed._engine.watch.note import NO_NOTE, NOTE_FIELDS, Note

BRIEF = Brief(worker=1, taken_ns=5, idle_ns=2, fetch_ns=100, cpu_ns=60, serialise_ns=9, samples=4)


def note_of(**fields: Any) -> Note:
    note = list(NO_NOTE)
    for name, value in fields.items():
        note[NOTE_FIELDS.index(name)] = value
    return note


def named(note: Note) -> dict[str, Any]:
    return dict(zip(NOTE_FIELDS, note, strict=True))


def test_a_letter_is_read_as_it_was_written() -> None:
    letter = Letter(note_of(fetch_ns=2**50, sample_buckets={3: 1}, drew=-1), ["/data/é"], 2**51)

    assert opened(written(letter)) == letter


def test_of_a_brief_all_else_is_unseen() -> None:
    note = named(in_whole((tuple(BRIEF),)))

    assert {name: note[name] for name in Brief._fields} == BRIEF._asdict()
    for name in ("run_queue_ns", "collate_ns", "major_faults", "yields", "tensors", "drew"):
        assert note[name] == -1, name


def test_a_note_is_taken_as_it_is() -> None:
    note = note_of(fetch_ns=7)

    assert in_whole((tuple(note),)) == note


def test_of_parts_amounts_add_up_and_the_longest_duration_counts() -> None:
    one = note_of(worker=0, taken_ns=10, fetch_ns=5, cpu_ns=4, samples=3, drew=1, yields=1)
    other = note_of(worker=1, taken_ns=8, fetch_ns=9, cpu_ns=2, samples=2, drew=4, yields=2)

    note = named(in_whole((tuple(one), tuple(other))))

    assert (note["worker"], note["taken_ns"], note["fetch_ns"]) == (0, 8, 9)
    assert (note["cpu_ns"], note["samples"], note["drew"], note["yields"]) == (6, 5, 5, 3)


def test_what_one_part_does_not_know_is_not_known_of_the_whole() -> None:
    note = named(in_whole((tuple(note_of(read_bytes=5, samples=2)), tuple(BRIEF))))

    assert (note["read_bytes"], note["samples"]) == (-1, 6)


def test_samples_of_threads_are_counted_each() -> None:
    note = named(side_by_side(BRIEF, collate_ns=7, collate_cpu_ns=6, took_ns=[10, 30]))

    assert (note["sample_sum_ns"], note["sample_max_ns"]) == (40, 30)
    assert (note["collate_ns"], note["collate_cpu_ns"]) == (7, 6)
    assert sum(note["sample_buckets"].values()) == 2
