"""What the destinations of one drain have done together, so that a fallback takes over what the others do not get done.

Each keeps its own cursor and its own figures; here they only see each other's. What one has settled, the others need not
send for the drain to be over. What one is sending, the others leave alone while it makes progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
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
    """The primaries of a drain, and the fallback that `Pump.activate` adds.

    Each primary is owed everything, and what the fallback has of it counts. The fallback is owed what some primary lacks.
    """

    def __init__(self, primaries: Iterable[Primary]) -> None:
        self._primaries = [primary.member for primary in primaries]
        self._helper: Member | None = None
        for member in self._primaries:
            member.enter(self)

    def join(self, helper: Member) -> None:
        """The fallback begins to help."""
        self._helper = helper
        helper.enter(self)

    def end(self) -> None:
        """Everybody works for himself again."""
        for member in self._everybody():
            member.enter(None)
        self._primaries.clear()
        self._helper = None

    def settled(self, by: Member, stream: str) -> IntervalSet:
        """What ``by`` need not see to, because of what the others have settled."""
        return self._done_for(by, lambda member: member.settled_of(stream))

    def taken(self, by: Member, stream: str) -> IntervalSet:
        """The same, and what they are sending."""
        return self._done_for(by, lambda member: IntervalSet([*member.settled_of(stream), *member.claims_of(stream)]))

    def moved(self, by: Member) -> None:
        """``by`` has settled something: the others may be done with that."""
        for member in self._everybody():
            if member is not by:
                member.nudge()

    def _done_for(self, by: Member, done: Callable[[Member], IntervalSet]) -> IntervalSet:
        if by is not self._helper:
            return IntervalSet() if self._helper is None else done(self._helper)
        if not self._primaries:
            return IntervalSet()
        return reduce(IntervalSet.common, map(done, self._primaries))

    def _everybody(self) -> list[Member]:
        return [*self._primaries, *([self._helper] if self._helper is not None else [])]
