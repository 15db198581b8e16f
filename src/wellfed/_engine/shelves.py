"""The slabs of all workers of one iterator: whose they are, what they take, and what they may.

Shelves ── page ──► worker    this slab is free; so much may yours take; this batch is wanted
◄─ lease ── the trainer's batches
"""

from collections.abc import Iterator

from wellfed._engine import wire
from wellfed._engine.board import DROP, FREE
from wellfed._engine.leases import Shelf
from wellfed._engine.member import Member, send_all

__all__ = ["Shelves"]


class Shelves:
    """One shelf for each worker, and for each that has gone and left slabs that are needed."""

    def __init__(self, members: dict[int, Member], seats: list[int]) -> None:
        """There are no slabs yet.

        Args:
            members: the workers there are, by the numbers of their processes; kept up by others.
            seats: which process sits where; kept up by others.
        """
        self._members = members
        self._seats = seats
        self._departed: dict[int, tuple[int, Shelf]] = {}
        """Seats of those that have gone, and slabs of theirs that are not unpacked yet."""
        self._allowed: tuple[int, int] | None = None
        """What slabs may take, as `allow` was told."""

    def of(self, process: int) -> Shelf:
        """The slabs of one process, which may have died since."""
        member = self._members.get(process)
        return member.shelf if member is not None else self._departed[process][1]

    def seat_of(self, process: int) -> int:
        """Where a process sat that has gone."""
        return self._departed[process][0]

    def outlive(self, process: int, member: Member, needed: set[int]) -> None:
        """A process has gone: its slabs stay that are to be unpacked yet, and those in leases."""
        member.shelf.keep(needed)
        self._departed[process] = member.seat, member.shelf

    # -- how much -----------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """What the slabs of all processes take, with those that only batches hold still."""
        return sum(shelf.bytes for shelf in self._all())

    @property
    def leased_bytes(self) -> int:
        """How much of that batches hold which are with the trainer."""
        return sum(shelf.leased_bytes for shelf in self._all())

    def _all(self) -> Iterator[Shelf]:
        yield from (member.shelf for member in self._members.values())
        yield from (shelf for _, shelf in self._departed.values())

    def allow(self, slabs_bytes: int, ceiling_bytes: int) -> None:
        """Say what slabs may take: what batches hold of each, and an equal share of the rest.

        Args:
            slabs_bytes: all slabs together.
            ceiling_bytes: what no batch may pass.
        """
        self._allowed = slabs_bytes, ceiling_bytes
        self.share_out()

    def share_out(self) -> None:
        """The same once more: there are other workers."""
        if self._allowed is None:
            return
        slabs_bytes, ceiling_bytes = self._allowed
        share_bytes = (slabs_bytes - self.leased_bytes) // max(1, len(self._seats))
        for number in self._seats:
            member = self._members[number]
            allowance_bytes = max(1, share_bytes + member.shelf.leased_bytes)
            member.page.allow(allowance_bytes, ceiling_bytes)
            if member.shelf.bytes > allowance_bytes and not member.unsent:
                # It hears of it with its next task, which may be long in coming.
                member.unsent.append(wire.NO_TASK)
                send_all(member.socket, member.unsent)

    def want(self, turn: int) -> None:
        """Say which batch is waited for, and is to be made whatever it takes; 0: none."""
        for member in self._members.values():
            member.page.wanted = turn

    # -- coming and going ---------------------------------------------------------------------

    def give_back(self) -> None:
        """Tell the workers which of their slabs nobody reads any more."""
        for member in self._members.values():
            if not member.shelf.stirred:
                continue
            for slab in member.shelf.freed():
                member.page.say(slab, FREE)
            for slab in member.shelf.spent():
                member.page.say(slab, DROP)
        for _, shelf in self._departed.values():
            if shelf.stirred:
                for slab in shelf.freed():
                    shelf.drop(slab)

    def close(self) -> None:
        """Give all of it back but what batches hold, which goes with them."""
        for shelf in self._all():
            shelf.close()
