"""How long the messages are that workers send through torch's result queues."""

import weakref
from collections.abc import Callable
from typing import Any

from wellfed._engine.watch import worker

__all__ = ["MessageLengths"]


class MessageLengths:
    """Notes the length of each message that a queue receives, for the thread that unpickles it.

    `_recv_bytes` is an attribute of each queue, so it is replaced there and not on a class.
    """

    def __init__(self) -> None:
        self._measured: weakref.WeakKeyDictionary[Any, _Measured] = weakref.WeakKeyDictionary()

    def measure(self, queue: Any) -> None:
        """Begin with this queue, unless it is none of multiprocessing's."""
        receive: Callable[..., Any] | None = getattr(queue, "_recv_bytes", None)
        if receive is not None:
            queue._recv_bytes = self._measured[queue] = _Measured(receive)

    def undo(self) -> None:
        """Measure no more, and put the originals back.

        Where somebody has wrapped ours since, it stays and only passes calls on; another watch
        takes it away together with its own.
        """
        for queue, measured in list(self._measured.items()):
            measured.on = False
            while isinstance(queue._recv_bytes, _Measured) and not queue._recv_bytes.on:
                queue._recv_bytes = queue._recv_bytes.receive
        self._measured.clear()


class _Measured:
    """Stands in for a queue's `_recv_bytes`."""

    __slots__ = ("on", "receive")

    def __init__(self, receive: Callable[..., Any]) -> None:
        self.receive = receive
        self.on = True

    def __call__(self, *args: Any) -> Any:
        message = self.receive(*args)
        if self.on:
            worker.current.message_bytes = len(message)
        return message
