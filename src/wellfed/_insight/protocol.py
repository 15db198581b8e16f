"""When each batch reaches the trainer: the delivery rules of torch's loader, exactly.

    request --> worker (own queue) --> pipe --> receiver (one at a time) --> __next__ --> step
       ^                                                                         |
       +------------------- one request for each batch returned -----------------+

Read from `_MultiProcessingDataLoaderIter` (`_reset`, `_next_data`, `_try_put_index`,
`_process_data`) of torch 2.11 to 2.13:

- `workers * prefetch` requests are sent at the start, round robin;
- each batch returned sends one more, before the trainer's step begins;
- in order: request n goes to worker n mod `workers`, however busy; `__next__` keeps what arrives
  early and waits for its turn;
- not in order: the next worker in the cycle that holds fewer than `prefetch` batches gets the
  request; `__next__` returns what arrives first;
- without pinning the trainer's own thread receives, and only inside `__next__`; with pinning a
  thread of its own receives and pins, all the time.

NOTE [Why receiving can be worked out late]
Nothing is requested while `__next__` waits, so at that moment every batch that can still arrive
is known, with its time of arrival. All that is received before the awaited one starts being
received before `__next__` returns, thus before any later request could be answered. Working the
receiver off only when `__next__` needs it therefore gives the same times as running it always.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wellfed._insight.estimate import Floats

__all__ = ["Delivery", "deliver", "deliver_shared"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the trainer saw of one epoch; arrays by batch, in the order returned."""

    returned_s: Floats
    """When `__next__` returned the batch, since the first request was sent."""
    wait_s: Floats
    """How long `__next__` took."""
    order: NDArray[np.int64]
    """Which request the batch answers: 0, 1, 2 ... where delivery is in order."""

    @property
    def period_s(self) -> Floats:
        """From one batch's return to the next one's: one element fewer than batches."""
        return np.diff(self.returned_s)


def deliver(
    service_s: ArrayLike,
    step_s: ArrayLike,
    *,
    workers: int,
    prefetch: int = 2,
    receive_s: float = 0.0,
    pin: bool = False,
    in_order: bool = True,
) -> Delivery:
    """The times at which one epoch's batches are returned (docs/explanation/model.md, "Delivery").

    Takes about 2 µs a batch.

    Args:
        service_s: seconds a worker takes to make each requested batch.
        step_s: seconds of the trainer's step after each returned batch; as many.
        workers: worker processes; 0 makes each batch inside `__next__`.
        prefetch: batches in the making per worker, 1 or more; ignored without workers.
        receive_s: seconds to receive one batch, and to pin it where it is pinned.
        pin: whether a thread of its own receives, instead of the trainer's thread.
        in_order: whether batch k is returned before batch k + 1.
    """
    service = np.asarray(service_s, dtype=np.float64)
    steps = np.asarray(step_s, dtype=np.float64)
    if service.shape != steps.shape:
        raise ValueError(f"{service.size} service times and {steps.size} steps: need as many.")
    if not workers:
        return _deliver_inline(service + receive_s, steps)
    pool = _Pool(service.tolist(), workers, prefetch, in_order=in_order)
    receiver_free_s = now_s = 0.0
    held: set[int] = set()
    returned_s: list[float] = []
    wait_s: list[float] = []
    order: list[int] = []
    for turn, step in enumerate(steps.tolist()):
        asked_s = now_s
        number = turn
        while turn not in held:
            arrived_s, number = heapq.heappop(pool.arrivals)
            # See NOTE [Why receiving can be worked out late].
            if pin:
                received_s = receiver_free_s = max(receiver_free_s, arrived_s) + receive_s
            else:
                received_s = now_s = max(now_s, arrived_s) + receive_s
            if number == turn or not in_order:
                now_s = max(now_s, received_s)
                break
            held.add(number)
        held.discard(number)
        pool.release(number, now_s)
        returned_s.append(now_s)
        wait_s.append(now_s - asked_s)
        order.append(number)
        now_s += step
    return Delivery(np.array(returned_s), np.array(wait_s), np.array(order, dtype=np.int64))


def deliver_shared(
    service_s: ArrayLike,
    step_s: ArrayLike,
    *,
    workers: int,
    window: int,
    receive_s: float = 0.0,
    in_order: bool = True,
    parts: int = 0,
) -> Delivery:
    """The same under our own engine, once batches may move between workers.

    Any idle worker takes the next request, in order, and what has arrived is unpacked only when it
    is delivered. See `wellfed._engine.flow`.

    Args:
        service_s: seconds a worker takes to make each requested batch.
        step_s: seconds of the trainer's step after each returned batch; as many.
        workers: worker processes, 1 or more.
        window: most batches requested and not delivered: `prefetch_factor` times the logical
            workers, or fewer where memory sets a limit.
        receive_s: seconds of the trainer to unpack one batch.
        in_order: whether batch k is returned before batch k + 1.
        parts: parts that the epoch's first batch is made in, side by side, before any other is
            requested; 0 if batches are known to move.
    """
    service = np.asarray(service_s, dtype=np.float64).tolist()
    steps = np.asarray(step_s, dtype=np.float64).tolist()
    if len(service) != len(steps):
        raise ValueError(f"{len(service)} service times and {len(steps)} steps: need as many.")
    free_s = [0.0] * workers
    heapq.heapify(free_s)
    made: list[tuple[float, int]] = []
    requested = 0
    now_s = 0.0
    if parts and service:
        now_s = _made_in_parts(service[0], parts, free_s)
        heapq.heappush(made, (now_s, 0))
        requested = 1
    arrived: dict[int, float] = {}
    returned_s: list[float] = []
    wait_s: list[float] = []
    order: list[int] = []
    asked_s = 0.0
    for turn, step in enumerate(steps):
        while requested < min(turn + window, len(service)):
            done_s = max(heapq.heappop(free_s), now_s) + service[requested]
            heapq.heappush(free_s, done_s)
            heapq.heappush(made, (done_s, requested))
            requested += 1
        number = turn
        while turn not in arrived:
            done_s, number = heapq.heappop(made)
            arrived[number] = done_s
            if not in_order:
                break
        now_s = max(asked_s, arrived.pop(number)) + receive_s
        returned_s.append(now_s)
        wait_s.append(now_s - asked_s)
        order.append(number)
        asked_s = now_s + step
    return Delivery(np.array(returned_s), np.array(wait_s), np.array(order, dtype=np.int64))


def _made_in_parts(service_s: float, parts: int, free_s: list[float]) -> float:
    """When the last of equal parts is done; the workers are busy until then."""
    done_s = 0.0
    for _ in range(parts):
        done_s = heapq.heappop(free_s) + service_s / parts
        heapq.heappush(free_s, done_s)
    return done_s


class _Pool:
    """The workers: who makes which request, and when it is done."""

    def __init__(
        self, service_s: list[float], workers: int, prefetch: int, *, in_order: bool
    ) -> None:
        self.arrivals: list[tuple[float, int]] = []
        """Heap of batches made and not yet received: when each is done, and its number."""
        self._service_s = service_s
        self._prefetch = prefetch
        self._in_order = in_order
        self._free_s = [0.0] * workers
        self._holds = [0] * workers
        self._next_worker = 0
        self._maker: list[int] = []
        for _ in range(min(workers * prefetch, len(service_s))):
            self._request(0.0)

    def release(self, number: int, now_s: float) -> None:
        """The trainer has that batch: its worker holds one less, and one more is requested."""
        self._holds[self._maker[number]] -= 1
        if len(self._maker) < len(self._service_s):
            self._request(now_s)

    def _request(self, now_s: float) -> None:
        number, worker = len(self._maker), self._choose()
        self._free_s[worker] = max(self._free_s[worker], now_s) + self._service_s[number]
        self._holds[worker] += 1
        self._maker.append(worker)
        heapq.heappush(self.arrivals, (self._free_s[worker], number))

    def _choose(self) -> int:
        workers = len(self._holds)
        for ahead in range(workers):
            worker = (self._next_worker + ahead) % workers
            if self._in_order or self._holds[worker] < self._prefetch:
                break
        else:
            # One batch was just released, so some worker has room.
            raise AssertionError("every worker is full")
        self._next_worker = (worker + 1) % workers
        return worker


def _deliver_inline(wait_s: Floats, step_s: Floats) -> Delivery:
    returned_s = np.cumsum(wait_s) + np.cumsum(step_s) - step_s
    return Delivery(returned_s, wait_s, np.arange(wait_s.size))
