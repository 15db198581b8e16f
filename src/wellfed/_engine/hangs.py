"""Says of a batch that does not come which worker is to make it, and what that one is doing.

With a `timeout`, torch's error has that as a note. Without one it is logged, once, after a silence
that no slow batch explains, and the wait goes on.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from wellfed._engine.crew import Crew
from wellfed._engine.failures import named, noted
from wellfed._engine.flow import Flow
from wellfed._engine.member import Member
from wellfed._engine.silence import Silence
from wellfed._engine.stuck import held_by_kernel, line_of, stacks_of
from wellfed._engine.taking import left_s
from wellfed._engine.wire import Task

__all__ = ["Patience", "waited_for"]

log = logging.getLogger(__name__)


class Patience:
    """How long one stream waits for its workers."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._silence = Silence()
        self.took = self._silence.took
        """Making a batch took so many ns."""
        self.begin = self._silence.begin
        """A batch is asked for."""

    def within_s(self, deadline: float | None, crew: Crew, flow: Flow) -> float | None:
        """How long to wait for news at most; None: for ever.

        Raises:
            RuntimeError: no longer, in torch's words; a note says what for.
        """
        if deadline is None:
            return self._quietly_s(crew, flow)
        try:
            return left_s(deadline, self._timeout_s)
        except RuntimeError as error:
            noted(error, waited_for(crew, flow))
            raise

    def _quietly_s(self, crew: Crew, flow: Flow) -> float | None:
        left = self._silence.left_s(self._clock())
        if left != 0:
            return left
        log.warning("No batch has come for long. %s", waited_for(crew, flow))
        return None


def waited_for(crew: Crew, flow: Flow) -> str:
    """In one sentence; it takes half a second at most."""
    awaited = flow.awaited()
    if awaited is None:
        return ""
    number, home = awaited
    members = crew.members
    maker = members[home % len(members)]
    tasks = _in_hands(maker, crew)
    for one in members:
        held = _in_hands(one, crew)
        if any(task.number == number for task in held):
            maker, tasks = one, [task for task in held if task.number == number]
    place = _place(maker)
    return f"Waiting for batch {number}. {_who(maker)} {_does(maker, tasks)}{place}."


def _in_hands(member: Member, crew: Crew) -> list[Task]:
    return [task for key in member.page.held() if (task := crew.owed.find(key)) is not None]


def _who(member: Member) -> str:
    return f"Worker {member.seat} (pid {member.pid})" if member.pid > 0 else f"Worker {member.seat}"


def _does(member: Member, tasks: list[Task]) -> str:
    if not member.page.listening:
        return "has not started"
    if not tasks:
        return "has begun no batch"
    if len(tasks) > 1:
        return "is making batches " + ", ".join(str(task.number) for task in tasks)
    (task,) = tasks
    return f"is at {named(_under_way(task.index, member.page.place))} of batch {task.number}"


def _under_way(index: Any, place: int) -> Any:
    """The index of the sample that is being fetched, where that is known; else of all."""
    known = isinstance(index, list) and 0 <= place < len(index)
    return index[place] if known else index


def _place(member: Member) -> str:
    if member.descriptor < 0:
        return ""
    kernel = held_by_kernel(member.pid)
    if kernel:
        return f", held by {kernel}"
    line = line_of(stacks_of(member.descriptor, member.page))
    return f", at {line}" if line else ""
