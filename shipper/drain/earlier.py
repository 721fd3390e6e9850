"""The shared deadline less what is kept for the farewell, always derived, so that whatever moves one moves the other."""

from __future__ import annotations

from shipper.clock import Clock, Deadline

RESERVE_SHARE = 4  # a farewell never gets more than this part of the time there was: two seconds must not become one


class Earlier(Deadline):
    """``of`` less ``reserve`` seconds, or less a quarter of what was left when ``of`` last moved, if that is shorter."""

    __slots__ = ("_of", "_reserve", "_seen", "_setting")

    def __init__(self, clock: Clock, of: Deadline, reserve: float) -> None:
        super().__init__(clock)
        self._of = of
        self._setting = reserve
        self._seen = of.at
        self._reserve = self._derived()

    @property
    def reserve(self) -> float:
        """Seconds kept for the farewell."""
        if self._of.at != self._seen:
            self._seen = self._of.at
            self._reserve = self._derived()
        return self._reserve

    @property
    def at(self) -> float:
        """See `Deadline.at`."""
        reserve = self.reserve
        return self._of.at - reserve

    def move(self, at: float) -> None:
        """It moves with the deadline it is derived from, which must be moved instead."""
        raise TypeError("a derived deadline is not moved")

    def remaining(self) -> float:
        """See `Deadline.remaining`."""
        return max(0.0, self.at - self._clock.monotonic())

    def expired(self) -> bool:
        """See `Deadline.expired`."""
        return self._clock.monotonic() >= self.at

    def _derived(self) -> float:
        return min(self._setting, self._of.remaining() / RESERVE_SHARE)
