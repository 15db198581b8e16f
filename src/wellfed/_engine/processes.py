"""The processes back end: batches made by worker processes, handed over in shared memory.

    indices ─► Flow ── what to send ──► Crew ─► workers
                 ▲                        │
                 └──── what has come ─────┘─► unpack ─► the trainer

The loop that moves all this runs inside `__next__`; between two calls the workers go on with what
they were sent, which is all of the window.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace
from torch.utils.data import default_collate

from wellfed._engine import away
from wellfed._engine.arrivals import Came, left_s, parcel_of, told_of
from wellfed._engine.crew import Crew
from wellfed._engine.failures import raise_failure
from wellfed._engine.flow import Deliver, End, Flow, Mode, Send, Wait
from wellfed._engine.joining import Unfit, joined
from wellfed._engine.making import setup_of
from wellfed._engine.parcel import discard, unpack
from wellfed._engine.positions import samples_in
from wellfed._engine.reading import ahead
from wellfed._engine.watch.letters import Delivery
from wellfed._engine.wire import Kind, Record, Task
from wellfed.job import Job
from wellfed.records import Plan

__all__ = ["ProcessStream", "Processes"]

# Batches that the user keeps stay in their slabs up to as many bytes as the window may hold, and at
# least so many; beyond that each is copied out of its slab, so that workers never lack one.
LEAST_KEPT_BYTES = 64 << 20


class Processes:
    """Makes batches in worker processes."""

    name = "processes"

    def refuses(self, job: Job, plan: Plan) -> str | None:
        """Without logical workers all of it is the trainer's own."""
        if not job.workers:
            return "num_workers=0 keeps the user's code in the trainer's process."
        if not plan.workers:
            return "The plan has no worker process."
        if plan.threads and not job.thread_safe:
            return "Threads need thread_safe=True, your word that samples may be fetched together."
        if plan.threads and (job.iterable or not job.batched):
            return "Threads fetch the samples of a batch; this dataset is asked for whole ones."
        if plan.threads and hasattr(job.dataset, "__getitems__"):
            return "Threads fetch the samples of a batch; this dataset fetches whole ones itself."
        if not hasattr(os, "pidfd_open"):
            return "This platform has no process descriptors."
        return None

    def open(self, job: Job, plan: Plan, indices: Iterator[Any]) -> "ProcessStream":
        """Start the workers, and the first epoch."""
        return ProcessStream(job, plan, indices)


class ProcessStream:
    """Batches in order, from worker processes."""

    backend = Processes.name

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
        self.plan = plan
        """How batches are made; its `workers` are the processes that there are."""
        self.delivery = Delivery(())
        """How the last batch came."""
        self._job = job
        self._fixed_because = away.standing_reason(job)
        self._crew = self._start(crew)
        self._epoch = -1
        self._anew = False
        self._dead = ""
        """What a worker's death was told with."""
        self._untold: RuntimeError | None = None
        """A death that `__next__` has not told of yet."""
        self._largest_bytes = 0
        self._indices = indices
        self.ended = False
        """Whether all batches of the epoch were delivered."""
        self._position = 0
        self._flow: Flow
        self._tasks: dict[int, tuple[int, Any]] = {}
        """Position in the epoch and index, of each batch that is not delivered."""
        try:
            self.restart(indices)
        except BaseException:  # of the sampler, say
            self.close()
            raise

    def _start(self, crew: Crew | None = None) -> Crew:
        if crew is None:
            crew = Crew(setup_of(self._job), self._job.context)
        homes = self._job.workers
        # What keeps a batch at home is the state of a process: then each home has one.
        processes = homes if self._fixed_because else self.plan.workers
        try:
            for number in range(len(crew), processes):
                hosted = tuple(range(number, homes, processes)) or (0,)
                crew.add(hosted, self.plan.threads)
        except BaseException:
            crew.close()
            raise
        self.plan = replace(self.plan, backend=self.backend, workers=processes)
        return crew

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

    def ready(self) -> int:
        """Batches that have come: the next one, or some that wait for their turn."""
        try:
            while not self._dead and self._receive(0):
                self._dispatch()
        except RuntimeError as error:  # a worker died: `__next__` is to say so
            self._untold = error
        return self._flow.ready

    def __iter__(self) -> Iterator[Any]:
        return self

    def restart(self, indices: Iterator[Any]) -> None:
        """Begin another epoch with the same workers."""
        if self._dead:
            raise RuntimeError(self._dead)
        if self._epoch >= 0:
            self._settle()
        self._epoch += 1
        self.ended = False
        self._indices = indices
        self._tasks, self._position = {}, 0
        self._flow = self._new_flow(self._flow.mode if self._epoch else Mode.TRYING)
        for _ in range(self._window):
            self._read_index()
        self._flow.split = self._parts_of_trial()
        self._dispatch()

    def _settle(self) -> None:
        """Send all that torch would have sent by now: random streams go on where that ends."""
        while self._flow.mode in (Mode.TRYING, Mode.SETTLING) and self._flow.out:
            self._receive(None)
            self._dispatch()

    @property
    def _window(self) -> int:
        return self._job.workers * ahead(self.plan)

    def _new_flow(self, mode: Mode) -> Flow:
        return Flow(
            workers=self._job.workers,
            window=self._window,
            in_order=self.plan.in_order,
            mode=Mode.FIXED if self._fixed_because else mode,
        )

    def _parts_of_trial(self) -> int:
        _, first = self._tasks.get(0, (0, None))
        can_join = self._job.collate is default_collate and self._job.batched
        # What threads are for begins once batches may move.
        parts = 1 if self.plan.threads else 0
        if can_join and type(first) is list and not hasattr(self._job.dataset, "__getitems__"):
            parts = max(parts, min(len(self._crew), len(first)))
        return parts if parts > 1 or self.plan.threads else 0

    def _read_index(self) -> None:
        try:
            index = next(self._indices)
        except StopIteration:
            self._flow.no_more()
            return
        number = self._flow.add()
        if number is not None:
            self._tasks[number] = self._position, index
            self._position += samples_in(index)

    def _dispatch(self) -> None:
        if self._anew and not self._flow.out:
            self._anew = False
            self._start_anew()
        self._crew.give_back()
        processes = len(self._crew)
        for send in self._flow.sends():
            task = self._task(send)
            process = send.home % processes
            self._crew.send(task, None if send.anywhere and processes > 1 else process)

    def _task(self, send: Send) -> Task:
        position, index = self._share(send.number, send.part, send.parts)
        return Task(
            epoch=self._epoch,
            number=send.number,
            home=send.home,
            part=send.part,
            parts=send.parts,
            moved=send.anywhere,
            trial=send.trial,
            position=position,
            index=index,
        )

    def _share(self, number: int, part: int, parts: int) -> tuple[int, Any]:
        """Where in the epoch a part of a batch begins, and its share of the indices."""
        position, index = self._tasks[number]
        if parts == 1:
            return position, index
        share = -(-len(index) // parts)
        return position + part * share, index[part * share : (part + 1) * share]

    def __next__(self) -> Any:
        deadline = time.monotonic() + self._job.timeout_s if self._job.timeout_s else None
        if self._untold is not None:
            untold, self._untold = self._untold, None
            raise untold
        if self._dead:
            raise RuntimeError(self._dead)
        held = 0
        while True:
            # Workers are about to be made anew: what they have made is not what torch's would make.
            step = Wait() if self._anew else self._flow.next()
            if isinstance(step, Deliver):
                done, value = self._deliver(step, held)
                if done:
                    return value
                self._dispatch()
            elif isinstance(step, End):
                self.ended = True
                raise StopIteration
            else:
                held = self._flow.ready
                self._receive(left_s(deadline, self._job.timeout_s))
                self._dispatch()

    def _receive(self, within_s: float | None) -> bool:
        """Take what has come, and wait for it; whether anything came."""
        self._crew.flush()
        try:
            came = self._crew.wait(within_s)
        except RuntimeError as error:  # a worker died, and the iterator with it
            self._dead = str(error)
            self.close()
            raise
        now_ns = time.perf_counter_ns()
        for process, record in came:
            if record.why:
                self._stay(record)
            if record.epoch == self._epoch:
                self._take((process, record, now_ns))
            else:
                self._return([(process, record, now_ns)])
        return bool(came)

    def _take(self, came: Came) -> None:
        process, record, _ = came
        if record.kind == Kind.EXHAUSTED:
            self._flow.exhausted(process, record.number)
            self._read_index()
            return
        if record.kind == Kind.REFUSED:
            self._return(self._flow.refused(record.number))
        elif not self._flow.arrived(record.number, record.part, came):
            self._return([came])

    def _stay(self, record: Record) -> None:
        """Batches must be made by their homes from here on."""
        self._fixed_because = away.why(record.why)
        self._flow.stay()
        # Where a trial changed the dataset of the process it ran in, or where a home needs a
        # process of its own, the workers are made anew; nothing was delivered yet.
        none_delivered = list(self._tasks) == list(range(len(self._tasks)))
        if record.why & away.CHANGED and record.number == self._epoch == 0 and none_delivered:
            self._anew = self.plan.workers != self._job.workers or record.parts > 1

    def _start_anew(self) -> None:
        read = sorted(self._tasks)
        self._crew.dismiss()
        self._start(self._crew)
        self._flow = self._new_flow(Mode.FIXED)
        for _ in read:
            self._flow.add()

    def _return(self, unwanted: list[Came]) -> None:
        """The slabs of what nobody will unpack are free."""
        for process, record, _ in unwanted:
            discard(parcel_of(record), self._crew.shelf(process))

    def _deliver(self, batch: Deliver, held: int) -> tuple[bool, Any]:
        began_ns = time.perf_counter_ns()
        told = tuple(self._told(process, record) for process, record, _ in batch.parts)
        parts = [self._unpacked(process, record) for process, record, _ in batch.parts]
        if len(parts) > 1:
            try:
                value = joined(parts)
            except Unfit:
                self._flow.unmake(batch)
                return False, None
        else:
            value = parts[0]
        arrived_ns = max(arrived_ns for _, _, arrived_ns in batch.parts)
        self.delivery = Delivery(told, arrived_ns, time.perf_counter_ns() - began_ns, held)
        del self._tasks[batch.number]
        # As torch does it: read and sent before the batch is handed over, which is lost where the
        # sampler raises.
        self._read_index()
        self._dispatch()
        _, record, _ = batch.parts[0]
        if record.kind == Kind.RAISED:
            raise_failure(record.body)
        return True, value

    def _told(self, process: int, record: Record) -> Any:
        counted = self._job.batched and not self._job.iterable
        samples = samples_in(self._share(record.number, record.part, record.parts)[1])
        return told_of(process, record, self._crew.shelf(process), samples if counted else -1)

    def _unpacked(self, process: int, record: Record) -> Any:
        if record.kind != Kind.BATCH:
            return None
        shelf = self._crew.shelf(process)
        self._largest_bytes = max(self._largest_bytes, record.length + record.offset)
        kept = max(LEAST_KEPT_BYTES, self._largest_bytes * self._flow.most)
        return unpack(parcel_of(record), shelf, private=shelf.leased_bytes * len(self._crew) > kept)

    def close(self) -> None:
        """End the workers. Harmless when called twice."""
        self._crew.close()
