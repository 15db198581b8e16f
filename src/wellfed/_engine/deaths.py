"""What the death of a worker comes to: another takes its seat, or torch's error is raised.

    dead ──► why? ──► lost tasks ──► another process on the seat ──► the tasks, in stream order
                 └──► RuntimeError in torch's words, with the samples that it died of

A death is survived where what was lost can be made again bit for bit. Which jobs that holds for,
the stream knows; here is what is the same for all of them.
"""

import logging
import signal
from typing import Any

from wellfed._engine.crew import Crew
from wellfed._engine.owed import GiveUp
from wellfed._engine.wire import Task

__all__ = ["error_of", "replaced"]

log = logging.getLogger(__name__)

# So many samples of a batch are named; the rest is counted.
MOST_NAMED = 64


def replaced(crew: Crew, needed: dict[int, set[int]]) -> None:
    """Have others take the seats of the dead, and send again what was lost with them.

    Args:
        crew: those in its `dead` are replaced.
        needed: for each process, its slabs that are to be unpacked yet.

    Raises:
        RuntimeError: no others can be had; a task has killed two; or too many have died.
    """
    dead = list(crew.dead)
    if not crew.replaceable:
        raise error_of(crew, "The process that workers are forked from has ended, too.")
    queued = crew.recall()
    held = crew.held()
    living = len(crew) - len(dead)
    again = crew.owed.died(
        [crew.left_by(process) for process in dead], living=living, queued=queued, held=held
    )
    if isinstance(again, GiveUp):
        raise error_of(crew, _why_not_again(again.killers))
    for process in dead:
        said = crew.pid_of(process), _how(crew, process).replace("is killed", "was killed")
        log.warning("DataLoader worker (pid %d) %s. Another %s.", *said, _does(again.suspects))
        seat = crew.replace(process, needed.get(process, set()))
        for task in again.own[process]:
            crew.send(task, seat)
    for task in again.shared:
        crew.send(task, None)


def error_of(crew: Crew, why: str = "") -> RuntimeError:
    """What torch raises when workers have died; the cause says how.

    Args:
        crew: those in its `dead`.
        why: they are not replaced.
    """
    pids = ", ".join(str(crew.pid_of(process)) for process in crew.dead)
    error = RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly. {why}".rstrip())
    for process in crew.dead:
        pid, how = crew.pid_of(process), _how(crew, process)
        error.__cause__ = RuntimeError(f"DataLoader worker (pid {pid}) {how}.")
    return error


def _how(crew: Crew, process: int) -> str:
    """In torch's words."""
    code = crew.exit_code(process)
    if code is not None and code < 0:
        return f"is killed by signal: {signal.strsignal(-code)}"
    return f"exited unexpectedly with exit code {code}"


def _why_not_again(killers: tuple[Task, ...]) -> str:
    if not killers:
        return "Workers die faster than they make batches."
    return f"It is the second to die while it made {_named(killers)}."


def _does(suspects: tuple[Task, ...]) -> str:
    return f"takes its place and makes {_named(suspects)} again" if suspects else "takes its place"


def _named(tasks: tuple[Task, ...]) -> str:
    return " and ".join(f"batch {task.number} of {_samples(task.index)}" for task in tasks)


def _samples(index: Any) -> str:
    if not isinstance(index, list):
        return f"sample {index!r}"
    if len(index) <= MOST_NAMED:
        return f"samples {index!r}"
    return f"{len(index)} samples, {index[:MOST_NAMED]!r} and on"
