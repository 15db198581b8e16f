"""Whatever is copied, finished and dropped in whatever order, what is in flight keeps its word."""

from hypothesis import given, settings
from hypothesis import strategies as st

from wellfed._engine.inflight import InFlight


@settings(max_examples=300)
@given(data=st.data(), most=st.integers(1, 4), steps=st.integers(0, 60))
def test_batches_come_in_order_and_sources_go_once(
    data: st.DataObject, most: int, steps: int
) -> None:
    of = InFlight(most)
    taken = 0
    copying: list[int] = []
    reading: set[int] = set()
    wanted: list[int] = []
    delivered: list[int] = []
    freed: list[int] = []
    unread: set[int] = set()
    """Copied, and not read by the device any more."""

    for _ in range(steps):
        possible = ["next", "freed", "drop"]
        possible += ["take"] * 3 if of.room else []
        possible += ["arrived"] * 3 if copying else []
        possible += ["done"] * 2 if reading else []
        match data.draw(st.sampled_from(possible)):
            case "take":
                assert of.take() == taken
                copying.append(taken)
                wanted.append(taken)
                taken += 1
            case "arrived":
                number = data.draw(st.sampled_from(copying))
                marked = data.draw(st.booleans())
                copying.remove(number)
                (reading if marked else unread).add(number)
                assert of.arrived(number, marked=marked) is (number in wanted)
            case "done":
                number = data.draw(st.sampled_from(sorted(reading)))
                reading.remove(number)
                unread.add(number)
                of.done(number)
            case "next":
                given = of.next()
                assert given == (wanted[0] if wanted and wanted[0] not in copying else None)
                if given is not None:
                    delivered.append(wanted.pop(0))
            case "freed":
                freed += of.freed()
                assert set(freed) == unread
            case "drop":
                assert of.drop() == [number for number in wanted if number not in copying]
                wanted.clear()
        of.check()
        assert of.undelivered == len(wanted) <= most

    freed += of.freed()
    assert sorted(freed) == sorted(unread), "once each, and none that is read"
    assert delivered == sorted(delivered)
