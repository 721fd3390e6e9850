"""How long to leave a failing destination alone."""

from __future__ import annotations

import math
from random import Random

LONGEST = 30.0  # seconds between attempts, however long an outage lasts
UNREACHABLE = (
    5.0  # the same while there is nobody to connect to: an attempt costs nobody anything, and a restart is short
)
FIRST = 0.1
UNUSABLE_FIRST = 5.0  # a wrong set-up does not heal by itself: somebody has to change something


class Backoff:
    """Exponential with full jitter: hosts that failed together do not come back together.

    Each delay is drawn from [``floor`` x limit, limit], where the limit doubles from ``first`` to ``longest``.
    """

    __slots__ = ("_first", "_floor", "_longest", "_random", "attempts", "until")

    def __init__(self, random: Random, *, first: float = FIRST, longest: float = LONGEST, floor: float = 0.0) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._floor = floor
        self.attempts = 0
        self.until = -math.inf  # when the pause that it is for ends, monotonic seconds

    def next(self, longest: float = math.inf) -> float:
        """Seconds until the next attempt, at most ``longest`` this time."""
        limit = min(self._longest, longest, self._first * 2 ** min(self.attempts, 32))
        self.attempts += 1
        return self._random.uniform(self._floor * limit, limit)

    def reset(self) -> None:
        """Start again at the shortest delay: something changed."""
        self.attempts = 0
        self.until = -math.inf
