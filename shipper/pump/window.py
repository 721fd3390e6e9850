"""What is on its way to a destination: how much may be, and how long an answer usually takes.

A request is in flight until the destination answers. Some only say that they took it, and acknowledge seconds later: such a
request is taken meanwhile, and holds nobody back. If it turns out to be lost, it waits for a place in flight before anything
new gets one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from statistics import median

from shipper.clock import Clock
from shipper.contracts import Limits, Signal
from shipper.intervals import IntervalSet
from shipper.pump.gather import Parcel
from shipper.pump.pulse import Pulse
from shipper.pump.spacing import Spacing

REMEMBERED = 31  # answers that the median is taken over
FIRST_GUESS = 0.1  # seconds an answer takes, before there was one
FIRST_ACKNOWLEDGEMENT = 10.0  # the same for what was taken, which whoever takes it wants time for
SHORTEST_GAP = 0.010  # seconds between part-filled requests while others are in flight and pacing is lifted


class Usual:
    """How long something usually takes: the median of the last times, seconds."""

    __slots__ = ("_times", "seconds")

    def __init__(self) -> None:
        self.seconds = FIRST_GUESS
        self._times: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def known(self) -> bool:
        """Whether that was measured."""
        return bool(self._times)

    def took(self, seconds: float) -> None:
        """Once more."""
        self._times.append(seconds)
        self.seconds = median(self._times)


class Attempt:
    """One, from its beginning to its end."""

    __slots__ = ("_clock", "_on_taken", "began", "was_taken")

    def __init__(self, clock: Clock, on_taken: Callable[[Attempt], None]) -> None:
        self.began = clock.monotonic()
        self.was_taken = False
        self._clock = clock
        self._on_taken = on_taken

    def seconds(self) -> float:
        """How long it takes by now."""
        return self._clock.monotonic() - self.began

    def taken(self) -> None:
        """The destination took the request, and will acknowledge it later. Saying it again changes nothing."""
        if not self.was_taken:
            self.was_taken = True
            self._on_taken(self)


class Window:
    """At most ``max_in_flight`` parcels are in flight, and fewer are sent at a time after the destination asked for mercy.

    A parcel that waits for its next attempt is in flight but not being sent, so it holds nobody back while it waits. ``room``
    beats when there may be a place for another one.
    """

    def __init__(self, clock: Clock, random: Random | None = None, room: Pulse | None = None) -> None:
        self.open: dict[str, Parcel] = {}
        self._clock = clock
        self._room = room or Pulse()
        self._taken: set[Parcel] = set()  # not acknowledged yet
        self._lost: set[Parcel] = set()  # taken once, and to be sent again
        self._returning = 0  # of these, how many wait for a place
        self._most = 1  # in flight
        self._answer = Usual()
        self._acknowledgement = Usual()
        self._sending = 0
        self._allowed = 1e9
        self._spacing = Spacing(clock, random or Random())
        self._freed = Pulse()
        self._last_dispatch = float("-inf")

    @property
    def usual_answer(self) -> float:
        """The median time until a request is acknowledged, seconds."""
        if self._taken and not self._acknowledgement.known:
            return FIRST_ACKNOWLEDGEMENT
        return self._acknowledgement.seconds

    def has_room(self, limits: Limits) -> bool:
        """True when one more parcel may be opened."""
        self._most = limits.max_in_flight
        most = limits.max_in_flight + limits.max_unacknowledged
        return not self._returning and self._in_flight < limits.max_in_flight and len(self.open) < most

    @property
    def _in_flight(self) -> int:
        return len(self.open) - len(self._taken) - len(self._lost)

    def holds_back(self, signal: Signal) -> bool:
        """True while nothing more of a signal may set out: samples go one request at a time, or newer ones come first."""
        return signal is Signal.METRICS and any(parcel.signal is signal for parcel in self._flying())

    def _flying(self) -> Iterator[Parcel]:
        return (parcel for parcel in self.open.values() if parcel not in self._taken)

    def enter(self, parcel: Parcel) -> None:
        """A parcel sets out."""
        self.open[parcel.id] = parcel
        self._last_dispatch = self._clock.monotonic()

    def leave(self, entered_as: str) -> None:
        """All of a parcel is settled, or it gave way."""
        parcel = self.open.pop(entered_as)
        self._lost = {lost for lost in self._lost if lost.recall is not parcel.recall}  # parts of it have its recall
        self._freed.beat()

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
        usual = self._answer.seconds
        latest = max((parcel.began for parcel in self._flying()), default=float("-inf"))
        behind = latest + 2 * usual - now
        if lifted:
            gap = max(SHORTEST_GAP, usual / max(1, size))
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
    def sending(self, parcel: Parcel) -> Iterator[Attempt]:
        """Around one attempt, when one `admits`."""
        self._spacing.begun()
        self._sending += 1
        attempt = Attempt(self._clock, partial(self._hand_over, parcel))
        try:
            yield attempt
        except BaseException:
            if attempt.was_taken:
                self._lost.add(parcel)
            raise
        finally:
            if attempt.was_taken:
                self._taken.discard(parcel)
            else:
                self._sending -= 1
            self._freed.beat()

    async def readmits(self, parcel: Parcel) -> bool:
        """Whether it was taken once, and is lost; then return when there is a place in flight for it."""
        if parcel not in self._lost:
            return False
        self._returning += 1
        try:
            while self._in_flight >= self._most:
                await self._freed.wait(self._clock)
            self._lost.discard(parcel)
        finally:
            self._returning -= 1
        return True

    def _hand_over(self, parcel: Parcel, attempt: Attempt) -> None:
        self._taken.add(parcel)
        self._sending -= 1
        self.answered(attempt.seconds())
        self._room.beat()

    def acknowledged(self, attempt: Attempt) -> None:
        """The destination has what it was given in an attempt."""
        if not attempt.was_taken:
            self.answered(attempt.seconds())
        self._acknowledgement.took(attempt.seconds())

    def answered(self, seconds: float) -> None:
        """The destination took a request: remember how long that took, and allow one more at a time."""
        self._answer.took(seconds)
        self._allowed += 1
        self._spacing.taken()
        self._freed.beat()

    def mercy(self, request: str, began: float, longest: float) -> None:
        """The destination is overloaded, it said to a ``request`` whose attempt ``began`` then: half as many at a time, further apart.

        ``longest``: seconds apart at most.
        """
        self._spacing.refused(request, began, longest)
        self._allowed = max(1.0, min(self._allowed, float(self._sending)) / 2)
