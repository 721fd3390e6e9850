"""What the destinations of one drain have done together, so that a fallback takes over what the others do not get done.

Each keeps its own cursor and its own figures; here they only see each other's. What one has settled, the others need not
send for the drain to be over. What one is sending, the others leave alone while it makes progress.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from shipper.intervals import IntervalSet


class Member(Protocol):
    """A destination as the others see it."""

    def settled_of(self, stream: str) -> IntervalSet:
        """What it needs no more of a stream: acknowledged, or set aside or given up and counted."""

    def claims_of(self, stream: str) -> IntervalSet:
        """What it is sending of a stream; nothing while it makes no progress."""

    def nudge(self) -> None:
        """Another one has settled something."""

    def enter(self, share: Share | None) -> None:
        """It works in this share from now on, or in none."""


class Primary(Protocol):
    """What a share is made of: a pump."""

    @property
    def member(self) -> Member:
        """The pump as the others see it."""


class Share:
    """The destinations that work on one drain together: the primaries, and the fallback that `Pump.activate` adds."""

    def __init__(self, primaries: Iterable[Primary]) -> None:
        self._members = [primary.member for primary in primaries]
        for member in self._members:
            member.enter(self)

    def join(self, member: Member) -> None:
        """A fallback begins to help."""
        if member not in self._members:
            self._members.append(member)
        member.enter(self)

    def end(self) -> None:
        """Everybody works for himself again."""
        for member in self._members:
            member.enter(None)
        self._members.clear()

    def settled(self, stream: str) -> IntervalSet:
        """What any of them has settled."""
        return IntervalSet(pair for member in self._members for pair in member.settled_of(stream))

    def taken(self, by: Member, stream: str) -> IntervalSet:
        """What others than ``by`` have settled or are sending."""
        others = [member for member in self._members if member is not by]
        taken = IntervalSet(pair for member in others for pair in member.settled_of(stream))
        for member in others:
            for start, end in member.claims_of(stream):
                taken.add(start, end)
        return taken

    def moved(self, by: Member) -> None:
        """``by`` has settled something: the others may be done with that."""
        for member in self._members:
            if member is not by:
                member.nudge()
