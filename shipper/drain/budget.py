"""Whether the time will do: what is left to send, how fast it goes, and what follows from that. Pure, one per destination.

Three questions are answered, each with some inertia so that a rate which wavers does not make the answer flap:

- *Order.* While the time does with room to spare, the simple order is best (oldest first: nothing is overtaken). When it may
  not, what is most valuable goes first.
- *Miss.* When the destination fails, stands still, or is too slow for the time there is, a fallback has to take over.
- *Repay.* When it takes data, and there is time to spare for what nobody has, it also gets what only the fallback has.

A rate that is not known yet counts as 10 MB/s: 50 MB are short of time below five seconds, and a host that said little has no
hurry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
    """A destination at one moment: bytes left that nobody has, measured bytes a second (0.0: unknown), whether it fails, and
    for how many seconds the oldest of the bytes has waited (``inf``: not known). ``lent``: bytes that only the fallback has.
    ``usual``: seconds until it usually acknowledges something.
    """

    backlog: int
    rate: float
    failing: bool
    oldest: float = math.inf
    lent: int = 0
    usual: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``by_value``: the order to send in. ``miss``: why the destination will not be done in time; empty when it will.

    ``repays``: whether it gets what only the fallback has. ``idles``: it could, and has taken nothing for too long.
    """

    by_value: bool
    miss: str
    repays: bool
    idles: bool


def needed(load: Load) -> float:
    """Seconds the backlog takes at the measured rate, or at the assumed one while none is known."""
    return load.backlog / (load.rate or ASSUMED_RATE)


def share(load: Load, usable: float) -> float:
    """The part of the ``usable`` seconds that the backlog needs; above 1 it will not do."""
    if not load.backlog:
        return 0.0
    return needed(load) / max(usable, 1e-3)


class _Standstill:
    """For how long a number of bytes has not fallen."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._patience = 0.0
        self._before = 0

    def look(self, now: float, usable: float, left: int, usual: float) -> float:
        """Seconds since it fell last; ``usual``: after how many it does. Compared with the last look, as services go on writing."""
        if self._since is None or left < self._before or not left:
            self._since, self._patience = now, min(max(STANDSTILL, 3 * usual), usable / PATIENCE_SHARE)
        self._before = left
        return now - self._since

    def too_long(self, seconds: float) -> bool:
        """Whether that is more than a destination may take."""
        return seconds >= self._patience


class Budget:
    """Looks at one destination again and again. ``now`` and ``usable`` in seconds; ``usable`` may be inf."""

    def __init__(self) -> None:
        self._by_value = False
        self._repays = False
        self._late = 0
        self._failing_since: float | None = None
        self._failing_for = 0.0
        self._still = _Standstill()  # of what nobody has
        self._still_repaying = _Standstill()  # of all that it lacks, while it gets what only the fallback has

    def look(self, now: float, usable: float, load: Load) -> Verdict:
        """What follows from ``load`` now."""
        part, whole = share(load, usable), share(replace(load, backlog=load.backlog + load.lent), usable)
        failing = load.failing and load.backlog > 0
        if whole > SHORT or (load.failing and whole > 0):
            self._by_value = True  # of one that fails now, what it takes when it is back must be the best
        elif whole < AMPLE:
            self._by_value = False
        if load.failing or part > SHORT:
            self._repays = False
        elif part < AMPLE:
            self._repays = True
        still = self._still_repaying.look(now, usable, load.backlog + load.lent if self._repays else 0, load.usual)
        idles = self._still_repaying.too_long(min(still, load.oldest))
        self._late = self._late + 1 if load.rate and part > MISS else 0
        return Verdict(self._by_value, self._miss(now, usable, load, failing), self._repays, idles)

    def _miss(self, now: float, usable: float, load: Load, failing: bool) -> str:
        """Why it will not be done in time. While nothing is left there is nothing to miss."""
        if not load.backlog:
            self._failing_since = None
            self._still.look(now, usable, 0, load.usual)
            return ""
        if not failing:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since, self._failing_for = now, min(PATIENCE, usable / PATIENCE_SHARE)
        still = self._still.look(now, usable, load.backlog, load.usual)
        if self._failing_since is not None and now - self._failing_since >= self._failing_for:
            return "it fails"
        if self._late >= IN_A_ROW:
            return f"it needs {needed(load):.1f} s at {load.rate / 1e6:.2f} MB/s and {usable:.1f} s are left"
        if self._still.too_long(min(still, load.oldest)):
            # A service that writes as fast as is sent keeps the backlog from falling, but not the oldest in it young.
            return f"it has taken nothing for {still:.1f} s"
        return ""
