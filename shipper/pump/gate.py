"""How long to wait before the next attempt: a destination's wish, our own back-off, and a drain that has no time for either."""

from __future__ import annotations

import math

from shipper.clock import Clock, Deadline
from shipper.pump.backoff import Backoff
from shipper.pump.pulse import Pulse

LAST_TRY = 1.0  # seconds before the deadline at which a destination that asked for more time is tried all the same
DRAIN_SHARE = 10  # in a drain a back-off takes at most this fraction of what is left
SHORTEST = 0.05  # seconds between attempts however little is left


class Gate:
    """One per destination, passed before every attempt. ``deadline`` may be replaced at any time, then call `hurry`."""

    def __init__(self, clock: Clock) -> None:
        self.deadline = Deadline(clock)
        self._clock = clock
        self._until = -math.inf
        self._floor = -math.inf
        self._nudge = Pulse()

    def hurry(self) -> None:
        """A drain begins: whoever waits thinks again."""
        self._nudge.beat()

    def hold(self, seconds: float, at_least: float = SHORTEST) -> None:
        """Nothing is sent for ``seconds``, unless a deadline comes before; then once more shortly before it."""
        now = self._clock.monotonic()
        self._until = max(self._until, now + seconds)
        self._floor = max(self._floor, now + max(SHORTEST, at_least))

    def wait(self) -> float:
        """Seconds until something may be sent."""
        now = self._clock.monotonic()
        opens = self._until
        if opens >= self.deadline.at:
            opens = max(self._floor, min(opens, self.deadline.at - LAST_TRY))
        return max(0.0, opens - now)

    async def passed(self) -> None:
        """Wait until something may be sent."""
        while (seconds := self.wait()) > 0:
            await self._nudge.wait(self._clock, seconds)

    def capped(self, seconds: float) -> float:
        """A delay of our own choice, shortened by what a drain has left."""
        if math.isinf(self.deadline.at) or self.deadline.expired():
            return seconds
        return min(seconds, max(SHORTEST, self.deadline.remaining() / DRAIN_SHARE))

    async def pause(self, backoff: Backoff, longest: float = math.inf) -> None:
        """Wait for the next delay of ``backoff``; the beginning of a drain ends the wait and starts it afresh."""
        self.plan(backoff, longest)
        await self.rest(backoff)

    def plan(self, backoff: Backoff, longest: float = math.inf) -> None:
        """A pause for the next delay of ``backoff`` begins, see `rest`."""
        backoff.until = self._clock.monotonic() + self.capped(backoff.next(longest))

    async def rest(self, backoff: Backoff) -> None:
        """Wait for what is left of the pause of ``backoff``."""
        seconds = backoff.until - self._clock.monotonic()
        if seconds <= 0:
            return
        await self._nudge.wait(self._clock, seconds)
        if self._clock.monotonic() < backoff.until:
            backoff.reset()
