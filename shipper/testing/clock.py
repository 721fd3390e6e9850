"""A clock that stands still until a test moves it, so that a drain of two minutes is tested in milliseconds.

Everything in Shipper that waits does so by `Clock.sleep`; with this clock a test decides when those waits end and in
which order, and nothing depends on how loaded the machine is.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SETTLE_TURNS = 32  # turns of the event loop after which tasks that wait for nothing outside have come to rest
QUIET_TURNS = 4  # in a row, with nobody else at work, are rest: what sockets within the loop bring shows in the next
FORGOTTEN = 64  # cancelled sleeps that are kept until their moment comes, beside as many as there are others
START_WALL_NS = 1_700_000_000_000_000_000


class FakeClock:
    """A `shipper.clock.Clock` whose two times are set by hand.

    `advance` moves the time at once; `run` moves it from sleeper to sleeper and lets tasks work in between, as real time
    would; inside `autojump` it moves by itself whenever everybody sleeps. The wall clock goes along, and can be made to
    jump on its own (`jump_wall`), as NTP does. Use one clock in one event loop; it is not thread-safe.
    """

    def __init__(self, monotonic: float = 1000.0, wall_ns: int = START_WALL_NS) -> None:
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._within = 0  # tasks in `sleep`, those included that were woken or cancelled and have not run since
        self._changed = asyncio.Event()

    def monotonic(self) -> float:
        """Seconds, as last set."""
        return self._monotonic

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, as last set."""
        return self._wall_ns

    async def sleep(self, seconds: float) -> None:
        """Return once the time was moved ``seconds`` on; zero or less only gives other tasks a turn."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), woken))
        self._changed.set()
        self._within += 1
        try:
            await woken
        finally:
            self._within -= 1
            if len(self._sleepers) > 2 * self._within + FORGOTTEN:
                self._forget_cancelled()

    def jump_wall(self, seconds: float) -> None:
        """Step the wall clock only, back when negative; nobody wakes."""
        self._wall_ns += round(seconds * 1e9)

    def set_wall_ns(self, wall_ns: int) -> None:
        """Set the wall clock only; nobody wakes."""
        self._wall_ns = wall_ns

    def advance(self, seconds: float) -> int:
        """Move both clocks at once and wake everybody who is due, earliest first; returns how many.

        They run when the caller next awaits, and all of them then see the new time. Raises ValueError for going back.
        """
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back; to step the wall clock use jump_wall()")
        return self._move_to(self._monotonic + seconds)

    async def run(self, seconds: float) -> None:
        """Let ``seconds`` pass as real time would: each sleeper wakes at its own moment and acts before the next one.

        Tasks that wait for something outside the event loop (a socket, a thread) are not waited for: for those wait for
        their effect, or use `until_sleeping`.
        """
        end = self._monotonic + seconds
        await self.settle()
        while (due := self.next_due()) is not None and due <= end:
            self._move_to(due)
            await self.settle()
        self._move_to(end)
        await self.settle()

    async def settle(self, turns: int = SETTLE_TURNS) -> None:
        """Let tasks work without time passing, until nobody has anything to do, for ``turns`` of the event loop at most.

        What it costs depends on who works, not on how many sleep.
        """
        ready = getattr(asyncio.get_running_loop(), "_ready", None)  # who is to work; other loops may not have it
        quiet = 0
        for _ in range(turns):
            await asyncio.sleep(0)
            quiet = 0 if ready is None or ready else quiet + 1
            if quiet == QUIET_TURNS:
                return

    def sleeping(self) -> int:
        """How many tasks sleep now."""
        return sum(1 for _, _, woken in self._sleepers if not woken.done())

    def next_due(self) -> float | None:
        """When the next sleeper wakes, in monotonic seconds; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def until_sleeping(self, count: int = 1) -> None:
        """Wait, in real time, until at least ``count`` tasks sleep: also right when they do real I/O first."""
        while self._within < count or self.sleeping() < count:
            self._changed.clear()
            await self._changed.wait()

    @asynccontextmanager
    async def autojump(self, grain: float = 0.0) -> AsyncIterator[FakeClock]:
        """Inside, jump to the next sleeper's moment whenever all tasks have come to rest.

        ``grain``: seconds that a sleep may take too long; all who are due within so much of each other wake together, as they
        do on a real loop, whose timers are a millisecond coarse. With thousands of sleepers that saves most of the jumps.
        For work within the event loop only: a task that waits for a socket or a thread looks at rest to this clock.
        """
        jumper = asyncio.create_task(self._jump_for_ever(grain))
        try:
            yield self
        finally:
            jumper.cancel()
            await asyncio.wait([jumper])

    async def _jump_for_ever(self, grain: float) -> None:
        while True:
            while self.next_due() is None:
                self._changed.clear()
                await self._changed.wait()
            await self.settle(2 * SETTLE_TURNS)
            due = self.next_due()
            if due is not None:
                self._move_to(due + grain)

    def _forget_cancelled(self) -> None:
        """Whoever waits for something else as well, and that comes first, leaves a sleep behind that nobody waits for."""
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
        heapq.heapify(self._sleepers)

    def _move_to(self, moment: float) -> int:
        self._wall_ns += round((moment - self._monotonic) * 1e9)
        self._monotonic = moment
        woken = 0
        while self._sleepers and self._sleepers[0][0] <= moment:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
                woken += 1
        return woken
