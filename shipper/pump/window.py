"""What is on its way to a destination: how much may be, and how long an answer usually takes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from statistics import median

from shipper.clock import Clock
from shipper.contracts import Signal
from shipper.intervals import IntervalSet
from shipper.pump.gather import Parcel
from shipper.pump.pulse import Pulse
from shipper.pump.spacing import Spacing

REMEMBERED = 31  # answers that the median is taken over
FIRST_GUESS = 0.1  # seconds an answer takes, before there was one
SHORTEST_GAP = 0.010  # seconds between part-filled requests while others are in flight and pacing is lifted


class Window:
    """At most ``size`` parcels are open; fewer are actually sent at a time after the destination asked for mercy.

    A parcel that waits for its next attempt is open but not being sent, so it holds nobody back while it waits.
    """

    def __init__(self, clock: Clock, random: Random | None = None) -> None:
        self.open: dict[str, Parcel] = {}
        self._clock = clock
        self._answers: deque[float] = deque(maxlen=REMEMBERED)
        self._median = FIRST_GUESS
        self._sending = 0
        self._allowed = 1e9
        self._spacing = Spacing(clock, random or Random())
        self._freed = Pulse()
        self._last_dispatch = float("-inf")

    @property
    def usual_answer(self) -> float:
        """The median time to an answer, seconds."""
        return self._median

    def has_room(self, size: int) -> bool:
        """True when one more parcel may be opened."""
        return len(self.open) < size

    def holds_back(self, signal: Signal) -> bool:
        """True while nothing more of a signal may set out: samples go one request at a time, or newer ones come first."""
        return signal is Signal.METRICS and any(parcel.signal is signal for parcel in self.open.values())

    def enter(self, parcel: Parcel) -> None:
        """A parcel sets out."""
        self.open[parcel.id] = parcel
        self._last_dispatch = self._clock.monotonic()

    def leave(self, entered_as: str) -> None:
        """All of a parcel is settled."""
        del self.open[entered_as]

    def flying(self, stream: str, since: float = float("-inf")) -> IntervalSet:
        """What is on its way of a stream; only in parcels that set out at or after ``since`` (monotonic seconds)."""
        return IntervalSet(
            (piece.cut.start, piece.cut.end)
            for parcel in self.open.values()
            if parcel.began >= since
            for piece in parcel.pieces
            if piece.lane.stream.id == stream
        )

    def part_filled_wait(self, size: int, lifted: bool) -> float:
        """Seconds until a part-filled request need not gather any longer behind those in flight; 0: now.

        It gathers while an answer is due any moment, but never behind a request that takes twice the usual time. With
        pacing ``lifted`` it also goes when the last one left a fair share of an answer time ago, to use the window.
        """
        now = self._clock.monotonic()
        latest = max((parcel.began for parcel in self.open.values()), default=float("-inf"))
        behind = latest + 2 * self._median - now
        if lifted:
            gap = max(SHORTEST_GAP, self._median / max(1, size))
            behind = min(behind, self._last_dispatch + gap - now)
        return max(0.0, behind)

    def wait(self) -> float:
        """Seconds until one more attempt may begin; inf: not before another one has ended."""
        return math.inf if self._sending >= self._allowed else self._spacing.wait()

    async def admits(self) -> None:
        """Wait while no more attempts at a time are allowed, and for the distance to the last one."""
        while (seconds := self.wait()) > 0:
            await self._freed.wait(self._clock, seconds)

    def hurry(self, longest: float) -> None:
        """Attempts are no further apart than ``longest`` seconds from now on."""
        self._spacing.hurry(longest)
        self._freed.beat()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Around one attempt, when one `admits`."""
        self._spacing.begun()
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1
            self._freed.beat()

    def answered(self, seconds: float) -> None:
        """The destination took a request: remember how long that took, and allow one more at a time."""
        self._answers.append(seconds)
        self._median = median(self._answers)
        self._allowed += 1
        self._spacing.taken()
        self._freed.beat()

    def mercy(self, request: str, began: float, longest: float) -> None:
        """The destination is overloaded, it said to a ``request`` whose attempt ``began`` then: half as many at a time, further apart.

        ``longest``: seconds apart at most.
        """
        self._spacing.refused(request, began, longest)
        self._allowed = max(1.0, min(self._allowed, float(self._sending)) / 2)
