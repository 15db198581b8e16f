"""Sinks by the words that ask for them: "jsonl:run.jsonl", "prometheus:9400"."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from wellfed.errors import UsageError
from wellfed.seams import Sink

__all__ = ["WAYS", "sinks_of"]


def sinks_of(asked: Sequence[str | Sink]) -> list[Sink]:
    """The sinks that were asked for, by words or as they are.

    Raises:
        UsageError: no sink has such words.
        MissingExtra: what one needs is not installed.
    """
    sinks: list[Sink] = []
    try:
        for one in asked:
            sinks.append(_sink(one) if isinstance(one, str) else one)  # noqa: PERF401
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return sinks


def _sink(words: str) -> Sink:
    name, _, rest = words.partition(":")
    make = _MAKERS.get(name)
    if make is None:
        raise UsageError(f"there is no exporter for {words!r}. Give one of {', '.join(WAYS)}.")
    return make(rest)


def _jsonl(path: str) -> Sink:
    from wellfed._sinks.jsonl import JsonLines

    return JsonLines(_needed(path, "jsonl:FILE"))


def _tensorboard(folder: str) -> Sink:
    from wellfed._sinks.tensorboard import TensorBoard

    return TensorBoard(_needed(folder, "tensorboard:FOLDER"))


def _prometheus(place: str) -> Sink:
    from wellfed._sinks.prometheus import LOOPBACK, Prometheus

    address, _, port = place.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"{place!r} is no port. Write prometheus:PORT or prometheus:ADDRESS:PORT.")
    return Prometheus(int(port), address or LOOPBACK)


def _wandb(project: str) -> Sink:
    from wellfed._sinks.wandb import WeightsAndBiases

    return WeightsAndBiases(project)


def _needed(rest: str, way: str) -> str:
    if not rest:
        raise UsageError(f"nothing says where to. Write {way}.")
    return rest


WAYS = ("jsonl:FILE", "tensorboard:FOLDER", "prometheus:[ADDRESS:]PORT", "wandb[:PROJECT]")
"""How each is asked for."""

_MAKERS: Mapping[str, Callable[[str], Sink]] = MappingProxyType(
    {
        "jsonl": _jsonl,
        "prometheus": _prometheus,
        "tensorboard": _tensorboard,
        "wandb": _wandb,
    }
)
