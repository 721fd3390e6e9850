"""Waking up what waits, without polling and without losing a wake-up that came a moment too early."""

from __future__ import annotations

import asyncio
import math

from shipper.clock import Clock


class Pulse:
    """Something changed: whoever waits looks again. ``beats`` counts, so that a beat during other work is not missed."""

    __slots__ = ("_waiting", "beats")

    def __init__(self) -> None:
        self.beats = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def beat(self) -> None:
        """Wake everybody who waits now, and those who will wait with an older count."""
        self.beats += 1
        for waiter in self._waiting:
            _wake(waiter)

    async def wait(self, clock: Clock, seconds: float = math.inf, since: int | None = None) -> None:
        """Return at the next beat (at once if there was one after count ``since``), or after ``seconds``."""
        if (since is not None and since != self.beats) or seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        alarm = asyncio.ensure_future(clock.sleep(seconds)) if seconds < math.inf else None
        if alarm is not None:
            alarm.add_done_callback(lambda _: _wake(waiter))
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            if alarm is not None:
                alarm.cancel()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
