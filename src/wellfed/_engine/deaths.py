"""What the death of a worker comes to: another takes its seat, or torch's error is raised.

    dead ──► why? ──► lost tasks ──► another process on the seat ──► the tasks, in stream order
                 └──► RuntimeError in torch's words, with the samples that it died of

A death is survived where what was lost can be made again bit for bit. Which jobs that holds for,
the stream knows; here is what is the same for all of them.
"""

import logging
import signal
from collections.abc import Callable

from wellfed._engine import away
from wellfed._engine.arrivals import Came
from wellfed._engine.crew import Crew
from wellfed._engine.failures import named
from wellfed._engine.flow import Flow, Mode
from wellfed._engine.oom import oom_kills
from wellfed._engine.owed import GiveUp
from wellfed._engine.stream_states import StreamStates, streams_task
from wellfed._engine.wire import Task

__all__ = ["Deaths"]

log = logging.getLogger(__name__)


class Deaths:
    """Of the workers of one stream."""

    def __init__(self, standing: str | None, tell: Callable[[str], None]) -> None:
        """Nobody has died.

        Args:
            standing: why a home is more than its random streams; None if nothing is known of that.
            tell: is told of each death that is survived.
        """
        self.found = 0
        """What batches were found to depend on besides their indices, as bits of `away`."""
        self.final = ""
        """What the death was told with that ended the stream; empty while it goes on."""
        self.untold: RuntimeError | None = None
        """A death that the trainer has not been told of yet."""
        self._standing = standing
        self._tell = tell
        self._seen = False
        """Whether a death was seen, and what had come before it is delivered first."""
        self._oom_kills = oom_kills()
        self._unproven = ""
        """The error of a death that was survived before the trial was over; empty if none was."""

    @property
    def _why_final(self) -> str | None:
        """Why a home cannot be made again; None if it can."""
        of_its_own = self.found & (away.ASKED | away.CHANGED)
        return self._standing or (away.why(of_its_own) if of_its_own else None)

    @property
    def pending(self) -> bool:
        """Whether to `look` though nobody has died just now."""
        return bool(self._unproven)

    def refuse(self) -> None:
        """Nothing more comes of a stream that a death has ended.

        Raises:
            RuntimeError: it has.
        """
        if self.untold is not None:
            untold, self.untold = self.untold, None
            raise untold
        if self.final:
            raise RuntimeError(self.final)

    def begin_anew(self) -> None:
        """All workers have gone, and others come, before anything was delivered."""
        self._unproven, self._seen = "", False

    def look(self, crew: Crew, flow: Flow, states: StreamStates, *, came: bool) -> None:
        """Have the dead replaced, if there are any.

        Args:
            crew: the workers.
            flow: their batches.
            states: where random streams stood after the batches that have come.
            came: whether anything has come just now.

        Raises:
            RuntimeError: they cannot be: a dataset had a state that is lost, a batch has killed
                two, too many have died, or there is nothing to fork others from.
        """
        for process in list(crew.gone):
            crew.bury(process, _needed(flow, process))
        if self._unproven:
            self._prove(flow)
        if not crew.dead:
            return
        why = self._why_final
        if why is None:
            if flow.mode is Mode.TRYING:
                self._unproven = _said(crew)
            self._replace(crew, flow, states, self._of_hunger())
        elif self._seen or not came:
            said = f"Its batches cannot be made again, because {why}."
            raise _error(crew, f"{said}{self._of_hunger()}")
        self._seen = bool(crew.dead)

    def _of_hunger(self) -> str:
        """A sentence if workers were killed for want of memory, as far as that can be told."""
        before, self._oom_kills = self._oom_kills, oom_kills()
        if before < 0 or self._oom_kills <= before:
            return ""
        return f" The kernel has killed {self._oom_kills - before} for want of memory meanwhile."

    def _prove(self, flow: Flow) -> None:
        why = self._why_final
        if why is not None:
            # Nothing but the first batch knew of it: others of the dead one may have come before.
            raise RuntimeError(f"{self._unproven}. Its batches were other ones, because {why}.")
        if flow.mode is not Mode.TRYING:
            self._unproven = ""

    def _replace(self, crew: Crew, flow: Flow, states: StreamStates, hunger: str) -> None:
        """Have others take the seats of the dead, and send again what was lost with them.

        Raises:
            RuntimeError: no others can be had; a task has killed two; or too many have died.
        """
        dead = list(crew.dead)
        if not crew.replaceable:
            raise _error(crew, "The process that workers are forked from has ended, too.")
        queued = crew.recall()
        held = crew.held()
        again = crew.owed.died(
            [crew.left_by(process) for process in dead],
            living=crew.living,
            queued=queued,
            held=held,
        )
        if isinstance(again, GiveUp):
            raise _error(crew, f"{_why_not_again(again.killers)}{hunger}")
        for process in dead:
            how = _how(crew, process).replace("is killed", "was killed")
            who = f"DataLoader worker (pid {crew.pid_of(process)}) {how}"
            said = f"{who}. Another {_does(again.suspects)}.{hunger}"
            log.warning("%s", said)
            self._tell(said)
            seat = crew.replace(process, _needed(flow, process))
            for home in crew.hosted(seat) if seat is not None else ():
                if stood := states.last_arrived(home):
                    crew.send(streams_task(home, stood), seat)
            for task in again.own[process]:
                crew.send(task, seat)
        for task in again.shared:
            crew.send(task, None)


def _needed(flow: Flow, process: int) -> set[int]:
    """The slabs of a process that are to be unpacked yet."""
    came: list[Came] = flow.got()
    return {slab for one, record, _ in came if one == process for slab in record.used}


def _error(crew: Crew, why: str) -> RuntimeError:
    """What torch raises when workers have died; the cause says how."""
    error = RuntimeError(f"{_said(crew)}. {why}")
    for process in crew.dead:
        pid, how = crew.pid_of(process), _how(crew, process)
        error.__cause__ = RuntimeError(f"DataLoader worker (pid {pid}) {how}.")
    return error


def _said(crew: Crew) -> str:
    """In torch's words."""
    pids = ", ".join(str(crew.pid_of(process)) for process in crew.dead)
    return f"DataLoader worker (pid(s) {pids}) exited unexpectedly"


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
    return " and ".join(f"batch {task.number} of {named(task.index)}" for task in tasks)
