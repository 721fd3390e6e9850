"""The token bucket that keeps five thousand quiet hosts from being a denial of service to their destination."""

from __future__ import annotations

import math
from collections.abc import Callable

from shipper.clock import Clock


class TokenBucket:
    """``rate`` tokens a second, at most ``burst`` saved up; full at the start, so that first words go at once.

    What was saved up in an outage is forgotten but for one token: thousands of hosts would all spend it in the second in which
    their destination is back, and what waited goes in one request.
    """

    __slots__ = ("_at", "_burst", "_clock", "_forgotten", "_rate", "_tokens", "_well_since")

    def __init__(
        self, clock: Clock, rate: float, burst: int, well_since: Callable[[], float] = lambda: -math.inf
    ) -> None:
        """``well_since``: when the last outage ended (monotonic seconds)."""
        if rate <= 0 or burst < 1:
            raise ValueError(f"a bucket needs a positive rate and a burst of at least one, not {rate} and {burst}")
        self._clock = clock
        self._rate = rate
        self._burst = float(burst)
        self._tokens = self._burst
        self._at = clock.monotonic()
        self._well_since = well_since
        self._forgotten = well_since()  # what was saved up to then

    def wait(self) -> float:
        """Seconds until a token is there; 0 when one is there now."""
        self._refill()
        # A wake-up a hair too early must not find 0.9999999 of a token and wait again for nothing.
        return 0.0 if self._tokens >= 1 - 1e-6 else (1 - self._tokens) / self._rate

    def take(self) -> bool:
        """Take a token; False when there is none."""
        if self.wait() > 0:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        return True

    def _refill(self) -> None:
        well_since = self._well_since()
        if self._forgotten < well_since:
            self._forgotten = well_since
            self._fill_until(well_since)
            self._tokens = min(self._tokens, 1.0)
        self._fill_until(self._clock.monotonic())

    def _fill_until(self, moment: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, moment - self._at) * self._rate)
        self._at = moment


class Buckets:
    """Two buckets as one: a token is there when both have one."""

    __slots__ = ("_all",)

    def __init__(self, own: TokenBucket, shared: TokenBucket) -> None:
        self._all = (own, shared)

    def wait(self) -> float:
        """See `TokenBucket.wait`."""
        return max(bucket.wait() for bucket in self._all)

    def take(self) -> bool:
        """See `TokenBucket.take`."""
        if self.wait() > 0:
            return False
        for bucket in self._all:
            bucket.take()
        return True
