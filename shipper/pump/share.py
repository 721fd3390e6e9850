"""What destinations have done together, so that a fallback takes over what the others do not get done.

Each keeps its own cursor and its own figures; here they only see each other's. In a drain what one has settled, the others need
not send for the drain to be over, and what one is sending, the others leave alone while it makes progress. In an outage only the
fallback looks at the others: what it takes in their place is lent, and they still get all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Protocol

from shipper.intervals import IntervalSet


class Member(Protocol):
    """A destination as the others see it."""

    def gets(self, stream: str) -> bool:
        """Whether a stream is for it at all."""

    def lacks(self, stream: str) -> bool:
        """Whether it has not settled all of a stream that it gets."""

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
    """Some primaries, and the fallback that `Pump.activate` adds. The fallback is owed what some primary lacks.

    Each primary is owed everything. In a drain what the fallback has of it counts; where that is ``repaid`` later it does not.
    """

    def __init__(self, primaries: Iterable[Primary], *, repaid: bool = False) -> None:
        self.repaid = repaid
        self._primaries = [primary.member for primary in primaries]
        self._helper: Member | None = None

    def join(self, helper: Member) -> None:
        """The fallback begins to help."""
        self._helper = helper
        for member in self._working():
            member.enter(self)

    def end(self) -> None:
        """Everybody works for himself again."""
        for member in self._working():
            member.enter(None)
        self._primaries.clear()
        self._helper = None

    def settled(self, by: Member, stream: str) -> IntervalSet | None:
        """What ``by`` need not see to, because of what the others have settled; None: nobody else gets that stream."""
        return self._done_for(by, stream, lambda member: member.settled_of(stream))

    def taken(self, by: Member, stream: str) -> IntervalSet | None:
        """The same, and what they are sending."""
        return self._done_for(
            by, stream, lambda member: IntervalSet([*member.settled_of(stream), *member.claims_of(stream)])
        )

    def lacking(self, stream: str) -> bool:
        """Whether some primary lacks anything of a stream: cheap, as a fallback asks it of all streams time and again."""
        return any(member.lacks(stream) for member in self._primaries)

    def moved(self, by: Member) -> None:
        """``by`` has settled something: the others may be done with that."""
        for member in self._everybody():
            if member is not by:
                member.nudge()

    def _done_for(self, by: Member, stream: str, done: Callable[[Member], IntervalSet]) -> IntervalSet | None:
        if by is not self._helper:
            return IntervalSet() if self._helper is None else done(self._helper)
        sets = [done(member) for member in self._primaries if member.gets(stream)]
        return reduce(IntervalSet.common, sets) if sets else None

    def _everybody(self) -> list[Member]:
        return [*self._primaries, *([self._helper] if self._helper is not None else [])]

    def _working(self) -> list[Member]:
        """Those that look at each other: in an outage the others go on as if there were no fallback."""
        return [member for member in self._everybody() if member is self._helper or not self.repaid]
