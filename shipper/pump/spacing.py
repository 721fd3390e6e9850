"""Finds the pace at which a destination that throttles still takes requests, so that few are sent in vain.

Fewer at a time is not enough: one at a time, answered "too many" within milliseconds, is still a flood. So attempts keep a
distance, which doubles when one is refused for there being too many, and shrinks with each that is taken. A first refusal
may be a hiccup: it is waited for as the destination wishes, and makes no distance yet. Nor does one request that is
refused again and again: it keeps its own growing distance, and is perhaps the only one that is refused.

The first distance is a second. One that is too short is found out by one refused request after the other, and of hundreds of
hosts that drain at once every one has to find it out; one that is too long shrinks with every answer.
"""

from __future__ import annotations

from random import Random

from shipper.clock import Clock

FIRST = 1.0  # seconds
SHRINK = 0.85  # so that in the long run about one in six is refused
NEGLIGIBLE = 0.005  # seconds; below, no distance is kept
FORGET = 8  # requests taken after which a refusal is forgotten
UNEVEN = 0.25  # hosts that were throttled together do not keep step


class Spacing:
    """One per destination."""

    __slots__ = ("_clock", "_distance", "_next", "_random", "_refused", "_refused_at", "_remembered")

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._distance = 0.0
        self._next = float("-inf")
        self._refused_at = float("-inf")
        self._refused = ""  # the request that was refused last
        self._remembered = 0  # requests taken until a refusal is forgotten

    def wait(self) -> float:
        """Seconds until the next attempt may begin."""
        return max(0.0, self._next - self._clock.monotonic()) if self._distance else 0.0

    def begun(self) -> None:
        """An attempt begins."""
        if self._distance:
            self._next = self._clock.monotonic() + self._distance * self._random.uniform(1 - UNEVEN, 1 + UNEVEN)

    def refused(self, request: str, began: float, longest: float) -> None:
        """An attempt that began then was one too many. Those that were on their way together count as one."""
        again, self._refused = request == self._refused, request
        if began <= self._refused_at or again:
            return
        self._refused_at = self._clock.monotonic()
        if self._remembered:
            self._distance = min(longest, max(FIRST, 2 * self._distance))
            self.begun()
        self._remembered = FORGET

    def hurry(self, longest: float) -> None:
        """A drain begins: a distance that grew while there was time would outlast it. At most ``longest`` seconds from now on."""
        if self._distance > longest:
            self._distance = longest
            self.begun()

    def taken(self) -> None:
        """An attempt was not too many."""
        self._remembered = max(0, self._remembered - 1)
        self._distance *= SHRINK
        if self._distance < NEGLIGIBLE:
            self._distance = 0.0
