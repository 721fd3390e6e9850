"""Whether the time will do: what is left to send, how fast it goes, and what follows from that. Pure, one per destination.

Two questions are answered, each with some inertia so that a rate which wavers does not make the answer flap:

- *Order.* While the time does with room to spare, the simple order is best (oldest first: nothing is overtaken). When it may
  not, what is most valuable goes first.
- *Miss.* When the destination fails, stands still, or is too slow for the time there is, a fallback has to take over.

A rate that is not known yet counts as 10 MB/s: 50 MB are short of time below five seconds, and a host that said little has no
hurry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ASSUMED_RATE = 10e6  # bytes a second
SHORT = 0.8  # share of the usable time that a backlog needs from which on value decides
AMPLE = 0.5  # share below which the simple order returns
MISS = 1.0  # share from which on the destination will not be done in time
IN_A_ROW = 2  # looks that must agree on a miss: one may have fallen between two answers
PATIENCE = 2.0  # seconds that a destination may fail before another takes over, in a long drain
STANDSTILL = 5.0  # seconds without progress after which it fails whatever it says of itself
PATIENCE_SHARE = 10  # neither takes more than this part of what was left when it began


@dataclass(frozen=True, slots=True)
class Load:
    """A destination at one moment: bytes left, measured bytes a second (0.0: unknown), whether it fails, and for how many
    seconds the oldest of the bytes has waited (``inf``: not known).
    """

    backlog: int
    rate: float
    failing: bool
    oldest: float = math.inf


@dataclass(frozen=True, slots=True)
class Verdict:
    """``by_value``: the order to send in. ``miss``: why the destination will not be done in time; empty when it will."""

    by_value: bool
    miss: str


def needed(load: Load) -> float:
    """Seconds the backlog takes at the measured rate, or at the assumed one while none is known."""
    return load.backlog / (load.rate or ASSUMED_RATE)


def share(load: Load, usable: float) -> float:
    """The part of the ``usable`` seconds that the backlog needs; above 1 it will not do."""
    if not load.backlog:
        return 0.0
    return needed(load) / max(usable, 1e-3)


class Budget:
    """Looks at one destination again and again. ``now`` and ``usable`` in seconds; ``usable`` may be inf."""

    def __init__(self) -> None:
        self._by_value = False
        self._late = 0
        self._failing_since: float | None = None
        self._failing_for = 0.0
        self._still_since: float | None = None
        self._still_for = 0.0
        self._before = 0

    def look(self, now: float, usable: float, load: Load) -> Verdict:
        """What follows from ``load`` now."""
        part = share(load, usable)
        failing = load.failing and load.backlog > 0
        if part > SHORT or failing:
            self._by_value = True  # of one that fails now, what it takes when it is back must be the best
        elif part < AMPLE:
            self._by_value = False
        self._late = self._late + 1 if load.rate and part > MISS else 0
        return Verdict(self._by_value, self._miss(now, usable, load, failing))

    def _miss(self, now: float, usable: float, load: Load, failing: bool) -> str:
        """Why it will not be done in time. While nothing is left there is nothing to miss."""
        if not load.backlog:
            self._failing_since = self._still_since = None
            return ""
        if not failing:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since, self._failing_for = now, min(PATIENCE, usable / PATIENCE_SHARE)
        if self._still_since is None or load.backlog < self._before:
            # Compared with the last look, not with the least there was: services go on writing meanwhile.
            self._still_since, self._still_for = now, min(STANDSTILL, usable / PATIENCE_SHARE)
        self._before = load.backlog
        if self._failing_since is not None and now - self._failing_since >= self._failing_for:
            return "it fails"
        if self._late >= IN_A_ROW:
            return f"it needs {needed(load):.1f} s at {load.rate / 1e6:.2f} MB/s and {usable:.1f} s are left"
        if min(now - self._still_since, load.oldest) >= self._still_for:
            # A service that writes as fast as is sent keeps the backlog from falling, but not the oldest in it young.
            return f"it has taken nothing for {now - self._still_since:.1f} s"
        return ""
