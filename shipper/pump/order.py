"""Whether value decides who is next, and what is held back for it: the side of `Lanes` that a drain without enough time uses.

What a stream holds of value is found out while the drain goes on already. So at first nothing but errors goes, for a moment
at most, and what is found later changes the order as it is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from shipper.clock import Clock
from shipper.contracts import Signal
from shipper.pump.lane import Lane
from shipper.pump.value import REST, Values, Wanted, rank_of_kind


class Order:
    """Of the lanes of one destination. ``values``: what was found, by whichever pump."""

    def __init__(self, values: Values, clock: Clock) -> None:
        self.by_value = False
        self.looking = False  # errors are being looked for in what was there when value began to decide
        self._errors_first_until = -math.inf
        self._values = values
        self._clock = clock

    def decide(self, by_value: bool, patience: float) -> None:
        """Let value decide, or turns again; then every lane has to be weighed.

        When value begins to, nothing but errors goes while they are being looked for, at most for ``patience`` seconds.
        """
        if by_value is not self.by_value:
            self._errors_first_until = self._clock.monotonic() + patience if by_value else -math.inf
            self.looking = by_value
        self.by_value = by_value

    def look(self, lanes: Iterable[Lane]) -> bool:
        """Look for errors in one more slice of the backlog; False when all of it was looked at."""
        for lane in lanes:
            if lane.wanted is not None and not lane.idle() and self._values.look(lane.stream, lane.low):
                lane.weigh()
                return True
        return False

    def looked(self) -> None:
        """There is nothing more to look at: no need to hold anything back."""
        self._errors_first_until = -math.inf
        self.looking = False

    def hurry(self, patience: float) -> None:
        """Other things than errors wait so many seconds from now on at most."""
        self._errors_first_until = min(self._errors_first_until, self._clock.monotonic() + patience)

    def errors_first(self) -> float:
        """Seconds for which nothing but errors, and the life's story, may go."""
        return max(0.0, self._errors_first_until - self._clock.monotonic())

    def weigh(self, lane: Lane) -> None:
        """Begin or end the order by value for one lane."""
        # Samples are never sent out of order: who keeps them takes each series only forward, and refuses what comes late.
        by_value = self.by_value and lane.stream.signal is not Signal.METRICS
        lane.rank = rank_of_kind(lane.stream.kind) if by_value else REST
        if not (by_value and lane.counts):
            lane.wanted = None
            return
        if lane.wanted is None:
            lane.wanted = Wanted(self._values.of(lane.stream.id))
        lane.wanted.renew()
        if not lane.idle():
            lane.weigh()
