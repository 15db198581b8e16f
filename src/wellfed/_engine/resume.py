"""Where a loader stands, as plain data, and what it takes to go on from there. Pure.

    state_dict()        Position ─► a dict that `torch.save` writes and `weights_only=True` reads
    load_state_dict()   the dict ─► Position ─► check ─► way: GO_ON | AGAIN

NOTE [What makes it exact]
An epoch is a sampler that is read, and streams of random draws. The sampler is read again: its
generators, and the global ones, are put back to where they stood when it was begun, what was
delivered is read and dropped, and the generators go to where they stood when the state was taken.
That loads no sample. The streams of logical workers ride with their batches (`stream_states`), and
so do the states of datasets that have a `state_dict`. What neither tells of is a dataset that keeps
generators or iterators of its own, an iterable that cannot be set to a place, and what torch's own
iterator makes: there the epoch is begun AGAIN, and what was delivered is made and dropped.
"""

from typing import Any

import msgspec

from wellfed.errors import UsageError

__all__ = [
    "AGAIN",
    "GO_ON",
    "Kind",
    "Passed",
    "Position",
    "Surroundings",
    "doubts",
    "ended_if",
    "plain",
    "read",
    "way",
]

FORMAT, VERSION = "wellfed.DataLoader", 1

GO_ON, AGAIN = "go on", "again"


class Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a state must agree in with the loader that takes it up."""

    samples: int | None
    """In the dataset; None where it has no length."""
    batch_size: int | None
    drop_last: bool
    in_order: bool
    sampler: str
    """The class of what yields the indices."""
    iterable: bool
    auto: bool
    """Whether random draws depend on the position in the epoch alone."""
    workers: int


class Surroundings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sampler may look at when it begins."""

    streams: bytes
    """The global generators, packed."""
    generators: list[Any]
    """Those that the loader and its sampler hold."""
    set_epoch: int | None
    """What its sampler was told by `set_epoch`."""


class Passed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far an epoch has come."""

    number: int
    """How often the iterator was begun before: 0 without persistent workers."""
    base_seed: int
    ended: bool
    """Whether the loop over it has ended."""
    begun: Surroundings
    """When the sampler was asked to begin."""
    first: Surroundings | None
    """When it was first read; None where that was at once."""
    delivered: int
    """Batches that were handed over, or raised."""
    beyond: list[int]
    """Numbers of such that came before their turn."""
    position: int
    """Samples in those that were delivered in turn."""
    turn: int
    """Whose turn it is to make the next batch."""
    was_read: int
    """Indices read from the sampler."""
    sampler: Any
    """The state of a sampler that has one, before the next batch is read from it."""
    streams: dict[int, bytes]
    """Of each logical worker whose random streams have moved: to where."""
    held: dict[int, Any]
    """Of each logical worker, or of the trainer where there is none: what its dataset says of
    itself."""
    lacks: str
    """What the state does not hold and batches depend on; empty: nothing."""
    worker_matters: str
    """Why only as many logical workers make the same batches; empty: any number does."""
    doubt: str
    """What batches may depend on that the state does not hold; empty: nothing that was seen."""


class Position(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a loader stands."""

    format: str
    version: int
    loader: Kind
    generators: list[Any]
    """Where those that the loader and its sampler hold stand now."""
    epoch: Passed | None
    """None before the first and between two that share nothing."""


def plain(position: Position) -> dict[str, Any]:
    """The same as dicts, lists, numbers, text and bytes; what user's objects say is left alone."""
    return {name: _plain(value) for name, value in msgspec.structs.asdict(position).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (Kind, Surroundings, Passed)):
        return {name: _plain(one) for name, one in msgspec.structs.asdict(value).items()}
    return value


def read(state: Any, kind: Kind) -> Position:
    """What `plain` returned, checked for the loader that takes it up.

    Args:
        state: from a checkpoint.
        kind: of the loader.

    Raises:
        UsageError: it is no such state, or that of another loader; the message says what differs.
    """
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        said = sorted(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise UsageError(
            f"this is no state of a wellfed.DataLoader: {_short(said)}. "
            "Pass what its state_dict() returned."
        )
    if state.get("version") != VERSION:
        raise UsageError(
            f"the loader's state has version {state.get('version')!r}, and this wellfed reads "
            f"version {VERSION}. Resume with the wellfed that saved it."
        )
    try:
        position = msgspec.convert(state, Position)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the loader's state is damaged: {error}. Load another checkpoint."
        ) from error
    _agree(position, kind)
    return position


def _agree(position: Position, kind: Kind) -> None:
    for name in Kind.__struct_fields__:
        saved, here = getattr(position.loader, name), getattr(kind, name)
        if saved != here and name not in ("workers", "auto"):
            raise UsageError(
                f"the state was saved by a loader with {name}={saved!r}, and this one has "
                f"{name}={here!r}: their batches differ. Make the loader as it was, or begin the "
                "epoch anew without load_state_dict."
            )
    saved_by, here = position.loader, kind
    epoch = position.epoch
    if epoch is None or not epoch.worker_matters:
        return
    if (saved_by.workers, saved_by.auto) != (here.workers, here.auto):
        raise UsageError(
            f"the state was saved with num_workers={_workers(saved_by)}, and this loader has "
            f"num_workers={_workers(here)}: {epoch.worker_matters}, so the batches would differ. "
            f"Pass num_workers={_workers(saved_by)}; how many processes make them is the plan's "
            'to say. With num_workers="auto" draws do not depend on the number of workers.'
        )


def way(position: Position, replay: bool | None) -> str:
    """How to go on.

    Args:
        position: where to.
        replay: whether to begin the epoch again and drop what was delivered; None: where the state
            lacks something.

    Raises:
        UsageError: what it lacks cannot be made again.
    """
    epoch = position.epoch
    if epoch is None or replay is False or not (replay or epoch.lacks):
        return GO_ON
    why = epoch.lacks or "replay=True asks for it"
    if epoch.number:
        raise UsageError(
            f"epoch {epoch.number} of persistent workers cannot be made again: {why}, and what "
            "the workers held when it began is not known. Give the dataset state_dict() and "
            "load_state_dict(), or pass replay=False to go on by position alone."
        )
    if epoch.beyond:
        raise UsageError(
            f"an epoch whose order was left to chance cannot be made again: {why}. Give the "
            "dataset state_dict() and load_state_dict(), pass in_order=True, or pass replay=False "
            "to go on by position alone."
        )
    return AGAIN


def ended_if(position: Position, batches: int | None, *, persistent: bool) -> Position:
    """The same, between two epochs if all batches of one were delivered."""
    epoch = position.epoch
    if epoch is None or batches is None or epoch.delivered < batches:
        return position
    ended = msgspec.structs.replace(epoch, ended=True)
    return msgspec.structs.replace(position, epoch=ended if persistent else None)


def doubts(position: Position, kind: Kind, *, again: bool) -> list[str]:
    """What to warn of when a state is taken up."""
    epoch, said = position.epoch, []
    if epoch is None:
        return []
    if again:
        said.append(
            f"{epoch.delivered} batches are made again and dropped, to go on after them: "
            f"{epoch.lacks or 'replay=True asks for it'}. A dataset with state_dict() and "
            "load_state_dict() needs no such thing."
        )
    elif epoch.lacks:
        said.append(f"resumed by position alone: {epoch.lacks}, so batches may differ.")
    elif epoch.doubt:
        said.append(
            f"resumed by position and random streams: {epoch.doubt}, which the state does not "
            "hold. Where samples depend on it, give the dataset state_dict() and "
            "load_state_dict(), or pass replay=True."
        )
    if not position.loader.workers and kind.workers and not kind.auto:
        said.append(
            f"saved with num_workers=0 and resumed with {kind.workers}: samples and their order "
            "stay the same, and where fetching them draws random numbers, the draws do not."
        )
    return said


def _workers(kind: Kind) -> str:
    return '"auto"' if kind.auto else str(kind.workers)


def _short(said: Any) -> str:
    text = str(said)
    return text if len(text) <= 80 else f"{text[:77]}..."
