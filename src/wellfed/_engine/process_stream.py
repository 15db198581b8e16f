"""Batches made by worker processes, handed over in shared memory: the stream of one iterator.

    indices ─► Epoch ── tasks ──► Crew ─► workers
                 ▲                  │
    what comes ──┴── Flow ◄─────────┘──► unpack ─► the trainer

The loop that moves all this runs inside `__next__`; between two calls the workers go on with what
they were sent, which is all of the window.
"""

import time
from collections.abc import Iterator
from typing import Any

from wellfed._engine import away
from wellfed._engine.arrivals import Came, Unpacker, parcel_of
from wellfed._engine.board import turn
from wellfed._engine.crew import Crew
from wellfed._engine.deaths import Deaths
from wellfed._engine.epoch import Epoch
from wellfed._engine.flow import Deliver, End, Flow, Mode, Wait
from wellfed._engine.hangs import Patience
from wellfed._engine.interrupts import Calm
from wellfed._engine.joining import Unfit
from wellfed._engine.limiting import Limiter, check_workers
from wellfed._engine.making import setup_of
from wellfed._engine.parcel import discard
from wellfed._engine.refusing import refusal
from wellfed._engine.standing import Standing
from wellfed._engine.stream_states import streams_task
from wellfed._engine.switching import Switching
from wellfed._engine.taking import Taken, deadline_after
from wellfed._engine.trial import parts_of_trial
from wellfed._engine.watch.letters import Delivery
from wellfed._engine.wire import Kind, Record
from wellfed.job import Job, Start
from wellfed.records import Plan

__all__ = ["ProcessStream"]


class ProcessStream:
    """Batches in order, from worker processes."""

    backend = "processes"

    def __init__(
        self, job: Job, plan: Plan, indices: Iterator[Any], crew: Crew | None = None
    ) -> None:
        """Start the workers, and the first epoch.

        Args:
            job: what is loaded.
            plan: how.
            indices: what torch's fetcher takes, one for each batch.
            crew: workers that are there already, the first of the plan's.
        """
        self.switching = Switching(job, plan)
        """The plan, and another one that it is on the way to."""
        self.delivery = Delivery(())
        """How the last batch came."""
        self.standing = Standing(job)
        """Where the homes stood after their batches."""
        self._job = job
        self._fixed_because = away.standing_reason(job)
        self._deaths = Deaths(self._fixed_because, job.died)
        self._limiter = Limiter(job.limits)
        self._crew = self._start(crew)
        if job.start.streams:  # what rode with a batch was drawn by it
            self._fixed_because = self._fixed_because or away.why(away.DREW)
        self._calm = Calm()
        self._anew = False
        self._held = 0
        """Batches that had come while the next one was waited for."""
        self._patience = Patience(job.timeout_s)
        self._unpacker = Unpacker(job, self._crew)
        self.ended = False
        """Whether all batches of the epoch were delivered."""
        self._in_hand: list[Taken] = []
        """The batch that is about to be handed over; Ctrl-C may keep it here until asked again."""
        self._owes_index = False
        """Whether the next index is still to be read in return for it."""
        self._epoch = self._new_epoch(job.start, indices, Mode.TRYING)
        try:
            with self._calm:
                self._begin()
        except BaseException:  # of the sampler, say
            self.close()
            raise

    def _start(self, crew: Crew | None = None) -> Crew:
        homes = self._job.workers
        # What keeps a batch at home is the state of a process: then each home has one.
        processes = homes if self._fixed_because else self.plan.workers
        check_workers(self._job, processes, self._fixed_because)
        if crew is None:
            crew = Crew(setup_of(self._job), self._job.context)
        try:
            for number in range(len(crew), processes):
                hosted = tuple(range(number, homes, processes)) or (0,)
                crew.add(hosted, self.plan.threads)
            self._limiter.begin(crew, self.switching.window)
            for home, states in self._job.start.streams.items():
                crew.send(streams_task(home, states), home % len(crew))
        except BaseException:
            crew.close()
            raise
        return crew

    @property
    def plan(self) -> Plan:
        """How batches are made; its `workers` are the processes that there are."""
        return self.switching.plan

    def switch(self, plan: Plan) -> str | None:
        """Have the next batches made by another plan; why not, if that would change them."""
        return refusal(self._job, plan) or self.switching.ask(plan, self.why_fixed)

    @property
    def why_fixed(self) -> str | None:
        """Why each batch is made by its own worker; None where any worker makes any batch."""
        return self._fixed_because

    @property
    def pids(self) -> list[int]:
        """The worker processes."""
        return self._crew.pids

    @property
    def start_ns(self) -> list[int]:
        """How long starting took: of what workers come from, then of asking for each of them."""
        return self._crew.start_ns

    @property
    def exit_codes(self) -> dict[int, int | None]:
        """How they ended, once they have."""
        return self._crew.exit_codes

    # -- an epoch begins ----------------------------------------------------------------------

    def restart(self, indices: Iterator[Any]) -> None:
        """Begin another epoch with the same workers."""
        self._deaths.refuse()
        with self._calm:
            self._settle()
            self._return(self._flow.dropped())
            self._in_hand.clear()
            self._owes_index = self.ended = False
            self.switching.begin(self._flow, self._crew, self.why_fixed, between_epochs=True)
            start = Start(epoch=self._epoch.number + 1)
            self._epoch = self._new_epoch(start, indices, self._flow.mode)
            self._begin()

    def _settle(self) -> None:
        """Send all that torch would have sent by now: random streams go on where that ends.

        What is under way is waited for, as torch does: it may yet turn out to draw.
        """
        self._flow.most = self.switching.window
        self._dispatch()
        while self._flow.mode is not Mode.FIXED and self._flow.out:
            self._crew.shelves.want(turn(self._epoch.number, self._flow.first_out))
            self._receive(None)
            self._dispatch()

    def _new_epoch(self, start: Start, indices: Iterator[Any], mode: Mode) -> Epoch:
        self._flow = self._new_flow(mode, start)
        epoch = Epoch(indices, self._flow, self._calm, start)
        self.standing.begin_epoch(epoch)
        return epoch

    def _new_flow(self, mode: Mode, start: Start) -> Flow:
        flow = Flow(
            workers=self._job.workers,
            window=self.switching.window,
            in_order=self.plan.in_order,
            mode=Mode.FIXED if self._fixed_because else mode,
            first=start.number,
            turn=start.turn,
        )
        return self._limiter.limited(flow)

    def _begin(self) -> None:
        for _ in range(self.switching.window):
            self._epoch.read()
        self._flow.split = parts_of_trial(self._job, self.plan, self._epoch.first, len(self._crew))
        self._dispatch()

    # -- what is sent -------------------------------------------------------------------------

    def _dispatch(self) -> None:
        self.switching.begin(self._flow, self._crew, self.why_fixed)
        if self._anew and not self._flow.out:
            self._anew = False
            self._crew.dismiss()
            self._deaths.begin_anew()
            self.standing = Standing(self._job)
            self.standing.begin_epoch(self._epoch)
            self._start(self._crew)
            self._flow = self._new_flow(Mode.FIXED, self._job.start)
            self._epoch.again(self._flow)
        self._crew.shelves.give_back()
        sends = self._flow.sends()
        self.switching.go_on(self._flow, self._crew)
        for send in sends:
            anyone = send.anywhere and self._crew.several
            seat = None if anyone else send.home % len(self._crew)
            self._crew.send(self._epoch.task(send), seat)

    # -- what comes back ----------------------------------------------------------------------

    def ready(self) -> int:
        """Batches that have come: the next one, or some that wait for their turn."""
        with self._calm:
            self._read_all()
        return self._flow.ready

    def _read_all(self) -> None:
        try:
            while not self._deaths.final and self._receive(0):
                self._dispatch()
        except RuntimeError as error:  # a worker died: `__next__` is to say so
            self._deaths.untold = error

    def _receive(self, within_s: float | None) -> bool:
        """Take what has come, and wait for it; whether anything came."""
        self._crew.flush()
        with self._calm.opened:
            news = self._crew.poll(0 if self._crew.dead else within_s)  # that is to be told
        try:
            came = self._crew.read(news)
        except RuntimeError as error:  # all of them are dead
            self._end(error)
            raise
        now_ns = time.perf_counter_ns()
        for process, record in came:
            if record.why:
                self._stay(record)
            self._patience.took(record.fetch_ns)
            if record.streams_length:
                self.standing.came(
                    self._crew.seat_of(process), record, self._crew.shelves.of(process)
                )
            if record.epoch == self._epoch.number:
                self._take((process, record, now_ns))
            else:
                self._return([(process, record, now_ns)])
        if self._crew.dead or self._crew.gone or self._deaths.pending:
            try:
                streams = self.standing.streams
                self._deaths.look(self._crew, self._flow, streams, came=bool(came))
            except RuntimeError as error:
                self._end(error)
                raise
        return bool(came)

    def _end(self, error: RuntimeError) -> None:
        """Workers have died and are not replaced: the iterator ends with them."""
        self._deaths.final = str(error)
        self.close()

    def _take(self, came: Came) -> None:
        process, record, _ = came
        if record.kind == Kind.EXHAUSTED:
            self._flow.exhausted(self._crew.seat_of(process), record.number)
            self._epoch.read()
            return
        if record.kind == Kind.REFUSED:
            self._return(self._flow.refused(record.number))
        elif not self._flow.arrived(record.number, record.part, came):
            self._return([came])

    def _stay(self, record: Record) -> None:
        """Batches must be made by their homes from here on."""
        self._fixed_because = away.why(record.why)
        self._deaths.found |= record.why
        may_move = self._flow.mode is not Mode.FIXED
        self._flow.stay()
        # Where a trial changed the dataset of the process it ran in, or where a home needs a
        # process of its own, the workers are made anew; nothing was delivered yet.
        start = self._job.start
        first = (record.epoch, record.number) == (start.epoch, start.number)
        if record.why & away.CHANGED and first and self._epoch.untouched and may_move:
            self._anew = self.plan.workers != self._job.workers or record.parts > 1

    def _return(self, unwanted: list[Came]) -> None:
        """The slabs of what nobody will unpack are free."""
        for process, record, _ in unwanted:
            discard(parcel_of(record), self._crew.shelves.of(process))

    # -- what the trainer is given ------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._calm:
            if not self._in_hand:
                self._await_one(deadline_after(self._job.timeout_s))
                self._owes_index = True
            if self._owes_index:
                self._read_one()
        taken = self._in_hand.pop()
        self.standing.handed_over()
        self.delivery = taken.delivery
        return taken.result()

    def take(self, deadline: float | None) -> Taken:
        """The next batch; the sampler is not asked for another before `handed_over`."""
        with self._calm:
            if not self._in_hand:
                self._await_one(deadline)
        return self._in_hand.pop()

    def take_arrived(self) -> Taken | None:
        """The same, without waiting: None if the next batch has not come."""
        with self._calm:
            self._deaths.refuse()
            while not self._in_hand and not self._advance():
                if not self._receive(0):
                    return None
                self._dispatch()
        return self._in_hand.pop()

    def handed_over(self) -> None:
        """A batch that was taken is about to be the user's: read one more index, and send it."""
        self.standing.handed_over()
        with self._calm:
            self._keep_within_limits()
            self._epoch.read_on()
            self._dispatch()

    def _await_one(self, deadline: float | None) -> None:
        self._deaths.refuse()
        self._held = 0
        self._patience.begin()
        while not self._advance():
            self._dispatch()
            self._held = self._flow.ready if self._job.watched else 0
            left_s = self._patience.within_s(deadline, self._crew, self._flow)
            self._receive(self._limiter.wait_s(left_s, self._epoch, self._crew, self._unpacker))
        self._limiter.came(self._crew)
        self._keep_within_limits()

    def _keep_within_limits(self) -> None:
        if self._limiter.due(self._unpacker):
            self._read_all()  # what workers gave up
            other = self._limiter.look(self._flow, self._crew, self._unpacker, self.switching)
            if other is not None:
                self.switch(other)  # or, where each worker is needed, only less is made ahead

    def _read_one(self) -> None:
        """Before the batch is handed over, which is lost if the sampler raises: as in torch."""
        try:
            self._epoch.read_on()
        except Exception:
            self._in_hand.clear()
            self.standing.handed_over()
            self._owes_index = False
            raise
        self._owes_index = False
        self._dispatch()

    def _advance(self) -> bool:
        """Take the next batch in hand if it has come; whether it is there."""
        while not self._withheld():
            step = self._flow.next()
            if isinstance(step, End):
                self.ended = True
                raise StopIteration
            if isinstance(step, Wait):
                return False
            if self._take_in_hand(step):
                return True
            self._dispatch()
        return False

    def _withheld(self) -> bool:
        """Whether to hand over nothing: workers that are made anew must begin from the start."""
        if self._anew:
            return True
        trying = self._flow.mode is Mode.TRYING and self._flow.undelivered > 0
        return trying and self.plan.workers != self._job.workers

    def _take_in_hand(self, batch: Deliver) -> bool:
        """Unpack it; False if its parts do not fit and it is made again."""
        try:
            taken = self._unpacker.taken(batch, self._epoch, self._held)
        except Unfit:
            self._fixed_because = away.why(away.UNFIT)
            self._flow.unmake(batch)
            return False
        self._in_hand.append(taken)
        position = self._epoch.delivered(batch.number)
        self.standing.taken(batch.home, batch.number, position)
        return True

    def close(self) -> None:
        """End the workers. Harmless when called twice."""
        self._crew.close()
