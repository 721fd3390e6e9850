"""Time, passed in: a drain of two minutes is tested in milliseconds, and an NTP step changes no deadline.

Two clocks exist on purpose. ``monotonic`` (seconds) decides anything that waits; ``wall_ns`` (nanoseconds since the
epoch) only stamps what is written for others to read.
"""

from __future__ import annotations

import asyncio
import math
import time
from types import TracebackType
from typing import Protocol

_LOOK_AGAIN = 0.25  # seconds after which a deadline is looked at again, which a notice may have moved


class Clock(Protocol):
    """Where every component takes its time from."""

    def monotonic(self) -> float:
        """Seconds that never jump; also valid across suspend only as far as the kernel's CLOCK_MONOTONIC is."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, for time stamps only."""

    async def sleep(self, seconds: float) -> None:
        """Wait; a fake clock returns as soon as its time was moved that far."""


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """See `Clock.wall_ns`."""
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)


class Deadline:
    """One moment for a whole drain, handed down to every call; a notice may move it, nothing restarts it."""

    __slots__ = ("_at", "_clock")

    def __init__(self, clock: Clock, at: float = math.inf) -> None:
        self._clock = clock
        self._at = at

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """A deadline ``seconds`` from now."""
        return cls(clock, clock.monotonic() + seconds)

    @property
    def at(self) -> float:
        """The moment in the clock's monotonic seconds; ``inf`` means none."""
        return self._at

    def move(self, at: float) -> None:
        """Set another moment (monotonic seconds); everyone who holds this object sees it at once."""
        self._at = at

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._at - self._clock.monotonic())

    def expired(self) -> bool:
        """True once the moment has come."""
        return self._clock.monotonic() >= self._at


class Patience:
    """Ends what it wraps (`TimeoutError`) when nothing moved for ``seconds``, or at the deadline.

    Silence is what is bounded, not the whole call: over a slow link a large request that keeps moving is left to finish,
    where a fixed limit would have it sent again and again and never arrive.

        async with Patience(clock, 10.0, deadline):
            ...

    """

    def __init__(self, clock: Clock, seconds: float, deadline: Deadline) -> None:
        self._clock = clock
        self._seconds = seconds
        self._deadline = deadline
        self._moved = clock.monotonic()

    def progress(self) -> None:
        """Something moved: the silence starts anew."""
        self._moved = self._clock.monotonic()

    async def __aenter__(self) -> Patience:
        self._scope = asyncio.timeout(None)
        await self._scope.__aenter__()
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        await self._scope.__aexit__(kind, error, trace)

    async def _watch(self) -> None:
        while (left := min(self._moved + self._seconds, self._deadline.at) - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, _LOOK_AGAIN))  # a notice may have moved the deadline meanwhile
        self._scope.reschedule(asyncio.get_running_loop().time())
