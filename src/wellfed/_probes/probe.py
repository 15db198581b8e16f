"""What makes a function a probe: whatever goes wrong inside, out comes a Fact."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from wellfed._probes.files import Unreadable
from wellfed.records import Fact

__all__ = ["probe"]

P = ParamSpec("P")
T = TypeVar("T")


def probe(ask: Callable[P, Fact[T]]) -> Callable[P, Fact[T]]:
    """Let `ask` never raise: what it raises becomes a Fact without a value that says why."""

    @wraps(ask)
    def answer(*args: P.args, **kwargs: P.kwargs) -> Fact[T]:
        try:
            return ask(*args, **kwargs)
        except Unreadable as error:
            return Fact(how=str(error))
        except Exception as error:
            # Drivers and kernels fail in ways that no list foresees, and a survey must go on.
            return Fact(how=f"cannot be read: {type(error).__name__}: {error}")

    return answer
