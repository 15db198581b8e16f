"""Where batches are copied before they are handed over: page-locked memory, or a device.

The seam to the accelerator, and its only implementations that need one. Who copies, in which
thread, what is in flight and how it ends is `staging`'s, and knows none of this.

    host:    batch ─copy─► pinned ─────────────────────────────► the trainer
    device:  batch ─copy─► pinned ─side stream─► device ─mark
                                                          └─ receive: the trainer's stream waits
                                                             for it, the trainer does not

Pinned memory is torch's own cache of it, which knows which copies still read a block. Slabs are
never registered with a device: copies that the user queues would race with their next batch.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from wellfed.errors import UsageError

__all__ = ["Destination", "DeviceMemory", "Mark", "PinnedMemory", "checked_device", "destination"]


class Mark(Protocol):
    """A place in the device's queue, behind the copies of a batch."""

    def query(self) -> bool:
        """Whether the device has come by."""


class Destination(Protocol):
    """Where batches are copied."""

    name: str
    """As in torch's errors: "device 0"."""

    def enter(self) -> None:
        """Prepare the calling thread, which does nothing but copy from here on."""

    def copy(self, tensor: Tensor) -> Tensor:
        """A copy, which may be queued only; the tensor itself where it is there already."""

    def mark(self) -> Mark | None:
        """Behind what was queued until now; None where every copy is done when `copy` returns."""

    def receive(self, mark: Mark | None, copies: Sequence[Tensor]) -> None:
        """Called by the trainer: what it queues from now on may use the copies."""


class PinnedMemory:
    """Page-locked memory of the current accelerator: torch's `pin_memory=True`."""

    def __init__(self) -> None:
        self._index = torch.accelerator.current_device_index()
        self.name = f"device {self._index}"

    def enter(self) -> None:
        """As torch's own thread: one core, and the device that the trainer uses."""
        torch.set_num_threads(1)
        torch.accelerator.set_device_index(self._index)

    def copy(self, tensor: Tensor) -> Tensor:
        """Into torch's cache of pinned memory."""
        return tensor.pin_memory()

    def mark(self) -> None:
        """Nothing is queued."""

    def receive(self, mark: Mark | None, copies: Sequence[Tensor]) -> None:
        """They are in the host's memory."""


class DeviceMemory:
    """Memory of a device, by way of pinned memory and a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        index: int | None = device.index
        self._index = torch.accelerator.current_device_index() if index is None else index
        self._device = torch.device(device.type, self._index)
        self.name = f"device {self._index}"
        self._stream: torch.Stream | None = None

    def enter(self) -> None:
        """One core is enough, and leaves the others to the trainer."""
        torch.set_num_threads(1)
        torch.accelerator.set_device_index(self._index)

    @property
    def _side(self) -> torch.Stream:
        if self._stream is None:  # not before the first batch: workers are forked until then
            self._stream = torch.Stream(device=self._device)
        return self._stream

    def copy(self, tensor: Tensor) -> Tensor:
        """Pinned at once; from there on the side stream."""
        if tensor.device.type != "cpu" or not _can_be_recorded(tensor):
            # Waited for, and not on the side stream, whose memory could be given away too early.
            return tensor.to(self._device)
        pinned = tensor.pin_memory()
        with self._side:
            # Torch keeps the pinned block until this copy is done, though nobody refers to it.
            return pinned.to(self._device, non_blocking=True)

    def mark(self) -> Mark:
        """An event on the side stream."""
        return self._side.record_event()

    def receive(self, mark: Mark | None, copies: Sequence[Tensor]) -> None:
        """The current stream waits for the event, and the allocator knows that it reads."""
        current = torch.accelerator.current_stream(self._device)
        if isinstance(mark, torch.Event):
            current.wait_event(mark)
        for one in copies:
            if one.device == self._device and _can_be_recorded(one):
                one.record_stream(current)


def _can_be_recorded(tensor: Tensor) -> bool:
    """Whether `record_stream` reaches all of its memory."""
    plain = type(tensor) in (Tensor, torch.nn.Parameter)
    return plain and tensor.layout is torch.strided and not tensor.is_nested


def destination(device: Any, pin_memory: bool) -> Destination | None:
    """Where a loader's batches are to be copied; None if they stay where they are made.

    Args:
        device: the loader's `device`.
        pin_memory: the loader's `pin_memory`, which means nothing where there is no accelerator.

    Raises:
        UsageError: there is no such device.
    """
    found = checked_device(device)
    if found is not None:
        return DeviceMemory(found)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if not pin_memory or accelerator is None or accelerator.type == "mps":  # as in torch
        return None
    return PinnedMemory()


def checked_device(device: Any) -> torch.device | None:
    """The device that batches are copied to; None for the host, where they are.

    Raises:
        UsageError: there is no such device.
    """
    if device is None:
        return None
    try:
        # A number is an accelerator's, and only where there is one does torch accept it.
        found = torch.device(device)
    except TypeError:
        raise _unusable(device, f"{type(device).__name__} is no type of devices") from None
    except RuntimeError as error:
        raise _unusable(device, str(error).splitlines()[0].rstrip(".")) from None
    if found.type == "cpu":
        return None
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        raise _unusable(device, "torch finds no accelerator on this machine")
    if found.type != accelerator.type:
        raise _unusable(device, f"the accelerator of this machine is {accelerator.type!r}")
    count = torch.accelerator.device_count()
    index: int | None = found.index
    if index is not None and index >= count:
        raise _unusable(device, f"there are {count} of its kind, counted from 0")
    return found


def _unusable(device: Any, why: str) -> UsageError:
    return UsageError(
        f"device={str(device)!r} cannot be given batches: {why}. "
        f"Name a device that is there, or leave device=None and move batches yourself."
    )
