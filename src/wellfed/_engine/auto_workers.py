"""What `num_workers="auto"` is stored as."""

from typing import Any

__all__ = ["AutoWorkers"]


class AutoWorkers(int):
    """A number of logical workers that stands for "auto".

    An int, so that frameworks can compare it, copy it and pass it back to a loader, and it is
    still "auto" there.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return AutoWorkers, (int(self),)

    def __copy__(self) -> "AutoWorkers":
        return self

    def __deepcopy__(self, memo: Any) -> "AutoWorkers":
        return self

    def __repr__(self) -> str:
        return f"AutoWorkers({int(self)})"

    __str__ = int.__repr__
