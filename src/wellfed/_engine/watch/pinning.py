"""Times torch's pinning thread: from taking a batch to putting it on."""

from collections.abc import Callable
from typing import Any

__all__ = ["timed_pin_loop"]


def timed_pin_loop(clock: Callable[[], int]) -> Callable[..., Any]:
    """What runs in place of torch's loop: the loop itself, with its two queues wrapped."""

    def pin_loop(original: Callable[..., Any], in_queue: Any, out_queue: Any, *args: Any) -> Any:
        timed = _PinTimes(in_queue, out_queue, clock)
        return original(_Side(in_queue, get=timed.get), _Side(out_queue, put=timed.put), *args)

    return pin_loop


class _Side:
    """A queue with one of its methods replaced."""

    def __init__(self, queue: Any, **methods: Any) -> None:
        self._queue = queue
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class _PinTimes:
    """The two ends of the thread's work on a batch."""

    def __init__(self, in_queue: Any, out_queue: Any, clock: Callable[[], int]) -> None:
        self._in = in_queue
        self._out = out_queue
        self._clock = clock
        self._began_ns = 0

    def get(self, *args: Any, **kw: Any) -> Any:
        taken = self._in.get(*args, **kw)
        self._began_ns = self._clock()
        return taken

    def put(self, item: Any, *args: Any, **kw: Any) -> Any:
        mail = getattr(item[0], "mail", None)
        if mail is not None:
            mail.pin_ns = self._clock() - self._began_ns
        return self._out.put(item, *args, **kw)
